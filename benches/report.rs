//! The real binary on a directory with a million finished requests: what `smoother report` takes, and its memory.
//! `cargo bench --bench report`; `cargo bench --bench report -- 100000` for another number of requests.
//! `… -- --load DIR ROWS HOURS END` only makes a directory with requests of so many hours up to a time (RFC 3339, or now).
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people")]
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "made-up figures")]

#[path = "../tests/support/finished.rs"]
mod finished;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use finished::Traffic;
use smoother::clock::{Clock, Timestamp};
use smoother::local::{self, Local};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

const ROWS: u64 = 1_000_000;
const HOURS: u64 = 24 * 7;
const BATCH: usize = 5_000;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [load, dir, rows, hours, end] = args.as_slice()
        && load == "--load"
    {
        let end = Timestamp::parse(end).unwrap_or_else(|_| Clock::system().now());
        put(&open(Path::new(dir)).await, rows.parse().unwrap(), hours.parse().unwrap(), end).await;
        return;
    }
    let rows = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(ROWS);
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let put = put(&open(dir.path()).await, rows, HOURS, Clock::system().now()).await;
    row("finished requests of a week", &put.to_string());
    row("put there in", &seconds(began.elapsed()));
    for (what, args) in [
        ("`smoother report --since 8d`", &["--since", "8d"][..]),
        ("the same once more", &["--since", "8d"]),
        ("`--by hour,tenant`", &["--since", "8d", "--by", "hour,tenant"]),
        ("`--html`", &["--since", "8d", "--html", "report.html"]),
        ("a day of it", &["--since", "24h"]),
    ] {
        let (took, memory) = report(dir.path(), args).await;
        row(what, &format!("{}, {} MB", seconds(took), memory / 1_000));
    }
}

async fn open(dir: &Path) -> Local {
    local::open(dir, local::Settings::default(), Clock::system()).await.unwrap()
}

async fn put(local: &Local, rows: u64, hours: u64, end: Timestamp) -> usize {
    let length = Duration::from_hours(hours);
    let mut rows = Traffic::new(1, end - length, length, rows).filter(|row| row.finished_at < end).peekable();
    let mut count = 0;
    while rows.peek().is_some() {
        let batch: Vec<_> = rows.by_ref().take(BATCH).collect();
        count += batch.len();
        for done in local.ports.reports.put(batch).await {
            done.unwrap();
        }
    }
    count
}

/// How long it takes, and its most memory in KB.
async fn report(dir: &Path, args: &[&str]) -> (Duration, u64) {
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_smoother"))
        .args(["report", "--local", "."])
        .args(args)
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id().unwrap());
    let mut most = 0;
    loop {
        tokio::select! {
            ended = child.wait() => {
                assert!(ended.unwrap().success());
                return (began.elapsed(), most);
            }
            () = sleep(Duration::from_millis(20)) => {
                let text = std::fs::read_to_string(&status).unwrap_or_default();
                let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                most = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(most).max(most);
            }
        }
    }
}

fn row(what: &str, figure: &str) {
    println!("{what:<40} {figure}");
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
