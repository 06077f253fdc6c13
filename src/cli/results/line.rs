//! A result message as one line: what it carries stays as it is, what lies elsewhere is put in.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::ports::{Payloads, PortResult};
use crate::request::PayloadRef;

/// A result message taken apart, every value as it was written.
pub struct Message<'a> {
    members: Vec<(String, &'a RawValue)>,
}

impl<'de> Deserialize<'de> for Message<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Message<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a result message")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Message { members })
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[derive(serde::Deserialize)]
struct Place {
    key: String,
}

impl<'a> Message<'a> {
    /// Reads the body of a message; `None` when it is no result of a request.
    pub fn read(body: &'a str) -> Option<Self> {
        let message: Self = serde_json::from_str(body).ok()?;
        (message.text("request_id").is_some() && message.text("status").is_some()).then_some(message)
    }

    /// The text of a member.
    pub fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// The line, with the result body in it.
    pub async fn line(&self, payloads: &dyn Payloads) -> PortResult<String> {
        let Some(place) = self.get("result_s3").and_then(|raw| serde_json::from_str::<Place>(raw.get()).ok()) else {
            return Ok(self.join(None));
        };
        let stored = payloads.get(&PayloadRef(place.key)).await?;
        let note = |name, value| self.join(Some((name, value, true)));
        Ok(match &stored {
            None => note("result_missing", "true"),
            Some(bytes) => match serde_json::from_slice::<&RawValue>(bytes) {
                Ok(result) => self.join(Some(("result", result.get(), false))),
                Err(_) => note("result_not_json", "true"),
            },
        })
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// All members on one line; the addition stands in the place of `result_s3`, or after it to keep both.
    fn join(&self, addition: Option<(&str, &str, bool)>) -> String {
        let mut line = String::from("{");
        let mut push = |name: &str, value: &str| {
            if line.len() > 1 {
                line.push(',');
            }
            line.push_str(&serde_json::to_string(name).unwrap_or_default());
            line.push(':');
            // A newline stands between tokens only, where a space means the same.
            line.extend(value.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
        };
        for (name, value) in &self.members {
            match addition {
                Some((added, content, keep)) if name == "result_s3" => {
                    if keep {
                        push(name, value.get());
                    }
                    push(added, content);
                }
                _ => push(name, value.get()),
            }
        }
        line.push('}');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_results_are_read() {
        for other in ["", "hello", "[1]", "{}", r#"{"request_id":"a"}"#, r#"{"request_id":1,"status":"FAILED"}"#] {
            assert!(Message::read(other).is_none(), "{other}");
        }
        let message = Message::read(r#"{"status":"FAILED","request_id":"a"}"#).unwrap();
        assert_eq!(message.text("request_id").as_deref(), Some("a"));
    }

    #[test]
    fn values_stay_as_they_were_written() {
        let body = "{\"request_id\": \"a\",\n \"status\":\"SUCCEEDED\", \"result\": {\"n\": 1.10e3,\r\n \"t\":\"\\u00e4\\n\"}}";
        let line = Message::read(body).unwrap().join(None);
        assert_eq!(
            line,
            "{\"request_id\":\"a\",\"status\":\"SUCCEEDED\",\"result\":{\"n\": 1.10e3,   \"t\":\"\\u00e4\\n\"}}"
        );
    }

    #[test]
    fn what_is_added_takes_the_place_of_the_pointer() {
        let body = r#"{"request_id":"a","status":"SUCCEEDED","result_s3":{"bucket":"b","key":"k"},"x":1}"#;
        let message = Message::read(body).unwrap();
        assert_eq!(
            message.join(Some(("result", "{}", false))),
            r#"{"request_id":"a","status":"SUCCEEDED","result":{},"x":1}"#
        );
        assert_eq!(
            message.join(Some(("result_missing", "true", true))),
            r#"{"request_id":"a","status":"SUCCEEDED","result_s3":{"bucket":"b","key":"k"},"result_missing":true,"x":1}"#
        );
    }
}
