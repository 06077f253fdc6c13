//! Decoding what producers send: one message in, a [`Submission`] or every fault at once out.
//!
//! The rules are those of `docs/message.schema.json`; a test holds the two together. The body for Bedrock is
//! never rebuilt: its bytes go on exactly as they came.

mod body;
mod canonical;
mod facts;
mod fault;
mod fields;
mod json;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use self::canonical::ContentHash;
pub use self::facts::BodyFacts;
use self::fault::quoted;
pub use self::fault::{Fault, Invalid};
use super::{Metadata, ModelId, Operation, Priority, RequestId, Tenant};
use crate::clock::Timestamp;
use crate::nearest::nearest;

/// What a message may hold.
const FIELDS: [&str; 10] = [
    "request_id",
    "model_id",
    "use_case",
    "priority",
    "tenant",
    "deadline",
    "batch_id",
    "metadata",
    "converse",
    "invoke",
];

/// Names that producers try, and where what they mean belongs.
const BELONGS: [(&str, &str); 12] = [
    ("id", "did you mean `request_id`?"),
    ("model", "did you mean `model_id`?"),
    ("modelid", "did you mean `model_id`?"),
    ("body", "the request body belongs in `converse` or `invoke`"),
    ("payload", "the request body belongs in `converse` or `invoke`"),
    ("prompt", "the request body belongs in `converse` or `invoke`"),
    ("messages", "it belongs inside `converse`"),
    ("system", "it belongs inside `converse`"),
    ("inferenceConfig", "it belongs inside `converse`"),
    ("toolConfig", "it belongs inside `converse`"),
    ("max_tokens", "it belongs in `converse.inferenceConfig.maxTokens`, or inside `invoke`"),
    ("tags", "did you mean `metadata`?"),
];

/// How much a message may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Length of the whole message in bytes, also of one that comes by pointer.
    pub message_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes: 25_000_000 }
    }
}

/// What a message asks to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This model, profile or ARN.
    Model(ModelId),
    /// Whatever model stands behind this use case.
    UseCase(String),
}

/// A well-formed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The producer's id; without one the queue's message id serves.
    pub request_id: Option<RequestId>,
    /// What is to be called.
    pub target: Target,
    /// Whom it belongs to.
    pub tenant: Tenant,
    /// Its urgency.
    pub priority: Priority,
    /// No call is started after this.
    pub deadline: Option<Timestamp>,
    /// The batch that its producer puts it in.
    pub batch_id: Option<String>,
    /// The producer's pairs.
    pub metadata: Metadata,
    /// Which body it has.
    pub operation: Operation,
    /// The body, byte for byte.
    pub body: Bytes,
    /// SHA-256 in hex over everything asked but the id; spacing, key order and notation do not change it.
    pub content_hash: String,
    /// Measures of the body for the estimate.
    pub facts: BodyFacts,
}

/// Reads one message.
///
/// # Errors
/// All that is wrong with it, and what could be read of it.
pub fn decode(raw: &[u8], now: Timestamp, limits: &Limits) -> Result<Submission, Box<Invalid>> {
    let (text, message) = parse(raw, *limits)?;
    let mut invalid = Invalid::default();
    let fields = envelope(message, &mut invalid);

    invalid.request_id = fields::request_id(&fields, &mut invalid);
    let target = fields::target(&fields, &mut invalid);
    if let Some(Target::Model(model)) = &target {
        invalid.model_id = Some(model.clone());
    }
    invalid.priority = fields::priority(&fields, &mut invalid);
    invalid.tenant = fields::tenant(&fields, &mut invalid);
    invalid.deadline = fields::deadline(&fields, now, &mut invalid);
    invalid.batch_id = fields::batch_id(&fields, &mut invalid);
    invalid.metadata = fields::metadata(&fields, &mut invalid);

    // The hash is over what was understood, so that `normal`, `5` and no priority at all are the same request.
    let mut hash = ContentHash::new();
    match &target {
        Some(Target::Model(model)) => hash.part("model_id", model.as_str()),
        Some(Target::UseCase(name)) => hash.part("use_case", name),
        None => {}
    }
    let tenant = invalid.tenant.clone().unwrap_or_default();
    let priority = invalid.priority.unwrap_or_default();
    hash.part("tenant", tenant.as_str());
    hash.part("priority", &priority.number().to_string());
    hash.part("deadline", &invalid.deadline.map(|t| t.to_string()).unwrap_or_default());
    if let Some(batch) = &invalid.batch_id {
        hash.part("batch_id", batch);
    }
    for (key, value) in &invalid.metadata {
        hash.part("metadata", key);
        hash.part("", value);
    }

    let body = body::choose(&fields, &mut invalid);
    if let Some((operation, body)) = body {
        body::check(text, operation, body, &mut hash, &mut invalid);
    }
    match (target, body) {
        (Some(target), Some((operation, body))) if invalid.faults.is_empty() => Ok(Submission {
            request_id: invalid.request_id,
            target,
            tenant,
            priority,
            deadline: invalid.deadline,
            batch_id: invalid.batch_id,
            metadata: invalid.metadata,
            operation,
            facts: facts::measure(operation, body),
            body: Bytes::copy_from_slice(body.get().as_bytes()),
            content_hash: hash.finish(),
        }),
        _ => Err(Box::new(invalid)),
    }
}

/// The members of a message by name.
type Fields<'a> = BTreeMap<&'static str, &'a RawValue>;

fn parse(raw: &[u8], limits: Limits) -> Result<(&str, &RawValue), Box<Invalid>> {
    let whole = |reason: String| Err(Box::new(Invalid::because("message", reason)));
    if raw.len() as u64 > limits.message_bytes {
        return whole(format!(
            "{} bytes are too many; at most {} are taken, a longer body must be split",
            raw.len(),
            limits.message_bytes
        ));
    }
    let text = match std::str::from_utf8(raw) {
        Ok(text) => text,
        Err(e) => return whole(format!("not UTF-8: byte {} is no part of a character", e.valid_up_to() + 1)),
    };
    if text.starts_with('\u{feff}') {
        return whole("starts with a byte order mark; send the JSON without one".to_owned());
    }
    if text.trim().is_empty() {
        return whole("empty; expected a JSON object".to_owned());
    }
    match serde_json::from_str::<&RawValue>(text) {
        Ok(value) if json::is_object(value) => Ok((text, value)),
        Ok(value) => whole(format!("expected a JSON object, found {}", json::kind(value))),
        Err(e) => whole(format!("not JSON: {}", why(&e, e.line(), e.column()))),
    }
}

/// The parser's complaint with its place. Never shows the text that it stumbled over.
fn why(error: &serde_json::Error, line: usize, column: usize) -> String {
    let told = error.to_string();
    let told = told.split_once(" at line ").map_or(told.as_str(), |(what, _)| what);
    let told = if error.is_syntax() || error.is_eof() { told } else { "unexpected value" };
    format!("{told} at line {line}, column {column}")
}

/// Sorts the members into the known fields; the others, and repetitions, are faults.
fn envelope<'a>(message: &'a RawValue, invalid: &mut Invalid) -> Fields<'a> {
    let mut fields = Fields::new();
    let read = json::members(message, |key, value| match FIELDS.iter().find(|field| **field == key) {
        Some(field) => {
            if fields.insert(field, value).is_some() {
                invalid.fault(*field, "given twice; a message has each field once");
            }
        }
        None => invalid.fault_with(|| (short_name(&key), unknown(&key))),
    });
    if let Err(e) = read {
        invalid.fault("message", format!("not JSON: {}", why(&e, e.line(), e.column())));
    }
    fields
}

fn unknown(key: &str) -> String {
    if let Some((_, where_to)) = BELONGS.iter().find(|(name, _)| *name == key) {
        return format!("unknown field; {where_to}");
    }
    match nearest(key, FIELDS) {
        Some(name) => format!("unknown field; did you mean `{name}`?"),
        None => format!("unknown field; expected one of {}", FIELDS.join(", ")),
    }
}

/// A producer's key as a field name: short, on one line.
fn short_name(key: &str) -> String {
    let plain = (1..=64).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    if plain { key.to_owned() } else { quoted(key) }
}

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
