//! The published schema and the decoder say the same about every message that a schema can judge.

use std::collections::BTreeMap;

use jsonschema::Validator;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

const SCHEMA: &str = include_str!("../../../docs/message.schema.json");
const VALID: &str = include_str!("../../../tests/data/messages/valid.json");
const INVALID: &str = include_str!("../../../tests/data/messages/invalid.json");

#[derive(Deserialize)]
struct Refused {
    name: String,
    message: Value,
    fields: Vec<String>,
}

fn schema() -> Validator {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    jsonschema::meta::validate(&schema).expect("the schema is a schema");
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

fn decoded(message: &Value) -> Result<Submission, Box<Invalid>> {
    decode(message.to_string().as_bytes(), Timestamp(0), &Limits::default())
}

#[test]
fn both_take_every_valid_message() {
    let schema = schema();
    let corpus: BTreeMap<String, Value> = serde_json::from_str(VALID).unwrap();
    for (name, message) in corpus {
        assert!(schema.is_valid(&message), "{name}: refused by the schema");
        if let Err(invalid) = decoded(&message) {
            panic!("{name}: {:?}", invalid.faults);
        }
    }
}

#[test]
fn both_refuse_every_invalid_message_and_the_fields_are_named() {
    let schema = schema();
    let corpus: Vec<Refused> = serde_json::from_str(INVALID).unwrap();
    for Refused { name, message, fields } in corpus {
        assert!(!schema.is_valid(&message), "{name}: taken by the schema");
        let invalid = decoded(&message).expect_err(&name);
        let found: Vec<_> = invalid.faults.iter().map(|fault| fault.field.clone()).collect();
        assert_eq!(found, fields, "{name}");
    }
}

#[test]
fn the_schemas_own_examples_are_taken() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    for example in schema["examples"].as_array().unwrap() {
        assert!(decoded(example).is_ok(), "{example}");
    }
    for (field, rules) in schema["properties"].as_object().unwrap() {
        assert!(rules["description"].is_string(), "{field} has no description");
        for example in rules["examples"].as_array().unwrap() {
            let mut message = json!({"model_id": "m", "invoke": {}});
            match field.as_str() {
                "use_case" => _ = message.as_object_mut().unwrap().remove("model_id"),
                "converse" => _ = message.as_object_mut().unwrap().remove("invoke"),
                _ => {}
            }
            message[field] = example.clone();
            assert!(decoded(&message).is_ok(), "{field}: {example}");
        }
    }
    let listed: Vec<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
    let mut fields = FIELDS.map(str::to_owned);
    fields.sort();
    assert_eq!(
        {
            let mut listed = listed;
            listed.sort();
            listed
        },
        fields
    );
}

#[test]
fn both_read_the_same_times() {
    let schema = schema();
    for deadline in [
        "2030-01-01T00:00:00Z",
        "2030-01-01T00:00:00.123456789Z",
        "2030-01-01T00:00:00+05:30",
        "2030-01-01t00:00:00z",
        "2030-01-01 00:00:00Z",
        "2030-01-01T00:00:00.Z",
        "2030-01-01T00:00:00+00:60",
        "2030-01-01T24:00:00Z",
        "2030-01-01T00:00:00+0530",
        "2030-1-1T00:00:00Z",
        "2030-01-01T00:00Z",
        "2030-06-30T23:59:60Z",
        "2030-01-01T00:00:00-00:00",
        "2030-01-01T00:00:00+24:00",
        "+2030-01-01T00:00:00Z",
        "2030-01-01T00:00:00Z ",
        "99999-01-01T00:00:00Z",
        "2030-06-29T23:59:60Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-01:00",
        "2030-01-01T00:00:00+23:59",
        "2030-01-01T00:00:00,5Z",
        "2030-01-01_00:00:00Z",
    ] {
        let message = json!({"model_id": "m", "invoke": {}, "deadline": deadline});
        assert_eq!(schema.is_valid(&message), decoded(&message).is_ok(), "{deadline}");
    }
}

/// Values that some field takes, or nearly takes.
fn value() -> impl Strategy<Value = Value> {
    let known = vec![
        json!("ok"),
        json!(""),
        json!("a b"),
        json!("é"),
        json!("urgent"),
        json!("Bulk"),
        json!(0),
        json!(9),
        json!(10),
        json!(-1),
        json!(3.0),
        json!(3.5),
        json!(1e300),
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!("x".repeat(128)),
        json!("x".repeat(129)),
        json!("2030-01-01T00:00:00Z"),
        json!("2030-01-01"),
        json!("2030-13-01T00:00:00Z"),
        json!({"a": "b"}),
        json!({"a": 1}),
        json!({"é": "é".repeat(1024)}),
        json!({"a": "é".repeat(1025)}),
        json!({"k".repeat(257): ""}),
        json!({"k".repeat(256): ""}),
        json!({"messages": [{}]}),
        json!({"messages": []}),
        json!({"messages": {}}),
        json!({"messages": [1], "modelId": 1}),
        json!({"messages": [{}], "inferenceConfig": {"maxTokens": 5}}),
        json!({"messages": [{}], "inferenceConfig": {"maxTokens": 2.5}}),
        json!({"messages": [{}], "inferenceConfig": []}),
        json!({"messages": [{}], "inferenceConfig": {"maxTokens": 4e9}}),
    ];
    prop_oneof![4 => prop::sample::select(known), 1 => "[ -~]{0,12}".prop_map(Value::from)]
}

proptest! {
    #[test]
    fn both_judge_any_message_alike(fields in prop::collection::btree_map(
        prop::sample::select([&FIELDS[..], &["extra"]].concat()), value(), 1..5)) {
        use std::sync::LazyLock;
        static VALIDATOR: LazyLock<Validator> = LazyLock::new(schema);
        let mut message = json!({"model_id": "m"});
        for (field, value) in &fields {
            message[field] = value.clone();
        }
        if message.get("invoke").is_none() && message.get("converse").is_none() {
            message["converse"] = json!({"messages": [{}]});
        }
        if message.get("use_case").is_some() {
            message.as_object_mut().unwrap().remove("model_id");
        }
        prop_assert_eq!(VALIDATOR.is_valid(&message), decoded(&message).is_ok(), "{}", message);
    }
}
