//! The planner: tops the hold queue up in rank order, and looks after what went astray. One per fleet, by lease.
//!
//! At most `queue_depth_threshold` requests wait in the hold queue beyond those being called; a lane holds no more
//! than it can start within the processing window, so that one which is slow or paused never blocks another; some
//! places are kept for urgent requests, so that they overtake everything that is not yet held.
//!
//! ```text
//!  ledger ─► lines (fronts of the flows) ─► choose: shares of the tenants, their limits ─► hold queue
//!    ▲                                                                                        │
//!    └──────────── tend: what is overdue, deferred, dead ◄────────────────────────────────────┘
//! ```

mod at_risk;
mod choose;
mod decided;
mod gauges;
mod held;
mod lines;
mod money;
mod paused;
mod shares;
mod standstill;
mod tenants;
mod tend;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

pub use self::gauges::{Gauges, Reading};
use self::held::Held;
use self::lines::Lines;
use self::money::Money;
use self::paused::Paused;
use self::shares::Shares;
use self::tenants::Rates;
pub use self::tenants::{Allowance, Allowances, allowances};
use self::tend::SWEEP;
use super::fleet::Fleet;
use super::hold::HoldMessage;
use super::pace::Gate;
use super::record::Recorder;
use super::tally::Tally;
use super::{lifecycle, rank, spend, verdict};
use crate::clock::{Clock, Timestamp};
use crate::control::pauses::Pauses;
use crate::models::Catalog;
use crate::ports::{Ledger, PortResult, Ports, Queue, Registers};
use crate::request::Row;

/// Between two plans: bounds what a flood of arrivals costs, and is short beside a call.
const GATHER: Duration = Duration::from_millis(50);
/// What the planner needs to know.
#[derive(Clone, Debug)]
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
    /// The tenants that are not like the others.
    pub tenants: Allowances,
    /// What may be spent.
    pub budgets: spend::Limits,
}

/// The neighbours of [`Planner`].
pub struct Context {
    /// Who plans.
    pub fleet: Arc<Fleet>,
    /// This replica's gate, for what it knows of its lanes sooner than the fleet does.
    pub gate: Gate,
    /// Quotas.
    pub catalog: Arc<Catalog>,
    /// Ends what nobody else can.
    pub recorder: Recorder,
    /// Counts, and the learned duration of a call.
    pub tally: Arc<Tally>,
    /// How the fleet's work stands, for the metrics.
    pub gauges: Arc<Gauges>,
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
    registers: Arc<dyn Registers>,
    context: Context,
    settings: Settings,
}

/// What the planner remembers while it leads.
#[derive(Default)]
struct Term {
    number: Option<u64>,
    dead_letters: u64,
    dead_letter_look: Option<Instant>,
    dead_letter_pass: Option<Instant>,
    lines: Lines,
    held: Held,
    shares: Shares,
    rates: Rates,
    watch: at_risk::Watch,
    money: Money,
    paused: Paused,
    standstill: standstill::Watch,
}

impl Planner {
    /// The stage on these ports.
    #[must_use]
    pub fn new(ports: &Ports, context: Context, settings: Settings) -> Self {
        let (ledger, hold, dead) = (Arc::clone(&ports.ledger), Arc::clone(&ports.hold), Arc::clone(&ports.dead));
        Self { ledger, hold, dead, registers: Arc::clone(&ports.registers), context, settings }
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
                () = self.context.wake.notified() => self.refill(&mut term).await,
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
            *term = Term::default();
            return Ok(());
        };
        // Before anything goes: a new planner must not take for running what its predecessor knew to be paused.
        let pauses = Pauses::read(&*self.registers).await?;
        if term.number != Some(number) {
            self.reissue_all().await?;
            let money = Money::new(spend::Budgets::new(self.settings.budgets.clone()));
            *term = Term { number: Some(number), money, ..Term::default() };
        }
        term.paused.update(pauses);
        self.resume_deferred().await?;
        self.sweep_overdue().await?;
        self.look_at_dead_letters(term).await?;
        self.withdraw_paused(term).await?;
        self.top_up(term).await?;
        self.expire(term).await?;
        self.conclude().await?;
        self.watch_deadlines(term).await?;
        self.watch_standstill(term);
        self.note_standing(number, term);
        Ok(())
    }

    /// Ends what is past its deadline, whatever its lane and its tenant wait for.
    async fn expire(&self, term: &mut Term) -> PortResult<()> {
        for item in term.lines.take_expired(self.context.clock.now()) {
            // A list may show for a moment what was ended already.
            let Some(row) = self.ledger.get(&item.id).await?.filter(|row| row.verdict.is_none()) else { continue };
            if let Some(deadline) = row.request.deadline.filter(|deadline| *deadline <= self.context.clock.now()) {
                self.condemn(&row, verdict::expired(deadline), "its deadline passed".to_owned()).await;
            }
        }
        Ok(())
    }

    async fn refill(&self, term: &mut Term) -> PortResult<()> {
        if term.number.is_some() && term.number == self.context.fleet.term() { self.top_up(term).await } else { Ok(()) }
    }

    /// Sends hold messages, each with its rank in the hold queue; a row for which none was chosen goes before all others of its
    /// class. A row whose message could not be sent goes back into line.
    async fn send(&self, rows: Vec<(Row, Option<String>)>, overdue: Timestamp) {
        let messages = rows
            .iter()
            .map(|(row, rank)| {
                let message = HoldMessage {
                    request_id: row.request.id.clone(),
                    ticket: row.ticket.clone().unwrap_or_default(),
                    lane: row.request.lane.clone(),
                    rank: rank.clone().unwrap_or_else(|| rank::first(&row.request.rank)),
                    estimate: row.request.estimate,
                    use_case: row.request.use_case.clone(),
                    deadline: row.request.deadline,
                    overdue,
                };
                message.to_outgoing()
            })
            .collect();
        for ((row, _), sent) in rows.iter().zip(self.hold.send(messages).await) {
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
}

fn first_error<T>(results: Vec<PortResult<T>>) -> PortResult<()> {
    results.into_iter().find_map(Result::err).map_or(Ok(()), Err)
}
