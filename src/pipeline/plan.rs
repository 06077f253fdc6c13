//! The planner: tops the hold queue up in rank order, and looks after what went astray. One per fleet, by lease.
//!
//! At most `queue_depth_threshold` requests wait in the hold queue beyond those being called; a lane holds no more
//! than it can start within the processing window, so that one which is slow or paused never blocks another; some
//! places are kept for urgent requests, so that they overtake everything that is not yet held.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::alerter::{After, News};
use super::fleet::Fleet;
use super::hold::HoldMessage;
use super::lifecycle;
use super::rank;
use super::record::Recorder;
use super::tally::Tally;
use crate::clock::{Clock, Timestamp};
use crate::models::Catalog;
use crate::ports::{Applied, Ledger, PortResult, Ports, Queue, Severity, Work, WorkItem, WorkList};
use crate::request::{Lane, Row, Status};

/// Deferrals that end, and overdue rows, looked at per tick.
const SWEEP: usize = 500;
/// How long between looks at the dead-letter queue.
const DEAD_LETTER_LOOK: Duration = Duration::from_secs(2);
/// Between two plans: bounds what a flood of arrivals costs, and is short beside a call.
const GATHER: Duration = Duration::from_millis(50);
/// Dead letters looked at in one pass.
const DEAD_LETTERS: usize = 1_000;
/// A running call whose worker is alive is looked at again after this.
const STILL_RUNNING: Duration = Duration::from_mins(1);

/// What the planner needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Requests that may wait in the hold queue.
    pub queue_depth_threshold: usize,
    /// The processing window.
    pub window: Duration,
    /// What a call should take, until it is learned.
    pub average_duration: Duration,
    /// Calls in flight, fleet-wide.
    pub max_concurrent: u32,
    /// How often it looks without being woken.
    pub interval: Duration,
    /// How long a held request may go unfinished before it is looked after.
    pub overdue_after: Duration,
}

/// The neighbours of [`Planner`].
pub struct Context {
    /// Who plans.
    pub fleet: Arc<Fleet>,
    /// Quotas.
    pub catalog: Arc<Catalog>,
    /// Ends what nobody else can.
    pub recorder: Recorder,
    /// Counts, and the learned duration of a call.
    pub tally: Arc<Tally>,
    /// Wall time.
    pub clock: Clock,
    /// Woken when something was admitted or finished.
    pub wake: Arc<Notify>,
}

/// The stage.
pub struct Planner {
    ledger: Arc<dyn Ledger>,
    hold: Arc<dyn Queue>,
    dead: Arc<dyn Queue>,
    context: Context,
    settings: Settings,
}

/// What the planner remembers while it leads.
#[derive(Default)]
struct Term {
    number: Option<u64>,
    dead_letters: u64,
    dead_letter_look: Option<Instant>,
}

impl Planner {
    /// The stage on these ports.
    #[must_use]
    pub fn new(ports: &Ports, context: Context, settings: Settings) -> Self {
        let (ledger, hold, dead) = (Arc::clone(&ports.ledger), Arc::clone(&ports.hold), Arc::clone(&ports.dead));
        Self { ledger, hold, dead, context, settings }
    }

    /// Plans until `stop`, whenever this replica leads: all of it at every interval, and between those, when it is woken,
    /// only what fills the hold queue.
    pub async fn run(&self, stop: &CancellationToken) {
        let mut term = Term::default();
        let mut rounds = tokio::time::interval(self.settings.interval);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            let planned = tokio::select! {
                () = stop.cancelled() => break,
                _ = rounds.tick() => self.round(&mut term).await,
                () = self.context.wake.notified() => self.refill(&term).await,
            };
            if let Err(error) = planned {
                self.context.recorder.port_failed(&error);
            }
            // Whatever arrives meanwhile is planned together.
            tokio::time::sleep(GATHER.min(self.settings.interval)).await;
        }
    }

    async fn round(&self, term: &mut Term) -> PortResult<()> {
        let Some(number) = self.context.fleet.term() else {
            term.number = None;
            return Ok(());
        };
        if term.number != Some(number) {
            self.reissue_all().await?;
            *term = Term { number: Some(number), ..Term::default() };
        }
        self.resume_deferred().await?;
        self.sweep_overdue().await?;
        self.look_at_dead_letters(term).await?;
        self.top_up().await
    }

    async fn refill(&self, term: &Term) -> PortResult<()> {
        if term.number.is_some() && term.number == self.context.fleet.term() { self.top_up().await } else { Ok(()) }
    }

    /// A predecessor may have died between a row and its message: every queued row gets a new message. Messages of
    /// the old tickets, if there are any, are stale and disappear when they are received.
    async fn reissue_all(&self) -> PortResult<()> {
        let now = self.context.clock.now();
        let overdue = now + self.settings.overdue_after;
        let held = self.ledger.list(&WorkList::Held, None, self.capacity()).await?;
        let transitions =
            held.into_iter().map(|item| lifecycle::reissue(item.id, &lifecycle::token(), overdue, now)).collect();
        let rows = self.ledger.apply(transitions).await.into_iter().filter_map(|applied| match applied {
            Ok(Applied::Done(row)) => Some(*row),
            _ => None,
        });
        self.send(rows.collect(), overdue).await;
        Ok(())
    }

    async fn resume_deferred(&self) -> PortResult<()> {
        let now = self.context.clock.now();
        let due = self.ledger.list(&WorkList::Deferred, Some(&Work::time_key(now)), SWEEP).await?;
        let transitions: Vec<_> = due
            .into_iter()
            .map(|item| {
                let from = Work { list: WorkList::Deferred, sort: item.sort };
                lifecycle::resume(item.id, from, &item.lane, &item.rank, now)
            })
            .collect();
        if !transitions.is_empty() {
            first_error(self.ledger.apply(transitions).await)?;
        }
        Ok(())
    }

    /// Rows that were held for too long: their message is lost, or their worker.
    async fn sweep_overdue(&self) -> PortResult<()> {
        let now = self.context.clock.now();
        for item in self.ledger.list(&WorkList::Held, Some(&Work::time_key(now)), SWEEP).await? {
            if let Some(row) = self.ledger.get(&item.id).await? {
                self.look_after(&row, "it was held for too long", now).await;
            }
        }
        Ok(())
    }

    /// SQS moved messages to the dead-letter queue after three receives. Their requests go back into line under a new
    /// ticket; those that took three workers down are failed by the next claim. Messages of such poison stay in the
    /// dead-letter queue for people to look at, the others go; a pass is made only when the queue has grown.
    async fn look_at_dead_letters(&self, term: &mut Term) -> PortResult<()> {
        if term.dead_letter_look.is_some_and(|last| last.elapsed() < DEAD_LETTER_LOOK) {
            return Ok(());
        }
        term.dead_letter_look = Some(Instant::now());
        let visible = self.dead.depth().await?.visible;
        if visible <= term.dead_letters {
            term.dead_letters = visible;
            return Ok(());
        }
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
        term.dead_letters = kept.len() as u64;
        if !settled.is_empty() {
            first_error(self.dead.delete(settled).await)?;
        }
        if !kept.is_empty() {
            self.context.recorder.alerter().tell(News {
                key: "dead-letters".to_owned(),
                severity: Severity::Critical,
                after: After::First,
                subject: format!("smoother: {} message(s) in the dead-letter queue", kept.len()),
                body: format!(
                    "{} holds {} message(s) that no worker could bring to an end; their requests are FAILED with the reason.\n\
                     Likely causes: a request that exhausts the worker's memory, a worker that is killed again and again.\n\
                     Look: smoother status <request id>, and the worker's log around the time it stopped.",
                    self.dead.name(),
                    kept.len()
                ),
            });
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
            self.context.recorder.publish(&row).await;
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
        tracing::info!(request_id = %row.request.id, status = %row.status, lost_claims = row.claims, why, "looking after a held request");
        self.context.recorder.apply(transition).await;
    }

    async fn top_up(&self) -> PortResult<()> {
        let capacity = self.capacity();
        let held = self.ledger.list(&WorkList::Held, None, capacity).await?;
        let mut free = capacity.saturating_sub(held.len());
        if free == 0 {
            return Ok(());
        }
        let mut by_lane: HashMap<Lane, usize> = HashMap::new();
        for item in held {
            *by_lane.entry(item.lane).or_default() += 1;
        }
        let lanes = self.ledger.lanes().await?;
        let several = lanes.len() > 1;
        let mut candidates: Vec<WorkItem> = Vec::new();
        for lane in lanes {
            candidates.extend(self.ledger.list(&WorkList::Ready(lane), None, free).await?);
        }
        candidates.sort_by(|a, b| a.sort.cmp(&b.sort).then_with(|| a.id.cmp(&b.id)));

        let kept_for_urgent = (capacity / 10).max(1);
        let mut chosen = Vec::new();
        for item in candidates {
            let urgent = rank::is_urgent(&item.rank);
            if free == 0 || (!urgent && free <= kept_for_urgent) {
                break;
            }
            let count = by_lane.entry(item.lane.clone()).or_default();
            if *count < self.lane_cap(&item.lane, several) {
                *count += 1;
                free -= 1;
                chosen.push(item);
            }
        }
        self.hold(chosen).await
    }

    async fn hold(&self, items: Vec<WorkItem>) -> PortResult<()> {
        if items.is_empty() {
            return Ok(());
        }
        let now = self.context.clock.now();
        let overdue = now + self.settings.overdue_after;
        let transitions = items
            .into_iter()
            .map(|item| {
                let from = Work { list: WorkList::Ready(item.lane), sort: item.sort };
                lifecycle::hold(item.id, from, &lifecycle::token(), overdue, now)
            })
            .collect();
        let mut rows = Vec::new();
        let mut failed = Ok(());
        for applied in self.ledger.apply(transitions).await {
            match applied {
                Ok(Applied::Done(row)) => rows.push(*row),
                // Taken by somebody else, or the list lagged behind.
                Ok(Applied::Refused(_)) => {}
                Err(error) => failed = Err(error),
            }
        }
        self.send(rows, overdue).await;
        failed
    }

    /// Sends hold messages; a row whose message could not be sent goes back into line.
    async fn send(&self, rows: Vec<Row>, overdue: Timestamp) {
        let messages = rows
            .iter()
            .map(|row| {
                let message = HoldMessage {
                    request_id: row.request.id.clone(),
                    ticket: row.ticket.clone().unwrap_or_default(),
                    lane: row.request.lane.clone(),
                    rank: row.request.rank.clone(),
                    estimate: row.request.estimate,
                    use_case: row.request.use_case.clone(),
                    deadline: row.request.deadline,
                    overdue,
                };
                message.to_outgoing()
            })
            .collect();
        for (row, sent) in rows.iter().zip(self.hold.send(messages).await) {
            if let Err(error) = sent {
                self.context.recorder.port_failed(&error);
                let back = lifecycle::requeue(row, "its hold message could not be sent", self.context.clock.now());
                self.context.recorder.apply(back).await;
            }
        }
    }

    fn capacity(&self) -> usize {
        self.settings.queue_depth_threshold + self.settings.max_concurrent as usize
    }

    /// What a lane can start within the window; with several lanes never all there is.
    fn lane_cap(&self, lane: &Lane, several: bool) -> usize {
        let quota = self.context.catalog.admitted(&lane.model()).quota;
        let average =
            self.context.tally.average_call().unwrap_or(self.settings.average_duration).as_secs_f64().max(0.01);
        let by_concurrency = f64::from(self.settings.max_concurrent) * 60.0 / average;
        let per_minute = quota.requests_per_minute.map_or(by_concurrency, |rpm| rpm.min(by_concurrency));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let window = (per_minute * self.settings.window.as_secs_f64() / 60.0).clamp(1.0, 1e6) as usize;
        if several { window.min(self.capacity() * 4 / 5).max(1) } else { window }
    }
}

fn first_error<T>(results: Vec<PortResult<T>>) -> PortResult<()> {
    results.into_iter().find_map(Result::err).map_or(Ok(()), Err)
}
