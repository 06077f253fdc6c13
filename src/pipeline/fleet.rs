//! The other replicas: who is alive, which part of the quotas is ours, and who plans.
//!
//! Every replica writes a heartbeat register; one that stays unchanged for `LAPSE` on an observer's own monotonic
//! clock is dead to that observer. Quotas and the concurrency budget are divided by the number of live callers. The
//! planner's lease is a register too, and lapses the same way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::pace::LaneSnapshot;
use super::usage::{KEPT_MINUTES, Used};
use crate::clock::Timestamp;
use crate::ports::{Minute, PortResult, Registers};
use crate::request::Lane;

/// How often a replica shows that it is alive, and renews its lease.
const BEAT: Duration = Duration::from_secs(2);
/// Unchanged for this long: gone. Takeover of planning happens within this and one beat.
const LAPSE: Duration = Duration::from_secs(7);
/// A leader that could not renew for this long stops leading, well before others may take over.
const LEAD_FOR: Duration = Duration::from_secs(5);
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
    /// Quota tokens that it settled in the latest minutes, of each of its lanes; `None` when it does not measure other traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
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
    /// Version last seen of each register, and since when it is so.
    seen: HashMap<String, (u64, Instant)>,
    alive: BTreeSet<String>,
    /// The live ones that call Bedrock.
    callers: BTreeSet<String>,
    /// The caller that has been there for longest.
    eldest: Option<String>,
    /// What is published of our own use.
    own_used: Option<Used>,
    /// Some live caller does not publish its use.
    secretive: bool,
    /// The lanes of the live ones that publish their use.
    lanes: BTreeSet<Lane>,
    /// What each life of each replica used, the dead and those that left included until their minutes have passed.
    used: BTreeMap<(String, Timestamp), Used>,
    own_version: u64,
    lease: Option<Lease>,
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

    /// Live replicas that call Bedrock, this one included; at least 1.
    #[must_use]
    pub fn callers(&self) -> usize {
        self.view().callers.len().max(1)
    }

    /// This replica's part of `total` things that the live callers share. The parts add up to `total` exactly, so with more
    /// callers than things some have none.
    #[must_use]
    pub fn portion(&self, total: u32) -> u32 {
        let view = self.view();
        let count = view.callers.len() as u64;
        let Some(place) = view.callers.iter().position(|caller| *caller == self.worker) else { return total };
        let upto = |place: u64| place * u64::from(total) / count.max(1);
        u32::try_from(upto(place as u64 + 1) - upto(place as u64)).unwrap_or(total)
    }

    /// Whether of the live callers this one has been there for longest, so that it knows best what the fleet did. Others may
    /// think so of themselves for a moment.
    #[must_use]
    pub fn is_eldest_caller(&self) -> bool {
        self.view().eldest.as_ref().is_some_and(|eldest| *eldest == self.worker)
    }

    /// Publishes what this replica used, from the next beat on.
    pub fn publish_used(&self, used: Used) {
        self.view().own_used = Some(used);
    }

    /// Whether every live caller publishes what it uses. One of an earlier version or with other settings does not.
    #[must_use]
    pub fn tells_its_use(&self) -> bool {
        !self.view().secretive
    }

    /// Every lane of a live replica that publishes its use.
    #[must_use]
    pub fn lanes(&self) -> BTreeSet<Lane> {
        self.view().lanes.clone()
    }

    /// Quota tokens that the whole fleet settled in a minute of the latest ones, as far as this replica has seen. Of a
    /// replica that was killed, what it settled after its last beat is missing.
    #[must_use]
    pub fn used(&self, lane: &Lane, minute: Minute) -> f64 {
        self.view().used.values().map(|used| used.of(lane, minute)).sum()
    }

    /// Whether a worker shows signs of life.
    #[must_use]
    pub fn is_alive(&self, worker: &str) -> bool {
        worker == self.worker || self.view().alive.contains(worker)
    }

    /// The term of our leadership while we surely lead; it differs for every takeover.
    #[must_use]
    pub fn term(&self) -> Option<u64> {
        self.view().lease.filter(|lease| lease.renewed.elapsed() < LEAD_FOR).map(|lease| lease.term)
    }

    /// Gives up the lease and the membership, so that others need not wait for us to lapse.
    pub async fn leave(&self) -> PortResult<()> {
        let (lease, own) = {
            let mut view = self.view();
            (view.lease.take(), view.own_version)
        };
        if let Some(lease) = lease {
            self.registers.remove(LEASE, lease.version).await?;
        }
        self.registers.remove(&self.own_name(), own).await?;
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
        let (version, used) = {
            let view = self.view();
            (view.own_version, view.own_used.clone())
        };
        let value = serde_json::to_string(&Member { used, ..own.clone() }).unwrap_or_default();
        if self.registers.write(&self.own_name(), version, value.clone()).await? {
            self.view().own_version = version + 1;
        } else {
            // Somebody buried us, or a lost answer hid a write: adopt what is there and go on.
            let present = self.registers.read(&self.own_name()).await?.map_or(0, |r| r.version);
            self.view().own_version = present;
            if self.registers.write(&self.own_name(), present, value).await? {
                self.view().own_version = present + 1;
            }
        }
        Ok(())
    }

    async fn look(&self) -> PortResult<()> {
        let all = self.registers.list(MEMBERS).await?;
        let now = Instant::now();
        let mut dead = Vec::new();
        {
            let mut view = self.view();
            let names: BTreeSet<&String> = all.iter().map(|(name, _)| name).collect();
            view.seen.retain(|name, _| names.contains(name) || name == LEASE);
            let (mut alive, mut callers) = (BTreeSet::new(), BTreeMap::new());
            let (mut lanes, mut used, mut secretive) = (BTreeSet::new(), BTreeMap::new(), false);
            for (name, register) in &all {
                let since = observe(&mut view.seen, name, register.version, now);
                let unchanged = now.saturating_duration_since(since);
                let worker = name.strip_prefix(MEMBERS).unwrap_or(name);
                let lives = unchanged < LAPSE || worker == self.worker;
                if let Ok(member) = serde_json::from_str::<Member>(&register.value) {
                    if lives && member.roles.contains(&Role::Call) {
                        callers.insert(worker.to_owned(), member.since);
                        secretive |= member.used.is_none();
                    }
                    if let Some(published) = member.used {
                        if lives {
                            lanes.extend(published.lanes().cloned());
                        }
                        used.insert((worker.to_owned(), member.since), published);
                    }
                }
                if lives {
                    alive.insert(worker.to_owned());
                } else if unchanged >= BURY {
                    dead.push((name.clone(), register.version));
                }
            }
            view.note_used(used);
            view.secretive = secretive;
            view.eldest = callers.iter().min_by_key(|(worker, since)| (**since, *worker)).map(|(w, _)| w.clone());
            (view.alive, view.callers, view.lanes) = (alive, callers.into_keys().collect(), lanes);
        }
        for (name, version) in dead {
            self.registers.remove(&name, version).await?;
        }
        Ok(())
    }

    async fn renew(&self) -> PortResult<()> {
        let held = self.view().lease;
        let now = Instant::now();
        let expected = match held {
            Some(lease) => lease.version,
            None => match self.registers.read(LEASE).await? {
                None => 0,
                Some(register) => {
                    let since = observe(&mut self.view().seen, LEASE, register.version, now);
                    if now.saturating_duration_since(since) < LAPSE {
                        return Ok(());
                    }
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
        format!("{MEMBERS}{}", self.worker)
    }

    fn view(&self) -> std::sync::MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    /// Takes over what replicas publish; keeps what others published before they went, for as long as it matters.
    fn note_used(&mut self, published: BTreeMap<(String, Timestamp), Used>) {
        self.used.extend(published);
        if let Some(latest) = self.used.values().filter_map(Used::latest).max() {
            self.used.retain(|_, used| {
                used.forget_before(latest.back(KEPT_MINUTES));
                !used.is_empty()
            });
        }
    }
}

/// Notes a register's version; answers since when it has been so.
fn observe(seen: &mut HashMap<String, (u64, Instant)>, name: &str, version: u64, now: Instant) -> Instant {
    let entry = seen.entry(name.to_owned()).or_insert((version, now));
    if entry.0 != version {
        *entry = (version, now);
    }
    entry.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet_of(callers: &[&str], worker: &str) -> Fleet {
        let fleet = Fleet::new(Arc::new(NoRegisters), worker.to_owned(), false);
        fleet.view().callers = callers.iter().map(|c| (*c).to_owned()).collect();
        fleet
    }

    struct NoRegisters;

    #[async_trait::async_trait]
    impl Registers for NoRegisters {
        async fn read(&self, _: &str) -> PortResult<Option<crate::ports::Register>> {
            Ok(None)
        }
        async fn write(&self, _: &str, _: u64, _: String) -> PortResult<bool> {
            Ok(false)
        }
        async fn remove(&self, _: &str, _: u64) -> PortResult<bool> {
            Ok(false)
        }
        async fn list(&self, _: &str) -> PortResult<Vec<(String, crate::ports::Register)>> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn portions_add_up_to_the_whole() {
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        for count in 1..=names.len() {
            let callers = names.get(..count).unwrap();
            for total in [1, 2, 5, 30, 31, 100_000] {
                let portions: Vec<u32> = callers.iter().map(|name| fleet_of(callers, name).portion(total)).collect();
                assert_eq!(portions.iter().sum::<u32>(), total, "{count} callers: {portions:?}");
                let (least, most) = (portions.iter().min().unwrap(), portions.iter().max().unwrap());
                assert!(most - least <= 1, "{portions:?}");
            }
        }
        assert_eq!(fleet_of(&[], "alone").portion(30), 30);
    }
}
