//! `smoother status`: the fleet at a glance, or the whole story of one request.

mod ahead;
mod lanes;
mod overview;
mod page;
mod paint;
mod request;
mod story;
mod tenants;
mod waits;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;

use crate::clock::Timestamp;
use crate::pipeline::fleet::Member;
use crate::request::RequestId;

use self::overview::{Life, Observer, life};
use self::paint::Paint;
pub use self::request::Story;
use super::format::count;
use super::place::{Place, PlaceArgs};
use super::{Done, Error};

/// How often --watch looks.
const LOOK: Duration = Duration::from_secs(1);
/// To the upper left; the rest of a line is cleared with each line, the rest of the screen at the end: no flicker.
const HOME: &str = "\u{1b}[H";
const CLEAR: &str = "\u{1b}[2J";
const CLEAR_LINE: &str = "\u{1b}[K\n";
const CLEAR_REST: &str = "\u{1b}[J";

/// Without ID: requests by status, queues, use of the quotas in the last minute, workers.
/// With ID: the request's history, why it waits and when it should run, or how it ended.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
JSON without ID: at, place, alerts [key, severity, subject, since, count], requests {STATUS: n},
pauses [scope {kind: all|lane|tenant|use_case, name},
by, since, until, reason], queues {input|hold|dead|results: visible, in_flight},
lanes [lane, tokens_per_minute, requests_per_minute, granted, tokens_last_minute,
requests_last_minute, starts_per_minute, in_flight, reserved_tokens, settled_tokens, waiting,
paused_ms, factor, request_factor, background, log_engaged, throttled, input_ratio, typical_output,
typical_outputs {use case: tokens}, reserved_per_used], workers [worker, roles, since,
shown_at, life: alive|silent|gone], planner.
JSON with ID: request_id, status, at, model_id, use_case, lane, tenant, priority, deadline, metadata,
attempts, throttles, worker, timeline [at, what], waits {place: backlog|deferred|hold_queue|running,
ahead, ahead_at_least, starts_per_minute, expected_at, reasons}, outcome {finished_at, usage,
latency_ms, cost_usd, error, result {bucket, key, bytes, preview}}. Absent values are null.
Exit status: 1 when there is no request of that ID.")]
pub struct Args {
    /// A request_id
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Look again every second, until interrupted or until the request is done
    #[arg(long)]
    watch: bool,
    /// Print one JSON object (with --watch one a line)
    #[arg(long)]
    json: bool,
    /// Show the first 200 characters of the result; payloads are private and otherwise never shown
    #[arg(long, requires = "id")]
    show_result: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Whether a worker shows signs of life.
pub fn is_alive(member: &Member, now: Timestamp) -> bool {
    life(member, now) == Life::Alive
}

pub async fn status(args: Args) -> Done {
    let place = args.place.open_existing().await?;
    let id = match &args.id {
        None => None,
        Some(text) => Some(
            RequestId::new(text.as_str()).map_err(|rule| Error::Said(format!("{text:?} is no request_id: {rule}")))?,
        ),
    };
    let mut observer = Observer::default();
    let mut screen = Screen { live: args.watch && !args.json && std::io::stdout().is_terminal(), drawn: false };
    let paint = Paint::of_stdout();
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let look = look(&place, id.as_ref(), &mut observer, &args, paint);
        let (text, last) = if args.watch {
            tokio::select! {
                _ = &mut interrupt => return Ok(ExitCode::SUCCESS),
                looked = look => looked?,
            }
        } else {
            look.await?
        };
        if screen.show(&text)? || last || !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::select! {
            _ = &mut interrupt => return Ok(ExitCode::SUCCESS),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// One look: what to show, and whether nothing will change any more.
async fn look(
    place: &Place,
    id: Option<&RequestId>,
    observer: &mut Observer,
    args: &Args,
    paint: Paint,
) -> Result<(String, bool), Error> {
    let Some(id) = id else {
        let overview = observer.look(place).await?;
        return Ok((if args.json { json(&overview, args.watch) } else { page::page(&overview, paint) }, false));
    };
    let Some(story) = Story::read(place, id, args.show_result).await? else { return Err(unknown(place, id).await) };
    let text = if args.json { json(&story, args.watch) } else { story::page(&story, place.dir.is_some(), paint) };
    Ok((text, story.status.is_terminal()))
}

/// A request's story for people.
pub fn story_page(story: &Story, place: &Place) -> String {
    story::page(story, place.dir.is_some(), Paint::of_stdout())
}

fn json(value: &impl serde::Serialize, on_a_line: bool) -> String {
    let text = if on_a_line { serde_json::to_string(value) } else { serde_json::to_string_pretty(value) };
    text.unwrap_or_default()
}

async fn unknown(place: &Place, id: &RequestId) -> Error {
    let name = place.dir.as_ref().map_or_else(|| place.config.aws_region.clone(), |dir| dir.display().to_string());
    let waiting = place.ports.input.depth().await.map_or(0, |depth| depth.visible + depth.in_flight);
    let hint = if waiting > 0 {
        format!("; but the input queue holds {} that no worker has admitted yet", count(waiting, "message"))
    } else {
        "; a request without request_id is called sqs- and the message id of its queue message".to_owned()
    };
    Error::Said(format!("there is no request {:?} in {name}{hint}", id.as_str()))
}

/// Where pages go.
struct Screen {
    /// Draw over the page before.
    live: bool,
    drawn: bool,
}

impl Screen {
    /// Shows a page; answers whether nobody reads any more.
    fn show(&mut self, text: &str) -> Result<bool, Error> {
        let text = text.trim_end();
        let mut out = String::new();
        if self.live {
            out.push_str(if self.drawn { HOME } else { "" });
            if !self.drawn {
                out.push_str(CLEAR);
                out.push_str(HOME);
            }
            for line in text.lines() {
                out.push_str(line);
                out.push_str(CLEAR_LINE);
            }
            out.push_str(CLEAR_REST);
            self.drawn = true;
        } else {
            out.push_str(text);
            out.push('\n');
        }
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(true),
            Err(error) => Err(Error::io("write to stdout")(error)),
        }
    }
}
