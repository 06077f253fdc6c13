//! What the simulator has done so far.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use tokio::time::Instant;

use super::call::Usage;
use super::draw::real;
use super::fault::FaultKind;
use super::quota::{Level, Levels, QuotaSpec, Throttle};

/// Everything, as `GET /_sim/stats` shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Seconds since the start or the last reset.
    pub elapsed_s: f64,
    /// All models together.
    pub total: Totals,
    /// Calls of models that do not exist.
    pub unknown_model: u64,
    /// Distinct keys in `/_sim/calls`.
    pub recorded_keys: u64,
    /// Calls that were not recorded because there were too many keys.
    pub unrecorded_calls: u64,
    /// By model id.
    pub models: BTreeMap<String, ModelStats>,
}

/// Sums over the models.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// See [`ModelStats::calls`].
    pub calls: u64,
    /// See [`ModelStats::served`].
    pub served: u64,
    /// All kinds together.
    pub throttled: u64,
    /// All kinds together.
    pub faulted: u64,
    /// See [`ModelStats::rejected`].
    pub rejected: u64,
    /// See [`ModelStats::abandoned`].
    pub abandoned: u64,
    /// Started and not yet ended.
    pub in_flight: u64,
    /// Most at once, over all models.
    pub in_flight_peak: u64,
    /// Tokens of the served calls.
    pub tokens: Tokens,
}

/// One model.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ModelStats {
    /// Well-formed calls of any outcome; `CountTokens` is none.
    pub calls: u64,
    /// Answered in full.
    pub served: u64,
    /// Refused for lack of quota; injected throttles are under `faulted`.
    pub throttled: Throttled,
    /// Injected faults.
    pub faulted: BTreeMap<FaultKind, u64>,
    /// Refused for what the request said (400).
    pub rejected: u64,
    /// The client went away before the end; the work was done and charged.
    pub abandoned: u64,
    /// `CountTokens` requests.
    pub count_tokens: u64,
    /// Started and not yet ended.
    pub in_flight: u64,
    /// Most at once.
    pub in_flight_peak: u64,
    /// Tokens of the served and abandoned calls.
    pub tokens: Tokens,
    /// From the first start to the latest end or start, seconds.
    pub active_span_s: f64,
    /// Use of the quota over the active span, as shares of what it refills in that time; a bucket that was full at the
    /// start may take it above 1 for short spans. None where not enforced.
    pub used: Used,
    /// Use in the busiest minute, counted from the first start; tokens count when they settle.
    pub peak_minute: Used,
    /// What is free now as a share of the capacity; negative in debt.
    pub free: Free,
    /// The quota in force.
    pub quota: Limits,
}

/// Throttled calls by the limit that refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Throttled {
    /// Requests a minute.
    pub rpm: u64,
    /// Tokens a minute.
    pub tpm: u64,
    /// Tokens a day.
    pub tpd: u64,
}

/// Sums of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// Not from and not to the cache.
    pub input: u64,
    /// Of the answers.
    pub output: u64,
    /// Read from the cache.
    pub cache_read: u64,
    /// Written to the cache.
    pub cache_write: u64,
    /// Taken from the quota at the starts, failed calls included.
    pub reserved: u64,
    /// Taken from the quota after settlement.
    pub settled: u64,
}

/// Shares of the requests and tokens a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Used {
    /// Started calls over requests a minute.
    pub rpm: Option<f64>,
    /// Settled tokens over tokens a minute.
    pub tpm: Option<f64>,
}

/// Shares that are free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Free {
    /// Requests a minute.
    pub rpm: Option<f64>,
    /// Tokens a minute.
    pub tpm: Option<f64>,
    /// Tokens a day.
    pub tpd: Option<f64>,
}

/// The limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Requests a minute.
    pub rpm: Option<u64>,
    /// Tokens a minute.
    pub tpm: Option<u64>,
    /// Tokens a day.
    pub tpd: Option<u64>,
}

/// A model's running counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: ModelStats,
    starts: u64,
    first: Option<Instant>,
    last: Option<Instant>,
    minute: Minute,
    peak: Minute,
}

#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    index: u64,
    starts: u64,
    settled: u64,
}

impl Tally {
    pub(super) const fn called(&mut self) {
        self.counts.calls += 1;
    }

    pub(super) const fn rejected(&mut self) {
        self.counts.rejected += 1;
    }

    pub(super) const fn counted_tokens(&mut self) {
        self.counts.count_tokens += 1;
    }

    pub(super) fn faulted(&mut self, kind: FaultKind) {
        *self.counts.faulted.entry(kind).or_default() += 1;
    }

    pub(super) const fn throttled(&mut self, by: Throttle) {
        match by {
            Throttle::Requests => self.counts.throttled.rpm += 1,
            Throttle::Tokens => self.counts.throttled.tpm += 1,
            Throttle::TokensPerDay => self.counts.throttled.tpd += 1,
        }
    }

    pub(super) fn started(&mut self, now: Instant, reserved: u64) {
        self.starts += 1;
        self.counts.in_flight += 1;
        self.counts.in_flight_peak = self.counts.in_flight_peak.max(self.counts.in_flight);
        self.counts.tokens.reserved += reserved;
        self.turn(now, 1, 0);
    }

    /// A call that failed: nothing is charged.
    pub(super) fn failed(&mut self, now: Instant, kind: FaultKind) {
        self.faulted(kind);
        self.counts.in_flight = self.counts.in_flight.saturating_sub(1);
        self.turn(now, 0, 0);
    }

    /// A call that was answered, or whose client had gone.
    pub(super) fn ended(&mut self, now: Instant, usage: &Usage, settled: u64, abandoned: bool) {
        if abandoned {
            self.counts.abandoned += 1;
        } else {
            self.counts.served += 1;
        }
        self.counts.in_flight = self.counts.in_flight.saturating_sub(1);
        let tokens = &mut self.counts.tokens;
        tokens.input += usage.input;
        tokens.output += usage.output;
        tokens.cache_read += usage.cache_read;
        tokens.cache_write += usage.cache_write;
        tokens.settled += settled;
        self.turn(now, 0, settled);
    }

    fn turn(&mut self, now: Instant, starts: u64, settled: u64) {
        let first = *self.first.get_or_insert(now);
        self.last = Some(self.last.map_or(now, |last| last.max(now)));
        let index = now.saturating_duration_since(first).as_secs() / 60;
        if index > self.minute.index {
            self.minute = Minute { index, ..Minute::default() };
        }
        self.minute.starts += starts;
        self.minute.settled += settled;
        self.peak.starts = self.peak.starts.max(self.minute.starts);
        self.peak.settled = self.peak.settled.max(self.minute.settled);
    }

    /// Starts afresh; calls in flight stay in flight.
    pub(super) fn reset(&mut self) {
        let in_flight = self.counts.in_flight;
        *self = Self {
            counts: ModelStats { in_flight, in_flight_peak: in_flight, ..ModelStats::default() },
            ..Self::default()
        };
    }

    pub(super) fn show(&self, spec: &QuotaSpec, levels: Levels) -> ModelStats {
        let span = match (self.first, self.last) {
            (Some(first), Some(last)) => (last - first).as_secs_f64(),
            _ => 0.0,
        };
        // One second at the least: an instant burst is not an infinite share.
        let minutes = span.max(1.0) / 60.0;
        let used = |limit: Option<u64>, amount: u64, minutes: f64| {
            limit.filter(|limit| *limit > 0).map(|limit| real(amount) / (real(limit) * minutes))
        };
        let free = |level: Option<Level>| level.map(|level| level.free / level.capacity);
        ModelStats {
            active_span_s: span,
            used: Used {
                rpm: used(spec.rpm, self.starts, minutes),
                tpm: used(spec.tpm, self.counts.tokens.settled, minutes),
            },
            peak_minute: Used {
                rpm: used(spec.rpm, self.peak.starts, 1.0),
                tpm: used(spec.tpm, self.peak.settled, 1.0),
            },
            free: Free { rpm: free(levels.requests), tpm: free(levels.tokens), tpd: free(levels.day) },
            quota: Limits { rpm: spec.rpm, tpm: spec.tpm, tpd: spec.tpd },
            ..self.counts.clone()
        }
    }
}

impl Totals {
    pub(super) fn add(&mut self, model: &ModelStats) {
        self.calls += model.calls;
        self.served += model.served;
        self.throttled += model.throttled.rpm + model.throttled.tpm + model.throttled.tpd;
        self.faulted += model.faulted.values().sum::<u64>();
        self.rejected += model.rejected;
        self.abandoned += model.abandoned;
        self.in_flight += model.in_flight;
        let (all, one) = (&mut self.tokens, &model.tokens);
        all.input += one.input;
        all.output += one.output;
        all.cache_read += one.cache_read;
        all.cache_write += one.cache_write;
        all.reserved += one.reserved;
        all.settled += one.settled;
    }
}

/// How often each key was called. Keys beyond the bound are not recorded, and that is counted.
#[derive(Debug, Default)]
pub(super) struct CallLog {
    by_key: HashMap<String, Counts>,
    pub(super) unrecorded: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    any: u64,
    served: u64,
}

/// Most keys in the log.
const MOST_KEYS: usize = 1_000_000;

impl CallLog {
    /// A call of any outcome came in.
    pub(super) fn came(&mut self, key: &str) {
        if let Some(counts) = self.by_key.get_mut(key) {
            counts.any += 1;
        } else if self.by_key.len() < MOST_KEYS {
            self.by_key.insert(key.to_owned(), Counts { any: 1, served: 0 });
        } else {
            self.unrecorded += 1;
        }
    }

    /// The model did the work, whether or not the client was there for the end.
    pub(super) fn worked(&mut self, key: &str) {
        if let Some(counts) = self.by_key.get_mut(key) {
            counts.served += 1;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Key → count, of the calls whose work was done or of all.
    pub(super) fn show(&self, any: bool) -> BTreeMap<String, u64> {
        let count = |counts: &Counts| if any { counts.any } else { counts.served };
        self.by_key.iter().map(|(key, counts)| (key.clone(), count(counts))).filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn shares_are_of_the_span_and_of_the_busiest_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut tally = Tally::default();
        let usage = Usage { input: 60, output: 40, ..Usage::default() };
        for (begin, end) in [(0, 10), (1, 11), (100, 120)] {
            tally.called();
            tally.started(at(begin), 150);
            tally.ended(at(end), &usage, 100, false);
        }
        let spec = QuotaSpec { rpm: Some(10), tpm: Some(1_000), ..QuotaSpec::default() };
        let stats =
            tally.show(&spec, Levels { requests: None, tokens: Some(Level { free: -5.0, capacity: 10.0 }), day: None });
        assert_eq!((stats.active_span_s, stats.used.rpm, stats.used.tpm), (120.0, Some(0.15), Some(0.15)));
        assert_eq!((stats.peak_minute.rpm, stats.peak_minute.tpm), (Some(0.2), Some(0.2)));
        assert_eq!((stats.tokens.reserved, stats.tokens.settled, stats.served), (450, 300, 3));
        assert_eq!(stats.free.tpm, Some(-0.5));
        assert_eq!(stats.in_flight_peak, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn reset_keeps_what_is_in_flight() {
        let mut tally = Tally::default();
        tally.called();
        tally.started(Instant::now(), 1);
        tally.reset();
        assert_eq!((tally.counts.calls, tally.counts.in_flight), (0, 1));
    }

    #[test]
    fn the_log_tells_work_from_calls() {
        let mut log = CallLog::default();
        log.came("a");
        log.came("a");
        log.came("b");
        log.worked("a");
        assert_eq!(log.show(false), BTreeMap::from([("a".to_owned(), 1)]));
        assert_eq!(log.show(true), BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 1)]));
    }
}
