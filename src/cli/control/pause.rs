//! `smoother pause` and `resume`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::selection::{hint, tenant};
use super::times::{span, time};
use crate::cli::format::{WIDTH, clip, date_time, plain, shell_word, span as shown_span};
use crate::cli::operator::OperatorArgs;
use crate::cli::place::{Place, PlaceArgs};
use crate::cli::{Done, Error, print, say};
use crate::clock::Timestamp;
use crate::control::filter::Filter;
use crate::control::jobs::LONGEST_REASON;
use crate::control::pauses::{Pause, Pauses, Scope, Switch};

/// What is paused or resumed.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct ScopeArgs {
    /// Everything
    #[arg(long)]
    all: bool,
    /// A lane (as in smoother status --json), or all lanes of a model
    #[arg(long)]
    lane: Option<String>,
    /// A tenant
    #[arg(long)]
    tenant: Option<String>,
    /// What is asked by a use case
    #[arg(long, value_name = "NAME")]
    use_case: Option<String>,
}

impl ScopeArgs {
    fn read(&self) -> Result<Scope, Error> {
        Ok(match (&self.lane, &self.tenant, &self.use_case) {
            (Some(lane), _, _) => Scope::Lane(lane.clone()),
            (_, Some(name), _) => Scope::Tenant(tenant(name)?),
            (_, _, Some(name)) => Scope::UseCase(name.clone()),
            _ => Scope::All,
        })
    }
}

/// Nothing new of it is called until it is resumed: within two seconds, also of what is next. Calls in flight
/// finish. Requests are still taken and kept in line; what is past its deadline expires.
#[derive(Debug, Args)]
#[command(after_help = "\
Pausing what is paused changes the end and the reason. Pauses are in smoother status.
JSON: scope {kind: all|lane|tenant|use_case, name}, by, since, until, reason.")]
pub struct PauseArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// For this long, then it goes on by itself: 90s, 30m, 2h, 1d
    #[arg(long = "for", value_name = "SPAN", value_parser = span, conflicts_with = "until")]
    lasting: Option<Duration>,
    /// Until this time, such as 2026-11-21T18:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Why; shown wherever somebody asks why a request waits
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Ends a pause: work goes on within two seconds.
#[derive(Debug, Args)]
#[command(after_help = "\
Name what was paused: --all ends the pause of everything, and other pauses stay.
JSON: resumed {scope, by, since, until, reason}, still_paused [the same].
Exit status: 1 when it was not paused.")]
pub struct ResumeArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// Why; for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

pub async fn pause(args: PauseArgs) -> Done {
    let scope = args.scope.read()?;
    let reason = reason(args.reason)?;
    let place = args.place.open_existing().await?;
    let now = place.clock.now();
    let until = args.until.or(args.lasting.map(|span| now + span));
    if let Some(until) = until.filter(|until| *until <= now) {
        let (until, now) = (date_time(until), date_time(now));
        return Err(Error::Said(format!("--until {until} has passed, it is {now}; nothing was paused")));
    }
    let operator = args.operator.operator(&place).await;
    let by = operator.name.clone();
    let switch = Switch::new(&place.ports, place.clock.clone(), operator);
    let before = switch.pause(scope.clone(), reason.clone(), until).await?;
    let pause = Pause { scope, by, since: now, until, reason };
    if args.json {
        print(&serde_json::to_string_pretty(&pause).unwrap_or_default())?;
        return Ok(ExitCode::SUCCESS);
    }
    let was = before.map(|before| format!(" (it was paused by {} already)", plain(&before.by))).unwrap_or_default();
    print(&format!("paused: {}{was}", line(&pause, now)))?;
    if let Some(hint) = unknown(&place, &pause.scope).await? {
        say(&format!("Note: {hint}"));
    }
    say(&format!("Calls in flight finish. To go on: smoother resume{} {}", args.place.flags(), flag(&pause.scope)));
    Ok(ExitCode::SUCCESS)
}

pub async fn resume(args: ResumeArgs) -> Done {
    let scope = args.scope.read()?;
    let reason = reason(args.reason)?;
    let place = args.place.open_existing().await?;
    let operator = args.operator.operator(&place).await;
    let switch = Switch::new(&place.ports, place.clock.clone(), operator);
    let resumed = switch.resume(&scope, reason).await?;
    let now = place.clock.now();
    let left = Pauses::read(&*place.ports.registers).await?.in_force(now);
    let Some(resumed) = resumed else {
        let paused: Vec<String> = left.iter().map(|pause| flag(&pause.scope)).collect();
        let paused =
            if paused.is_empty() { "nothing is".to_owned() } else { format!("what is: {}", paused.join(", ")) };
        return Err(Error::Said(format!("{scope} is not paused; {paused}")));
    };
    if args.json {
        #[derive(Serialize)]
        struct Json {
            resumed: Pause,
            still_paused: Vec<Pause>,
        }
        print(&serde_json::to_string_pretty(&Json { resumed, still_paused: left }).unwrap_or_default())?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&format!("resumed: {scope}, after {}", shown_span(now.since(resumed.since))))?;
    for pause in &left {
        print(&format!("still paused: {}", line(pause, now)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn reason(reason: Option<String>) -> Result<Option<String>, Error> {
    let length = reason.as_ref().map_or(0, |reason| reason.chars().count());
    if length > LONGEST_REASON {
        return Err(Error::Said(format!("--reason has {length} characters; at most {LONGEST_REASON} are taken")));
    }
    Ok(reason.filter(|reason| !reason.trim().is_empty()))
}

/// A pause on a line: `tenant acme by ann, 12 m ago, until … (in 1 h 48 m): reason`.
pub fn line(pause: &Pause, now: Timestamp) -> String {
    let since = match now.since(pause.since) {
        since if since < Duration::from_secs(1) => String::new(),
        since => format!(", {} ago", shown_span(since)),
    };
    let until = match pause.until {
        Some(until) => format!(", until {} (in {})", date_time(until), shown_span(until.since(now))),
        None => ", until it is resumed".to_owned(),
    };
    let reason = pause.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    clip(&plain(&format!("{} by {}{since}{until}{reason}", pause.scope, pause.by)), WIDTH * 2)
}

/// The flag that names a scope.
fn flag(scope: &Scope) -> String {
    match scope {
        Scope::All => "--all".to_owned(),
        Scope::Lane(name) => format!("--lane {}", shell_word(name)),
        Scope::Tenant(tenant) => format!("--tenant {}", shell_word(tenant.as_str())),
        Scope::UseCase(name) => format!("--use-case {}", shell_word(name)),
    }
}

/// A name that nothing in line has may be a typo, or just early.
async fn unknown(place: &Place, scope: &Scope) -> Result<Option<String>, Error> {
    let filter = match scope.clone() {
        Scope::All => return Ok(None),
        Scope::Lane(name) => Filter { lane: Some(name), ..Filter::default() },
        Scope::Tenant(tenant) => Filter { tenant: Some(tenant), ..Filter::default() },
        Scope::UseCase(name) => Filter { use_case: Some(name), ..Filter::default() },
    };
    Ok(hint(place, &filter).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_tells_who_why_and_how_long() {
        let now = Timestamp(1_795_252_123_456);
        let mut pause = Pause {
            scope: Scope::UseCase("chat \u{1b}[2J".to_owned()),
            by: "ann".to_owned(),
            since: now - Duration::from_mins(12),
            until: Some(now + Duration::from_mins(108)),
            reason: Some("incident 7".to_owned()),
        };
        assert_eq!(
            line(&pause, now),
            "use case chat  [2J by ann, 12 m 00 s ago, until 2026-11-21 10:56:43 UTC (in 1 h 48 m): incident 7"
        );
        pause.until = None;
        assert!(line(&pause, now).contains("until it is resumed"));
        assert_eq!(flag(&Scope::UseCase("a b".to_owned())), "--use-case 'a b'");
    }
}
