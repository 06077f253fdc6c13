//! Messages that only point to their content in S3, as the SQS extended clients write them.
//!
//! Both conventions are taken: `software.amazon.payloadoffloading` with the attribute `ExtendedPayloadSize`,
//! and the older `com.amazon.sqs.javamessaging` with `SQSLargePayloadSize`. The attribute may be missing.

use std::collections::BTreeMap;

use serde_json::Value;

use super::message::{Fault, Limits};
use crate::ports::payloads::ForeignObject;

const CLASSES: [&str; 2] =
    ["software.amazon.payloadoffloading.PayloadS3Pointer", "com.amazon.sqs.javamessaging.MessageS3Pointer"];
const SIZES: [&str; 2] = ["ExtendedPayloadSize", "SQSLargePayloadSize"];

/// Where a message's content lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// The object. Whether its bucket may be read is for ingest to decide.
    pub object: ForeignObject,
    /// Its length in bytes, as the sender says.
    pub size: Option<u64>,
}

/// Recognises a pointer. `None` when the message is no pointer and is to be decoded itself.
///
/// # Errors
/// The inner result is the fault of a message that means to be a pointer and is not one.
#[must_use]
pub fn detect(body: &str, attributes: &BTreeMap<String, String>, limits: &Limits) -> Option<Result<Pointer, Fault>> {
    let sized = SIZES.iter().find_map(|name| attributes.get(*name).map(|value| (*name, value.as_str())));
    let body = body.trim();
    let names_a_class = body.starts_with('[') && CLASSES.iter().any(|class| body.contains(class));
    if !names_a_class && (sized.is_none() || body.starts_with('{')) {
        return None;
    }
    Some(read(body, sized, *limits))
}

fn read(body: &str, sized: Option<(&'static str, &str)>, limits: Limits) -> Result<Pointer, Fault> {
    let place = match serde_json::from_str::<(String, Value)>(body) {
        Ok((class, Value::Object(place))) if CLASSES.contains(&class.as_str()) => place,
        _ => {
            let why = sized.map_or_else(String::new, |(name, _)| format!(" (the attribute {name} says it is one)"));
            return Err(fault(
                "message",
                format!("no S3 pointer{why}; expected [\"{}\", {{\"s3BucketName\": …, \"s3Key\": …}}]", CLASSES[0]),
            ));
        }
    };
    let name = |field: &str, fits: fn(&str) -> bool, expected: &str| match place.get(field) {
        Some(Value::String(text)) if fits(text) => Ok(text.clone()),
        Some(Value::String(_)) => Err(fault(&format!("pointer.{field}"), format!("expected {expected}"))),
        Some(_) => Err(fault(&format!("pointer.{field}"), format!("not a string; expected {expected}"))),
        None => Err(fault(&format!("pointer.{field}"), format!("missing; expected {expected}"))),
    };
    let bucket = name("s3BucketName", is_bucket, "a bucket name of 3 to 63 characters of a-z 0-9 . -")?;
    let key = name("s3Key", is_key, "a key of 1 to 1024 bytes without control characters")?;
    let size = sized.map(|(attribute, value)| size(attribute, value, limits)).transpose()?;
    Ok(Pointer { object: ForeignObject { bucket, key }, size })
}

fn size(attribute: &str, value: &str, limits: Limits) -> Result<u64, Fault> {
    let field = format!("attributes.{attribute}");
    match value.trim().parse::<u64>() {
        Ok(bytes) if bytes <= limits.message_bytes => Ok(bytes),
        Ok(bytes) => {
            Err(fault(&field, format!("{bytes} bytes are too many; at most {} are taken", limits.message_bytes)))
        }
        Err(_) => Err(fault(&field, "expected the content's length in bytes".to_owned())),
    }
}

fn is_bucket(text: &str) -> bool {
    (3..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !text.contains("..")
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b))
}

fn is_key(text: &str) -> bool {
    (1..=1024).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn fault(field: &str, reason: String) -> Fault {
    Fault { field: field.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLACE: &str = r#"{"s3BucketName":"big-bodies","s3Key":"2026/a b.json"}"#;

    fn pointer(class: &str) -> String {
        format!(r#" ["{class}", {PLACE}]"#)
    }

    fn found(body: &str, attributes: &[(&str, &str)]) -> Option<Result<Pointer, Fault>> {
        let attributes = attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        detect(body, &attributes, &Limits { message_bytes: 1000 })
    }

    #[test]
    fn both_conventions_are_taken_with_and_without_a_size() {
        let object = ForeignObject { bucket: "big-bodies".to_owned(), key: "2026/a b.json".to_owned() };
        for class in CLASSES {
            for (attributes, size) in [
                (&[][..], None),
                (&[("ExtendedPayloadSize", "1000")][..], Some(1000)),
                (&[("SQSLargePayloadSize", " 7 ")][..], Some(7)),
                (&[("trace", "x")][..], None),
            ] {
                let expected = Pointer { object: object.clone(), size };
                assert_eq!(found(&pointer(class), attributes), Some(Ok(expected)), "{class} {attributes:?}");
            }
        }
    }

    #[test]
    fn everything_else_is_left_to_the_decoder() {
        for body in ["", "{}", "[1,2]", "[\"a\", {}]", "not json", r#"{"s3BucketName":"b","s3Key":"k"}"#] {
            assert_eq!(found(body, &[]), None, "{body}");
        }
        assert_eq!(found(r#"{"model_id":"m"}"#, &[("ExtendedPayloadSize", "5")]), None, "content is there after all");
    }

    #[test]
    fn a_malformed_pointer_is_a_fault_that_names_its_place() {
        let class = CLASSES[0];
        for (body, field) in [
            (format!(r#"["{class}"]"#), "message"),
            (format!(r#"["{class}", 1]"#), "message"),
            (format!(r#"["{class}", {PLACE}"#), "message"),
            (format!(r#"["x", "{class}"]"#), "message"),
            (format!(r#"["{class}", {{"s3Key":"k"}}]"#), "pointer.s3BucketName"),
            (format!(r#"["{class}", {{"s3BucketName":7,"s3Key":"k"}}]"#), "pointer.s3BucketName"),
            (format!(r#"["{class}", {{"s3BucketName":"../etc","s3Key":"k"}}]"#), "pointer.s3BucketName"),
            (format!(r#"["{class}", {{"s3BucketName":"a..b","s3Key":"k"}}]"#), "pointer.s3BucketName"),
            (format!(r#"["{class}", {{"s3BucketName":"bbb","s3Key":""}}]"#), "pointer.s3Key"),
            (format!(r#"["{class}", {{"s3BucketName":"bbb"}}]"#), "pointer.s3Key"),
        ] {
            assert_eq!(found(&body, &[]).unwrap().unwrap_err().field, field, "{body}");
        }
        assert_eq!(found("elsewhere", &[("SQSLargePayloadSize", "5")]).unwrap().unwrap_err().field, "message");
    }

    #[test]
    fn the_announced_size_is_a_number_within_the_limit() {
        for value in ["1001", "-1", "many", ""] {
            let fault = found(&pointer(CLASSES[0]), &[("ExtendedPayloadSize", value)]).unwrap().unwrap_err();
            assert_eq!(fault.field, "attributes.ExtendedPayloadSize", "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(body in ".{0,80}", size in ".{0,10}") {
            _ = found(&body, &[("ExtendedPayloadSize", &size)]);
            _ = found(&format!("[\"{}\",{body}", CLASSES[1]), &[]);
        }
    }
}
