//! What a report tells of a group.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::dimension::{Value, Values};
use super::quantiles::Quantiles;
use super::quota::{LaneUse, Use};
use crate::pipeline::spend::Usd;
use crate::ports::ReportRow;
use crate::request::Status;

/// Errors that are told apart in a group.
const MOST_ERRORS: usize = 50;
/// The rest of them.
const OTHER_ERRORS: &str = "(others)";

/// An error and how often it ended a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorCount {
    /// Its stable name.
    pub error_type: String,
    /// Requests that ended with it.
    pub requests: u64,
}

/// The figures of a group. What is not known or does not apply is null, never zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Finished requests.
    pub requests: u64,
    /// By how they ended.
    pub succeeded: u64,
    /// Likewise.
    pub failed: u64,
    /// Likewise.
    pub rejected: u64,
    /// Likewise.
    pub cancelled: u64,
    /// Likewise.
    pub expired: u64,
    /// Share that failed, was rejected or expired; what was cancelled counts on neither side.
    pub error_rate: Option<f64>,
    /// Errors, the most frequent first.
    pub errors: Vec<ErrorCount>,
    /// Sum of the known costs. With `unpriced` it is a lower bound; null when no answer has a known price.
    pub cost_usd: Option<f64>,
    /// Answers of unknown price, which are not in the sum.
    pub unpriced: u64,
    /// Fresh input tokens. Null, as the next three, when there were answers and none told its usage.
    pub input_tokens: Option<u64>,
    /// Generated tokens.
    pub output_tokens: Option<u64>,
    /// Input tokens read from the prompt cache.
    pub cache_read_tokens: Option<u64>,
    /// Input tokens written to the prompt cache.
    pub cache_write_tokens: Option<u64>,
    /// From received to the start of the last call (or to the end without a call), of all but rejected requests.
    pub wait_ms: Option<Quantiles>,
    /// Of the last calls.
    pub latency_ms: Option<Quantiles>,
    /// Calls started, throttled ones included.
    pub calls: u64,
    /// Calls that Bedrock throttled.
    pub throttles: u64,
    /// Share of calls that were throttled.
    pub throttled_share: Option<f64>,
    /// Requests that had a deadline.
    pub deadlines: u64,
    /// Those that succeeded by then.
    pub deadlines_met: u64,
    /// Their share.
    pub deadline_hit_rate: Option<f64>,
    /// Requests that got another model than they asked for.
    pub switched: u64,
    /// Those of them that got a cheaper one to keep a budget.
    pub downgraded: u64,
    /// How much of its busiest lane's quota the group used by itself; null without calls.
    pub quota: Option<LaneUse>,
}

impl Figures {
    /// The counts by status, in the order of their fields.
    #[must_use]
    pub fn by_status(&self) -> [(Status, u64); 5] {
        [
            (Status::Succeeded, self.succeeded),
            (Status::Failed, self.failed),
            (Status::Rejected, self.rejected),
            (Status::Cancelled, self.cancelled),
            (Status::Expired, self.expired),
        ]
    }

    /// Those that failed, were rejected or expired.
    #[must_use]
    pub fn bad(&self) -> u64 {
        self.failed + self.rejected + self.expired
    }
}

/// Sums over rows.
#[derive(Clone, Default)]
pub(super) struct Sums {
    pub(super) requests: u64,
    statuses: [u64; 5],
    errors: BTreeMap<Box<str>, u64>,
    pub(super) cost: Usd,
    priced: u64,
    unpriced: u64,
    metered: u64,
    tokens: [u64; 4],
    wait: Quantiles,
    latency: Quantiles,
    calls: u64,
    throttles: u64,
    deadlines: u64,
    deadlines_met: u64,
    switched: u64,
    downgraded: u64,
    pub(super) uses: HashMap<Value, Use>,
    /// Set when groups were merged, whose minutes cannot be told any more.
    merged: bool,
}

/// Where a final status is counted; `None` of others.
pub(super) fn place(status: Status) -> Option<usize> {
    Status::ALL.iter().filter(|status| status.is_terminal()).position(|one| *one == status)
}

/// Whether Bedrock answered, so that it costs something.
pub(super) fn is_answer(row: &ReportRow) -> bool {
    row.status == Status::Succeeded || row.input_tokens.is_some()
}

/// Whether its wait says something: what was rejected was never in line.
pub(super) fn has_wait(row: &ReportRow) -> bool {
    row.status != Status::Rejected
}

impl Sums {
    pub(super) fn add(&mut self, row: &ReportRow) {
        self.requests += 1;
        if let Some(place) = place(row.status) {
            self.statuses[place] += 1;
        }
        if let Some(error) = &row.error_type {
            add_error(&mut self.errors, error, 1);
        }
        match row.cost_usd {
            Some(cost) => {
                self.cost += Usd::of(cost);
                self.priced += 1;
            }
            None if is_answer(row) => self.unpriced += 1,
            None => {}
        }
        let tokens = [row.input_tokens, row.output_tokens, row.cache_read_tokens, row.cache_write_tokens];
        self.metered += u64::from(tokens.iter().any(Option::is_some));
        for (sum, tokens) in self.tokens.iter_mut().zip(tokens) {
            *sum = sum.saturating_add(tokens.unwrap_or(0));
        }
        if has_wait(row) {
            self.wait.add(row.wait_ms);
        }
        if let Some(latency) = row.latency_ms {
            self.latency.add(latency);
        }
        self.calls += u64::from(row.attempts) + u64::from(row.throttles);
        self.throttles += u64::from(row.throttles);
        self.deadlines += u64::from(row.deadline_met.is_some());
        self.deadlines_met += u64::from(row.deadline_met == Some(true));
        self.switched += u64::from(row.switch.is_some());
        self.downgraded += u64::from(row.switch.as_deref() == Some("downgrade"));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.merged = true;
        self.requests += other.requests;
        self.statuses.iter_mut().zip(other.statuses).for_each(|(sum, n)| *sum += n);
        for (error, n) in &other.errors {
            add_error(&mut self.errors, error, *n);
        }
        self.cost += other.cost;
        self.priced += other.priced;
        self.unpriced += other.unpriced;
        self.metered += other.metered;
        self.tokens.iter_mut().zip(other.tokens).for_each(|(sum, n)| *sum = sum.saturating_add(n));
        self.wait.merge(&other.wait);
        self.latency.merge(&other.latency);
        self.calls += other.calls;
        self.throttles += other.throttles;
        self.deadlines += other.deadlines;
        self.deadlines_met += other.deadlines_met;
        self.switched += other.switched;
        self.downgraded += other.downgraded;
    }

    /// What is used of each lane, the busiest first.
    pub(super) fn lanes(&self, lanes: &Values) -> Vec<LaneUse> {
        let name = |lane: &Value| lanes.name(*lane).unwrap_or_else(|| "(others)".to_owned());
        let mut uses: Vec<LaneUse> = self.uses.iter().map(|(lane, used)| used.told(name(lane))).collect();
        uses.sort_by(|a, b| {
            b.busy().total_cmp(&a.busy()).then_with(|| b.calls.cmp(&a.calls)).then_with(|| a.lane.cmp(&b.lane))
        });
        uses
    }

    pub(super) fn told(&self, lanes: &Values) -> Figures {
        let [succeeded, failed, rejected, cancelled, expired] = self.statuses;
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let [input, output, cache_read, cache_write] =
            self.tokens.map(|sum| (self.metered > 0 || succeeded == 0).then_some(sum));
        let mut errors: Vec<ErrorCount> = self
            .errors
            .iter()
            .map(|(name, requests)| ErrorCount { error_type: name.to_string(), requests: *requests })
            .collect();
        errors.sort_by_key(|error| std::cmp::Reverse(error.requests));
        let quota = if self.merged { None } else { self.lanes(lanes).into_iter().next() };
        Figures {
            requests: self.requests,
            succeeded,
            failed,
            rejected,
            cancelled,
            expired,
            error_rate: share(failed + rejected + expired, self.requests - cancelled.min(self.requests)),
            errors,
            cost_usd: (self.priced > 0 || self.unpriced == 0).then(|| self.cost.dollars()),
            unpriced: self.unpriced,
            input_tokens: input,
            output_tokens: output,
            cache_read_tokens: cache_read,
            cache_write_tokens: cache_write,
            wait_ms: self.wait.known().cloned(),
            latency_ms: self.latency.known().cloned(),
            calls: self.calls,
            throttles: self.throttles,
            throttled_share: share(self.throttles, self.calls),
            deadlines: self.deadlines,
            deadlines_met: self.deadlines_met,
            deadline_hit_rate: share(self.deadlines_met, self.deadlines),
            switched: self.switched,
            downgraded: self.downgraded,
            quota,
        }
    }
}

fn add_error(errors: &mut BTreeMap<Box<str>, u64>, name: &str, requests: u64) {
    if let Some(count) = errors.get_mut(name) {
        *count += requests;
        return;
    }
    let name = if errors.len() < MOST_ERRORS { name } else { OTHER_ERRORS };
    *errors.entry(name.into()).or_default() += requests;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Dimension;

    fn told(rows: &[ReportRow]) -> Figures {
        let mut sums = Sums::default();
        for row in rows {
            sums.add(row);
        }
        sums.told(&Values::new(Dimension::Lane))
    }

    #[test]
    fn an_unknown_price_is_counted_and_never_zero() {
        let known = ReportRow { cost_usd: Some(0.25), ..ReportRow::example() };
        let unknown = ReportRow { cost_usd: None, ..ReportRow::example() };
        let refused = ReportRow {
            cost_usd: None,
            input_tokens: None,
            output_tokens: None,
            cache_read_tokens: None,
            cache_write_tokens: None,
            status: Status::Rejected,
            ..ReportRow::example()
        };
        let figures = told(&[known.clone(), unknown.clone(), refused.clone()]);
        assert_eq!((figures.cost_usd, figures.unpriced), (Some(0.25), 1));
        let figures = told(&[unknown, refused.clone()]);
        assert_eq!((figures.cost_usd, figures.unpriced), (None, 1));
        let figures = told(&[refused]);
        assert_eq!((figures.cost_usd, figures.unpriced, figures.input_tokens), (Some(0.0), 0, Some(0)));
        let silent = ReportRow { input_tokens: None, output_tokens: None, ..known };
        let silent = ReportRow { cache_read_tokens: None, cache_write_tokens: None, ..silent };
        assert_eq!(told(&[silent]).input_tokens, None);
    }

    #[test]
    fn what_was_cancelled_is_no_error_and_no_success() {
        let with = |status| ReportRow { status, ..ReportRow::example() };
        let figures = told(&[with(Status::Succeeded), with(Status::Cancelled), with(Status::Expired)]);
        assert_eq!((figures.error_rate, figures.bad()), (Some(0.5), 1));
        assert_eq!(told(&[with(Status::Cancelled)]).error_rate, None);
        assert_eq!(told(&[]).error_rate, None);
        assert_eq!(figures.by_status().map(|(_, n)| n), [1, 0, 0, 1, 1]);
    }

    #[test]
    fn errors_are_told_by_how_often_and_too_many_are_others() {
        let row = |name: String| ReportRow { error_type: Some(name), ..ReportRow::example() };
        let mut rows: Vec<ReportRow> = (0..60).map(|n| row(format!("E{n:02}"))).collect();
        rows.push(row("E07".to_owned()));
        let errors = told(&rows).errors;
        assert_eq!((errors[0].error_type.as_str(), errors[0].requests), (OTHER_ERRORS, 10));
        assert_eq!((errors[1].error_type.as_str(), errors[1].requests), ("E07", 2));
        assert_eq!(errors.iter().map(|error| error.requests).sum::<u64>(), 61);
    }
}
