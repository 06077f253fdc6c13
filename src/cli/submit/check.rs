//! Judges lines as ingest will judge them, so that faults are told before anything is sent.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::clock::Clock;
use crate::models::{Catalog, estimate};
use crate::pipeline::ingest;
use crate::request::message::{self, Fault, Limits, Target};
use crate::request::{Estimate, Failure, ModelId, Priority, RequestId, Tenant};

use super::lines::Content;

/// What is needed of a good line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: Option<RequestId>,
    pub priority: Priority,
    pub model: ModelId,
    pub use_case: Option<String>,
    pub tenant: Tenant,
    pub content_hash: String,
    pub estimate: Estimate,
    /// Whether the body sets a limit on the output.
    pub limits_output: bool,
}

/// Everything that is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    pub faults: Vec<Fault>,
    /// The model it asks for, where that could be read.
    pub model: Option<ModelId>,
}

/// Judges single lines.
pub struct Checker {
    catalog: Catalog,
    limits: Limits,
    clock: Clock,
}

impl Checker {
    pub fn new(catalog: Catalog, limits: Limits, clock: Clock) -> Self {
        Self { catalog, limits, clock }
    }

    /// The message of a line, or everything that is wrong with it.
    pub fn check(&self, content: &Content<'_>) -> Result<Message, Rejected> {
        let bytes = match content {
            Content::Bytes(bytes) => bytes,
            Content::TooLong(bytes) => {
                let most = self.limits.message_bytes;
                let reason =
                    format!("{bytes} bytes are too many; at most {most} are taken, a longer body must be split");
                return Err(Rejected { faults: vec![Fault { field: "message".to_owned(), reason }], model: None });
            }
        };
        let submission = message::decode(bytes, self.clock.now(), &self.limits).map_err(|invalid| {
            let faults = invalid.faults.into_iter();
            // The message is a line; the line that counts is the file's.
            let faults = faults.map(|f| Fault { reason: f.reason.replace(" at line 1, column ", " at column "), ..f });
            Rejected { faults: faults.collect(), model: invalid.model_id }
        })?;
        let use_case = match &submission.target {
            Target::UseCase(name) => Some(name.clone()),
            Target::Model(_) => None,
        };
        let model = self.catalog.resolve(&submission.target).map_err(|failure| {
            let asked = match &submission.target {
                Target::UseCase(_) => None,
                Target::Model(id) => Some(id.clone()),
            };
            rejected(failure, asked)
        })?;
        let estimate = estimate(&submission.facts, &model);
        ingest::fits(estimate, &model).map_err(|failure| rejected(failure, Some(model.id.clone())))?;
        Ok(Message {
            id: submission.request_id,
            priority: submission.priority,
            model: model.id,
            use_case,
            tenant: submission.tenant,
            content_hash: submission.content_hash,
            estimate,
            limits_output: submission.facts.max_tokens.is_some(),
        })
    }

    /// The longest message, in bytes.
    pub fn longest(&self) -> u64 {
        self.limits.message_bytes
    }
}

fn rejected(failure: Failure, model: Option<ModelId>) -> Rejected {
    let field = failure.field.unwrap_or_else(|| "message".to_owned());
    Rejected { faults: vec![Fault { field, reason: failure.message }], model }
}

/// What a request_id was used for before.
#[derive(Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    New,
    /// The same request, in this line.
    Same(u64),
    /// Another request, in this line.
    Other(u64),
}

/// The request_ids of a file. Keeps a few bytes of each: an id is known by its hash, so two of a million are taken
/// for one with a chance below one in ten million.
#[derive(Default)]
pub struct Ids {
    hasher: RandomState,
    lines: HashMap<u64, (u64, u64)>,
}

impl Ids {
    /// Notes the id of a line, and says where it was used before.
    pub fn note(&mut self, id: &RequestId, content_hash: &str, line: u64) -> Before {
        let content = self.hasher.hash_one(content_hash);
        match self.lines.entry(self.hasher.hash_one(id.as_str())) {
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert((content, line));
                Before::New
            }
            std::collections::hash_map::Entry::Occupied(used) => match *used.get() {
                (same, line) if same == content => Before::Same(line),
                (_, line) => Before::Other(line),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::config::Config;

    fn check(line: &str) -> Result<Message, Vec<String>> {
        let config = Config::default();
        let clock = Clock::anchored(Timestamp(1_795_252_123_000));
        let checker = Checker::new(Catalog::new(&config), config.message_limits(), clock);
        checker.check(&Content::Bytes(line.as_bytes())).map_err(|r| r.faults.iter().map(ToString::to_string).collect())
    }

    #[tokio::test]
    async fn faults_are_those_of_ingest() {
        let good = r#"{"request_id":"a","model_id":"amazon.nova-lite-v1:0","priority":"high","converse":{"messages":[{"role":"user","content":[{"text":"Hi"}]}]}}"#;
        let message = check(good).unwrap();
        assert_eq!((message.id.unwrap().as_str(), message.priority), ("a", Priority::HIGH));
        let bad = |from: &str, to: &str| check(&good.replace(from, to)).unwrap_err();
        assert_eq!(
            bad("amazon.nova-lite-v1:0", "amazon.nova-light-v1:0")[0].split(';').next().unwrap(),
            "model_id: unknown model \"amazon.nova-light-v1:0\""
        );
        assert_eq!(
            bad("\"model_id\":\"amazon.nova-lite-v1:0\"", "\"use_case\":\"x\""),
            ["use_case: unknown use case \"x\"; no use case is configured"]
        );
        assert_eq!(bad("}]}]}}", "}]}]}"), ["message: not JSON: EOF while parsing an object at column 138"]);
        let two = bad("\"priority\":\"high\"", "\"priority\":11,\"tenant\":\"\"");
        assert_eq!(two.len(), 2, "{two:?}");
    }

    #[test]
    fn ids_tell_repeats_from_conflicts() {
        let mut ids = Ids::default();
        let id = |text: &str| RequestId::new(text).unwrap();
        assert_eq!(ids.note(&id("a"), "x", 1), Before::New);
        assert_eq!(ids.note(&id("b"), "x", 2), Before::New);
        assert_eq!(ids.note(&id("a"), "x", 3), Before::Same(1));
        assert_eq!(ids.note(&id("a"), "y", 4), Before::Other(1));
    }
}
