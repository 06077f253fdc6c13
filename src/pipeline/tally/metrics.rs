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
    pub(super) dimensions: [&'static str; N],
}

/// A line of the table: a metric of one name with one set of dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its name on CloudWatch.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
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
    ($( $(#[doc = $doc:literal])+ $id:ident = $name:literal [$($dimension:literal),*] $unit:ident by $whose:ident; )+) => {
        $(
            $(#[doc = $doc])+
            pub(super) const $id: Metric<{ <[&str]>::len(&[$($dimension),*]) }> =
                Metric { name: $name, unit: Unit::$unit, dimensions: [$($dimension),*] };
        )+

        /// All of them.
        pub const METRICS: &[Entry] = &[
            $( Entry {
                name: $name,
                unit: Unit::$unit,
                dimensions: &[$($dimension),*],
                by: Whose::$whose,
                doc: &[$($doc),+],
            }, )+
        ];
    };
}

metrics! {
    /// Workers: one each.
    WORKERS_ALIVE = "WorkersAlive" [] Count by Worker;
    /// Requests in line: those that are put off, in the hold queue or being called are not counted.
    BACKLOG = "Backlog" [] Count by Planner;
    /// The same by priority class: `urgent`, `high`, `normal`, `low` or `bulk`.
    BACKLOG_OF_PRIORITY = "Backlog" ["Priority"] Count by Planner;
    /// How long the oldest request has waited that is in line and not paused, as far as the planner looks ahead: some hundred
    /// requests of each line. 0 when there is none.
    OLDEST_WAIT = "OldestWait" [] Milliseconds by Planner;
    /// Budgets that are spent, or had no room for a request that came up. 0 when there are none.
    BUDGETS_USED_UP = "BudgetsUsedUp" [] Count by Planner;
    /// Requests that ended as `EXPIRED`, or were answered or failed after their deadline.
    MISSED_DEADLINES = "MissedDeadlines" [] Count by Worker;

    /// Requests taken into the backlog.
    REQUESTS_ADMITTED = "RequestsAdmitted" [] Count by Worker;
    /// Requests that reached their end, whatever it is. 0 when there were none.
    REQUESTS_FINISHED = "RequestsFinished" [] Count by Worker;
    /// The same by final status: `SUCCEEDED`, `FAILED`, `EXPIRED`, …
    REQUESTS_FINISHED_OF_STATUS = "RequestsFinished" ["Status"] Count by Worker;
    /// How long requests that were called had waited, from received to the last call's start; by priority class.
    WAIT = "Wait" ["Priority"] Milliseconds by Worker;
    /// Dollars that finished requests cost, where the price is known.
    COST_USD = "CostUsd" [] None by Worker;
    /// The same by lane.
    COST_USD_OF_LANE = "CostUsd" ["Lane"] None by Worker;
    /// Calls of queues, tables, stores and topics that failed and are repeated. Some are normal; many in a row are not.
    PORT_ERRORS = "PortErrors" [] Count by Worker;

    /// Calls of Bedrock that ended, throttled and failed ones included.
    BEDROCK_CALLS = "BedrockCalls" [] Count by Worker;
    /// The same by lane.
    BEDROCK_CALLS_OF_LANE = "BedrockCalls" ["Lane"] Count by Worker;
    /// Calls that Bedrock throttled; they are repeated and use up no attempt.
    THROTTLED_CALLS = "ThrottledCalls" [] Count by Worker;
    /// The same by lane.
    THROTTLED_CALLS_OF_LANE = "ThrottledCalls" ["Lane"] Count by Worker;
    /// Calls that failed otherwise.
    FAILED_CALLS = "FailedCalls" [] Count by Worker;
    /// The same by lane.
    FAILED_CALLS_OF_LANE = "FailedCalls" ["Lane"] Count by Worker;
    /// Tokens of quota that finished calls used.
    SETTLED_TOKENS = "SettledTokens" ["Lane"] Count by Worker;

    /// Tokens of quota used in the last minute, as a share of the fleet's quota: the sum over the workers is the fleet's use.
    TOKEN_QUOTA_USE = "TokenQuotaUse" ["Lane"] Percent by Worker;
    /// Requests started in the last minute, as a share of the fleet's quota; summed up the same.
    REQUEST_QUOTA_USE = "RequestQuotaUse" ["Lane"] Percent by Worker;
    /// The part of the lane's quota that the worker has.
    QUOTA_SHARE = "QuotaShare" ["Lane"] Percent by Worker;
    /// Calls in flight.
    CALLS_IN_FLIGHT = "CallsInFlight" ["Lane"] Count by Worker;
    /// Tokens of quota reserved by calls in flight.
    RESERVED_TOKENS = "ReservedTokens" ["Lane"] Count by Worker;
    /// What throttles taught of the quota: 1 is all of it.
    ADAPTIVE_FACTOR = "AdaptiveFactor" ["Lane"] None by Worker;
    /// The part of the quota that others on the account use; only with `usage_feed`.
    OTHER_TRAFFIC = "OtherTraffic" ["Lane"] Percent by Worker;
    /// Input tokens that Bedrock counts for each that was estimated.
    INPUT_RATIO = "InputRatio" ["Lane"] None by Worker;
    /// Tokens of a typical answer.
    TYPICAL_OUTPUT_TOKENS = "TypicalOutputTokens" ["Lane"] Count by Worker;
    /// Tokens of quota reserved for each that was used.
    RESERVED_PER_USED = "ReservedPerUsed" ["Lane"] None by Worker;
}

/// `docs/metrics.md`, generated from the table.
#[must_use]
pub fn document() -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str("| metric | dimensions | unit | counted by | what it is |\n|---|---|---|---|---|\n");
    for Entry { name, unit, dimensions, by, doc } in METRICS {
        let dimensions = if dimensions.is_empty() { "none".to_owned() } else { dimensions.join(", ") };
        let meaning = doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
        let by = match by {
            Whose::Worker => "every worker",
            Whose::Planner => "the planner",
        };
        // Writing to a String does not fail.
        _ = writeln!(page, "| `{name}` | {dimensions} | {} | {by} | {meaning} |", unit.name());
    }
    page
}

const INTRODUCTION: &str =
    "<!-- Generated from src/pipeline/tally/metrics.rs. After a change there: UPDATE_DOCS=1 cargo test --lib metrics -->
# Metrics

The worker delivers these to CloudWatch, namespace `Smoother` (setting `metrics_namespace`), once a minute, each as one
statistic set (sum, least, greatest, number of samples); with `--local DIR` they go to the table `metrics` of `smoother.db` in
that directory. What did not happen in a minute is not delivered; `WorkersAlive`, `RequestsFinished` in all and what the
planner tells come every minute. `smoother schema` prints the list as JSON.

What every worker counts is the fleet's when summed up (`Sum`). What the planner tells is a state, told once a minute: take
`Maximum`. While nobody plans, for some seconds after a planner was lost, nobody tells it, and a minute may lack it.

`Backlog` may be a minute old, and older the larger it is, since counting costs reads on AWS: between two counts lie a minute and a
second for every 500 requests that were counted (some 34 minutes at a million), so that counting reads no more than 500 requests a
second over time. In between the last count is repeated as it is; once the lines are empty it is counted anew.

";

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
