//! The state machine of a request: every write to the ledger is one of these transitions.
//!
//! ```text
//!            hold           claim            finish
//! RECEIVED ───────► QUEUED ───────► RUNNING ────────► SUCCEEDED | FAILED | EXPIRED | CANCELLED
//!     ▲               │  ▲             │ └─ claim again: the message was redelivered, its worker is gone
//!     └─── requeue ───┘  └── reissue   │
//!     ├─── defer ──────────────────────┘           (REJECTED rows are inserted final)
//!     └─ condemn: decided without a call ─ conclude ────► FAILED | EXPIRED | CANCELLED
//! ```
//! An operator may bring a FAILED row back to RECEIVED (`revive`).
//!
//! Two tokens fence it. The *ticket* names the hold message that may claim the row; every pass through the hold
//! queue gets a new one, so a stale message cannot start anything. The *claim* names the attempt that may finish
//! or defer it; every claim gets a new one, so a late worker can neither overwrite a newer attempt nor revive a
//! finished request.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::ports::ledger::Patch;
use crate::ports::{Transition, Work, WorkList};
use crate::request::{Flow, Note, Outcome, Request, RequestId, Row, Status, Verdict};

/// A new random token: 16 hex digits.
#[must_use]
pub fn token() -> String {
    format!("{:016x}", fastrand::u64(..))
}

/// Claims that may end without a word, as they do when a worker is killed. A request that took this many workers
/// down is poison: the next claim fails it instead of calling.
pub const MAX_LOST_CLAIMS: u32 = 3;

/// The name of that failure.
pub const POISON: &str = "Poison";

/// A call that goes on although its request is decided is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// The most detours a row remembers, so that rows stay small.
const MAX_NOTES: usize = 20;

/// A transition without guards that changes nothing else.
fn plain(id: RequestId, from: &'static [Status], to: Status, at: Timestamp, work: Option<Work>) -> Transition {
    Transition {
        id,
        from,
        if_ticket: None,
        if_claim: None,
        if_work: None,
        if_updated_at: None,
        to,
        at,
        work,
        set: Patch::default(),
    }
}

/// The row and place of a newly admitted request.
#[must_use]
pub fn admit(request: Request) -> (Row, Option<Work>) {
    let work = ready(request.flow(), &request.rank);
    let at = request.received_at;
    (Row::new(request, Status::Received, at), Some(work))
}

/// The row of a message that is refused: final from the start.
#[must_use]
pub fn reject(request: Request, outcome: Outcome) -> (Row, Option<Work>) {
    let at = outcome.finished_at;
    let mut row = Row::new(request, Status::Rejected, at);
    row.outcome = Some(outcome);
    (row, None)
}

fn ready(flow: Flow, rank: &str) -> Work {
    Work { list: WorkList::Ready(flow), sort: rank.to_owned() }
}

fn note(row: &Row, what: String, at: Timestamp) -> Option<Note> {
    (row.notes.len() < MAX_NOTES).then_some(Note { at, what })
}

fn deferred(until: Timestamp) -> Work {
    Work { list: WorkList::Deferred, sort: Work::time_key(until) }
}

fn decided(at: Timestamp) -> Work {
    Work { list: WorkList::Decided, sort: Work::time_key(at) }
}

fn held(until: Timestamp) -> Work {
    Work { list: WorkList::Held, sort: Work::time_key(until) }
}

/// Backlog → hold queue, under a new ticket; overdue at `overdue`. Applies only while the row is still at `from`.
#[must_use]
pub fn hold(id: RequestId, from: Work, ticket: &str, overdue: Timestamp, at: Timestamp) -> Transition {
    Transition {
        if_work: Some(from),
        set: Patch { ticket: Some(ticket.to_owned()), queued_at: Some(at), ..Patch::default() },
        ..plain(id, &[Status::Received], Status::Queued, at, Some(held(overdue)))
    }
}

/// A fresh ticket for a row whose hold message may be lost: the old message, if there is one, becomes stale.
#[must_use]
pub fn reissue(id: RequestId, ticket: &str, overdue: Timestamp, at: Timestamp) -> Transition {
    Transition {
        set: Patch { ticket: Some(ticket.to_owned()), ..Patch::default() },
        ..plain(id, &[Status::Queued], Status::Queued, at, Some(held(overdue)))
    }
}

/// The holder of the ticket starts an attempt, as `claim`. `overdue` is what the hold message was planned with.
#[must_use]
pub fn claim(id: RequestId, ticket: &str, claim: &str, worker: &str, overdue: Timestamp, at: Timestamp) -> Transition {
    Transition {
        if_ticket: Some(ticket.to_owned()),
        set: Patch {
            claim: Some((claim.to_owned(), worker.to_owned())),
            claimed_at: Some(at),
            add_claims: 1,
            ..Patch::default()
        },
        ..plain(id, &[Status::Queued, Status::Running], Status::Running, at, Some(held(overdue)))
    }
}

/// Calls made under a claim.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Calls {
    /// Started and not throttled.
    pub attempts: u32,
    /// Throttled.
    pub throttles: u32,
    /// When the last one started.
    pub started_at: Option<Timestamp>,
    /// When the first one started.
    pub first_started_at: Option<Timestamp>,
    /// Tokens of quota that they used.
    pub quota_tokens: f64,
}

impl Calls {
    /// A call starts.
    pub fn start(&mut self, at: Timestamp) {
        self.started_at = Some(at);
        self.first_started_at.get_or_insert(at);
    }
}

/// The claim ends the request.
#[must_use]
pub fn finish(id: RequestId, claim: &str, status: Status, calls: Calls, outcome: Outcome) -> Transition {
    let at = outcome.finished_at;
    Transition {
        if_claim: Some(claim.to_owned()),
        set: Patch {
            add_attempts: calls.attempts,
            add_throttles: calls.throttles,
            started_at: calls.started_at,
            first_started_at: calls.first_started_at,
            outcome: Some(outcome),
            ..Patch::default()
        },
        ..plain(id, &[Status::Running], status, at, None)
    }
}

/// Back to the backlog until `not_before`: the claim could not finish it now, and says why.
#[must_use]
pub fn defer(row: &Row, claim: &str, calls: Calls, not_before: Timestamp, why: String, at: Timestamp) -> Transition {
    Transition {
        if_claim: Some(claim.to_owned()),
        set: Patch {
            add_claims: -1,
            add_attempts: calls.attempts,
            add_throttles: calls.throttles,
            started_at: calls.started_at,
            first_started_at: calls.first_started_at,
            not_before: Some(not_before),
            note: note(row, why, at),
            ..Patch::default()
        },
        ..plain(row.request.id.clone(), &[Status::Running], Status::Received, at, Some(deferred(not_before)))
    }
}

/// Back to the backlog without an attempt: its lane is paused until `not_before`.
#[must_use]
pub fn step_back(id: RequestId, ticket: &str, not_before: Timestamp, at: Timestamp) -> Transition {
    Transition {
        if_ticket: Some(ticket.to_owned()),
        set: Patch { not_before: Some(not_before), ..Patch::default() },
        ..plain(id, &[Status::Queued], Status::Received, at, Some(deferred(not_before)))
    }
}

/// A deferral is over: back into line at its old rank.
#[must_use]
pub fn resume(id: RequestId, from: Work, flow: Flow, rank: &str, at: Timestamp) -> Transition {
    Transition { if_work: Some(from), ..plain(id, &[Status::Received], Status::Received, at, Some(ready(flow, rank))) }
}

/// A held row whose message or worker is gone goes back into line. Fenced by what was seen, so a worker that is
/// alive after all loses its claim and nothing else happens.
#[must_use]
pub fn requeue(row: &Row, why: &str, at: Timestamp) -> Transition {
    Transition {
        if_ticket: row.ticket.clone(),
        if_claim: row.claim.clone(),
        set: Patch { note: note(row, why.to_owned(), at), ..Patch::default() },
        ..plain(
            row.request.id.clone(),
            &[Status::Queued, Status::Running],
            Status::Received,
            at,
            Some(ready(row.request.flow(), &row.request.rank)),
        )
    }
}

/// A call is still running at its worker: look again after `longer`.
#[must_use]
pub fn extend(row: &Row, longer: Duration, at: Timestamp) -> Transition {
    Transition {
        if_claim: row.claim.clone(),
        ..plain(row.request.id.clone(), &[Status::Running], Status::Running, at, Some(held(at + longer)))
    }
}

/// Out of the hold queue and back into line, because what it belongs to was paused: the message becomes stale.
#[must_use]
pub fn withdraw(id: RequestId, flow: Flow, rank: &str, at: Timestamp) -> Transition {
    plain(id, &[Status::Queued], Status::Received, at, Some(ready(flow, rank)))
}

/// Decides a request without a (further) call. What waits goes to the list of the decided, which makes any message of it
/// stale, and the planner writes its end: see [`conclude`]. Of one that is being called, the answer still counts if there is
/// one. `None` when it is decided or has ended.
#[must_use]
pub fn condemn(row: &Row, verdict: Verdict, why: String, at: Timestamp) -> Option<Transition> {
    let aside = decided(at);
    let (from, to, work): (&'static [Status], _, _) = match row.status {
        _ if row.verdict.is_some() => return None,
        Status::Received => (&[Status::Received], Status::Received, aside),
        Status::Queued => (&[Status::Queued], Status::Received, aside),
        Status::Running => (&[Status::Running], Status::Running, held(at + LOOK_AGAIN)),
        _ => return None,
    };
    Some(Transition {
        if_updated_at: Some(row.updated_at),
        set: Patch {
            // Else its message would find the end under its own ticket, and tell of it again.
            ticket: (to == Status::Received).then(token),
            verdict: Some(verdict),
            note: note(row, why, at),
            ..Patch::default()
        },
        ..plain(row.request.id.clone(), from, to, at, Some(work))
    })
}

/// A request that was decided while it was called, and then went back into line instead of ending: to the list of the
/// decided with it.
#[must_use]
pub fn set_aside(row: &Row, at: Timestamp) -> Transition {
    Transition {
        if_updated_at: Some(row.updated_at),
        ..plain(row.request.id.clone(), &[Status::Received], Status::Received, at, Some(decided(at)))
    }
}

/// The end of a decided request: its row as it will be, and the transition that makes it so. Whoever tells of the end before
/// it is written tells the same again after a crash, since nothing of it depends on when. `None` when it is not decided.
#[must_use]
pub fn conclude(row: &Row) -> Option<(Row, Transition)> {
    let verdict = row.verdict.clone().filter(|_| row.status == Status::Received)?;
    let at = row.updated_at;
    let outcome = Outcome { error: Some(verdict.failure), ..Outcome::at(at) };
    let ended = Row { status: verdict.status, outcome: Some(outcome.clone()), ..row.clone() };
    let transition = Transition {
        if_updated_at: Some(at),
        set: Patch { outcome: Some(outcome), ..Patch::default() },
        ..plain(row.request.id.clone(), &[Status::Received], verdict.status, at, None)
    };
    Some((ended, transition))
}

/// Puts another request in the place of one that is not being called: other priority, deadline, model or lane. It goes back
/// into line at its new rank, or waits on if it is deferred. `None` when it is being called, is decided or has ended.
#[must_use]
pub fn change(row: &Row, request: Request, why: String, at: Timestamp) -> Option<Transition> {
    if row.verdict.is_some() {
        return None;
    }
    let not_before = row.not_before.filter(|until| *until > at);
    let (from, work): (&'static [Status], _) = match row.status {
        Status::Received => match not_before {
            Some(until) => (&[Status::Received], deferred(until)),
            None => (&[Status::Received], ready(request.flow(), &request.rank)),
        },
        Status::Queued => (&[Status::Queued], ready(request.flow(), &request.rank)),
        _ => return None,
    };
    Some(Transition {
        if_updated_at: Some(row.updated_at),
        set: Patch { request: Some(Box::new(request)), note: note(row, why, at), ..Patch::default() },
        ..plain(row.request.id.clone(), from, Status::Received, at, Some(work))
    })
}

/// Notes that a request in line should start only at `start`, after its deadline.
#[must_use]
pub fn put_at_risk(row: &Row, start: Timestamp, why: String, at: Timestamp) -> Option<Transition> {
    if row.status != Status::Received || row.at_risk.is_some() {
        return None;
    }
    let work = ready(row.request.flow(), &row.request.rank);
    Some(Transition {
        if_work: Some(work.clone()),
        set: Patch { at_risk: Some(start), note: note(row, why, at), ..Patch::default() },
        ..plain(row.request.id.clone(), &[Status::Received], Status::Received, at, Some(work))
    })
}

/// The longest text of a failure that a note keeps.
const KEPT_OF_FAILURE: usize = 300;

/// An operator puts a failed row back into line, at its old rank and with its lost claims forgotten, so that the poison
/// rule counts anew. How it had failed becomes a note with the operator's name. Fenced by what was seen: of two who revive
/// the same end one is refused, and so is a repeat after the row has failed again.
#[must_use]
pub fn revive(row: &Row, by: &str, at: Timestamp) -> Transition {
    let failure = row.outcome.as_ref().and_then(|outcome| outcome.error.as_ref());
    let failed = failure.map_or_else(String::new, |f| format!("; it had failed as {}: {}", f.kind, f.message));
    let what: String = format!("put back into line by {by}{failed}").chars().take(KEPT_OF_FAILURE).collect();
    Transition {
        if_ticket: row.ticket.clone(),
        if_claim: row.claim.clone(),
        set: Patch {
            add_claims: i32::try_from(row.claims).map_or(i32::MIN, i32::wrapping_neg),
            note: Some(Note { at, what }),
            clear_outcome: true,
            ..Patch::default()
        },
        ..plain(
            row.request.id.clone(),
            &[Status::Failed],
            Status::Received,
            at,
            Some(ready(row.request.flow(), &row.request.rank)),
        )
    }
}
