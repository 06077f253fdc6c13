//! `smoother results`: drains the results queue to JSON lines.

mod drain;
mod line;
mod sink;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;
use tokio::time::Instant;

use crate::config::parse_duration;
use crate::ports::{PortResult, Queue};

use self::drain::{Drain, Flow};
use self::sink::Sink;
use super::format::count;
use super::place::{Place, PlaceArgs};
use super::{Done, Error, say};

/// Results taken at a time: bounds what is in memory, and what a kill lets come again. It begins with one and doubles,
/// so that little is in the pipe when a reader such as `head` has had enough.
const BATCH: u64 = 50;
/// The longest receive.
const LONGEST: Duration = Duration::from_secs(20);

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
A line is the result message as consumers receive it, with the result body inlined. A result leaves
the queue only after its line is written: with --out it is on disk then, in a pipe the reader may
still miss it, so use --max to look at a few. Results come at least once; repeats of a request_id
within a run are dropped. When a body is gone the line keeps result_s3 and says
\"result_missing\": true; one that is no JSON stays where result_s3 points, and the line says
\"result_not_json\": true.")]
pub struct Args {
    /// Append to this file instead of writing to stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// End after this many results
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max: Option<u64>,
    /// End when no result has come for this long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = wait)]
    wait: Duration,
    /// Go on until interrupted
    #[arg(long, conflicts_with = "wait")]
    follow: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

fn wait(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "expected a time such as 5s, 500ms or 2m".to_owned())
}

pub async fn results(args: Args) -> Done {
    let place = args.place.open_existing().await?;
    let sink = match &args.out {
        None => Sink::stdout(),
        Some(path) => Sink::append(path).map_err(Error::io(format!("write to {}", path.display())))?,
    };
    let mut drain = Drain::new(&place.ports, sink);
    let wait = (!args.follow).then_some(args.wait);
    let drained = drain_all(&mut drain, &*place.ports.results, wait, args.max).await;
    let totals = &drain.totals;
    if !matches!(drained, Ok(End::Closed)) || totals.left + totals.undeleted > 0 {
        say(&totals.closing());
    }
    if drained? == End::Empty
        && let Some(hint) = still_to_come(&place, &args.place.flags()).await
    {
        say(&hint);
    }
    Ok(if totals.left > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Why a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nothing came for long enough.
    Empty,
    /// As many as were asked for.
    Enough,
    /// Nobody reads any more.
    Closed,
    /// Ctrl-C.
    Interrupted,
}

async fn drain_all(
    drain: &mut Drain<'_>,
    queue: &dyn Queue,
    wait: Option<Duration>,
    max: Option<u64>,
) -> Result<End, Error> {
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut quiet_since = Instant::now();
    let mut batch = 1;
    loop {
        let wanted = max.map_or(batch, |max| max.saturating_sub(drain.totals.written).min(batch));
        if wanted == 0 {
            return Ok(End::Enough);
        }
        let patience = wait.map_or(LONGEST, |wait| wait.saturating_sub(quiet_since.elapsed()).min(LONGEST));
        let receive = queue.receive(usize::try_from(wanted).unwrap_or(1), patience);
        let received: PortResult<_> = tokio::select! {
            biased;
            _ = &mut interrupt => return Ok(End::Interrupted),
            received = receive => received,
        };
        let deliveries = received?;
        if deliveries.is_empty() {
            if wait.is_some_and(|wait| quiet_since.elapsed() >= wait) {
                return Ok(End::Empty);
            }
            continue;
        }
        if drain.take(deliveries, &mut say).await? == Flow::Closed {
            return Ok(End::Closed);
        }
        quiet_since = Instant::now();
        batch = (batch * 2).min(BATCH);
    }
}

/// What else will arrive, so that nobody takes an empty queue for the end.
async fn still_to_come(place: &Place, flags: &str) -> Option<String> {
    let counts = place.ports.ledger.counts().await.ok()?;
    let open: u64 = counts.by_status.iter().filter(|(status, _)| !status.is_terminal()).map(|(_, n)| n).sum();
    let waiting = place.ports.input.depth().await.ok()?;
    let open = open + waiting.visible + waiting.in_flight;
    (open > 0).then(|| {
        format!(
            "{} still to come: smoother results{flags} --follow, or see smoother status{flags}",
            count(open, "request")
        )
    })
}

#[cfg(test)]
mod tests;
