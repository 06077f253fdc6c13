//! Reads the rows of a period, page by page, several hours at a time.
//!
//! Hours are key ranges of the reporting table. Pages come in no order, but a page tells up to when all rows have come;
//! at most [`CONCURRENT`] pages are in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::period::Period;
use crate::clock::Timestamp;
use crate::ports::reports::Slice;
use crate::ports::{PortError, PortResult, ReportRow, Reports};

/// Hours that are read at the same time.
pub const CONCURRENT: usize = 8;
/// Rows of a page.
pub const PAGE: usize = 1_000;
/// Tries of a page that fails for a reason that passes.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(250);

/// A page of rows.
#[derive(Debug)]
pub struct Page {
    /// In order of their end, all of one hour.
    pub rows: Vec<ReportRow>,
    /// With this page, all rows that ended before this have come.
    pub complete_until: Timestamp,
}

/// A reading of all rows that ended in a period. Rows that are written meanwhile may or may not come.
pub struct Scan {
    reports: Arc<dyn Reports>,
    ahead: Box<dyn Iterator<Item = Period> + Send>,
    next: Option<Period>,
    tasks: JoinSet<(Hour, PortResult<Vec<ReportRow>>)>,
    /// Starts of what is being read, and what comes first in them that was not read.
    open: BTreeMap<Timestamp, Timestamp>,
    until: Timestamp,
}

/// What is left of an hour.
struct Hour {
    part: Period,
    after: String,
}

impl Scan {
    /// Starts with the first call of [`Scan::next`].
    #[must_use]
    pub fn new(reports: Arc<dyn Reports>, period: Period) -> Self {
        let mut ahead = Box::new(period.hours());
        let next = ahead.next();
        Self { reports, ahead, next, tasks: JoinSet::new(), open: BTreeMap::new(), until: period.until }
    }

    /// The next page; `None` after the last one.
    ///
    /// # Errors
    /// What the port fails with, after some tries if it is transient.
    pub async fn next(&mut self) -> PortResult<Option<Page>> {
        while self.tasks.len() < CONCURRENT
            && let Some(part) = self.next
        {
            self.next = self.ahead.next();
            self.open.insert(part.since, part.since);
            // `#` sorts before digits and letters, so that the bare time precedes every key of that time.
            self.read(Hour { part, after: part.since.to_string() });
        }
        let Some(read) = self.tasks.join_next().await else { return Ok(None) };
        let (mut hour, rows) = read.map_err(|error| PortError::transient("read the reporting table", error))?;
        let rows = rows?;
        match rows.last().filter(|_| rows.len() >= PAGE) {
            Some(last) => {
                self.open.insert(hour.part.since, last.finished_at);
                hour.after.clone_from(&last.finished_key);
                self.read(hour);
            }
            None => drop(self.open.remove(&hour.part.since)),
        }
        let ahead = self.next.map_or(self.until, |part| part.since);
        let complete_until = self.open.values().next().map_or(ahead, |at| (*at).min(ahead));
        Ok(Some(Page { rows, complete_until }))
    }

    fn read(&mut self, hour: Hour) {
        let reports = Arc::clone(&self.reports);
        self.tasks.spawn(async move {
            let rows = page(&*reports, &hour).await;
            (hour, rows)
        });
    }
}

async fn page(reports: &dyn Reports, hour: &Hour) -> PortResult<Vec<ReportRow>> {
    let (day, before) = (hour.part.since.day(), hour.part.until.to_string());
    let mut slice = Slice::of(&day).after(&hour.after);
    // The last hour's end is another day's key, which sorts behind.
    slice = slice.before(&before);
    let mut attempt = 0;
    loop {
        attempt += 1;
        match reports.page(slice, PAGE).await {
            Err(error) if error.retryable && attempt < TRIES => {
                tokio::time::sleep(PAUSE * 2_u32.pow(attempt - 1)).await;
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;

    /// Rows in memory; the first reads fail.
    struct Rows {
        rows: BTreeMap<(String, String), ReportRow>,
        faults: Mutex<u32>,
    }

    #[async_trait]
    impl Reports for Rows {
        async fn put(&self, _: Vec<ReportRow>) -> Vec<PortResult<()>> {
            Vec::new()
        }

        async fn page(&self, slice: Slice<'_>, limit: usize) -> PortResult<Vec<ReportRow>> {
            {
                let mut faults = self.faults.lock().unwrap();
                if *faults > 0 {
                    *faults -= 1;
                    return Err(PortError::transient("read", "throttled"));
                }
            }
            let within = |row: &&ReportRow| {
                row.day == slice.day
                    && slice.after.is_none_or(|key| row.finished_key.as_str() > key)
                    && slice.before.is_none_or(|key| row.finished_key.as_str() < key)
            };
            Ok(self.rows.values().filter(within).take(limit).cloned().collect())
        }
    }

    fn rows(times: impl Iterator<Item = u64>) -> BTreeMap<(String, String), ReportRow> {
        times
            .enumerate()
            .map(|(n, at)| {
                let finished_at = Timestamp(at);
                let key = format!("{finished_at}#{n:05}");
                let row = ReportRow {
                    day: finished_at.day(),
                    finished_key: key.clone(),
                    finished_at,
                    ..ReportRow::example()
                };
                ((row.day.clone(), key), row)
            })
            .collect()
    }

    async fn read(rows: BTreeMap<(String, String), ReportRow>, period: Period, faults: u32) -> PortResult<Vec<String>> {
        let mut scan = Scan::new(Arc::new(Rows { rows, faults: Mutex::new(faults) }), period);
        let mut keys = Vec::new();
        let mut complete = Timestamp(0);
        while let Some(page) = scan.next().await? {
            assert!(page.rows.iter().all(|row| row.finished_at >= complete), "a row came after its time was complete");
            assert!(page.complete_until >= complete);
            complete = page.complete_until;
            keys.extend(page.rows.into_iter().map(|row| row.finished_key));
        }
        assert_eq!(complete, period.until);
        keys.sort();
        Ok(keys)
    }

    #[tokio::test(start_paused = true)]
    async fn all_rows_of_the_period_come_and_no_others() {
        const MINUTE: u64 = 60_000;
        // Two days and a bit, a row every 20 s, and an hour with more than a page; the period cuts both ends.
        let times = (0..50 * 180).map(|n| n * 20_000).chain((0..2_500).map(|n| 30 * 60 * MINUTE + n));
        let all = rows(times);
        let period = Period { since: Timestamp(90 * MINUTE), until: Timestamp(49 * 60 * MINUTE + 20_000) };
        let inside = |row: &&ReportRow| row.finished_at >= period.since && row.finished_at < period.until;
        let mut expected: Vec<String> = all.values().filter(inside).map(|row| row.finished_key.clone()).collect();
        expected.sort();
        assert_eq!(read(all.clone(), period, 0).await.unwrap(), expected);
        assert_eq!(read(all.clone(), period, 10).await.unwrap(), expected, "faults that pass lose nothing");
        assert!(read(all, period, 1_000).await.is_err(), "others are told");
        let never = Period { since: Timestamp(5), until: Timestamp(5) };
        let mut scan = Scan::new(Arc::new(Rows { rows: BTreeMap::new(), faults: Mutex::new(0) }), never);
        assert!(scan.next().await.unwrap().is_none());
    }
}
