//! The metrics in Prometheus' text format 0.0.4: what was counted since the start, and how things stand now.
//!
//! A series whose labels can be known beforehand is told from the start, with 0, so that the first of its events shows in a rate.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::Series;
use super::metrics::{Entry, Kind, METRICS};
use super::states::State;
use crate::request::{Priority, Status};

/// Upper bounds in milliseconds: from what nobody notices to the longest that a request should wait.
const BOUNDS: [f64; 16] = [
    100.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    120_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
    7_200_000.0,
    21_600_000.0,
    86_400_000.0,
];

/// How many measurements were not above each bound.
#[derive(Clone, Debug, Default)]
pub(super) struct Buckets {
    within: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

impl Buckets {
    pub(super) fn observe(&mut self, value: f64) {
        for (within, bound) in self.within.iter_mut().zip(BOUNDS) {
            *within += u64::from(value <= bound);
        }
        self.count += 1;
        self.sum += value;
    }
}

/// The whole page.
pub(super) fn render(
    counted: &BTreeMap<Series, f64>,
    measured: &BTreeMap<Series, Buckets>,
    states: &[State],
) -> String {
    let states: BTreeMap<&Series, f64> = states.iter().map(|state| (&state.series, state.value)).collect();
    let told = counted.keys().chain(measured.keys()).chain(states.keys().copied());
    let lanes = told.flat_map(|(_, dimensions)| dimensions).filter(|(name, _)| *name == "Lane");
    let lanes: BTreeSet<&str> = lanes.map(|(_, lane)| lane.as_str()).collect();
    let mut page = String::new();
    for entry in METRICS.iter().filter(|entry| entry.is_exposed()) {
        let mut samples = String::new();
        for series in all_series(entry, &lanes) {
            let labels = labels(&series);
            match entry.kind {
                Kind::Counter => {
                    let value = counted.get(&series).copied().unwrap_or_default();
                    sample(&mut samples, &entry.prometheus(), &labels, value * entry.scale());
                }
                Kind::Gauge => {
                    if let Some(value) = states.get(&series) {
                        sample(&mut samples, &entry.prometheus(), &labels, value * entry.scale());
                    }
                }
                Kind::Histogram => {
                    let none = Buckets::default();
                    histogram(&mut samples, entry, &labels, measured.get(&series).unwrap_or(&none));
                }
            }
        }
        // A family without samples is left out whole.
        if !samples.is_empty() {
            let (name, about) = (entry.prometheus(), entry.about().replace('\\', "\\\\"));
            // Writing to a String does not fail.
            _ = write!(page, "# HELP {name} {about}\n# TYPE {name} {}\n{samples}", entry.kind.name());
        }
    }
    page
}

/// The series that an entry may have.
fn all_series(entry: &Entry, lanes: &BTreeSet<&str>) -> Vec<Series> {
    let Some(dimension) = entry.dimensions.first() else { return vec![(entry.name, Vec::new())] };
    let values: Vec<&str> = match *dimension {
        "Lane" => lanes.iter().copied().collect(),
        "Status" => Status::ALL.into_iter().filter(|s| s.is_terminal()).map(Status::as_str).collect(),
        _ => Priority::CLASSES.to_vec(),
    };
    values.into_iter().map(|value| (entry.name, vec![(*dimension, value.to_owned())])).collect()
}

fn labels(series: &Series) -> Vec<(String, String)> {
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    series.1.iter().map(|(name, value)| (name.to_lowercase(), escaped(value))).collect()
}

fn sample(lines: &mut String, name: &str, labels: &[(String, String)], value: f64) {
    lines.push_str(name);
    if !labels.is_empty() {
        let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        _ = write!(lines, "{{{}}}", pairs.join(","));
    }
    // Rust writes infinities and what is no number otherwise than Prometheus.
    let value = match value {
        v if v.is_nan() => "NaN".to_owned(),
        v if v.is_infinite() => if v > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        v => v.to_string(),
    };
    _ = writeln!(lines, " {value}");
}

fn histogram(lines: &mut String, entry: &Entry, labels: &[(String, String)], buckets: &Buckets) {
    let name = entry.prometheus();
    let bounds = BOUNDS.iter().map(|bound| (bound * entry.scale()).to_string());
    let counts = buckets.within.iter().copied().chain([buckets.count]);
    for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(counts) {
        let labels = [labels, &[("le".to_owned(), bound)]].concat();
        sample(lines, &format!("{name}_bucket"), &labels, count as f64);
    }
    sample(lines, &format!("{name}_sum"), labels, buckets.sum * entry.scale());
    sample(lines, &format!("{name}_count"), labels, buckets.count as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(page: &str, sample: &str) -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {sample} in\n{page}")).parse().unwrap()
    }

    #[test]
    fn what_can_be_known_beforehand_is_told_from_the_start() {
        let page = render(&BTreeMap::new(), &BTreeMap::new(), &[]);
        assert!(value(&page, "smoother_requests_finished_total{status=\"EXPIRED\"}").abs() < 1e-9);
        assert!(value(&page, "smoother_wait_seconds_bucket{priority=\"bulk\",le=\"+Inf\"}").abs() < 1e-9);
        assert!(value(&page, "smoother_port_errors_total").abs() < 1e-9);
        for unknown in ["smoother_backlog", "smoother_bedrock_calls_total", "smoother_oldest_wait_seconds"] {
            assert!(!page.contains(unknown), "{unknown} is not known yet, and so not told");
        }
    }

    #[test]
    fn a_histogram_is_cumulative_and_in_seconds() {
        let mut buckets = Buckets::default();
        for ms in [50.0, 100.0, 101.0, 1e9] {
            buckets.observe(ms);
        }
        let series = ("Wait", vec![("Priority", "low".to_owned())]);
        let page = render(&BTreeMap::new(), &BTreeMap::from([(series, buckets)]), &[]);
        for (le, count) in [("0.1", 2.0), ("0.5", 3.0), ("86400", 3.0), ("+Inf", 4.0)] {
            let told = value(&page, &format!("smoother_wait_seconds_bucket{{priority=\"low\",le=\"{le}\"}}"));
            assert!((told - count).abs() < 1e-9, "{le}: {told}");
        }
        assert!((value(&page, "smoother_wait_seconds_sum{priority=\"low\"}") - 1_000_000.251).abs() < 1e-6);
        assert!((value(&page, "smoother_wait_seconds_count{priority=\"low\"}") - 4.0).abs() < 1e-9);
    }

    #[test]
    fn a_lane_that_is_seen_has_all_counters_and_its_name_is_escaped() {
        let calls = ("BedrockCalls", vec![("Lane", "a\"b\\c\nd".to_owned())]);
        let page = render(&BTreeMap::from([(calls, 2.0)]), &BTreeMap::new(), &[]);
        let lane = "{lane=\"a\\\"b\\\\c\\nd\"}";
        assert!((value(&page, &format!("smoother_bedrock_calls_total{lane}")) - 2.0).abs() < 1e-9);
        assert!(value(&page, &format!("smoother_throttled_calls_total{lane}")).abs() < 1e-9);
        assert!(
            page.ends_with('\n') && page.lines().all(|line| line.starts_with("# ") || line.starts_with("smoother_"))
        );
    }
}
