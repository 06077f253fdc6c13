//! `smoother cancel`, `reprioritise` and `deadline`: orders for requests that wait, by id or in bulk.

use std::io::{BufRead, IsTerminal};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::page::{self, Json, RequestJson, Words};
use super::selection::{Selection, SelectionArgs, hint, priority};
use super::times::{span, time};
use crate::cli::format::{count, thousands};
use crate::cli::operator::OperatorArgs;
use crate::cli::place::{Place, PlaceArgs};
use crate::cli::{Done, Error, print, say, status};
use crate::clock::Timestamp;
use crate::control::filter::Filter;
use crate::control::jobs::{self, Change, Jobs, Order, Report, Tally};
use crate::pipeline::fleet::{Fleet, Role};
use crate::ports::PortError;
use crate::request::{Priority, RequestId};

/// What all orders have.
#[derive(Debug, Args)]
struct OrderArgs {
    #[command(flatten)]
    selection: SelectionArgs,
    /// Why; goes into the history of each request and into the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only count what would be changed, by tenant, priority and lane
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before changing more than one request by filter
    #[arg(long)]
    yes: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Ends requests as CANCELLED without a (further) call; each gets its report and its result message.
/// A call in flight is let finish and counts if it answers.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct CancelArgs {
    #[command(flatten)]
    order: OrderArgs,
}

/// Gives requests in the backlog or in the hold queue another priority. The time they have waited still counts.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct ReprioritiseArgs {
    /// The new priority: urgent, high, normal, low, bulk, or 0 to 9
    #[arg(long, value_name = "P", value_parser = priority)]
    priority: Priority,
    #[command(flatten)]
    order: OrderArgs,
}

/// Gives requests in the backlog or in the hold queue another deadline, or none.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct DeadlineArgs {
    #[command(flatten)]
    new: NewDeadline,
    #[command(flatten)]
    order: OrderArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct NewDeadline {
    /// The new deadline, such as 2026-11-21T18:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Timestamp>,
    /// The new deadline, from now: 90s, 30m, 2h, 1d
    #[arg(long = "in", value_name = "SPAN", value_parser = span)]
    within: Option<Duration>,
    /// No deadline any more
    #[arg(long)]
    none: bool,
}

const AFTER_HELP: &str = "\
In bulk the backlog is walked page by page while work goes on: what was there at the start and still
waits when its turn comes is changed; giving the same order again catches the rest and changes nothing
twice. Ctrl-C ends it between two pages. Every order is in smoother audit.
JSON: order, dry_run, matching, counts {changed|after_call|running|unchanged|final|decided|unknown|
conflict|failed: n}, by_tenant, by_priority, by_lane, requests [request_id, outcome, status, why],
stopped. Exit status: 1 when a request that was named is not as ordered, or not all could be done.";

pub async fn cancel(args: CancelArgs) -> Done {
    let place = args.order.place.open_existing().await?;
    give(&place, &args.order, "cancel", Change::Cancel).await
}

pub async fn reprioritise(args: ReprioritiseArgs) -> Done {
    let place = args.order.place.open_existing().await?;
    give(&place, &args.order, "reprioritise", Change::Priority(args.priority)).await
}

pub async fn deadline(args: DeadlineArgs) -> Done {
    let place = args.order.place.open_existing().await?;
    let at = args.new.at.or(args.new.within.map(|span| place.clock.now() + span));
    give(&place, &args.order, "deadline", Change::Deadline(at)).await
}

impl From<jobs::Error> for Error {
    fn from(error: jobs::Error) -> Self {
        match error {
            jobs::Error::Port(error) => Self::Port(error),
            jobs::Error::Refused(why) => Self::Said(why.to_string()),
        }
    }
}

/// A command at work.
struct Command<'a> {
    place: &'a Place,
    args: &'a OrderArgs,
    name: &'static str,
    jobs: Jobs,
    order: Order,
}

async fn give(place: &Place, args: &OrderArgs, name: &'static str, change: Change) -> Done {
    let selection = args.selection.read(place)?;
    let reason = args.reason.clone().filter(|reason| !reason.trim().is_empty());
    // Who it is, is of interest only once something is changed.
    let operator = if args.dry_run {
        crate::control::audit::Operator::named(args.operator.name())
    } else {
        args.operator.operator(place).await
    };
    let jobs = Jobs::new(&place.ports, place.clock.clone(), operator, place.config.average_request_duration);
    let command = Command { place, args, name, jobs, order: Order { change, reason } };
    match selection {
        Selection::Ids(ids) => command.named(&ids).await,
        Selection::Matching(filter) => command.matching(&filter).await,
    }
}

impl Command<'_> {
    async fn named(&self, ids: &[RequestId]) -> Done {
        let (change, dry_run) = (self.order.change, self.args.dry_run);
        let answers = if dry_run {
            self.jobs.preview(ids, &self.order).await?
        } else {
            self.jobs.change(ids, &self.order).await?
        };
        if self.args.json {
            let mut tally = Tally::default();
            for (_, outcome) in &answers.outcomes {
                *tally.outcomes.entry(outcome.name()).or_default() += 1;
            }
            let requests = answers.outcomes.iter().map(RequestJson::of).collect();
            self.print_json(&tally, None, requests, None)?;
        } else {
            print(page::answers(&answers, change, dry_run).trim_end())?;
            let changed = answers.outcomes.iter().any(|(_, outcome)| *outcome == jobs::Outcome::Done);
            self.tell_if_idle(changed).await?;
        }
        audited(answers.not_audited)?;
        let good = answers.outcomes.iter().all(|(_, outcome)| outcome.is_good());
        Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn matching(&self, filter: &Filter) -> Done {
        let change = self.order.change;
        let mut expected = None;
        if self.args.dry_run || !self.args.yes {
            let seen = self.run(filter, true, None).await?;
            if self.args.dry_run {
                self.show(&seen, filter).await?;
                return seen
                    .stopped
                    .map_or(Ok(ExitCode::SUCCESS), |why| Err(Error::Said(format!("{why}: not all was counted"))));
            }
            if let Some(why) = seen.stopped {
                return Err(Error::Said(format!("{why}: nothing was changed")));
            }
            let n = seen.tally.changed();
            if n > 1 && !self.confirmed(&seen.tally, filter)? {
                return Err(Error::Said("nothing was changed".to_owned()));
            }
            expected = Some(n);
        }
        let report = self.run(filter, false, expected).await?;
        self.show(&report, filter).await?;
        audited(report.not_audited)?;
        if let Some(why) = report.stopped {
            return Err(Error::Said(format!(
                "stopped after {}: {why}\nThe same command again goes on with the rest.",
                count(report.tally.changed(), "request")
            )));
        }
        let words = Words::of(change);
        let failed = report.tally.count(&jobs::Outcome::Conflict);
        if failed > 0 {
            let failed = count(failed, "request");
            return Err(Error::Said(format!(
                "could not {} {failed}; the same command again tries them once more",
                words.verb
            )));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Walks, with a bar on a terminal; Ctrl-C ends it between two pages.
    async fn run(&self, filter: &Filter, preview: bool, expected: Option<u64>) -> Result<Report, Error> {
        let bar = progress(expected, if preview { "counting" } else { self.name });
        let mut watch = |tally: &Tally| bar.set_position(tally.changed());
        let stop = CancellationToken::new();
        let work = async {
            if preview {
                self.jobs.preview_matching(filter, &self.order, &mut watch, &stop).await
            } else {
                self.jobs.change_matching(filter, &self.order, &mut watch, &stop).await
            }
        };
        let mut work = pin!(work);
        let report = tokio::select! {
            report = &mut work => report,
            _ = tokio::signal::ctrl_c() => {
                stop.cancel();
                work.await
            }
        };
        bar.finish_and_clear();
        Ok(report?)
    }

    async fn show(&self, report: &Report, filter: &Filter) -> Result<(), Error> {
        let target = filter.to_string();
        if self.args.json {
            return self.print_json(&report.tally, Some(target), Vec::new(), report.stopped.as_deref());
        }
        if report.tally.met() == 0 {
            let none = match hint(self.place, filter).await? {
                Some(hint) => hint,
                None => format!("nothing that waits and is not so already matches: {target}"),
            };
            return print(&none);
        }
        print(page::tally(&report.tally, &target, self.order.change, self.args.dry_run).trim_end())?;
        self.tell_if_idle(report.tally.changed() > 0).await
    }

    fn print_json(
        &self,
        tally: &Tally,
        matching: Option<String>,
        requests: Vec<RequestJson<'_>>,
        stopped: Option<&str>,
    ) -> Result<(), Error> {
        let json = Json {
            order: self.name,
            dry_run: self.args.dry_run,
            matching,
            counts: tally.outcomes.clone(),
            by_tenant: &tally.by_tenant,
            by_priority: &tally.by_priority,
            by_lane: &tally.by_lane,
            requests,
            stopped,
        };
        print(&serde_json::to_string_pretty(&json).unwrap_or_default())
    }

    fn confirmed(&self, seen: &Tally, filter: &Filter) -> Result<bool, Error> {
        let (verb, n) = (Words::of(self.order.change).verb, count(seen.changed(), "request"));
        if !std::io::stdin().is_terminal() {
            return Err(Error::Said(format!(
                "this would {verb} {n} ({filter}), and there is no terminal to ask on: say --yes, or --dry-run to look"
            )));
        }
        say(page::tally(seen, &filter.to_string(), self.order.change, true).trim_end());
        say(&format!("\nThis will {verb} {n}. Go on? [y/N]"));
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map_err(Error::io("read the answer"))?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// What is cancelled is ended by workers.
    async fn tell_if_idle(&self, changed: bool) -> Result<(), Error> {
        if !changed || self.args.dry_run || self.order.change != Change::Cancel {
            return Ok(());
        }
        let now = self.place.clock.now();
        let members = Fleet::members(&*self.place.ports.registers).await?;
        let has = |role| members.iter().any(|m| m.roles.contains(&role) && status::is_alive(m, now));
        if !has(Role::Plan) || !has(Role::Call) {
            say("No worker is there to write their end: they get their report and result once smoother run works.");
        }
        Ok(())
    }
}

/// Done is done, but whoever reads the audit must know that something is missing there.
fn audited(not_audited: Option<PortError>) -> Result<(), Error> {
    not_audited.map_or(Ok(()), |error| {
        Err(Error::Said(format!("it is done, but the audit has no event of it: cannot {error}")))
    })
}

/// A bar on stderr; silent when that is no terminal.
fn progress(expected: Option<u64>, what: &str) -> ProgressBar {
    let (bar, template) = match expected {
        Some(expected) => {
            (ProgressBar::new(expected), format!("{what} {{bar:40}} {{human_pos}} of about {}", thousands(expected)))
        }
        None => (ProgressBar::new_spinner(), format!("{what} {{spinner}} {{human_pos}}")),
    };
    bar.with_style(ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}
