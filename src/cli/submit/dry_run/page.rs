//! The plan for people.

use std::fmt::Write;
use std::time::Duration;

use super::forecast::{Bound, Eta};
use super::{Amounts, Plan};
use crate::cli::format::{WIDTH, clip, count, dollars, plain, span, thousands, whole, wrap};

/// Faults shown; each was told with its line before.
const FAULTS: usize = 5;

impl Plan {
    /// For a terminal.
    pub fn to_page(&self, source: &str) -> String {
        let mut page = String::new();
        // Writing to a String cannot fail.
        self.write_page(&mut page, source).map(|()| page).unwrap_or_default()
    }

    fn write_page(&self, page: &mut String, source: &str) -> std::fmt::Result {
        let invalid = match self.invalid {
            0 => String::new(),
            n => format!(", {} invalid", is(n, "line")),
        };
        writeln!(
            page,
            "Dry run of {source}: {}{invalid}; nothing was sent",
            count(self.total.requests, "good request")
        )?;
        if self.total.requests > 0 {
            writeln!(
                page,
                "\n{:>26} {:>15} {:>15} {:>15} {:>13}",
                "requests", "input tokens", "output tokens", "cost", "done in"
            )?;
            for model in &self.models {
                writeln!(page, "{}", clip(&plain(&model.model), WIDTH))?;
                if model.amounts.requests == 0 {
                    writeln!(page, "  none good, {} invalid", is(model.invalid, "line"))?;
                    continue;
                }
                amounts(page, &model.amounts, model.eta.as_ref().map(|eta| eta.done_seconds))?;
                if model.invalid > 0 {
                    writeln!(page, "  {} invalid and not counted", is(model.invalid, "line"))?;
                }
                if let Some(eta) = &model.eta {
                    for line in wrap(&because(eta), WIDTH - 2) {
                        writeln!(page, "  {line}")?;
                    }
                }
            }
            if self.models.len() > 1 {
                writeln!(page, "all")?;
                amounts(page, &self.total, Some(self.done_seconds))?;
            }
        }
        let mut faults: Vec<_> = self.faults.iter().collect();
        faults.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let faults =
            faults.into_iter().take(FAULTS).map(|(fault, n)| format!("{}: {}", count(*n, "line"), plain(fault)));
        let repeated =
            (self.repeated > 0).then(|| format!("{} an earlier one and would not be sent.", repeat(self.repeated)));
        let nameless = (self.without_request_id > 0).then(|| {
            format!(
                "{} no request_id: sent twice, they would run and be charged twice.",
                if self.without_request_id == 1 {
                    "1 request has".to_owned()
                } else {
                    format!("{} requests have", thousands(self.without_request_id))
                }
            )
        });
        notes(page, "Invalid", faults)?;
        notes(page, "Warning", self.warnings.iter().cloned())?;
        notes(page, "Note", repeated.into_iter().chain(nameless).chain(self.notes.iter().cloned()))
    }
}

fn amounts(page: &mut String, amounts: &Amounts, done: Option<f64>) -> std::fmt::Result {
    // Of several models the price of some may be known.
    let cost = |usd: Option<f64>, known: f64| match usd {
        Some(usd) => dollars(usd),
        None if known > 0.0 => format!("over {}", dollars(known)),
        None => "unknown".to_owned(),
    };
    writeln!(
        page,
        "  {:<10}{:>14} {:>15} {:>15} {:>15} {:>13}",
        "expected",
        thousands(amounts.requests),
        thousands(amounts.input_tokens),
        thousands(amounts.output_tokens),
        cost(amounts.cost_usd, amounts.priced_usd.0),
        done.map_or(String::new(), |seconds| span(rounded(seconds)))
    )?;
    if amounts.output_tokens_at_most == amounts.output_tokens {
        return Ok(());
    }
    writeln!(
        page,
        "  {:<10}{:>14} {:>15} {:>15} {:>15}",
        "at most",
        "",
        "",
        thousands(amounts.output_tokens_at_most),
        cost(amounts.cost_usd_at_most, amounts.priced_usd.1)
    )
}

/// What decides when it is done, in a line.
fn because(eta: &Eta) -> String {
    let source = match eta.limit_source {
        "service-quotas" => "listed by Service Quotas",
        "setting" => "set",
        other => other,
    };
    let limit = whole(eta.limit);
    let bound = match eta.bound_by {
        Bound::RequestsPerMinute => format!("{limit} requests/min ({source})"),
        Bound::TokensPerMinute => format!("{limit} tokens/min ({source})"),
        Bound::Reservations => format!("what maxTokens reserves: only {limit} at a time fit into the quota ({source})"),
        Bound::ModelConcurrency => format!("{limit} calls at a time (max_concurrent of the model)"),
        Bound::Concurrency => format!("{limit} calls at a time (max_concurrent_executions)"),
    };
    let ahead = match eta.ahead {
        0 => String::new(),
        n if eta.ahead_at_least => format!(", after more than {} that are in line already", thousands(n)),
        n => format!(", after {} in line already", is_are(n)),
    };
    let start = match rounded(eta.last_start_seconds) {
        Duration::ZERO => "all start at once".to_owned(),
        after => format!("the last starts in {}", span(after)),
    };
    format!("{start}{ahead}; bound by {bound}")
}

/// To the second from ten seconds on: more would promise too much.
fn rounded(seconds: f64) -> Duration {
    let seconds = if seconds < 10.0 { (seconds * 10.0).round() / 10.0 } else { seconds.round() };
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

fn notes(page: &mut String, label: &str, notes: impl Iterator<Item = String>) -> std::fmt::Result {
    for (place, note) in notes.enumerate() {
        if place == 0 {
            writeln!(page)?;
        }
        for (row, line) in wrap(&note, WIDTH - 11).iter().enumerate() {
            writeln!(page, "{:<9}  {line}", if row == 0 { label } else { "" })?;
        }
    }
    Ok(())
}

fn is(n: u64, what: &str) -> String {
    format!("{} {}", count(n, what), if n == 1 { "is" } else { "are" })
}

fn is_are(n: u64) -> String {
    format!("{} that {}", count(n, "request"), if n == 1 { "is" } else { "are" })
}

fn repeat(n: u64) -> String {
    format!("{} {}", count(n, "line"), if n == 1 { "repeats" } else { "repeat" })
}
