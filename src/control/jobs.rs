//! What operators do to requests that wait: cancel them, give them another priority or another deadline.
//!
//! By id, or all that match a filter; one audit event for each order, whatever comes of it. In bulk the work lists are walked page
//! by page, so that a million rows need no more memory than a thousand. The planner moves rows meanwhile: what was there when the walk
//! began and still waits where the walk comes by is changed, what moved behind its back is not; giving the same order again
//! catches the rest, and changes nothing twice.

mod batch;
mod tally;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::audit::{self, Action, Event, Operator, Target};
use super::filter::Filter;
use super::walk::Walk;
use crate::clock::{Clock, Timestamp};
use crate::ports::{Ledger, PortError, PortResult, Ports, Registers};
use crate::request::{Priority, RequestId, Status};

pub use self::tally::Tally;

/// The longest reason that is taken, in characters: it goes into every row.
pub const LONGEST_REASON: usize = 300;

/// What is to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Ended as CANCELLED without a (further) call. A call in flight is let finish, and counts if it answers.
    Cancel,
    /// Another priority; the time waited still counts.
    Priority(Priority),
    /// Another deadline, or none.
    Deadline(Option<Timestamp>),
}

impl Change {
    fn action(self) -> Action {
        match self {
            Self::Cancel => Action::Cancel,
            Self::Priority(_) => Action::Reprioritise,
            Self::Deadline(_) => Action::Deadline,
        }
    }

    /// What it leads to.
    fn after(self) -> String {
        match self {
            Self::Cancel => "cancelled".to_owned(),
            Self::Priority(priority) => priority_words(priority),
            Self::Deadline(at) => deadline_words(at),
        }
    }
}

/// A change and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What.
    pub change: Change,
    /// Why, for the request's history and its producer.
    pub reason: Option<String>,
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is changed. What is cancelled ends within seconds, when a planner and a caller work.
    Done,
    /// Cancelled while it is being called: an answer still counts, but there will be no other call.
    AfterCall,
    /// It is being called, so it is as it was.
    Running,
    /// It was so already.
    Unchanged,
    /// It has ended.
    AlreadyFinal(Status),
    /// Its end is decided, and about to be written.
    Decided(Status),
    /// There is no such request.
    Unknown,
    /// It changed again and again while this was tried.
    Conflict,
    /// It could not be read or written.
    Failed(String),
}

impl Outcome {
    /// The name it is counted under; stable.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Done => "changed",
            Self::AfterCall => "after_call",
            Self::Running => "running",
            Self::Unchanged => "unchanged",
            Self::AlreadyFinal(_) => "final",
            Self::Decided(_) => "decided",
            Self::Unknown => "unknown",
            Self::Conflict => "conflict",
            Self::Failed(_) => "failed",
        }
    }

    /// Whether the request is now as it was ordered.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Done | Self::AfterCall | Self::Unchanged)
    }
}

/// Why an order is not even tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The new deadline has passed.
    #[error(
        "the deadline {at} has passed (it is {now}): what is due before now would expire at once; to end requests, cancel them"
    )]
    PastDeadline {
        /// The deadline.
        at: Timestamp,
        /// The present time.
        now: Timestamp,
    },
    /// The reason is too long.
    #[error("the reason has {0} characters; at most {LONGEST_REASON} are taken, since it goes into every request")]
    LongReason(usize),
}

/// What ends an order early. What was changed until then stays so.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not tried.
    #[error("{0}")]
    Refused(#[from] Refused),
    /// The place is out of reach. Nothing was changed.
    #[error("cannot {0}")]
    Port(#[from] PortError),
}

/// What came of an order in bulk, or would.
#[derive(Debug, Default)]
pub struct Report {
    /// The counts.
    pub tally: Tally,
    /// Why it ended before all was seen.
    pub stopped: Option<String>,
    /// Why the audit has no event of it, although it should.
    pub not_audited: Option<PortError>,
}

/// What came of an order to requests by name.
#[derive(Debug, Default)]
pub struct Answers {
    /// One for each request, in order.
    pub outcomes: Vec<(RequestId, Outcome)>,
    /// Why the audit has no event of it, although it should.
    pub not_audited: Option<PortError>,
}

/// Gives an operator's orders.
pub struct Jobs {
    ledger: Arc<dyn Ledger>,
    registers: Arc<dyn Registers>,
    clock: Clock,
    operator: Operator,
    expected: Duration,
}

impl Jobs {
    /// For this operator. `expected` is what a call should take, for the rank of what has a deadline.
    #[must_use]
    pub fn new(ports: &Ports, clock: Clock, operator: Operator, expected: Duration) -> Self {
        let (ledger, registers) = (Arc::clone(&ports.ledger), Arc::clone(&ports.registers));
        Self { ledger, registers, clock, operator, expected }
    }

    /// Gives an order for requests by name.
    ///
    /// # Errors
    /// The order makes no sense. What could not be done is told for each request.
    pub async fn change(&self, ids: &[RequestId], order: &Order) -> Result<Answers, Error> {
        self.check(order)?;
        let mut tally = Tally::default();
        let mut outcomes = Vec::with_capacity(ids.len());
        for some in ids.chunks(super::walk::PAGE) {
            for done in self.batch(some.to_vec(), order, None).await {
                let outcome = done.outcome.unwrap_or(Outcome::Unchanged);
                tally.add(&outcome, done.before.as_ref(), order.change);
                outcomes.push((done.id, outcome));
            }
        }
        let not_audited = self.record(order, Target::requests(ids), &tally, None).await.err();
        Ok(Answers { outcomes, not_audited })
    }

    /// Says what would become of requests by name, and changes nothing.
    ///
    /// # Errors
    /// As [`Jobs::change`], or the place is out of reach.
    pub async fn preview(&self, ids: &[RequestId], order: &Order) -> Result<Answers, Error> {
        self.check(order)?;
        let mut outcomes = Vec::with_capacity(ids.len());
        for id in ids {
            let outcome = match self.judge(vec![id.clone()], order, None).await?.pop() {
                Some((_, outcome)) => outcome,
                None => Outcome::Unknown,
            };
            outcomes.push((id.clone(), outcome));
        }
        Ok(Answers { outcomes, not_audited: None })
    }

    /// Gives an order for all that match. `watch` is told the counts after every page; `stop` ends it between two pages.
    ///
    /// # Errors
    /// The order makes no sense, or the lists could not be begun. What goes wrong later is in the report.
    pub async fn change_matching(
        &self,
        filter: &Filter,
        order: &Order,
        watch: &mut dyn FnMut(&Tally),
        stop: &CancellationToken,
    ) -> Result<Report, Error> {
        self.check(order)?;
        let mut walk = Walk::begin(&*self.ledger, filter).await?;
        let mut tally = Tally::default();
        let stopped = loop {
            if stop.is_cancelled() {
                break Some("interrupted".to_owned());
            }
            let page = match walk.next().await {
                Ok(Some(page)) => page,
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            };
            let ids = page.items.into_iter().filter(|item| !is_so(item, order.change)).map(|item| item.id).collect();
            let mut failed = None;
            for done in self.batch(ids, order, Some(filter)).await {
                let Some(outcome) = done.outcome else { continue };
                tally.add(&outcome, done.before.as_ref(), order.change);
                if let Outcome::Failed(error) = outcome {
                    failed = Some(error);
                }
            }
            watch(&tally);
            if let Some(error) = failed {
                break Some(error);
            }
        };
        let target = Target::Matching(filter.to_string());
        let not_audited = self.record(order, target, &tally, stopped.clone()).await.err();
        Ok(Report { tally, stopped, not_audited })
    }

    /// Counts what an order would change now, and changes nothing.
    ///
    /// # Errors
    /// The order makes no sense, or the place is out of reach.
    pub async fn preview_matching(
        &self,
        filter: &Filter,
        order: &Order,
        watch: &mut dyn FnMut(&Tally),
        stop: &CancellationToken,
    ) -> Result<Report, Error> {
        self.check(order)?;
        let mut walk = Walk::begin(&*self.ledger, filter).await?;
        let mut tally = Tally::default();
        while let Some(page) = walk.next().await? {
            if stop.is_cancelled() {
                return Ok(Report { tally, stopped: Some("interrupted".to_owned()), ..Report::default() });
            }
            let items: Vec<_> = page.items.into_iter().filter(|item| !is_so(item, order.change)).collect();
            if page.held {
                let ids = items.into_iter().map(|item| item.id).collect();
                for (row, outcome) in self.judge(ids, order, Some(filter)).await? {
                    tally.add(&outcome, Some(&row), order.change);
                }
            } else {
                for item in &items {
                    tally.add_item(item);
                }
            }
            watch(&tally);
        }
        Ok(Report { tally, ..Report::default() })
    }

    fn check(&self, order: &Order) -> Result<(), Refused> {
        let length = order.reason.as_ref().map_or(0, |reason| reason.chars().count());
        if length > LONGEST_REASON {
            return Err(Refused::LongReason(length));
        }
        match order.change {
            Change::Deadline(Some(at)) if at <= self.clock.now() => {
                Err(Refused::PastDeadline { at, now: self.clock.now() })
            }
            _ => Ok(()),
        }
    }

    async fn record(&self, order: &Order, target: Target, tally: &Tally, stopped: Option<String>) -> PortResult<()> {
        let event = Event {
            operator: self.operator.clone(),
            action: order.change.action(),
            target,
            before: tally.before(),
            after: Some(order.change.after()),
            reason: order.reason.clone(),
            outcome: tally.outcomes.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<BTreeMap<_, _>>(),
            stopped,
        };
        audit::record(&*self.registers, &self.clock, event).await
    }
}

/// Whether a list shows that nothing would change.
fn is_so(item: &crate::ports::WorkItem, change: Change) -> bool {
    match change {
        Change::Cancel => false,
        Change::Priority(priority) => item.priority == priority,
        Change::Deadline(at) => item.deadline == at,
    }
}

fn priority_words(priority: Priority) -> String {
    let (class, number) = (priority.class(), priority.number());
    if Priority::from_name(class) == Some(priority) { class.to_owned() } else { format!("{class} ({number})") }
}

fn deadline_words(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "no deadline".to_owned(), |at| at.to_string())
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::AfterCall => {
                f.write_str("cancelled as far as it can be: the call in flight is let finish, another is not made")
            }
            Self::Running => f.write_str("not changed: it is being called"),
            Self::Unchanged => f.write_str("not changed: it was so already"),
            Self::AlreadyFinal(status) => write!(f, "not changed: it is {status} already"),
            Self::Decided(status) => write!(f, "not changed: it is about to end as {status}"),
            Self::Unknown => f.write_str("there is no such request"),
            Self::Conflict => f.write_str("not changed: it changed again and again meanwhile; try once more"),
            Self::Failed(error) => write!(f, "not changed: cannot {error}"),
        }
    }
}
