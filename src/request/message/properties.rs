//! Decoding holds for any message, not only for those somebody thought of.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

const NOW: Timestamp = Timestamp(1_795_252_123_000);

fn take(message: &str) -> Result<Submission, Box<Invalid>> {
    decode(message.as_bytes(), NOW, &Limits::default())
}

/// Any JSON of moderate size.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..5).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// The fields of a valid message, in name order.
fn valid() -> impl Strategy<Value = Map<String, Value>> {
    let name = "[A-Za-z0-9._:-]{1,40}";
    let priority = prop_oneof![
        (0..=9_u8).prop_map(Value::from),
        prop::sample::select(vec!["urgent", "low", "bulk"]).prop_map(Value::from)
    ];
    (
        prop::option::of(name),
        ("[!-~]{1,40}", any::<bool>()),
        prop::option::of(priority),
        prop::option::of(name),
        prop::option::of(1_u64..4_000_000_000_000),
        prop::collection::btree_map(".{1,12}", ".{0,20}", 0..16),
        (any::<bool>(), prop::collection::vec(any_json(), 1..3), any_json()),
    )
        .prop_map(|(id, (model, by_model), priority, tenant, later, metadata, (converse, messages, other))| {
            let mut message = Map::new();
            if let Some(id) = id {
                message.insert("request_id".into(), id.into());
            }
            if by_model {
                message.insert("model_id".into(), model.into());
            } else {
                message.insert("use_case".into(), format!("u{}", model.len()).into());
            }
            if let Some(priority) = priority {
                message.insert("priority".into(), priority);
            }
            if let Some(tenant) = tenant {
                message.insert("tenant".into(), tenant.into());
            }
            if let Some(later) = later {
                message.insert("deadline".into(), Timestamp(NOW.0 + later).to_string().into());
            }
            message.insert("metadata".into(), json!(metadata));
            let body = if converse {
                json!({"messages": messages, "x": other})
            } else {
                json!({"messages": messages, "y": other})
            };
            message.insert(if converse { "converse" } else { "invoke" }.into(), body);
            message
        })
}

/// Writes a value with its keys backwards, spaces everywhere and every letter of a string escaped.
fn strangely(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<_> =
                members.iter().rev().map(|(k, v)| format!("\n{} :\t{}", escaped(k), strangely(v))).collect();
            format!("{{{} }}", members.join(" ,"))
        }
        Value::Array(items) => format!("[ {}\r\n]", items.iter().map(strangely).collect::<Vec<_>>().join(" , ")),
        Value::String(text) => escaped(text),
        other => other.to_string(),
    }
}

fn escaped(text: &str) -> String {
    let units: String =
        text.encode_utf16().flat_map(|unit| format!("\\u{unit:04x}").into_bytes()).map(char::from).collect();
    format!("\"{units}\"")
}

proptest! {
    #[test]
    fn no_bytes_ever_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        _ = decode(&bytes, NOW, &Limits::default());
    }

    #[test]
    fn no_damaged_message_ever_panics(message in valid(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = Value::Object(message).to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Err(invalid) = decode(&bytes, NOW, &Limits::default()) {
            prop_assert!(!invalid.faults.is_empty());
            prop_assert!(invalid.to_failure().message.len() <= 2048);
        }
    }

    #[test]
    fn what_was_put_in_comes_out(message in valid()) {
        let text = Value::Object(message.clone()).to_string();
        let taken = take(&text).map_err(|e| TestCaseError::fail(format!("{:?}", e.faults)))?;
        let given = |field: &str| message.get(field).and_then(Value::as_str).map(str::to_owned);
        prop_assert_eq!(taken.request_id.map(|id| id.to_string()), given("request_id"));
        prop_assert_eq!(taken.tenant.to_string(), given("tenant").unwrap_or_else(|| "default".into()));
        prop_assert_eq!(taken.deadline.map(|t| t.to_string()), given("deadline"));
        prop_assert_eq!(json!(taken.metadata), message["metadata"].clone());
        match taken.target {
            Target::Model(model) => prop_assert_eq!(Some(model.to_string()), given("model_id")),
            Target::UseCase(name) => prop_assert_eq!(Some(name), given("use_case")),
        }
        let (field, operation) = if message.contains_key("converse") { ("converse", Operation::Converse) } else { ("invoke", Operation::Invoke) };
        prop_assert_eq!(taken.operation, operation);
        prop_assert_eq!(std::str::from_utf8(&taken.body).unwrap(), message[field].to_string());
    }

    #[test]
    fn the_body_keeps_its_bytes_however_it_is_written(message in valid()) {
        let field = if message.contains_key("converse") { "converse" } else { "invoke" };
        let text = strangely(&Value::Object(message.clone()));
        let taken = take(&text).map_err(|e| TestCaseError::fail(format!("{:?}", e.faults)))?;
        prop_assert_eq!(std::str::from_utf8(&taken.body).unwrap(), strangely(&message[field]));
    }

    #[test]
    fn writing_does_not_change_the_hash_and_the_id_is_no_content(message in valid()) {
        let plain = take(&Value::Object(message.clone()).to_string()).unwrap();
        let strange = take(&strangely(&Value::Object(message.clone()))).unwrap();
        prop_assert_eq!(&plain.content_hash, &strange.content_hash);
        let mut renamed = message;
        renamed.insert("request_id".into(), "another".into());
        prop_assert_eq!(&plain.content_hash, &take(&Value::Object(renamed).to_string()).unwrap().content_hash);
    }

    #[test]
    fn content_decides_the_hash(one in valid(), other in valid(), field in prop::sample::select(FIELDS.to_vec())) {
        // Two messages that differ in at most one field, so that every field gets its turn.
        let mut changed = one.clone();
        match other.get(field) {
            Some(value) if one.contains_key(field) => changed.insert(field.to_owned(), value.clone()),
            _ => None,
        };
        let (a, b) = (take(&Value::Object(one).to_string()).unwrap(), take(&Value::Object(changed).to_string()).unwrap());
        let same = (&a.target, &a.tenant, a.priority, a.deadline, &a.metadata, a.operation, &a.body)
            == (&b.target, &b.tenant, b.priority, b.deadline, &b.metadata, b.operation, &b.body);
        prop_assert_eq!(same, a.content_hash == b.content_hash);
    }
}
