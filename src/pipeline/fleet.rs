//! The other replicas: who is alive, who plans, and (in `allocate` and `shares`) which part of the quotas is ours.
//!
//! Every replica writes a heartbeat register; one that stays unchanged for `LAPSE` on an observer's own monotonic
//! clock is dead to that observer. A replica that could not write its own for `HOLD_FOR`, which is less, lets go of all it
//! holds: the planner's lease, which is a register that lapses the same way, and its parts of the quotas. No wall
//! clocks are compared; all that is asked of clocks is that they run at about the same speed.

mod allocate;
mod shares;
mod uses;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::pace::{Gate, LaneSnapshot};
use super::usage::Used;
use crate::clock::Timestamp;
use crate::ports::{PortResult, Register, Registers};

/// How often a replica shows that it is alive, and renews its lease.
const BEAT: Duration = Duration::from_secs(2);
/// Unchanged for this long: gone. Takeover of planning happens within this and one beat.
const LAPSE: Duration = Duration::from_secs(7);
/// Whoever could not show itself for this long lets go of what it holds, well before others may take it over.
const HOLD_FOR: Duration = Duration::from_secs(5);
/// Unchanged for this long: lost, for on-call; a heartbeat may be late without anything being the matter.
const LOST: Duration = Duration::from_secs(20);
/// Tries to take the own heartbeat away.
const LAST_TRIES: u32 = 3;
/// Heartbeats of the dead are cleared away after this long.
const BURY: Duration = Duration::from_mins(1);

const LEASE: &str = "lease/planner";
const MEMBERS: &str = "member/";

/// What a replica may do; together or apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Drains the input queue.
    Ingest,
    /// Fills the hold queue.
    Plan,
    /// Calls Bedrock.
    Call,
}

const MINUTE: Duration = Duration::from_mins(1);

/// A replica as it describes itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub worker: String,
    /// What it does.
    pub roles: BTreeSet<Role>,
    /// When it started.
    pub since: Timestamp,
    /// When it showed itself last, by its own clock: for people. Other replicas judge by their own clocks.
    #[serde(default)]
    pub shown_at: Timestamp,
    /// Its lanes, for `smoother status`.
    pub lanes: Vec<LaneSnapshot>,
    /// Requests that it has brought to their end since it started.
    #[serde(default)]
    pub finished: u64,
    /// Quota tokens that it settled in the latest minutes, of each of its lanes; `None` when it does not measure other traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
}

/// What is done in a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LaneUse {
    /// Calls in flight.
    pub in_flight: u32,
    /// Requests at the gates.
    pub waiting: usize,
    /// Calls started in the last minute, by replicas that have been there as long.
    pub starts_per_minute: Option<f64>,
    /// It is paused for so long that whoever comes to its gate is sent back.
    pub paused: bool,
}

/// Who is there, and who should be.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Those that show themselves.
    pub alive: Vec<Member>,
    /// Those that fell silent without having left, as long as their last heartbeat is kept.
    pub lost: Vec<Member>,
}

/// This replica's view of the fleet.
pub struct Fleet {
    registers: Arc<dyn Registers>,
    worker: String,
    leads: bool,
    view: Mutex<View>,
}

#[derive(Default)]
struct View {
    /// Heartbeats, by replica.
    seen: HashMap<String, Sight>,
    own_version: u64,
    /// When the last heartbeat that was surely written was begun.
    shown: Option<Instant>,
    /// Version last seen of another planner's lease, and since when it is so.
    rival: Option<(u64, Instant)>,
    lease: Option<Lease>,
    /// What is known of pools besides what their registers say.
    pools: HashMap<String, allocate::Known>,
    uses: uses::Uses,
    /// Slots are to come to us, or to go as calls end.
    slots_moving: bool,
}

/// A heartbeat as it is written. No two are the same: versions start over when a register is removed and created, as by
/// a replica that leaves and comes back under its name, which must not look like one that stood still.
#[derive(Serialize)]
struct Heartbeat {
    #[serde(flatten)]
    own: Member,
    nonce: u64,
}

/// A replica's heartbeat as last seen: `None` when there was none.
struct Sight {
    register: Option<Register>,
    since: Instant,
    dead: bool,
}

impl View {
    /// Notes what the answer to a question was. It was true at some time between the two instants, so only what is unchanged
    /// since long before the question is dead.
    fn observe(&mut self, worker: &str, register: Option<Register>, asked: Instant, answered: Instant) {
        match self.seen.get_mut(worker) {
            Some(sight) if sight.register == register => {
                sight.dead = asked.saturating_duration_since(sight.since) >= LAPSE;
            }
            _ => _ = self.seen.insert(worker.to_owned(), Sight { register, since: answered, dead: false }),
        }
    }
}

#[derive(Clone, Copy)]
struct Lease {
    version: u64,
    renewed: Instant,
    term: u64,
}

impl Fleet {
    /// A view for this worker; it competes for the planner's lease when `leads`.
    #[must_use]
    pub fn new(registers: Arc<dyn Registers>, worker: String, leads: bool) -> Self {
        Self { registers, worker, leads, view: Mutex::default() }
    }

    /// One beat: show ourselves, look at the others, renew or take the lease. Call every [`Fleet::beat_interval`].
    pub async fn beat(&self, own: &Member) -> PortResult<()> {
        self.show(own).await?;
        self.look().await?;
        if self.leads {
            self.renew().await?;
        }
        Ok(())
    }

    /// How often to beat.
    #[must_use]
    pub fn beat_interval() -> Duration {
        BEAT
    }

    /// Whether a worker shows signs of life.
    #[must_use]
    pub fn is_alive(&self, worker: &str) -> bool {
        let seen = |sight: &Sight| sight.register.is_some() && !sight.dead;
        worker == self.worker || self.view().seen.get(worker).is_some_and(seen)
    }

    /// Who is there, as of the last beat.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for (worker, sight) in &self.view().seen {
            let Some(member) = sight.register.as_ref().and_then(|r| serde_json::from_str(&r.value).ok()) else {
                continue;
            };
            if !sight.dead || *worker == self.worker {
                census.alive.push(member);
            } else if sight.since.elapsed() >= LOST {
                census.lost.push(member);
            }
        }
        census
    }

    /// What all replicas together do in each lane, by its name: as of their last heartbeats.
    #[must_use]
    pub fn lane_uses(&self) -> HashMap<String, LaneUse> {
        let mut sum: HashMap<String, LaneUse> = HashMap::new();
        let view = self.view();
        let alive = view.seen.values().filter(|sight| !sight.dead).filter_map(|sight| sight.register.as_ref());
        for member in alive.filter_map(|register| serde_json::from_str::<Member>(&register.value).ok()) {
            let measured = member.shown_at.since(member.since) >= MINUTE;
            for lane in member.lanes {
                let lane_use = sum.entry(lane.lane.clone()).or_default();
                lane_use.in_flight += lane.in_flight;
                lane_use.waiting += lane.waiting;
                lane_use.paused |= lane.paused_for_long();
                if measured && lane.requests_last_minute > 0 {
                    *lane_use.starts_per_minute.get_or_insert(0.0) += lane.requests_last_minute as f64;
                }
            }
        }
        sum
    }

    /// The term of our leadership while we surely lead; it differs for every takeover.
    #[must_use]
    pub fn term(&self) -> Option<u64> {
        self.view().lease.filter(|lease| lease.renewed.elapsed() < HOLD_FOR).map(|lease| lease.term)
    }

    /// Gives up the parts that the gate has, the lease and the membership, so that others need not wait for us to lapse.
    pub async fn leave(&self, gate: &Gate) -> PortResult<()> {
        gate.withdraw();
        let (lease, own) = {
            let mut view = self.view();
            (view.lease.take(), view.own_version)
        };
        let given_back = self.give_back().await;
        if let Some(lease) = lease {
            self.registers.remove(LEASE, lease.version).await?;
        }
        self.unshow(own).await?;
        given_back
    }

    /// Takes the heartbeat away, also when one was written of which nobody waited for the answer: what stays looks like a
    /// replica that was lost.
    async fn unshow(&self, mut version: u64) -> PortResult<()> {
        for _ in 0..LAST_TRIES {
            if self.registers.remove(&self.own_name(), version).await? {
                break;
            }
            let Some(register) = self.registers.read(&self.own_name()).await? else { break };
            version = register.version;
        }
        Ok(())
    }

    /// Every replica that a register tells of, alive or lately dead; for people.
    pub async fn members(registers: &dyn Registers) -> PortResult<Vec<Member>> {
        let all = registers.list(MEMBERS).await?;
        Ok(all.into_iter().filter_map(|(_, register)| serde_json::from_str(&register.value).ok()).collect())
    }

    /// Who holds the planner's lease, dead or alive; for people.
    pub async fn planner(registers: &dyn Registers) -> PortResult<Option<String>> {
        Ok(registers.read(LEASE).await?.map(|register| register.value))
    }

    async fn show(&self, own: &Member) -> PortResult<()> {
        let (mut version, used) = {
            let view = self.view();
            (view.own_version, view.uses.own.clone())
        };
        let heartbeat = Heartbeat { own: Member { used, ..own.clone() }, nonce: fastrand::u64(..) };
        let value = serde_json::to_string(&heartbeat).unwrap_or_default();
        let mut began = Instant::now();
        if !self.registers.write(&self.own_name(), version, value.clone()).await? {
            // Somebody buried us, or a lost answer hid a write: adopt what is there and go on.
            version = self.registers.read(&self.own_name()).await?.map_or(0, |r| r.version);
            self.view().own_version = version;
            began = Instant::now();
            if !self.registers.write(&self.own_name(), version, value).await? {
                return Ok(());
            }
        }
        let mut view = self.view();
        (view.own_version, view.shown) = (version + 1, Some(began));
        Ok(())
    }

    /// Looks at all heartbeats, also at those that were seen before and are no more.
    async fn look(&self) -> PortResult<()> {
        let asked = Instant::now();
        let all: HashMap<String, Register> = self.registers.list(MEMBERS).await?.into_iter().collect();
        let answered = Instant::now();
        let unlisted: Vec<(String, bool)> = {
            let mut view = self.view();
            let unlisted = view.seen.iter().filter(|(worker, _)| !all.contains_key(&register_of(worker)));
            let overdue = |sight: &Sight| asked.saturating_duration_since(sight.since) >= LAPSE;
            let unlisted = unlisted.map(|(worker, sight)| (worker.clone(), overdue(sight))).collect();
            for (name, register) in &all {
                let worker = name.strip_prefix(MEMBERS).unwrap_or(name);
                view.observe(worker, Some(register.clone()), asked, answered);
            }
            unlisted
        };
        for (worker, overdue) in unlisted {
            // A list may lag behind what was just created, so nobody is called dead for missing there.
            let found = if overdue { self.registers.read(&register_of(&worker)).await? } else { None };
            self.view().observe(&worker, found, asked, Instant::now());
        }
        let buried: Vec<(String, Option<Register>)> = {
            let mut view = self.view();
            let present = view.seen.iter().filter_map(|(worker, sight)| {
                let member = serde_json::from_str(&sight.register.as_ref()?.value).ok()?;
                Some((member, !sight.dead || *worker == self.worker))
            });
            let present = present.collect();
            view.uses.note(present);
            let old = |sight: &Sight| sight.dead && asked.saturating_duration_since(sight.since) >= BURY;
            view.seen
                .extract_if(|worker, sight| *worker != self.worker && old(sight))
                .map(|(worker, sight)| (worker, sight.register))
                .collect()
        };
        for (worker, register) in buried {
            if let Some(register) = register {
                self.registers.remove(&register_of(&worker), register.version).await?;
            }
        }
        Ok(())
    }

    async fn renew(&self) -> PortResult<()> {
        let held = self.view().lease;
        let mut now = Instant::now();
        let expected = match held {
            Some(lease) => lease.version,
            None => match self.registers.read(LEASE).await? {
                None => 0,
                Some(register) => {
                    let (asked, answered) = (now, Instant::now());
                    let mut view = self.view();
                    let known = view.rival.filter(|(version, _)| *version == register.version);
                    let (_, since) = known.unwrap_or((register.version, answered));
                    view.rival = Some((register.version, since));
                    if asked.saturating_duration_since(since) < LAPSE {
                        return Ok(());
                    }
                    now = answered;
                    register.version
                }
            },
        };
        let won = self.registers.write(LEASE, expected, self.worker.clone()).await?;
        let mut view = self.view();
        view.lease = won.then(|| {
            let term = held.map_or(expected + 1, |lease| lease.term);
            Lease { version: expected + 1, renewed: now, term }
        });
        if won && held.is_none() {
            tracing::info!(worker = self.worker, "took over planning");
        }
        if !won && held.is_some() {
            tracing::warn!(worker = self.worker, "lost the planner's lease");
        }
        Ok(())
    }

    fn own_name(&self) -> String {
        register_of(&self.worker)
    }

    fn view(&self) -> std::sync::MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The heartbeat's name.
fn register_of(worker: &str) -> String {
    format!("{MEMBERS}{worker}")
}
