//! A [`Row`] as a DynamoDB item and back. Times are epoch milliseconds, which keeps hot rows below one write unit.

use std::collections::HashMap;
use std::fmt::Display;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::places::Place;
use crate::aws::schema::requests as schema;
use crate::clock::Timestamp;
use crate::ports::{PortError, PortResult};
use crate::request::{Estimate, Flow, Note, Priority, Request, Row, Status, Tenant};

/// What DynamoDB calls an item.
pub type Item = HashMap<String, AttributeValue>;

/// Names the last write of a row; see the module above.
pub const WRITE_ID: &str = "write_id";
pub const STATUS: &str = "status";
pub const LANE: &str = "lane";
pub const RANK: &str = "rank";
pub const ESTIMATE_INPUT: &str = "estimate_input";
pub const ESTIMATE_OUTPUT: &str = "estimate_output";
pub const TENANT: &str = "tenant";
pub const USE_CASE: &str = "use_case";
pub const PRIORITY: &str = "priority";
pub const DEADLINE: &str = "deadline";
pub const VERDICT: &str = "verdict";
pub const AT_RISK: &str = "at_risk";
pub const REQUEST: &str = "request";
pub const OUTCOME: &str = "outcome";
pub const NOTES: &str = "notes";
pub const ATTEMPTS: &str = "attempts";
pub const THROTTLES: &str = "throttles";
pub const CLAIMS: &str = "claims";
pub const TICKET: &str = "ticket";
pub const CLAIM: &str = "claim";
pub const WORKER: &str = "worker";
pub const QUEUED_AT: &str = "queued_at";
pub const FIRST_QUEUED_AT: &str = "first_queued_at";
pub const CLAIMED_AT: &str = "claimed_at";
pub const STARTED_AT: &str = "started_at";
pub const FIRST_STARTED_AT: &str = "first_started_at";
pub const NOT_BEFORE: &str = "not_before";
pub const UPDATED_AT: &str = "updated_at";

pub fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub fn number(value: impl Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub fn time(at: Timestamp) -> AttributeValue {
    number(at.0)
}

pub fn json<T: Serialize>(what: &str, value: &T) -> PortResult<AttributeValue> {
    serde_json::to_string(value).map(text).map_err(|e| PortError::permanent(what, e))
}

pub fn note(note: &Note) -> AttributeValue {
    AttributeValue::M(HashMap::from([("at".to_owned(), time(note.at)), ("what".to_owned(), text(&note.what))]))
}

/// When DynamoDB may drop a row that became final at `at`.
pub fn expiry(at: Timestamp, retention_seconds: u64) -> AttributeValue {
    number((at.0 / 1000).saturating_add(retention_seconds))
}

/// Whether the row is as the write of this id left it.
pub fn is_write(item: &Item, write_id: &str) -> bool {
    matches!(item.get(WRITE_ID), Some(AttributeValue::S(id)) if id == write_id)
}

/// The whole item of a new row.
pub fn encode(what: &str, row: &Row, place: Option<Place>, retention_seconds: u64, write_id: &str) -> PortResult<Item> {
    let request = &row.request;
    let mut item = Item::new();
    let mut put = |name: &str, value: AttributeValue| item.insert(name.to_owned(), value);
    put(schema::KEY, text(request.id.as_str()));
    put(WRITE_ID, text(write_id));
    put(STATUS, text(row.status.as_str()));
    for (name, value) in request_attributes(what, request)? {
        item.extend(value.map(|value| (name.to_owned(), value)));
    }
    let mut put = |name: &str, value: AttributeValue| item.insert(name.to_owned(), value);
    put(ATTEMPTS, number(row.attempts));
    put(THROTTLES, number(row.throttles));
    put(CLAIMS, number(row.claims));
    put(UPDATED_AT, time(row.updated_at));
    for (name, value) in [(TICKET, &row.ticket), (CLAIM, &row.claim), (WORKER, &row.worker)] {
        if let Some(value) = value {
            put(name, text(value));
        }
    }
    let times = [
        (QUEUED_AT, row.queued_at),
        (FIRST_QUEUED_AT, row.first_queued_at),
        (CLAIMED_AT, row.claimed_at),
        (STARTED_AT, row.started_at),
        (FIRST_STARTED_AT, row.first_started_at),
        (NOT_BEFORE, row.not_before),
        (AT_RISK, row.at_risk),
    ];
    for (name, at) in times {
        if let Some(at) = at {
            put(name, time(at));
        }
    }
    if !row.notes.is_empty() {
        put(NOTES, AttributeValue::L(row.notes.iter().map(note).collect()));
    }
    if let Some(verdict) = &row.verdict {
        put(VERDICT, json(what, verdict)?);
    }
    if let Some(outcome) = &row.outcome {
        put(OUTCOME, json(what, outcome)?);
    }
    if row.status.is_terminal() {
        put(schema::TTL, expiry(row.updated_at, retention_seconds));
    }
    if let Some(place) = place {
        put(schema::INDEX_KEY, text(place.list));
        put(schema::INDEX_SORT, text(place.sort));
    }
    Ok(item)
}

/// What a request's attributes are; `None` for those that it must not have.
pub fn request_attributes(what: &str, request: &Request) -> PortResult<[(&'static str, Option<AttributeValue>); 9]> {
    Ok([
        (LANE, Some(text(request.lane.as_str()))),
        (TENANT, Some(text(request.tenant.as_str()))),
        (USE_CASE, request.use_case.as_ref().map(text)),
        (PRIORITY, Some(number(request.priority.number()))),
        (DEADLINE, request.deadline.map(time)),
        (RANK, Some(text(&request.rank))),
        (ESTIMATE_INPUT, Some(number(request.estimate.input_tokens))),
        (ESTIMATE_OUTPUT, Some(number(request.estimate.max_output_tokens))),
        (REQUEST, Some(json(what, request)?)),
    ])
}

/// The row of an item.
pub fn decode(what: &str, item: &Item) -> PortResult<Row> {
    let fields = Fields { what, item };
    let notes = match item.get(NOTES) {
        Some(AttributeValue::L(notes)) => notes.iter().map(|n| fields.note(n)).collect::<PortResult<_>>()?,
        Some(_) => return Err(fields.bad(NOTES)),
        None => Vec::new(),
    };
    Ok(Row {
        request: fields.json(REQUEST)?.ok_or_else(|| fields.bad(REQUEST))?,
        status: fields.status()?,
        attempts: fields.number(ATTEMPTS)?.unwrap_or(0),
        throttles: fields.number(THROTTLES)?.unwrap_or(0),
        claims: fields.number(CLAIMS)?.unwrap_or(0),
        ticket: fields.text(TICKET)?,
        claim: fields.text(CLAIM)?,
        worker: fields.text(WORKER)?,
        queued_at: fields.number(QUEUED_AT)?.map(Timestamp),
        first_queued_at: fields.number(FIRST_QUEUED_AT)?.map(Timestamp),
        claimed_at: fields.number(CLAIMED_AT)?.map(Timestamp),
        started_at: fields.number(STARTED_AT)?.map(Timestamp),
        first_started_at: fields.number(FIRST_STARTED_AT)?.map(Timestamp),
        not_before: fields.number(NOT_BEFORE)?.map(Timestamp),
        updated_at: fields.number(UPDATED_AT)?.map(Timestamp).ok_or_else(|| fields.bad(UPDATED_AT))?,
        notes,
        verdict: fields.json(VERDICT)?,
        at_risk: fields.number(AT_RISK)?.map(Timestamp),
        outcome: fields.json(OUTCOME)?,
    })
}

/// Typed reads of attributes; what is missing is `None`, what is malformed an error that names it.
pub struct Fields<'a> {
    pub what: &'a str,
    pub item: &'a Item,
}

impl Fields<'_> {
    pub fn bad(&self, name: &str) -> PortError {
        PortError::permanent(self.what, format!("attribute {name} is missing or not what this version writes"))
    }

    pub fn text(&self, name: &str) -> PortResult<Option<String>> {
        match self.item.get(name) {
            Some(AttributeValue::S(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.bad(name)),
            None => Ok(None),
        }
    }

    pub fn number<T: std::str::FromStr>(&self, name: &str) -> PortResult<Option<T>> {
        match self.item.get(name) {
            Some(AttributeValue::N(digits)) => digits.parse().map(Some).map_err(|_| self.bad(name)),
            Some(_) => Err(self.bad(name)),
            None => Ok(None),
        }
    }

    pub fn json<T: DeserializeOwned>(&self, name: &str) -> PortResult<Option<T>> {
        let text = self.text(name)?;
        text.map(|text| serde_json::from_str(&text)).transpose().map_err(|_| self.bad(name))
    }

    pub fn status(&self) -> PortResult<Status> {
        self.text(STATUS)?.and_then(|text| Status::parse(&text)).ok_or_else(|| self.bad(STATUS))
    }

    pub fn priority(&self) -> PortResult<Priority> {
        self.number(PRIORITY)?.and_then(Priority::from_number).ok_or_else(|| self.bad(PRIORITY))
    }

    pub fn estimate(&self) -> PortResult<Estimate> {
        Ok(Estimate {
            input_tokens: self.number(ESTIMATE_INPUT)?.ok_or_else(|| self.bad(ESTIMATE_INPUT))?,
            max_output_tokens: self.number(ESTIMATE_OUTPUT)?.ok_or_else(|| self.bad(ESTIMATE_OUTPUT))?,
        })
    }

    /// The flow of a row, or of an item that remembers one.
    pub fn flow(&self) -> PortResult<Flow> {
        let lane = self.text(LANE)?.ok_or_else(|| self.bad(LANE))?;
        let tenant = self.text(TENANT)?.ok_or_else(|| self.bad(TENANT))?;
        Ok(Flow {
            lane: serde_json::from_value(serde_json::Value::from(lane)).map_err(|_| self.bad(LANE))?,
            tenant: Tenant::new(tenant).map_err(|_| self.bad(TENANT))?,
            urgent: self.priority()? == Priority::URGENT,
            use_case: self.text(USE_CASE)?,
        })
    }

    fn note(&self, value: &AttributeValue) -> PortResult<Note> {
        let AttributeValue::M(item) = value else { return Err(self.bad(NOTES)) };
        let fields = Fields { what: self.what, item };
        match (fields.number("at")?, fields.text("what")?) {
            (Some(at), Some(what)) => Ok(Note { at: Timestamp(at), what }),
            _ => Err(self.bad(NOTES)),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::request::{Failure, Lane, ModelId, Operation, Outcome, PayloadRef, QuotaUse, RequestId, Usage, Verdict};
    use std::collections::BTreeMap;

    pub fn row() -> Row {
        let model_id = ModelId::new("us.amazon.nova-lite-v1:0").unwrap();
        Row {
            request: Request {
                id: RequestId::new("r-1").unwrap(),
                content_hash: "0f".repeat(32),
                message_id: "m-1".to_owned(),
                lane: Lane::new("default", "us-east-1", &model_id),
                model_id,
                downgraded_from: None,
                batch_id: None,
                trace: None,
                use_case: Some("summaries".to_owned()),
                tenant: Tenant::default(),
                priority: Priority::HIGH,
                deadline: Some(Timestamp(1_795_252_999_001)),
                metadata: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
                operation: Operation::Converse,
                body: PayloadRef("requests/2026/11/21/r-1/0f.json".to_owned()),
                estimate: Estimate { input_tokens: 7, max_output_tokens: 9 },
                rank: "5-001795252123456".to_owned(),
                received_at: Timestamp(1_795_252_123_456),
            },
            status: Status::Running,
            attempts: 2,
            throttles: 1,
            claims: 3,
            ticket: Some("t".to_owned()),
            claim: Some("c".to_owned()),
            worker: Some("w".to_owned()),
            queued_at: Some(Timestamp(1_795_252_123_457)),
            first_queued_at: Some(Timestamp(1_795_252_123_400)),
            claimed_at: Some(Timestamp(1_795_252_123_458)),
            started_at: Some(Timestamp(1_795_252_123_458)),
            first_started_at: Some(Timestamp(1_795_252_123_410)),
            not_before: Some(Timestamp(1_795_252_123_459)),
            updated_at: Timestamp(1_795_252_123_460),
            notes: vec![Note { at: Timestamp(1_795_252_123_459), what: "deferred: 503".to_owned() }],
            verdict: None,
            at_risk: Some(Timestamp(1_795_252_999_002)),
            outcome: None,
        }
    }

    #[test]
    fn a_row_reads_back_as_written() {
        let mut rows = vec![row(), row()];
        rows[1].status = Status::Succeeded;
        rows[1].notes.clear();
        rows[1].claim = None;
        rows[1].request.deadline = None;
        rows[1].request.use_case = None;
        let failure = Failure { kind: "x".to_owned(), message: "y".to_owned(), retryable: true, field: None };
        rows[1].verdict = Some(Verdict { status: Status::Cancelled, failure });
        rows[1].outcome = Some(Outcome {
            usage: Some(Usage { input_tokens: 1, ..Usage::default() }),
            latency_ms: Some(12),
            cost_usd: Some(0.000_001_234),
            quota: Some(QuotaUse { tokens: 9, requests_per_minute: None, tokens_per_minute: Some(1e5) }),
            ..Outcome::at(Timestamp(1_795_252_123_999))
        });
        for row in rows {
            let item = encode("t", &row, None, 60, "w1").unwrap();
            assert_eq!(decode("t", &item).unwrap(), row);
            assert_eq!(item.contains_key(schema::TTL), row.status.is_terminal());
            assert!(is_write(&item, "w1") && !is_write(&item, "w2"));
        }
    }

    #[test]
    fn a_usual_hot_row_stays_below_one_write_unit() {
        let place = Place { list: "held#0".to_owned(), sort: "01795252123456\tr-1".to_owned() };
        let item = encode("t", &row(), Some(place), 60, "0123456789abcdef").unwrap();
        let bytes: usize = item.iter().map(|(name, value)| name.len() + size(value)).sum();
        assert!(bytes < 1024, "{bytes} bytes");
    }

    fn size(value: &AttributeValue) -> usize {
        match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(digits) => digits.len() / 2 + 2,
            AttributeValue::L(list) => 3 + list.iter().map(|v| 1 + size(v)).sum::<usize>(),
            AttributeValue::M(map) => 3 + map.iter().map(|(k, v)| 1 + k.len() + size(v)).sum::<usize>(),
            other => panic!("no such attribute is written: {other:?}"),
        }
    }

    #[test]
    fn what_the_index_carries_are_attributes_of_every_row() {
        let item = encode("t", &row(), None, 60, "w").unwrap();
        for name in schema::INDEX_INCLUDES {
            assert!(item.contains_key(name), "{name}");
        }
    }

    #[test]
    fn a_malformed_item_names_its_attribute() {
        let mut item = encode("read r-1", &row(), None, 60, "w").unwrap();
        item.insert(STATUS.to_owned(), text("DANCING"));
        let error = decode("read r-1", &item).unwrap_err();
        assert!(!error.retryable && error.to_string().contains("status"), "{error}");
    }
}
