//! The requests table in SQLite. Every command runs inside a write transaction, so a condition and the change that
//! depends on it cannot be parted. Triggers (see `schema/1.sql`) keep the counts per status and the flows.

mod rows;

use std::collections::BTreeMap;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use self::rows::{Stored, list_key};
use super::database::{Database, Fault};
use super::schema::{BEHIND_ALL, integer, natural};
use crate::clock::Timestamp;
use crate::ports::ledger::{Counts, Page, Patch};
use crate::ports::{Applied, Inserted, Ledger, PortResult, Transition, Work, WorkItem, WorkList};
use crate::request::{Estimate, Flow, Priority, RequestId, Row, Status};

/// The requests table.
pub(super) struct LocalLedger {
    pub database: Database,
}

#[async_trait]
impl Ledger for LocalLedger {
    async fn insert(&self, rows: Vec<(Row, Option<Work>)>) -> Vec<PortResult<Inserted>> {
        self.database
            .write_each("local ledger: insert", rows, |connection, (row, work)| insert(connection, row, work))
            .await
    }

    async fn apply(&self, transitions: Vec<Transition>) -> Vec<PortResult<Applied>> {
        self.database.write_each("local ledger: apply", transitions, apply).await
    }

    async fn get(&self, id: &RequestId) -> PortResult<Option<Row>> {
        let key = id.clone();
        self.database
            .read(&format!("local ledger: get {id}"), move |connection| {
                Ok(rows::find(connection, &key)?.map(|stored| stored.row))
            })
            .await
    }

    async fn list(&self, list: &WorkList, page: Page<'_>) -> PortResult<Vec<WorkItem>> {
        let key = list_key(list);
        let limit = integer(page.limit as u64);
        let (after_sort, after_id) = page.after.map_or(("", ""), |(sort, id)| (sort, id.as_str()));
        let (after_sort, after_id) = (after_sort.to_owned(), after_id.to_owned());
        let up_to = page.up_to.unwrap_or(BEHIND_ALL).to_owned();
        self.database
            .read(&format!("local ledger: list {key}"), move |connection| {
                let mut statement = connection.prepare_cached(LIST)?;
                let mut rows = statement.query(params![key, up_to, after_sort, after_id, limit])?;
                let mut items = Vec::new();
                while let Some(row) = rows.next()? {
                    items.push(item(row)?);
                }
                Ok(items)
            })
            .await
    }

    async fn flows(&self, since: Option<Timestamp>) -> PortResult<Vec<Flow>> {
        let since = integer(since.unwrap_or_default().0);
        self.database
            .read("local ledger: flows", move |connection| {
                let mut statement =
                    connection.prepare_cached("SELECT lane, tenant, urgent, use_case FROM flows WHERE entered >= ?")?;
                let mut rows = statement.query([since])?;
                let mut flows = Vec::new();
                while let Some(row) = rows.next()? {
                    flows.push(rows::flow(&row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get(3)?)?);
                }
                Ok(flows)
            })
            .await
    }

    async fn ready_by_priority(&self) -> PortResult<BTreeMap<Priority, u64>> {
        self.database
            .read("local ledger: ready by priority", |connection| {
                let mut statement =
                    connection.prepare_cached("SELECT priority, requests FROM ready_counts WHERE requests > 0")?;
                let mut rows = statement.query([])?;
                let mut ready = BTreeMap::new();
                while let Some(row) = rows.next()? {
                    ready.insert(rows::priority(row.get(0)?)?, natural(row.get(1)?));
                }
                Ok(ready)
            })
            .await
    }

    async fn counts(&self) -> PortResult<Counts> {
        self.database
            .read("local ledger: counts", |connection| {
                let mut statement = connection.prepare_cached("SELECT status, requests FROM request_counts")?;
                let mut rows = statement.query([])?;
                let mut counts = Counts::default();
                while let Some(row) = rows.next()? {
                    let status = Status::parse(row.get_ref(0)?.as_str().unwrap_or_default());
                    let status = status.ok_or_else(|| Fault::unreadable("request_counts.status"))?;
                    counts.by_status.insert(status, natural(row.get(1)?));
                }
                let mut statement =
                    connection.prepare_cached("SELECT lane, tenant, urgent, use_case, requests FROM flows")?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    let flow = rows::flow(&row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get(3)?)?;
                    counts.ready.insert(flow, natural(row.get(4)?));
                }
                Ok(counts)
            })
            .await
    }
}

const LIST: &str =
    "SELECT request_id, work_sort, lane, tenant, use_case, priority, rank, input_tokens, max_output_tokens, deadline
     FROM requests
     WHERE work_list = ?1 AND work_sort <= ?2 AND (work_sort, request_id) > (?3, ?4)
     ORDER BY work_sort, request_id LIMIT ?5";

fn item(row: &rusqlite::Row<'_>) -> Result<WorkItem, Fault> {
    let priority = rows::priority(row.get(5)?)?;
    Ok(WorkItem {
        id: rows::id(row.get(0)?)?,
        sort: row.get(1)?,
        flow: rows::flow(&row.get::<_, String>(2)?, row.get(3)?, priority == Priority::URGENT, row.get(4)?)?,
        priority,
        rank: row.get(6)?,
        estimate: Estimate { input_tokens: natural(row.get(7)?), max_output_tokens: natural(row.get(8)?) },
        deadline: rows::timestamp(row.get(9)?),
    })
}

fn insert(connection: &Connection, row: Row, work: Option<Work>) -> Result<Inserted, Fault> {
    placed(row.status, work.as_ref())?;
    let id = row.request.id.clone();
    if rows::insert(connection, &Stored { row, work: work.map(rows::Place::from) })? {
        return Ok(Inserted::New);
    }
    let stored = rows::find(connection, &id)?.ok_or_else(|| Fault::unreadable("requests.request_id"))?;
    Ok(Inserted::Exists(Box::new(stored.row)))
}

fn apply(connection: &Connection, transition: Transition) -> Result<Applied, Fault> {
    placed(transition.to, transition.work.as_ref())?;
    let Some(mut stored) = rows::find(connection, &transition.id)? else {
        return Ok(Applied::Refused(None));
    };
    if !allows(&stored, &transition) {
        return Ok(Applied::Refused(Some(Box::new(stored.row))));
    }
    let row = &mut stored.row;
    row.status = transition.to;
    row.updated_at = transition.at;
    if let Some(request) = &transition.set.request {
        rows::replace(connection, request)?;
    }
    patch(row, transition.set);
    stored.work = transition.work.map(rows::Place::from);
    rows::update(connection, &stored)?;
    Ok(Applied::Done(Box::new(stored.row)))
}

/// A row stands in a list exactly while it is not final.
fn placed(status: Status, work: Option<&Work>) -> Result<(), Fault> {
    if status.is_terminal() == work.is_none() {
        return Ok(());
    }
    let rule = if status.is_terminal() { "must not" } else { "must" };
    Err(Fault::permanent(format!("a row of status {status} {rule} stand in a work list")))
}

fn allows(stored: &Stored, transition: &Transition) -> bool {
    let Transition { from, if_ticket, if_claim, if_work, if_updated_at, .. } = transition;
    from.contains(&stored.row.status)
        && if_ticket.as_ref().is_none_or(|ticket| stored.row.ticket.as_ref() == Some(ticket))
        && if_claim.as_ref().is_none_or(|claim| stored.row.claim.as_ref() == Some(claim))
        && if_work.as_ref().is_none_or(|work| stored.work.as_ref().is_some_and(|place| place.is(work)))
        && if_updated_at.is_none_or(|at| stored.row.updated_at == at)
}

fn patch(row: &mut Row, set: Patch) {
    if let Some((claim, worker)) = set.claim {
        row.claim = Some(claim);
        row.worker = Some(worker);
    }
    row.claims = row.claims.saturating_add_signed(set.add_claims);
    row.attempts = row.attempts.saturating_add(set.add_attempts);
    row.throttles = row.throttles.saturating_add(set.add_throttles);
    row.ticket = set.ticket.or(row.ticket.take());
    row.queued_at = set.queued_at.or(row.queued_at);
    row.first_queued_at = row.first_queued_at.or(set.queued_at);
    row.claimed_at = set.claimed_at.or(row.claimed_at);
    row.started_at = set.started_at.or(row.started_at);
    row.first_started_at = row.first_started_at.or(set.first_started_at);
    row.not_before = set.not_before.or(row.not_before);
    row.notes.extend(set.note);
    if let Some(request) = set.request {
        (row.request, row.at_risk) = (*request, None);
    }
    row.at_risk = set.at_risk.or(row.at_risk);
    if set.clear_outcome {
        (row.verdict, row.outcome) = (None, None);
    }
    row.verdict = set.verdict.or(row.verdict.take());
    row.outcome = set.outcome.or(row.outcome.take());
}

#[cfg(test)]
#[path = "ledger/tests.rs"]
mod tests;
