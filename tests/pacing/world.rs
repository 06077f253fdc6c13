//! Runs a scenario: replicas, each with its own gate, that take requests from one ranked backlog and call one server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use smoother::pipeline::pace::{Ask, Gate, LaneLimits, Settlement};
use smoother::ports::model::CallErrorClass;
use smoother::request::{Estimate, Lane, ModelId, Usage};
use smoother::simulator::draw::Draws;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

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
    pub own_by_minute: Vec<f64>,
}

struct Replica {
    gate: Gate,
    tasks: JoinSet<()>,
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
        arrived: Notify::new(),
        believed: Mutex::new(believed),
        network: Mutex::new(Draws::new(seed, 0, 13)),
    });
    let all = requests(scenario, seed);
    let total = all.len();
    let mut replicas: Vec<Option<Replica>> = Vec::new();
    for _ in 0..scenario.fleet.replicas {
        replicas.push(Some(world.start_replica()));
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
            world.happen(&event.what, &mut replicas);
            continue;
        }
        tokio::time::sleep(Duration::from_secs_f64((next - now).clamp(0.001, 1.0))).await;
        if std::env::var_os("PACING_TRACE").is_some() && (now as u64) % 30 == 0 {
            for replica in replicas.iter().flatten() {
                if let Some(l) = replica.gate.snapshots().first() {
                    eprintln!(
                        "{now:>7.0}s factor {:.3} others {:.2} server level {:.0} in flight {} reserved {:.0} log {}",
                        l.factor,
                        scenario.server.background_at(now),
                        world.server.lock().unwrap().level(),
                        l.in_flight,
                        l.reserved_tokens,
                        l.tokens_last_minute
                    );
                }
            }
        }
    }
    world
}

impl World {
    fn start_replica(self: &Arc<Self>) -> Replica {
        let gate = Gate::alone(self.scenario.fleet.concurrency);
        let mut tasks = JoinSet::new();
        let dispatcher = gate.clone();
        tasks.spawn(async move { dispatcher.run().await });
        tasks.spawn(Arc::clone(self).take_work(gate.clone()));
        Replica { gate, tasks }
    }

    fn happen(self: &Arc<Self>, what: &What, _replicas: &mut [Option<Replica>]) {
        match what {
            What::Server { rpm, tpm } => self.server.lock().unwrap().change(*rpm, *tpm),
            What::Believed { rpm, tpm } => {
                let mut believed = self.believed.lock().unwrap();
                believed.requests_per_minute = rpm.or(believed.requests_per_minute);
                believed.tokens_per_minute = tpm.or(believed.tokens_per_minute);
            }
            other => panic!("{other:?}"),
        }
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
    async fn take_work(self: Arc<Self>, gate: Gate) {
        let room = (HELD + self.scenario.fleet.concurrency as usize).div_ceil(self.scenario.fleet.replicas);
        let mut calls = JoinSet::new();
        loop {
            while calls.try_join_next().is_some() {}
            let arrived = self.arrived.notified();
            let taken = {
                let mut backlog = self.backlog.lock().unwrap();
                let first = backlog.first_entry();
                first.filter(|first| calls.len() < room || first.get().urgent).map(|first| first.remove_entry())
            };
            if let Some((rank, request)) = taken {
                calls.spawn(Arc::clone(&self).see_through(gate.clone(), rank, request));
                continue;
            }
            tokio::select! {
                () = arrived => {}
                Some(_) = calls.join_next() => {}
            }
        }
    }

    async fn see_through(self: Arc<Self>, gate: Gate, rank: String, request: Arc<Planned>) {
        loop {
            let ask = Ask {
                lane: lane(),
                limits: *self.believed.lock().unwrap(),
                rank: rank.clone(),
                urgent: request.urgent,
                estimate: Estimate { input_tokens: request.estimated_input, max_output_tokens: request.max_output },
                kind: Some(request.kind.to_owned()),
            };
            let mut permit = match gate.admit(ask).await {
                Ok(permit) => permit,
                Err(paused) => {
                    tokio::time::sleep_until(paused.until).await;
                    continue;
                }
            };
            permit.mark_called();
            self.network().await;
            let started = self.origin.elapsed();
            let answer = self.server.lock().unwrap().start(&request);
            match answer {
                Ok(takes) => {
                    tokio::time::sleep(takes).await;
                    self.network().await;
                    let usage =
                        Usage { input_tokens: request.input, output_tokens: request.output, ..Usage::default() };
                    let tokens = permit.settle(Settlement::Answered(Some(usage)));
                    return self.answered(&request, started, tokens);
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

    fn answered(&self, request: &Planned, started: Duration, tokens: f64) {
        let now = self.origin.elapsed();
        let mut outcome = self.outcome.lock().unwrap();
        let wait = started.saturating_sub(request.arrival);
        outcome.waits.push((request.number, request.kind, request.urgent, wait));
        outcome.last_answer = now;
        let minute = usize::try_from(now.as_secs() / 60).unwrap();
        if outcome.own_by_minute.len() <= minute {
            outcome.own_by_minute.resize(minute + 1, 0.0);
        }
        outcome.own_by_minute[minute] += tokens;
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
            tokio::time::sleep_until(self.origin + Duration::from_secs(60) * (minute + 1) + METRIC_DELAY).await;
            let others = self.scenario.server.background_at(f64::from(minute) * 60.0 + 30.0) * tpm as f64;
            let share = (last + others) / 2.0 / tpm as f64;
            last = others;
            for gate in &gates {
                gate.set_background(&lane(), share);
            }
        }
    }
}
