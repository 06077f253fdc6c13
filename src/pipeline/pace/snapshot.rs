//! What a lane did and how it stands, for people and dashboards.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::lane::PATIENCE;

/// What a lane did since the process started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    pub started: u64,
    pub answered: u64,
    pub throttled: u64,
    pub settled: f64,
    first_start: Option<Instant>,
    last_settled: Option<Instant>,
}

impl Counters {
    pub fn started(&mut self, now: Instant) {
        self.started += 1;
        self.first_start.get_or_insert(now);
    }

    /// A start that led to no call.
    pub fn not_started(&mut self) {
        self.started = self.started.saturating_sub(1);
    }

    pub fn throttled(&mut self) {
        self.throttled += 1;
    }

    pub fn answered(&mut self, tokens: f64, now: Instant) {
        self.answered += 1;
        self.settled += tokens;
        self.last_settled = Some(now);
    }

    /// `count` a minute between the first start and the last answer, as a share of `limit` a minute.
    pub fn per_active_minute(&self, count: f64, limit: Option<f64>) -> Option<f64> {
        let active = self.last_settled?.saturating_duration_since(self.first_start?).as_secs_f64();
        limit.filter(|l| *l > 0.0 && active > 0.0).map(|limit| count / (active / 60.0) / limit)
    }
}

/// A lane as people and dashboards see it. What is used is told as a share of the whole quota: over the replicas it adds up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneSnapshot {
    /// Its name.
    pub lane: String,
    /// The quota, fleet-wide.
    pub requests_per_minute: Option<f64>,
    /// The quota, fleet-wide.
    pub tokens_per_minute: Option<f64>,
    /// This process's part of the quota, 0 to 1.
    pub share: f64,
    /// What throttles and other traffic left of the tokens, 0 to 1.
    pub factor: f64,
    /// What throttles left of the requests, 0 to 1.
    #[serde(default = "whole")]
    pub request_factor: f64,
    /// Other traffic's share of the tokens, where it is measured.
    #[serde(default)]
    pub background: Option<f64>,
    /// Whether the last minute's tokens bound admission too: the server was seen to refuse what a refilling bucket admits.
    #[serde(default)]
    pub log_engaged: bool,
    /// Milliseconds until it goes on, when paused.
    pub paused_ms: Option<u64>,
    /// Requests in the waiting room.
    pub waiting: usize,
    /// Calls in flight.
    pub in_flight: u32,
    /// Tokens reserved by them.
    pub reserved_tokens: f64,
    /// Calls started in the last minute.
    pub requests_last_minute: usize,
    /// Tokens they took: settled, or reserved while in flight.
    pub tokens_last_minute: f64,
    /// Calls started since the process started.
    pub started: u64,
    /// Calls answered.
    pub answered: u64,
    /// Calls throttled.
    pub throttled: u64,
    /// Tokens settled.
    pub settled_tokens: f64,
    /// Share of the fleet's requests/min that this process used between the first start and the last answer.
    pub rpm_used: Option<f64>,
    /// Share of the fleet's tokens/min likewise.
    pub tpm_used: Option<f64>,
    /// Learned: real input tokens per estimated one.
    pub input_ratio: f64,
    /// Learned: tokens reserved at the start per token used in the end. Far above 1, maxTokens is higher than the answers need.
    #[serde(default)]
    pub reserved_per_used: Option<f64>,
    /// Learned: output tokens that three of four answers do not exceed.
    pub typical_output: Option<f64>,
    /// Learned: the same by use case, the most frequent ones.
    #[serde(default)]
    pub typical_outputs: BTreeMap<String, f64>,
}

fn whole() -> f64 {
    1.0
}

impl LaneSnapshot {
    /// Whether it is paused for so long that its gate sends away whoever comes.
    #[must_use]
    pub fn paused_for_long(&self) -> bool {
        self.paused_ms.is_some_and(|ms| Duration::from_millis(ms) > PATIENCE)
    }
}
