//! `smoother submit`: a file of requests onto the input queue, all of it judged before any of it is sent.

mod check;
mod dry_run;
mod lines;
mod report;
mod send;

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};

use crate::models::Catalog;
use crate::pipeline::fleet::Fleet;
use crate::request::TraceContext;
use crate::request::message::Fault;

use self::check::{Before, Checker, Ids, Rejected};
use self::dry_run::Seen;
use self::lines::Content;
use self::report::{Around, Report};
use self::send::{Sender, Unsent};
use super::format::{count, thousands};
use super::place::{Place, PlaceArgs};
use super::{Done, Error, print, say, status};

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
All lines are judged first, by the settings given here; each fault is told with its line and field,
and then nothing is sent unless --skip-invalid. A message too long for the queue (1 MiB) is uploaded
and pointed to. JSON: submitted, invalid, failed, repeated, without_request_id, by_priority {class: n},
by_model {model: n}. Exit status: 1 when a line is invalid (not with --skip-invalid) or was not sent.

--dry-run sends nothing, needs no connection, and tells what the file would take, model by model: tokens,
dollars, the time until all is done and what bounds it. Better with what it can read: quotas of Service
Quotas, what is in line, what workers have learned, what was spent. JSON: models [model, requests, invalid,
input_tokens, output_tokens, output_tokens_at_most, cost_usd, cost_usd_at_most (null when unknown),
eta {last_start_seconds, done_seconds, bound_by, limit, ahead}], total, done_seconds, faults {fault: n},
warnings, notes.")]
pub struct Args {
    /// One message a line, as docs/message.schema.json describes it; - reads stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Send the good lines even if others are invalid
    #[arg(long)]
    skip_invalid: bool,
    /// Send nothing; print tokens, cost and time by model
    #[arg(long)]
    dry_run: bool,
    /// Trace the requests as part of this trace; TRACEPARENT of the environment counts when not given
    #[arg(long, value_name = "TRACEPARENT", value_parser = traceparent)]
    traceparent: Option<TraceContext>,
    /// Print one JSON object instead of the summary
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

fn traceparent(text: &str) -> Result<TraceContext, String> {
    TraceContext::parse(text).ok_or_else(|| {
        "expected a W3C traceparent such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()
    })
}

impl Args {
    /// The trace to continue. What is malformed in the environment is somebody else's fault and counts as none.
    fn trace(&self) -> Option<TraceContext> {
        let inherited = || TraceContext::parse(&std::env::var("TRACEPARENT").ok()?);
        self.traceparent.or_else(inherited)
    }

    fn source(&self) -> String {
        if self.file.as_os_str() == "-" { "stdin".to_owned() } else { self.file.display().to_string() }
    }
}

pub async fn submit(args: Args) -> Done {
    if args.dry_run {
        return Box::pin(dry_run::dry_run(&args)).await;
    }
    let place = args.place.open().await?;
    let source = args.source();
    let (file, length) = lines::open(&args.file).map_err(Error::io(format!("read {source}")))?;
    let checker = Checker::new(Catalog::new(&place.config), place.config.message_limits(), place.clock.clone());
    let mut submit = Submit { trace: args.trace(), ..Submit::new(checker, &source, file, length) };
    let mut tell = say;
    let judged = submit.judge(&mut tell)?;
    let mut report = Report { invalid: judged.invalid, repeated: judged.repeated, ..Report::default() };
    if judged.spread || (judged.invalid > 0 && !args.skip_invalid) {
        if args.json {
            print(&report.to_json())?;
        }
        return Err(Error::Said(judged.verdict(&source)));
    }
    let stopped = submit.send(&place, &judged, &mut report, &mut tell).await?;
    if args.json {
        print(&report.to_json())?;
    } else {
        let idle = !Fleet::members(&*place.ports.registers)
            .await?
            .iter()
            .any(|member| status::is_alive(member, place.clock.now()));
        let around = Around {
            source: &source,
            input: place.ports.input.name(),
            results: place.ports.results.name(),
            flags: &args.place.flags(),
            idle,
        };
        print(report.to_page(&around).trim_end())?;
    }
    if let Some(why) = stopped {
        return Err(Error::Said(why));
    }
    if report.failed > 0 {
        return Err(Error::Said(format!(
            "{} could not be sent. Submitting again is safe for requests with a request_id: those that went are recognised.",
            count(report.failed, "request")
        )));
    }
    Ok(ExitCode::SUCCESS)
}

/// What the first pass found.
#[derive(Debug, Default)]
struct Judged {
    good: u64,
    invalid: u64,
    repeated: u64,
    /// Lines not to send, in order.
    skipped: Vec<u64>,
    /// The file begins like JSON over several lines.
    spread: bool,
}

impl Judged {
    fn verdict(&self, source: &str) -> String {
        let (bad, good) = (count(self.invalid, "invalid line"), count(self.good, "good one"));
        if self.spread {
            return format!(
                "{source} is JSON over several lines; each line must be one whole message, so nothing was sent\nTo bring it into that form: jq -c . {source} (a list: jq -c '.[]' {source})"
            );
        }
        let hint =
            if self.good > 0 { "\nTo send the good lines only: --skip-invalid".to_owned() } else { String::new() };
        format!("{source} has {bad} and {good}; nothing was sent{hint}")
    }
}

/// A file on its way.
struct Submit<'a> {
    source: &'a str,
    file: File,
    length: u64,
    checker: Checker,
    limit: u64,
    trace: Option<TraceContext>,
}

impl<'a> Submit<'a> {
    fn new(checker: Checker, source: &'a str, file: File, length: u64) -> Self {
        Self { source, file, length, limit: checker.longest(), checker, trace: None }
    }

    /// The first pass: tells every fault.
    fn judge(&mut self, tell: &mut dyn FnMut(&str)) -> Result<Judged, Error> {
        self.judge_each(tell, &mut |_| {})
    }

    /// The same, and shows what was found of each line but repeated ones.
    fn judge_each(&mut self, tell: &mut dyn FnMut(&str), show: &mut dyn FnMut(Seen<'_>)) -> Result<Judged, Error> {
        let reading = || Error::io(format!("read {}", self.source));
        let bar = progress(self.length, "checking {bar:40} {percent} %");
        let mut lines = lines::rewound(&self.file, self.limit).map_err(reading())?;
        let (mut judged, mut ids) = (Judged::default(), Ids::default());
        let mut seen = 0;
        while let Some(line) = lines.next().map_err(reading())? {
            seen += 1;
            let number = line.number;
            if seen == 1 && line.content.begins_spread_json() {
                bar.finish_and_clear();
                return Ok(Judged { invalid: 1, spread: true, ..judged });
            }
            let rejected = match self.checker.check(&line.content) {
                Err(rejected) => Some(rejected),
                Ok(message) => match message.id.as_ref().map(|id| (id, ids.note(id, &message.content_hash, number))) {
                    Some((_, Before::Same(_))) => {
                        judged.repeated += 1;
                        judged.skipped.push(number);
                        continue;
                    }
                    Some((id, Before::Other(line))) => {
                        let reason = format!(
                            "{:?} is the id of another request in line {line}; each request needs an id of its own",
                            id.as_str()
                        );
                        let faults = vec![Fault { field: "request_id".to_owned(), reason }];
                        Some(Rejected { faults, model: Some(message.model) })
                    }
                    Some((_, Before::New)) | None => {
                        judged.good += 1;
                        show(Seen::Good(&message));
                        None
                    }
                },
            };
            if let Some(rejected) = rejected {
                judged.invalid += 1;
                judged.skipped.push(number);
                show(Seen::Bad(&rejected));
                bar.suspend(|| self.tell_faults(number, &rejected.faults, tell));
            }
            if seen % 256 == 0 {
                bar.set_position(lines.read());
            }
        }
        bar.finish_and_clear();
        Ok(judged)
    }

    fn tell_faults(&self, line: u64, faults: &[Fault], tell: &mut dyn FnMut(&str)) {
        for fault in faults {
            tell(&format!("{} line {line}: {fault}", self.source));
        }
    }

    /// The second pass: sends what the first one found good. Says why it stopped, if nothing could be sent any more.
    async fn send(
        &mut self,
        place: &Place,
        judged: &Judged,
        report: &mut Report,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Option<String>, Error> {
        let reading = || Error::io(format!("read {}", self.source));
        let bar = progress(judged.good, "sending {bar:40} {human_pos} of {human_len}, {eta} left");
        let mut lines = lines::rewound(&self.file, self.limit).map_err(reading())?;
        let mut sender = Sender::new(&*place.ports.input, &*place.ports.payloads, self.trace);
        let mut skipped = judged.skipped.iter().copied().peekable();
        loop {
            let line = lines.next().map_err(reading())?;
            let ended = line.is_none();
            if let Some(line) = line {
                if skipped.next_if_eq(&line.number).is_some() {
                    continue;
                }
                // Judged again: a deadline may have passed meanwhile, or the file may have been written to.
                let taken = match (self.checker.check(&line.content), &line.content) {
                    (Ok(message), Content::Bytes(bytes)) => {
                        let text = std::str::from_utf8(bytes).unwrap_or_default();
                        sender.take(line.number, message, text).await
                    }
                    (judged_now, _) => {
                        let faults = judged_now.err().map(|rejected| rejected.faults).unwrap_or_default();
                        report.failed += 1;
                        bar.suspend(|| self.tell_faults(line.number, &faults, tell));
                        Ok(())
                    }
                };
                if let Err(unsent) = taken {
                    report.failed += 1;
                    bar.suspend(|| self.tell_unsent(&unsent, tell));
                    if !unsent.error.retryable {
                        return Ok(Some(self.stopped(&unsent, report, judged)));
                    }
                }
            }
            if sender.is_full() || ended {
                let (sent, unsent) = sender.flush().await;
                for item in &sent {
                    report.sent(&item.message);
                }
                report.failed += unsent.len() as u64;
                bar.set_position(report.submitted + report.failed);
                if let (true, Some(first)) = (sent.is_empty(), unsent.first()) {
                    return Ok(Some(self.stopped(first, report, judged)));
                }
                bar.suspend(|| unsent.iter().for_each(|unsent| self.tell_unsent(unsent, tell)));
            }
            if ended {
                bar.finish_and_clear();
                return Ok(None);
            }
        }
    }

    fn tell_unsent(&self, unsent: &Unsent, tell: &mut dyn FnMut(&str)) {
        tell(&format!("{} line {}: not sent: {}", self.source, unsent.line, unsent.error));
    }

    fn stopped(&self, first: &Unsent, report: &mut Report, judged: &Judged) -> String {
        report.failed = judged.good.saturating_sub(report.submitted);
        format!(
            "stopped at line {} of {}: {}\n{} sent before, {} not sent. Submitting again is safe for requests with a request_id: those that went are recognised.",
            first.line,
            self.source,
            first.error,
            thousands(report.submitted),
            thousands(report.failed)
        )
    }
}

/// A bar on stderr; silent when that is no terminal.
fn progress(length: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}

#[cfg(test)]
mod tests;
