//! Decides when on-call hears of something, once for the whole fleet.
//!
//! ```text
//!  Alerter::tell, recovered ─► inbox (counts by key) ─► board (one register of the fleet) ─► outbox of each channel
//!       any stage, never waits      within seconds          what is open, told, over              until delivered
//! ```
//! All workers report to one board, a register: so a threshold counts what all of them see, and whoever makes a condition cross
//! a line tells of it, and no other. Out of reach of the register a worker decides alone, and on-call may hear of one thing
//! several times rather than never. What a worker has told and not delivered, another one tells after some minutes.
//!
//! [`conditions`] are the facts, [`rules`] say when each is told and when it is over, `wording` writes what is told.

pub mod board;
pub mod conditions;
mod document;
mod frame;
mod inbox;
mod outbox;
pub mod rules;
#[cfg(test)]
pub(crate) mod samples;
mod wording;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::board::{Board, Report, Sums, Told};
use self::conditions::Condition;
pub use self::document::document;
pub use self::frame::Frame;
use self::inbox::{Inbox, Urgency};
use self::outbox::Outbox;
use super::tally::Tally;
use crate::clock::Clock;
use crate::ports::{Alerts, PortError, PortResult, Registers};
use crate::request::Lane;

/// One evaluation period of `alarm_threshold`, as CloudWatch's.
pub const PERIOD: Duration = Duration::from_mins(1);
/// The register.
const REGISTER: &str = "alerts/board";
/// Whatever happens at once is told together.
const GATHER: Duration = Duration::from_millis(100);
/// What is counted is reported this often, until it is told.
const COUNT: Duration = Duration::from_secs(2);
/// How often to look at the board while anything is on it, and how often else.
const LOOK: Duration = Duration::from_secs(30);
const IDLE_LOOK: Duration = Duration::from_mins(1);
/// A register that does not answer for this long is out of reach.
const PATIENCE: Duration = Duration::from_secs(5);
/// Writers that collide this often in a row try again later, after a wait of up to so long, times the number of tries.
const COLLISIONS: u32 = 8;
const STEP_ASIDE: Duration = Duration::from_millis(40);
/// Reports that are kept for later then.
const KEPT: usize = 5_000;

/// How patient on-call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How often what may pass by itself must happen in a [`PERIOD`].
    pub threshold: u64,
    /// In how many of them in a row.
    pub periods: u32,
    /// For how long a condition that was told is only counted.
    pub cooldown: Duration,
}

/// What an [`Alerter`] works with.
pub struct Context {
    /// Where alerts go; each gets all.
    pub channels: Vec<Arc<dyn Alerts>>,
    /// Where the board is.
    pub registers: Arc<dyn Registers>,
    /// Counts failures.
    pub tally: Arc<Tally>,
    /// Wall time.
    pub clock: Clock,
    /// Where we are, for what is written.
    pub frame: Frame,
    /// When to tell.
    pub settings: Settings,
}

/// Takes news from anywhere, never blocks, never fails. Cheap to clone.
#[derive(Clone)]
pub struct Alerter {
    inbox: Arc<Mutex<Inbox>>,
    wake: mpsc::Sender<()>,
    clock: Clock,
    settings: Settings,
}

impl Alerter {
    /// An alerter and the task that tells until every clone is dropped, and then what is left, for some seconds.
    pub fn new(context: Context) -> (Self, impl Future<Output = ()> + Send) {
        let inbox = Arc::<Mutex<Inbox>>::default();
        let (wake, woken) = mpsc::channel(1);
        let Context { channels, registers, tally, clock, frame, settings } = context;
        let outboxes: Vec<Outbox> =
            channels.into_iter().map(|channel| Outbox::new(channel, Arc::clone(&tally))).collect();
        let delivering = Arc::clone(&inbox);
        let delivery = join_all(outboxes.clone().into_iter().map(move |outbox| {
            let inbox = Arc::clone(&delivering);
            async move { outbox.run(|alert| lock(&inbox).sent(&alert.key, alert.at)).await }
        }));
        let desk = Desk {
            inbox: Arc::clone(&inbox),
            registers,
            tally,
            clock: clock.clone(),
            frame,
            settings,
            outboxes,
            board: Board::default(),
            before: Board::default(),
            alone: Vec::new(),
            left: Vec::new(),
        };
        (Self { inbox, wake, clock, settings }, async move {
            let (desk, _) = tokio::join!(desk.serve(woken), delivery);
            desk.confirm().await;
        })
    }

    /// It happened, once.
    pub fn tell(&self, condition: Condition) {
        self.happened(condition, 1, 0);
    }

    /// A request ended as FAILED by it, which was told before as it happened.
    pub fn ended(&self, condition: Condition) {
        self.happened(condition, 0, 1);
    }

    fn happened(&self, condition: Condition, events: u64, ended: u64) {
        let mut inbox = lock(&self.inbox);
        let before = inbox.urgency();
        inbox.happened(condition, Sums { events, calls: 0, ended }, &self.settings);
        self.wake_if(before < inbox.urgency());
    }

    /// It is over; nothing when it was not open.
    pub fn recovered(&self, key: &str) {
        let mut inbox = lock(&self.inbox);
        inbox.over(key);
        self.wake_if(inbox.urgency() == Some(Urgency::Now));
    }

    /// A call of this lane was answered, or failed.
    pub fn called(&self, lane: &Lane, answered: bool) {
        let mut inbox = lock(&self.inbox);
        let before = inbox.urgency();
        inbox.called(lane, answered, self.clock.now());
        self.wake_if(before < inbox.urgency());
    }

    /// What is open, of all workers, as of the last look at the board.
    #[must_use]
    pub fn open(&self) -> Vec<Condition> {
        lock(&self.inbox).open()
    }

    fn wake_if(&self, needed: bool) {
        if needed {
            // Full: it is about to wake anyway.
            _ = self.wake.try_send(());
        }
    }
}

fn lock(inbox: &Mutex<Inbox>) -> std::sync::MutexGuard<'_, Inbox> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where reports become alerts.
struct Desk {
    inbox: Arc<Mutex<Inbox>>,
    registers: Arc<dyn Registers>,
    tally: Arc<Tally>,
    clock: Clock,
    frame: Frame,
    settings: Settings,
    outboxes: Vec<Outbox>,
    /// As last seen.
    board: Board,
    /// As last seen in the register.
    before: Board,
    /// What was changed on it while the register was out of reach.
    alone: Vec<String>,
    /// Reports that others were in the way of.
    left: Vec<Report>,
}

impl Desk {
    /// Reports and tells until nobody is left to report anything.
    async fn serve(mut self, mut woken: mpsc::Receiver<()>) -> Self {
        loop {
            self.step().await;
            let look = Instant::now() + if self.board.is_waiting() { LOOK } else { IDLE_LOOK };
            let mut due = look;
            loop {
                let gather = match lock(&self.inbox).urgency() {
                    _ if !self.left.is_empty() => GATHER,
                    Some(Urgency::Now) => GATHER,
                    Some(Urgency::Soon) => COUNT,
                    Some(Urgency::Later) | None => IDLE_LOOK,
                };
                due = due.min(Instant::now() + gather);
                match tokio::time::timeout_at(due, woken.recv()).await {
                    Err(_) => break,
                    Ok(Some(())) => {}
                    Ok(None) => {
                        self.step().await;
                        for outbox in &self.outboxes {
                            outbox.close();
                        }
                        return self;
                    }
                }
            }
        }
    }

    /// Reports what was noticed, and tells what is to be told.
    async fn step(&mut self) {
        let mut reports = std::mem::take(&mut self.left);
        reports.extend(lock(&self.inbox).take());
        let told = match self.report(&reports).await {
            Ok(Some(told)) => told,
            Ok(None) => {
                tracing::debug!("others write the alerts all the time; these are reported later");
                reports.truncate(KEPT);
                self.left = reports;
                return;
            }
            Err(error) => {
                self.tally.port_error();
                tracing::warn!(%error, "the fleet's alerts are out of reach; this worker decides alone");
                self.decide_alone(&reports)
            }
        };
        lock(&self.inbox).know(&self.board);
        for told in told {
            self.tell(&told);
        }
    }

    fn decide_alone(&mut self, reports: &[Report]) -> Vec<Told> {
        let told = self.board.apply(reports, self.clock.now(), &self.settings);
        let keys = reports.iter().filter_map(|report| match report {
            Report::Happened(condition, _) => Some(condition.key()),
            Report::Over(key) => Some(key.clone()),
            Report::Calls(..) | Report::Sent(..) => None,
        });
        let keys: Vec<String> = keys.chain(told.iter().map(|told| told.entry.condition.key())).collect();
        self.alone.retain(|key| !keys.contains(key));
        self.alone.extend(keys);
        told
    }

    /// Notes what was delivered at the end, so that nobody tells it again.
    async fn confirm(&self) {
        let sent = lock(&self.inbox).take_sent();
        for _ in 0..if sent.is_empty() { 0 } else { COLLISIONS } {
            let Ok((version, mut board)) = within(read(&*self.registers)).await else { return };
            for (key, at) in &sent {
                board.sent(key, *at);
            }
            let Ok(value) = serde_json::to_string(&board) else { return };
            if !matches!(within(self.registers.write(REGISTER, version, value)).await, Ok(false)) {
                return;
            }
        }
    }

    fn tell(&self, told: &Told) {
        let alert = self.frame.alert(told, self.clock.now(), &self.settings);
        tracing::info!(key = alert.key, state = alert.state.as_str(), subject = alert.subject, "on-call is told");
        for outbox in &self.outboxes {
            outbox.push(alert.clone());
        }
    }

    /// Brings the board up to date, in the register and here; `None` when others were always in the way.
    async fn report(&mut self, reports: &[Report]) -> PortResult<Option<Vec<Told>>> {
        let registers = Arc::clone(&self.registers);
        for again in 1..=COLLISIONS {
            let (version, seen) = within(read(&*registers)).await?;
            let mut next = seen.clone();
            next.merge(&self.board, &self.before, self.alone.iter().cloned());
            let told = next.apply(reports, self.clock.now(), &self.settings);
            let value = serde_json::to_string(&next).map_err(|e| PortError::permanent("write the alerts", e))?;
            if next == seen || within(registers.write(REGISTER, version, value)).await? {
                (self.board, self.before, self.alone) = (next.clone(), next, Vec::new());
                return Ok(Some(told));
            }
            tokio::time::sleep(STEP_ASIDE.mul_f64(f64::from(again) * fastrand::f64())).await;
        }
        Ok(None)
    }
}

async fn within<T>(call: impl Future<Output = PortResult<T>>) -> PortResult<T> {
    let late = |_| Err(PortError::transient(format!("reach register {REGISTER}"), "no answer in time"));
    tokio::time::timeout(PATIENCE, call).await.unwrap_or_else(late)
}

/// The board and its version. One that this version cannot read counts as empty.
async fn read(registers: &dyn Registers) -> PortResult<(u64, Board)> {
    let Some(register) = registers.read(REGISTER).await? else { return Ok((0, Board::default())) };
    let board = serde_json::from_str(&register.value).unwrap_or_else(|error| {
        tracing::error!(register = REGISTER, %error, "this record of alerts cannot be read and counts as empty");
        Board::default()
    });
    Ok((register.version, board))
}

/// The fleet's board, for people.
///
/// # Errors
/// The registers are out of reach.
pub async fn board(registers: &dyn Registers) -> PortResult<Board> {
    Ok(read(registers).await?.1)
}

#[cfg(test)]
mod tests;
