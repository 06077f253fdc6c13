//! What a scenario file says.

use std::collections::BTreeMap;

use serde::Deserialize;
use smoother::simulator::quota::{QuotaSpec, Refill};

/// One file of `scenarios/`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, for the table.
    pub about: String,
    /// Runs, each with its own chance; the goals hold for their mean.
    #[serde(default = "three_seeds")]
    pub seeds: Vec<u64>,
    pub trace: Trace,
    pub server: Server,
    /// What smoother takes the quota for; the server's own when not given.
    #[serde(default)]
    pub believed: Believed,
    #[serde(default)]
    pub fleet: Fleet,
    /// What happens while it runs.
    #[serde(default)]
    pub events: Vec<Event>,
    /// Whether other traffic is measured and told to the gate, as CloudWatch would, 75 s after each minute.
    #[serde(default)]
    pub usage_feed: bool,
    pub goals: Goals,
}

/// What is asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    pub requests: u32,
    /// Kinds of request and their shares.
    pub mix: BTreeMap<String, f64>,
    /// Share of the requests that are urgent; they arrive while the others drain, which all wait from the start.
    #[serde(default = "one_in_twenty")]
    pub urgent: f64,
    /// maxTokens is never below this.
    #[serde(default)]
    pub max_tokens_at_least: u64,
    /// Instead of all at the start: so many at a time, every so many seconds.
    #[serde(default)]
    pub bursts: Option<Bursts>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bursts {
    pub requests: u32,
    pub every_s: f64,
}

/// The simulated Bedrock.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    #[serde(default)]
    pub refill: Refill,
    #[serde(default = "full")]
    pub burst: f64,
    pub rpm: Option<u64>,
    pub tpm: Option<u64>,
    #[serde(default = "single")]
    pub burndown: f64,
    /// Other traffic: seconds from the start and share of the quota.
    #[serde(default)]
    pub background: Vec<(f64, f64)>,
    /// Every so many seconds all calls are answered 503 for so many seconds.
    #[serde(default)]
    pub outages: Option<Outages>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outages {
    pub every_s: f64,
    pub for_s: f64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Believed {
    pub rpm: Option<f64>,
    pub tpm: Option<f64>,
    pub burndown: Option<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    pub replicas: usize,
    /// Calls in flight, all replicas together.
    pub concurrency: u32,
    /// Each request belongs to one replica: the first gets this share of them, the others equal parts of the rest.
    #[serde(default)]
    pub pinned: Option<f64>,
}

impl Default for Fleet {
    fn default() -> Self {
        Self { replicas: 1, concurrency: 60, pinned: None }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    pub at_s: f64,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A replica is killed; its requests come back after 30 s.
    Crash(usize),
    /// A replica starts (again).
    Join(usize),
    /// A replica stops in order: finishes its calls, hands the rest back.
    Leave(usize),
    /// A replica cannot reach the table, but Bedrock, for so many seconds.
    CutOff { replica: usize, for_s: f64 },
    /// The server's quota becomes this.
    Server { rpm: Option<u64>, tpm: Option<u64> },
    /// What smoother takes it for becomes this.
    Believed { rpm: Option<f64>, tpm: Option<f64> },
}

impl What {
    /// Whether it takes a fleet for this to happen.
    pub fn is_of_the_fleet(&self) -> bool {
        !matches!(self, Self::Server { .. } | Self::Believed { .. })
    }
}

/// Shares are of 1.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Goals {
    /// Use of whatever bounds it (tokens, requests or concurrency), other traffic counted in.
    pub use_at_least: Option<f64>,
    pub throttled_at_most: Option<f64>,
    /// Last answer over the physical lower bound.
    pub makespan_at_most: Option<f64>,
    pub urgent_p99_at_most_s: Option<f64>,
    /// Most of the quota that the replicas were ever granted together.
    pub granted_at_most: Option<f64>,
    /// Most waiting of any kind of request, relative to the mean: nobody is starved.
    pub huge_wait_at_most: Option<f64>,
}

impl Server {
    pub fn quota(&self, seed: u64) -> QuotaSpec {
        let step = |&(after_s, share): &(f64, f64)| {
            serde_json::from_value(serde_json::json!({"after_s": after_s, "share": share})).unwrap()
        };
        QuotaSpec {
            rpm: self.rpm,
            tpm: self.tpm,
            refill: self.refill,
            burst: self.burst,
            background: self.background.iter().map(step).collect(),
            seed,
            ..QuotaSpec::default()
        }
    }

    /// Share of the quota that other traffic asks for.
    pub fn background_at(&self, at_s: f64) -> f64 {
        self.background.iter().rev().find(|(after, _)| *after <= at_s).map_or(0.0, |(_, share)| *share)
    }
}

fn three_seeds() -> Vec<u64> {
    vec![1, 2, 3]
}

fn one_in_twenty() -> f64 {
    0.05
}

fn full() -> f64 {
    1.0
}

fn single() -> f64 {
    1.0
}
