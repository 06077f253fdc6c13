//! A trace through a real worker (planner, hold queue, gate, ledger) under paused time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use smoother::clock::{Clock, Timestamp};
use smoother::config::{Config, Sources};
use smoother::models::Catalog;
use smoother::pipeline::rank::Ranker;
use smoother::pipeline::{lifecycle, plan};
use smoother::ports::model::{CallError, CallErrorClass};
use smoother::ports::{Answer, Call, Inserted, Ledger, Model};
use smoother::request::{
    Estimate, Lane, Metadata, ModelId, Operation, PayloadRef, Priority, Request, RequestId, Tenant, Usage,
};
use smoother::shutdown::Stop;
use smoother::worker::Worker;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::memory::Memory;
use crate::trace::{HELD, MICRO, NOVA, Planned, SLOTS};
use crate::worker;

const START: Timestamp = Timestamp(1_795_252_123_456);

/// A lane that takes nothing for a while.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    pub model: &'static str,
    pub from: Duration,
    pub to: Duration,
}

/// What became of a request, in order of the trace.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fate {
    /// When its last call started.
    pub started: Option<Duration>,
    pub finished: Option<Duration>,
    pub expired: bool,
}

/// Answers in a time that follows from the tokens.
struct Bedrock {
    began: Instant,
    trace: Arc<Vec<Planned>>,
    outage: Option<Outage>,
    fates: Arc<Mutex<Vec<Fate>>>,
}

#[async_trait]
impl Model for Bedrock {
    async fn call(&self, call: Call) -> Result<Answer, CallError> {
        let index: usize = std::str::from_utf8(&call.body).unwrap().parse().unwrap();
        let planned = &self.trace[index];
        let now = self.began.elapsed();
        if self.outage.is_some_and(|outage| outage.model == planned.model && (outage.from..outage.to).contains(&now)) {
            let class = CallErrorClass::ThrottledDay;
            let (kind, message) = ("ThrottlingException".to_owned(), "Too many tokens per day".to_owned());
            return Err(CallError { class, kind, message, retry_after: None });
        }
        self.fates.lock().unwrap()[index].started = Some(now);
        tokio::time::sleep(planned.takes()).await;
        self.fates.lock().unwrap()[index].finished = Some(self.began.elapsed());
        let usage =
            Usage { input_tokens: planned.tokens / 2, output_tokens: planned.tokens.div_ceil(2), ..Usage::default() };
        Ok(Answer { body: Bytes::from_static(b"{}"), usage: Some(usage), service_tier: None })
    }
}

/// Runs a trace until the horizon.
pub async fn run(
    trace: &Arc<Vec<Planned>>,
    horizon: Duration,
    weights: &[(&str, f64)],
    outage: Option<Outage>,
    seed: u64,
) -> Vec<Fate> {
    let memory = Memory::new(seed);
    let clock = Clock::anchored(START);
    let fates = Arc::new(Mutex::new(vec![Fate::default(); trace.len()]));
    let bedrock = Bedrock { began: Instant::now(), trace: Arc::clone(trace), outage, fates: Arc::clone(&fates) };
    // Twice what all slots can do: the slots are what is scarce.
    let quota = |model: &str| (format!("models.\"{model}\".tokens_per_minute"), "105600".to_owned());
    let overrides = vec![quota(NOVA), quota(MICRO)];
    let config = Config::load(&Sources { overrides, ..Sources::default() }).unwrap().config;
    let tenants = weights.iter().map(|(tenant, weight)| {
        let allowance = plan::Allowance { weight: *weight, ..plan::Allowance::default() };
        (Tenant::new(*tenant).unwrap(), allowance)
    });
    let mut settings = worker::settings(&config, SLOTS, HELD, Duration::from_secs(10));
    settings.plan.tenants = tenants.collect();
    let catalog = Arc::new(Catalog::new(&config));
    let worker = Worker::new(memory.ports.clone(), Arc::new(bedrock), catalog, clock.clone(), settings);
    let stop = Stop::default();
    let mut running = JoinSet::new();
    running.spawn(worker.run(stop.clone()));
    feed(&*memory.ports.ledger, trace, horizon, &clock).await;
    stop.intake.cancel();
    stop.abandon.cancel();
    running.join_next().await.unwrap().unwrap();

    let mut fates = fates.lock().unwrap().clone();
    for report in memory.reports.lock().unwrap().iter() {
        let index: usize = report.request_id.as_str().parse().unwrap();
        fates[index].expired = report.status == smoother::request::Status::Expired;
    }
    fates
}

/// Admits each request when it arrives, as ingest does.
async fn feed(ledger: &dyn Ledger, trace: &[Planned], horizon: Duration, clock: &Clock) {
    let began = Instant::now();
    let ranker = Ranker::default();
    for (index, planned) in trace.iter().enumerate() {
        let due = began + planned.at;
        if due > Instant::now() {
            tokio::time::sleep_until(due).await;
        }
        let now = clock.now();
        let priority = Priority::from_number(planned.priority).unwrap();
        let deadline = planned.deadline.map(|deadline| now + deadline);
        let model_id = ModelId::new(planned.model).unwrap();
        let request = Request {
            id: RequestId::new(index.to_string()).unwrap(),
            content_hash: String::new(),
            message_id: String::new(),
            lane: Lane::new("default", "us-east-1", &model_id),
            model_id,
            downgraded_from: None,
            batch_id: None,
            trace: None,
            use_case: None,
            tenant: Tenant::new(planned.tenant).unwrap(),
            priority,
            deadline,
            metadata: Metadata::new(),
            operation: Operation::Converse,
            body: PayloadRef(index.to_string()),
            estimate: Estimate { input_tokens: planned.tokens / 2, max_output_tokens: planned.tokens.div_ceil(2) },
            rank: ranker.rank(priority, deadline, Duration::from_secs(10), now),
            received_at: now,
        };
        let inserted = ledger.insert(vec![lifecycle::admit(request)]).await;
        assert!(matches!(inserted.as_slice(), [Ok(Inserted::New)]));
    }
    tokio::time::sleep_until(began + horizon).await;
}
