//! Looking after what went astray, so that no row is ever stuck: whatever state a crash leaves, the request moves on.
//!
//! | left behind | noticed by | within |
//! |---|---|---|
//! | a queued row whose message was never sent | the next planner, as its term begins | a takeover |
//! | the same, by a planner that lives | the row is overdue | `overdue_after` |
//! | a message of a worker that was killed | SQS delivers it again | the visibility timeout |
//! | a message received three times in vain | the dead-letter queue has grown | 2 s more |
//! | a deferral that is over | its place in the list of deferrals | a round |
//! | a decided row whose end was not written | its place in the list of the decided | a takeover |
//! | a final row whose result was not sent | its message, delivered again, or found dead | as above |

use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::{Planner, Term, first_error};
use crate::clock::Timestamp;
use crate::pipeline::alerts::conditions::Condition;
use crate::pipeline::hold::HoldMessage;
use crate::pipeline::lifecycle;
use crate::ports::alerts::Kind;
use crate::ports::{Applied, Page, PortResult, Work, WorkList};
use crate::request::{Row, Status};
use crate::telemetry::logs;

/// Deferrals that end, and overdue rows, looked at per round.
pub(super) const SWEEP: usize = 500;
/// How long between looks at the dead-letter queue.
const DEAD_LETTER_LOOK: Duration = Duration::from_secs(2);
/// How long between looks when there are no more of them than at the last: one may have been taken away as another came.
const DEAD_LETTER_PASS: Duration = Duration::from_mins(1);
/// Dead letters looked at in one pass.
const DEAD_LETTERS: usize = 1_000;
/// A running call whose worker is alive is looked at again after this.
const STILL_RUNNING: Duration = Duration::from_mins(1);

impl Planner {
    /// A predecessor may have died between a row and its message: every queued row gets a new message. Messages of
    /// the old tickets, if there are any, are stale and disappear when they are received.
    pub(super) async fn reissue_all(&self) -> PortResult<()> {
        let now = self.context.clock.now();
        let overdue = now + self.settings.overdue_after;
        let held = self.ledger.list(&WorkList::Held, Page::first(self.capacity() + SWEEP)).await?;
        let transitions =
            held.into_iter().map(|item| lifecycle::reissue(item.id, &lifecycle::token(), overdue, now)).collect();
        let rows = self.ledger.apply(transitions).await.into_iter().filter_map(|applied| match applied {
            Ok(Applied::Done(row)) => Some((*row, None)),
            _ => None,
        });
        self.send(rows.collect(), overdue).await;
        Ok(())
    }

    pub(super) async fn resume_deferred(&self) -> PortResult<()> {
        let now = self.context.clock.now();
        let due = self.ledger.list(&WorkList::Deferred, Page::first(SWEEP).up_to(&Work::time_key(now))).await?;
        let transitions: Vec<_> = due
            .into_iter()
            .map(|item| {
                let from = Work { list: WorkList::Deferred, sort: item.sort };
                lifecycle::resume(item.id, from, item.flow, &item.rank, now)
            })
            .collect();
        if !transitions.is_empty() {
            first_error(self.ledger.apply(transitions).await)?;
        }
        Ok(())
    }

    /// Rows that were held for too long: their message is lost, or their worker.
    pub(super) async fn sweep_overdue(&self) -> PortResult<()> {
        let now = self.context.clock.now();
        for item in self.ledger.list(&WorkList::Held, Page::first(SWEEP).up_to(&Work::time_key(now))).await? {
            if let Some(row) = self.ledger.get(&item.id).await? {
                self.look_after(&row, "it was held for too long", now).await;
            }
        }
        Ok(())
    }

    /// SQS moved messages to the dead-letter queue after three receives. Their requests go back into line under a new
    /// ticket; those that took three workers down are failed by the next claim. Messages of such poison stay in the
    /// dead-letter queue for people to look at, the others go; a pass is made when the queue has grown, and once a
    /// minute while there is anything in it.
    pub(super) async fn look_at_dead_letters(&self, term: &mut Term) -> PortResult<()> {
        if term.dead_letter_look.is_some_and(|last| last.elapsed() < DEAD_LETTER_LOOK) {
            return Ok(());
        }
        term.dead_letter_look = Some(Instant::now());
        let depth = self.dead.depth().await?;
        let visible = depth.visible;
        // What somebody looks at is only hidden.
        if visible + depth.in_flight == 0 {
            self.context.recorder.alerter().recovered(Kind::DeadLetters.as_str());
        }
        let lately = term.dead_letter_pass.is_some_and(|last| last.elapsed() < DEAD_LETTER_PASS);
        if visible == 0 || (visible <= term.dead_letters && lately) {
            term.dead_letters = visible;
            return Ok(());
        }
        let grown = visible > term.dead_letters;
        term.dead_letter_pass = Some(Instant::now());
        let (mut kept, mut settled) = (Vec::new(), Vec::new());
        while kept.len() + settled.len() < DEAD_LETTERS {
            let deliveries = self.dead.receive(10, Duration::ZERO).await?;
            if deliveries.is_empty() {
                break;
            }
            for delivery in deliveries {
                let poison = self.is_poison(&delivery.body).await?;
                if poison { kept.push(delivery.receipt) } else { settled.push(delivery.receipt) }
            }
        }
        // Beyond what one pass looks at, all there were count as known.
        term.dead_letters = if kept.len() + settled.len() < DEAD_LETTERS { kept.len() as u64 } else { visible };
        if !settled.is_empty() {
            first_error(self.dead.delete(settled).await)?;
        }
        if !kept.is_empty() && grown {
            let messages = visible.max(kept.len() as u64);
            let queue = self.dead.name().to_owned();
            self.context.recorder.alerter().tell(Condition::DeadLetters { queue, messages });
        }
        if !kept.is_empty() {
            first_error(self.dead.extend(kept, Duration::ZERO).await)?;
        }
        Ok(())
    }

    async fn is_poison(&self, body: &str) -> PortResult<bool> {
        // What is not ours stays for people to look at.
        let Ok(message) = serde_json::from_str::<HoldMessage>(body) else { return Ok(true) };
        let Some(row) = self.ledger.get(&message.request_id).await? else { return Ok(false) };
        let stale = row.ticket.as_deref() != Some(&message.ticket);
        let poison = match &row.outcome {
            Some(outcome) => outcome.error.as_ref().is_some_and(|e| e.kind == lifecycle::POISON),
            None => row.claims >= lifecycle::MAX_LOST_CLAIMS,
        };
        if stale {
            return Ok(poison);
        }
        if row.status.is_terminal() {
            // Finished under this very message, but killed, and then received in vain, before all was told.
            self.context.recorder.publish(&row).instrument(logs::request_span(&row.request)).await;
        } else {
            let now = self.context.clock.now();
            self.look_after(&row, "its message was received three times without an end", now).await;
        }
        Ok(poison)
    }

    /// Moves a held row on: a call that still runs is left alone for a while, anything else goes back into line. The
    /// claim that follows decides whether it is tried again or has taken too many workers down.
    async fn look_after(&self, row: &Row, why: &str, now: Timestamp) {
        let alive = row.worker.as_deref().is_some_and(|worker| self.context.fleet.is_alive(worker));
        let transition = match row.status {
            Status::Running if alive => lifecycle::extend(row, STILL_RUNNING, now),
            Status::Queued | Status::Running => lifecycle::requeue(row, why, now),
            _ => return,
        };
        let span = logs::request_span(&row.request);
        tracing::info!(parent: &span, status = %row.status, lost_claims = row.claims, why, "looking after a held request");
        self.context.recorder.apply(transition).instrument(span).await;
    }
}
