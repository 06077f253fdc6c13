//! Takes results from the queue and writes them: first the line, then the deletion.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::Duration;

use futures_util::StreamExt;

use crate::cli::Error;
use crate::cli::format::{count, plain, thousands};
use crate::ports::{Delivery, PortError, PortResult, Ports};

use super::line::Message;
use super::sink::Sink;

/// Result bodies fetched at the same time.
const FETCHES: usize = 8;
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);
/// As many request ids are remembered at least, and at most twice as many.
const REMEMBERED: usize = 500_000;

/// What was done, for the closing line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Lines written.
    pub written: u64,
    /// Written lines by status.
    pub by_status: BTreeMap<String, u64>,
    /// Repeats dropped.
    pub repeated: u64,
    /// Lines whose result body is gone.
    pub missing: u64,
    /// Messages on the queue that are no results, or whose result could not be fetched; they are left there.
    pub left: u64,
    /// Lines that were written but whose messages could not be deleted: they will come again.
    pub undeleted: u64,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Go,
    /// Nobody reads any more.
    Closed,
}

/// The drain.
pub struct Drain<'a> {
    ports: &'a Ports,
    sink: Sink,
    seen: Seen,
    /// Messages that were left once are not told again.
    told: HashSet<String>,
    pub totals: Totals,
}

/// A delivery made ready.
enum Ready {
    Line {
        id: String,
        status: String,
        line: String,
    },
    Repeat,
    Left(String),
    /// Its result body could not be had.
    Failed(PortError),
}

impl<'a> Drain<'a> {
    pub fn new(ports: &'a Ports, sink: Sink) -> Self {
        Self { ports, sink, seen: Seen::default(), told: HashSet::new(), totals: Totals::default() }
    }

    /// Writes a batch and deletes what was written. Whatever ends it early, the rest is handed back to the queue.
    pub async fn take(&mut self, deliveries: Vec<Delivery>, tell: &mut dyn FnMut(&str)) -> Result<Flow, Error> {
        let ready: Vec<_> = deliveries.iter().map(|delivery| self.prepare(delivery)).collect();
        let ready: Vec<Ready> = futures_util::stream::iter(ready).buffered(FETCHES).collect().await;

        let (mut done, mut rest) = (Vec::new(), Vec::new());
        let (mut failed, mut broken) = (None, None);
        for (delivery, ready) in deliveries.into_iter().zip(ready) {
            match ready {
                _ if broken.is_some() => rest.push(delivery.receipt),
                Ready::Line { id, .. } if self.seen.has(&id) => {
                    self.totals.repeated += 1;
                    done.push(delivery.receipt);
                }
                Ready::Line { id, status, line } => match self.sink.line(&line) {
                    Ok(()) => {
                        self.seen.note(&id);
                        self.totals.written += 1;
                        self.totals.missing += u64::from(line.contains("\"result_missing\":true"));
                        *self.totals.by_status.entry(status).or_default() += 1;
                        done.push(delivery.receipt);
                    }
                    Err(error) => {
                        broken = Some(error);
                        rest.push(delivery.receipt);
                    }
                },
                Ready::Repeat => {
                    self.totals.repeated += 1;
                    done.push(delivery.receipt);
                }
                Ready::Left(why) => {
                    if self.told.insert(delivery.message_id.clone()) {
                        self.totals.left += 1;
                        tell(&format!("smoother: message {} is left on the queue: {why}", plain(&delivery.message_id)));
                    }
                }
                // Left to its visibility timeout, or it would be received at once again.
                Ready::Failed(error) => {
                    if self.told.insert(delivery.message_id.clone()) {
                        self.totals.left += 1;
                    }
                    failed = Some(error);
                }
            }
        }
        if let Err(error) = self.sink.commit() {
            rest.append(&mut done);
            broken = Some(error);
        }
        let got_on = !done.is_empty();
        if got_on {
            self.totals.undeleted += self.delete(done, tell).await;
        }
        if !rest.is_empty() {
            // Best effort: they come back at their visibility timeout anyway.
            drop(self.ports.results.extend(rest, Duration::ZERO).await);
        }
        match (broken, failed) {
            (Some(error), _) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Flow::Closed),
            (Some(error), _) => Err(Error::io("write the results")(error)),
            (None, Some(error)) if !got_on => Err(error.into()),
            (None, Some(error)) => {
                tell(&format!("smoother: a result is left on the queue, because smoother cannot {error}"));
                Ok(Flow::Go)
            }
            (None, None) => Ok(Flow::Go),
        }
    }

    async fn prepare(&self, delivery: &Delivery) -> Ready {
        let Some(message) = Message::read(&delivery.body) else {
            return Ready::Left("it is no result of smoother's; something else sends to this queue".to_owned());
        };
        let (id, status) = (message.text("request_id").unwrap_or_default(), message.text("status").unwrap_or_default());
        if self.seen.has(&id) {
            return Ready::Repeat;
        }
        let mut attempt = 1;
        loop {
            match message.line(&*self.ports.payloads).await {
                Ok(line) => return Ready::Line { id, status, line },
                Err(error) if error.retryable && attempt < TRIES => {
                    tokio::time::sleep(PAUSE * 2_u32.pow(attempt - 1)).await;
                    attempt += 1;
                }
                Err(error) => return Ready::Failed(error),
            }
        }
    }

    /// Deletes what is safe; answers how many could not be.
    async fn delete(&self, mut receipts: Vec<String>, tell: &mut dyn FnMut(&str)) -> u64 {
        let mut last: Option<PortError> = None;
        for attempt in 1..=TRIES {
            let results: Vec<PortResult<()>> = self.ports.results.delete(receipts.clone()).await;
            let mut again = Vec::new();
            for (receipt, result) in receipts.into_iter().zip(results) {
                if let Err(error) = result {
                    again.push(receipt);
                    last = Some(error);
                }
            }
            receipts = again;
            if receipts.is_empty() || last.as_ref().is_some_and(|error| !error.retryable) {
                break;
            }
            tokio::time::sleep(PAUSE * 2_u32.pow(attempt - 1)).await;
        }
        if let (Some(error), false) = (last, receipts.is_empty()) {
            tell(&format!(
                "smoother: {} could not be taken off the queue: {error}",
                count(receipts.len() as u64, "result")
            ));
        }
        receipts.len() as u64
    }
}

impl Totals {
    /// What happened, in a line or a few.
    pub fn closing(&self) -> String {
        let statuses: Vec<String> = self
            .by_status
            .iter()
            .map(|(status, n)| format!("{} {}", thousands(*n), plain(status).to_lowercase()))
            .collect();
        let mut text = count(self.written, "result");
        if !statuses.is_empty() {
            text = format!("{text}: {}", statuses.join(" · "));
        }
        let more = [
            (self.repeated, "repeated and dropped"),
            (self.missing, "with a result body that is gone (result_missing)"),
            (self.left, "left on the queue"),
            (self.undeleted, "still on the queue although written: they will come again"),
        ];
        for (n, what) in more {
            if n > 0 {
                text = format!("{text}; {} {what}", thousands(n));
            }
        }
        text
    }
}

/// The request ids of late, by their hashes.
#[derive(Default)]
struct Seen {
    hasher: RandomState,
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl Seen {
    fn has(&self, id: &str) -> bool {
        let hash = self.hasher.hash_one(id);
        self.young.contains(&hash) || self.old.contains(&hash)
    }

    fn note(&mut self, id: &str) {
        if self.young.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(self.hasher.hash_one(id));
    }
}
