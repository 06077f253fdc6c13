//! What the ledger knows of a request: where it stands, what happened to it, how it ended.

use serde::{Deserialize, Serialize};

use super::{PayloadRef, Request, Status};
use crate::clock::Timestamp;

/// Tokens as Bedrock reported them; `input_tokens` excludes cached ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Fresh input tokens.
    pub input_tokens: u64,
    /// Generated tokens.
    pub output_tokens: u64,
    /// Input tokens read from the prompt cache.
    pub cache_read_input_tokens: u64,
    /// Input tokens written to the prompt cache.
    pub cache_write_input_tokens: u64,
}

/// Why a request did not succeed, in words for its producer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable name: Bedrock's exception (`ThrottlingException`) or one of ours (`InvalidMessage`, `IdConflict`, `DeadlinePassed`, `Poison`).
    #[serde(rename = "type")]
    pub kind: String,
    /// What happened, which value, what to do.
    pub message: String,
    /// Whether the same request may succeed when sent again later under a new id.
    pub retryable: bool,
    /// The field of the message that is wrong, `inferenceConfig.maxTokens` say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// How a request ended. Written once, together with the final status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// When.
    pub finished_at: Timestamp,
    /// What it used, where a call reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Duration of the last call as seen here, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u64>,
    /// Dollars; absent when the model's price is unknown or nothing was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
    /// The service tier that Bedrock reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<String>,
    /// From when the price is that `cost_usd` was reckoned with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_as_of: Option<String>,
    /// What of which quota its calls used since it was last claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaUse>,
    /// Where the result body lies, and how long it is in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<StoredResult>,
    /// Why it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

impl Outcome {
    /// An end at this time of which nothing else is known.
    #[must_use]
    pub fn at(finished_at: Timestamp) -> Self {
        Self {
            finished_at,
            usage: None,
            latency_ms: None,
            cost_usd: None,
            service_tier: None,
            price_as_of: None,
            quota: None,
            result: None,
            error: None,
        }
    }
}

/// Quota that calls used, and how much there was of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuotaUse {
    /// Tokens of quota.
    pub tokens: u64,
    /// The lane's quota at that time; `None` when requests are not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<f64>,
    /// The lane's quota at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<f64>,
}

/// A stored result body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredResult {
    /// Where it lies.
    pub payload: PayloadRef,
    /// Its length in bytes.
    pub bytes: u64,
}

/// How a request is to end without a call: taken back by somebody, out of time or out of money. The next worker that
/// claims it writes that as its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// CANCELLED, EXPIRED or FAILED.
    pub status: Status,
    /// Why, for the producer.
    pub failure: Failure,
}

/// Something out of the ordinary in a request's life, for `smoother status ID`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When.
    pub at: Timestamp,
    /// What, in words.
    pub what: String,
}

/// A request's row in the ledger: the request, and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was asked.
    pub request: Request,
    /// Where it stands.
    pub status: Status,
    /// Calls started for it, throttled ones not counted.
    pub attempts: u32,
    /// Calls that Bedrock throttled.
    pub throttles: u32,
    /// Claims that have not ended in order: the present one, and those of workers that were killed.
    pub claims: u32,
    /// Names the hold message that may claim it; a message with another ticket is stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Names the claim that may finish or defer it; everybody else is fenced off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// The worker that holds the claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// When it last went to the hold queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<Timestamp>,
    /// When it first went there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_queued_at: Option<Timestamp>,
    /// When it was last claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<Timestamp>,
    /// When its last call was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When its first call was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_started_at: Option<Timestamp>,
    /// Not to be called before this (after a deferral).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// When the row last changed.
    pub updated_at: Timestamp,
    /// Deferrals and other detours, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// It is decided without a (further) call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// When it was projected to start, if that was found to be after its deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_risk: Option<Timestamp>,
    /// How it ended; present exactly when the status is final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

impl Row {
    /// The row of a request that nothing has happened to since `at`.
    #[must_use]
    pub fn new(request: Request, status: Status, at: Timestamp) -> Self {
        Self {
            request,
            status,
            attempts: 0,
            throttles: 0,
            claims: 0,
            ticket: None,
            claim: None,
            worker: None,
            queued_at: None,
            first_queued_at: None,
            claimed_at: None,
            started_at: None,
            first_started_at: None,
            not_before: None,
            updated_at: at,
            notes: Vec::new(),
            verdict: None,
            at_risk: None,
            outcome: None,
        }
    }
}
