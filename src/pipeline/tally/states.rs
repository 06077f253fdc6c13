//! How things stand: what a worker knows of itself and its lanes, and what the planner knows of the whole fleet.

use super::Series;
use super::metrics::{self, Metric};
use crate::pipeline::pace::LaneSnapshot;
use crate::pipeline::plan::Reading;
use crate::ports::Unit;
use crate::request::Priority;

/// How things stand with a worker at a moment.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Its lanes.
    pub lanes: Vec<LaneSnapshot>,
    /// How the fleet's work stands, while it plans.
    pub reading: Option<Reading>,
}

/// The value of a gauge.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    pub series: Series,
    pub unit: Unit,
    pub value: f64,
}

/// A metric with these values of its dimensions.
pub(super) fn series<const N: usize>(metric: Metric<N>, values: [&str; N]) -> Series {
    (metric.name, metric.dimensions.into_iter().zip(values.map(str::to_owned)).collect())
}

fn state<const N: usize>(metric: Metric<N>, values: [&str; N], value: f64) -> State {
    State { series: series(metric, values), unit: metric.unit, value }
}

impl Standing {
    pub(super) fn states(&self) -> Vec<State> {
        let mut states = vec![state(metrics::WORKERS_ALIVE, [], 1.0)];
        states.extend(self.lanes.iter().flat_map(of_lane));
        states.extend(self.reading.iter().flat_map(of_fleet));
        states
    }
}

/// Quota use is a share of the fleet's whole quota, so that the sum over the workers is the fleet's use.
fn of_lane(lane: &LaneSnapshot) -> Vec<State> {
    let share = |used: f64, quota: Option<f64>| quota.filter(|q| *q > 0.0).map(|quota| 100.0 * used / quota);
    let known: [(Metric<1>, Option<f64>); 10] = [
        (metrics::TOKEN_QUOTA_USE, share(lane.tokens_last_minute, lane.tokens_per_minute)),
        (metrics::REQUEST_QUOTA_USE, share(lane.requests_last_minute as f64, lane.requests_per_minute)),
        (metrics::QUOTA_SHARE, Some(100.0 * lane.share)),
        (metrics::CALLS_IN_FLIGHT, Some(f64::from(lane.in_flight))),
        (metrics::RESERVED_TOKENS, Some(lane.reserved_tokens)),
        (metrics::ADAPTIVE_FACTOR, Some(lane.factor)),
        (metrics::OTHER_TRAFFIC, lane.background.map(|share| 100.0 * share)),
        (metrics::INPUT_RATIO, Some(lane.input_ratio)),
        (metrics::TYPICAL_OUTPUT_TOKENS, lane.typical_output),
        (metrics::RESERVED_PER_USED, lane.reserved_per_used),
    ];
    known.into_iter().filter_map(|(metric, value)| Some(state(metric, [&lane.lane], value?))).collect()
}

fn of_fleet(reading: &Reading) -> Vec<State> {
    let mut states = vec![
        state(metrics::OLDEST_WAIT, [], reading.oldest_wait.as_millis() as f64),
        state(metrics::BUDGETS_USED_UP, [], reading.budgets_used_up as f64),
    ];
    if let Some(backlog) = &reading.backlog {
        for class in Priority::CLASSES {
            let rows = backlog.iter().filter(|(priority, _)| priority.class() == class).map(|(_, rows)| rows);
            states.push(state(metrics::BACKLOG_OF_PRIORITY, [class], rows.sum::<u64>() as f64));
        }
        states.push(state(metrics::BACKLOG, [], backlog.values().sum::<u64>() as f64));
    }
    states
}
