//! The command line: one subcommand a file. The only place that prints, and the one that chooses adapters.

mod alerts;
mod check_config;
mod control;
mod demo;
mod dlq;
mod export;
mod format;
mod health;
mod init;
mod operator;
mod place;
mod quotas;
mod report;
mod results;
mod run;
mod schema;
mod simulate;
mod status;
mod submit;
mod summary;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing::Level;
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::clock::Clock;
use crate::config::Faults;
use crate::ports::PortError;
use crate::telemetry::logs::{Keep, Lines, Style};

/// Keeps Amazon Bedrock busy and never overrun: a ranked, paced, exactly accounted worker.
#[derive(Debug, Parser)]
#[command(name = "smoother", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows it all on this machine: a simulated Bedrock, 300 mixed requests, a summary
    Demo(demo::Args),
    /// Works: drains the input queue, ranks, paces, calls Bedrock, delivers results
    Run(run::Args),
    /// Sends a file of requests to the input queue, after judging all of it
    Submit(submit::Args),
    /// Shows backlog, quotas and workers, or why one request waits and how it ended
    Status(status::Args),
    /// Drains the results queue to JSON lines
    Results(results::Args),
    /// Sums up what was asked, how it went and what it cost, by day, tenant, model …; also as a page with charts
    Report(Box<report::Args>),
    /// Ends requests that wait, by id or by filter, as CANCELLED
    Cancel(control::CancelArgs),
    /// Gives requests that wait another priority
    #[command(alias = "reprioritize")]
    Reprioritise(control::ReprioritiseArgs),
    /// Gives requests that wait another deadline, or none
    Deadline(control::DeadlineArgs),
    /// Holds a lane, a tenant, a use case or everything back
    Pause(control::PauseArgs),
    /// Ends a pause
    Resume(control::ResumeArgs),
    /// Shows who changed what, when and why
    Audit(control::audit::Args),
    /// Shows what took workers down again and again, puts it back into line, or throws it away
    Dlq(dlq::Args),
    /// Shows what on-call was told of and is not over, or tests how alerts arrive
    Alerts(alerts::Args),
    /// Writes the reporting table to files by day, for analysts: Parquet, JSON lines or CSV
    Export(export::Args),
    /// Prints the effective settings and where each came from, or everything that is wrong
    CheckConfig(check_config::Args),
    /// Shows the quotas in force and where each is from: settings, Service Quotas, or assumed
    Quotas(quotas::Args),
    /// Asks a worker whether it is alive, or ready; for health checks of containers
    Health(health::Args),
    /// Creates queues, tables, bucket and topic for development; deploy with Terraform or CDK
    Init(init::Args),
    /// Prints what a deployment must provide: queues, tables, settings and metrics, as JSON
    Schema(schema::Args),
    /// Serves a simulated Bedrock over HTTP
    SimulateBedrock(simulate::Args),
}

/// What ends a command early. Printed once, by [`main`].
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Config(#[from] Faults),
    #[error("cannot {0}")]
    Port(#[from] PortError),
    #[error("{what}: {why}")]
    Io { what: String, why: std::io::Error },
    /// Said in full already, or in words of its own.
    #[error("{0}")]
    Said(String),
}

impl Error {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |why| Self::Io { what, why }
    }
}

type Done = Result<ExitCode, Error>;

/// Parses the command line, runs the command, prints what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let quiet = !matches!(cli.command, Command::Run(_));
    log_to_stderr(if quiet { LevelFilter::ERROR } else { LevelFilter::INFO });
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Error::io("start the runtime")(error)),
    };
    let done = runtime.block_on(Box::pin(dispatch(cli.command)));
    // Nothing of value runs in the background any more: whatever a command needs, it has waited for.
    runtime.shutdown_background();
    done.unwrap_or_else(|error| fail(&error))
}

async fn dispatch(command: Command) -> Done {
    match command {
        Command::Demo(args) => demo::demo(args).await,
        Command::Run(args) => Box::pin(run::run(args)).await,
        Command::Submit(args) => Box::pin(submit::submit(args)).await,
        Command::Status(args) => status::status(args).await,
        Command::Results(args) => results::results(args).await,
        Command::Report(args) => report::report(*args).await,
        Command::Cancel(args) => control::cancel(args).await,
        Command::Reprioritise(args) => control::reprioritise(args).await,
        Command::Deadline(args) => control::deadline(args).await,
        Command::Pause(args) => Box::pin(control::pause(args)).await,
        Command::Resume(args) => control::resume(args).await,
        Command::Audit(args) => control::audit::audit(args).await,
        Command::Dlq(args) => Box::pin(dlq::dlq(args)).await,
        Command::Alerts(args) => alerts::alerts(args).await,
        Command::Export(args) => Box::pin(export::export(args)).await,
        Command::CheckConfig(args) => check_config::check_config(&args),
        Command::Quotas(args) => quotas::quotas(args).await,
        Command::Health(args) => health::health(args).await,
        Command::Init(args) => init::init(args).await,
        Command::Schema(args) => schema::schema(&args),
        Command::SimulateBedrock(args) => simulate::simulate(args).await,
    }
}

fn fail(error: &Error) -> ExitCode {
    say(&format!("smoother: {error}"));
    ExitCode::FAILURE
}

/// Logs go to stderr: readable on a terminal, one JSON object a line elsewhere. `SMOOTHER_LOG` sets the level
/// (`debug`, `warn`, `smoother::pipeline=debug`). Of other crates nothing below `info` is ever logged, whatever is asked for:
/// the SDK's finer logs carry whole requests, and with them prompts.
fn log_to_stderr(level: LevelFilter) {
    let asked = EnvFilter::builder().with_default_directive(level.into()).with_env_var("SMOOTHER_LOG").from_env_lossy();
    // Whatever is asked for: what our spans know belongs to every line.
    let spans = filter_fn(|meta| meta.is_span() && meta.target().starts_with("smoother"));
    let safe = filter_fn(|event| *event.level() <= Level::INFO || event.target().starts_with("smoother"));
    let terminal = std::io::stderr().is_terminal();
    let lines = Lines { style: if terminal { Style::Text } else { Style::Json }, clock: Clock::system() };
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(terminal).event_format(lines);
    tracing_subscriber::registry()
        .with(Keep.with_filter(spans.clone()))
        .with(logs.with_filter(spans.or(asked.and(safe))))
        .init();
}

/// A line for people, on stderr.
#[expect(clippy::print_stderr, reason = "the command line speaks here")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// A line of output, on stdout. A reader that has left (`| head`) has seen enough: that is no error.
fn print(text: &str) -> Result<(), Error> {
    use std::io::{ErrorKind, Write};
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Error::io("write to stdout")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_holds_together() {
        super::Cli::command().debug_assert();
    }
}
