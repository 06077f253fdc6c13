//! The reporting table in SQLite, for analysts: `sqlite3 smoother.db 'SELECT … FROM reports'`.

use async_trait::async_trait;
use rusqlite::{Connection, named_params, params};

use super::database::{Database, Fault};
use super::schema::{integer, natural};
use crate::clock::Timestamp;
use crate::ports::{PortResult, ReportRow, Reports};
use crate::request::{RequestId, Status};

/// The reports table.
pub(super) struct LocalReports {
    pub database: Database,
}

#[async_trait]
impl Reports for LocalReports {
    async fn put(&self, rows: Vec<ReportRow>) -> Vec<PortResult<()>> {
        self.database.write_each("local reports: put", rows, |connection, row| put(connection, &row)).await
    }

    async fn page(&self, day: &str, after: Option<&str>, limit: usize) -> PortResult<Vec<ReportRow>> {
        let (day, after) = (day.to_owned(), after.unwrap_or_default().to_owned());
        self.database
            .read(&format!("local reports: page of {day}"), move |connection| {
                let mut statement = connection.prepare_cached(
                    "SELECT * FROM reports WHERE day = ? AND finished_key > ? ORDER BY finished_key LIMIT ?",
                )?;
                let mut rows = statement.query(params![day, after, integer(limit as u64)])?;
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
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO reports (day, finished_key, request_id, status, tenant, model_id, use_case, lane,
                 priority, priority_class, received_at, queued_at, started_at, finished_at, wait_ms, latency_ms, attempts,
                 throttles, deadline, deadline_met, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
                 cost_usd, error_type, metadata)
             VALUES (:day, :finished_key, :request_id, :status, :tenant, :model_id, :use_case, :lane, :priority,
                 :priority_class, :received_at, :queued_at, :started_at, :finished_at, :wait_ms, :latency_ms, :attempts,
                 :throttles, :deadline, :deadline_met, :input_tokens, :output_tokens, :cache_read_tokens,
                 :cache_write_tokens, :cost_usd, :error_type, :metadata)",
        )?
        .execute(named_params! {
            ":day": row.day,
            ":finished_key": row.finished_key,
            ":request_id": row.request_id.as_str(),
            ":status": row.status.as_str(),
            ":tenant": row.tenant,
            ":model_id": row.model_id,
            ":use_case": row.use_case,
            ":lane": row.lane,
            ":priority": row.priority,
            ":priority_class": row.priority_class,
            ":received_at": row.received_at.to_string(),
            ":queued_at": row.queued_at.map(|at| at.to_string()),
            ":started_at": row.started_at.map(|at| at.to_string()),
            ":finished_at": row.finished_at.to_string(),
            ":wait_ms": integer(row.wait_ms),
            ":latency_ms": row.latency_ms.map(integer),
            ":attempts": row.attempts,
            ":throttles": row.throttles,
            ":deadline": row.deadline.map(|at| at.to_string()),
            ":deadline_met": row.deadline_met,
            ":input_tokens": row.input_tokens.map(integer),
            ":output_tokens": row.output_tokens.map(integer),
            ":cache_read_tokens": row.cache_read_tokens.map(integer),
            ":cache_write_tokens": row.cache_write_tokens.map(integer),
            ":cost_usd": row.cost_usd,
            ":error_type": row.error_type,
            ":metadata": serde_json::to_string(&row.metadata).map_err(Fault::permanent)?,
        })?;
    Ok(())
}

fn read(row: &rusqlite::Row<'_>) -> Result<ReportRow, Fault> {
    let time = |column: &str| at(&row.get::<_, String>(column)?, column);
    let optional_time = |column: &str| row.get::<_, Option<String>>(column)?.map(|text| at(&text, column)).transpose();
    let optional_natural = |column: &str| Ok::<_, Fault>(row.get::<_, Option<i64>>(column)?.map(natural));
    Ok(ReportRow {
        day: row.get("day")?,
        finished_key: row.get("finished_key")?,
        request_id: RequestId::new(row.get::<_, String>("request_id")?)
            .map_err(|_| Fault::unreadable("reports.request_id"))?,
        status: Status::parse(&row.get::<_, String>("status")?).ok_or_else(|| Fault::unreadable("reports.status"))?,
        tenant: row.get("tenant")?,
        model_id: row.get("model_id")?,
        use_case: row.get("use_case")?,
        lane: row.get("lane")?,
        priority: row.get("priority")?,
        priority_class: row.get("priority_class")?,
        received_at: time("received_at")?,
        queued_at: optional_time("queued_at")?,
        started_at: optional_time("started_at")?,
        finished_at: time("finished_at")?,
        wait_ms: natural(row.get("wait_ms")?),
        latency_ms: optional_natural("latency_ms")?,
        attempts: row.get("attempts")?,
        throttles: row.get("throttles")?,
        deadline: optional_time("deadline")?,
        deadline_met: row.get("deadline_met")?,
        input_tokens: optional_natural("input_tokens")?,
        output_tokens: optional_natural("output_tokens")?,
        cache_read_tokens: optional_natural("cache_read_tokens")?,
        cache_write_tokens: optional_natural("cache_write_tokens")?,
        cost_usd: row.get("cost_usd")?,
        error_type: row.get("error_type")?,
        metadata: serde_json::from_str(&row.get::<_, String>("metadata")?)
            .map_err(|_| Fault::unreadable("reports.metadata"))?,
    })
}

fn at(text: &str, column: &str) -> Result<Timestamp, Fault> {
    Timestamp::parse(text).map_err(|_| Fault::unreadable(&format!("reports.{column}")))
}
