//! Replicas without the rest of the worker: a gate, its calls, and the beat that keeps its shares, on registers in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use smoother::pipeline::fleet::{Fleet, Member, Role};
use smoother::pipeline::pace::{Ask, Gate, Grant, LaneLimits, Settlement};
use smoother::request::{Estimate, Lane, ModelId, Usage};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::registers::{Link, Memory};
use crate::rig::START;

pub const BUDGET: u32 = 10;
pub const LIMITS: LaneLimits = LaneLimits {
    requests_per_minute: Some(600.0),
    tokens_per_minute: Some(300_000.0),
    burndown: 1.0,
    max_concurrent: Some(6),
};
const TOKENS: u64 = 15_000;

pub fn lane() -> Lane {
    Lane::new("default", "r", &ModelId::new("m").unwrap())
}

/// One replica. Dropped without a word, it has crashed.
pub struct Replica {
    pub fleet: Arc<Fleet>,
    pub gate: Gate,
    pub link: Arc<Link>,
    beating: JoinSet<()>,
    calls: JoinSet<()>,
}

impl Replica {
    fn new(link: Arc<Link>, name: &str) -> Self {
        let fleet = Arc::new(Fleet::new(Arc::clone(&link) as _, name.to_owned(), false));
        Self { fleet, gate: Gate::in_fleet(), link, beating: JoinSet::new(), calls: JoinSet::new() }
    }

    /// One beat.
    pub async fn beat(&self, name: &str) {
        self.fleet.beat(&member(name)).await.unwrap();
        self.fleet.share(&self.gate, BUDGET).await.unwrap();
    }
}

fn member(name: &str) -> Member {
    Member {
        worker: name.to_owned(),
        roles: [Role::Call].into(),
        since: START,
        shown_at: START,
        lanes: Vec::new(),
        finished: 0,
        used: None,
    }
}

/// Replicas on one table.
#[derive(Default)]
pub struct Replicas {
    pub memory: Arc<Memory>,
    pub all: BTreeMap<String, Replica>,
    started: u64,
}

impl Replicas {
    /// A new replica of that name, on a link of its own.
    pub fn join(&mut self, name: &str, faults: bool) {
        self.started += 1;
        let link = self.memory.link(self.started);
        link.faults.store(faults, Ordering::Relaxed);
        let mut replica = Replica::new(link, name);
        replica.beating.spawn(beat(Arc::clone(&replica.fleet), replica.gate.clone(), name.to_owned(), self.started));
        let dispatcher = replica.gate.clone();
        replica.beating.spawn(async move { dispatcher.run().await });
        self.all.insert(name.to_owned(), replica);
    }

    /// A new replica that beats only when told, and whose two callers wait for ever.
    pub fn join_by_hand(&mut self, name: &str) {
        let mut replica = Replica::new(self.memory.link(0), name);
        for n in 0..2 {
            replica.calls.spawn(call(replica.gate.clone(), n));
        }
        self.all.insert(name.to_owned(), replica);
    }

    /// What the register of the lane's parts says.
    pub fn share(&self) -> Option<String> {
        self.memory.registers.lock().unwrap().get(&format!("share/{}", lane())).map(|register| register.value.clone())
    }

    pub fn crash(&mut self, name: &str) {
        self.all.remove(name);
    }

    /// Leaves as a worker does: calls are over, the beat stops, what it has is given back.
    pub async fn leave(&mut self, name: &str) {
        let Some(mut replica) = self.all.remove(name) else { return };
        replica.calls.shutdown().await;
        replica.beating.shutdown().await;
        drop(replica.fleet.leave(&replica.gate).await);
    }

    /// So many callers from now on, each with one request at a time.
    pub async fn demand(&mut self, name: &str, callers: u64) {
        let Some(replica) = self.all.get_mut(name) else { return };
        replica.calls.shutdown().await;
        for n in 0..callers {
            replica.calls.spawn(call(replica.gate.clone(), n));
        }
    }

    pub fn cut(&self, name: &str, cut: bool) {
        if let Some(replica) = self.all.get(name) {
            replica.link.cut.store(cut, Ordering::Relaxed);
        }
    }

    pub fn grant(&self, name: &str) -> Grant {
        self.all.get(name).and_then(|replica| replica.gate.standing(&lane())).map_or(Grant::NONE, |(grant, ..)| grant)
    }

    pub fn slots(&self, name: &str) -> u32 {
        self.all.get(name).map_or(0, |replica| replica.gate.load().1)
    }

    /// Lets time pass, and holds at every instant that nothing is spent twice.
    pub async fn pass(&self, span: Duration) {
        let end = Instant::now() + span;
        while Instant::now() < end {
            self.check();
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        self.check();
    }

    pub fn check(&self) {
        let parts: BTreeMap<&String, (Grant, u32)> =
            self.all.keys().map(|name| (name, (self.grant(name), self.slots(name)))).collect();
        let sum = |of: fn(&Grant) -> f64| parts.values().map(|(grant, _)| of(grant)).sum::<f64>();
        let calls: u32 = parts.values().filter_map(|(grant, _)| grant.calls).sum();
        let slots: u32 = parts.values().map(|(_, slots)| slots).sum();
        let fits = sum(|g| g.rate) <= 1.0 + 1e-9 && sum(|g| g.room) <= 1.0 + 1e-9 && calls <= 6 && slots <= BUDGET;
        assert!(fits, "spent twice: {parts:#?}\n{:?}", self.share());
    }

    /// Calls in flight everywhere.
    pub fn in_flight(&self) -> u32 {
        self.all.values().map(|replica| replica.gate.load().0).sum()
    }

    /// What all have of the lane and of the budget.
    pub fn granted(&self) -> (f64, f64, u32, u32) {
        let grants: Vec<Grant> = self.all.keys().map(|name| self.grant(name)).collect();
        let slots = self.all.keys().map(|name| self.slots(name)).sum();
        let calls = grants.iter().filter_map(|grant| grant.calls).sum();
        (grants.iter().map(|g| g.rate).sum(), grants.iter().map(|g| g.room).sum(), calls, slots)
    }
}

/// A beat about every two seconds, each replica at a pace and a phase of its own.
async fn beat(fleet: Arc<Fleet>, gate: Gate, name: String, seed: u64) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let member = member(&name);
    let pace = Duration::from_millis(1_900 + dice.u64(0..200));
    tokio::time::sleep(Duration::from_millis(dice.u64(0..10))).await;
    loop {
        drop(fleet.beat(&member).await);
        let next = Instant::now() + pace;
        loop {
            drop(fleet.share(&gate, BUDGET).await);
            tokio::select! {
                () = tokio::time::sleep_until(next) => break,
                () = async {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    gate.lane_opened().await;
                } => {}
            }
        }
    }
}

/// A request of the lane.
pub fn ask(n: u64) -> Ask {
    Ask {
        lane: lane(),
        limits: LIMITS,
        rank: format!("1#{n}"),
        urgent: false,
        estimate: Estimate { input_tokens: TOKENS, max_output_tokens: 0 },
        kind: None,
    }
}

async fn call(gate: Gate, n: u64) {
    let mut dice = fastrand::Rng::with_seed(n);
    loop {
        if let Ok(mut permit) = gate.admit(ask(n)).await {
            permit.mark_called();
            tokio::time::sleep(Duration::from_millis(dice.u64(500..3_000))).await;
            permit.settle(Settlement::Answered(Some(Usage { input_tokens: TOKENS, ..Usage::default() })));
        }
    }
}
