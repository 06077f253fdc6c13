//! The total in a few lines, and what is said when there is nothing.

use crate::cli::format::{count, plain, thousands};
use crate::report::{Figures, LaneUse, Quantiles, Report, Share};

use super::units::{NOTHING, answers, compact, cost_of, ms, percent, percent_or, period};
use crate::cli::format::whole;
use crate::report::Period;

/// Errors that are named.
const ERRORS: usize = 4;

/// The report's period.
pub fn period_of(report: &Report) -> Period {
    Period { since: report.since, until: report.until }
}

/// Label and text of each line.
pub fn lines(report: &Report) -> Vec<(&'static str, String)> {
    let total = &report.total;
    let mut lines = vec![("Requests", requests(total))];
    if !total.errors.is_empty() {
        lines.push(("Errors", errors(total, ERRORS)));
    }
    lines.push(("Cost", cost(total)));
    lines.push(("Tokens", tokens(total)));
    lines.push(("Wait", quantiles(total.wait_ms.as_ref())));
    lines.push(("Latency", quantiles(total.latency_ms.as_ref())));
    lines.push(("Throttled", throttled(total)));
    if total.deadlines > 0 {
        lines.push(("Deadlines", deadlines(total)));
    }
    if total.switched > 0 {
        lines.push(("Switched", switched(total)));
    }
    lines
}

/// `1,204 · error rate 8.6 % · 1,100 succeeded · 104 failed`.
pub fn requests(total: &Figures) -> String {
    let by_status = total.by_status().into_iter().filter(|(_, n)| *n > 0);
    let by_status = by_status.map(|(status, n)| format!("{} {}", thousands(n), status.as_str().to_lowercase()));
    let mut parts = vec![thousands(total.requests)];
    parts.extend(total.error_rate.map(|rate| format!("error rate {}", percent(rate))));
    parts.extend(by_status);
    parts.join(" · ")
}

/// The most frequent errors.
pub fn errors(total: &Figures, most: usize) -> String {
    let named = total.errors.iter().take(most);
    let mut parts: Vec<String> =
        named.map(|error| format!("{} {}", thousands(error.requests), plain(&error.error_type))).collect();
    if total.errors.len() > most {
        let rest: u64 = total.errors.iter().skip(most).map(|error| error.requests).sum();
        parts.push(format!("{} of {} more kinds", thousands(rest), total.errors.len() - most));
    }
    parts.join(" · ")
}

/// What is known, and what is not in it.
pub fn cost(total: &Figures) -> String {
    let text = cost_of(total);
    match (total.unpriced, total.cost_usd) {
        (0, _) => text,
        (n, None) => format!("{text}: no price is known for any of {}", answers(n)),
        (n, Some(_)) => format!("{text} · {} of unknown price not in it", answers(n)),
    }
}

/// In and out, and the cache's if it was used.
pub fn tokens(total: &Figures) -> String {
    let (Some(input), Some(output)) = (total.input_tokens, total.output_tokens) else {
        return "unknown: no answer told its usage".to_owned();
    };
    let mut parts = vec![format!("{} in", compact(input)), format!("{} out", compact(output))];
    for (tokens, what) in [(total.cache_read_tokens, "read from cache"), (total.cache_write_tokens, "written to cache")]
    {
        parts.extend(tokens.filter(|n| *n > 0).map(|n| format!("{} {what}", compact(n))));
    }
    parts.join(" · ")
}

fn quantiles(times: Option<&Quantiles>) -> String {
    times.map_or_else(
        || NOTHING.to_owned(),
        |times| {
            let [p50, p95, p99, max] = [0.5, 0.95, 0.99, 1.0].map(|share| ms(times.at(share)));
            format!("p50 {p50} · p95 {p95} · p99 {p99} · longest {max}")
        },
    )
}

/// Of how many calls.
pub fn throttled(total: &Figures) -> String {
    match total.throttles {
        0 => format!("none of {}", count(total.calls, "call")),
        n => format!("{} of {} ({})", thousands(n), count(total.calls, "call"), percent_or(total.throttled_share)),
    }
}

/// How many were met.
pub fn deadlines(total: &Figures) -> String {
    let missed = total.deadlines - total.deadlines_met;
    let missed = if missed > 0 { format!(" · {} missed", thousands(missed)) } else { String::new() };
    format!("{} of {} met{missed}", percent_or(total.deadline_hit_rate), thousands(total.deadlines))
}

fn switched(total: &Figures) -> String {
    let text = format!("{} got another model than asked for", count(total.switched, "request"));
    if total.downgraded > 0 { format!("{text}, {} to keep a budget", thousands(total.downgraded)) } else { text }
}

/// A lane without its account.
pub fn lane_name(lane: &str) -> String {
    let mut parts = lane.splitn(3, ':');
    let (account, region, model) = (parts.next(), parts.next(), parts.next());
    match (account, region, model) {
        (Some("default"), Some(region), Some(model)) => format!("{model} in {region}"),
        (Some(account), Some(region), Some(model)) => format!("{model} in {region} of {account}"),
        _ => lane.to_owned(),
    }
}

/// `mean 63 % · p95 88 % · max 97 % of 450,000 tokens/min`.
pub fn share(what: &str, share: &Share) -> String {
    let [mean, p95, max] = [share.mean, share.p95, share.max].map(percent);
    format!("mean {mean} · p95 {p95} · max {max} of {} {what}/min", whole(share.limit_per_minute))
}

/// What is used of a lane.
pub fn lane(lane: &LaneUse) -> String {
    lane.tighter()
        .map_or_else(|| format!("{}, not limited", count(lane.calls, "call")), |(what, used)| share(what, used))
}

/// Said instead of tables.
pub fn nothing(report: &Report) -> Vec<String> {
    let mut said = vec![format!("No request finished from {}.", period(period_of(report)))];
    if report.left_out > 0 {
        let filter = plain(&report.filters.to_string());
        said = vec![format!(
            "No request that finished from {} matches: {filter}. {} do not.",
            period(period_of(report)),
            thousands(report.left_out)
        )];
    }
    said.extend(report.hint.as_deref().map(plain));
    if report.left_out == 0 {
        said.push("What is not finished is in smoother status; --since 30d looks further back.".to_owned());
    }
    said
}
