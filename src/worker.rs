//! One worker process: builds the stages that its roles ask for, runs them, and stops them in order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::health::Health;
use crate::models::Catalog;
use crate::pipeline::alerts::{self, Alerter};
use crate::pipeline::background::{self, Watch};
use crate::pipeline::call::{self, Caller};
use crate::pipeline::fleet::{Fleet, Member, Role};
use crate::pipeline::ingest::{self, Ingest};
use crate::pipeline::pace::Gate;
use crate::pipeline::plan::{self, Planner};
use crate::pipeline::quotas::QuotaKeeper;
use crate::pipeline::record::{self, Recorder};
use crate::pipeline::reporter::{self, Observer, Reporter};
use crate::pipeline::spend::{self, Spend};
use crate::pipeline::tally::Tally;
use crate::pipeline::tracer::Tracer;
use crate::pipeline::usage::Used;
use crate::ports::{Model, Ports, Quotas, Spans, UsageFeed};
use crate::request::Status;
use crate::shutdown::Stop;

/// Least time between looks at the shares for lanes that are asked for the first time.
const SHARE_GAP: Duration = Duration::from_millis(50);
/// Time between looks while slots move between replicas, and how many of them at most: who waits for a long call to end looks
/// on with every beat.
const MOVING_GAP: Duration = Duration::from_millis(250);
const MOVING_MOST: u32 = 20;
/// How often to see whether there is nothing left to do, and how often in a row it must be so: three seconds in all, since
/// counts on AWS are approximate and the planner looks at dead letters only every two.
const IDLE_LOOK: Duration = Duration::from_millis(200);
const IDLE_LOOKS: u32 = 15;

/// How long a worker that ends tries to save what it spent.
const SPEND_PATIENCE: Duration = Duration::from_secs(5);
/// How long a worker that ends tries to hand over its last spans.
const TRACES_PATIENCE: Duration = Duration::from_secs(5);
/// How long the work waits for the first look at Service Quotas.
const QUOTA_PATIENCE: Duration = Duration::from_secs(3);

/// What a worker needs to know besides its ports.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name.
    pub worker: String,
    /// What it does.
    pub roles: BTreeSet<Role>,
    /// Pollers of the input queue.
    pub input_pollers: usize,
    /// How long to wait for calls in flight when asked to stop.
    pub drain_grace: Duration,
    /// The longest result that travels in the message, bytes.
    pub inline_limit: usize,
    /// When on-call is told.
    pub alerts: alerts::Settings,
    /// Where it is, as its alerts say.
    pub frame: alerts::Frame,
    /// What may be spent.
    pub budgets: spend::Limits,
    /// End when nothing is left to do.
    pub until_idle: bool,
    /// For ingest.
    pub ingest: ingest::Settings,
    /// For the planner.
    pub plan: plan::Settings,
    /// For the caller.
    pub call: call::Settings,
}

/// A worker, ready to run.
pub struct Worker {
    ports: Ports,
    model: Arc<dyn Model>,
    catalog: Arc<Catalog>,
    quotas: Option<Arc<dyn Quotas>>,
    clock: Clock,
    settings: Settings,
    usage_feed: Option<Arc<dyn UsageFeed>>,
    /// Where spans go, and what part of the traces that begin here.
    traces: Option<(Arc<dyn Spans>, f64)>,
    gate: Gate,
    tally: Arc<Tally>,
    health: Arc<Health>,
    fleet: Arc<Fleet>,
    gauges: Arc<plan::Gauges>,
}

impl Worker {
    /// A worker on these ports.
    #[must_use]
    pub fn new(ports: Ports, model: Arc<dyn Model>, catalog: Arc<Catalog>, clock: Clock, settings: Settings) -> Self {
        let gate = Gate::in_fleet();
        let plans = settings.roles.contains(&Role::Plan);
        let fleet = Arc::new(Fleet::new(Arc::clone(&ports.registers), settings.worker.clone(), plans));
        let (quotas, usage_feed, traces) = (None, None, None);
        let (tally, health, gauges) = (Arc::default(), Arc::default(), Arc::default());
        Self { ports, model, catalog, quotas, clock, settings, usage_feed, traces, gate, tally, health, fleet, gauges }
    }

    /// With somewhere to look up the quotas that are not configured.
    #[must_use]
    pub fn with_quotas(self, quotas: Option<Arc<dyn Quotas>>) -> Self {
        Self { quotas, ..self }
    }

    /// With somewhere to measure what others use of the quotas.
    #[must_use]
    pub fn with_usage_feed(self, usage_feed: Option<Arc<dyn UsageFeed>>) -> Self {
        Self { usage_feed, ..self }
    }

    /// With somewhere to send traces; of those that begin here `ratio` (0 to 1) are recorded.
    #[must_use]
    pub fn with_traces(self, spans: Option<Arc<dyn Spans>>, ratio: f64) -> Self {
        Self { traces: spans.map(|spans| (spans, ratio)), ..self }
    }

    /// What happens in it; may be read while it runs.
    #[must_use]
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// How it does; may be read while it runs.
    #[must_use]
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.health)
    }

    /// Its metrics; may be read while it runs.
    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer {
            tally: Arc::clone(&self.tally),
            gate: self.gate.clone(),
            fleet: Arc::clone(&self.fleet),
            gauges: Arc::clone(&self.gauges),
            clock: self.clock.clone(),
        }
    }

    /// Its lanes; may be read while it runs.
    #[must_use]
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Works until `stop.intake`, or until idle when so configured, then ends in phases:
    /// 1. stop intake: pollers, planner and caller take nothing new and hand back what has not begun;
    /// 2. drain: wait for calls in flight, at most the grace period, then leave them to others;
    /// 3. leave the fleet: give up the shares, the lease and the membership;
    /// 4. flush: reports, results, deletions, alerts, what was spent, traces, metrics.
    pub async fn run(self, stop: Stop) {
        self.health.ends_with(stop.intake.clone());
        let mut writers = JoinSet::new();
        let (alerter, serve_alerts) = Alerter::new(alerts::Context {
            channels: self.ports.alerts.clone(),
            registers: Arc::clone(&self.ports.registers),
            tally: Arc::clone(&self.tally),
            clock: self.clock.clone(),
            frame: self.settings.frame.clone(),
            settings: self.settings.alerts,
        });
        let spend = Spend::new(
            Arc::clone(&self.ports.registers),
            &self.settings.worker,
            self.clock.clone(),
            self.settings.budgets.tenants().cloned().collect(),
        );
        let mut tracing_out = JoinSet::new();
        let tracer = match &self.traces {
            Some((spans, ratio)) => {
                let tally = Arc::clone(&self.tally);
                let (tracer, serve) = Tracer::new(Arc::clone(spans), *ratio, &self.settings.worker, tally);
                tracing_out.spawn(serve);
                tracer
            }
            None => Tracer::off(),
        };
        let (recorder, serve_records) = Recorder::new(
            &self.ports,
            record::Context {
                catalog: Arc::clone(&self.catalog),
                tally: Arc::clone(&self.tally),
                spend: spend.clone(),
                alerter,
                tracer,
                clock: self.clock.clone(),
                inline_limit: self.settings.inline_limit,
            },
        );
        writers.spawn(serve_alerts);
        writers.spawn(serve_records);

        let fleet = Arc::clone(&self.fleet);
        if self.usage_feed.is_some() {
            fleet.publish_used(Used::default());
        }
        let member = self.member();
        // The first beat comes before any work, so that a single worker plans from the start.
        let beaten = fleet.beat(&member).await;
        self.health.beat(beaten.is_ok());
        if let Err(error) = beaten {
            recorder.port_failed(&error);
        }

        let mut crew = Crew { intake: JoinSet::new(), background: JoinSet::new(), writers };
        let pulse = Pulse {
            fleet: Arc::clone(&fleet),
            member,
            gate: self.gate.clone(),
            recorder: recorder.clone(),
            clock: self.clock.clone(),
            health: Arc::clone(&self.health),
            max_concurrent: self.settings.call.max_concurrent,
        };
        crew.background.spawn(pulse.run());
        let (saving, mishaps) = (spend.clone(), recorder.clone());
        crew.background.spawn(async move { saving.run(|error| mishaps.port_failed(error)).await });
        let reporter = Reporter { metrics: Arc::clone(&self.ports.metrics), observer: self.observer() };
        crew.background.spawn(reporter.run());
        if self.settings.until_idle {
            crew.background.spawn(stop_when_idle(self.ports.clone(), stop.intake.clone(), recorder.clone()));
        }
        self.start_quotas(&mut crew, &stop).await;
        // Whatever may have made room or brought work wakes the planner.
        let wake = Arc::new(Notify::new());
        if self.settings.roles.contains(&Role::Ingest) {
            self.start_ingest(&mut crew, &recorder, &wake, &stop);
        }
        if self.settings.roles.contains(&Role::Plan) {
            let context = self.plan_context(&recorder, &wake);
            self.start_planner(&mut crew, context, &stop);
        }
        if self.settings.roles.contains(&Role::Call) {
            self.start_caller(&mut crew, &recorder, &wake, &stop);
            self.start_usage_feed(&mut crew, &fleet);
        }

        stop.intake.cancelled().await;
        drain(&mut crew.intake, &stop, self.settings.drain_grace).await;

        crew.background.shutdown().await;
        if let Err(error) = fleet.leave(&self.gate).await {
            tracing::warn!(%error, "could not leave the fleet; others notice within seconds");
        }

        drop(recorder);
        while crew.writers.join_next().await.is_some() {}
        if let Err(error) = spend.flush_within(SPEND_PATIENCE).await {
            tracing::error!(%error, "what was spent last could not be saved; the budgets do not count it");
        }
        if tokio::time::timeout(TRACES_PATIENCE, tracing_out.join_next()).await.is_err() {
            tracing::warn!("the last spans could not be handed to the trace collector in time");
        }
        reporter::deliver(&*self.ports.metrics, &self.tally, self.clock.now()).await;
    }

    fn member(&self) -> Member {
        Member {
            worker: self.settings.worker.clone(),
            roles: self.settings.roles.clone(),
            since: self.clock.now(),
            shown_at: self.clock.now(),
            lanes: Vec::new(),
            finished: 0,
            used: None,
        }
    }

    /// Nothing is admitted under an assumed quota while the real one is about to be known.
    async fn start_quotas(&self, crew: &mut Crew, stop: &Stop) {
        let keeper = QuotaKeeper::new(self.quotas.clone(), Arc::clone(&self.catalog), self.gate.clone());
        let mut first_look = keeper.first_look();
        crew.background.spawn(keeper.run());
        tokio::select! {
            () = stop.intake.cancelled() => {}
            _ = first_look.wait_for(|looked| *looked) => {}
            () = tokio::time::sleep(QUOTA_PATIENCE) => {
                tracing::info!("Service Quotas has not answered yet; work starts with what is configured and small defaults");
            }
        }
    }

    fn start_ingest(&self, crew: &mut Crew, recorder: &Recorder, wake: &Arc<Notify>, stop: &Stop) {
        let context = ingest::Context {
            catalog: Arc::clone(&self.catalog),
            recorder: recorder.clone(),
            tally: Arc::clone(&self.tally),
            clock: self.clock.clone(),
            admitted: Arc::clone(wake),
        };
        let ingest = Arc::new(Ingest::new(&self.ports, context, self.settings.ingest.clone()));
        for _ in 0..self.settings.input_pollers.max(1) {
            let (ingest, stop) = (Arc::clone(&ingest), stop.intake.clone());
            crew.intake.spawn(async move { ingest.poll(&stop).await });
        }
        crew.background.spawn(async move { ingest.keep().await });
    }

    fn plan_context(&self, recorder: &Recorder, wake: &Arc<Notify>) -> plan::Context {
        plan::Context {
            fleet: Arc::clone(&self.fleet),
            gate: self.gate.clone(),
            catalog: Arc::clone(&self.catalog),
            recorder: recorder.clone(),
            tally: Arc::clone(&self.tally),
            gauges: Arc::clone(&self.gauges),
            clock: self.clock.clone(),
            wake: Arc::clone(wake),
        }
    }

    fn start_planner(&self, crew: &mut Crew, context: plan::Context, stop: &Stop) {
        let planner = Arc::new(Planner::new(&self.ports, context, self.settings.plan.clone()));
        crew.background.spawn(Arc::clone(&planner).count());
        let stop = stop.intake.clone();
        crew.intake.spawn(async move { planner.run(&stop).await });
    }

    fn start_caller(&self, crew: &mut Crew, recorder: &Recorder, wake: &Arc<Notify>, stop: &Stop) {
        let context = call::Context {
            gate: self.gate.clone(),
            recorder: recorder.clone(),
            catalog: Arc::clone(&self.catalog),
            tally: Arc::clone(&self.tally),
            clock: self.clock.clone(),
            freed: Arc::clone(wake),
        };
        let (caller, serve_deletes) =
            Caller::new(&self.ports, Arc::clone(&self.model), context, self.settings.call.clone());
        crew.writers.spawn(serve_deletes);
        let dispatcher = self.gate.clone();
        crew.background.spawn(async move { dispatcher.run().await });
        let caller = Arc::new(caller);
        let keeper = Arc::clone(&caller);
        crew.background.spawn(async move { keeper.keep().await });
        let stop = stop.clone();
        crew.intake.spawn(async move { caller.run(&stop.intake, &stop.abandon).await });
    }

    fn start_usage_feed(&self, crew: &mut Crew, fleet: &Arc<Fleet>) {
        let Some(feed) = &self.usage_feed else { return };
        let context = background::Context {
            registers: Arc::clone(&self.ports.registers),
            fleet: Arc::clone(fleet),
            gate: self.gate.clone(),
            tally: Arc::clone(&self.tally),
            clock: self.clock.clone(),
        };
        let watch = Watch::new(Arc::clone(feed), context);
        crew.background.spawn(async move { watch.run().await });
    }
}

/// The tasks of a worker by how they end.
struct Crew {
    /// Take work; end by themselves once intake stops and what they have is done.
    intake: JoinSet<()>,
    /// Serve the others; are ended when those have ended.
    background: JoinSet<()>,
    /// Write what the others hand them; end when nobody is left to hand them anything.
    writers: JoinSet<()>,
}

/// Waits for what is in flight, at most the grace period and one more second for what does not notice that it was
/// abandoned (a port that hangs, say).
async fn drain(intake: &mut JoinSet<()>, stop: &Stop, grace: Duration) {
    let finished = async { while intake.join_next().await.is_some() {} };
    let out_of_patience = async {
        tokio::select! {
            () = tokio::time::sleep(grace) => stop.abandon.cancel(),
            () = stop.abandon.cancelled() => {}
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    tokio::select! {
        () = finished => {}
        () = out_of_patience => tracing::warn!("the grace period is over; what is unfinished will be done again"),
    }
    intake.shutdown().await;
}

/// Shows that we are alive and what our lanes do; keeps our parts of the quotas and of the budget.
struct Pulse {
    fleet: Arc<Fleet>,
    member: Member,
    gate: Gate,
    recorder: Recorder,
    clock: Clock,
    health: Arc<Health>,
    max_concurrent: u32,
}

impl Pulse {
    async fn run(self) {
        let calls = self.member.roles.contains(&Role::Call);
        let first = tokio::time::Instant::now() + Fleet::beat_interval();
        let mut beats = tokio::time::interval_at(first, Fleet::beat_interval());
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut extra = 0;
        loop {
            self.health.step();
            if calls && let Err(error) = self.fleet.share(&self.gate, self.max_concurrent).await {
                self.recorder.port_failed(&error);
            }
            let opened = async {
                tokio::time::sleep(SHARE_GAP).await;
                self.gate.lane_opened().await;
            };
            extra = if self.fleet.slots_move() { extra + 1 } else { 0 };
            tokio::select! {
                _ = beats.tick() => {}
                () = opened => continue,
                () = tokio::time::sleep(MOVING_GAP), if (1..=MOVING_MOST).contains(&extra) => continue,
            }
            let own = Member {
                lanes: self.gate.snapshots(),
                finished: self.recorder.finished(),
                shown_at: self.clock.now(),
                ..self.member.clone()
            };
            self.health.step();
            let beaten = self.fleet.beat(&own).await;
            self.health.beat(beaten.is_ok());
            if let Err(error) = beaten {
                self.recorder.port_failed(&error);
            }
        }
    }
}

/// Cancels `stop` once nothing is queued, held or open anywhere.
async fn stop_when_idle(ports: Ports, stop: CancellationToken, recorder: Recorder) {
    let mut idle = 0;
    while idle < IDLE_LOOKS {
        tokio::time::sleep(IDLE_LOOK).await;
        match is_idle(&ports).await {
            Ok(true) => idle += 1,
            Ok(false) => idle = 0,
            Err(error) => recorder.port_failed(&error),
        }
    }
    tracing::info!("nothing is left to do");
    stop.cancel();
}

async fn is_idle(ports: &Ports) -> crate::ports::PortResult<bool> {
    for queue in [&ports.input, &ports.hold] {
        let depth = queue.depth().await?;
        if depth.visible + depth.in_flight > 0 {
            return Ok(false);
        }
    }
    let counts = ports.ledger.counts().await?;
    Ok(counts.by_status.iter().all(|(status, rows)| Status::is_terminal(*status) || *rows == 0))
}
