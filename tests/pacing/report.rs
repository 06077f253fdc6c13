//! What came of a scenario, as shares of what was possible.

use std::fmt;
use std::time::Duration;

use crate::scenario::{Goals, Scenario, What};
use crate::trace::{Planned, requests};
use crate::world::World;

/// The first minutes fill the pipe and do not count as steady use.
const WARM_UP_S: f64 = 120.0;

/// Figures of a run, or their means over several.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Use of tokens, own and other traffic; of requests; of concurrency.
    pub tokens: f64,
    pub requests: f64,
    pub concurrency: f64,
    pub throttled: f64,
    pub calls: f64,
    /// Last answer over the lower bound.
    pub makespan: f64,
    pub urgent_p50_s: f64,
    pub urgent_p99_s: f64,
    /// Longest mean wait of a kind over the mean wait of all that are not urgent.
    pub unfair: f64,
    /// Largest sum of the replicas' shares.
    pub granted: f64,
}

impl Figures {
    pub fn of(world: &World, seed: u64) -> Self {
        let scenario = &world.scenario;
        let (server, outcome) = (world.server.lock().unwrap(), world.outcome.lock().unwrap());
        let saw = &server.seen;
        let end = saw.last_start.as_secs_f64();
        let from = WARM_UP_S.min(end / 4.0);
        let minutes = (end - from) / 60.0;
        let steady = || saw.starts.iter().filter(|(at, _)| (from..=end).contains(&at.as_secs_f64()));
        let tokens: f64 = steady().map(|(_, tokens)| tokens).sum();
        let quota = |limit: fn(&What) -> Option<u64>, first: Option<u64>| mean_quota(scenario, first, limit, from, end);
        let tpm = quota(|w| if let What::Server { tpm, .. } = w { *tpm } else { None }, scenario.server.tpm);
        let rpm = quota(|w| if let What::Server { rpm, .. } = w { *rpm } else { None }, scenario.server.rpm);
        let others = mean_over(from, end, |at| scenario.server.background_at(at));
        let all = requests(scenario, seed);
        let bound = lower_bound(scenario, &all);
        let waits = |urgent: bool| {
            let mut waits: Vec<f64> =
                outcome.waits.iter().filter(|w| w.2 == urgent).map(|w| w.3.as_secs_f64()).collect();
            waits.sort_by(f64::total_cmp);
            waits
        };
        let urgent = waits(true);
        let last = outcome.last_answer.as_secs_f64();
        Self {
            tokens: tpm.map_or(0.0, |tpm| tokens / minutes / tpm + others),
            requests: rpm.map_or(0.0, |rpm| steady().count() as f64 / minutes / rpm),
            concurrency: saw.in_flight_s_at_last_start / (f64::from(scenario.fleet.concurrency) * end),
            throttled: saw.throttled as f64 / saw.calls.max(1) as f64,
            calls: saw.calls as f64,
            makespan: last / bound,
            urgent_p50_s: quantile(&urgent, 0.5),
            urgent_p99_s: quantile(&urgent, 0.99),
            unfair: unfairness(&outcome.waits),
            granted: outcome.most_granted,
        }
    }

    pub fn mean(runs: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
        Self {
            tokens: mean(|f| f.tokens),
            requests: mean(|f| f.requests),
            concurrency: mean(|f| f.concurrency),
            throttled: mean(|f| f.throttled),
            calls: mean(|f| f.calls),
            makespan: mean(|f| f.makespan),
            urgent_p50_s: mean(|f| f.urgent_p50_s),
            urgent_p99_s: mean(|f| f.urgent_p99_s),
            unfair: mean(|f| f.unfair),
            granted: runs.iter().map(|f| f.granted).fold(0.0, f64::max),
        }
    }

    /// A row of the table in docs/pacing.md.
    pub fn markdown(&self, name: &str, about: &str) -> String {
        let bound = [(self.tokens, "tokens"), (self.requests, "requests"), (self.concurrency, "concurrency")];
        let (used, what) = bound.into_iter().fold((0.0, ""), |most, one| if one.0 > most.0 { one } else { most });
        format!(
            "| `{name}` | {about} | {:.1} % of {what} | {:.3} % | {:.3} | {:.2} s |\n",
            100.0 * used,
            100.0 * self.throttled,
            self.makespan,
            self.urgent_p99_s
        )
    }

    /// Use of what bounds it.
    pub fn used(&self) -> f64 {
        self.tokens.max(self.requests).max(self.concurrency)
    }

    /// The goals that were missed.
    pub fn misses(&self, goals: &Goals) -> Vec<String> {
        let mut misses = Vec::new();
        let mut at_most = |name: &str, value: f64, goal: Option<f64>| {
            if let Some(goal) = goal.filter(|goal| value > *goal) {
                misses.push(format!("{name} {value:.5} is above {goal}"));
            }
        };
        at_most("throttled", self.throttled, goals.throttled_at_most);
        at_most("makespan", self.makespan, goals.makespan_at_most);
        at_most("urgent p99", self.urgent_p99_s, goals.urgent_p99_at_most_s);
        at_most("unfairness", self.unfair, goals.huge_wait_at_most);
        at_most("granted", self.granted, goals.granted_at_most);
        at_most("unused", 1.0 - self.used(), goals.use_at_least.map(|goal| 1.0 - goal));
        misses
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:6.2} {:6.2} {:6.2} {:8.4} {:7.0} {:6.3} {:7.2} {:7.2} {:6.2}",
            100.0 * self.tokens,
            100.0 * self.requests,
            100.0 * self.concurrency,
            100.0 * self.throttled,
            self.calls,
            self.makespan,
            self.urgent_p50_s,
            self.urgent_p99_s,
            self.unfair
        )
    }
}

pub const MARKDOWN_HEADER: &str = "\
| scenario | what | used | throttled | makespan ÷ bound | urgent p99 |
|---|---|---|---|---|---|";

pub const HEADER: &str = "  tok%   req%   con%     429%   calls  mk/lb  urg50s  urg99s unfair";

fn quantile(sorted: &[f64], q: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let at = (sorted.len() as f64 * q) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

fn mean_over(from: f64, to: f64, of: impl Fn(f64) -> f64) -> f64 {
    let steps = 10_000;
    (0..steps).map(|n| of(from + (to - from) * (f64::from(n) + 0.5) / f64::from(steps))).sum::<f64>() / f64::from(steps)
}

fn mean_quota(
    scenario: &Scenario,
    first: Option<u64>,
    changed: fn(&What) -> Option<u64>,
    from: f64,
    to: f64,
) -> Option<f64> {
    let first = first? as f64;
    Some(mean_over(from, to, |at| quota_at(scenario, first, changed, at)))
}

fn quota_at(scenario: &Scenario, first: f64, changed: fn(&What) -> Option<u64>, at: f64) -> f64 {
    let past = scenario.events.iter().filter(|event| event.at_s <= at);
    past.filter_map(|event| changed(&event.what)).next_back().map_or(first, |n| n as f64)
}

/// No schedule can be done before: all tokens at the rate that others leave, all requests at their rate, all calls on
/// all places; an initially full server is not counted, so that a little below 1 is possible.
fn lower_bound(scenario: &Scenario, all: &[Planned]) -> f64 {
    let server = &scenario.server;
    let tokens: f64 = all.iter().map(|request| request.settled(server.burndown)).sum();
    let drain = |need: f64, rate: &dyn Fn(f64) -> f64| {
        let (mut done, mut at) = (0.0, 0.0);
        while done < need && at < 48.0 * 3600.0 {
            done += rate(at) / 60.0;
            at += 1.0;
        }
        at
    };
    let by_tokens = server.tpm.map_or(0.0, |tpm| {
        drain(tokens, &|at| {
            let changed = |w: &What| if let What::Server { tpm, .. } = w { *tpm } else { None };
            quota_at(scenario, tpm as f64, changed, at) * (1.0 - server.background_at(at))
        })
    });
    let by_requests = server.rpm.map_or(0.0, |rpm| {
        drain(all.len() as f64, &|at| {
            quota_at(scenario, rpm as f64, |w| if let What::Server { rpm, .. } = w { *rpm } else { None }, at)
        })
    });
    let seconds: f64 = all.iter().map(|request| request.takes.as_secs_f64()).sum();
    let arrivals = all.iter().map(|request| (request.arrival + request.takes).as_secs_f64()).fold(0.0, f64::max);
    by_tokens.max(by_requests).max(seconds / f64::from(scenario.fleet.concurrency)).max(arrivals)
}

/// All start in the order of their arrival, whatever their size, when no kind waits longer than the others on the mean.
fn unfairness(waits: &[(u32, &'static str, bool, Duration)]) -> f64 {
    let mut kinds: std::collections::BTreeMap<&str, (f64, f64)> = std::collections::BTreeMap::new();
    for (_, kind, _, wait) in waits.iter().filter(|w| !w.2) {
        let sum = kinds.entry(kind).or_default();
        *sum = (sum.0 + wait.as_secs_f64(), sum.1 + 1.0);
    }
    let (total, count) = kinds.values().fold((0.0, 0.0), |sum, kind| (sum.0 + kind.0, sum.1 + kind.1));
    let mean = total / f64::max(count, 1.0);
    kinds.values().map(|(sum, count)| sum / count / mean.max(1e-9)).fold(0.0, f64::max)
}
