//! The export itself: through the rows by day and key, one file an hour.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::encode::Encoder;
use super::state::{Day, Done, Overall};
use super::target::Draft;
use super::{ExportTarget, Format, Hour};
use crate::clock::Timestamp;
use crate::ports::reports::Slice;
use crate::ports::{PortError, PortResult, ReportRow, Reports};

/// Rows asked for at a time.
const PAGE: usize = 1_000;
/// What is handed on to the target at a time, about.
const CHUNK: usize = 256 << 10;

/// What to export.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// From this hour on; without it from where the last export ended.
    pub since: Option<Hour>,
    /// Up to this hour, without it.
    pub until: Hour,
    /// How far before the end of the last export to look again: rows may be written late.
    pub again: Duration,
    /// The first hour that rows can be of, for the first export.
    pub earliest: Hour,
}

/// What came of it. As JSON these names are stable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Of what was looked at: the first hour begins then.
    pub since: Option<Timestamp>,
    /// And the last one ends then.
    pub until: Option<Timestamp>,
    /// Files that are new or have changed.
    pub written: u64,
    /// Files that were already as they should be.
    pub unchanged: u64,
    /// Files that have more rows than the table still has, and stay as they are.
    pub kept: u64,
    /// Rows in the files that were written.
    pub rows: u64,
    /// Their length.
    pub bytes: u64,
    /// Rows that were read.
    pub rows_read: u64,
    /// Whether it was told to end early. The next export goes on from there.
    pub interrupted: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The hour that is being read.
    pub hour: Hour,
    /// Rows read so far.
    pub rows: u64,
}

/// An export of `reports` to `target`.
pub struct Export<'a> {
    /// Where rows come from.
    pub reports: &'a dyn Reports,
    /// Where files go.
    pub target: &'a dyn ExportTarget,
    /// What files are.
    pub format: Format,
    /// Told after each page.
    pub progress: &'a (dyn Fn(Progress) + Send + Sync),
    /// Ends it between two pages.
    pub stop: &'a CancellationToken,
}

impl Export<'_> {
    /// Brings the files of the range up to date.
    ///
    /// # Errors
    /// What could not be read or written. What is done is noted; a repeat goes on from there.
    pub async fn run(&self, range: Range) -> PortResult<Summary> {
        let mut overall = Overall::open(self.target, self.format).await?;
        let done_until = overall.done_until.map(Hour::of);
        let resumed = done_until.map_or(range.earliest, |until| until.before(range.again).max(range.earliest));
        let since = range.since.unwrap_or(resumed);
        let mut summary =
            Summary { since: Some(since.start()), until: Some(range.until.start()), ..Summary::default() };
        // Hours between what is done and what was asked for would be taken for done.
        let continues = since <= done_until.unwrap_or(resumed);
        let mut from = since;
        while from < range.until && !summary.interrupted {
            let to = from.next_day().min(range.until);
            let wrote = self.export_day(from, to, &mut summary).await?;
            from = to;
            if wrote && continues && !summary.interrupted {
                self.advance(&mut overall, to).await?;
            }
        }
        if continues && !summary.interrupted {
            self.advance(&mut overall, range.until).await?;
        }
        Ok(summary)
    }

    async fn advance(&self, overall: &mut Overall, to: Hour) -> PortResult<()> {
        if overall.done_until.is_some_and(|until| until >= to.start()) {
            return Ok(());
        }
        overall.done_until = Some(to.start());
        overall.save(self.target).await
    }

    /// The hours from `from` up to `to` of one day. Answers whether a file was written.
    async fn export_day(&self, from: Hour, to: Hour, summary: &mut Summary) -> PortResult<bool> {
        let day = from.day();
        let (after, before) = (from.key(), to.key());
        let mut slice = Slice::of(&day).after(&after);
        // The next day's first key is behind all of this one's.
        if to.day() == day {
            slice = slice.before(&before);
        }
        let mut last = after.clone();
        let mut folder: Option<Folder<'_>> = None;
        let mut part: Option<Part> = None;
        loop {
            if self.stop.is_cancelled() {
                summary.interrupted = true;
                if let Some(part) = part.take() {
                    part.draft.discard().await;
                }
                break;
            }
            let page = self.reports.page(slice.after(&last), PAGE).await?;
            let is_last = page.len() < PAGE;
            for row in &page {
                let hour = Hour::of(row.finished_at);
                if let Some(done) = part.take_if(|part| part.hour != hour)
                    && let Some(folder) = &mut folder
                {
                    folder.close(done, summary).await?;
                }
                let folder = match &mut folder {
                    Some(folder) => folder,
                    none => none.insert(Folder::open(self, &day).await?),
                };
                let part = match &mut part {
                    Some(part) => part,
                    none => none.insert(folder.begin(hour).await?),
                };
                part.add(row).await?;
            }
            summary.rows_read += page.len() as u64;
            if let Some(row) = page.last() {
                (self.progress)(Progress { hour: Hour::of(row.finished_at), rows: summary.rows_read });
                last.clone_from(&row.finished_key);
            }
            if is_last {
                break;
            }
        }
        let Some(mut folder) = folder else { return Ok(false) };
        if let Some(part) = part {
            folder.close(part, summary).await?;
        }
        folder.save().await
    }
}

/// The files of a day.
struct Folder<'a> {
    target: &'a dyn ExportTarget,
    format: Format,
    day: String,
    notes: Day,
    /// Tags of the files that are there, by name.
    found: HashMap<String, String>,
    is_changed: bool,
}

impl<'a> Folder<'a> {
    async fn open(export: &Export<'a>, day: &str) -> PortResult<Self> {
        let (target, format) = (export.target, export.format);
        let notes = Day::open(target, day).await?;
        let found = target.list(&format!("day={day}")).await?;
        let found = found.into_iter().map(|file| (file.name, file.tag)).collect();
        Ok(Self { target, format, day: day.to_owned(), notes, found, is_changed: false })
    }

    fn file(&self, hour: Hour) -> String {
        format!("part-{}.{}", Day::key(hour), self.format)
    }

    async fn begin(&self, hour: Hour) -> PortResult<Part> {
        let path = format!("day={}/{}", self.day, self.file(hour));
        let draft = self.target.begin(&path).await?;
        Ok(Part { hour, path, draft, encoder: Encoder::new(self.format)?, sha: Sha256::new(), rows: 0, bytes: 0 })
    }

    /// Puts a file in place when it says something new.
    async fn close(&mut self, mut part: Part, summary: &mut Summary) -> PortResult<()> {
        let rest = part.encoder.finish().map_err(|why| part.broken(why))?;
        part.hand_on(rest).await?;
        let Part { hour, draft, sha, rows, bytes, .. } = part;
        let sha256 = hex(&sha.finalize());
        let known = self.notes.hours.get(&Day::key(hour));
        let there = self.found.get(&self.file(hour));
        if let (Some(known), Some(tag)) = (known, there) {
            if known.tag == *tag && known.sha256 == sha256 {
                summary.unchanged += 1;
                draft.discard().await;
                return Ok(());
            }
            // Nothing but its time to live takes a row out of the table.
            if known.rows > rows {
                summary.kept += 1;
                draft.discard().await;
                return Ok(());
            }
        }
        let tag = draft.finish().await?;
        self.notes.hours.insert(Day::key(hour), Done { rows, bytes, sha256, tag });
        self.is_changed = true;
        summary.written += 1;
        summary.rows += rows;
        summary.bytes += bytes;
        Ok(())
    }

    async fn save(&self) -> PortResult<bool> {
        if self.is_changed {
            self.notes.save(self.target, &self.day).await?;
        }
        Ok(self.is_changed)
    }
}

/// A file in the making.
struct Part {
    hour: Hour,
    path: String,
    draft: Box<dyn Draft>,
    encoder: Encoder,
    sha: Sha256,
    rows: u64,
    bytes: u64,
}

impl Part {
    async fn add(&mut self, row: &ReportRow) -> PortResult<()> {
        self.rows += 1;
        self.encoder.add(row).map_err(|why| self.broken(why))?;
        if self.encoder.ready() >= CHUNK {
            let bytes = self.encoder.take();
            self.hand_on(bytes).await?;
        }
        Ok(())
    }

    async fn hand_on(&mut self, bytes: Vec<u8>) -> PortResult<()> {
        self.sha.update(&bytes);
        self.bytes += bytes.len() as u64;
        self.draft.write(Bytes::from(bytes)).await
    }

    fn broken(&self, why: impl std::fmt::Display) -> PortError {
        PortError::permanent(format!("write the rows of {}", self.path), why)
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        _ = write!(text, "{byte:02x}");
        text
    })
}
