//! The smallest plausible value of a JSON schema: what a model would fill in.

use serde_json::{Map, Value, json};

const DEPTH: u8 = 12;

/// A value that fits the schema's types, enums, constants and required properties.
pub(super) fn example(schema: &Value) -> Value {
    build(schema, DEPTH)
}

fn build(schema: &Value, depth: u8) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    if let Some(value) = schema.get("const").or_else(|| schema.get("default")) {
        return value.clone();
    }
    if let Some(first) = schema.get("enum").and_then(Value::as_array).and_then(|values| values.first()) {
        return first.clone();
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(first) = schema.get(key).and_then(Value::as_array).and_then(|schemas| schemas.first()) {
            return build(first, depth - 1);
        }
    }
    let kind = schema.get("type").and_then(|kind| match kind {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    });
    match kind {
        Some("string") => json!("example"),
        Some("integer") => {
            schema.get("minimum").filter(|minimum| minimum.is_i64()).cloned().unwrap_or_else(|| json!(1))
        }
        Some("number") => schema.get("minimum").cloned().unwrap_or_else(|| json!(1.5)),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        Some("array") => json!([build(schema.get("items").unwrap_or(&Value::Null), depth - 1)]),
        _ => object(schema, depth),
    }
}

fn object(schema: &Value, depth: u8) -> Value {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Value::Object(Map::new());
    };
    let required = schema.get("required").and_then(Value::as_array);
    let wanted = |name: &str| required.is_none_or(|names| names.iter().any(|required| required == name));
    let fill = |(name, property): (&String, &Value)| (name.clone(), build(property, depth - 1));
    Value::Object(properties.iter().filter(|(name, _)| wanted(name)).map(fill).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_by_type() {
        let schema = json!({
            "type": "object",
            "properties": {
                "city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]},
                "tags": {"type": "array", "items": {"type": "boolean"}}, "note": {"type": "string"},
                "either": {"anyOf": [{"type": "null"}, {"type": "string"}]}
            },
            "required": ["city", "days", "unit", "tags", "either"]
        });
        let expected = json!({"city": "example", "days": 1, "unit": "C", "tags": [true], "either": null});
        assert_eq!(example(&schema), expected);
        assert!(jsonschema::is_valid(&schema, &expected));
        assert_eq!(example(&json!({})), json!({}));
    }

    #[test]
    fn ends_on_a_schema_without_end() {
        let mut schema = json!({"type": "string"});
        for _ in 0..100 {
            schema = json!({"type": "array", "items": schema});
        }
        assert!(example(&schema).is_array());
    }
}
