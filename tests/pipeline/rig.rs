//! A worker on the local adapters under paused time, with a model that answers by script.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use smoother::clock::{Clock, Timestamp};
use smoother::config::{Config, Sources};
use smoother::local::{self, Local};
use smoother::models::Catalog;
use smoother::pipeline::fleet::Role;
use smoother::pipeline::spend::{Limits, Usd, spent};
use smoother::pipeline::{alerts, call, ingest, plan};
use smoother::ports::model::{CallError, CallErrorClass};
use smoother::ports::reports::Slice;
use smoother::ports::{Answer, Call, Model, Outgoing, Ports, ReportRow};
use smoother::request::{RequestId, Row, Usage};
use smoother::retry::Policy;
use smoother::shutdown::Stop;
use smoother::worker::{Settings, Worker};

pub const NOVA: &str = "amazon.nova-lite-v1:0";
pub const MICRO: &str = "amazon.nova-micro-v1:0";
pub const START: Timestamp = Timestamp(1_795_252_123_456);

/// What the model does with a call.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answers after this long.
    After(Duration),
    /// Answers with a body of this many bytes.
    Large(usize),
    /// Answers in a service tier.
    InTier(&'static str),
    /// Fails so.
    Fail(CallErrorClass),
    /// Refuses for missing rights.
    Deny,
    /// Never answers.
    Hang,
}

/// Replies by the text of the prompt: the first of a prompt's list, then the next; in the end after a second.
#[derive(Default)]
pub struct Script {
    pub replies: Mutex<BTreeMap<String, Vec<Reply>>>,
    pub calls: Mutex<Vec<String>>,
}

impl Script {
    pub fn on(&self, prompt: &str, replies: &[Reply]) {
        self.replies.lock().unwrap().insert(prompt.to_owned(), replies.to_vec());
    }

    pub fn calls_of(&self, prompt: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|p| *p == prompt).count()
    }
}

#[async_trait]
impl Model for Script {
    async fn call(&self, call: Call) -> Result<Answer, CallError> {
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        let prompt = body["messages"][0]["content"][0]["text"].as_str().unwrap().to_owned();
        let reply = {
            let mut replies = self.replies.lock().unwrap();
            let left = replies.get_mut(&prompt).filter(|left| !left.is_empty());
            left.map_or(Reply::After(Duration::from_secs(1)), |left| left.remove(0))
        };
        self.calls.lock().unwrap().push(prompt);
        let answer = |text: String| Answer {
            body: Bytes::from(json!({"output": {"message": {"content": [{"text": text}]}}}).to_string()),
            usage: Some(Usage { input_tokens: 20, output_tokens: 10, ..Usage::default() }),
            service_tier: None,
        };
        match reply {
            Reply::After(delay) => {
                tokio::time::sleep(delay).await;
                Ok(answer("fine".to_owned()))
            }
            Reply::InTier(tier) => Ok(Answer { service_tier: Some(tier.to_owned()), ..answer("fine".to_owned()) }),
            Reply::Large(bytes) => Ok(answer("x".repeat(bytes))),
            Reply::Fail(class) => Err(CallError {
                class,
                kind: format!("{class:?}Exception"),
                message: "as scripted".to_owned(),
                retry_after: None,
            }),
            Reply::Deny => Err(CallError {
                class: CallErrorClass::Final,
                kind: "AccessDeniedException".to_owned(),
                message: "as scripted".to_owned(),
                retry_after: None,
            }),
            Reply::Hang => std::future::pending().await,
        }
    }
}

/// A directory with a scripted model.
pub struct Rig {
    pub local: Local,
    pub model: Arc<Script>,
    pub clock: Clock,
    dir: tempfile::TempDir,
}

impl Rig {
    pub async fn new() -> Self {
        Self::at(START).await
    }

    /// With a clock that starts at another time.
    pub async fn at(start: Timestamp) -> Self {
        Self::in_dir(tempfile::tempdir().unwrap(), local::Settings::default(), start).await
    }

    /// For many short runs: in memory where there is such a directory, since writing through to a disk takes longest of all.
    pub async fn in_memory(settings: local::Settings) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::in_dir(dir.unwrap(), settings, START).await
    }

    async fn in_dir(dir: tempfile::TempDir, settings: local::Settings, start: Timestamp) -> Self {
        let clock = Clock::anchored(start);
        let local = local::open(dir.path(), settings, clock.clone()).await.unwrap();
        Self { local, model: Arc::default(), clock, dir }
    }

    /// The scripted model as the port that it is.
    pub fn model(&self) -> Arc<dyn Model> {
        Arc::clone(&self.model) as _
    }

    /// Sends messages as a producer does.
    pub async fn send(&self, messages: &[Value]) {
        let outgoing = messages.iter().map(|m| Outgoing { body: m.to_string(), ..Outgoing::default() }).collect();
        for sent in self.local.ports.input.send(outgoing).await {
            sent.unwrap();
        }
    }

    /// A worker with all roles; `name` tells replicas apart.
    pub fn worker(&self, name: &str, change: impl FnOnce(&mut Settings)) -> Worker {
        self.worker_with(name, Vec::new(), change)
    }

    /// A worker with settings besides those of all.
    pub fn worker_with(
        &self,
        name: &str,
        settings: Vec<(String, String)>,
        change: impl FnOnce(&mut Settings),
    ) -> Worker {
        let ports = self.local.ports.clone();
        self.worker_on(ports, self.model(), name, settings, change)
    }

    /// A worker that sees the directory and the model through other ports.
    pub fn worker_on(
        &self,
        ports: Ports,
        model: Arc<dyn Model>,
        name: &str,
        settings: Vec<(String, String)>,
        change: impl FnOnce(&mut Settings),
    ) -> Worker {
        let quota = |model: &str| (format!("models.\"{model}\".tokens_per_minute"), "600000".to_owned());
        let mut overrides = vec![quota(NOVA), quota(MICRO), ("use_cases.support.model".to_owned(), MICRO.to_owned())];
        overrides.extend(settings);
        let config = Config::load(&Sources { overrides, ..Sources::default() }).unwrap().config;
        let mut settings = Settings {
            worker: name.to_owned(),
            roles: BTreeSet::from([Role::Ingest, Role::Plan, Role::Call]),
            input_pollers: 1,
            drain_grace: Duration::from_secs(25),
            inline_limit: 200_000,
            until_idle: true,
            budgets: Limits::of(&config),
            alerts: alerts::Settings { threshold: 5, periods: 1, cooldown: Duration::from_mins(15) },
            frame: alerts::Frame { deployment: "rig".to_owned(), worker: name.to_owned(), ..alerts::Frame::default() },
            ingest: ingest::Settings {
                region: "us-east-1".to_owned(),
                allowed_source_buckets: vec!["producers".to_owned()],
                limits: config.message_limits(),
                expected_duration: Duration::from_secs(5),
                poll_wait: Duration::from_secs(1),
                visibility: Duration::from_mins(1),
            },
            plan: plan::Settings {
                queue_depth_threshold: 20,
                window: Duration::from_mins(5),
                average_duration: Duration::from_secs(5),
                max_concurrent: 4,
                interval: Duration::from_secs(1),
                overdue_after: Duration::from_mins(10),
                tenants: plan::allowances(&config),
                budgets: Limits::of(&config),
            },
            call: call::Settings {
                worker: name.to_owned(),
                queue_depth_threshold: 20,
                max_concurrent: 4,
                call_timeout: Duration::from_mins(15),
                policy: Policy { max_attempts: 4, base: Duration::from_secs(1), cap: Duration::from_mins(5) },
                poll_wait: Duration::from_secs(1),
                visibility: Duration::from_mins(1),
            },
        };
        change(&mut settings);
        let catalog = Arc::new(Catalog::new(&config));
        Worker::new(ports, model, catalog, self.clock.clone(), settings)
    }

    /// Runs one worker until nothing is left.
    pub async fn run(&self) {
        self.worker("w", |_| {}).run(Stop::default()).await;
    }

    pub async fn row(&self, id: &str) -> Row {
        self.local.ports.ledger.get(&RequestId::new(id).unwrap()).await.unwrap().unwrap()
    }

    /// Takes all results, by request id.
    pub async fn results(&self) -> BTreeMap<String, Vec<Value>> {
        let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        loop {
            let deliveries = self.local.ports.results.receive(100, Duration::ZERO).await.unwrap();
            if deliveries.is_empty() {
                return all;
            }
            for delivery in &deliveries {
                let message: Value = serde_json::from_str(&delivery.body).unwrap();
                all.entry(message["request_id"].as_str().unwrap().to_owned()).or_default().push(message);
            }
            self.local.ports.results.delete(deliveries.into_iter().map(|d| d.receipt).collect()).await;
        }
    }

    /// What the workers say they spent in the month of the start.
    pub async fn spent(&self) -> Usd {
        spent(&*self.local.ports.registers).await.unwrap().total(&START.month())
    }

    /// All alerts so far.
    pub fn alerts_whole(&self) -> Vec<Value> {
        let file = std::fs::read_to_string(self.dir.path().join("alerts.jsonl")).unwrap_or_default();
        file.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Their subjects.
    pub fn alerts(&self) -> Vec<String> {
        self.alerts_whole().iter().map(|alert| alert["subject"].as_str().unwrap().to_owned()).collect()
    }

    /// Report rows of the days around the start, by request id.
    pub async fn reports(&self) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for row in self.report_rows().await {
            *all.entry(row.request_id.as_str().to_owned()).or_default() += 1;
        }
        all
    }

    async fn report_rows(&self) -> Vec<ReportRow> {
        let mut rows = Vec::new();
        for day in ["2026-11-21", "2026-11-22"] {
            rows.extend(self.local.ports.reports.page(Slice::of(day), 10_000).await.unwrap());
        }
        rows
    }

    /// The only report row of a request.
    pub async fn report(&self, id: &str) -> ReportRow {
        let mut rows = self.report_rows().await;
        rows.retain(|row| row.request_id.as_str() == id);
        assert_eq!(rows.len(), 1, "rows of {id}");
        rows.remove(0)
    }
}

/// A Converse request with a prompt.
pub fn request(id: &str, prompt: &str) -> Value {
    json!({
        "request_id": id,
        "model_id": NOVA,
        "converse": {
            "messages": [{"role": "user", "content": [{"text": prompt}]}],
            "inferenceConfig": {"maxTokens": 100},
        },
    })
}
