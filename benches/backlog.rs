//! The real binary on a directory with a million requests in line: its memory, how soon an urgent request starts, and what
//! the commands take. `cargo bench --bench backlog`; `cargo bench --bench backlog -- 100000` for another number of requests.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people")]

#[path = "../tests/backlog/seed.rs"]
mod seed;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use seed::Seeder;
use smoother::clock::Clock;
use smoother::local::{self, Local};
use smoother::request::{RequestId, Status};
use smoother::simulator::{self, ModelSettings, Settings};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const NOVA: &str = "amazon.nova-lite-v1:0";
const BACKLOG: usize = 1_000_000;
/// Lines of the long file that is submitted.
const LINES: usize = 100_000;
const URGENT: usize = 10;
const SLOTS: u32 = 30;

#[tokio::main]
async fn main() {
    let backlog = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(BACKLOG);
    let dir = tempfile::tempdir().unwrap();
    let local = local::open(dir.path(), local::Settings::default(), Clock::system()).await.unwrap();
    let began = Instant::now();
    let mut seeder = Seeder::new(&*local.ports.payloads, NOVA).await;
    seeder.seed(&*local.ports.ledger, backlog, Clock::system().now()).await;
    row("requests in line", &backlog.to_string());
    row("put there in", &seconds(began.elapsed()));
    row("`smoother status`, no worker", &seconds(command(dir.path(), &["status"]).await));

    let models = BTreeMap::from([(NOVA.to_owned(), ModelSettings::default())]);
    let settings = Settings { models, record_calls: false, ..Settings::default() };
    let simulator = simulator::start(settings, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut worker = worker(dir.path(), &simulator.url());
    let started = Instant::now();
    while finished(&local).await == 0 {
        assert!(started.elapsed() < Duration::from_mins(2), "nothing was answered in two minutes");
        sleep(Duration::from_millis(50)).await;
    }
    row("first answer after the worker's start", &seconds(started.elapsed()));

    let (at, before) = (Instant::now(), finished(&local).await);
    let process = worker.id().unwrap();
    let mut watched = JoinSet::new();
    watched.spawn(most_memory(process, Duration::from_mins(1)));
    let mut waits = Vec::new();
    for number in 0..URGENT {
        sleep(Duration::from_secs(3)).await;
        waits.push(urgent(&local, dir.path(), number).await);
    }
    waits.sort();
    let (first, last) = (waits[0], waits[waits.len() - 1]);
    row("urgent: from `smoother submit` to its call, median", &seconds(waits[waits.len() / 2]));
    row("the same, shortest and longest", &format!("{}, {}", seconds(first), seconds(last)));
    row("`smoother status`, with a worker", &seconds(command(dir.path(), &["status"]).await));
    row(
        "worker's memory (RSS), most of a minute",
        &format!("{} MB", watched.join_next().await.unwrap().unwrap() / 1_000),
    );
    let rate = (finished(&local).await - before) as f64 / at.elapsed().as_secs_f64();
    row("answers a second meanwhile", &format!("{rate:.1}"));

    let long = dir.path().join("long.jsonl");
    std::fs::write(&long, (0..LINES).map(|n| message(&format!("long-{n}"), "normal")).collect::<String>()).unwrap();
    watched.spawn(most_memory(process, Duration::from_mins(1)));
    row("`smoother submit` of 100,000 lines", &seconds(command(dir.path(), &["submit", long.to_str().unwrap()]).await));
    row("worker's memory while it admits them", &format!("{} MB", watched.join_next().await.unwrap().unwrap() / 1_000));
    row("urgent meanwhile", &seconds(urgent(&local, dir.path(), URGENT).await));
    worker.kill().await.unwrap();
    simulator.stop().await;
}

fn row(what: &str, value: &str) {
    println!("| {what} | {value} |");
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

fn worker(dir: &Path, bedrock: &str) -> Child {
    let log = File::create(dir.join("worker.log")).unwrap();
    smoother(dir, &["run", "--bedrock-endpoint", bedrock])
        .args(["--set", &format!("max_concurrent_executions={SLOTS}")])
        .args(["--set", &format!("models.\"{NOVA}\".tokens_per_minute=10000000")])
        .args(["--set", &format!("models.\"{NOVA}\".requests_per_minute=100000")])
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn smoother(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smoother"));
    command.args(arguments).arg("--local").arg(dir);
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    command
}

/// Runs a command; how long it took.
async fn command(dir: &Path, arguments: &[&str]) -> Duration {
    let began = Instant::now();
    let ended = smoother(dir, arguments).output().await.unwrap();
    assert!(ended.status.success(), "smoother {arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
    began.elapsed()
}

async fn finished(local: &Local) -> u64 {
    let counts = local.ports.ledger.counts().await.unwrap();
    counts.by_status.get(&Status::Succeeded).copied().unwrap_or(0)
}

/// Submits an urgent request; the time from the start of the command to that of its call.
async fn urgent(local: &Local, dir: &Path, number: usize) -> Duration {
    let name = format!("urgent-{number}");
    let file = dir.join(format!("{name}.jsonl"));
    std::fs::write(&file, message(&name, "urgent")).unwrap();
    let submitted = Clock::system().now();
    command(dir, &["submit", file.to_str().unwrap()]).await;
    let id = RequestId::new(name).unwrap();
    let began = Instant::now();
    loop {
        let row = local.ports.ledger.get(&id).await.unwrap();
        // It is written with the end of the call.
        if let Some(started) = row.and_then(|row| row.started_at) {
            return started.since(submitted);
        }
        assert!(began.elapsed() < Duration::from_mins(2), "an urgent request did not start in two minutes");
        sleep(Duration::from_millis(20)).await;
    }
}

fn message(id: &str, priority: &str) -> String {
    let mut line = String::new();
    writeln!(
        line,
        r#"{{"request_id":"{id}","model_id":"{NOVA}","priority":"{priority}","tenant":"erik","converse":{{"messages":[{{"role":"user","content":[{{"text":"Say hello."}}]}}],"inferenceConfig":{{"maxTokens":50}}}}}}"#
    )
    .unwrap();
    line
}

/// The most resident memory of a process within this time, kB.
async fn most_memory(process: u32, time: Duration) -> u64 {
    let until = Instant::now() + time;
    let mut most = 0;
    while Instant::now() < until {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        most = most.max(resident.trim().trim_end_matches(" kB").parse().unwrap());
        sleep(Duration::from_millis(500)).await;
    }
    most
}
