//! `smoother export`: the reporting table as files by day and hour.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::aws::clients;
use crate::aws::export_bucket::ExportBucket;
use crate::aws::schema::EXPORTS;
use crate::clock::Timestamp;
use crate::export::{Export, ExportTarget, Format, Hour, Progress, Range, Summary};
use crate::local::ExportDir;

use super::control::times::{Moment, moment, span};
use super::format::{count, date_time, shell_word, thousands};
use super::place::{Place, PlaceArgs};
use super::{Done, Error, print};

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
One file an hour in UTC by when requests finished: day=2026-11-21/part-09.parquet. Files appear whole;
one is replaced only when its rows have changed. The next export goes on where the last one ended and
looks again at --again before that, since rows may come late; the current hour is exported as far as it
is. Killed or run twice, it loses nothing and doubles nothing. A file is never replaced by one with fewer
rows, so rows whose time in the table is over stay exported; delete a file to have it written anew.
Notes of what is done are in _smoother/ at the target. Columns and example queries: docs/reporting.md.
JSON: target, format, since, until, written, unchanged, kept (files), rows, bytes (of what was written),
rows_read, interrupted.")]
pub struct Args {
    /// What files to write
    #[arg(long, value_enum)]
    format: Format,
    /// A directory, or s3://bucket/prefix
    #[arg(long, value_name = "DIR|s3://BUCKET/PREFIX")]
    to: String,
    /// From the hour of this time on, instead of where the last export ended: 2026-11-21, 2026-11-21T09:00:00Z, 12h, 30d
    #[arg(long, value_name = "TIME|AGO", value_parser = time)]
    since: Option<Moment>,
    /// Up to this time, its hour included
    #[arg(long, value_name = "TIME|AGO", value_parser = time)]
    until: Option<Moment>,
    /// How far before the end of the last export to look again for rows that came late
    #[arg(long, value_name = "SPAN", value_parser = span, default_value = "24h", conflicts_with = "since")]
    again: Duration,
    /// Only hours that are over: their files rarely change any more
    #[arg(long)]
    whole_hours: bool,
    /// Print one JSON object instead of the summary
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

fn time(text: &str) -> Result<Moment, String> {
    let day = Timestamp::parse(&format!("{text}T00:00:00Z")).map(Moment::At);
    day.or_else(|_| moment(text)).map_err(|_| {
        "expected a day such as 2026-11-21, a time such as 2026-11-21T09:30:00Z, or how long ago: 30m, 12h, 7d"
            .to_owned()
    })
}

pub async fn export(args: Args) -> Done {
    let place = args.place.open_existing().await?;
    let range = args.range(&place)?;
    let target = open_target(&args.to, &place).await?;
    let stop = CancellationToken::new();
    let bar = progress_bar();
    let progress = |progress: Progress| {
        bar.set_message(format!("{}  {}", progress.hour, count(progress.rows, "row")));
        bar.tick();
    };
    let export = Export {
        reports: &*place.ports.reports,
        target: &*target,
        format: args.format,
        progress: &progress,
        stop: &stop,
    };
    let mut run = std::pin::pin!(export.run(range));
    let done = tokio::select! {
        done = &mut run => done,
        _ = tokio::signal::ctrl_c() => {
            stop.cancel();
            run.await
        }
    };
    bar.finish_and_clear();
    let summary = done?;
    if args.json {
        print(&json(&args, &summary)?)?;
    } else {
        print(&page(&args, &summary))?;
    }
    Ok(if summary.interrupted { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Args {
    fn range(&self, place: &Place) -> Result<Range, Error> {
        let now = place.clock.now();
        let until = match self.until {
            Some(until) => Hour::from(until.ago(now).min(now)),
            None if self.whole_hours => Hour::of(now),
            None => Hour::of(now).next(),
        };
        let until = if self.whole_hours { until.min(Hour::of(now)) } else { until };
        let since = self.since.map(|since| Hour::of(since.ago(now)));
        if let Some(since) = since.filter(|since| *since >= until) {
            return Err(Error::Said(format!(
                "nothing lies between --since ({since} UTC) and the end ({until} UTC); choose an earlier --since"
            )));
        }
        let kept = Duration::from_hours(24 * u64::from(place.config.report_retention_days));
        Ok(Range { since, until, again: self.again, earliest: Hour::of(now - kept) })
    }
}

async fn open_target(to: &str, place: &Place) -> Result<Box<dyn ExportTarget>, Error> {
    if to.starts_with("s3://") {
        let sdk = clients::sdk_config(&place.config.aws_region).await?;
        let target = ExportBucket::new(&sdk, to)?;
        if place.config.bucket.as_deref() == Some(target.bucket()) && !target.prefix().starts_with(EXPORTS) {
            return Err(Error::Said(format!(
                "--to is {to}, in the bucket of request and result bodies; exports have their place there: --to s3://{}/{EXPORTS}",
                target.bucket()
            )));
        }
        return Ok(Box::new(target));
    }
    if to.is_empty() || to.contains("://") {
        return Err(Error::Said(format!("--to is {to:?}; expected a directory or s3://bucket/prefix")));
    }
    Ok(Box::new(ExportDir::open(PathBuf::from(to), place.clock.now()).await?))
}

/// Hidden where nobody looks.
fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::new_spinner().with_style(style)
}

fn json(args: &Args, summary: &Summary) -> Result<String, Error> {
    #[derive(serde::Serialize)]
    struct Json<'a> {
        target: &'a str,
        format: Format,
        #[serde(flatten)]
        summary: &'a Summary,
    }
    let json = Json { target: &args.to, format: args.format, summary };
    serde_json::to_string_pretty(&json).map_err(|error| Error::Said(error.to_string()))
}

fn page(args: &Args, summary: &Summary) -> String {
    let Summary { written, unchanged, kept, rows, bytes, .. } = summary;
    let mut page = format!("{}, {}, in {}", count(*written, "file") + " written", count(*rows, "row"), size(*bytes));
    if *unchanged > 0 {
        page += &format!("; {} unchanged", thousands(*unchanged));
    }
    if *kept > 0 {
        page += &format!("; {} kept, which have more rows than the table still has", thousands(*kept));
    }
    if let (Some(since), Some(until)) = (summary.since, summary.until) {
        page += &format!("\n{} to {}, in {}", date_time(since), date_time(until), shell_word(&args.to));
    }
    if summary.interrupted {
        page += "\ninterrupted; the same command goes on from there";
    } else if summary.rows_read == 0 {
        page += "\nno request finished in this time";
    }
    page
}

/// `999 bytes`, `12.3 KB`, `4.5 MB`.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => count(bytes, "byte"),
        1_000..1_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> Args {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let line: Line = clap::Parser::parse_from(["x", "--format", "csv", "--to", "my dir"]);
        line.args
    }

    #[test]
    fn a_summary_tells_what_happened() {
        let done = Summary {
            since: Some(Timestamp(1_795_248_000_000)),
            until: Some(Timestamp(1_795_255_200_000)),
            written: 2,
            unchanged: 22,
            kept: 1,
            rows: 12_345,
            bytes: 1_234_567,
            rows_read: 99_999,
            interrupted: false,
        };
        assert_eq!(
            page(&args(), &done),
            "2 files written, 12,345 rows, in 1.2 MB; 22 unchanged; 1 kept, which have more rows than the table still has\n\
             2026-11-21 08:00:00 UTC to 2026-11-21 10:00:00 UTC, in 'my dir'"
        );
        assert!(page(&args(), &Summary::default()).ends_with("no request finished in this time"));
        let parsed: serde_json::Value = serde_json::from_str(&json(&args(), &done).unwrap()).unwrap();
        assert_eq!(
            (&parsed["target"], &parsed["format"], &parsed["written"]),
            (&"my dir".into(), &"csv".into(), &2.into())
        );
        assert_eq!(parsed["since"], "2026-11-21T08:00:00.000Z");
    }

    #[test]
    fn times_are_days_moments_or_distances() {
        let at = |text: &str| Moment::At(Timestamp::parse(text).unwrap());
        assert_eq!(time("2026-11-21"), Ok(at("2026-11-21T00:00:00Z")));
        assert_eq!(time("2026-11-21T09:30:00Z"), Ok(at("2026-11-21T09:30:00Z")));
        assert_eq!(time("12h"), Ok(Moment::Span(Duration::from_hours(12))));
        assert!(time("yesterday").unwrap_err().contains("2026-11-21"));
    }
}
