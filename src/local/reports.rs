//! The reporting table in SQLite, for analysts: `sqlite3 smoother.db 'SELECT … FROM reports'`.

use std::fmt::Write as _;
use std::sync::LazyLock;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, params, params_from_iter};
use tokio::time::Instant;

use super::database::{Database, Fault};
use super::schema::{BEHIND_ALL, integer, natural};
use crate::clock::Timestamp;
use crate::ports::reports::{Cell, Column, Kind, Slice};
use crate::ports::{PortResult, ReportRow, Reports};

/// How often rows that are too old are removed, and how many at a time: in small bites, since nobody may wait for it.
const TIDY_EVERY: Duration = Duration::from_secs(10);
const TIDY_ROWS: i64 = 2_000;

static NAMES: LazyLock<String> = LazyLock::new(|| {
    ReportRow::COLUMNS.iter().map(|column| format!("{:?}", column.name)).collect::<Vec<_>>().join(", ")
});
static PUT: LazyLock<String> = LazyLock::new(|| {
    let mut places = String::new();
    for at in 1..=ReportRow::COLUMNS.len() {
        // Writing to a String does not fail.
        _ = write!(places, "{}?{at}", if at == 1 { "" } else { ", " });
    }
    format!("INSERT OR REPLACE INTO reports ({}) VALUES ({places})", *NAMES)
});
static PAGE: LazyLock<String> = LazyLock::new(|| {
    let names = &*NAMES;
    format!(
        "SELECT {names} FROM reports WHERE day = ? AND finished_key > ? AND finished_key < ? ORDER BY finished_key LIMIT ?"
    )
});

/// The reports table.
pub(super) struct LocalReports {
    database: Database,
    retention: Duration,
    tidied: Mutex<Option<Instant>>,
}

impl LocalReports {
    pub(super) fn new(database: Database, retention_days: u32) -> Self {
        let retention = Duration::from_hours(24 * u64::from(retention_days));
        Self { database, retention, tidied: Mutex::default() }
    }

    fn is_time_to_tidy(&self) -> bool {
        let mut tidied = self.tidied.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let due = tidied.is_none_or(|at| at.elapsed() >= TIDY_EVERY);
        if due {
            *tidied = Some(Instant::now());
        }
        due
    }

    /// Removes rows whose time was over when the newest of `rows` ended.
    async fn tidy(&self, rows: &[Timestamp]) {
        let Some(newest) = rows.iter().max() else { return };
        let first_kept = (*newest - self.retention).day();
        let removed = self
            .database
            .write("local reports: remove old rows", move |connection| {
                let statement = "DELETE FROM reports WHERE (day, finished_key) IN
                    (SELECT day, finished_key FROM reports WHERE day < ? ORDER BY day, finished_key LIMIT ?)";
                Ok(connection.prepare_cached(statement)?.execute(params![first_kept, TIDY_ROWS])?)
            })
            .await;
        if let Err(error) = removed {
            tracing::warn!(%error, "old report rows are still there; they are removed later");
        }
    }
}

#[async_trait]
impl Reports for LocalReports {
    async fn put(&self, rows: Vec<ReportRow>) -> Vec<PortResult<()>> {
        let ends: Vec<Timestamp> = rows.iter().map(|row| row.finished_at).collect();
        let results =
            self.database.write_each("local reports: put", rows, |connection, row| put(connection, &row)).await;
        if self.is_time_to_tidy() {
            self.tidy(&ends).await;
        }
        results
    }

    async fn page(&self, slice: Slice<'_>, limit: usize) -> PortResult<Vec<ReportRow>> {
        let (day, after) = (slice.day.to_owned(), slice.after.unwrap_or_default().to_owned());
        let before = slice.before.unwrap_or(BEHIND_ALL).to_owned();
        self.database
            .read(&format!("local reports: page of {day}"), move |connection| {
                let mut statement = connection.prepare_cached(&PAGE)?;
                let mut rows = statement.query(params![day, after, before, integer(limit as u64)])?;
                let mut page = Vec::new();
                while let Some(row) = rows.next()? {
                    page.push(read(row)?);
                }
                Ok(page)
            })
            .await
    }
}

fn put(connection: &Connection, row: &ReportRow) -> Result<(), Fault> {
    connection.prepare_cached(&PUT)?.execute(params_from_iter(row.cells()))?;
    Ok(())
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Cell::Null => ToSqlOutput::Owned(Value::Null),
            Cell::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Cell::Time(at) => at.to_string().into(),
            Cell::Whole(number) => integer(*number).into(),
            Cell::Real(number) => (*number).into(),
            Cell::Flag(yes) => (*yes).into(),
            Cell::Pairs(pairs) => serde_json::to_string(pairs)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?
                .into(),
        })
    }
}

fn read(row: &rusqlite::Row<'_>) -> Result<ReportRow, Fault> {
    let unreadable = |column: &'static Column| Fault::unreadable(&format!("reports.{}", column.name));
    let cell = |at: usize, column: &'static Column| {
        let value = row.get_ref(at)?;
        let text = || value.as_str().map_err(|_| unreadable(column));
        Ok(match (column.kind, value) {
            (_, ValueRef::Null) => Cell::Null,
            (Kind::Text, _) => Cell::Text(text()?.into()),
            (Kind::Time, _) => Cell::Time(Timestamp::parse(text()?).map_err(|_| unreadable(column))?),
            (Kind::Whole, ValueRef::Integer(number)) => Cell::Whole(natural(number)),
            (Kind::Real, ValueRef::Real(number)) => Cell::Real(number),
            (Kind::Flag, ValueRef::Integer(number)) => Cell::Flag(number != 0),
            (Kind::Pairs, _) => {
                Cell::Pairs(std::borrow::Cow::Owned(serde_json::from_str(text()?).map_err(|_| unreadable(column))?))
            }
            _ => return Err(unreadable(column)),
        })
    };
    ReportRow::from_cells(cell, unreadable)
}
