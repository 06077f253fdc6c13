//! Counts what happens: one event per request feeds the metrics, and the summary that people read at the end.

mod exposition;
pub mod metrics;
mod states;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use self::exposition::Buckets;
use self::metrics::{Kind, Metric};
pub use self::states::Standing;
use super::usage::{KEPT_MINUTES, Used};
use crate::clock::Timestamp;
use crate::ports::Minute;
use crate::ports::metrics::{Datum, Unit};
use crate::ports::model::CallErrorClass;
use crate::ports::reports::ReportRow;
use crate::request::{Lane, Priority, Status, Usage};

/// Waits and other durations in milliseconds, one day at most, to three digits.
const LONGEST_MS: u64 = 24 * 3600 * 1000;

/// Data that were not delivered are kept up to this many, the oldest go first: hours of a worker with a dozen lanes.
const KEPT_DATA: usize = 20_000;
/// CloudWatch takes nothing that is older than two weeks.
const KEPT_FOR: Duration = Duration::from_hours(14 * 24 - 1);

/// What happened in this process. Shared by all stages.
#[derive(Default)]
pub struct Tally(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    total: Totals,
    waits: BTreeMap<&'static str, Histogram<u64>>,
    average_call_ms: Option<f64>,
    pending: BTreeMap<Series, (Unit, Samples)>,
    undelivered: VecDeque<Datum>,
    counted: BTreeMap<Series, f64>,
    measured: BTreeMap<Series, Buckets>,
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
            c.add(metrics::REQUESTS_ADMITTED, [], 1.0);
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
            c.add(metrics::BEDROCK_CALLS, [], 1.0);
            c.add(metrics::BEDROCK_CALLS_OF_LANE, [lane], 1.0);
            match failure {
                None => {}
                Some(class) if class.is_throttle() => {
                    c.total.throttled += 1;
                    c.add(metrics::THROTTLED_CALLS, [], 1.0);
                    c.add(metrics::THROTTLED_CALLS_OF_LANE, [lane], 1.0);
                }
                Some(_) => {
                    c.total.failed_calls += 1;
                    c.add(metrics::FAILED_CALLS, [], 1.0);
                    c.add(metrics::FAILED_CALLS_OF_LANE, [lane], 1.0);
                }
            }
        });
    }

    /// A call was settled to this many quota tokens.
    pub fn settled(&self, lane: &Lane, tokens: f64, at: Timestamp) {
        self.with(|c| {
            c.used.add(lane, Minute::of(at), tokens);
            c.add(metrics::SETTLED_TOKENS, [lane.as_str()], tokens);
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
            c.add(metrics::REQUESTS_FINISHED, [], 1.0);
            c.add(metrics::REQUESTS_FINISHED_OF_STATUS, [report.status.as_str()], 1.0);
            if missed_its_deadline(report) {
                c.add(metrics::MISSED_DEADLINES, [], 1.0);
            }
            if let (Status::Succeeded, Some(latency)) = (report.status, report.latency_ms) {
                let average = c.average_call_ms.get_or_insert(latency as f64);
                *average += 0.02 * (latency as f64 - *average);
            }
            if report.started_at.is_some() {
                let waits = c.waits.entry(class).or_insert_with(histogram);
                waits.saturating_record(report.wait_ms);
                c.add(metrics::WAIT, [class], report.wait_ms as f64);
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
                c.add(metrics::COST_USD, [], cost);
                c.add(metrics::COST_USD_OF_LANE, [&report.lane], cost);
            }
        });
    }

    /// How things stand, once a minute.
    pub fn observe(&self, standing: &Standing) {
        self.with(|c| {
            for state in standing.states() {
                c.sample(state.series, state.unit, state.value);
            }
            // An alarm compares it with the backlog, and nothing finished must not look like nothing known.
            c.add(metrics::REQUESTS_FINISHED, [], 0.0);
        });
    }

    /// Spans were dropped.
    pub fn spans_dropped(&self, spans: usize) {
        self.with(|c| c.add(metrics::SPANS_DROPPED, [], spans as f64));
    }

    /// A port call failed and will be repeated.
    pub fn port_error(&self) {
        self.with(|c| {
            c.total.port_errors += 1;
            c.add(metrics::PORT_ERRORS, [], 1.0);
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

    /// All there is since the start, and how things stand, in Prometheus' text format.
    pub fn exposition(&self, standing: &Standing) -> String {
        self.with(|c| exposition::render(&c.counted, &c.measured, &standing.states()))
    }

    /// Takes what has gathered for the metrics since the last time, and what was put back and is not too old by now. `at` is
    /// when that time began.
    pub fn take_data(&self, at: Timestamp) -> Vec<Datum> {
        let (pending, undelivered) =
            self.with(|c| (std::mem::take(&mut c.pending), std::mem::take(&mut c.undelivered)));
        let kept = undelivered.into_iter().filter(|datum| at.since(datum.at) < KEPT_FOR);
        let fresh = pending.into_iter();
        kept.chain(fresh.map(|((name, dimensions), (unit, s))| Datum {
            name,
            dimensions,
            at,
            unit,
            count: s.count,
            sum: s.total,
            min: s.min,
            max: s.max,
        }))
        .collect()
    }

    /// Keeps data that could not be delivered for the next time. How many of the oldest were dropped instead, for want of room.
    pub fn put_back(&self, data: Vec<Datum>) -> usize {
        self.with(|c| {
            c.undelivered.extend(data);
            let over = c.undelivered.len().saturating_sub(KEPT_DATA);
            c.undelivered.drain(..over);
            over
        })
    }

    fn class(report: &ReportRow) -> &'static str {
        Priority::from_number(report.priority.into()).unwrap_or_default().class()
    }

    fn with<T>(&self, f: impl FnOnce(&mut Counts) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Counts {
    fn add<const N: usize>(&mut self, metric: Metric<N>, values: [&str; N], value: f64) {
        let series = states::series(metric, values);
        match metric.kind {
            Kind::Counter => *self.counted.entry(series.clone()).or_default() += value,
            Kind::Histogram => self.measured.entry(series.clone()).or_default().observe(value),
            Kind::Gauge => {}
        }
        self.sample(series, metric.unit, value);
    }

    fn sample(&mut self, series: Series, unit: Unit, value: f64) {
        let fresh = Samples { count: 0.0, total: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };
        let (_, samples) = self.pending.entry(series).or_insert((unit, fresh));
        samples.count += 1.0;
        samples.total += value;
        samples.min = samples.min.min(value);
        samples.max = samples.max.max(value);
    }
}

/// Who cancelled a request does not miss it, and one that was rejected never had a chance.
fn missed_its_deadline(report: &ReportRow) -> bool {
    let late = || report.deadline.is_some_and(|deadline| report.finished_at > deadline);
    match report.status {
        Status::Expired => true,
        Status::Succeeded | Status::Failed => late(),
        _ => false,
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
    use std::collections::BTreeSet;

    use super::*;
    use crate::pipeline::pace::LaneSnapshot;
    use crate::pipeline::plan::Reading;

    fn lane() -> LaneSnapshot {
        let lane = serde_json::json!({
            "lane": "l", "requests_per_minute": 1.0, "tokens_per_minute": 1.0, "share": 1.0, "factor": 1.0, "background": 0.1,
            "waiting": 0, "in_flight": 0, "reserved_tokens": 0.0, "requests_last_minute": 0, "tokens_last_minute": 0.0,
            "started": 0, "answered": 0, "throttled": 0, "settled_tokens": 0.0, "input_ratio": 1.0, "reserved_per_used": 1.0,
            "typical_output": 1.0,
        });
        serde_json::from_value(lane).unwrap()
    }

    #[test]
    fn deadlines_are_missed_by_what_ends_after_them() {
        let (early, late) = (Some(Timestamp(999)), Some(Timestamp(1_000)));
        for (status, deadline, missed) in [
            (Status::Succeeded, late, false),
            (Status::Succeeded, early, true),
            (Status::Failed, early, true),
            (Status::Failed, late, false),
            (Status::Failed, None, false),
            (Status::Expired, early, true),
            (Status::Cancelled, early, false),
            (Status::Rejected, early, false),
        ] {
            let tally = Tally::default();
            tally.finished(&ReportRow { status, deadline, ..ReportRow::example() });
            let counted = tally.take_data(Timestamp(0)).iter().any(|datum| datum.name == "MissedDeadlines");
            assert_eq!(counted, missed, "{status} {deadline:?}");
        }
    }

    #[test]
    fn the_backlog_is_told_by_class_and_in_all() {
        let tally = Tally::default();
        let backlog =
            [(0, 1), (1, 2), (2, 3), (5, 4), (9, 5)].map(|(n, rows)| (Priority::from_number(n).unwrap(), rows));
        let reading =
            Reading { backlog: Some(backlog.into()), oldest_wait: Duration::from_secs(2), budgets_used_up: 0 };
        tally.observe(&Standing { lanes: vec![], reading: Some(reading) });
        let data = tally.take_data(Timestamp(0));
        let told: Vec<(&str, &str, f64)> =
            data.iter().map(|d| (d.name, d.dimensions.first().map_or("", |(_, value)| value), d.sum)).collect();
        let expected = [
            ("Backlog", "", 15.0),
            ("Backlog", "bulk", 5.0),
            ("Backlog", "high", 5.0),
            ("Backlog", "low", 0.0),
            ("Backlog", "normal", 4.0),
            ("Backlog", "urgent", 1.0),
            ("BudgetsUsedUp", "", 0.0),
            ("OldestWait", "", 2000.0),
            ("RequestsFinished", "", 0.0),
            ("WorkersAlive", "", 1.0),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn everything_in_the_table_is_counted() {
        let tally = Tally::default();
        tally.admitted();
        tally.called("l", None);
        tally.called("l", Some(CallErrorClass::ThrottledTokens));
        tally.called("l", Some(CallErrorClass::Server));
        let lane_of = Lane::new("1", "us-east-1", &crate::request::ModelId::new("m").unwrap());
        tally.settled(&lane_of, 1.0, Timestamp(0));
        tally.finished(&ReportRow::example());
        tally.finished(&ReportRow { status: Status::Expired, ..ReportRow::example() });
        let reading = Reading { backlog: Some(BTreeMap::new()), oldest_wait: Duration::ZERO, budgets_used_up: 0 };
        tally.observe(&Standing { lanes: vec![lane()], reading: Some(reading) });
        tally.spans_dropped(1);
        tally.port_error();
        let data = tally.take_data(Timestamp(0));
        let counted: BTreeSet<_> =
            data.iter().map(|d| (d.name, d.dimensions.iter().map(|(name, _)| *name).collect::<Vec<_>>())).collect();
        let table: BTreeSet<_> = metrics::METRICS.iter().map(|m| (m.name, m.dimensions.to_vec())).collect();
        assert_eq!(counted, table);
    }

    #[test]
    fn what_was_not_delivered_goes_with_the_next_unless_it_is_too_much_or_too_old() {
        let (tally, hour) = (Tally::default(), |n: u64| Timestamp(n * 3_600_000));
        tally.admitted();
        let first = tally.take_data(hour(0));
        assert_eq!(tally.put_back(first.clone()), 0);
        tally.admitted();
        let both = tally.take_data(hour(1));
        assert_eq!(both.iter().map(|d| (d.at, d.sum)).collect::<Vec<_>>(), [(hour(0), 1.0), (hour(1), 1.0)]);
        tally.put_back(both);
        assert_eq!(tally.take_data(hour(14 * 24 - 1)).iter().map(|d| d.at).collect::<Vec<_>>(), [hour(1)]);
        let many: Vec<Datum> = (0..20_003).map(|n| Datum { at: Timestamp(n), ..first[0].clone() }).collect();
        assert_eq!(tally.put_back(many), 3);
        let kept = tally.take_data(Timestamp(20_003));
        assert_eq!((kept.len(), kept[0].at), (20_000, Timestamp(3)), "the oldest go first");
    }

    #[test]
    fn both_ways_tell_the_same() {
        let tally = Tally::default();
        for (status, wait_ms, cost) in [(Status::Succeeded, 40, 0.1), (Status::Failed, 90_000, 0.2)] {
            tally.finished(&ReportRow { status, wait_ms, cost_usd: Some(cost), ..ReportRow::example() });
        }
        tally.called("l", Some(CallErrorClass::ThrottledTokens));
        let standing = Standing { lanes: vec![lane()], reading: None };
        tally.observe(&standing);
        let data = tally.take_data(Timestamp(0));
        let page = tally.exposition(&standing);
        let mut compared = 0;
        for entry in metrics::METRICS.iter().filter(|entry| entry.is_exposed()) {
            let of = data.iter().filter(|d| {
                d.name == entry.name && d.dimensions.iter().map(|(name, _)| *name).eq(entry.dimensions.iter().copied())
            });
            for datum in of {
                let labels: Vec<String> =
                    datum.dimensions.iter().map(|(n, v)| format!("{}=\"{v}\"", n.to_lowercase())).collect();
                let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
                let suffix = if entry.kind == Kind::Histogram { "_sum" } else { "" };
                let sample = format!("{}{suffix}{labels} ", entry.prometheus());
                let told =
                    page.lines().find_map(|line| line.strip_prefix(&sample)).unwrap_or_else(|| panic!("{sample}"));
                let told: f64 = told.parse().unwrap();
                assert!((told - datum.sum * entry.scale()).abs() < 1e-9, "{sample}: {told} and {}", datum.sum);
                compared += 1;
            }
        }
        assert!(compared > 15, "{compared}");
    }

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
