//! The report as CSV (RFC 4180): a line a group, then one of others' and the total's kind; names as in JSON.

use std::fmt::Display;

use crate::report::{Figures, Quantiles, Report, Share};

/// The text of a column; `None` for what is not known or does not apply.
type Cell = (&'static str, Option<String>);

fn text(value: impl Display) -> Option<String> {
    Some(value.to_string())
}

fn cells(figures: &Figures) -> Vec<Cell> {
    let f = figures;
    let top = f.errors.first();
    let mut cells = vec![
        ("requests", text(f.requests)),
        ("succeeded", text(f.succeeded)),
        ("failed", text(f.failed)),
        ("rejected", text(f.rejected)),
        ("cancelled", text(f.cancelled)),
        ("expired", text(f.expired)),
        ("error_rate", f.error_rate.and_then(text)),
        ("top_error", top.map(|error| error.error_type.clone())),
        ("top_error_requests", top.and_then(|error| text(error.requests))),
        ("cost_usd", f.cost_usd.and_then(text)),
        ("unpriced", text(f.unpriced)),
        ("input_tokens", f.input_tokens.and_then(text)),
        ("output_tokens", f.output_tokens.and_then(text)),
        ("cache_read_tokens", f.cache_read_tokens.and_then(text)),
        ("cache_write_tokens", f.cache_write_tokens.and_then(text)),
    ];
    let times = |names: [&'static str; 4], times: Option<&Quantiles>| -> Vec<Cell> {
        let at = |share| times.and_then(|times| text(times.at(share)));
        names.into_iter().zip([0.5, 0.95, 0.99, 1.0].map(at)).collect()
    };
    cells.extend(times(["wait_p50_ms", "wait_p95_ms", "wait_p99_ms", "wait_max_ms"], f.wait_ms.as_ref()));
    cells.extend(times(
        ["latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "latency_max_ms"],
        f.latency_ms.as_ref(),
    ));
    cells.extend([
        ("calls", text(f.calls)),
        ("throttles", text(f.throttles)),
        ("throttled_share", f.throttled_share.and_then(text)),
        ("deadlines", text(f.deadlines)),
        ("deadlines_met", text(f.deadlines_met)),
        ("deadline_hit_rate", f.deadline_hit_rate.and_then(text)),
        ("switched", text(f.switched)),
        ("downgraded", text(f.downgraded)),
        ("quota_lane", f.quota.as_ref().map(|quota| quota.lane.clone())),
        ("quota_active_minutes", f.quota.as_ref().and_then(|quota| text(quota.active_minutes))),
        ("quota_tokens", f.quota.as_ref().and_then(|quota| text(quota.quota_tokens))),
    ]);
    let shares = |names: [&'static str; 4], share: Option<&Share>| -> Vec<Cell> {
        let of = |part: fn(&Share) -> f64| share.map(part).and_then(text);
        names.into_iter().zip([of(|s| s.limit_per_minute), of(|s| s.mean), of(|s| s.p95), of(|s| s.max)]).collect()
    };
    let quota = f.quota.as_ref();
    cells.extend(shares(
        ["tokens_per_minute_limit", "tokens_per_minute_mean_share", "tokens_per_minute_p95_share", "tokens_per_minute_max_share"],
        quota.and_then(|quota| quota.tokens.as_ref()),
    ));
    cells.extend(shares(
        [
            "requests_per_minute_limit",
            "requests_per_minute_mean_share",
            "requests_per_minute_p95_share",
            "requests_per_minute_max_share",
        ],
        quota.and_then(|quota| quota.requests.as_ref()),
    ));
    cells
}

/// All of it.
pub fn csv(report: &Report) -> String {
    let mut page = String::new();
    let names = cells(&Figures::default()).into_iter().map(|(name, _)| name);
    let heading = ["row"].into_iter().chain(report.by.iter().map(|one| one.name())).chain(["others"]).chain(names);
    line(&mut page, heading.map(ToOwned::to_owned));
    for group in &report.groups {
        let kind = if group.others.is_some() { "others" } else { "group" };
        let keys = group.key.iter().map(|(_, value)| value.clone().unwrap_or_default());
        let others = group.others.map(|n| n.to_string()).unwrap_or_default();
        let figures = cells(&group.figures).into_iter().map(|(_, value)| value.unwrap_or_default());
        line(&mut page, [kind.to_owned()].into_iter().chain(keys).chain([others]).chain(figures));
    }
    let keys = report.by.iter().map(|_| String::new());
    let figures = cells(&report.total).into_iter().map(|(_, value)| value.unwrap_or_default());
    line(&mut page, ["total".to_owned()].into_iter().chain(keys).chain([String::new()]).chain(figures));
    page
}

fn line(page: &mut String, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.map(|cell| quoted(&cell)).collect();
    page.push_str(&cells.join(","));
    page.push_str("\r\n");
}

fn quoted(cell: &str) -> String {
    if cell.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_line_is_quoted() {
        let cells = ["plain", "a,b", "say \"hi\"", "two\nlines", ""];
        let mut page = String::new();
        line(&mut page, cells.into_iter().map(ToOwned::to_owned));
        assert_eq!(page, "plain,\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\",\r\n");
    }
}
