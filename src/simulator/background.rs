//! Other traffic on the same quota: requests that arrive at random (Poisson), sized lognormally, holding a
//! reservation of 1.28 times what they settle to for about six seconds. The steps say which share of the tokens a
//! minute they settle (of the requests a minute when only those are limited). A throttled one is lost.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use super::draw::{Draws, real};
use super::quota::QuotaSpec;

/// From `after_s` on, other traffic takes `share` of the quota.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Seconds after the start.
    pub after_s: f64,
    /// Share of the quota, 0 to 1.
    pub share: f64,
}

/// What happens next in the other traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Event {
    Arrival { reserved: f64, settled: f64 },
    End { began: f64, back: f64, settled: f64 },
}

#[derive(Clone, Debug)]
pub(super) struct Background {
    steps: Vec<Step>,
    since: f64,
    draws: Draws,
    arrivals_per_s_at_full: f64,
    mean_tokens: f64,
    next_arrival: Option<f64>,
    looked_until: f64,
    running: BinaryHeap<Reverse<Running>>,
}

/// A running request, ordered by its end.
#[derive(Clone, Copy, Debug)]
struct Running {
    end: f64,
    began: f64,
    back: f64,
    settled: f64,
}

impl Ord for Running {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.end.total_cmp(&other.end).then(self.began.total_cmp(&other.began))
    }
}
impl PartialOrd for Running {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Running {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Running {}

/// The measured workload's mean request; larger ones only where the quota's own ratio of tokens to requests is.
const MEAN_TOKENS: f64 = 2_205.0;
const RESERVED_PER_SETTLED: f64 = 1.28;
const MEAN_HOLD_S: f64 = 6.0;
const SIGMA: f64 = 0.6;

impl Background {
    pub(super) fn new(spec: &QuotaSpec, since: f64) -> Self {
        let mut steps = spec.background.clone();
        steps.sort_by(|a, b| a.after_s.total_cmp(&b.after_s));
        let (arrivals_per_s_at_full, mean_tokens) = size(spec);
        Self {
            steps,
            since,
            draws: Draws::new(spec.seed, 0, 7),
            arrivals_per_s_at_full,
            mean_tokens,
            next_arrival: None,
            looked_until: since,
            running: BinaryHeap::new(),
        }
    }

    /// The same traffic on a quota of another size.
    pub(super) fn resized(&self, spec: &QuotaSpec) -> Self {
        let (arrivals_per_s_at_full, mean_tokens) = size(spec);
        Self { arrivals_per_s_at_full, mean_tokens, ..self.clone() }
    }

    /// The next event not after `until`, removed.
    pub(super) fn next(&mut self, until: f64) -> Option<(f64, Event)> {
        let end = self.running.peek().map_or(f64::INFINITY, |Reverse(running)| running.end);
        let arrival = self.arrival_before(until.min(end));
        if let Some(at) = arrival {
            self.next_arrival = None;
            let settled = self.mean_tokens * self.draws.lognormal(SIGMA);
            return Some((at, Event::Arrival { reserved: settled * RESERVED_PER_SETTLED, settled }));
        }
        if end > until {
            return None;
        }
        let Reverse(running) = self.running.pop()?;
        Some((end, Event::End { began: running.began, back: running.back, settled: running.settled }))
    }

    /// An arrival was admitted and will end in its time.
    pub(super) fn started(&mut self, at: f64, arrival: Event) {
        if let Event::Arrival { reserved, settled } = arrival {
            let end = at + MEAN_HOLD_S * self.draws.lognormal(SIGMA);
            self.running.push(Reverse(Running { end, began: at, back: reserved - settled, settled }));
        }
    }

    /// Arrivals have no memory, so a gap that reaches past a step is drawn anew at the step.
    fn arrival_before(&mut self, until: f64) -> Option<f64> {
        loop {
            if let Some(at) = self.next_arrival {
                return (at <= until).then_some(at);
            }
            if self.looked_until > until {
                return None;
            }
            let (share, step_end) = self.share_at(self.looked_until);
            let at = self.looked_until + self.draws.exponential(share * self.arrivals_per_s_at_full);
            if at < step_end {
                self.next_arrival = Some(at);
                self.looked_until = at;
            } else if step_end.is_finite() {
                self.looked_until = step_end;
            } else {
                return None;
            }
        }
    }

    /// The share at a time, and when it changes next.
    fn share_at(&self, at: f64) -> (f64, f64) {
        let since = at - self.since;
        let past = self.steps.partition_point(|step| step.after_s <= since);
        let share = past.checked_sub(1).and_then(|last| self.steps.get(last)).map_or(0.0, |step| step.share);
        (share, self.steps.get(past).map_or(f64::INFINITY, |step| self.since + step.after_s))
    }
}

/// Arrivals a second at a share of 1, and the mean size in tokens. Requests are no smaller than the quota's tokens per
/// request, so that the share of the requests a minute is never above the share asked for.
fn size(spec: &QuotaSpec) -> (f64, f64) {
    let (rpm, tpm) = (spec.rpm.map_or(0.0, real), spec.tpm.map_or(0.0, real));
    if tpm <= 0.0 {
        return (rpm / 60.0, 0.0);
    }
    let per_request = if rpm > 0.0 { tpm / rpm } else { 0.0 };
    let usual = MEAN_TOKENS.clamp(tpm / 6_000.0, (tpm / 60.0).max(tpm / 6_000.0));
    let mean = spec.background_request_tokens.filter(|tokens| *tokens > 0).map_or(usual.max(per_request), real);
    (tpm / 60.0 / mean, mean)
}
