//! `smoother audit`: who changed what, when and why.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;

use super::times::{Moment, moment};
use crate::cli::format::{WIDTH, clip, date_time, plain, thousands, wrap};
use crate::cli::place::PlaceArgs;
use crate::cli::{Done, print};
use crate::clock::Timestamp;
use crate::control::audit::{self, Entry, Target};

/// What is shown without another wish.
const LATELY: Duration = Duration::from_hours(7 * 24);

/// Shows what operators changed: who, when, what, why, and what came of it. Of the last seven days, oldest first.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
JSON: one list of at, operator {name, arn}, action, target {requests {ids, count}|matching|scope},
before, after, reason, outcome {name: n}, stopped. Absent values are left out.
Events are kept for good, about a kilobyte each.")]
pub struct Args {
    /// From this time on, or from this long ago: 2026-11-21T09:00:00Z, 12h, 30d
    #[arg(long, value_name = "TIME|AGO", value_parser = moment, conflicts_with = "day")]
    since: Option<Moment>,
    /// Of this day in UTC: 2026-11-21
    #[arg(long, value_name = "DAY", value_parser = day)]
    day: Option<String>,
    /// Print a JSON list
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

fn day(text: &str) -> Result<String, String> {
    let read = Timestamp::parse(&format!("{text}T00:00:00Z"));
    read.map(Timestamp::day).map_err(|_| "expected a day such as 2026-11-21".to_owned())
}

pub async fn audit(args: Args) -> Done {
    let place = args.place.open_existing().await?;
    let (registers, now) = (&*place.ports.registers, place.clock.now());
    let since = args.since.map_or(now - LATELY, |since| since.ago(now));
    let entries = match &args.day {
        Some(day) => audit::day(registers, day).await?,
        None => audit::since(registers, since, now).await?,
    };
    if args.json {
        print(&serde_json::to_string_pretty(&entries).unwrap_or_default())?;
    } else if entries.is_empty() {
        let when = args.day.map_or_else(|| format!("since {}", date_time(since)), |day| format!("on {day}"));
        print(&format!("nobody changed anything {when}"))?;
    } else {
        print(table(&entries).trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(entries: &[Entry]) -> String {
    let mut page = String::new();
    let who = entries.iter().map(|entry| entry.event.operator.name.chars().count()).max().unwrap_or(0).clamp(8, 24);
    // Writing to a String cannot fail.
    writeln!(page, "{:<24} {:who$} {:<13} target", "time", "operator", "action").unwrap_or_default();
    for entry in entries {
        write_entry(&mut page, entry, who).unwrap_or_default();
    }
    page
}

fn write_entry(page: &mut String, entry: &Entry, who: usize) -> std::fmt::Result {
    let Entry { at, event } = entry;
    let name = clip(&plain(&event.operator.name), who);
    let head = format!("{:<24} {name:who$} {:<13} {}", date_time(*at), event.action.to_string(), event.target);
    writeln!(page, "{}", clip(&plain(&head), WIDTH))?;
    let states = match (&event.before, &event.after) {
        (Some(before), Some(after)) => Some(format!("{before} → {after}")),
        (None, Some(after)) => Some(format!("→ {after}")),
        _ => None,
    };
    let outcome: Vec<String> =
        event.outcome.iter().map(|(name, n)| format!("{} {}", thousands(*n), name.replace('_', " "))).collect();
    let mut parts = Vec::new();
    parts.extend(states);
    match (outcome.is_empty(), &event.target) {
        (false, _) => parts.push(outcome.join(", ")),
        (true, Target::Scope(_)) => {}
        (true, _) => parts.push("nothing matched".to_owned()),
    }
    parts.extend(event.reason.as_ref().map(|reason| format!("because: {reason}")));
    parts.extend(event.stopped.as_ref().map(|why| format!("stopped early: {why}")));
    parts.extend(event.operator.arn.as_ref().map(|arn| format!("as {arn}")));
    for line in wrap(&plain(&parts.join(" · ")), WIDTH - 4) {
        writeln!(page, "    {line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::audit::{Action, Event, Operator};

    #[test]
    fn a_table_tells_it_all_within_the_width() {
        let event = Event {
            operator: Operator { name: "ann".to_owned(), arn: Some(format!("arn:aws:sts::1:{}", "x".repeat(90))) },
            action: Action::Reprioritise,
            target: Target::Matching("tenant acme, priority bulk".to_owned()),
            before: Some("bulk".to_owned()),
            after: Some("high".to_owned()),
            reason: Some("customer waits".to_owned()),
            outcome: [("changed".to_owned(), 1_204), ("running".to_owned(), 2)].into(),
            stopped: Some("interrupted".to_owned()),
        };
        let page = table(&[Entry { at: Timestamp(1_795_252_123_456), event }]);
        for part in [
            "2026-11-21 09:08:43 UTC  ann",
            "reprioritise",
            "tenant acme, priority bulk",
            "bulk → high",
            "1,204 changed, 2 running",
        ] {
            assert!(page.contains(part), "{page}");
        }
        assert!(page.contains("because: customer waits") && page.contains("stopped early: interrupted"), "{page}");
        assert!(page.lines().all(|line| line.chars().count() <= WIDTH), "{page}");
    }

    #[test]
    fn a_day_is_a_day() {
        assert_eq!(day("2026-11-21"), Ok("2026-11-21".to_owned()));
        assert!(day("21.11.2026").is_err() && day("2026-13-01").is_err());
    }
}
