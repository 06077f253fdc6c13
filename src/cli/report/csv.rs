//! The report as CSV (RFC 4180): a line a group, then one of others' and the total's kind; names as in JSON.

use std::fmt::Display;

use crate::report::{Figures, Quantiles, Report, Share};

/// The text of a column; `None` for what is not known or does not apply.
type Cell = (&'static str, Option<String>);

fn of<T: Display>(value: Option<T>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn cells(figures: &Figures) -> Vec<Cell> {
    let f = figures;
    let top = f.errors.first();
    let mut cells = vec![
        ("requests", of(Some(f.requests))),
        ("succeeded", of(Some(f.succeeded))),
        ("failed", of(Some(f.failed))),
        ("rejected", of(Some(f.rejected))),
        ("cancelled", of(Some(f.cancelled))),
        ("expired", of(Some(f.expired))),
        ("error_rate", of(f.error_rate)),
        ("top_error", top.map(|error| error.error_type.clone())),
        ("top_error_requests", of(top.map(|error| error.requests))),
        ("cost_usd", of(f.cost_usd)),
        ("unpriced", of(Some(f.unpriced))),
        ("input_tokens", of(f.input_tokens)),
        ("output_tokens", of(f.output_tokens)),
        ("cache_read_tokens", of(f.cache_read_tokens)),
        ("cache_write_tokens", of(f.cache_write_tokens)),
    ];
    let times = |names: [&'static str; 4], times: Option<&Quantiles>| -> Vec<Cell> {
        let at = |share| of(times.map(|times| times.at(share)));
        names.into_iter().zip([0.5, 0.95, 0.99, 1.0].map(at)).collect()
    };
    cells.extend(times(["wait_p50_ms", "wait_p95_ms", "wait_p99_ms", "wait_max_ms"], f.wait_ms.as_ref()));
    cells
        .extend(times(["latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "latency_max_ms"], f.latency_ms.as_ref()));
    cells.extend([
        ("calls", of(Some(f.calls))),
        ("throttles", of(Some(f.throttles))),
        ("throttled_share", of(f.throttled_share)),
        ("deadlines", of(Some(f.deadlines))),
        ("deadlines_met", of(Some(f.deadlines_met))),
        ("deadline_hit_rate", of(f.deadline_hit_rate)),
        ("switched", of(Some(f.switched))),
        ("downgraded", of(Some(f.downgraded))),
        ("quota_lane", f.quota.as_ref().map(|quota| quota.lane.clone())),
        ("quota_active_minutes", of(f.quota.as_ref().map(|quota| quota.active_minutes))),
        ("quota_tokens", of(f.quota.as_ref().map(|quota| quota.quota_tokens))),
    ]);
    let shares = |names: [&'static str; 4], share: Option<&Share>| -> Vec<Cell> {
        let parts: [fn(&Share) -> f64; 4] = [|s| s.limit_per_minute, |s| s.mean, |s| s.p95, |s| s.max];
        names.into_iter().zip(parts.map(|part| of(share.map(part)))).collect()
    };
    let quota = f.quota.as_ref();
    cells.extend(shares(
        [
            "tokens_per_minute_limit",
            "tokens_per_minute_mean_share",
            "tokens_per_minute_p95_share",
            "tokens_per_minute_max_share",
        ],
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
