//! `smoother demo`: the whole worker on a simulated Bedrock, in a directory that it makes.

mod traffic;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::config::{Config, Sources};
use crate::models::Catalog;
use crate::pipeline::fleet::Role;
use crate::pipeline::pace::Gate;
use crate::pipeline::tally::Tally;
use crate::ports::Queue;
use crate::retry;
use crate::shutdown::Stop;
use crate::simulator;
use crate::worker::Worker;

use super::place::{Place, open_local};
use super::run::worker_settings;
use super::summary::Summary;
use super::{Done, Error, print, say};

/// Urgent requests arrive over this time, while the backlog drains.
const TRICKLE: Duration = Duration::from_secs(15);
/// How often the progress is drawn and the end looked for.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// How many requests to send
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    requests: u64,
    /// Where to keep everything; a new directory under smoother-demo/ by default
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Everything random follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

pub async fn demo(args: Args) -> Done {
    let clock = Clock::system();
    let simulator = simulator::start(traffic::bedrock(args.seed), ([127, 0, 0, 1], 0).into())
        .await
        .map_err(Error::io("start the simulated Bedrock"))?;
    let mut overrides =
        vec![("bedrock_endpoint".to_owned(), simulator.url()), ("retry_base".to_owned(), "300ms".to_owned())];
    overrides.extend(traffic::quotas());
    // Only what is written here counts: a demo must not depend on the settings of a real deployment.
    let config: Config = Config::load(&Sources { overrides, ..Sources::default() })?.config;
    let dir = args.dir.clone().unwrap_or_else(|| {
        let name: String = clock.now().to_string().chars().take(19).filter(|c| *c != ':').collect();
        PathBuf::from("smoother-demo").join(name)
    });
    let place = open_local(dir, config, clock).await?;
    let shown = place.dir.clone().unwrap_or_default();

    let settings = worker_settings(&place, [Role::Ingest, Role::Plan, Role::Call].into(), false);
    let catalog = Arc::new(Catalog::new(&place.config));
    let worker = Worker::new(place.ports.clone(), place.model().await?, catalog, place.clock.clone(), settings);
    let (tally, gate) = (worker.tally(), worker.gate());
    let stop = Stop::default();
    let (signals, ending) = (stop.clone(), stop.clone());
    if !args.json {
        say(&format!(
            "A simulated Bedrock at {}, two models with quotas, 1 call in 30 fails.\n{} mixed requests go through the whole worker; everything is kept in {}",
            simulator.url(),
            args.requests,
            shown.display()
        ));
    }
    let started = Instant::now();
    let watch = async {
        let sent = async { send(&place, &args).await };
        let follow = follow(&tally, &gate, &args, &ending);
        let (sent, ()) = tokio::join!(sent, follow);
        ending.intake.cancel();
        sent
    };
    let run = async {
        let ((), sent) = tokio::join!(worker.run(stop), watch);
        sent
    };
    tokio::select! {
        sent = run => sent?,
        listened = async { signals.on_signals().await.map(|()| std::future::pending::<()>()) } => {
            match listened {
                Err(why) => return Err(Error::io("listen for signals")(why)),
                Ok(never) => never.await,
            }
        }
    }
    let results = shown.join("results");
    let summary = Summary::of(args.requests, &tally, &gate.snapshots(), started.elapsed(), &results);
    simulator.stop().await;
    if args.json {
        print(&summary.to_json())?;
    } else {
        print(&summary.to_page())?;
        print(&format!(
            "  Results    {0}  (one file an answer)\n\n  Try next\n    smoother results --local {1} --max 3\n    smoother status  --local {1}\n    smoother report  --local {1} --html report.html\n    smoother demo --requests 2000\n    README.md: a producer in five lines of Python",
            results.display(),
            shown.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends what has no hurry at once, and the urgent requests while it drains.
async fn send(place: &Place, args: &Args) -> Result<(), Error> {
    let (urgent, rest): (Vec<_>, Vec<_>) =
        traffic::messages(args.requests, args.seed).into_iter().partition(|message| message.urgent);
    for batch in rest.chunks(50) {
        send_batch(&*place.ports.input, batch).await;
    }
    let gap = TRICKLE.div_f64(urgent.len().max(1) as f64);
    for message in urgent {
        tokio::time::sleep(gap).await;
        send_batch(&*place.ports.input, &[message]).await;
    }
    Ok(())
}

async fn send_batch(input: &dyn Queue, batch: &[traffic::Message]) {
    for message in batch {
        let send = || async {
            let mut sent = input.send(vec![message.outgoing.clone()]).await;
            sent.pop().unwrap_or(Ok(()))
        };
        retry::until_done(|error| tracing::warn!(%error, "a message could not be sent yet"), send).await;
    }
}

/// Shows the progress until every request has come to its end, or until asked to stop.
async fn follow(tally: &Tally, gate: &Gate, args: &Args, ending: &Stop) {
    let bar = ProgressBar::new(args.requests);
    if args.json || !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("  {bar:32} {pos}/{len}  {elapsed}  {msg}") {
        bar.set_style(style);
    }
    loop {
        let totals = tally.totals();
        let finished: u64 = totals.finished.values().sum();
        bar.set_position(finished);
        let used: Vec<String> = gate
            .snapshots()
            .iter()
            .filter_map(|lane| lane.tpm_used)
            .map(|used| format!("{:.0} %", used * 100.0))
            .collect();
        bar.set_message(format!(
            "{} in flight · {} throttled · tokens/min used {}",
            gate.load().0,
            totals.throttled,
            used.join(", ")
        ));
        if finished >= args.requests {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = ending.intake.cancelled() => break,
        }
    }
    bar.finish_and_clear();
}
