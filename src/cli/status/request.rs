//! One request: its history, where it stands, how it ended. Only reads.

use serde::Serialize;

use super::ahead::Ahead;
use super::overview::Crew;
use super::waits::{Waits, explain};
use crate::cli::place::Place;
use crate::clock::Timestamp;
use crate::control::pauses::Pauses;
use crate::ports::PortResult;
use crate::request::{Failure, Metadata, RequestId, Row, Status, TraceContext, Usage};

/// How much of a result is shown.
const SHOWN: usize = 200;

/// A request as `smoother status ID` shows it. As JSON these names are stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Story {
    pub request_id: RequestId,
    pub status: Status,
    /// When this was read.
    pub at: Timestamp,
    /// Empty when the message was too broken to tell.
    pub model_id: String,
    pub use_case: Option<String>,
    pub lane: String,
    pub tenant: String,
    /// `urgent` … `bulk`.
    pub priority: &'static str,
    pub deadline: Option<Timestamp>,
    pub batch_id: Option<String>,
    pub metadata: Metadata,
    /// The trace that it belongs to, where it is traced.
    pub trace_id: Option<String>,
    /// Calls started, throttled ones not counted.
    pub attempts: u32,
    /// Calls throttled.
    pub throttles: u32,
    /// The worker that has or had it last.
    pub worker: Option<String>,
    /// What happened, oldest first.
    pub timeline: Vec<Event>,
    /// Why it is not done; absent when it is.
    pub waits: Option<Waits>,
    /// How it ended; absent until it has.
    pub outcome: Option<End>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    pub at: Timestamp,
    pub what: String,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct End {
    pub finished_at: Timestamp,
    pub usage: Option<Usage>,
    /// Duration of the last call.
    pub latency_ms: Option<u64>,
    pub cost_usd: Option<f64>,
    /// From when the price is.
    pub price_as_of: Option<String>,
    pub service_tier: Option<String>,
    pub error: Option<Failure>,
    pub result: Option<Stored>,
}

/// Where its result lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stored {
    /// The bucket; locally the directory.
    pub bucket: String,
    pub key: String,
    pub bytes: u64,
    /// Its first characters, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<String>,
}

impl Story {
    /// Reads a request; `None` when there is none of this id.
    pub async fn read(place: &Place, id: &RequestId, show_result: bool) -> PortResult<Option<Self>> {
        let Some(row) = place.ports.ledger.get(id).await? else { return Ok(None) };
        let mut story = Self::of(&row, place.clock.now());
        if row.status.is_terminal() {
            story.outcome = outcome(place, &row, show_result).await?;
        } else {
            let (crew, ahead, pauses) =
                tokio::join!(Crew::read(place), Ahead::count(place, &row), Pauses::read(&*place.ports.registers));
            let mut waits = explain(&row, &crew?, &ahead?, story.at);
            if let Some(pause) = pauses?.holding(&row, story.at) {
                waits.hold_back(pause, story.at);
            }
            story.waits = Some(waits);
        }
        Ok(Some(story))
    }

    /// What the row alone tells.
    pub fn of(row: &Row, now: Timestamp) -> Self {
        let request = &row.request;
        Self {
            request_id: request.id.clone(),
            status: row.status,
            at: now,
            model_id: request.model_id.as_str().to_owned(),
            use_case: request.use_case.clone(),
            lane: request.lane.as_str().to_owned(),
            tenant: request.tenant.as_str().to_owned(),
            priority: request.priority.class(),
            deadline: request.deadline,
            batch_id: request.batch_id.clone(),
            metadata: request.metadata.clone(),
            trace_id: request.trace_context().map(TraceContext::trace_hex),
            attempts: row.attempts,
            throttles: row.throttles,
            worker: row.worker.clone(),
            timeline: timeline(row),
            waits: None,
            outcome: None,
        }
    }
}

async fn outcome(place: &Place, row: &Row, show_result: bool) -> PortResult<Option<End>> {
    let Some(outcome) = &row.outcome else { return Ok(None) };
    let mut result = None;
    if let Some(stored) = &outcome.result {
        let (bucket, key) = place.ports.payloads.location(&stored.payload);
        let preview = if show_result { Some(preview(place, &stored.payload).await?) } else { None };
        result = Some(Stored { bucket, key, bytes: stored.bytes, preview });
    }
    Ok(Some(End {
        finished_at: outcome.finished_at,
        usage: outcome.usage,
        latency_ms: outcome.latency_ms,
        cost_usd: outcome.cost_usd,
        price_as_of: outcome.price_as_of.clone(),
        service_tier: outcome.service_tier.clone(),
        error: outcome.error.clone(),
        result,
    }))
}

async fn preview(place: &Place, payload: &crate::request::PayloadRef) -> PortResult<String> {
    Ok(match place.ports.payloads.get(payload).await? {
        None => "(the result is gone: it was kept for its time)".to_owned(),
        Some(bytes) => String::from_utf8_lossy(&bytes).chars().take(SHOWN).collect(),
    })
}

/// What the row remembers, in order. Of several passes through the hold queue and several calls it knows the first and the last.
fn timeline(row: &Row) -> Vec<Event> {
    let at_worker = row.worker.as_ref().map(|worker| format!(" at {worker}")).unwrap_or_default();
    let mut events = vec![Event { at: row.request.received_at, what: "received".to_owned() }];
    let mut add = |at: Option<Timestamp>, what: String| events.extend(at.map(|at| Event { at, what }));
    for note in &row.notes {
        add(Some(note.at), note.what.clone());
    }
    let first = |first: Option<Timestamp>, last| first.filter(|_| first != last);
    add(first(row.first_queued_at, row.queued_at), "queued for the first time".to_owned());
    add(row.queued_at, "queued".to_owned());
    let calls = row.attempts + row.throttles;
    let which = if calls > 1 { format!("call {calls} started") } else { "call started".to_owned() };
    add(first(row.first_started_at, row.started_at), "call 1 started".to_owned());
    add(row.started_at, format!("{which}{at_worker}"));
    add((row.status == Status::Running).then_some(row.updated_at), format!("taken{at_worker}"));
    if let Some(outcome) = &row.outcome {
        add(Some(outcome.finished_at), row.status.as_str().to_lowercase());
    }
    // Stable: what happened in the same millisecond stays in the order of a life.
    events.sort_by_key(|event| event.at);
    events
}
