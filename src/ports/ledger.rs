//! The requests table: one row per request, conditional writes, and the work lists.
//!
//! Every row that is not final stands in exactly one work list, so nothing can be forgotten: `Ready` (ranked, per
//! lane), `Deferred` (by when it may go on) or `Held` (by when somebody must look after it). Lists are read in
//! key order in O(page); a list read may lag behind writes by a moment (an index on AWS), a row read never does.

use async_trait::async_trait;

use super::PortResult;
use crate::clock::Timestamp;
use crate::request::{Estimate, Lane, Note, Outcome, RequestId, Row, Status};

/// The work lists.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WorkList {
    /// Ready to be called in this lane; sorted by rank.
    Ready(Lane),
    /// Waiting out a delay; sorted by [`Work::time_key`] of when it ends.
    Deferred,
    /// In the hold queue or being called; sorted by [`Work::time_key`] of when it is overdue.
    Held,
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
    /// Its lane.
    pub lane: Lane,
    /// Its rank.
    pub rank: String,
    /// Its expected use.
    pub estimate: Estimate,
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
    /// Entered the hold queue.
    pub queued_at: Option<Timestamp>,
    /// Last call started.
    pub started_at: Option<Timestamp>,
    /// Deferred until.
    pub not_before: Option<Timestamp>,
    /// Appended to the notes.
    pub note: Option<Note>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Forgets how it ended, as a row that is brought back into line must; a row so changed is kept without limit again.
    pub clear_outcome: bool,
}

/// How many rows there are; for people, so `counts` may be as old as the adapter says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows by status; statuses without rows may be missing.
    pub by_status: std::collections::BTreeMap<Status, u64>,
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

    /// The first `limit` items of a list in sort order, only those with `sort` ≤ `up_to` when given. Costs O(`limit`).
    async fn list(&self, list: &WorkList, up_to: Option<&str>, limit: usize) -> PortResult<Vec<WorkItem>>;

    /// Every lane that ever had a row; in no order.
    async fn lanes(&self) -> PortResult<Vec<Lane>>;

    /// Rows by status. Exact locally; on AWS counted through the work lists and so without final statuses.
    async fn counts(&self) -> PortResult<Counts>;
}
