//! The reporting table: one row per finished request, for analysts.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::PortResult;
use crate::clock::Timestamp;
use crate::request::{Failure, Metadata, RequestId, Row, Status, Usage};

/// One finished request. Times are UTC, durations milliseconds, money US dollars.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportRow {
    /// The UTC day it finished, `2026-11-21`: the table's partition key.
    pub day: String,
    /// `<finished_at>#<request_id>`: the table's sort key.
    pub finished_key: String,
    /// The request.
    pub request_id: RequestId,
    /// How it ended.
    pub status: Status,
    /// Whom it belongs to.
    pub tenant: String,
    /// The model asked; empty when the message was too broken to tell.
    pub model_id: String,
    /// The use case it was asked by.
    pub use_case: Option<String>,
    /// The quota it drew on.
    pub lane: String,
    /// 0 to 9.
    pub priority: u8,
    /// `urgent` … `bulk`.
    pub priority_class: String,
    /// When ingest took it.
    pub received_at: Timestamp,
    /// When it last entered the hold queue.
    pub queued_at: Option<Timestamp>,
    /// When its last call started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// From received to the start of the last call (to the end, when there was no call).
    pub wait_ms: u64,
    /// Duration of the last call.
    pub latency_ms: Option<u64>,
    /// Calls started, throttled ones not counted.
    pub attempts: u32,
    /// Calls throttled.
    pub throttles: u32,
    /// Its deadline.
    pub deadline: Option<Timestamp>,
    /// Whether it succeeded by then; absent without a deadline.
    pub deadline_met: Option<bool>,
    /// Fresh input tokens; absent when no call reported usage. So are the next three.
    pub input_tokens: Option<u64>,
    /// Generated tokens.
    pub output_tokens: Option<u64>,
    /// Read from the prompt cache.
    pub cache_read_tokens: Option<u64>,
    /// Written to the prompt cache.
    pub cache_write_tokens: Option<u64>,
    /// Cost of the answer; absent when the price is unknown or nothing was answered.
    pub cost_usd: Option<f64>,
    /// The error's stable name.
    pub error_type: Option<String>,
    /// The producer's pairs.
    pub metadata: Metadata,
}

impl ReportRow {
    /// The report of a finished row; the same row gives the same report, so that a repeat overwrites itself.
    /// `None` while the row is not final.
    #[must_use]
    pub fn of(row: &Row) -> Option<Self> {
        let outcome = row.outcome.as_ref()?;
        let request = &row.request;
        let usage: Option<Usage> = outcome.usage;
        let called_at = row.started_at.unwrap_or(outcome.finished_at);
        Some(Self {
            day: outcome.finished_at.day(),
            finished_key: format!("{}#{}", outcome.finished_at, request.id),
            request_id: request.id.clone(),
            status: row.status,
            tenant: request.tenant.as_str().to_owned(),
            model_id: request.model_id.as_str().to_owned(),
            use_case: request.use_case.clone(),
            lane: request.lane.as_str().to_owned(),
            priority: request.priority.number(),
            priority_class: request.priority.class().to_owned(),
            received_at: request.received_at,
            queued_at: row.queued_at,
            started_at: row.started_at,
            finished_at: outcome.finished_at,
            wait_ms: millis(called_at.since(request.received_at)),
            latency_ms: outcome.latency_ms,
            attempts: row.attempts,
            throttles: row.throttles,
            deadline: request.deadline,
            deadline_met: request.deadline.map(|d| row.status == Status::Succeeded && outcome.finished_at <= d),
            input_tokens: usage.map(|u| u.input_tokens),
            output_tokens: usage.map(|u| u.output_tokens),
            cache_read_tokens: usage.map(|u| u.cache_read_input_tokens),
            cache_write_tokens: usage.map(|u| u.cache_write_input_tokens),
            cost_usd: outcome.cost_usd,
            error_type: outcome.error.as_ref().map(|e: &Failure| e.kind.clone()),
            metadata: request.metadata.clone(),
        })
    }
}

fn millis(d: std::time::Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// The reporting table.
#[async_trait]
pub trait Reports: Send + Sync {
    /// Writes rows by (`day`, `finished_key`), overwriting; one result each, in order.
    async fn put(&self, rows: Vec<ReportRow>) -> Vec<PortResult<()>>;

    /// The rows of one UTC day in order of `finished_key` after `after`, at most `limit`: a page.
    async fn page(&self, day: &str, after: Option<&str>, limit: usize) -> PortResult<Vec<ReportRow>>;
}
