//! `smoother report`: sums over the reporting table, as a table, CSV, JSON, Markdown, or a page with charts.

mod columns;
mod csv;
#[cfg(test)]
mod golden;
mod html;
mod markdown;
mod summary;
mod table;
mod units;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args as ClapArgs, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use crate::clock::Timestamp;
use crate::control::filter::Priorities;
use crate::models::quota_id;
use crate::report::{Aggregate, Dimension, Filter, ModelName, Origin, Period, Question, Report, Scan};
use crate::request::Status;

use self::table::Width;
use super::control::priorities;
use super::control::times::{Past, past};
use super::format::{shell_word, thousands};
use super::place::{PlaceArgs, Reporting};
use super::status::paint::Paint;
use super::{Done, Error, print, say};

const DAY: Duration = Duration::from_hours(24);
/// More would be a mistake, and many queries.
const LONGEST: Duration = Duration::from_hours(24 * 3_660);
/// Stretches of time that are listed; more is no table for people.
const MOST_STRETCHES: u128 = 10_000;
/// How often the progress is drawn, in rows.
const LOOK: u64 = 10_000;

/// Sums up the requests that finished in a period: how they ended, what they cost, how long they waited, what was throttled,
/// and how much of the quotas was used. In total and by group. All times are UTC.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  smoother report                                     the last 24 hours, by model
  smoother report --since 7d --by day                 a line a day; days in which nothing ended too
  smoother report --since 2026-11-01 --until 2026-12-01 --by tenant --by model --top 5 --format csv
  smoother report --since today --status failed --by error
  smoother report --since 7d --html report.html       a page with charts, to open, mail or print

A request counts when it finished. Costs are sums of what is known; answers of unknown price are counted
beside them (\u{2265} $1.20), never as nothing. Use of a quota is that of the minutes in which a call started.
JSON, CSV and every figure are described in docs/report.md. On AWS it needs the name of the reporting
table and the right to dynamodb:Query on it, nothing else.")]
pub struct Args {
    /// Group by this; twice (or with a comma) for groups within groups [default: model]
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = dimension())]
    by: Vec<Dimension>,
    /// From this time on: a date or time, how long ago (90m, 24h, 7d), today or yesterday [default: 24h]
    #[arg(long, value_name = "TIME|AGO", value_parser = past)]
    since: Option<Past>,
    /// Before this time; a date means its first moment [default: now]
    #[arg(long, value_name = "TIME|AGO", value_parser = past)]
    until: Option<Past>,
    /// Show this many groups (of the second kind, within each of the first), and the rest in one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    top: Option<u32>,
    #[command(flatten)]
    filters: FilterArgs,
    /// What to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Write a page with charts into this file as well: one file that needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArgs,
}

const FILTERS: &str = "Filters; each may be repeated, and then one of its values must be true";

#[derive(Debug, ClapArgs)]
struct FilterArgs {
    /// Of this tenant
    #[arg(long, help_heading = FILTERS)]
    tenant: Vec<String>,
    /// That used or asked for this model: its id, the id of a profile, or an ARN
    #[arg(long, value_name = "ID", help_heading = FILTERS)]
    model: Vec<String>,
    /// Asked by this use case
    #[arg(long, value_name = "NAME", help_heading = FILTERS)]
    use_case: Vec<String>,
    /// Of this priority: urgent, high, normal, low or bulk with all numbers of the class, or one number
    #[arg(long, value_name = "P", value_parser = priorities, help_heading = FILTERS)]
    priority: Vec<Priorities>,
    /// That ended so: succeeded, failed, rejected, cancelled or expired
    #[arg(long, value_parser = status, help_heading = FILTERS)]
    status: Vec<Status>,
    /// Of this batch
    #[arg(long, value_name = "ID", help_heading = FILTERS)]
    batch: Vec<String>,
    /// Of this lane, or of all lanes of a model
    #[arg(long, help_heading = FILTERS)]
    lane: Vec<String>,
    /// That ended with this error, such as ThrottlingException
    #[arg(long, value_name = "TYPE", help_heading = FILTERS)]
    error: Vec<String>,
}

/// What goes to stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// A line a group, and one of the total
    Csv,
    /// One object
    Json,
    /// A table in Markdown
    Md,
}

fn dimension() -> impl TypedValueParser<Value = Dimension> {
    let names = Dimension::ALL.map(Dimension::flag);
    PossibleValuesParser::new(names).try_map(|text| {
        Dimension::ALL.into_iter().find(|one| one.flag() == text).ok_or_else(|| format!("{text:?} is no dimension"))
    })
}

fn status(text: &str) -> Result<Status, String> {
    let found = Status::parse(&text.to_uppercase()).filter(|status| status.is_terminal());
    found.ok_or_else(|| {
        "expected succeeded, failed, rejected, cancelled or expired; what is not finished is in smoother status"
            .to_owned()
    })
}

impl FilterArgs {
    fn filter(&self) -> Filter {
        let model = |given: &String| ModelName { given: given.clone(), quota: quota_id(given).to_owned() };
        Filter {
            tenants: self.tenant.clone(),
            models: self.model.iter().map(model).collect(),
            use_cases: self.use_case.clone(),
            priorities: self.priority.clone(),
            statuses: self.status.clone(),
            batches: self.batch.clone(),
            lanes: self.lane.clone(),
            errors: self.error.clone(),
        }
    }
}

impl Args {
    /// What is asked, or what is wrong with it.
    fn question(&self, now: Timestamp) -> Result<Question, Error> {
        let period = self.period(now)?;
        let by = if self.by.is_empty() { vec![Dimension::Model] } else { self.by.clone() };
        if by.len() > 2 {
            let names: Vec<&str> = by.iter().map(|one| one.flag()).collect();
            return Err(said(format!(
                "--by takes one or two of what there is, not {} ({})",
                by.len(),
                names.join(", ")
            )));
        }
        if let [one, other] = by.as_slice()
            && one == other
        {
            return Err(said(format!("--by {} twice makes no smaller groups: leave one out", one.flag())));
        }
        for (width, one) in by.iter().filter_map(|one| Some((one.width()?, one))) {
            let stretches = period.length().as_millis() / width.as_millis();
            if stretches > MOST_STRETCHES {
                let n = thousands(u64::try_from(stretches).unwrap_or(u64::MAX));
                return Err(said(format!(
                    "--by {} would make {n} lines: take --by day, or a shorter period with --since and --until",
                    one.flag()
                )));
            }
        }
        if self.top.is_some() && by.last().is_some_and(|last| last.width().is_some()) {
            return Err(said(
                "--top ranks groups by cost, but days and hours are shown in order of time: leave it out, or put another --by last"
                    .to_owned(),
            ));
        }
        let top = self.top.map(|top| usize::try_from(top).unwrap_or(usize::MAX));
        Ok(Question { period, by, filter: self.filters.filter(), top, series: self.html.is_some() })
    }

    fn period(&self, now: Timestamp) -> Result<Period, Error> {
        let since = self.since.unwrap_or(Past::Ago(DAY)).from(now);
        let until = self.until.map_or(now, |until| until.from(now));
        if since >= now {
            return Err(said(format!("--since {since} is not over yet; it is {now}, and times are UTC")));
        }
        if since >= until {
            let hint = if self.since.is_none() { " (24 h ago, because --since is not given)" } else { "" };
            return Err(said(format!(
                "the period is empty: --since is {since}{hint}, --until is {until}; times are UTC"
            )));
        }
        let period = Period { since, until: until.min(now) };
        if period.length() > LONGEST {
            return Err(said(format!(
                "the period from {since} on is longer than ten years: give a later --since, such as 90d"
            )));
        }
        Ok(period)
    }
}

fn said(what: String) -> Error {
    Error::Said(what)
}

pub async fn report(args: Args) -> Done {
    if let Some(file) = &args.html {
        writable(file)?;
    }
    let place = args.place.open_reporting().await?;
    let question = args.question(place.clock.now())?;
    let report = read(&place, question).await?;
    let format = if args.json { Format::Json } else { args.format };
    match format {
        Format::Table => print(table::table(&report, Width::of_stdout(), Paint::of_stdout()).trim_end())?,
        Format::Csv => print(csv::csv(&report).trim_end())?,
        Format::Md => print(markdown::markdown(&report).trim_end())?,
        Format::Json => print(&serde_json::to_string_pretty(&report).unwrap_or_default())?,
    }
    if let Some(file) = &args.html {
        write(file, &html::page(&report))?;
        say(&format!("A page with charts is in {}", shell_word(&file.display().to_string())));
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads all of the period, with a bar on a terminal.
async fn read(place: &Reporting, question: Question) -> Result<Report, Error> {
    let origin =
        Origin { place: place.name.clone(), generated_at: place.clock.now(), version: env!("CARGO_PKG_VERSION") };
    let period = question.period;
    let bar = ProgressBar::new(u64::try_from(period.length().as_millis()).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("reading {bar:40} {msg}") {
        bar.set_style(style);
    }
    let mut aggregate = Aggregate::new(question);
    let mut scan = Scan::new(place.reports.clone(), period);
    let (mut rows, mut drawn) = (0_u64, 0);
    while let Some(page) = scan.next().await? {
        for row in &page.rows {
            aggregate.add(row);
        }
        aggregate.complete(page.complete_until);
        rows += page.rows.len() as u64;
        if rows - drawn >= LOOK {
            drawn = rows;
            let done = page.complete_until.since(period.since);
            bar.set_position(u64::try_from(done.as_millis()).unwrap_or(u64::MAX));
            bar.set_message(format!("{} rows", thousands(rows)));
        }
    }
    bar.finish_and_clear();
    Ok(aggregate.finish(origin))
}

/// Says early that a file cannot be written; reading may take a while.
fn writable(file: &Path) -> Result<(), Error> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let shown = file.display();
    match folder {
        _ if file.is_dir() => {
            Err(said(format!("--html {shown} is a directory: name a file, such as {shown}/report.html")))
        }
        Some(folder) if !folder.is_dir() => {
            Err(said(format!("--html {shown}: there is no directory {}; make it first", folder.display())))
        }
        _ => Ok(()),
    }
}

/// Whoever looks sees the old page or the new one.
fn write(file: &Path, text: &str) -> Result<(), Error> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = file.with_file_name(name);
    let failed = || Error::io(format!("write {}", file.display()));
    fs::write(&part, text).map_err(failed())?;
    fs::rename(&part, file).map_err(failed())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn now() -> Timestamp {
        Timestamp::parse("2026-11-21T09:08:43.456Z").unwrap()
    }

    fn question(flags: &str) -> Result<Question, String> {
        let line = ["report"].into_iter().chain(flags.split_whitespace());
        let line = Line::try_parse_from(line).map_err(|error| error.to_string())?;
        line.args.question(now()).map_err(|error| error.to_string())
    }

    #[test]
    fn without_flags_it_is_the_last_day_by_model() {
        let question = question("").unwrap();
        assert_eq!(question.period, Period { since: now() - DAY, until: now() });
        assert_eq!((question.by, question.top, question.series), (vec![Dimension::Model], None, false));
        assert!(question.filter.is_empty());
    }

    #[test]
    fn flags_are_read() {
        let question = question(
            "--by day,tenant --top 3 --since 2026-11-01 --until 2026-11-08 --tenant a --tenant b --model us.amazon.nova-lite-v1:0 \
             --priority urgent --priority 5 --status failed --error x --lane l --batch b --use-case u",
        )
        .unwrap();
        assert_eq!((question.by, question.top), (vec![Dimension::Day, Dimension::Tenant], Some(3)));
        assert_eq!(question.period.length(), 7 * DAY);
        assert_eq!(
            question.filter.to_string(),
            "tenant a or b, model us.amazon.nova-lite-v1:0, use case u, priority urgent or 5, status failed, batch b, lane l, error x"
        );
        assert_eq!(question.filter.models[0].quota, "us.amazon.nova-lite-v1:0");
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        for (flags, why) in [
            ("--by modl", "a similar value exists: 'model'"),
            ("--by a", "possible values: day, hour, tenant"),
            ("--by day,tenant,model", "--by takes one or two"),
            ("--by day --by day", "--by day twice"),
            ("--since tomorrow", "expected a UTC date"),
            ("--since 2027-01-01", "is not over yet"),
            ("--since 1h --until 2h", "the period is empty: --since is 2026-11-21T08:08:43.456Z, --until"),
            ("--until 2026-11-01", "because --since is not given"),
            ("--since 1970-01-01", "longer than ten years"),
            ("--by hour --since 2020-01-01", "would make 60,393 lines"),
            ("--by day --top 3", "--top ranks groups"),
            ("--top 0", "0 is not in 1.."),
            ("--status queued", "smoother status"),
            ("--priority 12", "from 0 (first) to 9 (last)"),
            ("--format xml", "possible values: table, csv, json, md"),
            ("--json --format csv", "cannot be used with"),
        ] {
            let error = question(flags).unwrap_err();
            assert!(error.contains(why), "{flags}: {error}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_said_before_anything_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("no/report.html");
        assert!(writable(&missing).unwrap_err().to_string().contains("there is no directory"));
        assert!(writable(dir.path()).unwrap_err().to_string().contains("is a directory"));
        let file = dir.path().join("report.html");
        writable(&file).unwrap();
        write(&file, "one").unwrap();
        write(&file, "two").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
