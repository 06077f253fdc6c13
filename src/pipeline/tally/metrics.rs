//! Every metric that there is, once: name, unit, dimensions and meaning. [`Tally`](super::Tally) can count nothing else, and
//! `smoother schema` and `docs/metrics.md` come from here.

use std::fmt::Write as _;

use serde::Serialize;

use crate::ports::Unit;

/// A metric with so many dimensions; only the table below makes any.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric<const N: usize> {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) kind: Kind,
    pub(super) dimensions: [&'static str; N],
}

/// What a metric's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Things that happened, or what they used: over a minute on CloudWatch, since the start on Prometheus.
    Counter,
    /// How something stands: once a minute on CloudWatch, at the moment of asking on Prometheus.
    Gauge,
    /// Single measurements: a statistic set of a minute's on CloudWatch, in buckets since the start on Prometheus.
    Histogram,
}

/// A line of the table: a metric of one name with one set of dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its name on CloudWatch.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// What its values are.
    pub kind: Kind,
    /// The names of its dimensions; none for the sum over all.
    pub dimensions: &'static [&'static str],
    /// Who counts it.
    #[serde(skip)]
    by: Whose,
    #[serde(skip)]
    doc: &'static [&'static str],
}

/// Who counts a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// Every worker counts what it does itself: the sum over the workers is the fleet's.
    Worker,
    /// The worker that plans tells how the fleet's work stands.
    Planner,
}

macro_rules! metrics {
    ($( $(#[doc = $doc:literal])+ $id:ident = $name:literal [$($dimension:literal),*] $unit:ident $kind:ident by $whose:ident; )+) => {
        $(
            $(#[doc = $doc])+
            pub(super) const $id: Metric<{ <[&str]>::len(&[$($dimension),*]) }> =
                Metric { name: $name, unit: Unit::$unit, kind: Kind::$kind, dimensions: [$($dimension),*] };
        )+

        /// All of them.
        pub const METRICS: &[Entry] = &[
            $( Entry {
                name: $name,
                unit: Unit::$unit,
                kind: Kind::$kind,
                dimensions: &[$($dimension),*],
                by: Whose::$whose,
                doc: &[$($doc),+],
            }, )+
        ];
    };
}

metrics! {
    /// Workers: one each.
    WORKERS_ALIVE = "WorkersAlive" [] Count Gauge by Worker;
    /// Requests in line: those that are put off, in the hold queue or being called are not counted.
    BACKLOG = "Backlog" [] Count Gauge by Planner;
    /// The same by priority class: `urgent`, `high`, `normal`, `low` or `bulk`.
    BACKLOG_OF_PRIORITY = "Backlog" ["Priority"] Count Gauge by Planner;
    /// How long the oldest request has waited that is in line and not paused, as far as the planner looks ahead: some hundred
    /// requests of each line. 0 when there is none.
    OLDEST_WAIT = "OldestWait" [] Milliseconds Gauge by Planner;
    /// Budgets that are spent, or had no room for a request that came up. 0 when there are none.
    BUDGETS_USED_UP = "BudgetsUsedUp" [] Count Gauge by Planner;
    /// Requests that ended as `EXPIRED`, or were answered or failed after their deadline.
    MISSED_DEADLINES = "MissedDeadlines" [] Count Counter by Worker;

    /// Requests taken into the backlog.
    REQUESTS_ADMITTED = "RequestsAdmitted" [] Count Counter by Worker;
    /// Requests that reached their end, whatever it is. 0 when there were none.
    REQUESTS_FINISHED = "RequestsFinished" [] Count Counter by Worker;
    /// The same by final status: `SUCCEEDED`, `FAILED`, `EXPIRED`, …
    REQUESTS_FINISHED_OF_STATUS = "RequestsFinished" ["Status"] Count Counter by Worker;
    /// How long requests that were called had waited, from received to the last call's start; by priority class.
    WAIT = "Wait" ["Priority"] Milliseconds Histogram by Worker;
    /// Dollars that finished requests cost, where the price is known.
    COST_USD = "CostUsd" [] None Counter by Worker;
    /// The same by lane.
    COST_USD_OF_LANE = "CostUsd" ["Lane"] None Counter by Worker;
    /// Calls of queues, tables, stores and topics that failed and are repeated. Some are normal; many in a row are not.
    PORT_ERRORS = "PortErrors" [] Count Counter by Worker;

    /// Spans of traces that were dropped, because the collector was out of reach or too slow.
    SPANS_DROPPED = "SpansDropped" [] Count Counter by Worker;

    /// Calls of Bedrock that ended, throttled and failed ones included.
    BEDROCK_CALLS = "BedrockCalls" [] Count Counter by Worker;
    /// The same by lane.
    BEDROCK_CALLS_OF_LANE = "BedrockCalls" ["Lane"] Count Counter by Worker;
    /// Calls that Bedrock throttled; they are repeated and use up no attempt.
    THROTTLED_CALLS = "ThrottledCalls" [] Count Counter by Worker;
    /// The same by lane.
    THROTTLED_CALLS_OF_LANE = "ThrottledCalls" ["Lane"] Count Counter by Worker;
    /// Calls that failed otherwise.
    FAILED_CALLS = "FailedCalls" [] Count Counter by Worker;
    /// The same by lane.
    FAILED_CALLS_OF_LANE = "FailedCalls" ["Lane"] Count Counter by Worker;
    /// Tokens of quota that finished calls used.
    SETTLED_TOKENS = "SettledTokens" ["Lane"] Count Counter by Worker;

    /// Tokens of quota used in the last minute, as a share of the fleet's quota: the sum over the workers is the fleet's use.
    TOKEN_QUOTA_USE = "TokenQuotaUse" ["Lane"] Percent Gauge by Worker;
    /// Requests started in the last minute, as a share of the fleet's quota; summed up the same.
    REQUEST_QUOTA_USE = "RequestQuotaUse" ["Lane"] Percent Gauge by Worker;
    /// The part of the lane's quota that the worker has.
    QUOTA_SHARE = "QuotaShare" ["Lane"] Percent Gauge by Worker;
    /// Calls in flight.
    CALLS_IN_FLIGHT = "CallsInFlight" ["Lane"] Count Gauge by Worker;
    /// Tokens of quota reserved by calls in flight.
    RESERVED_TOKENS = "ReservedTokens" ["Lane"] Count Gauge by Worker;
    /// What throttles taught of the quota: 1 is all of it.
    ADAPTIVE_FACTOR = "AdaptiveFactor" ["Lane"] None Gauge by Worker;
    /// The part of the quota that others on the account use; only with `usage_feed`.
    OTHER_TRAFFIC = "OtherTraffic" ["Lane"] Percent Gauge by Worker;
    /// Input tokens that Bedrock counts for each that was estimated.
    INPUT_RATIO = "InputRatio" ["Lane"] None Gauge by Worker;
    /// Tokens of a typical answer.
    TYPICAL_OUTPUT_TOKENS = "TypicalOutputTokens" ["Lane"] Count Gauge by Worker;
    /// Tokens of quota reserved for each that was used.
    RESERVED_PER_USED = "ReservedPerUsed" ["Lane"] None Gauge by Worker;
}

impl Kind {
    /// As Prometheus calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Entry {
    /// Its name on Prometheus, which follows from the one on CloudWatch: snake case, the base unit, `_total` for counters.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let mut name = String::from("smoother");
        for c in self.name.chars() {
            if c.is_ascii_uppercase() {
                name.push('_');
            }
            name.push(c.to_ascii_lowercase());
        }
        name.push_str(match self.unit {
            Unit::Milliseconds => "_seconds",
            Unit::Percent => "_ratio",
            Unit::Count | Unit::None => "",
        });
        if self.kind == Kind::Counter {
            name.push_str("_total");
        }
        name
    }

    /// How much of Prometheus' unit one of CloudWatch's is.
    #[must_use]
    pub fn scale(&self) -> f64 {
        match self.unit {
            Unit::Milliseconds => 1e-3,
            Unit::Percent => 1e-2,
            Unit::Count | Unit::None => 1.0,
        }
    }

    /// Whether Prometheus is told it: of several entries of one name the one with the most dimensions, since the sum over all
    /// is a question there, and would count twice as a series.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        METRICS.iter().filter(|e| e.name == self.name).all(|e| e.dimensions.len() <= self.dimensions.len())
    }

    /// Its doc comment as one line.
    #[must_use]
    pub fn about(&self) -> String {
        self.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }
}

/// `docs/metrics.md`, generated from the table.
#[must_use]
pub fn document() -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str("| CloudWatch | dimensions | unit | Prometheus | kind | counted by | what it is |\n|---|---|---|---|---|---|---|\n");
    for entry in METRICS {
        let Entry { name, unit, kind, dimensions, by, .. } = entry;
        let dimensions = if dimensions.is_empty() { "none".to_owned() } else { dimensions.join(", ") };
        let exposed = if entry.is_exposed() {
            let labels: Vec<String> = entry.dimensions.iter().map(|d| d.to_lowercase()).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            format!("`{}{labels}`", entry.prometheus())
        } else {
            "the sum of the next".to_owned()
        };
        let by = match by {
            Whose::Worker => "every worker",
            Whose::Planner => "the planner",
        };
        let (unit, kind, meaning) = (unit.name(), kind.name(), entry.about());
        // Writing to a String does not fail.
        _ = writeln!(page, "| `{name}` | {dimensions} | {unit} | {exposed} | {kind} | {by} | {meaning} |");
    }
    page.push_str(QUESTIONS);
    page
}

const INTRODUCTION: &str =
    "<!-- Generated from src/pipeline/tally/metrics.rs. After a change there: UPDATE_DOCS=1 cargo test --lib metrics -->
# Metrics

The same numbers go two ways: delivered to CloudWatch once a minute, and told to Prometheus whenever it asks. With `--local DIR`
the table `metrics` of `smoother.db` in that directory takes the place of CloudWatch. `smoother schema` prints the list as JSON.

What every worker counts is the fleet's when summed up. What the planner tells is a state of the whole fleet, told by the one
worker that plans: take the maximum. While nobody plans, for some seconds after a planner was lost, nobody tells it.

`Backlog` may be a minute old, and older the larger it is, since counting costs reads on AWS: between two counts lie a minute and a
second for every 500 requests that were counted (some 34 minutes at a million), so that counting reads no more than 500 requests a
second over time. In between the last count is repeated as it is; once the lines are empty it is counted anew.

## On CloudWatch

Namespace `Smoother` (setting `metrics_namespace`). Each metric is one statistic set a minute (sum, least, greatest, number of
samples), never one a request; up to 1,000 of them and 1 MB go in a call. What did not happen in a minute is not delivered;
`WorkersAlive`, `RequestsFinished` in all and what the planner tells come every minute.

A minute that CloudWatch did not take is delivered with the next one that it takes, under its own time. At most 20,000 sets are kept
(hours with a dozen lanes), the oldest go first, and those of a worker that ends are tried once more. Nothing is counted twice: when
a call broke off and nobody can know whether it was taken, its sets are not sent again. The log tells how many are kept and how many
were lost.

## On Prometheus

`GET /metrics` where `/live` and `/ready` are (setting `health_listen`), in the text format 0.0.4. Every worker tells its own, since
its start. Names follow from those on CloudWatch: snake case after `smoother_`, base units (`_seconds` for milliseconds, `_ratio` from
0 to 1 for percent), `_total` for counters. `Wait` is a histogram, so that quantiles can be had of it.

```yaml
scrape_configs:
  - job_name: smoother
    scrape_interval: 30s
    static_configs:
      - targets: [\"worker-1:8080\", \"worker-2:8080\"]
```

Nobody is asked who they are at `/metrics`: let only the scraper reach the port. In the deployments of `terraform/` and `cdk/` workers
listen on `127.0.0.1:8080` and take no connections from elsewhere; CloudWatch has their metrics.

The only labels are `lane`, `status` and `priority`, and all three are bounded: five final statuses, five classes of priority, and lanes
of models that the built-in catalogue or `[models]` knows; a request for any other is rejected before it has a lane. No request, no
tenant and no text of a message is ever a label.

## All of them

";

const QUESTIONS: &str = r#"
## Questions in PromQL

```promql
# Requests a second that end, by status; and the share of those that failed
sum by (status) (rate(smoother_requests_finished_total[5m]))
sum(rate(smoother_requests_finished_total{status="FAILED"}[5m])) / sum(rate(smoother_requests_finished_total[5m]))

# 95 of 100 urgent requests waited less than this, in seconds
histogram_quantile(0.95, sum by (le) (rate(smoother_wait_seconds_bucket{priority="urgent"}[5m])))

# The fleet's use of each lane's tokens a minute, from 0 to 1
sum by (lane) (smoother_token_quota_use_ratio)

# Throttled calls in spite of pacing, a minute
sum by (lane) (rate(smoother_throttled_calls_total[5m])) * 60

# Dollars an hour
sum(rate(smoother_cost_usd_total[15m])) * 3600

# In line, and how many hours that is at the pace of the last quarter of an hour
sum(max by (priority) (smoother_backlog))
sum(max by (priority) (smoother_backlog)) / sum(rate(smoother_requests_finished_total[15m])) / 3600

# Nobody works, or nobody plans
absent(smoother_workers_alive)
absent(smoother_oldest_wait_seconds)
```
"#;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_metric_is_there_twice() {
        let distinct: BTreeSet<_> = METRICS.iter().map(|entry| (entry.name, entry.dimensions)).collect();
        assert_eq!(distinct.len(), METRICS.len());
        for entry in METRICS {
            let units: Vec<_> = METRICS.iter().filter(|other| other.name == entry.name).map(|e| e.unit).collect();
            assert!(units.iter().all(|unit| *unit == entry.unit), "{} has two units", entry.name);
        }
    }

    #[test]
    fn names_on_prometheus_follow_from_those_on_cloudwatch() {
        let name = |name: &str| METRICS.iter().find(|e| e.name == name && e.is_exposed()).unwrap().prometheus();
        for (cloudwatch, prometheus) in [
            ("RequestsFinished", "smoother_requests_finished_total"),
            ("CostUsd", "smoother_cost_usd_total"),
            ("Wait", "smoother_wait_seconds"),
            ("TokenQuotaUse", "smoother_token_quota_use_ratio"),
            ("WorkersAlive", "smoother_workers_alive"),
        ] {
            assert_eq!(name(cloudwatch), prometheus);
        }
        let exposed: Vec<String> = METRICS.iter().filter(|e| e.is_exposed()).map(Entry::prometheus).collect();
        assert_eq!(exposed.iter().collect::<BTreeSet<_>>().len(), exposed.len(), "each name once: {exposed:?}");
    }

    #[test]
    fn only_dimensions_that_are_bounded_are_used() {
        for entry in METRICS {
            assert!(entry.dimensions.iter().all(|d| ["Lane", "Status", "Priority"].contains(d)), "{}", entry.name);
            assert!(entry.dimensions.len() <= 1, "{}: series multiply", entry.name);
        }
    }

    #[test]
    fn the_page_of_all_metrics_is_up_to_date() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, document()).unwrap();
        }
        let page = std::fs::read_to_string(&path).unwrap();
        assert!(
            page == document(),
            "docs/metrics.md is not what the table says: UPDATE_DOCS=1 cargo test --lib metrics"
        );
    }
}
