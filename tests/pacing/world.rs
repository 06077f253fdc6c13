//! Runs a scenario: replicas, each with its own gate, that take requests from one ranked backlog and call one server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use smoother::clock::Timestamp;
use smoother::pipeline::fleet::{Fleet, Member, Role};
use smoother::pipeline::pace::{Ask, Gate, LaneLimits, Settlement};
use smoother::ports::model::CallErrorClass;
use smoother::request::{Estimate, Lane, ModelId, Usage};
use smoother::simulator::draw::Draws;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::registers::{Link, Memory};
use crate::scenario::{Scenario, What};
use crate::server::Server;
use crate::trace::{Planned, requests};

/// Messages that wait at the gates of all replicas together, as `queue_depth_threshold`.
const HELD: usize = 100;
/// A killed replica's requests come back after this.
const CLAIM_LAPSES: Duration = Duration::from_secs(30);
/// One way over the network: median, and sigma of its logarithm.
const NETWORK: (f64, f64) = (0.030, 0.5);
/// CloudWatch shows a minute so long after its end.
const METRIC_DELAY: Duration = Duration::from_secs(75);

pub struct World {
    pub scenario: Scenario,
    pub origin: Instant,
    pub server: Mutex<Server>,
    pub outcome: Mutex<Outcome>,
    backlog: Mutex<BTreeMap<String, Arc<Planned>>>,
    /// Replicas that take work.
    live: Mutex<BTreeSet<usize>>,
    arrived: Notify,
    believed: Mutex<LaneLimits>,
    network: Mutex<Draws>,
}

/// What the callers saw.
#[derive(Default)]
pub struct Outcome {
    /// Number of the request, its kind, whether it is urgent, and how long it waited for the start of the call that was served.
    pub waits: Vec<(u32, &'static str, bool, Duration)>,
    pub last_answer: Duration,
    /// Largest sum of the replicas' shares at any time.
    pub most_granted: f64,
}

/// One process. Dropped without a word, it has crashed.
struct Replica {
    gate: Gate,
    fleet: Option<Arc<Fleet>>,
    link: Arc<Link>,
    /// Taken from the backlog and not answered.
    in_hand: Arc<Mutex<BTreeMap<String, Arc<Planned>>>>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

type Hand = Arc<Mutex<BTreeMap<String, Arc<Planned>>>>;

/// Keeps a replica's shares, as the worker does it.
async fn beat(fleet: Arc<Fleet>, gate: Gate, worker: String, phase: Duration, concurrency: u32) {
    let member = Member {
        worker,
        roles: [Role::Call].into(),
        since: Timestamp(0),
        shown_at: Timestamp(0),
        lanes: Vec::new(),
        finished: 0,
        used: None,
    };
    let mut first = true;
    loop {
        // A heartbeat or a share that fails is tried again with the next; the gate fences itself meanwhile.
        _ = fleet.beat(&member).await;
        _ = fleet.share(&gate, concurrency).await;
        let next = Instant::now() + if std::mem::take(&mut first) { phase } else { Fleet::beat_interval() };
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next) => break,
                () = gate.lane_opened() => {}
            }
            _ = fleet.share(&gate, concurrency).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A number by chance, always the same for a request.
fn dice(request: &Planned) -> usize {
    usize::try_from(u64::from(request.number).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32).unwrap()
}

fn trace() -> bool {
    std::env::var_os("PACING_TRACE").is_some()
}

pub fn lane() -> Lane {
    Lane::new("default", "us-east-1", &ModelId::new("amazon.nova-lite-v1:0").unwrap())
}

/// Runs a scenario with one seed to its end.
pub async fn run(scenario: &Scenario, seed: u64) -> Arc<World> {
    fastrand::seed(seed);
    let server = &scenario.server;
    let believed = LaneLimits {
        requests_per_minute: scenario.believed.rpm.or(server.rpm.map(|n| n as f64)),
        tokens_per_minute: scenario.believed.tpm.or(server.tpm.map(|n| n as f64)),
        burndown: scenario.believed.burndown.unwrap_or(server.burndown),
        max_concurrent: None,
    };
    let world = Arc::new(World {
        scenario: scenario.clone(),
        origin: Instant::now(),
        server: Mutex::new(Server::new(server, seed)),
        outcome: Mutex::default(),
        backlog: Mutex::default(),
        live: Mutex::default(),
        arrived: Notify::new(),
        believed: Mutex::new(believed),
        network: Mutex::new(Draws::new(seed, 0, 13)),
    });
    let all = requests(scenario, seed);
    let total = all.len();
    let memory = Arc::new(Memory::default());
    let joining =
        scenario.events.iter().filter_map(|event| if let What::Join(n) = event.what { Some(n + 1) } else { None });
    let most = joining.max().unwrap_or(0).max(scenario.fleet.replicas);
    let mut replicas: Vec<Option<Replica>> = (0..most).map(|_| None).collect();
    for (n, replica) in replicas.iter_mut().enumerate().take(scenario.fleet.replicas) {
        *replica = Some(world.start_replica(n, &memory));
    }
    let mut side = JoinSet::new();
    side.spawn(Arc::clone(&world).arrivals(all));
    if scenario.usage_feed {
        let gates = replicas.iter().flatten().map(|replica| replica.gate.clone()).collect();
        side.spawn(Arc::clone(&world).feed(gates));
    }
    let mut events = scenario.events.clone();
    events.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    let mut events = events.into_iter().peekable();
    while world.outcome.lock().unwrap().waits.len() < total {
        let next = events.peek().map_or(f64::INFINITY, |event| event.at_s);
        let now = world.origin.elapsed().as_secs_f64();
        assert!(now < 12.0 * 3600.0, "{} is not done after 12 hours", scenario.about);
        if now >= next {
            let event = events.next().unwrap();
            world.happen(&event.what, &mut replicas, &memory, &mut side);
            continue;
        }
        tokio::time::sleep(Duration::from_secs_f64((next - now).clamp(0.001, 1.0))).await;
        world.watch(&replicas);
    }
    world
}

impl World {
    fn start_replica(self: &Arc<Self>, number: usize, memory: &Arc<Memory>) -> Replica {
        self.live.lock().unwrap().insert(number);
        let link = memory.link(number as u64 + 1);
        let alone = self.scenario.fleet.replicas == 1 && self.scenario.events.iter().all(|e| !e.what.is_of_the_fleet());
        let (gate, mut tasks) =
            (if alone { Gate::alone(self.scenario.fleet.concurrency) } else { Gate::in_fleet() }, JoinSet::new());
        let dispatcher = gate.clone();
        tasks.spawn(async move { dispatcher.run().await });
        let worker = format!("replica-{number:02}");
        let fleet = (!alone).then(|| Arc::new(Fleet::new(Arc::clone(&link) as _, worker.clone(), false)));
        if let Some(fleet) = &fleet {
            let phase = Duration::from_millis(self.network.lock().unwrap().bits() % 2_000);
            tasks.spawn(beat(Arc::clone(fleet), gate.clone(), worker, phase, self.scenario.fleet.concurrency));
        }
        let replica = Replica { gate, fleet, link, in_hand: Arc::default(), stop: CancellationToken::new(), tasks };
        let (gate, hand, stop) = (replica.gate.clone(), Arc::clone(&replica.in_hand), replica.stop.clone());
        let mut replica = replica;
        replica.tasks.spawn(Arc::clone(self).take_work(number, gate, hand, stop));
        replica
    }

    fn happen(
        self: &Arc<Self>,
        what: &What,
        replicas: &mut [Option<Replica>],
        memory: &Arc<Memory>,
        side: &mut JoinSet<()>,
    ) {
        match what {
            What::Server { rpm, tpm } => self.server.lock().unwrap().change(*rpm, *tpm),
            What::Believed { rpm, tpm } => {
                let mut believed = self.believed.lock().unwrap();
                believed.requests_per_minute = rpm.or(believed.requests_per_minute);
                believed.tokens_per_minute = tpm.or(believed.tokens_per_minute);
            }
            What::Crash(n) => {
                let Some(replica) = replicas[*n].take() else { return };
                self.live.lock().unwrap().remove(n);
                let lost = std::mem::take(&mut *replica.in_hand.lock().unwrap());
                drop(replica);
                let world = Arc::clone(self);
                side.spawn(async move {
                    tokio::time::sleep(CLAIM_LAPSES).await;
                    for request in lost.into_values() {
                        world.enqueue(request);
                    }
                });
            }
            What::Join(n) => replicas[*n] = Some(self.start_replica(*n, memory)),
            What::Leave(n) => {
                let Some(mut replica) = replicas[*n].take() else { return };
                self.live.lock().unwrap().remove(n);
                side.spawn(async move {
                    replica.stop.cancel();
                    while !replica.in_hand.lock().unwrap().is_empty() {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    replica.tasks.shutdown().await;
                    if let Some(fleet) = &replica.fleet {
                        fleet.leave(&replica.gate).await.unwrap();
                    }
                });
            }
            What::CutOff { replica, for_s } => {
                let Some(replica) = &replicas[*replica] else { return };
                let (link, span) = (Arc::clone(&replica.link), Duration::from_secs_f64(*for_s));
                link.cut.store(true, Ordering::Relaxed);
                side.spawn(async move {
                    tokio::time::sleep(span).await;
                    link.cut.store(false, Ordering::Relaxed);
                });
            }
        }
    }

    /// Notes what the replicas have together.
    fn watch(&self, replicas: &[Option<Replica>]) {
        let mut granted = 0.0;
        for replica in replicas.iter().flatten() {
            let share = replica.gate.snapshots().first().map_or(0.0, |lane| lane.share);
            granted += share;
            if trace() && self.origin.elapsed().as_secs().is_multiple_of(30) {
                self.tell(replica);
            }
        }
        let mut outcome = self.outcome.lock().unwrap();
        outcome.most_granted = outcome.most_granted.max(granted);
    }

    fn tell(&self, replica: &Replica) {
        let Some(lane) = replica.gate.snapshots().into_iter().next() else { return };
        let at = self.origin.elapsed().as_secs_f64();
        let level = self.server.lock().unwrap().level();
        let others = self.scenario.server.background_at(at);
        eprintln!(
            "{at:>7.0}s share {:.3} factor {:.3} others {others:.2} server level {level:.0} in flight {} of {} waiting {} reserved {:.0}",
            lane.share,
            lane.factor,
            lane.in_flight,
            replica.gate.load().1,
            lane.waiting,
            lane.reserved_tokens
        );
    }

    async fn arrivals(self: Arc<Self>, all: Vec<Planned>) {
        for request in all {
            tokio::time::sleep_until(self.origin + request.arrival).await;
            self.enqueue(Arc::new(request));
        }
    }

    fn enqueue(&self, request: Arc<Planned>) {
        let rank = format!("{}#{:08}", u8::from(!request.urgent), request.number);
        self.backlog.lock().unwrap().insert(rank, request);
        self.arrived.notify_waiters();
    }

    /// Takes from the backlog whenever there is room, as a replica takes from the hold queue; an urgent request goes to
    /// somebody at once.
    async fn take_work(self: Arc<Self>, number: usize, gate: Gate, hand: Hand, stop: CancellationToken) {
        let fleet = self.scenario.fleet;
        let whole = HELD + fleet.concurrency as usize;
        let mut calls = JoinSet::new();
        loop {
            while calls.try_join_next().is_some() {}
            let arrived = self.arrived.notified();
            // In proportion to the part of the budget, as the worker does it.
            let slots = gate.load().1.min(fleet.concurrency) as usize;
            let room = (whole * slots).div_ceil(fleet.concurrency as usize);
            let taken = if slots == 0 { None } else { self.take(number, calls.len() < room) };
            if let Some((rank, request)) = taken {
                hand.lock().unwrap().insert(rank.clone(), Arc::clone(&request));
                let world = Arc::clone(&self);
                let (gate, hand, stop) = (gate.clone(), Arc::clone(&hand), stop.clone());
                calls.spawn(async move {
                    if !world.see_through(&gate, &rank, &request, &stop).await {
                        world.enqueue(request);
                    }
                    hand.lock().unwrap().remove(&rank);
                });
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = arrived => {}
                Some(_) = calls.join_next() => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
        while calls.join_next().await.is_some() {}
    }

    /// The best-ranked request that this replica may take.
    fn take(&self, number: usize, has_room: bool) -> Option<(String, Arc<Planned>)> {
        let mut backlog = self.backlog.lock().unwrap();
        let Some(first) = self.scenario.fleet.pinned else {
            let best = backlog.first_entry();
            // An urgent one is handed to anybody, not always to the same.
            let live = self.live.lock().unwrap();
            let dealt =
                |request: &Planned| request.urgent && live.iter().nth(dice(request) % live.len()) == Some(&number);
            return best
                .filter(|best| has_room || dealt(best.get()))
                .map(std::collections::btree_map::OccupiedEntry::remove_entry);
        };
        let home = |request: &Planned| {
            let dice = dice(request);
            if (dice % 1_000) as f64 / 1_000.0 < first { 0 } else { 1 + dice % (self.scenario.fleet.replicas - 1) }
        };
        let found = backlog.iter().find(|(_, request)| home(request) == number);
        let rank = found.filter(|(_, request)| has_room || request.urgent)?.0.clone();
        backlog.remove_entry(&rank)
    }

    /// Whether the request was answered; otherwise it is handed back.
    async fn see_through(&self, gate: &Gate, rank: &str, request: &Planned, stop: &CancellationToken) -> bool {
        loop {
            let ask = Ask {
                lane: lane(),
                limits: *self.believed.lock().unwrap(),
                rank: rank.to_owned(),
                urgent: request.urgent,
                estimate: Estimate { input_tokens: request.estimated_input, max_output_tokens: request.max_output },
                kind: Some(request.kind.to_owned()),
            };
            let admitted = tokio::select! {
                biased;
                () = stop.cancelled() => return false,
                admitted = gate.admit(ask) => admitted,
            };
            let mut permit = match admitted {
                Ok(permit) => permit,
                Err(paused) => {
                    tokio::time::sleep_until(paused.until).await;
                    continue;
                }
            };
            permit.mark_called();
            self.network().await;
            let started = self.origin.elapsed();
            let answer = self.server.lock().unwrap().start(request);
            match answer {
                Ok(takes) => {
                    tokio::time::sleep(takes).await;
                    self.network().await;
                    let usage =
                        Usage { input_tokens: request.input, output_tokens: request.output, ..Usage::default() };
                    permit.settle(Settlement::Answered(Some(usage)));
                    self.answered(request, started);
                    return true;
                }
                Err(class) => {
                    self.network().await;
                    permit.settle(Settlement::Failed { class, retry_after: None });
                    if class == CallErrorClass::Unavailable {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        }
    }

    fn answered(&self, request: &Planned, started: Duration) {
        let now = self.origin.elapsed();
        let mut outcome = self.outcome.lock().unwrap();
        let wait = started.saturating_sub(request.arrival);
        outcome.waits.push((request.number, request.kind, request.urgent, wait));
        outcome.last_answer = now;
    }

    async fn network(&self) {
        let (median, sigma) = NETWORK;
        let delay = median * (sigma * self.network.lock().unwrap().normal()).exp();
        tokio::time::sleep(Duration::from_secs_f64(delay)).await;
    }

    /// Other traffic as CloudWatch would show it: the mean of the last two minutes, late.
    async fn feed(self: Arc<Self>, gates: Vec<Gate>) {
        let Some(tpm) = self.scenario.server.tpm else { return };
        let mut last = 0.0;
        for minute in 0_u32.. {
            tokio::time::sleep_until(self.origin + Duration::from_mins(1) * (minute + 1) + METRIC_DELAY).await;
            let others = {
                let mut server = self.server.lock().unwrap();
                server.settled(minute.into()) - server.own(minute.into())
            };
            let share = (f64::midpoint(last, others) / tpm as f64).max(0.0);
            last = others;
            for gate in &gates {
                gate.set_background(&lane(), share);
            }
        }
    }
}
