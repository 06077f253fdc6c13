//! The columns that tables for people have.

use crate::cli::status::paint::Tone;
use crate::report::{Figures, Report};

use super::units::{NOTHING, compact, cost_of, ms, percent, percent_or};
use crate::cli::format::thousands;

/// A column of figures.
pub struct Column {
    /// What all of a few columns share: `wait`.
    pub group: &'static str,
    /// Its heading.
    pub name: &'static str,
    /// What is left out first when there is no room: the highest.
    pub rank: u8,
    /// What it shows.
    pub cell: fn(&Figures) -> String,
    /// How that looks.
    pub tone: fn(&Figures) -> Option<Tone>,
    /// Whether it says anything in this report.
    pub wanted: fn(&Report) -> bool,
}

const PLAIN: fn(&Figures) -> Option<Tone> = |_| None;
const ALWAYS: fn(&Report) -> bool = |_| true;

fn wait(share: f64) -> impl Fn(&Figures) -> String {
    move |figures| figures.wait_ms.as_ref().map_or_else(|| NOTHING.to_owned(), |wait| ms(wait.at(share)))
}

fn latency(share: f64) -> impl Fn(&Figures) -> String {
    move |figures| figures.latency_ms.as_ref().map_or_else(|| NOTHING.to_owned(), |latency| ms(latency.at(share)))
}

fn tokens(tokens: Option<u64>) -> String {
    tokens.map_or_else(|| "unknown".to_owned(), compact)
}

fn quota(figures: &Figures, part: fn(&crate::report::Share) -> f64) -> String {
    let tighter = figures.quota.as_ref().and_then(|lane| lane.tighter());
    tighter.map_or_else(|| NOTHING.to_owned(), |(_, share)| percent(part(share)))
}

/// In the order in which they stand.
pub const COLUMNS: [Column; 18] = [
    Column {
        group: "",
        name: "requests",
        rank: 0,
        cell: |f| thousands(f.requests),
        tone: |f| (f.requests == 0).then_some(Tone::Faint),
        wanted: ALWAYS,
    },
    Column {
        group: "",
        name: "errors",
        rank: 1,
        cell: |f| percent_or(f.error_rate),
        tone: |f| match f.error_rate {
            Some(rate) if rate >= 0.05 => Some(Tone::Bad),
            Some(rate) if rate > 0.0 => Some(Tone::Warn),
            _ => None,
        },
        wanted: ALWAYS,
    },
    Column { group: "", name: "cost", rank: 0, cell: cost_of, tone: PLAIN, wanted: ALWAYS },
    Column { group: "tokens", name: "in", rank: 2, cell: |f| tokens(f.input_tokens), tone: PLAIN, wanted: ALWAYS },
    Column { group: "tokens", name: "out", rank: 2, cell: |f| tokens(f.output_tokens), tone: PLAIN, wanted: ALWAYS },
    Column {
        group: "tokens",
        name: "cache read",
        rank: 8,
        cell: |f| tokens(f.cache_read_tokens),
        tone: PLAIN,
        wanted: |r| r.total.cache_read_tokens.is_some_and(|n| n > 0),
    },
    Column {
        group: "tokens",
        name: "cache write",
        rank: 9,
        cell: |f| tokens(f.cache_write_tokens),
        tone: PLAIN,
        wanted: |r| r.total.cache_write_tokens.is_some_and(|n| n > 0),
    },
    Column { group: "wait", name: "p50", rank: 5, cell: |f| wait(0.5)(f), tone: PLAIN, wanted: ALWAYS },
    Column { group: "wait", name: "p95", rank: 1, cell: |f| wait(0.95)(f), tone: PLAIN, wanted: ALWAYS },
    Column { group: "wait", name: "p99", rank: 7, cell: |f| wait(0.99)(f), tone: PLAIN, wanted: ALWAYS },
    Column { group: "latency", name: "p50", rank: 6, cell: |f| latency(0.5)(f), tone: PLAIN, wanted: ALWAYS },
    Column { group: "latency", name: "p95", rank: 2, cell: |f| latency(0.95)(f), tone: PLAIN, wanted: ALWAYS },
    Column { group: "latency", name: "p99", rank: 8, cell: |f| latency(0.99)(f), tone: PLAIN, wanted: ALWAYS },
    Column {
        group: "",
        name: "throttled",
        rank: 3,
        cell: |f| percent_or(f.throttled_share),
        tone: |f| (f.throttles > 0).then_some(Tone::Warn),
        wanted: ALWAYS,
    },
    Column {
        group: "",
        name: "deadlines met",
        rank: 4,
        cell: |f| percent_or(f.deadline_hit_rate),
        tone: |f| (f.deadlines_met < f.deadlines).then_some(Tone::Warn),
        wanted: |r| r.total.deadlines > 0,
    },
    Column { group: "quota", name: "mean", rank: 4, cell: |f| quota(f, |s| s.mean), tone: PLAIN, wanted: limited },
    Column { group: "quota", name: "max", rank: 7, cell: |f| quota(f, |s| s.max), tone: PLAIN, wanted: limited },
    Column {
        group: "",
        name: "downgraded",
        rank: 9,
        cell: |f| thousands(f.downgraded),
        tone: PLAIN,
        wanted: |r| r.total.downgraded > 0,
    },
];

fn limited(report: &Report) -> bool {
    report.lanes.iter().any(|lane| lane.tighter().is_some())
}

impl Column {
    /// On one line: `wait p95`.
    pub fn title(&self) -> String {
        [self.group, self.name].join(" ").trim_start().to_owned()
    }
}
