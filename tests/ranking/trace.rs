//! What arrives, as a function of the seed alone.

use std::time::Duration;

use smoother::request::Priority;

pub const NOVA: &str = "amazon.nova-lite-v1:0";
pub const MICRO: &str = "amazon.nova-micro-v1:0";

/// Calls at a time.
pub const SLOTS: u32 = 8;
/// What one call takes and gives back, tokens a second: with all slots busy a lane does eight times that.
pub const SLOT_TOKENS_PER_S: f64 = 110.0;
/// Requests that may wait in the hold queue.
pub const HELD: usize = 24;

/// A request of a trace.
#[derive(Clone, Debug)]
pub struct Planned {
    pub at: Duration,
    pub tenant: &'static str,
    pub model: &'static str,
    pub priority: u64,
    /// After its arrival.
    pub deadline: Option<Duration>,
    /// Input and output together.
    pub tokens: u64,
}

impl Planned {
    pub fn takes(&self) -> Duration {
        Duration::from_secs_f64(self.tokens as f64 / SLOT_TOKENS_PER_S)
    }

    pub fn class(&self) -> &'static str {
        Priority::from_number(self.priority).unwrap_or_default().class()
    }
}

/// A tenant's part in a trace.
#[derive(Clone, Debug)]
pub struct Source {
    pub tenant: &'static str,
    pub model: &'static str,
    pub priorities: &'static [u64],
    pub arrives: Arrives,
    /// The part of its requests that have a deadline, and after how many seconds.
    pub deadlines: Option<(f64, std::ops::Range<u64>)>,
}

/// When.
#[derive(Clone, Copy, Debug)]
pub enum Arrives {
    /// So many within the first minutes.
    AtOnce(usize),
    /// By chance, so many a second on the mean.
    Trickle(f64),
    /// So many within a second, every so many seconds.
    Bursts(usize, u64),
}

impl Source {
    pub fn new(tenant: &'static str, priorities: &'static [u64], arrives: Arrives) -> Self {
        Self { tenant, model: NOVA, priorities, arrives, deadlines: None }
    }
}

/// All requests in order of arrival.
pub fn trace(sources: &[Source], horizon: Duration, seed: u64) -> Vec<Planned> {
    let mut all = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let mut dice = fastrand::Rng::with_seed(seed * 1_000 + index as u64);
        for at in arrivals(source.arrives, horizon.as_secs_f64(), &mut dice) {
            let priority = source.priorities[dice.usize(..source.priorities.len())];
            let deadline = source.deadlines.clone().filter(|(part, _)| dice.f64() < *part);
            all.push(Planned {
                at: Duration::from_millis((at * 1000.0) as u64),
                tenant: source.tenant,
                model: source.model,
                priority,
                deadline: deadline.map(|(_, seconds)| Duration::from_secs(dice.u64(seconds))),
                tokens: dice.u64(200..2_000),
            });
        }
    }
    all.sort_by_key(|planned| planned.at);
    all
}

fn arrivals(arrives: Arrives, horizon: f64, dice: &mut fastrand::Rng) -> Vec<f64> {
    match arrives {
        Arrives::AtOnce(count) => (0..count).map(|n| 300.0 * n as f64 / count as f64).collect(),
        Arrives::Trickle(rate) => {
            let mut at = 0.0;
            std::iter::from_fn(|| {
                at -= (1.0 - dice.f64()).ln() / rate;
                (at < horizon).then_some(at)
            })
            .collect()
        }
        Arrives::Bursts(count, every) => (1..=(horizon / every as f64) as u64)
            .map(|n| (n * every) as f64)
            .flat_map(|at| (0..count).map(move |n| at + n as f64 / count as f64))
            .collect(),
    }
}
