//! One page of requests: read, judged, written; again where a row changed in between.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{Change, Jobs, Order, Outcome, deadline_words, priority_words};
use crate::clock::Timestamp;
use crate::control::filter::Filter;
use crate::pipeline::{lifecycle, rank, verdict};
use crate::ports::{Applied, PortResult, Transition};
use crate::request::{RequestId, Row, Status};

/// Rows read at the same time.
const READS: usize = 32;
/// How often a row that changes meanwhile is tried.
const TRIES: u32 = 5;
/// The pause before it is tried again, times the number of tries.
const PAUSE: Duration = Duration::from_millis(20);

/// What became of one request of a page.
pub struct Judged {
    pub id: RequestId,
    /// `None`: it is none of those that are meant, or not any more.
    pub outcome: Option<Outcome>,
    /// The row as it was, when there is one.
    pub before: Option<Row>,
}

/// What is to be done with a row.
enum Plan {
    Apply(Box<Transition>, Outcome),
    Leave(Outcome),
    /// It is none of those that are meant.
    Pass,
}

impl Jobs {
    /// Brings an order to requests; of those that a `filter` found only to what matches it now. One answer each, in no order
    /// beyond that of ids when none had to be tried again.
    pub(super) async fn batch(&self, ids: Vec<RequestId>, order: &Order, filter: Option<&Filter>) -> Vec<Judged> {
        let order_of: HashMap<RequestId, usize> = ids.iter().cloned().zip(0..).collect();
        let mut done: Vec<Judged> = Vec::with_capacity(ids.len());
        let mut pending: Vec<RequestId> = order_of.keys().cloned().collect();
        for tries in 0..TRIES {
            if tries > 0 {
                tokio::time::sleep(PAUSE * tries).await;
            }
            let reads = pending.iter().map(|id| async move { (id.clone(), self.ledger.get(id).await) });
            let read: Vec<(RequestId, PortResult<Option<Row>>)> =
                stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(READS).collect().await;
            let now = self.clock.now();
            let (mut transitions, mut expected) = (Vec::new(), Vec::new());
            for (id, row) in read {
                match row {
                    Err(error) => {
                        done.push(Judged { id, outcome: Some(Outcome::Failed(error.to_string())), before: None });
                    }
                    Ok(None) => done.push(Judged { id, outcome: Some(Outcome::Unknown), before: None }),
                    Ok(Some(row)) => match self.plan(&row, order, filter, now) {
                        Plan::Pass => done.push(Judged { id, outcome: None, before: Some(row) }),
                        Plan::Leave(outcome) => done.push(Judged { id, outcome: Some(outcome), before: Some(row) }),
                        Plan::Apply(transition, outcome) => {
                            transitions.push(*transition);
                            expected.push((row, outcome));
                        }
                    },
                }
            }
            pending.clear();
            if transitions.is_empty() {
                break;
            }
            for ((row, outcome), applied) in expected.into_iter().zip(self.ledger.apply(transitions).await) {
                let id = row.request.id.clone();
                match applied {
                    Ok(Applied::Done(_)) => done.push(Judged { id, outcome: Some(outcome), before: Some(row) }),
                    Ok(Applied::Refused(_)) => pending.push(id),
                    Err(error) => {
                        done.push(Judged { id, outcome: Some(Outcome::Failed(error.to_string())), before: Some(row) });
                    }
                }
            }
            if pending.is_empty() {
                break;
            }
        }
        done.extend(pending.into_iter().map(|id| Judged { id, outcome: Some(Outcome::Conflict), before: None }));
        done.sort_by_key(|judged| order_of.get(&judged.id).copied());
        done
    }

    /// What would become of requests; of those that a `filter` found only what matches it now.
    pub(super) async fn judge(
        &self,
        ids: Vec<RequestId>,
        order: &Order,
        filter: Option<&Filter>,
    ) -> PortResult<Vec<(Row, Outcome)>> {
        let reads = ids.iter().map(|id| self.ledger.get(id));
        let rows: Vec<Option<Row>> =
            stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(READS).try_collect().await?;
        let now = self.clock.now();
        let judged = rows.into_iter().flatten().filter_map(|row| match self.plan(&row, order, filter, now) {
            Plan::Apply(_, outcome) | Plan::Leave(outcome) => Some((row, outcome)),
            Plan::Pass => None,
        });
        Ok(judged.collect())
    }

    fn plan(&self, row: &Row, order: &Order, filter: Option<&Filter>, now: Timestamp) -> Plan {
        if row.status.is_terminal() {
            return Plan::Leave(Outcome::AlreadyFinal(row.status));
        }
        if filter.is_some_and(|filter| !filter.takes_row(row, now)) {
            return Plan::Pass;
        }
        if let Some(verdict) = &row.verdict {
            // A walk meets again what it has cancelled itself.
            return if filter.is_some() { Plan::Pass } else { Plan::Leave(Outcome::Decided(verdict.status)) };
        }
        let running = row.status == Status::Running;
        let transition = match order.change {
            Change::Cancel => {
                let verdict = verdict::cancelled(&self.operator.name, order.reason.as_deref());
                lifecycle::condemn(row, verdict, self.note("cancelled", order), now)
            }
            _ if running => return Plan::Leave(Outcome::Running),
            _ => self.changed(row, order, now),
        };
        match transition {
            Some(transition) if running => Plan::Apply(Box::new(transition), Outcome::AfterCall),
            Some(transition) => Plan::Apply(Box::new(transition), Outcome::Done),
            // A walk meets again what it has changed itself.
            None if filter.is_some() => Plan::Pass,
            None => Plan::Leave(Outcome::Unchanged),
        }
    }

    /// Puts the changed request in its place; `None` when it is so already.
    fn changed(&self, row: &Row, order: &Order, now: Timestamp) -> Option<Transition> {
        let mut request = row.request.clone();
        let what = match order.change {
            Change::Priority(priority) => {
                request.priority = priority;
                format!("priority {} → {}", priority_words(row.request.priority), priority_words(priority))
            }
            Change::Deadline(at) => {
                request.deadline = at;
                format!("deadline {} → {}", deadline_words(row.request.deadline), deadline_words(at))
            }
            Change::Cancel => return None,
        };
        if request == row.request {
            return None;
        }
        request.rank = rank::again(&request, self.expected);
        lifecycle::change(row, request, self.note(&what, order), now)
    }

    fn note(&self, what: &str, order: &Order) -> String {
        let why = order.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("{what} by {}{why}", self.operator.name)
    }
}
