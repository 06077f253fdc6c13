//! One worker process: builds the stages that its roles ask for, runs them, and stops them in order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::models::Catalog;
use crate::pipeline::alerter::Alerter;
use crate::pipeline::call::{self, Caller};
use crate::pipeline::fleet::{Fleet, Member, Role};
use crate::pipeline::ingest::{self, Ingest};
use crate::pipeline::pace::Gate;
use crate::pipeline::plan::{self, Planner};
use crate::pipeline::record::{self, Recorder};
use crate::pipeline::tally::Tally;
use crate::ports::{Model, Ports};
use crate::request::Status;
use crate::shutdown::Stop;

/// The same news is not told again within this time, only counted.
const ALERT_COOLDOWN: Duration = Duration::from_secs(300);
/// How often metrics are delivered.
const METRICS_EVERY: Duration = Duration::from_secs(60);
/// How often to see whether there is nothing left to do, and how often in a row it must be so: counts on AWS are approximate.
const IDLE_LOOK: Duration = Duration::from_millis(200);
const IDLE_LOOKS: u32 = 3;

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
    clock: Clock,
    settings: Settings,
    gate: Gate,
    tally: Arc<Tally>,
}

impl Worker {
    /// A worker on these ports.
    #[must_use]
    pub fn new(ports: Ports, model: Arc<dyn Model>, catalog: Arc<Catalog>, clock: Clock, settings: Settings) -> Self {
        let gate = Gate::new(settings.call.max_concurrent);
        Self { ports, model, catalog, clock, settings, gate, tally: Arc::default() }
    }

    /// What happens in it; may be read while it runs.
    #[must_use]
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Its lanes; may be read while it runs.
    #[must_use]
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Works until `stop.intake`, or until idle when so configured, then ends in phases:
    /// 1. stop intake: pollers, planner and caller take nothing new and hand back what has not begun;
    /// 2. drain: wait for calls in flight, at most the grace period, then leave them to others;
    /// 3. leave the fleet: give up the lease and the membership;
    /// 4. flush: reports, results, deletions, metrics, alerts.
    pub async fn run(self, stop: Stop) {
        let Self { ports, model, catalog, clock, settings, gate, tally } = self;
        let admitted = Arc::new(Notify::new());
        let (alerter, serve_alerts) = Alerter::new(Arc::clone(&ports.alerts), clock.clone(), ALERT_COOLDOWN);
        let (recorder, serve_records) = Recorder::new(
            &ports,
            record::Context {
                catalog: Arc::clone(&catalog),
                tally: Arc::clone(&tally),
                alerter,
                clock: clock.clone(),
                inline_limit: settings.inline_limit,
            },
        );
        let leads = settings.roles.contains(&Role::Plan);
        let fleet = Arc::new(Fleet::new(Arc::clone(&ports.registers), settings.worker.clone(), leads));
        let member = Member {
            worker: settings.worker.clone(),
            roles: settings.roles.clone(),
            since: clock.now(),
            shown_at: clock.now(),
            lanes: Vec::new(),
        };
        // The first beat comes before any work, so that a single worker plans from the start.
        if let Err(error) = fleet.beat(&member).await {
            recorder.port_failed(&error);
        }

        let mut writers = JoinSet::new();
        writers.spawn(serve_alerts);
        writers.spawn(serve_records);
        let mut background = JoinSet::new();
        background.spawn(beat(
            Arc::clone(&fleet),
            member,
            gate.clone(),
            recorder.clone(),
            clock.clone(),
            settings.call.max_concurrent,
        ));
        background.spawn(deliver_metrics(ports.clone(), Arc::clone(&tally), gate.clone(), clock.clone()));
        if settings.until_idle {
            background.spawn(stop_when_idle(ports.clone(), stop.intake.clone(), recorder.clone()));
        }

        let mut intake = JoinSet::new();
        if settings.roles.contains(&Role::Ingest) {
            let context = ingest::Context {
                catalog: Arc::clone(&catalog),
                recorder: recorder.clone(),
                tally: Arc::clone(&tally),
                clock: clock.clone(),
                admitted: Arc::clone(&admitted),
            };
            let ingest = Arc::new(Ingest::new(
                Arc::clone(&ports.input),
                Arc::clone(&ports.ledger),
                Arc::clone(&ports.payloads),
                context,
                settings.ingest.clone(),
            ));
            for _ in 0..settings.input_pollers.max(1) {
                let (ingest, stop) = (Arc::clone(&ingest), stop.intake.clone());
                intake.spawn(async move { ingest.poll(&stop).await });
            }
            background.spawn(async move { ingest.keep().await });
        }
        if leads {
            let context = plan::Context {
                fleet: Arc::clone(&fleet),
                catalog: Arc::clone(&catalog),
                recorder: recorder.clone(),
                tally: Arc::clone(&tally),
                clock: clock.clone(),
                wake: Arc::clone(&admitted),
            };
            let planner = Planner::new(&ports, context, settings.plan);
            let stop = stop.intake.clone();
            intake.spawn(async move { planner.run(&stop).await });
        }
        let drained = CancellationToken::new();
        if settings.roles.contains(&Role::Call) {
            let dispatcher = gate.clone();
            background.spawn(async move { dispatcher.run().await });
            let context = call::Context {
                gate: gate.clone(),
                recorder: recorder.clone(),
                catalog,
                fleet: Arc::clone(&fleet),
                tally: Arc::clone(&tally),
                clock: clock.clone(),
                freed: admitted,
            };
            let (caller, serve_deletes) = Caller::new(&ports, model, context, settings.call.clone());
            writers.spawn(serve_deletes);
            let caller = Arc::new(caller);
            let keeper = Arc::clone(&caller);
            background.spawn(async move { keeper.keep().await });
            let (intake_stop, abandon) = (stop.intake.clone(), stop.abandon.clone());
            intake.spawn(async move { caller.run(&intake_stop, &abandon).await });
        }

        // Phase 1 and 2.
        stop.intake.cancelled().await;
        let abandon = stop.abandon.clone();
        let mut grace = JoinSet::new();
        let (drain_grace, ended) = (settings.drain_grace, drained.clone());
        grace.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(drain_grace) => abandon.cancel(),
                () = ended.cancelled() => {}
            }
        });
        let finish = async { while intake.join_next().await.is_some() {} };
        tokio::select! {
            () = finish => {}
            // What does not notice that it was abandoned (a port that hangs, say) gets one more second.
            () = async { stop.abandon.cancelled().await; tokio::time::sleep(Duration::from_secs(1)).await } => {
                tracing::warn!("the grace period is over; what is unfinished will be done again");
            }
        }
        intake.shutdown().await;
        drained.cancel();
        grace.shutdown().await;

        // Phase 3.
        background.shutdown().await;
        if let Err(error) = fleet.leave().await {
            tracing::warn!(%error, "could not leave the fleet; others notice within seconds");
        }

        // Phase 4.
        drop(recorder);
        while writers.join_next().await.is_some() {}
        if let Err(error) = ports.metrics.put(tally.take_data(clock.now())).await {
            tracing::warn!(%error, "the last metrics could not be delivered");
        }
    }
}

/// Shows that we are alive and what our lanes do; divides quotas and budget by the callers that are.
async fn beat(fleet: Arc<Fleet>, member: Member, gate: Gate, recorder: Recorder, clock: Clock, max_concurrent: u32) {
    loop {
        let callers = u32::try_from(fleet.callers()).unwrap_or(u32::MAX);
        gate.set_share(1.0 / f64::from(callers), max_concurrent.div_ceil(callers));
        tokio::time::sleep(Fleet::beat_interval()).await;
        let own = Member { lanes: gate.snapshots(), shown_at: clock.now(), ..member.clone() };
        if let Err(error) = fleet.beat(&own).await {
            recorder.port_failed(&error);
        }
    }
}

async fn deliver_metrics(ports: Ports, tally: Arc<Tally>, gate: Gate, clock: Clock) {
    loop {
        let began = clock.now();
        tokio::time::sleep(METRICS_EVERY).await;
        for lane in gate.snapshots() {
            tally.observe_lane(&lane);
        }
        let data = tally.take_data(began);
        if data.is_empty() {
            continue;
        }
        if let Err(error) = ports.metrics.put(data).await {
            tracing::warn!(%error, "metrics of the last minute could not be delivered");
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
