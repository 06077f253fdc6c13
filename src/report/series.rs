//! The same figures over time, for charts.

use std::collections::{BTreeMap, HashMap};

use super::dimension::{Dimension, Value, Values};
use super::figures::{has_wait, is_answer, place};
use super::period::{Buckets, Period};
use super::quantiles::Quantiles;
use super::quota::Cell;
use crate::clock::Timestamp;
use crate::pipeline::spend::Usd;
use crate::ports::ReportRow;
use crate::request::Priority;

/// What ended in a bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// Requests by status, as in [`super::Figures::by_status`].
    pub statuses: [u64; 5],
    /// Calls, throttled ones included.
    pub calls: u64,
    /// Calls that were throttled.
    pub throttles: u64,
    /// Requests that succeeded by their deadline.
    pub deadlines_met: u64,
    /// Requests with a deadline that did not.
    pub deadlines_missed: u64,
    /// Of all but rejected requests.
    pub wait: Quantiles,
    /// Of the last calls.
    pub latency: Quantiles,
}

/// What calls that started in a bucket drew on a lane.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LanePoint {
    /// Tokens of quota.
    pub tokens: u64,
    /// Calls.
    pub calls: u64,
    /// Of the busiest minute.
    pub peak: [u64; 2],
    /// The quota by tokens and by requests a minute, the largest.
    pub limits: [Option<f64>; 2],
}

/// A lane over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LaneSeries {
    /// Its name.
    pub lane: String,
    /// By bucket.
    pub points: BTreeMap<usize, LanePoint>,
}

/// Costs by the values of a dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    values: Values,
    totals: HashMap<Value, Part>,
    over: HashMap<(Value, usize), Usd>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Part {
    cost: Usd,
    requests: u64,
    unpriced: u64,
}

/// A value of a split.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    /// What it is called; `None` for having none, or for all that are not told apart.
    pub name: Option<String>,
    /// Requests.
    pub requests: u64,
    /// Sum of the known costs.
    pub cost: Usd,
    /// Answers of unknown price.
    pub unpriced: u64,
    /// The known costs by bucket.
    pub over: BTreeMap<usize, Usd>,
}

/// Time series of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The time axis.
    pub buckets: Buckets,
    /// By bucket.
    pub points: Vec<Point>,
    /// Costs by tenant.
    pub tenants: Split,
    /// Costs by model.
    pub models: Split,
    /// Waits by [`Priority::CLASSES`].
    pub waits: [Quantiles; 5],
    errors: (Values, HashMap<Value, BTreeMap<usize, u64>>),
    latencies: HashMap<Value, Quantiles>,
    lanes: HashMap<Value, LaneSeries>,
}

impl Split {
    fn new(dimension: Dimension) -> Self {
        Self { values: Values::new(dimension), totals: HashMap::new(), over: HashMap::new() }
    }

    fn add(&mut self, row: &ReportRow, bucket: usize) -> Value {
        let value = self.values.of(row);
        let part = self.totals.entry(value).or_default();
        part.requests += 1;
        match row.cost_usd {
            Some(cost) => {
                part.cost += Usd::of(cost);
                *self.over.entry((value, bucket)).or_default() += Usd::of(cost);
            }
            None => part.unpriced += u64::from(is_answer(row)),
        }
        value
    }

    /// The dearest `most` of them, then one with what is left, if anything.
    #[must_use]
    pub fn dearest(&self, most: usize) -> Vec<Slice> {
        let mut all: Vec<(Option<String>, Value, Part)> =
            self.totals.iter().map(|(value, part)| (self.values.name(*value), *value, *part)).collect();
        all.sort_by(|(a, _, x), (b, _, y)| {
            y.cost.cmp(&x.cost).then_with(|| y.requests.cmp(&x.requests)).then_with(|| a.cmp(b))
        });
        let places: HashMap<Value, usize> =
            all.iter().enumerate().map(|(at, (_, value, _))| (*value, at.min(most))).collect();
        let mut slices: Vec<Slice> = Vec::new();
        for (at, (name, value, part)) in all.iter().enumerate() {
            if at <= most {
                let none = self.values.dimension().none();
                let name = if *value == super::dimension::NONE { Some(none.to_owned()) } else { name.clone() };
                slices.push(Slice { name, requests: 0, cost: Usd::default(), unpriced: 0, over: BTreeMap::new() });
            }
            if let Some(slice) = slices.last_mut() {
                slice.requests += part.requests;
                slice.cost += part.cost;
                slice.unpriced += part.unpriced;
                if at > most {
                    slice.name = None;
                }
            }
        }
        for ((value, bucket), cost) in &self.over {
            if let Some(slice) = places.get(value).and_then(|at| slices.get_mut(*at)) {
                *slice.over.entry(*bucket).or_default() += *cost;
            }
        }
        slices
    }
}

impl Series {
    /// Of nothing yet.
    pub(super) fn new(period: Period) -> Self {
        let buckets = Buckets::of(period);
        Self {
            buckets,
            points: vec![Point::default(); buckets.count()],
            tenants: Split::new(Dimension::Tenant),
            models: Split::new(Dimension::Model),
            waits: Default::default(),
            errors: (Values::new(Dimension::Error), HashMap::new()),
            latencies: HashMap::new(),
            lanes: HashMap::new(),
        }
    }

    /// Takes a row in.
    pub(super) fn add(&mut self, row: &ReportRow) {
        let Some(bucket) = self.buckets.index(row.finished_at) else { return };
        let model = self.models.add(row, bucket);
        self.tenants.add(row, bucket);
        if row.error_type.is_some() {
            let error = self.errors.0.of(row);
            *self.errors.1.entry(error).or_default().entry(bucket).or_default() += 1;
        }
        if has_wait(row) {
            let class = Priority::CLASSES.iter().position(|class| *class == row.priority_class);
            if let Some(waits) = class.and_then(|at| self.waits.get_mut(at)) {
                waits.add(row.wait_ms);
            }
        }
        if let Some(latency) = row.latency_ms {
            self.latencies.entry(model).or_default().add(latency);
        }
        let Some(point) = self.points.get_mut(bucket) else { return };
        if let Some(status) = place(row.status) {
            point.statuses[status] += 1;
        }
        point.calls += u64::from(row.attempts) + u64::from(row.throttles);
        point.throttles += u64::from(row.throttles);
        point.deadlines_met += u64::from(row.deadline_met == Some(true));
        point.deadlines_missed += u64::from(row.deadline_met == Some(false));
        if has_wait(row) {
            point.wait.add(row.wait_ms);
        }
        if let Some(latency) = row.latency_ms {
            point.latency.add(latency);
        }
    }

    /// Takes in what was used of a lane in a minute.
    pub(super) fn close(&mut self, lane: Value, lanes: &Values, minute: Timestamp, cell: &Cell) {
        // The period may begin within a minute.
        let since = self.buckets.period().since;
        let at = if minute.0 + 60_000 > since.0 { minute.max(since) } else { minute };
        let Some(bucket) = self.buckets.index(at) else { return };
        let name = || LaneSeries { lane: lanes.name(lane).unwrap_or_default(), points: BTreeMap::new() };
        let point = self.lanes.entry(lane).or_insert_with(name).points.entry(bucket).or_default();
        point.tokens += cell.tokens;
        point.calls += cell.calls;
        for (at, used) in [cell.tokens, cell.calls].into_iter().enumerate() {
            point.peak[at] = point.peak[at].max(used);
        }
        for (limit, new) in point.limits.iter_mut().zip([cell.tokens_limit, cell.requests_limit]) {
            *limit = match (*limit, new) {
                (Some(old), Some(new)) => Some(old.max(new)),
                (old, new) => old.or(new),
            };
        }
    }

    /// Lanes, that with the most tokens of quota first.
    #[must_use]
    pub fn lanes(&self) -> Vec<&LaneSeries> {
        let mut lanes: Vec<&LaneSeries> = self.lanes.values().collect();
        let weight = |lane: &LaneSeries| {
            lane.points.values().fold((0, 0), |(tokens, calls), point| (tokens + point.tokens, calls + point.calls))
        };
        lanes.sort_by(|a, b| weight(b).cmp(&weight(a)).then_with(|| a.lane.cmp(&b.lane)));
        lanes
    }

    /// Latencies by model, that with the most calls first.
    #[must_use]
    pub fn latencies(&self) -> Vec<(String, &Quantiles)> {
        let name = |value: &Value| self.models.values.name(*value).unwrap_or_else(|| "(others)".to_owned());
        let mut all: Vec<(String, &Quantiles)> =
            self.latencies.iter().map(|(value, latency)| (name(value), latency)).collect();
        all.sort_by(|(a, x), (b, y)| y.count().cmp(&x.count()).then_with(|| a.cmp(b)));
        all
    }

    /// Errors by bucket, the most frequent first; those beyond `most` as `(others)`.
    #[must_use]
    pub fn errors(&self, most: usize) -> Vec<(String, BTreeMap<usize, u64>)> {
        let (values, counts) = &self.errors;
        let name = |value: &Value| values.name(*value).unwrap_or_else(|| "(others)".to_owned());
        let mut all: Vec<(u64, String, BTreeMap<usize, u64>)> =
            counts.iter().map(|(value, over)| (over.values().sum(), name(value), over.clone())).collect();
        all.sort_by(|(x, a, _), (y, b, _)| y.cmp(x).then_with(|| a.cmp(b)));
        let mut told: Vec<(String, BTreeMap<usize, u64>)> = Vec::new();
        for (at, (_, name, over)) in all.into_iter().enumerate() {
            match told.last_mut().filter(|_| at > most) {
                None => told.push((name, over)),
                Some(rest) => {
                    "(others)".clone_into(&mut rest.0);
                    for (bucket, n) in over {
                        *rest.1.entry(bucket).or_default() += n;
                    }
                }
            }
        }
        told
    }
}
