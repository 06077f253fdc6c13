//! The requests table: one row per request, conditional writes, and the work lists.
//!
//! Every row that is not final stands in exactly one work list, so nothing can be forgotten: `Ready` (ranked, one per
//! flow), `Deferred` (by when it may go on), `Held` (by when somebody must look after it) or
//! `Decided` (to be ended without a call). Lists are read in
//! key order in O(page); a list read may lag behind writes by a moment (an index on AWS), a row read never does.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::PortResult;
use crate::clock::Timestamp;
use crate::request::{Estimate, Flow, Note, Outcome, Priority, Request, RequestId, Row, Status, Verdict};

/// The work lists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WorkList {
    /// Ready to be called, of one flow; sorted by rank.
    Ready(Flow),
    /// Waiting out a delay; sorted by [`Work::time_key`] of when it ends.
    Deferred,
    /// In the hold queue or being called; sorted by [`Work::time_key`] of when it is overdue.
    Held,
    /// To be ended without a call; sorted by [`Work::time_key`] of when that was decided.
    Decided,
}

/// A row's place in a work list. Places are distinct: `sort` ends where the adapter appends the request id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Work {
    /// Which list.
    pub list: WorkList,
    /// The key within it, at most 64 ASCII characters, compared bytewise.
    pub sort: String,
}

impl Work {
    /// The sort key of a point in time, so that keys compare as times do.
    #[must_use]
    pub fn time_key(at: Timestamp) -> String {
        format!("{:014}", at.0)
    }
}

/// What a work list shows of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkItem {
    /// The request.
    pub id: RequestId,
    /// Its key in the list.
    pub sort: String,
    /// Its lane, tenant and use case.
    pub flow: Flow,
    /// Its urgency.
    pub priority: Priority,
    /// Its rank.
    pub rank: String,
    /// Its expected use.
    pub estimate: Estimate,
    /// No call is started after this.
    pub deadline: Option<Timestamp>,
}

/// Which part of a work list is read.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Only what lies behind this place: the `sort` and the id of the last item of the page before.
    pub after: Option<(&'a str, &'a RequestId)>,
    /// Only items with a `sort` up to this.
    pub up_to: Option<&'a str>,
    /// At most so many.
    pub limit: usize,
}

impl<'a> Page<'a> {
    /// The first `limit` items.
    #[must_use]
    pub fn first(limit: usize) -> Self {
        Self { after: None, up_to: None, limit }
    }

    /// Only items with a `sort` up to this.
    #[must_use]
    pub fn up_to(self, sort: &'a str) -> Self {
        Self { up_to: Some(sort), ..self }
    }

    /// Only items behind this one.
    #[must_use]
    pub fn after(self, last: &'a WorkItem) -> Self {
        Self { after: Some((&last.sort, &last.id)), ..self }
    }
}

/// Answer to [`Ledger::insert`].
#[derive(Clone, Debug, PartialEq)]
pub enum Inserted {
    /// The row is new.
    New,
    /// A row of that id was there and is unchanged; here it is.
    Exists(Box<Row>),
}

/// Answer to [`Ledger::apply`].
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// Done; the row as it is now.
    Done(Box<Row>),
    /// The condition did not hold; the row as it is, or `None` when there is none.
    Refused(Option<Box<Row>>),
}

/// One conditional write: applied whole when the row's status is in `from` and the guards match, else not at all.
/// Built only by `pipeline::lifecycle`, which is the state machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// Which row.
    pub id: RequestId,
    /// The statuses it may be in.
    pub from: &'static [Status],
    /// The row's ticket must be this.
    pub if_ticket: Option<String>,
    /// The row's claim must be this.
    pub if_claim: Option<String>,
    /// The row must still be in this place (guards list-driven moves against races).
    pub if_work: Option<Work>,
    /// The row must not have changed since (guards what was decided from a row that was read).
    pub if_updated_at: Option<Timestamp>,
    /// The new status.
    pub to: Status,
    /// When.
    pub at: Timestamp,
    /// The place from now on; `None` exactly when `to` is final.
    pub work: Option<Work>,
    /// What else changes.
    pub set: Patch,
}

/// The fields a transition writes; `None` leaves them as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    /// New ticket.
    pub ticket: Option<String>,
    /// New claim and the worker that holds it.
    pub claim: Option<(String, String)>,
    /// Added to `claims`: 1 for a claim, -1 for one that ends in order.
    pub add_claims: i32,
    /// Calls to add.
    pub add_attempts: u32,
    /// Throttled calls to add.
    pub add_throttles: u32,
    /// Entered the hold queue; the first time is kept as well.
    pub queued_at: Option<Timestamp>,
    /// Was claimed.
    pub claimed_at: Option<Timestamp>,
    /// Last call started.
    pub started_at: Option<Timestamp>,
    /// First call started, unless one is known already.
    pub first_started_at: Option<Timestamp>,
    /// Deferred until.
    pub not_before: Option<Timestamp>,
    /// Appended to the notes.
    pub note: Option<Note>,
    /// The request is to be this from now on: an operator changed its priority or deadline, or its model was changed.
    /// Its id stays; whether it is at risk is forgotten.
    pub request: Option<Box<Request>>,
    /// It is decided without a call.
    pub verdict: Option<Verdict>,
    /// It was found to start too late for its deadline: the projected start.
    pub at_risk: Option<Timestamp>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Forgets how it ended or was decided to end, as a row that is brought back into line must; a row so changed is kept without limit again.
    pub clear_outcome: bool,
}

/// How many rows there are; for people, so `counts` may be as old as the adapter says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows by status; statuses without rows may be missing.
    pub by_status: BTreeMap<Status, u64>,
    /// Ready rows by flow; flows without rows may be missing.
    pub ready: BTreeMap<Flow, u64>,
}

/// The requests table.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Inserts each row unless its id is taken; one answer each, in order. Insert is the admission: idempotent by id.
    /// A row with final status has no place in a work list (`work` is `None`).
    async fn insert(&self, rows: Vec<(Row, Option<Work>)>) -> Vec<PortResult<Inserted>>;

    /// Applies each transition on its own, concurrently; one answer each, in order. Transitions of one call are for distinct rows.
    async fn apply(&self, transitions: Vec<Transition>) -> Vec<PortResult<Applied>>;

    /// The row, read consistently.
    async fn get(&self, id: &RequestId) -> PortResult<Option<Row>>;

    /// A page of a list in the order of `sort`, then of ids. Costs O(`page.limit`), wherever in the list it lies.
    async fn list(&self, list: &WorkList, page: Page<'_>) -> PortResult<Vec<WorkItem>>;

    /// The flows whose `Ready` list a row has entered since, by the writers' wall clocks; flows that are empty by now may
    /// be among them. All that are not empty without `since`. An entry shows within [`FLOW_LAG`] of its time.
    async fn flows(&self, since: Option<Timestamp>) -> PortResult<Vec<Flow>>;

    /// How long a list may go on without showing a write.
    fn list_lag(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }

    /// How many rows are ready, by priority; priorities without rows may be missing. Costs O(1) locally; on AWS it reads every ready
    /// row, one page of 1 MB after another, so whoever asks sees to it that this does not happen often.
    async fn ready_by_priority(&self) -> PortResult<BTreeMap<Priority, u64>>;

    /// How many rows there are. Exact locally; on AWS counted through the work lists and so without final statuses.
    async fn counts(&self) -> PortResult<Counts>;
}

/// Whoever asks for flows since its last look asks for this much more: writers note an entry at most once a second for each
/// flow, their clocks differ, and an index lags behind.
pub const FLOW_LAG: std::time::Duration = std::time::Duration::from_secs(5);
