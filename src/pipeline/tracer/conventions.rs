//! The spans, by OpenTelemetry's conventions for messaging and for generative AI where they have a name for a thing, and under
//! `smoother.` where they have not. docs/tracing.md lists them.

use super::Tracer;
use crate::clock::Timestamp;
use crate::ports::{Answer, CallError, Delivery, Span, SpanKind, SpanValue};
use crate::request::{Operation, Request, Row, Status, TRACEPARENT, TraceContext};

pub(super) const WORKER: &str = "smoother.worker";

type Attributes = Vec<(&'static str, SpanValue)>;

/// Longest text of an attribute.
const LONGEST: usize = 256;

/// A call that ended.
pub struct Called<'a> {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Which of the request's calls it was, from 1, throttled ones included.
    pub number: u32,
    /// What came of it.
    pub outcome: Result<&'a Answer, &'a CallError>,
}

fn text(value: &str) -> SpanValue {
    SpanValue::Text(value.chars().take(LONGEST).collect())
}

/// What every span tells of its request.
fn common(request: &Request) -> Attributes {
    let mut attributes: Attributes = vec![
        ("smoother.request_id", text(request.id.as_str())),
        ("smoother.tenant", text(request.tenant.as_str())),
        ("smoother.lane", text(request.lane.as_str())),
        ("smoother.priority", request.priority.class().into()),
    ];
    attributes.extend(request.use_case.as_deref().map(|use_case| ("smoother.use_case", text(use_case))));
    attributes.extend(request.batch_id.as_deref().map(|batch| ("smoother.batch_id", text(batch))));
    attributes
}

impl Tracer {
    /// A message became the row `row`, or was rejected with it.
    pub fn ingested(&self, queue: &str, delivery: &Delivery, row: &Row, start: Timestamp, end: Timestamp) {
        let Some(context) = row.request.trace_context().filter(|context| context.sampled) else { return };
        let parent = delivery.attributes.get(TRACEPARENT).and_then(|parent| TraceContext::parse(parent));
        let mut attributes = common(&row.request);
        attributes.extend([
            ("messaging.system", "aws_sqs".into()),
            ("messaging.operation.name", "process".into()),
            ("messaging.operation.type", "process".into()),
            ("messaging.destination.name", text(queue.rsplit('/').next().unwrap_or(queue))),
            ("messaging.message.id", text(&delivery.message_id)),
        ]);
        self.record(Span {
            context,
            parent: parent.map(|parent| parent.span_id),
            name: "smoother.ingest",
            kind: SpanKind::Consumer,
            start,
            end,
            attributes,
            error: failure_of(row),
        });
    }

    /// A call starts, and the request's wait for it ends: in the backlog and the hold queue, or since `last_call` ended, for the
    /// delay and for a place at the gate.
    pub fn waited(&self, row: &Row, last_call: Option<Timestamp>, until: Timestamp) {
        let Some(context) = self.below(&row.request) else { return };
        let since = last_call.unwrap_or_else(|| in_line_since(row)).min(until);
        let mut attributes = common(&row.request);
        if let (None, Some(queued)) = (last_call, row.queued_at.filter(|queued| (since..=until).contains(queued))) {
            attributes.push(("smoother.backlog_ms", millis(since, queued)));
            attributes.push(("smoother.hold_ms", millis(queued, until)));
        }
        let lost = row.claims.saturating_sub(1);
        if lost > 0 {
            attributes.push(("smoother.lost_claims", lost.into()));
        }
        self.record(Span {
            context,
            parent: parent_of(&row.request),
            name: "smoother.wait",
            kind: SpanKind::Internal,
            start: since,
            end: until,
            attributes,
            error: None,
        });
    }

    /// A call of a model ended.
    pub fn called(&self, row: &Row, called: &Called<'_>) {
        let request = &row.request;
        let Some(context) = self.below(request) else { return };
        let mut attributes = common(request);
        attributes.extend([
            ("gen_ai.provider.name", "aws.bedrock".into()),
            (
                "gen_ai.operation.name",
                match request.operation {
                    Operation::Converse => "chat".into(),
                    // What a native body asks for, an answer, an embedding or a picture, is its own affair.
                    Operation::Invoke => "invoke_model".into(),
                },
            ),
            ("gen_ai.request.model", text(request.model_id.as_str())),
            ("smoother.attempt", called.number.into()),
        ]);
        if let Some(usage) = called.outcome.ok().and_then(|answer| answer.usage) {
            // By the convention the input is all of it, cached or not.
            let input = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_write_input_tokens;
            attributes.extend([
                ("gen_ai.usage.input_tokens", input.into()),
                ("gen_ai.usage.output_tokens", usage.output_tokens.into()),
                ("gen_ai.usage.cache_read.input_tokens", usage.cache_read_input_tokens.into()),
                ("gen_ai.usage.cache_creation.input_tokens", usage.cache_write_input_tokens.into()),
            ]);
        }
        let error = called.outcome.err().map(|error| {
            attributes.push(("smoother.throttled", SpanValue::Flag(error.class.is_throttle())));
            error.kind.clone()
        });
        self.record(Span {
            context,
            parent: parent_of(request),
            name: "smoother.call",
            kind: SpanKind::Client,
            start: called.start,
            end: called.end,
            attributes,
            error,
        });
    }

    /// The context that the result of a request is sent with: that of its record span where that is recorded, else what came
    /// with the request.
    #[must_use]
    pub fn result_context(&self, request: &Request) -> Option<TraceContext> {
        self.below(request).or_else(|| request.trace_context())
    }

    /// The end of a request was written and its result sent, under the context of [`Tracer::result_context`].
    pub fn recorded(&self, row: &Row, context: Option<TraceContext>, now: Timestamp) {
        let (Some(outcome), true) = (&row.outcome, self.below(&row.request).is_some()) else { return };
        let Some(context) = context else { return };
        let answered = row.started_at.zip(outcome.latency_ms).filter(|_| row.status == Status::Succeeded);
        let start = answered.map_or(outcome.finished_at, |(started, ms)| {
            outcome.finished_at.min(started + std::time::Duration::from_millis(ms))
        });
        let called = row.started_at.is_some();
        if !called && row.status != Status::Rejected {
            self.waited(row, None, outcome.finished_at);
        }
        let mut attributes = common(&row.request);
        attributes.push(("smoother.status", row.status.as_str().into()));
        attributes.push(("smoother.attempts", row.attempts.into()));
        attributes.push(("smoother.throttles", row.throttles.into()));
        attributes.extend(outcome.cost_usd.map(|usd| ("smoother.cost_usd", SpanValue::Number(usd))));
        self.record(Span {
            context,
            parent: parent_of(&row.request),
            name: "smoother.record",
            kind: SpanKind::Producer,
            start,
            end: now,
            attributes,
            error: failure_of(row),
        });
    }
}

fn parent_of(request: &Request) -> Option<u64> {
    request.trace_context().map(|parent| parent.span_id)
}

/// Since when a request stands in line that is about to be called: since it was received, or since the detour after its last
/// call. A worker that takes over from one that is gone tells the whole wait again: the ledger does not know of lost calls.
fn in_line_since(row: &Row) -> Timestamp {
    let Some(started) = row.started_at else { return row.request.received_at };
    row.notes.iter().map(|note| note.at).find(|at| *at >= started).unwrap_or(started)
}

fn failure_of(row: &Row) -> Option<String> {
    row.outcome.as_ref().and_then(|outcome| outcome.error.as_ref()).map(|error| error.kind.clone())
}

fn millis(from: Timestamp, to: Timestamp) -> SpanValue {
    SpanValue::Whole(u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX))
}
