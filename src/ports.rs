//! The narrow traits that the pipeline speaks to, in the project's own types.
//!
//! Two full sets of adapters implement them: [`crate::local`] (SQLite and a directory) and [`crate::aws`].
//! One contract suite, `tests/contract`, holds both to what is written here. Batch verbs take any number of
//! items, chunk them as their service needs, and answer with one result per item in the same order; a failed
//! item never abandons the rest.

pub mod alerts;
pub mod ledger;
pub mod metrics;
pub mod model;
pub mod payloads;
pub mod queue;
pub mod quotas;
pub mod registers;
pub mod reports;
pub mod spans;
pub mod usage;

use std::sync::Arc;

pub use alerts::{Alert, Alerts, Severity};
pub use ledger::{Applied, Inserted, Ledger, Page, Transition, Work, WorkItem, WorkList};
pub use metrics::{Datum, Metrics, Undelivered, Unit};
pub use model::{Answer, Call, CallError, Model};
pub use payloads::{Payloads, PutKind};
pub use queue::{Delivery, Depth, Outgoing, Queue};
pub use quotas::{QuotaRow, Quotas};
pub use registers::{Register, Registers};
pub use reports::{ReportRow, Reports};
pub use spans::{Span, SpanKind, SpanValue, Spans};
pub use usage::{Minute, MinuteTokens, UsageFeed};

/// A port that could not do its work. Carries no payload and no secret.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct PortError {
    /// The operation and its object: `sqs receive from smoother-input`.
    pub what: String,
    /// The cause in the service's words.
    pub why: String,
    /// Whether the same call may succeed later. Access denied, a missing table or a malformed call may not.
    pub retryable: bool,
}

impl PortError {
    /// A fault that may pass: throttling, a time-out, a lock, a 5xx.
    pub fn transient(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self { what: what.into(), why: why.to_string(), retryable: true }
    }

    /// A fault that stays until somebody acts: permissions, configuration, a bug.
    pub fn permanent(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self { what: what.into(), why: why.to_string(), retryable: false }
    }
}

/// Shorthand for what ports answer.
pub type PortResult<T> = Result<T, PortError>;

/// One full set of adapters, all that the worker needs besides [`Model`].
#[derive(Clone)]
pub struct Ports {
    /// What producers send.
    pub input: Arc<dyn Queue>,
    /// What is called next; redrives to [`Ports::dead`] after three receives.
    pub hold: Arc<dyn Queue>,
    /// Where poison hold messages end.
    pub dead: Arc<dyn Queue>,
    /// What consumers receive.
    pub results: Arc<dyn Queue>,
    /// The requests table.
    pub ledger: Arc<dyn Ledger>,
    /// Request and result bodies.
    pub payloads: Arc<dyn Payloads>,
    /// The reporting table.
    pub reports: Arc<dyn Reports>,
    /// Leases, heartbeats, shared settings of the fleet.
    pub registers: Arc<dyn Registers>,
    /// On-call: the channels, each of which gets every alert.
    pub alerts: Vec<Arc<dyn Alerts>>,
    /// Dashboards.
    pub metrics: Arc<dyn Metrics>,
}
