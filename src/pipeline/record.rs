//! Ends requests: result body, final status, report row, result message, in this order.
//!
//! The final status is the commit point. It is one conditional write that carries the outcome and where the result
//! lies; whatever follows can be repeated from the row alone, and is, until it is done: the message that brought
//! the request here (hold or input) is deleted only after the result was sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::alerts::Alerter;
use super::alerts::conditions::Condition;
use super::batcher::{Batcher, Gathering};
use super::lifecycle::{self, Calls};
use super::quotas::lane_limits;
use super::spend::Spend;
use super::tally::Tally;
use super::tracer::Tracer;
use crate::clock::{Clock, millis};
use crate::models::Catalog;
use crate::ports::{Answer, Applied, Ledger, Outgoing, Payloads, PortError, Ports, PutKind, ReportRow, Transition};
use crate::request::{
    Failure, Metadata, Outcome, QuotaUse, Row, Status, StoredResult, TRACEPARENT, TraceContext, Usage,
};
use crate::retry;

/// Results and reports wait this long for others to share a call with.
const GATHER_REPORTS: Gathering = Gathering { size: 25, linger: Duration::from_millis(20), concurrent: 8 };
const GATHER_RESULTS: Gathering = Gathering { size: 10, linger: Duration::from_millis(10), concurrent: 16 };

/// What a consumer receives on the results queue.
#[derive(Debug, Serialize)]
struct ResultMessage<'a> {
    request_id: &'a str,
    status: Status,
    model_id: Option<&'a str>,
    tenant: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a Metadata,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_usd: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_s3: Option<Location>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Failure>,
}

/// Where a result body lies that is too long for the message.
#[derive(Debug, Serialize)]
struct Location {
    bucket: String,
    key: String,
}

/// A claimed request with what was done under the claim.
pub struct Attempted<'a> {
    /// The row as it was claimed.
    pub row: &'a Row,
    /// The claim.
    pub claim: &'a str,
    /// The calls made so far.
    pub calls: Calls,
    /// Duration of the last call.
    pub latency: Option<Duration>,
}

/// Writes ends. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    ledger: Arc<dyn Ledger>,
    payloads: Arc<dyn Payloads>,
    catalog: Arc<Catalog>,
    reports: Batcher<ReportRow>,
    results: Batcher<Outgoing>,
    tally: Arc<Tally>,
    spend: Spend,
    alerter: Alerter,
    tracer: Tracer,
    clock: Clock,
    inline_limit: usize,
}

/// What a [`Recorder`] shares with the other stages.
pub struct Context {
    /// Prices.
    pub catalog: Arc<Catalog>,
    /// Counts.
    pub tally: Arc<Tally>,
    /// What was spent.
    pub spend: Spend,
    /// On-call.
    pub alerter: Alerter,
    /// Traces.
    pub tracer: Tracer,
    /// Wall time.
    pub clock: Clock,
    /// The longest result body, in bytes, that travels in the message.
    pub inline_limit: usize,
}

impl Recorder {
    /// A recorder and the task that writes its batches until every clone is dropped.
    pub fn new(ports: &Ports, context: Context) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let reports = Arc::clone(&ports.reports);
        let results = Arc::clone(&ports.results);
        let (report_writer, serve_reports) = Batcher::new(GATHER_REPORTS, move |rows| {
            let reports = Arc::clone(&reports);
            async move { reports.put(rows).await }
        });
        let (result_writer, serve_results) = Batcher::new(GATHER_RESULTS, move |messages| {
            let results = Arc::clone(&results);
            async move { results.send(messages).await }
        });
        let Context { catalog, tally, spend, alerter, tracer, clock, inline_limit } = context;
        let recorder = Self {
            ledger: Arc::clone(&ports.ledger),
            payloads: Arc::clone(&ports.payloads),
            catalog,
            reports: report_writer,
            results: result_writer,
            tally,
            spend,
            alerter,
            tracer,
            clock,
            inline_limit,
        };
        (recorder, async move {
            tokio::join!(serve_reports, serve_results);
        })
    }

    /// Ends a request with its answer. Returns whether the claim still held; if not, nothing was written that others see.
    pub async fn succeed(&self, attempted: Attempted<'_>, answer: Answer) -> bool {
        let request = &attempted.row.request;
        let payload = retry::until_done(
            |e| self.port_failed(e),
            || self.payloads.put(PutKind::Result, &request.id, attempted.claim, answer.body.clone()),
        )
        .await;
        let prices = self.catalog.admitted(&request.model_id).prices;
        let tier = answer.service_tier.as_deref();
        let cost_usd = answer.usage.zip(prices).and_then(|(usage, prices)| prices.cost(&usage, tier));
        let outcome = Outcome {
            usage: answer.usage,
            cost_usd,
            price_as_of: prices.filter(|_| cost_usd.is_some()).map(|prices| prices.as_of.to_string()),
            service_tier: answer.service_tier,
            result: Some(StoredResult { payload, bytes: answer.body.len() as u64 }),
            ..self.outcome(&attempted)
        };
        self.finish(&attempted, Status::Succeeded, outcome, Some(&answer.body)).await
    }

    /// Ends a claimed request without an answer. Returns whether the claim still held.
    pub async fn end(&self, attempted: Attempted<'_>, status: Status, error: Failure) -> bool {
        let outcome = Outcome { error: Some(error), ..self.outcome(&attempted) };
        self.finish(&attempted, status, outcome, None).await
    }

    /// What is known of an end however it came about.
    fn outcome(&self, attempted: &Attempted<'_>) -> Outcome {
        let called = attempted.calls.started_at.is_some();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a sum of token counts; `as` saturates"
        )]
        let tokens = attempted.calls.quota_tokens.round() as u64;
        let quota = called.then(|| {
            let limits = lane_limits(&self.catalog.admitted(&attempted.row.request.lane.model()));
            QuotaUse {
                tokens,
                requests_per_minute: limits.requests_per_minute,
                tokens_per_minute: limits.tokens_per_minute,
            }
        });
        Outcome { latency_ms: attempted.latency.map(millis), quota, ..Outcome::at(self.clock.now()) }
    }

    /// Writes the report and sends the result of a final row; again and again if need be, both are idempotent or
    /// at-least-once by promise.
    pub async fn publish(&self, row: &Row) {
        let stored = row.outcome.as_ref().and_then(|o| o.result.as_ref());
        let body = match stored {
            Some(stored) if stored.bytes <= self.inline_limit as u64 => {
                retry::until_done(|e| self.port_failed(e), || self.payloads.get(&stored.payload)).await
            }
            _ => None,
        };
        self.send(row, body.as_ref()).await;
    }

    /// Counts and publishes a row that has just become final.
    pub async fn publish_new(&self, row: &Row, body: Option<&Bytes>) {
        // First what was spent: sending may take long, and be given up.
        if let Some((outcome, usd)) = row.outcome.as_ref().and_then(|outcome| Some((outcome, outcome.cost_usd?))) {
            self.spend.add(&row.request.tenant, usd, outcome.finished_at);
        }
        self.send(row, body).await;
        self.count(row);
    }

    /// Counts a row that has just become final and was told of before.
    pub fn count(&self, row: &Row) {
        if let Some(report) = ReportRow::of(row) {
            self.tally.finished(&report);
        }
    }

    /// Applies a transition, repeating it while the ledger is out of reach.
    pub async fn apply(&self, transition: Transition) -> Applied {
        retry::until_done(
            |e| self.port_failed(e),
            || async {
                let mut answers = self.ledger.apply(vec![transition.clone()]).await;
                answers.pop().unwrap_or_else(|| Err(PortError::transient("ledger apply", "no answer")))
            },
        )
        .await
    }

    /// Where on-call is told.
    #[must_use]
    pub fn alerter(&self) -> &Alerter {
        &self.alerter
    }

    /// Requests that this worker has brought to their end.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.tally.totals().finished.values().sum()
    }

    /// Where spans are made.
    #[must_use]
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Notes a port's failure: log, metric, alert.
    pub fn port_failed(&self, error: &PortError) {
        self.tally.port_error();
        tracing::warn!(%error, retryable = error.retryable, "a service call failed and will be repeated");
        self.alerter.tell(Condition::port(error));
    }

    async fn finish(&self, attempted: &Attempted<'_>, status: Status, outcome: Outcome, body: Option<&Bytes>) -> bool {
        let id = attempted.row.request.id.clone();
        match self.apply(lifecycle::finish(id, attempted.claim, status, attempted.calls, outcome)).await {
            Applied::Done(row) => {
                self.publish_new(&row, body).await;
                true
            }
            // An earlier try of ours was applied although its answer was lost: the claim is unique to us.
            Applied::Refused(Some(row)) if row.status == status && row.claim.as_deref() == Some(attempted.claim) => {
                self.publish_new(&row, body).await;
                true
            }
            Applied::Refused(now) => {
                let status = now.map(|row| row.status);
                tracing::warn!(request_id = %attempted.row.request.id, ?status, "the claim was taken over; this end of it is dropped");
                false
            }
        }
    }

    async fn send(&self, row: &Row, body: Option<&Bytes>) {
        let Some(report) = ReportRow::of(row) else { return };
        let context = self.tracer.result_context(&row.request);
        let message = self.message(row, body, context);
        tokio::join!(
            retry::until_done(|e| self.port_failed(e), || self.reports.write(report.clone())),
            retry::until_done(|e| self.port_failed(e), || self.results.write(message.clone())),
        );
        self.tracer.recorded(row, context, self.clock.now());
        tracing::info!(
            request_id = %row.request.id,
            status = %row.status,
            model_id = %row.request.model_id,
            tenant = %row.request.tenant,
            attempts = row.attempts,
            wait_ms = report.wait_ms,
            latency_ms = report.latency_ms,
            error_type = report.error_type,
            "request finished"
        );
    }

    fn message(&self, row: &Row, body: Option<&Bytes>, context: Option<TraceContext>) -> Outgoing {
        let traceparent = context.map(|context| context.to_string()).unwrap_or_default();
        let request = &row.request;
        let outcome = row.outcome.as_ref();
        let stored = outcome.and_then(|o| o.result.as_ref());
        let inline = body
            .filter(|body| body.len() <= self.inline_limit)
            .and_then(|body| serde_json::from_slice::<&RawValue>(body).ok());
        let result_s3 = stored.filter(|_| inline.is_none()).map(|stored| {
            let (bucket, key) = self.payloads.location(&stored.payload);
            Location { bucket, key }
        });
        let model_id = Some(request.model_id.as_str()).filter(|id| !id.is_empty());
        let message = ResultMessage {
            request_id: request.id.as_str(),
            status: row.status,
            model_id,
            tenant: request.tenant.as_str(),
            metadata: &request.metadata,
            attempts: row.attempts,
            usage: outcome.and_then(|o| o.usage),
            latency_ms: outcome.and_then(|o| o.latency_ms),
            cost_usd: outcome.and_then(|o| o.cost_usd),
            result: inline,
            result_s3,
            error: outcome.and_then(|o| o.error.as_ref()),
        };
        let attributes = [
            ("request_id", request.id.as_str()),
            ("status", row.status.as_str()),
            ("tenant", request.tenant.as_str()),
            ("model_id", model_id.unwrap_or_default()),
            ("priority", request.priority.class()),
            (TRACEPARENT, traceparent.as_str()),
        ];
        Outgoing {
            body: queue_safe(serde_json::to_string(&message).unwrap_or_default()),
            attributes: attributes
                .into_iter()
                .filter(|(_, value)| !value.is_empty() && value.len() <= 256)
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }
}

/// SQS refuses the two noncharacters U+FFFE and U+FFFF, which JSON may carry in strings; escaped they mean the same.
#[must_use]
pub fn queue_safe(json: String) -> String {
    if json.contains(['\u{fffe}', '\u{ffff}']) {
        json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
    } else {
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noncharacters_are_escaped_and_mean_the_same() {
        let text = "a\u{ffff}b\u{fffe}";
        let safe = queue_safe(serde_json::to_string(text).unwrap());
        assert!(safe.is_ascii());
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
    }
}
