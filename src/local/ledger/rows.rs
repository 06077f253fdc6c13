//! How a [`Row`] and its place in a work list lie in the `requests` table.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, named_params};
use serde::Serialize;
use serde::de::{DeserializeOwned, IntoDeserializer};

use super::super::database::Fault;
use super::super::schema::{integer, natural};
use crate::clock::Timestamp;
use crate::ports::{Work, WorkList};
use crate::request::{Flow, Priority, Request, RequestId, Row, Status, Tenant};

/// A row and where it stands.
pub(super) struct Stored {
    pub row: Row,
    pub work: Option<Place>,
}

/// A [`Work`] as its two columns.
pub(super) struct Place {
    list: String,
    sort: String,
}

impl From<Work> for Place {
    fn from(work: Work) -> Self {
        Self { list: list_key(&work.list), sort: work.sort }
    }
}

impl Place {
    pub(super) fn is(&self, work: &Work) -> bool {
        self.sort == work.sort && self.list == list_key(&work.list)
    }
}

/// A work list's name in the column `work_list`.
pub(super) fn list_key(list: &WorkList) -> String {
    match list {
        // Neither lanes nor tenants contain spaces.
        WorkList::Ready(flow) => {
            let class = if flow.urgent { "urgent" } else { "usual" };
            format!("ready {} {} {class} {}", flow.lane, flow.tenant, flow.use_case.as_deref().unwrap_or_default())
        }
        WorkList::Deferred => "deferred".to_owned(),
        WorkList::Held => "held".to_owned(),
        WorkList::Decided => "decided".to_owned(),
    }
}

/// Inserts unless the id is taken; whether it did.
pub(super) fn insert(connection: &Connection, stored: &Stored) -> Result<bool, Fault> {
    let Stored { row, work } = stored;
    let request = &row.request;
    let changed = connection
        .prepare_cached(
            "INSERT INTO requests (request_id, status, lane, tenant, use_case, priority, deadline, rank, input_tokens,
                 max_output_tokens, work_list, work_sort, ticket, claim, worker, attempts, throttles, claims, queued_at,
                 first_queued_at, claimed_at, started_at, first_started_at, not_before, updated_at, request, notes, verdict, at_risk, outcome)
             VALUES (:request_id, :status, :lane, :tenant, :use_case, :priority, :deadline, :rank, :input_tokens,
                 :max_output_tokens, :work_list, :work_sort, :ticket, :claim, :worker, :attempts, :throttles, :claims,
                 :queued_at, :first_queued_at, :claimed_at, :started_at, :first_started_at, :not_before, :updated_at, :request, :notes, :verdict, :at_risk, :outcome)
             ON CONFLICT (request_id) DO NOTHING",
        )?
        .execute(named_params! {
            ":request_id": request.id.as_str(),
            ":status": row.status.as_str(),
            ":lane": request.lane.as_str(),
            ":tenant": request.tenant.as_str(),
            ":use_case": request.use_case,
            ":priority": request.priority.number(),
            ":deadline": millis(request.deadline),
            ":rank": request.rank,
            ":input_tokens": integer(request.estimate.input_tokens),
            ":max_output_tokens": integer(request.estimate.max_output_tokens),
            ":work_list": work.as_ref().map(|place| &place.list),
            ":work_sort": work.as_ref().map(|place| &place.sort),
            ":ticket": row.ticket,
            ":claim": row.claim,
            ":worker": row.worker,
            ":attempts": row.attempts,
            ":throttles": row.throttles,
            ":claims": row.claims,
            ":queued_at": millis(row.queued_at),
            ":first_queued_at": millis(row.first_queued_at),
            ":claimed_at": millis(row.claimed_at),
            ":started_at": millis(row.started_at),
            ":first_started_at": millis(row.first_started_at),
            ":not_before": millis(row.not_before),
            ":updated_at": integer(row.updated_at.0),
            ":request": json(request)?,
            ":notes": json(&row.notes)?,
            ":verdict": row.verdict.as_ref().map(json).transpose()?,
            ":at_risk": millis(row.at_risk),
            ":outcome": row.outcome.as_ref().map(json).transpose()?,
        })?;
    Ok(changed == 1)
}

/// Writes all that every transition may change.
pub(super) fn update(connection: &Connection, stored: &Stored) -> Result<(), Fault> {
    let Stored { row, work } = stored;
    connection
        .prepare_cached(
            "UPDATE requests SET status = :status, work_list = :work_list, work_sort = :work_sort, ticket = :ticket,
                 claim = :claim, worker = :worker, attempts = :attempts, throttles = :throttles, claims = :claims,
                 queued_at = :queued_at, first_queued_at = :first_queued_at, claimed_at = :claimed_at,
                 started_at = :started_at, first_started_at = :first_started_at, not_before = :not_before, updated_at = :updated_at,
                 notes = :notes, verdict = :verdict, at_risk = :at_risk, outcome = :outcome
             WHERE request_id = :request_id",
        )?
        .execute(named_params! {
            ":request_id": row.request.id.as_str(),
            ":status": row.status.as_str(),
            ":work_list": work.as_ref().map(|place| &place.list),
            ":work_sort": work.as_ref().map(|place| &place.sort),
            ":ticket": row.ticket,
            ":claim": row.claim,
            ":worker": row.worker,
            ":attempts": row.attempts,
            ":throttles": row.throttles,
            ":claims": row.claims,
            ":queued_at": millis(row.queued_at),
            ":first_queued_at": millis(row.first_queued_at),
            ":claimed_at": millis(row.claimed_at),
            ":started_at": millis(row.started_at),
            ":first_started_at": millis(row.first_started_at),
            ":not_before": millis(row.not_before),
            ":updated_at": integer(row.updated_at.0),
            ":notes": json(&row.notes)?,
            ":verdict": row.verdict.as_ref().map(json).transpose()?,
            ":at_risk": millis(row.at_risk),
            ":outcome": row.outcome.as_ref().map(json).transpose()?,
        })?;
    Ok(())
}

/// Replaces the request. The list that the row stands in is written by [`update`]: do this first, since it is told of the flow.
pub(super) fn replace(connection: &Connection, request: &Request) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "UPDATE requests SET lane = :lane, tenant = :tenant, use_case = :use_case, priority = :priority,
                 deadline = :deadline, rank = :rank, input_tokens = :input_tokens,
                 max_output_tokens = :max_output_tokens, request = :request
             WHERE request_id = :request_id",
        )?
        .execute(named_params! {
            ":request_id": request.id.as_str(),
            ":lane": request.lane.as_str(),
            ":tenant": request.tenant.as_str(),
            ":use_case": request.use_case,
            ":priority": request.priority.number(),
            ":deadline": millis(request.deadline),
            ":rank": request.rank,
            ":input_tokens": integer(request.estimate.input_tokens),
            ":max_output_tokens": integer(request.estimate.max_output_tokens),
            ":request": json(request)?,
        })?;
    Ok(())
}

/// The row of `id` and its place.
pub(super) fn find(connection: &Connection, id: &RequestId) -> Result<Option<Stored>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT request, status, attempts, throttles, claims, ticket, claim, worker, queued_at, first_queued_at, claimed_at,
             started_at, first_started_at, not_before,
             updated_at, notes, verdict, at_risk, outcome, work_list, work_sort
         FROM requests WHERE request_id = ?",
    )?;
    let mut rows = statement.query([id.as_str()])?;
    rows.next()?.map(stored).transpose()
}

fn stored(row: &rusqlite::Row<'_>) -> Result<Stored, Fault> {
    let list: Option<String> = row.get("work_list")?;
    let sort: Option<String> = row.get("work_sort")?;
    let stored = Row {
        request: parsed(row, "request")?.ok_or_else(|| Fault::unreadable("requests.request"))?,
        status: status(&row.get::<_, String>("status")?)?,
        attempts: row.get("attempts")?,
        throttles: row.get("throttles")?,
        claims: row.get("claims")?,
        ticket: row.get("ticket")?,
        claim: row.get("claim")?,
        worker: row.get("worker")?,
        queued_at: timestamp(row.get("queued_at")?),
        first_queued_at: timestamp(row.get("first_queued_at")?),
        claimed_at: timestamp(row.get("claimed_at")?),
        started_at: timestamp(row.get("started_at")?),
        first_started_at: timestamp(row.get("first_started_at")?),
        not_before: timestamp(row.get("not_before")?),
        updated_at: Timestamp(natural(row.get("updated_at")?)),
        notes: parsed(row, "notes")?.ok_or_else(|| Fault::unreadable("requests.notes"))?,
        verdict: parsed(row, "verdict")?,
        at_risk: timestamp(row.get("at_risk")?),
        outcome: parsed(row, "outcome")?,
    };
    Ok(Stored { row: stored, work: list.zip(sort).map(|(list, sort)| Place { list, sort }) })
}

/// A stored status.
pub(super) fn status(text: &str) -> Result<Status, Fault> {
    Status::parse(text).ok_or_else(|| Fault::unreadable("requests.status"))
}

/// A stored id.
pub(super) fn id(text: String) -> Result<RequestId, Fault> {
    RequestId::new(text).map_err(|_| Fault::unreadable("requests.request_id"))
}

/// A stored flow. Lanes are made of their parts only, or read back like this.
pub(super) fn flow(lane: &str, tenant: String, urgent: bool, use_case: Option<String>) -> Result<Flow, Fault> {
    let lane: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = lane.into_deserializer();
    Ok(Flow {
        lane: serde::Deserialize::deserialize(lane).map_err(|_| Fault::unreadable("requests.lane"))?,
        tenant: Tenant::new(tenant).map_err(|_| Fault::unreadable("requests.tenant"))?,
        urgent,
        use_case,
    })
}

/// A stored priority.
pub(super) fn priority(number: i64) -> Result<Priority, Fault> {
    Priority::from_number(natural(number)).ok_or_else(|| Fault::unreadable("requests.priority"))
}

fn json<T: Serialize>(value: &T) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(Fault::permanent)
}

fn parsed<T: DeserializeOwned>(row: &rusqlite::Row<'_>, column: &str) -> Result<Option<T>, Fault> {
    let unreadable = || Fault::unreadable(&format!("requests.{column}"));
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        ValueRef::Text(text) => serde_json::from_slice(text).map(Some).map_err(|_| unreadable()),
        _ => Err(unreadable()),
    }
}

fn millis(at: Option<Timestamp>) -> Option<i64> {
    at.map(|at| integer(at.0))
}

pub(super) fn timestamp(millis: Option<i64>) -> Option<Timestamp> {
    millis.map(|millis| Timestamp(natural(millis)))
}
