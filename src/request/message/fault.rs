//! What is wrong with a message: every fault at once, in words for its producer.

use std::fmt::{self, Write as _};

use super::json::kind;
use crate::clock::Timestamp;
use crate::request::{Failure, Metadata, ModelId, Priority, RequestId, Tenant};
use serde_json::value::RawValue;

/// No message is told more faults than this; the rest are counted.
const MOST: usize = 32;
/// Length limit of [`Invalid::to_failure`]'s message in bytes.
const FAILURE_BYTES: usize = 2048;

/// One thing that is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: `priority`, `metadata.team`, `converse.inferenceConfig.maxTokens`; `message` for the whole.
    pub field: String,
    /// The value found, shortened, and what is expected.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

/// A refused message: its faults, and what could be read of it all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invalid {
    /// At least one, in the order of the message's parts.
    pub faults: Vec<Fault>,
    /// The producer's id, when it is one.
    pub request_id: Option<RequestId>,
    /// The model asked for, when it is well formed.
    pub model_id: Option<ModelId>,
    /// The tenant, when it is well formed.
    pub tenant: Option<Tenant>,
    /// The batch, when it is well formed.
    pub batch_id: Option<String>,
    /// The well-formed pairs, at most 16.
    pub metadata: Metadata,
    /// The priority, when it is one.
    pub priority: Option<Priority>,
    /// The deadline, past or not, when it is a time.
    pub deadline: Option<Timestamp>,
    /// How many faults were found after the first 32.
    pub(super) untold: usize,
}

impl Invalid {
    /// An otherwise unreadable message with this one fault.
    #[must_use]
    pub fn because(field: impl Into<String>, reason: impl Into<String>) -> Self {
        let mut invalid = Self::default();
        invalid.fault(field, reason);
        invalid
    }

    /// Notes a fault.
    pub(super) fn fault(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        if self.faults.len() < MOST {
            self.faults.push(Fault { field: field.into(), reason: reason.into() });
        } else {
            self.untold += 1;
        }
    }

    /// Notes a fault that is only worth wording when it will be told: messages can hold millions.
    pub(super) fn fault_with(&mut self, fault: impl FnOnce() -> (String, String)) {
        if self.faults.len() < MOST {
            let (field, reason) = fault();
            self.fault(field, reason);
        } else {
            self.untold += 1;
        }
    }

    /// The error of the request's result: kind `InvalidMessage`, every fault in at most 2 KB.
    #[must_use]
    pub fn to_failure(&self) -> Failure {
        let mut message = String::from("the message was refused");
        let mut told = 0;
        for fault in &self.faults {
            let line = format!("{} {fault}", if told == 0 { ":" } else { ";" });
            if message.len() + line.len() > FAILURE_BYTES - 40 {
                break;
            }
            message.push_str(&line);
            told += 1;
        }
        let rest = self.faults.len() - told + self.untold;
        if rest > 0 {
            // Writing to a String does not fail.
            _ = write!(message, "; and {rest} more");
        }
        Failure {
            kind: "InvalidMessage".to_owned(),
            message,
            retryable: false,
            field: self.faults.first().map(|fault| fault.field.clone()),
        }
    }
}

/// A text in quotes, cut to 40 characters, control characters escaped.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        format!("{short:?}… ({} characters)", text.chars().count())
    } else {
        format!("{short:?}")
    }
}

/// The value as a fault may show it: scalars as they are, everything larger by its kind.
pub(super) fn shown(raw: &RawValue) -> String {
    let written = raw.get();
    match written.as_bytes().first() {
        Some(b'{' | b'[') => kind(raw).to_owned(),
        Some(b'"') => super::json::text(raw).map_or_else(|| "an unreadable string".to_owned(), |text| quoted(&text)),
        _ if written.len() <= 40 => written.to_owned(),
        _ => kind(raw).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_first_field_and_lists_all() {
        let mut invalid = Invalid::because("priority", "found 11");
        invalid.fault("tenant", "found \"\"");
        let failure = invalid.to_failure();
        assert_eq!(failure.kind, "InvalidMessage");
        assert_eq!(failure.field.as_deref(), Some("priority"));
        assert_eq!(failure.message, "the message was refused: priority: found 11; tenant: found \"\"");
        assert!(!failure.retryable);
    }

    #[test]
    fn a_flood_of_faults_is_counted_not_told() {
        let mut invalid = Invalid::default();
        for n in 0..1000 {
            invalid.fault(format!("field-{n}"), "x".repeat(100));
        }
        assert_eq!(invalid.faults.len(), MOST);
        let failure = invalid.to_failure();
        assert!(failure.message.len() <= FAILURE_BYTES, "{}", failure.message.len());
        let told = failure.message.matches("field-").count();
        assert!(failure.message.ends_with(&format!("and {} more", 1000 - told)), "{}", failure.message);
    }

    #[test]
    fn values_are_shown_short_and_on_one_line() {
        assert_eq!(quoted("a\nb"), r#""a\nb""#);
        assert_eq!(quoted(&"ä".repeat(50)), format!("{:?}… (50 characters)", "ä".repeat(40)));
        for (json, expected) in [("{\"prompt\":1}", "an object"), ("12.50", "12.50"), ("\"x\"", "\"x\"")] {
            assert_eq!(shown(serde_json::from_str(json).unwrap()), expected);
        }
    }
}
