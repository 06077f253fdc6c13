//! The embedded default: all ports on one SQLite file and a directory.
//!
//! Durable, and shared by any number of processes on one machine. What lies where in the directory:
//! `smoother.db` (queues, requests, reports, registers, metrics), `results/` and `payloads/` (bodies), `buckets/`
//! (objects that producers point to), `alerts.jsonl`.

mod alerts;
mod database;
mod export_dir;
mod files;
mod foreign;
mod ledger;
mod metrics;
mod payloads;
mod queue;
mod registers;
mod reports;
mod schema;

pub use self::export_dir::ExportDir;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use self::database::{Database, Fault};
use self::files::Files;
use self::queue::{LocalQueue, QueueSettings};
use crate::clock::{Clock, Timestamp};
use crate::ports::{PortError, PortResult, Ports};

/// The names of the queues.
pub const INPUT: &str = "input";
/// What is called next.
pub const HOLD: &str = "hold-next-batch";
/// Hold messages that were received too often.
pub const HOLD_DEAD: &str = "hold-next-batch-dlq";
/// What consumers receive.
pub const RESULTS: &str = "results";
/// Input messages that could not even be rejected.
pub const INPUT_DEAD: &str = "input-dlq";

/// Receives of an input message before it is put aside. More than one worker's crash may explain, and few enough
/// that a message which crashes workers soon stops doing so.
const INPUT_RECEIVES: u32 = 5;

/// How long received messages stay invisible, and how often a hold message is received at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Of the hold queue.
    pub hold_visibility: Duration,
    /// Of the input queue.
    pub input_visibility: Duration,
    /// Of the results queue.
    pub results_visibility: Duration,
    /// Receives of a hold message after which it moves to the dead-letter queue.
    pub max_receives: u32,
    /// Days that a row stays in the reporting table.
    pub report_retention_days: u32,
}

impl Default for Settings {
    fn default() -> Self {
        let minute = Duration::from_mins(1);
        Self {
            hold_visibility: minute,
            input_visibility: minute,
            results_visibility: minute,
            max_receives: 3,
            report_retention_days: 400,
        }
    }
}

/// An open directory.
#[derive(Clone)]
pub struct Local {
    /// All adapters.
    pub ports: Ports,
    /// The directory, absolute.
    pub dir: PathBuf,
}

/// Opens `dir` for all ports, creating the directory and what belongs in it as needed.
///
/// # Errors
/// Permanent when the directory cannot be created or written, or when `smoother.db` is damaged, is another program's
/// or a newer smoother's; transient when it stays locked.
pub async fn open(dir: &Path, settings: Settings, clock: Clock) -> PortResult<Local> {
    let what = || format!("open the directory {}", dir.display());
    let (path, now) = (dir.to_owned(), clock.now());
    let (dir, database) = tokio::task::spawn_blocking(move || prepare(&path, now))
        .await
        .map_err(|error| PortError::transient(what(), error))?
        .map_err(|fault| fault.into_port_error(what()))?;

    let queue = |name, visibility, redrive| QueueSettings { name, visibility, redrive };
    let make = |queue, dead| LocalQueue::open(database.clone(), clock.clone(), queue, dead);
    let dead = make(queue(HOLD_DEAD, settings.hold_visibility, None), None).await?;
    let input_dead = make(queue(INPUT_DEAD, settings.input_visibility, None), None).await?;
    let hold = queue(HOLD, settings.hold_visibility, Some((settings.max_receives, HOLD_DEAD)));
    let input = queue(INPUT, settings.input_visibility, Some((INPUT_RECEIVES, INPUT_DEAD)));
    let ports = Ports {
        hold: Arc::new(make(hold, Some(dead.arrivals())).await?),
        input: Arc::new(make(input, Some(input_dead.arrivals())).await?),
        dead: Arc::new(dead),
        results: Arc::new(make(queue(RESULTS, settings.results_visibility, None), None).await?),
        ledger: Arc::new(ledger::LocalLedger { database: database.clone() }),
        payloads: Arc::new(payloads::LocalPayloads::new(dir.clone(), clock.clone())),
        reports: Arc::new(reports::LocalReports::new(database.clone(), settings.report_retention_days)),
        registers: Arc::new(registers::LocalRegisters { database: database.clone() }),
        alerts: vec![Arc::new(alerts::LocalAlerts { path: Arc::new(dir.join("alerts.jsonl")) })],
        metrics: Arc::new(metrics::LocalMetrics { database, clock }),
    };
    Ok(Local { ports, dir })
}

/// Creates the directories and opens the file, one process at a time.
fn prepare(dir: &Path, now: Timestamp) -> Result<(PathBuf, Database), Fault> {
    let failed = |step: &'static str| move |error: io::Error| Fault::permanent(format!("{step}: {error}"));
    fs::create_dir_all(dir).map_err(failed("create it"))?;
    let dir = dir.canonicalize().map_err(failed("find it"))?;
    for name in ["results", "payloads", foreign::BUCKETS] {
        fs::create_dir_all(dir.join(name)).map_err(failed("create a directory in it"))?;
    }
    // Held until the end of this function; the system lets go of it when a process dies.
    let lock = File::create(dir.join("smoother.lock")).map_err(failed("create smoother.lock"))?;
    lock.lock().map_err(failed("lock smoother.lock"))?;
    Files::new(&dir).tidy(now).map_err(failed("tidy up tmp"))?;
    let database = Database::open(&dir.join("smoother.db"))?;
    Ok((dir, database))
}

#[cfg(test)]
#[path = "local/tests.rs"]
mod tests;
