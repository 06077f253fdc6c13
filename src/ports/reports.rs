//! The reporting table: one row per finished request, for analysts.
//!
//! Its columns are written down once, below; from there come the local table's statements, the attributes on DynamoDB, the files of
//! exports, the table of Athena, and `docs/reporting.md`.

mod columns;
#[cfg(test)]
mod example;

use std::borrow::Cow;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::columns::{Cell, Column, Kind};
use self::columns::{Typed, column};
use super::PortResult;
use crate::clock::{Timestamp, millis};
use crate::request::{Metadata, Operation, RequestId, Row, Status};

macro_rules! report_row {
    ($( $(#[doc = $doc:literal])+ $(#[$attribute:meta])? $name:ident: $type:ty, $unit:literal; )+) => {
        /// One finished request. Times are UTC with milliseconds; what is absent is not known or does not apply, never zero.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct ReportRow {
            $( $(#[doc = $doc])+ $(#[$attribute])? pub $name: $type, )+
        }

        impl ReportRow {
            /// Its columns in order. New ones come last.
            pub const COLUMNS: &[Column] = &[$( column::<$type>(stringify!($name), $unit, &[$($doc),+]), )+];

            /// Its values in the order of [`ReportRow::COLUMNS`].
            #[must_use]
            pub fn cells(&self) -> Vec<Cell<'_>> {
                vec![$( self.$name.cell(), )+]
            }

            /// The row of these values, which are asked for in the order of [`ReportRow::COLUMNS`], by place and column.
            ///
            /// # Errors
            /// What `cell` fails with, and `unreadable` for a value that the column cannot have.
            pub fn from_cells<'a, E>(
                mut cell: impl FnMut(usize, &'static Column) -> Result<Cell<'a>, E>,
                unreadable: impl Fn(&'static Column) -> E,
            ) -> Result<Self, E> {
                let mut columns = Self::COLUMNS.iter().enumerate();
                Ok(Self {
                    $( $name: {
                        let (at, column) = columns.next().unwrap_or((usize::MAX, &columns::NONE));
                        <$type>::from_cell(cell(at, column)?).ok_or_else(|| unreadable(column))?
                    }, )+
                })
            }
        }
    };
}

report_row! {
    /// The UTC day it finished, `2026-11-21`. The table's partition key.
    day: String, "";
    /// `<finished_at>#<request_id>`. The table's sort key.
    finished_key: String, "";
    /// The request.
    request_id: RequestId, "";
    /// How it ended: `SUCCEEDED`, `FAILED`, `REJECTED`, `CANCELLED` or `EXPIRED`.
    status: Status, "";
    /// Whom it belongs to.
    tenant: String, "";
    /// The model that was (or would have been) called. Empty when the message was too broken to tell.
    model_id: String, "";
    /// The use case it was asked by, when it was asked by one.
    use_case: Option<String>, "";
    /// The quota it drew on: `account:region:model`.
    lane: String, "";
    /// From 0 (first) to 9 (last), as it was at the end.
    priority: u8, "";
    /// The same by name: `urgent`, `high`, `normal`, `low` or `bulk`.
    priority_class: String, "";
    /// When ingest took it: RECEIVED.
    received_at: Timestamp, "";
    /// When it last entered the hold queue: QUEUED.
    queued_at: Option<Timestamp>, "";
    /// When its last call started.
    started_at: Option<Timestamp>, "";
    /// When it ended.
    finished_at: Timestamp, "";
    /// From received to the start of the last call; to the end, when there was no call.
    wait_ms: u64, "ms";
    /// Duration of the last call.
    latency_ms: Option<u64>, "ms";
    /// Calls started, throttled ones not counted.
    attempts: u32, "calls";
    /// Calls that Bedrock throttled.
    throttles: u32, "calls";
    /// Its deadline.
    deadline: Option<Timestamp>, "";
    /// Whether it succeeded by then. Absent without a deadline.
    deadline_met: Option<bool>, "";
    /// Fresh input tokens, cached ones not counted. Absent, as the next three, when no call reported usage.
    input_tokens: Option<u64>, "tokens";
    /// Generated tokens.
    output_tokens: Option<u64>, "tokens";
    /// Input tokens read from the prompt cache.
    cache_read_tokens: Option<u64>, "tokens";
    /// Input tokens written to the prompt cache.
    cache_write_tokens: Option<u64>, "tokens";
    /// What the answer cost. Absent when nothing was answered or a price is not known.
    cost_usd: Option<f64>, "USD";
    /// The error's stable name: Bedrock's exception or one of smoother's.
    error_type: Option<String>, "";
    /// The producer's pairs.
    metadata: Metadata, "";
    /// The model that was asked for; another than `model_id` when it was switched.
    #[serde(default)]
    asked_model_id: String, "";
    /// Why another model was called than was asked for: `downgrade` (to keep a budget). Absent when none was.
    switch: Option<String>, "";
    /// The AWS Region of the lane. Absent when the message was refused.
    region: Option<String>, "";
    /// `converse` or `invoke`.
    #[serde(default)]
    operation: Operation, "";
    /// The service tier that Bedrock reported: `default`, `flex`, `priority` …; absent when it reported none.
    service_tier: Option<String>, "";
    /// The batch that its producer put it in.
    batch_id: Option<String>, "";
    /// When it first entered the hold queue.
    first_queued_at: Option<Timestamp>, "";
    /// When a worker last took it up to call it: RUNNING.
    claimed_at: Option<Timestamp>, "";
    /// When its first call started.
    first_started_at: Option<Timestamp>, "";
    /// From received to the last entry into the hold queue. Absent when it never got there.
    backlog_ms: Option<u64>, "ms";
    /// From there to the start of the last call. Absent when there was none.
    hold_ms: Option<u64>, "ms";
    /// From received to the end.
    #[serde(default)]
    total_ms: u64, "ms";
    /// Tokens of quota that its calls used since it was last taken up: input, cache writes, and output times the burndown rate.
    quota_tokens: Option<u64>, "tokens";
    /// The lane's quota when it was called; absent when requests are not limited.
    lane_requests_per_minute: Option<f64>, "requests/min";
    /// The lane's quota when it was called.
    lane_tokens_per_minute: Option<f64>, "tokens/min";
    /// From when the price is: the date of smoother's catalogue, or `settings` where the operator set any part of it.
    price_as_of: Option<String>, "";
    /// Length of the stored result.
    result_bytes: Option<u64>, "bytes";
    /// The worker that took it up last.
    worker: Option<String>, "";
    /// The trace it belongs to, 32 hex digits, where it is traced.
    trace_id: Option<String>, "";
}

impl ReportRow {
    /// The report of a finished row; the same row gives the same report, so that a repeat overwrites itself.
    /// `None` while the row is not final.
    #[must_use]
    pub fn of(row: &Row) -> Option<Self> {
        let outcome = row.outcome.as_ref()?;
        let request = &row.request;
        let (usage, quota) = (outcome.usage, outcome.quota);
        let finished_at = outcome.finished_at;
        let called_at = row.started_at.unwrap_or(finished_at);
        let since = |from: Timestamp, to: Timestamp| millis(to.since(from));
        Some(Self {
            day: finished_at.day(),
            finished_key: format!("{finished_at}#{}", request.id),
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
            finished_at,
            wait_ms: since(request.received_at, called_at),
            latency_ms: outcome.latency_ms,
            attempts: row.attempts,
            throttles: row.throttles,
            deadline: request.deadline,
            deadline_met: request.deadline.map(|d| row.status == Status::Succeeded && finished_at <= d),
            input_tokens: usage.map(|u| u.input_tokens),
            output_tokens: usage.map(|u| u.output_tokens),
            cache_read_tokens: usage.map(|u| u.cache_read_input_tokens),
            cache_write_tokens: usage.map(|u| u.cache_write_input_tokens),
            cost_usd: outcome.cost_usd,
            error_type: outcome.error.as_ref().map(|error| error.kind.clone()),
            metadata: request.metadata.clone(),
            asked_model_id: request.downgraded_from.as_ref().unwrap_or(&request.model_id).as_str().to_owned(),
            switch: request.downgraded_from.as_ref().map(|_| "downgrade".to_owned()),
            region: request.lane.region().map(str::to_owned),
            operation: request.operation,
            service_tier: outcome.service_tier.clone(),
            batch_id: request.batch_id.clone(),
            first_queued_at: row.first_queued_at,
            claimed_at: row.claimed_at,
            first_started_at: row.first_started_at,
            backlog_ms: row.queued_at.map(|at| since(request.received_at, at)),
            hold_ms: row.queued_at.zip(row.started_at).map(|(queued, started)| since(queued, started)),
            total_ms: since(request.received_at, finished_at),
            quota_tokens: quota.map(|q| q.tokens),
            lane_requests_per_minute: quota.and_then(|q| q.requests_per_minute),
            lane_tokens_per_minute: quota.and_then(|q| q.tokens_per_minute),
            price_as_of: outcome.price_as_of.clone(),
            result_bytes: outcome.result.as_ref().map(|stored| stored.bytes),
            worker: row.worker.clone(),
            trace_id: request.trace.as_deref().and_then(|trace| trace.split('-').nth(1)).map(str::to_owned),
        })
    }
}

/// Rows of one UTC day, between two keys.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    /// `2026-11-21`.
    pub day: &'a str,
    /// Only rows whose `finished_key` is greater.
    pub after: Option<&'a str>,
    /// Only rows whose `finished_key` is less.
    pub before: Option<&'a str>,
}

impl<'a> Slice<'a> {
    /// All rows of a day.
    #[must_use]
    pub fn of(day: &'a str) -> Self {
        Self { day, after: None, before: None }
    }

    /// What follows `key`.
    #[must_use]
    pub fn after(self, key: &'a str) -> Self {
        Self { after: Some(key), ..self }
    }

    /// What precedes `key`.
    #[must_use]
    pub fn before(self, key: &'a str) -> Self {
        Self { before: Some(key), ..self }
    }
}

/// The reporting table.
#[async_trait]
pub trait Reports: Send + Sync {
    /// Writes rows by (`day`, `finished_key`), overwriting; one result each, in order.
    async fn put(&self, rows: Vec<ReportRow>) -> Vec<PortResult<()>>;

    /// The first `limit` rows of a slice in order of `finished_key`: a page. The next one is after its last key; a page with fewer
    /// rows is the last.
    async fn page(&self, slice: Slice<'_>, limit: usize) -> PortResult<Vec<ReportRow>>;
}

impl Typed for Status {
    const KIND: Kind = Kind::Text;
    fn cell(&self) -> Cell<'_> {
        Cell::Text(Cow::Borrowed(self.as_str()))
    }
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        Self::parse(&cell.text()?)
    }
}

impl Typed for RequestId {
    const KIND: Kind = Kind::Text;
    fn cell(&self) -> Cell<'_> {
        Cell::Text(Cow::Borrowed(self.as_str()))
    }
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        Self::new(cell.text()?.into_owned()).ok()
    }
}

impl Typed for Operation {
    const KIND: Kind = Kind::Text;
    fn cell(&self) -> Cell<'_> {
        Cell::Text(Cow::Borrowed(self.as_str()))
    }
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        Self::parse(&cell.text()?)
    }
}
