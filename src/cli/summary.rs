//! What a run did, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::pipeline::pace::LaneSnapshot;
use crate::pipeline::tally::{ModelTotals, Quantiles, Tally, Totals};
use crate::request::{Status, Usage};

use super::format::{gauge, millis, thousands, whole};

/// The order in which priorities are shown.
const CLASSES: [&str; 5] = ["urgent", "high", "normal", "low", "bulk"];

/// A run's outcome. As JSON these names are stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    requests: Requests,
    /// Calls made, throttled ones included.
    bedrock_calls: u64,
    throttled_calls: u64,
    /// Calls that failed otherwise and were made again, or ended their request.
    failed_calls: u64,
    /// By lane: shares of the quota used between the first call and the last answer.
    quota: BTreeMap<String, LaneUse>,
    /// From received to called, by priority.
    wait_ms: BTreeMap<&'static str, Quantiles>,
    tokens: Usage,
    /// Dollars; `unpriced` answers are not in it.
    cost_usd: f64,
    unpriced: u64,
    models: BTreeMap<String, ModelTotals>,
    elapsed_s: f64,
    results_dir: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Requests {
    submitted: u64,
    succeeded: u64,
    failed: u64,
    rejected: u64,
    expired: u64,
    cancelled: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct LaneUse {
    rpm_used: Option<f64>,
    tpm_used: Option<f64>,
    requests_per_minute: Option<f64>,
    tokens_per_minute: Option<f64>,
}

impl Summary {
    /// Sums up what a worker did.
    pub fn of(submitted: u64, tally: &Tally, lanes: &[LaneSnapshot], elapsed: Duration, results: &Path) -> Self {
        let totals: Totals = tally.totals();
        let finished = |status: Status| totals.finished.get(status.as_str()).copied().unwrap_or_default();
        let lane_use = |lane: &LaneSnapshot| LaneUse {
            rpm_used: lane.rpm_used.map(thousandths),
            tpm_used: lane.tpm_used.map(thousandths),
            requests_per_minute: lane.requests_per_minute,
            tokens_per_minute: lane.tokens_per_minute,
        };
        let mut tokens = Usage::default();
        for model in totals.models.values() {
            tokens.input_tokens += model.usage.input_tokens;
            tokens.output_tokens += model.usage.output_tokens;
            tokens.cache_read_input_tokens += model.usage.cache_read_input_tokens;
            tokens.cache_write_input_tokens += model.usage.cache_write_input_tokens;
        }
        Self {
            requests: Requests {
                submitted,
                succeeded: finished(Status::Succeeded),
                failed: finished(Status::Failed),
                rejected: finished(Status::Rejected),
                expired: finished(Status::Expired),
                cancelled: finished(Status::Cancelled),
            },
            bedrock_calls: totals.calls,
            throttled_calls: totals.throttled,
            failed_calls: totals.failed_calls,
            quota: lanes.iter().map(|lane| (lane.lane.clone(), lane_use(lane))).collect(),
            wait_ms: tally.waits(),
            tokens,
            cost_usd: totals.models.values().map(|m| m.cost_usd).sum(),
            unpriced: totals.models.values().map(|m| m.unpriced).sum(),
            models: totals.models,
            elapsed_s: thousandths(elapsed.as_secs_f64()),
            results_dir: results.display().to_string(),
        }
    }

    /// One JSON object.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// A page for people.
    pub fn to_page(&self) -> String {
        let mut page = String::new();
        // Writing to a String cannot fail.
        self.write_page(&mut page).map(|()| page).unwrap_or_default()
    }

    fn write_page(&self, page: &mut String) -> std::fmt::Result {
        let r = &self.requests;
        writeln!(page, "\n{} requests in {:.1} s\n", r.submitted, self.elapsed_s)?;
        let outcomes = [
            (r.succeeded, "succeeded"),
            (r.failed, "failed"),
            (r.rejected, "rejected (invalid)"),
            (r.expired, "expired"),
            (r.cancelled, "cancelled"),
        ];
        let outcomes: Vec<String> =
            outcomes.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        writeln!(page, "  Outcomes   {}", outcomes.join(" · "))?;
        writeln!(
            page,
            "  Bedrock    {} calls · {} throttled · {} failed otherwise and dealt with",
            self.bedrock_calls, self.throttled_calls, self.failed_calls
        )?;
        writeln!(page, "\n  Quota used, from the first call to the last answer")?;
        for (lane, used) in &self.quota {
            let name = lane.splitn(3, ':').nth(2).unwrap_or(lane);
            writeln!(page, "    {name}")?;
            quota_line(page, "tokens/min", used.tpm_used, used.tokens_per_minute)?;
            quota_line(page, "requests/min", used.rpm_used, used.requests_per_minute)?;
        }
        writeln!(page, "\n  Wait       requests       p50       p99")?;
        for class in CLASSES {
            if let Some(wait) = self.wait_ms.get(class) {
                writeln!(page, "    {class:<8} {:>8} {:>9} {:>9}", wait.count, millis(wait.p50), millis(wait.p99))?;
            }
        }
        writeln!(page, "\n  Cost       answers     input    output    dollars")?;
        for (model, totals) in &self.models {
            let input = totals.usage.input_tokens
                + totals.usage.cache_read_input_tokens
                + totals.usage.cache_write_input_tokens;
            let cost = if totals.unpriced == totals.requests {
                "unknown".to_owned()
            } else {
                format!("{:.4}", totals.cost_usd)
            };
            writeln!(page, "    {model}")?;
            writeln!(
                page,
                "             {:>7} {:>9} {:>9} {:>10}",
                totals.requests,
                thousands(input),
                thousands(totals.usage.output_tokens),
                cost
            )?;
        }
        let unpriced =
            if self.unpriced > 0 { format!(", {} answers of unknown price", self.unpriced) } else { String::new() };
        writeln!(page, "    in all   ${:.4}{unpriced}", self.cost_usd)
    }
}

fn quota_line(page: &mut String, what: &str, used: Option<f64>, quota: Option<f64>) -> std::fmt::Result {
    match (used, quota) {
        (Some(used), Some(quota)) => {
            writeln!(page, "      {what:<13} {} {:>4.0} % of {}", gauge(used), used * 100.0, whole(quota))
        }
        (_, None) => writeln!(page, "      {what:<13} not limited"),
        (None, Some(quota)) => writeln!(page, "      {what:<13} {} not used, of {}", gauge(0.0), whole(quota)),
    }
}

fn thousandths(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}
