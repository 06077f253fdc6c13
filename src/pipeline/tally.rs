//! Counts what happens: one event per request feeds the metrics, and the summary that people read at the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::pace::LaneSnapshot;
use super::usage::{KEPT_MINUTES, Used};
use crate::clock::Timestamp;
use crate::ports::Minute;
use crate::ports::metrics::{Datum, Unit};
use crate::ports::model::CallErrorClass;
use crate::ports::reports::ReportRow;
use crate::request::{Lane, Status, Usage};

/// Waits and other durations in milliseconds, one day at most, to three digits.
const LONGEST_MS: u64 = 24 * 3600 * 1000;

/// What happened in this process. Shared by all stages.
#[derive(Default)]
pub struct Tally(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    total: Totals,
    waits: BTreeMap<&'static str, Histogram<u64>>,
    average_call_ms: Option<f64>,
    pending: BTreeMap<Series, (Unit, Samples)>,
    used: Used,
}

/// A metric's name and dimensions.
type Series = (&'static str, Vec<(&'static str, String)>);

/// Sums since the process started.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Requests admitted.
    pub admitted: u64,
    /// Messages that repeated an id with the same content.
    pub repeated: u64,
    /// Requests finished, by final status.
    pub finished: BTreeMap<&'static str, u64>,
    /// Calls made, throttled ones included.
    pub calls: u64,
    /// Calls throttled.
    pub throttled: u64,
    /// Calls that failed otherwise.
    pub failed_calls: u64,
    /// By model: tokens and dollars.
    pub models: BTreeMap<String, ModelTotals>,
    /// Faults of queues, tables and stores that were overcome.
    pub port_errors: u64,
}

/// What a model was used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ModelTotals {
    /// Answers.
    pub requests: u64,
    /// Tokens.
    pub usage: Usage,
    /// Dollars of the answers whose price is known.
    pub cost_usd: f64,
    /// Answers whose price is not known.
    pub unpriced: u64,
}

#[derive(Clone, Copy, Debug)]
struct Samples {
    count: f64,
    total: f64,
    min: f64,
    max: f64,
}

/// A distribution in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// How many.
    pub count: u64,
    /// Half were shorter.
    pub p50: u64,
    /// 99 of 100 were shorter.
    pub p99: u64,
}

impl Tally {
    /// A request was admitted.
    pub fn admitted(&self) {
        self.with(|c| {
            c.total.admitted += 1;
            c.add("RequestsAdmitted", vec![], Unit::Count, 1.0);
        });
    }

    /// A message repeated what is there already.
    pub fn repeated(&self) {
        self.with(|c| c.total.repeated += 1);
    }

    /// A call ended.
    pub fn called(&self, lane: &str, failure: Option<CallErrorClass>) {
        self.with(|c| {
            c.total.calls += 1;
            let lane = || vec![("Lane", lane.to_owned())];
            c.add("BedrockCalls", lane(), Unit::Count, 1.0);
            match failure {
                None => {}
                Some(class) if class.is_throttle() => {
                    c.total.throttled += 1;
                    c.add("ThrottledCalls", lane(), Unit::Count, 1.0);
                }
                Some(_) => {
                    c.total.failed_calls += 1;
                    c.add("FailedCalls", lane(), Unit::Count, 1.0);
                }
            }
        });
    }

    /// A call was settled to this many quota tokens.
    pub fn settled(&self, lane: &Lane, tokens: f64, at: Timestamp) {
        self.with(|c| {
            c.used.add(lane, Minute::of(at), tokens);
            c.add("SettledTokens", vec![("Lane", lane.to_string())], Unit::Count, tokens);
        });
    }

    /// Quota tokens settled here in the latest minutes up to `at`.
    pub fn used(&self, at: Timestamp) -> Used {
        self.with(|c| {
            c.used.forget_before(Minute::of(at).back(KEPT_MINUTES));
            c.used.clone()
        })
    }

    /// A request reached its end.
    pub fn finished(&self, report: &ReportRow) {
        self.with(|c| {
            let class = Self::class(report);
            *c.total.finished.entry(report.status.as_str()).or_default() += 1;
            c.add("RequestsFinished", vec![("Status", report.status.to_string())], Unit::Count, 1.0);
            if let (Status::Succeeded, Some(latency)) = (report.status, report.latency_ms) {
                let average = c.average_call_ms.get_or_insert(latency as f64);
                *average += 0.02 * (latency as f64 - *average);
            }
            if report.started_at.is_some() {
                let waits = c.waits.entry(class).or_insert_with(histogram);
                waits.saturating_record(report.wait_ms);
                c.add("Wait", vec![("Priority", class.to_owned())], Unit::Milliseconds, report.wait_ms as f64);
            }
            if let (Status::Succeeded, Some(input)) = (report.status, report.input_tokens) {
                let model = c.total.models.entry(report.model_id.clone()).or_default();
                model.requests += 1;
                model.usage.input_tokens += input;
                model.usage.output_tokens += report.output_tokens.unwrap_or_default();
                model.usage.cache_read_input_tokens += report.cache_read_tokens.unwrap_or_default();
                model.usage.cache_write_input_tokens += report.cache_write_tokens.unwrap_or_default();
                match report.cost_usd {
                    Some(cost) => model.cost_usd += cost,
                    None => model.unpriced += 1,
                }
            }
            if let Some(cost) = report.cost_usd {
                c.add("CostUsd", vec![("Lane", report.lane.clone())], Unit::None, cost);
            }
        });
    }

    /// How a lane stands, once a minute. Quota use is a share of the fleet's whole quota, so that the sum over the workers is
    /// the fleet's use.
    pub fn observe_lane(&self, lane: &LaneSnapshot) {
        self.with(|c| {
            let mut add = |name: &'static str, unit: Unit, value: Option<f64>| {
                if let Some(value) = value {
                    c.add(name, vec![("Lane", lane.lane.clone())], unit, value);
                }
            };
            let share = |used: f64, quota: Option<f64>| quota.filter(|q| *q > 0.0).map(|quota| 100.0 * used / quota);
            add("TokenQuotaUse", Unit::Percent, share(lane.tokens_last_minute, lane.tokens_per_minute));
            add("RequestQuotaUse", Unit::Percent, share(lane.requests_last_minute as f64, lane.requests_per_minute));
            add("QuotaShare", Unit::Percent, Some(100.0 * lane.share));
            add("CallsInFlight", Unit::Count, Some(f64::from(lane.in_flight)));
            add("ReservedTokens", Unit::Count, Some(lane.reserved_tokens));
            add("AdaptiveFactor", Unit::None, Some(lane.factor));
            add("OtherTraffic", Unit::Percent, lane.background.map(|share| 100.0 * share));
            add("InputRatio", Unit::None, Some(lane.input_ratio));
            add("TypicalOutputTokens", Unit::Count, lane.typical_output);
            add("ReservedPerUsed", Unit::None, lane.reserved_per_used);
        });
    }

    /// A port call failed and will be repeated.
    pub fn port_error(&self) {
        self.with(|c| {
            c.total.port_errors += 1;
            c.add("PortErrors", vec![], Unit::Count, 1.0);
        });
    }

    /// Sums since the start.
    pub fn totals(&self) -> Totals {
        self.with(|c| c.total.clone())
    }

    /// Waits from received to called, by priority class.
    pub fn waits(&self) -> BTreeMap<&'static str, Quantiles> {
        self.with(|c| c.waits.iter().map(|(class, waits)| (*class, quantiles(waits))).collect())
    }

    /// What a call takes, learned from those that were answered here.
    pub fn average_call(&self) -> Option<Duration> {
        self.with(|c| c.average_call_ms).map(|ms| Duration::from_secs_f64(ms / 1000.0))
    }

    /// Takes what has gathered for the metrics since the last time.
    pub fn take_data(&self, at: Timestamp) -> Vec<Datum> {
        let pending = self.with(|c| std::mem::take(&mut c.pending));
        pending
            .into_iter()
            .map(|((name, dimensions), (unit, s))| Datum {
                name,
                dimensions,
                at,
                unit,
                count: s.count,
                sum: s.total,
                min: s.min,
                max: s.max,
            })
            .collect()
    }

    fn class(report: &ReportRow) -> &'static str {
        crate::request::Priority::from_number(report.priority.into()).unwrap_or_default().class()
    }

    fn with<T>(&self, f: impl FnOnce(&mut Counts) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Counts {
    fn add(&mut self, name: &'static str, dimensions: Vec<(&'static str, String)>, unit: Unit, value: f64) {
        let fresh = Samples { count: 0.0, total: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };
        let (_, samples) = self.pending.entry((name, dimensions)).or_insert((unit, fresh));
        samples.count += 1.0;
        samples.total += value;
        samples.min = samples.min.min(value);
        samples.max = samples.max.max(value);
    }
}

fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "constant bounds, covered by a test")]
    Histogram::new_with_max(LONGEST_MS, 3).expect("valid histogram bounds")
}

fn quantiles(h: &Histogram<u64>) -> Quantiles {
    Quantiles { count: h.len(), p50: h.value_at_quantile(0.5), p99: h.value_at_quantile(0.99) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_are_summed_up_and_taken_once() {
        let tally = Tally::default();
        tally.called("lane", None);
        tally.called("lane", Some(CallErrorClass::ThrottledTokens));
        let data = tally.take_data(Timestamp(0));
        let calls = data.iter().find(|d| d.name == "BedrockCalls").unwrap();
        assert!((calls.count - 2.0).abs() < 1e-9 && (calls.sum - 2.0).abs() < 1e-9);
        assert!(tally.take_data(Timestamp(0)).is_empty());
        assert_eq!((tally.totals().calls, tally.totals().throttled), (2, 1));
        assert_eq!(quantiles(&histogram()).count, 0);
    }
}
