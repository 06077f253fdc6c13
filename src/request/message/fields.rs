//! The envelope's fields, each judged by itself so that one fault never hides another.

use serde_json::value::RawValue;

use super::fault::{quoted, shown};
use super::{Fields, Invalid, Target, json, short_name};
use crate::clock::Timestamp;
use crate::request::{Metadata, ModelId, Priority, RequestId, Tenant, is_name};

const NAME_RULE: &str = "expected 1 to 128 characters of A-Z a-z 0-9 . _ : -";
const PAIRS: usize = 16;
const KEY_CHARS: usize = 256;
const VALUE_CHARS: usize = 1024;

pub(super) fn request_id(fields: &Fields<'_>, invalid: &mut Invalid) -> Option<RequestId> {
    let text = string(fields, "request_id", invalid)?;
    checked("request_id", &text, RequestId::new(text.as_str()), invalid)
}

pub(super) fn tenant(fields: &Fields<'_>, invalid: &mut Invalid) -> Option<Tenant> {
    let text = string(fields, "tenant", invalid)?;
    checked("tenant", &text, Tenant::new(text.as_str()), invalid)
}

pub(super) fn target(fields: &Fields<'_>, invalid: &mut Invalid) -> Option<Target> {
    let model = string(fields, "model_id", invalid)
        .and_then(|text| checked("model_id", &text, ModelId::new(text.as_str()), invalid));
    let use_case = string(fields, "use_case", invalid).and_then(|text| {
        let name = if is_name(&text) { Ok(text.clone()) } else { Err(NAME_RULE.to_owned()) };
        checked("use_case", &text, name, invalid)
    });
    match (fields.contains_key("model_id"), fields.contains_key("use_case")) {
        (true, true) => {
            invalid.fault("use_case", "given together with model_id; a message has exactly one of the two");
            model.map(Target::Model)
        }
        (true, false) => model.map(Target::Model),
        (false, true) => use_case.map(Target::UseCase),
        (false, false) => {
            invalid.fault("model_id", "missing; a message names a model_id or a use_case");
            None
        }
    }
}

pub(super) fn batch_id(fields: &Fields<'_>, invalid: &mut Invalid) -> Option<String> {
    let text = string(fields, "batch_id", invalid)?;
    let name = if is_name(&text) { Ok(text.clone()) } else { Err(NAME_RULE.to_owned()) };
    checked("batch_id", &text, name, invalid)
}

pub(super) fn priority(fields: &Fields<'_>, invalid: &mut Invalid) -> Option<Priority> {
    let raw = fields.get("priority")?;
    let priority = match json::text(raw) {
        Some(name) => Priority::from_name(&name),
        None => json::whole(raw).and_then(|n| u64::try_from(n).ok()).and_then(Priority::from_number),
    };
    if priority.is_none() {
        let expected = "expected urgent, high, normal, low, bulk or a number from 0 (first) to 9 (last)";
        invalid.fault("priority", format!("found {}; {expected}", shown(raw)));
    }
    priority
}

pub(super) fn deadline(fields: &Fields<'_>, now: Timestamp, invalid: &mut Invalid) -> Option<Timestamp> {
    let text = string(fields, "deadline", invalid)?;
    let deadline = checked("deadline", &text, time(&text), invalid)?;
    if deadline <= now {
        invalid.fault("deadline", format!("{deadline} has passed; it was {now} when the message was read"));
    }
    Some(deadline)
}

/// RFC 3339 as the schema has it: with a T, and without leap seconds, which clocks here cannot show.
fn time(text: &str) -> Result<Timestamp, String> {
    let parsed = Timestamp::parse(text)?;
    let letter = matches!(text.as_bytes().get(10), Some(b'T' | b't'));
    let leap = text.as_bytes().get(17) == Some(&b'6');
    if letter && !leap { Ok(parsed) } else { Err("expected a time such as 2026-11-21T09:30:00Z".to_owned()) }
}

pub(super) fn metadata(fields: &Fields<'_>, invalid: &mut Invalid) -> Metadata {
    let mut metadata = Metadata::new();
    let Some(raw) = fields.get("metadata") else { return metadata };
    if !json::is_object(raw) {
        invalid.fault("metadata", wrong_type(raw, "an object of strings"));
        return metadata;
    }
    let mut pairs = 0_usize;
    let read = json::members(raw, |key, value| {
        pairs += 1;
        if pairs > PAIRS {
            return;
        }
        let field = format!("metadata.{}", short_name(&key));
        let (key_chars, text) = (key.chars().count(), json::text(value));
        if !(1..=KEY_CHARS).contains(&key_chars) {
            invalid.fault(&field, format!("the key has {key_chars} characters; expected 1 to {KEY_CHARS}"));
        }
        match text {
            None => invalid.fault(&field, wrong_type(value, "a string")),
            Some(text) if text.chars().count() > VALUE_CHARS => {
                invalid.fault(&field, format!("{} characters; expected at most {VALUE_CHARS}", text.chars().count()));
            }
            Some(_) if metadata.contains_key(key.as_ref()) => invalid.fault(&field, "given twice"),
            Some(text) if (1..=KEY_CHARS).contains(&key_chars) => {
                metadata.insert(key.into_owned(), text.into_owned());
            }
            Some(_) => {}
        }
    });
    if read.is_err() {
        invalid.fault("metadata", "a key is no readable string");
    }
    if pairs > PAIRS {
        invalid.fault("metadata", format!("{pairs} pairs; expected at most {PAIRS}"));
    }
    metadata
}

/// The text of a field that must be a string.
fn string(fields: &Fields<'_>, field: &'static str, invalid: &mut Invalid) -> Option<String> {
    let raw = fields.get(field)?;
    let text = json::text(raw);
    if text.is_none() {
        invalid.fault(field, wrong_type(raw, "a string"));
    }
    text.map(std::borrow::Cow::into_owned)
}

fn checked<T>(field: &'static str, text: &str, value: Result<T, String>, invalid: &mut Invalid) -> Option<T> {
    value.map_err(|expected| invalid.fault(field, format!("found {}; {expected}", quoted(text)))).ok()
}

pub(super) fn wrong_type(raw: &RawValue, expected: &str) -> String {
    match raw.get() {
        "null" => format!("found null; expected {expected}, or no such field at all"),
        _ => format!("found {}; expected {expected}", shown(raw)),
    }
}
