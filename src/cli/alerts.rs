//! `smoother alerts`: what on-call was told of and is not over, and a test of the ways there.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};
use serde::Serialize;
use serde_json::value::RawValue;

use super::format::{WIDTH, clip, count, plain, shell_word, span};
use super::place::{Place, PlaceArgs};
use super::run::alert_settings;
use super::{Done, Error, print};
use crate::clock::Timestamp;
use crate::pipeline::alerts::board::{Board, Entry, Report, Sums, Told};
use crate::pipeline::alerts::conditions::Condition;
use crate::pipeline::alerts::{Frame, board};
use crate::ports::alerts::{Severity, State};
use crate::ports::{Alert, PortResult};

/// How long a channel may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Shows what on-call was told of and is not over; nothing is told anew by looking.
#[derive(Debug, ClapArgs)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "JSON: alerts, an array of alerts as docs/alerts.md describes them. Exit status: 0, also while alerts are open."
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows one in full: impact, numbers, causes, what to look at and what to do
    Show(ShowArgs),
    /// Sends a test through every channel and says where it went
    Test(TestArgs),
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "Exit status: 1 when no alert of that key is open.")]
struct ShowArgs {
    /// As smoother alerts lists it
    #[arg(value_name = "KEY")]
    key: String,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Needs the rights of a worker to publish. JSON: channels [channel, delivered, error].
Exit status: 1 when a channel did not take it.")]
struct TestArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// An open alert in the overview. As JSON these names are stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AlertNow {
    /// Of which condition.
    pub key: String,
    /// How bad.
    pub severity: Severity,
    /// Where and what.
    pub subject: String,
    /// Since when.
    pub since: Timestamp,
    /// How often it has happened.
    pub count: u64,
}

/// What is open, the worst first.
pub async fn open(place: &Place) -> PortResult<Vec<AlertNow>> {
    let alerts = alerts_of(place, &board(&*place.ports.registers).await?);
    let now = |alert: Alert| AlertNow {
        key: alert.key,
        severity: alert.severity,
        // The state and the place are said by where it stands.
        subject: alert.subject.split_once(": ").map_or(alert.subject.clone(), |(_, what)| what.to_owned()),
        since: alert.since,
        count: alert.count,
    };
    Ok(alerts.into_iter().map(now).collect())
}

/// Two lines for people: what, and since when with its key.
pub fn lines(alert: &AlertNow, now: Timestamp) -> [String; 2] {
    let AlertNow { key, severity, subject, since, count: times } = alert;
    let first = format!("{:<9} {}", severity.as_str(), plain(subject));
    let second = format!("{:<9} for {}, {} · {}", "", span(now.since(*since)), count(*times, "time"), plain(key));
    [first, second]
}

pub async fn alerts(args: Args) -> Done {
    match args.command {
        None => list(&args.place, args.json).await,
        Some(Command::Show(args)) => show(args).await,
        Some(Command::Test(args)) => test(args).await,
    }
}

async fn list(place: &PlaceArgs, json: bool) -> Done {
    let flags = place.flags();
    let place = place.open_existing().await?;
    if json {
        #[derive(Serialize)]
        struct Listed {
            alerts: Vec<Box<RawValue>>,
        }
        let alerts = alerts_of(&place, &board(&*place.ports.registers).await?);
        let alerts = alerts.iter().filter_map(|alert| RawValue::from_string(alert.to_json()).ok());
        print(&serde_json::to_string(&Listed { alerts: alerts.collect() }).unwrap_or_default())?;
        return Ok(ExitCode::SUCCESS);
    }
    print(page(&open(&place).await?, place.clock.now(), &flags).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn page(open: &[AlertNow], now: Timestamp, flags: &str) -> String {
    let Some(first) = open.first() else { return "nothing is open".to_owned() };
    let mut page = String::new();
    for [what, key] in open.iter().map(|alert| lines(alert, now)) {
        // The key in full, since it is to be copied. Writing to a String cannot fail.
        _ = writeln!(page, "{}\n{key}", clip(&what, WIDTH));
    }
    _ = writeln!(page, "\nwhat to do: smoother alerts show {}{flags}", shell_word(&first.key));
    page
}

async fn show(args: ShowArgs) -> Done {
    let place = args.place.open_existing().await?;
    let open = alerts_of(&place, &board(&*place.ports.registers).await?);
    let Some(alert) = open.iter().find(|alert| alert.key == args.key) else {
        return Err(Error::Said(format!("no alert {:?} is open; smoother alerts lists those that are", args.key)));
    };
    if args.json {
        print(&alert.to_json())?;
    } else {
        print(alert.text().trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What became of a test.
#[derive(Debug, Serialize)]
struct Tested {
    channel: String,
    delivered: bool,
    error: Option<String>,
}

async fn test(args: TestArgs) -> Done {
    let place = args.place.open_existing().await?;
    let Some(alert) = test_alert(&place) else { return Err(Error::Said("there is nothing to send".to_owned())) };
    let mut channels = Vec::new();
    for channel in &place.ports.alerts {
        let sent = tokio::time::timeout(PATIENCE, channel.publish(&alert)).await;
        let error = match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no answer in time".to_owned()),
        };
        channels.push(Tested { channel: channel.name(), delivered: error.is_none(), error });
    }
    if args.json {
        #[derive(Serialize)]
        struct Answer<'a> {
            channels: &'a [Tested],
        }
        print(&serde_json::to_string(&Answer { channels: &channels }).unwrap_or_default())?;
    } else {
        for Tested { channel, error, .. } in &channels {
            match error {
                None => print(&format!("delivered to {channel}"))?,
                Some(error) => print(&format!("NOT delivered to {channel}: cannot {error}"))?,
            }
        }
    }
    let all = channels.iter().all(|tested| tested.delivered);
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What happens at once is told at once, so there is one.
fn test_alert(place: &Place) -> Option<Alert> {
    let (now, settings) = (place.clock.now(), alert_settings(&place.config));
    let once = Report::Happened(Condition::Test, Sums { events: 1, ..Sums::default() });
    let mut board = Board::default();
    board.apply(&[once], now, &settings);
    written(place, &board.open(), State::Firing).pop()
}

fn alerts_of(place: &Place, board: &Board) -> Vec<Alert> {
    written(place, &board.open(), State::Ongoing)
}

fn written(place: &Place, entries: &[&Entry], state: State) -> Vec<Alert> {
    let frame = Frame::new(&place.config, place.dir.as_deref(), "smoother alerts");
    let (now, settings) = (place.clock.now(), alert_settings(&place.config));
    let told = entries.iter().map(|entry| Told { state, entry: (*entry).clone() });
    told.map(|told| frame.alert(&told, now, &settings)).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::pipeline::alerts::samples;
    use crate::ports::alerts::{Kind, Step};

    const RUNBOOK: &str = include_str!("../../docs/runbook.md");

    #[test]
    fn the_worst_is_explained_first_and_keys_are_whole() {
        let now = Timestamp(1_795_252_123_456);
        let alert = |severity, what: &str| AlertNow {
            key: format!("kind/{}", "k".repeat(120)),
            severity,
            subject: what.to_owned(),
            since: now - Duration::from_secs(125),
            count: 1_340,
        };
        let open = [alert(Severity::Critical, "access denied to nova"), alert(Severity::Warning, &"x".repeat(200))];
        let page = page(&open, now, " --local ./data");
        assert!(
            page.starts_with("critical  access denied to nova\n          for 2 m 05 s, 1,340 times · kind/k"),
            "{page}"
        );
        assert!(page.lines().step_by(2).take(2).all(|line| line.chars().count() <= WIDTH), "{page}");
        assert!(page.lines().nth(3).unwrap().ends_with(&open[1].key), "{page}");
        assert!(page.trim_end().ends_with(" --local ./data") && page.contains("smoother alerts show kind/"), "{page}");
        assert_eq!(super::page(&[], now, ""), "nothing is open");
    }

    /// A line as a shell splits it, of what is written here: words and single quotes.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quoted = false;
        for c in line.chars() {
            match c {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                c => words.last_mut().unwrap().push(c),
            }
        }
        assert!(!quoted, "{line}");
        words.retain(|word| !word.is_empty());
        words
    }

    fn parses(line: &str) {
        if let Err(error) = super::super::Cli::try_parse_from(words(line)) {
            panic!("{line}\n{error}");
        }
    }

    /// What smoother's name begins, in backticks or in blocks for a shell.
    fn commands(page: &str) -> Vec<&str> {
        let mut found = Vec::new();
        let mut block: Option<bool> = None;
        for line in page.lines() {
            match (line.strip_prefix("```"), block) {
                (Some(_), Some(_)) => block = None,
                (Some(language), None) => block = Some(language == "sh"),
                (None, Some(true)) => found.push(line),
                (None, Some(false)) => {}
                (None, None) => found.extend(line.split('`').skip(1).step_by(2).filter(|c| c.starts_with("smoother "))),
            }
        }
        found
    }

    #[test]
    fn every_command_of_the_runbook_is_one() {
        let commands = commands(RUNBOOK);
        assert!(commands.len() > 50, "{commands:?}");
        for command in commands {
            // Names in capitals stand for something.
            parses(&command.replace("KEY", "budget/acme/day").replace(" ID", " order-4711"));
        }
    }

    #[test]
    fn every_command_of_an_alert_is_one() {
        let config = crate::config::Config::default();
        for frame in [samples::frame(), Frame::new(&config, Some("/srv/my data".as_ref()), "w")] {
            let mut commands = Vec::new();
            for condition in samples::all() {
                let alert = frame.alert(&samples::told(&condition, 12), samples::NOW, &samples::SETTINGS);
                commands.extend(alert.look.into_iter().chain(alert.fix).filter_map(|Step { run, .. }| run));
            }
            let (ours, others): (Vec<_>, Vec<_>) = commands.iter().partition(|run| run.starts_with("smoother "));
            assert!(ours.len() > 30 && others.iter().all(|run| run.starts_with("aws ")), "{others:?}");
            for run in ours {
                parses(run);
            }
        }
    }

    #[test]
    fn every_kind_has_its_section_in_the_runbook() {
        for kind in Kind::ALL {
            assert!(RUNBOOK.contains(&format!("\n### {}\n", kind.as_str())), "{kind:?} has no section");
        }
        // Links lead somewhere: an anchor is its heading in lower case, spaces as dashes.
        let headings = RUNBOOK.lines().filter_map(|line| line.strip_prefix("### "));
        let anchors: Vec<String> = headings.map(|heading| heading.to_lowercase().replace(' ', "-")).collect();
        for link in RUNBOOK.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(anchors.iter().any(|anchor| anchor == link), "#{link} leads nowhere");
        }
    }
}
