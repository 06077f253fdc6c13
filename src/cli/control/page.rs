//! What orders came to, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::cli::format::{WIDTH, clip, count, date_time, plain, thousands};
use crate::control::jobs::{Answers, Change, Outcome, Tally};
use crate::request::Priority;

/// Tenants and lanes that are shown.
const SHOWN: usize = 10;

/// What is ordered, as words around a count.
pub struct Words {
    /// `cancel`.
    pub verb: &'static str,
    /// `cancelled`.
    pub done: String,
}

impl Words {
    pub fn of(change: Change) -> Self {
        match change {
            Change::Cancel => Self { verb: "cancel", done: "cancelled".to_owned() },
            Change::Priority(priority) => Self { verb: "change", done: format!("priority is {}", shown(priority)) },
            Change::Deadline(None) => Self { verb: "change", done: "no deadline any more".to_owned() },
            Change::Deadline(Some(at)) => Self { verb: "change", done: format!("deadline is {}", date_time(at)) },
        }
    }
}

fn shown(priority: Priority) -> String {
    let class = priority.class();
    if Priority::from_name(class) == Some(priority) {
        class.to_owned()
    } else {
        format!("{} ({class})", priority.number())
    }
}

/// One line for each request.
pub fn answers(answers: &Answers, change: Change, dry_run: bool) -> String {
    let words = Words::of(change);
    let width = answers.outcomes.iter().map(|(id, _)| id.as_str().len()).max().unwrap_or(0).min(60);
    let mut page = String::new();
    for (id, outcome) in &answers.outcomes {
        let what = match (outcome, dry_run) {
            (Outcome::Done | Outcome::AfterCall, true) => format!("would {} it", words.verb),
            (Outcome::Done, false) => words.done.clone(),
            _ => outcome.to_string(),
        };
        // Writing to a String cannot fail.
        writeln!(page, "{:width$}  {}", id.as_str(), plain(&what)).unwrap_or_default();
    }
    page
}

/// The counts of a change in bulk.
pub fn tally(tally: &Tally, target: &str, change: Change, dry_run: bool) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    write_tally(&mut page, tally, target, change, dry_run).unwrap_or_default();
    page
}

fn write_tally(page: &mut String, tally: &Tally, target: &str, change: Change, dry_run: bool) -> std::fmt::Result {
    let words = Words::of(change);
    let requests = count(tally.changed(), "request");
    let head = match (dry_run, change) {
        (true, _) => format!("would {} {requests}", words.verb),
        (false, Change::Cancel) => format!("{requests} cancelled"),
        (false, _) => format!("{requests} changed: {}", words.done),
    };
    writeln!(page, "{}", clip(&format!("{head} · {}", plain(target)), WIDTH))?;
    let priorities = ["urgent", "high", "normal", "low", "bulk"];
    let priorities = priorities.into_iter().filter_map(|class| Some((class, *tally.by_priority.get(class)?)));
    let priorities: Vec<String> = priorities.map(|(class, n)| format!("{} {class}", thousands(n))).collect();
    if !priorities.is_empty() {
        writeln!(page, "  Priority  {}", priorities.join(" · "))?;
    }
    names(page, "Tenant", &tally.by_tenant)?;
    names(page, "Lane", &tally.by_lane)?;
    let other = [
        (Outcome::AfterCall, "being called: an answer still counts, there will be no other call"),
        (Outcome::Running, "left as they are: being called"),
        (Outcome::Conflict, "left as they are: changed again and again meanwhile"),
        (Outcome::Failed(String::new()), "could not be read or written"),
    ];
    for (outcome, words) in other {
        let n = tally.count(&outcome);
        if n > 0 {
            writeln!(page, "  {} {words}", thousands(n))?;
        }
    }
    let ended = tally.outcomes.get("final").copied().unwrap_or(0);
    if ended > 0 {
        writeln!(page, "  {} ended by themselves meanwhile", thousands(ended))?;
    }
    Ok(())
}

fn names(page: &mut String, what: &str, counts: &BTreeMap<String, u64>) -> std::fmt::Result {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    for (place, (name, n)) in counts.iter().take(SHOWN).enumerate() {
        let label = if place == 0 { what } else { "" };
        writeln!(page, "  {label:<8}  {} {}", thousands(**n), clip(&plain(name), 80))?;
    }
    if counts.len() > SHOWN {
        let rest: u64 = counts.iter().skip(SHOWN).map(|(_, n)| **n).sum();
        writeln!(page, "            {} of {} others", thousands(rest), thousands((counts.len() - SHOWN) as u64))?;
    }
    Ok(())
}

/// As JSON these names are stable.
#[derive(Serialize)]
pub struct Json<'a> {
    pub order: &'static str,
    pub dry_run: bool,
    pub matching: Option<String>,
    pub counts: BTreeMap<&'static str, u64>,
    pub by_tenant: &'a BTreeMap<String, u64>,
    pub by_priority: &'a BTreeMap<&'static str, u64>,
    pub by_lane: &'a BTreeMap<String, u64>,
    pub requests: Vec<RequestJson<'a>>,
    pub stopped: Option<&'a str>,
}

#[derive(Serialize)]
pub struct RequestJson<'a> {
    request_id: &'a str,
    outcome: &'static str,
    status: Option<&'static str>,
    why: Option<String>,
}

impl<'a> RequestJson<'a> {
    pub fn of((id, outcome): &'a (crate::request::RequestId, Outcome)) -> Self {
        let status = match outcome {
            Outcome::AlreadyFinal(status) | Outcome::Decided(status) => Some(status.as_str()),
            _ => None,
        };
        let why = (!matches!(outcome, Outcome::Done)).then(|| outcome.to_string());
        Self { request_id: id.as_str(), outcome: outcome.name(), status, why }
    }
}
