//! The rules that a schema cannot say, and the words of the faults.

use super::*;

const NOW: Timestamp = Timestamp(1_795_252_123_000);

fn take(message: &str) -> Result<Submission, Box<Invalid>> {
    decode(message.as_bytes(), NOW, &Limits::default())
}

fn told(message: &str) -> Vec<String> {
    take(message).expect_err(message).faults.iter().map(ToString::to_string).collect()
}

#[test]
fn defaults_are_filled_in() {
    let taken = take(r#"{"model_id":"m","invoke":{ "a" : 1 }}"#).unwrap();
    assert_eq!(taken.request_id, None);
    assert_eq!(taken.tenant, Tenant::default());
    assert_eq!(taken.priority, Priority::NORMAL);
    assert_eq!((taken.deadline, taken.metadata.len()), (None, 0));
    assert_eq!(taken.body, &br#"{ "a" : 1 }"#[..]);
    assert_eq!(taken.content_hash.len(), 64);
}

#[test]
fn what_is_no_json_object_is_told_with_its_place() {
    for (message, expected) in [
        ("", "message: empty; expected a JSON object"),
        (" \n", "message: empty; expected a JSON object"),
        ("hello", "message: not JSON: expected value at line 1, column 1"),
        ("{\"model_id\":\n \"m\",}", "message: not JSON: key must be a string at line 2, column 6"),
        ("{\"a\": 1", "message: not JSON: EOF while parsing an object at line 1, column 7"),
        ("{} {}", "message: not JSON: trailing characters at line 1, column 4"),
        ("[1]", "message: expected a JSON object, found an array"),
        ("\"x\"", "message: expected a JSON object, found a string"),
        ("\u{feff}{}", "message: starts with a byte order mark; send the JSON without one"),
    ] {
        assert_eq!(told(message), [expected], "{message:?}");
    }
    let invalid = decode(b"{\"a\":\"\xff\"}", NOW, &Limits::default()).unwrap_err();
    assert_eq!(invalid.faults[0].reason, "not UTF-8: byte 7 is no part of a character");
}

#[test]
fn faults_say_what_was_found_and_what_is_expected() {
    for (message, expected) in [
        (r#"{"model_id":"m","invoke":{},"prioritty":1}"#, "prioritty: unknown field; did you mean `priority`?"),
        (r#"{"model_id":"m","invoke":{},"modelId":1}"#, "modelId: unknown field; did you mean `model_id`?"),
        (r#"{"model_id":"m","invoke":{},"toolConfig":{}}"#, "toolConfig: unknown field; it belongs inside `converse`"),
        (
            r#"{"model_id":"m","invoke":{},"request_id":"a b"}"#,
            "request_id: found \"a b\"; expected 1 to 128 characters of A-Z a-z 0-9 . _ : -",
        ),
        (
            r#"{"model_id":"m","invoke":{},"priority":11}"#,
            "priority: found 11; expected urgent, high, normal, low, bulk or a number from 0 (first) to 9 (last)",
        ),
        (
            r#"{"model_id":"m","invoke":{},"deadline":"soon"}"#,
            "deadline: found \"soon\"; expected an RFC 3339 time such as 2026-11-21T09:30:00Z",
        ),
        (
            r#"{"model_id":"m","invoke":{},"tenant":null}"#,
            "tenant: found null; expected a string, or no such field at all",
        ),
        (r#"{"model_id":"m","invoke":{},"metadata":{"team":7}}"#, "metadata.team: found 7; expected a string"),
        (
            r#"{"model_id":"m","converse":{"messages":[1],"inferenceConfig":{"maxTokens":"many"}}}"#,
            "converse.inferenceConfig.maxTokens: found \"many\"; expected a whole number from 1 to 2147483647",
        ),
        (
            r#"{"model_id":"m","converse":{"messages":[1],"modelId":"m"}}"#,
            "converse.modelId: the model belongs in the message's model_id, not in the body",
        ),
        (
            r#"{"model_id":"m","converse":"{}"}"#,
            "converse: found a string; expected an object: put the body in as JSON, not as text",
        ),
        (r#"{"model_id":"m","invoke":null}"#, "invoke: found null; expected an object, or no such field at all"),
    ] {
        assert_eq!(told(message), [expected], "{message}");
    }
}

#[test]
fn a_field_given_twice_is_a_fault() {
    assert_eq!(
        told(r#"{"model_id":"m","invoke":{},"tenant":"a","tenant":"b"}"#),
        ["tenant: given twice; a message has each field once"]
    );
    assert_eq!(told(r#"{"model_id":"m","invoke":{},"metadata":{"a":"1","a":"2"}}"#), ["metadata.a: given twice"]);
    assert_eq!(
        told(r#"{"model_id":"m","converse":{"messages":[1],"messages":[2]}}"#),
        ["converse.messages: given twice; a body has each field once"]
    );
}

#[test]
fn a_deadline_must_lie_ahead() {
    let with = |deadline: Timestamp| take(&format!(r#"{{"model_id":"m","invoke":{{}},"deadline":"{deadline}"}}"#));
    assert!(with(Timestamp(NOW.0 + 1)).is_ok());
    let invalid = with(NOW).unwrap_err();
    assert_eq!(invalid.faults[0].field, "deadline");
    assert_eq!(invalid.deadline, Some(NOW), "a past deadline is still reported");
}

#[test]
fn sizes_are_limited() {
    let message = br#"{"model_id":"m","invoke":{}}"#;
    let exact = Limits { message_bytes: message.len() as u64 };
    assert!(decode(message, NOW, &exact).is_ok());
    let short = Limits { message_bytes: message.len() as u64 - 1 };
    assert_eq!(decode(message, NOW, &short).unwrap_err().faults[0].field, "message");
}

#[test]
fn a_flood_of_unknown_fields_is_counted() {
    let mut message = String::from(r#"{"model_id":"m","invoke":{}"#);
    for n in 0..10_000 {
        message += &[",\"f", &n.to_string(), "\":1"].concat();
    }
    message.push('}');
    let failure = take(&message).unwrap_err().to_failure();
    assert!(failure.message.len() <= 2048 && failure.message.contains(" more"), "{}", failure.message);
}

#[test]
fn bottomless_nesting_is_refused_wherever_it_is() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(
        told(&format!(r#"{{"model_id":"m","invoke":{{"x":{deep}}}}}"#)),
        ["invoke: nested more than 127 levels deep"]
    );
    assert_eq!(
        told(&format!(r#"{{"model_id":"m","converse":{{"messages":[{deep}]}}}}"#)),
        ["converse: nested more than 127 levels deep"]
    );
    assert_eq!(
        told(&format!(r#"{{"model_id":"m","invoke":{{}},"metadata":{{"a":{deep}}}}}"#)),
        ["metadata.a: found an array; expected a string"]
    );
    let allowed = format!("{}{}", "[".repeat(126), "]".repeat(126));
    assert!(take(&format!(r#"{{"model_id":"m","invoke":{{"x":{allowed}}}}}"#)).is_ok());
}

#[test]
fn what_only_looks_like_json_in_a_body_is_told_with_its_place_in_the_message() {
    assert_eq!(
        told("\n{\"model_id\":\"m\",\n \"invoke\":{\"x\":1e999}}"),
        ["invoke: not JSON: number out of range at line 3, column 20"]
    );
    let surrogate = told(r#"{"model_id":"m","invoke":{"x":"\ud800"}}"#);
    assert!(surrogate[0].starts_with("invoke: not JSON: "), "{surrogate:?}");
}

#[test]
fn what_can_be_read_of_a_refused_message_is_kept() {
    let invalid = take(
        r#"{"request_id":"a","model_id":"m","tenant":"t","priority":"low","deadline":"2030-01-01T00:00:00Z",
            "metadata":{"a":"b","c":1},"converse":{}}"#,
    )
    .unwrap_err();
    assert_eq!(invalid.request_id, RequestId::new("a").ok());
    assert_eq!(invalid.model_id, ModelId::new("m").ok());
    assert_eq!(invalid.tenant, Tenant::new("t").ok());
    assert_eq!(invalid.priority, Some(Priority::LOW));
    assert_eq!(invalid.deadline, Timestamp::parse("2030-01-01T00:00:00Z").ok());
    assert_eq!(invalid.metadata, Metadata::from([("a".to_owned(), "b".to_owned())]));
    assert_eq!(invalid.faults.len(), 2);
}

#[test]
fn a_payload_in_the_wrong_place_never_shows_in_the_faults() {
    let secret = "confidential ".repeat(20);
    for message in [
        format!(r#"{{"model_id":"m","converse":"{secret}"}}"#),
        format!(r#"{{"model_id":"m","converse":{{"messages":"{secret}"}}}}"#),
        format!(r#"{{"model_id":"m","invoke":{{}},"prompt":"{secret}"}}"#),
        format!(r#"{{"model_id":"m","invoke":{{"a":"{secret}"#),
        format!(r#"{{"model_id":"m","invoke":{{}},"metadata":["{secret}"]}}"#),
    ] {
        assert!(!told(&message).join(" ").contains("confidential"), "{message}");
    }
}

#[test]
fn defaults_and_their_spelled_out_values_are_the_same_content() {
    let hash = |message: &str| take(message).unwrap().content_hash;
    let plain = hash(r#"{"model_id":"m","invoke":{}}"#);
    assert_eq!(plain, hash(r#"{"model_id":"m","invoke":{},"priority":5,"tenant":"default","metadata":{}}"#));
    assert_ne!(plain, hash(r#"{"use_case":"m","invoke":{}}"#));
    assert_ne!(plain, hash(r#"{"model_id":"m","converse":{"messages":[1]}}"#));
}
