//! Drains the input queue, at full speed whatever Bedrock does: decode, validate, store, admit, only then delete.
//!
//! Every message ends here as an admitted row, as a repeat of one, or as a rejection with its reason. Faults of the
//! stores hold the message until they pass; faults of the message are its sender's and touch nobody else's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::hold::Keeper;
use super::intake::Intake;
use super::lifecycle;
use super::rank::Ranker;
use super::record::Recorder;
use super::tally::Tally;
use crate::clock::{Clock, Timestamp};
use crate::models::{Catalog, ModelSpec, QuotaOrigin, estimate};
use crate::ports::payloads::{Fetched, ForeignObject};
use crate::ports::{Delivery, Inserted, Ledger, Payloads, PortError, PortResult, Ports, PutKind, Queue, Work};
use crate::request::message::{self, Fault, Invalid, Limits, Submission, Target};
use crate::request::{
    Estimate, Failure, Lane, Metadata, ModelId, Operation, Outcome, PayloadRef, Priority, Request, RequestId, Row,
    Status, TRACEPARENT, Tenant, pointer,
};
use crate::retry;
use crate::telemetry::logs;

/// Messages taken at a time by one poller: bounds what a kill leaves to be delivered again.
const BATCH: usize = 20;
/// Messages of a batch that are examined at the same time.
const EXAMINED: usize = 8;
/// Large bodies in memory at the same time, fetched through pointers.
const LARGE_BODIES: usize = 2;

/// What ingest needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The Region of the lanes.
    pub region: String,
    /// Buckets that pointers may point into.
    pub allowed_source_buckets: Vec<String>,
    /// Sizes.
    pub limits: Limits,
    /// What a call should take, for the rank of requests with a deadline.
    pub expected_duration: Duration,
    /// How long a receive waits for a message.
    pub poll_wait: Duration,
    /// Visibility timeout of the input queue.
    pub visibility: Duration,
}

/// The first stage.
pub struct Ingest {
    input: Arc<dyn Queue>,
    ledger: Arc<dyn Ledger>,
    payloads: Arc<dyn Payloads>,
    catalog: Arc<Catalog>,
    recorder: Recorder,
    tally: Arc<Tally>,
    ranker: Ranker,
    keeper: Keeper,
    clock: Clock,
    settings: Settings,
    large: Semaphore,
    admitted: Arc<Notify>,
}

/// The neighbours of [`Ingest`].
pub struct Context {
    /// Models and quotas.
    pub catalog: Arc<Catalog>,
    /// Ends what is rejected.
    pub recorder: Recorder,
    /// Counts.
    pub tally: Arc<Tally>,
    /// Wall time.
    pub clock: Clock,
    /// Woken when something was admitted.
    pub admitted: Arc<Notify>,
}

/// A message after examination.
enum Examined {
    Admit(Box<(Row, Option<Work>)>),
    Reject(Box<Refusal>),
}

/// Why a message is refused, and what of it could be read.
struct Refusal {
    failure: Failure,
    request_id: Option<RequestId>,
    model_id: Option<ModelId>,
    tenant: Tenant,
    batch_id: Option<String>,
    metadata: Metadata,
    priority: Priority,
    deadline: Option<Timestamp>,
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self {
            failure: invalid.to_failure(),
            request_id: invalid.request_id,
            model_id: invalid.model_id,
            tenant: invalid.tenant.unwrap_or_default(),
            batch_id: invalid.batch_id,
            metadata: invalid.metadata,
            priority: invalid.priority.unwrap_or_default(),
            deadline: invalid.deadline,
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Invalid::because(fault.field, fault.reason).into()
    }
}

impl Refusal {
    /// A well-formed submission that is refused all the same.
    fn of(submission: &Submission, failure: Failure) -> Self {
        Self {
            failure,
            request_id: submission.request_id.clone(),
            model_id: match &submission.target {
                Target::Model(id) => Some(id.clone()),
                Target::UseCase(_) => None,
            },
            tenant: submission.tenant.clone(),
            batch_id: submission.batch_id.clone(),
            metadata: submission.metadata.clone(),
            priority: submission.priority,
            deadline: submission.deadline,
        }
    }

    /// A request whose id belongs to another one; it ends under the id of its message.
    fn conflict(request: &Request) -> Self {
        let failure = Failure {
            kind: "IdConflict".to_owned(),
            message: format!(
                "request_id {:?} was used before with other content; that request is untouched. Send this one under an id of its own.",
                request.id.as_str()
            ),
            retryable: false,
            field: Some("request_id".to_owned()),
        };
        Self {
            failure,
            request_id: None,
            model_id: Some(request.model_id.clone()),
            tenant: request.tenant.clone(),
            batch_id: request.batch_id.clone(),
            metadata: request.metadata.clone(),
            priority: request.priority,
            deadline: request.deadline,
        }
    }
}

impl Ingest {
    /// The stage on these ports.
    #[must_use]
    pub fn new(ports: &Ports, context: Context, settings: Settings) -> Self {
        let input = Arc::clone(&ports.input);
        let Context { catalog, recorder, tally, clock, admitted } = context;
        Self {
            keeper: Keeper::new(Arc::clone(&input), settings.visibility),
            input,
            ledger: Arc::clone(&ports.ledger),
            payloads: Arc::clone(&ports.payloads),
            catalog,
            recorder,
            tally,
            ranker: Ranker::default(),
            clock,
            settings,
            large: Semaphore::new(LARGE_BODIES),
            admitted,
        }
    }

    /// Keeps messages at work invisible; runs until dropped.
    pub async fn keep(&self) {
        self.keeper.run().await;
    }

    /// One poller: takes batches until `stop`, and finishes the one it has.
    pub async fn poll(&self, stop: &CancellationToken) {
        let mut intake = Intake::new(&*self.input, self.settings.poll_wait, stop);
        while let Some(deliveries) = intake.next(BATCH, |error| self.recorder.port_failed(error)).await {
            self.take(deliveries).await;
        }
    }

    /// Brings a batch to its end: every message is admitted, repeated or rejected, then deleted.
    pub async fn take(&self, deliveries: Vec<Delivery>) {
        if deliveries.is_empty() {
            return;
        }
        let began = self.clock.now();
        let _kept: Vec<_> = deliveries.iter().map(|d| self.keeper.keep(&d.receipt)).collect();
        let examinations: Vec<_> =
            deliveries.iter().map(|d| self.examine(d).instrument(logs::message_span(&d.message_id))).collect();
        let examined: Vec<Examined> = futures_util::stream::iter(examinations).buffered(EXAMINED).collect().await;

        let mut rows = Vec::new();
        let mut refused = Vec::new();
        for (delivery, examined) in deliveries.iter().zip(examined) {
            match examined {
                Examined::Admit(row) => rows.push((delivery, *row)),
                Examined::Reject(refusal) => refused.push((delivery, *refusal)),
            }
        }
        let inserted = self.insert(rows.iter().map(|(_, row)| row.clone()).collect()).await;
        for ((delivery, (row, _)), inserted) in rows.into_iter().zip(inserted) {
            match inserted {
                Inserted::New => {
                    self.tally.admitted();
                    self.admitted.notify_one();
                    self.recorder.tracer().ingested(self.input.name(), delivery, &row, began, self.clock.now());
                }
                Inserted::Exists(present) if is_repeat(&present, &row.request) => self.tally.repeated(),
                Inserted::Exists(_) => refused.push((delivery, Refusal::conflict(&row.request))),
            }
        }
        let rejections = refused.into_iter().map(|(delivery, refusal)| {
            self.reject(delivery, refusal).instrument(logs::message_span(&delivery.message_id))
        });
        let rejections: Vec<_> = rejections.collect();
        futures_util::stream::iter(rejections).buffer_unordered(EXAMINED).collect::<()>().await;

        let receipts = deliveries.into_iter().map(|d| d.receipt).collect();
        for error in self.input.delete(receipts).await.into_iter().filter_map(Result::err) {
            // It will be delivered again and recognised as a repeat.
            self.recorder.port_failed(&error);
        }
    }

    async fn examine(&self, delivery: &Delivery) -> Examined {
        let now = self.clock.now();
        match self.read(delivery, now).await {
            Ok((submission, request)) => {
                logs::note_request(&request);
                let body = submission.body;
                // Apart for every message: a repeat in another notation must not replace the bytes of the first.
                let name = hex_digest(format!("{} {}", request.message_id, request.content_hash).as_bytes());
                let payload = retry::until_done(
                    |e| self.recorder.port_failed(e),
                    || self.payloads.put(PutKind::Request, &request.id, short(&name), body.clone()),
                )
                .await;
                Examined::Admit(Box::new(lifecycle::admit(Request { body: payload, ..request })))
            }
            Err(refusal) => Examined::Reject(refusal),
        }
    }

    /// Decodes and checks a message; the request still lacks its body's place.
    async fn read(&self, delivery: &Delivery, now: Timestamp) -> Result<(Submission, Request), Box<Refusal>> {
        let limits = &self.settings.limits;
        let submission = match pointer::detect(&delivery.body, &delivery.attributes, limits) {
            None => message::decode(delivery.body.as_bytes(), now, limits),
            Some(found) => {
                let pointer = found.map_err(Refusal::from)?;
                // The semaphore is never closed.
                let _permit = self.large.acquire().await;
                let raw = self.fetch(&pointer.object).await.map_err(Refusal::from)?;
                message::decode(&raw, now, limits)
            }
        };
        let submission = submission.map_err(|invalid| Refusal::from(*invalid))?;
        let refuse = |failure: Failure| Refusal::of(&submission, failure);
        let model = self.catalog.resolve(&submission.target).map_err(refuse)?;
        let expected = estimate(&submission.facts, &model);
        fits(expected, &model).map_err(|failure| Refusal::of(&submission, failure))?;
        let lane = Lane::new("default", &self.settings.region, &model.quota_id);
        let id = submission.request_id.clone().unwrap_or_else(|| RequestId::from_message_id(&delivery.message_id));
        let request = Request {
            id,
            content_hash: submission.content_hash.clone(),
            message_id: delivery.message_id.clone(),
            model_id: model.id.clone(),
            downgraded_from: None,
            batch_id: submission.batch_id.clone(),
            trace: self.trace_of(delivery),
            use_case: match &submission.target {
                Target::UseCase(name) => Some(name.clone()),
                Target::Model(_) => None,
            },
            lane,
            tenant: submission.tenant.clone(),
            priority: submission.priority,
            deadline: submission.deadline,
            metadata: submission.metadata.clone(),
            operation: submission.operation,
            body: PayloadRef(String::new()),
            estimate: expected,
            rank: self.ranker.rank(submission.priority, submission.deadline, self.settings.expected_duration, now),
            received_at: now,
        };
        Ok((submission, request))
    }

    fn trace_of(&self, delivery: &Delivery) -> Option<String> {
        let traceparent = delivery.attributes.get(TRACEPARENT).map(String::as_str);
        self.recorder.tracer().begin(traceparent).map(|context| context.to_string())
    }

    async fn fetch(&self, object: &ForeignObject) -> Result<Bytes, Fault> {
        let fault = |field: &str, reason: String| Fault { field: field.to_owned(), reason };
        if !may_read(object, &self.settings.allowed_source_buckets, self.payloads.upload_bucket()) {
            let reason = format!(
                "bucket {:?} is not among the allowed source buckets; have the operator add it to allowed_source_buckets",
                shown(&object.bucket)
            );
            return Err(fault("s3BucketName", reason));
        }
        let limit = self.settings.limits.message_bytes;
        let fetched =
            retry::until_done(|e| self.recorder.port_failed(e), || self.payloads.fetch_foreign(object, limit)).await;
        match fetched {
            Fetched::Bytes(bytes) => Ok(bytes),
            Fetched::Missing => Err(fault(
                "s3Key",
                format!("there is no object {:?} in bucket {:?}", shown(&object.key), shown(&object.bucket)),
            )),
            Fetched::TooLarge(bytes) => {
                Err(fault("s3Key", format!("the object has {bytes} bytes; at most {limit} are taken")))
            }
            Fetched::Denied(why) => Err(fault("s3Key", format!("the object may not be read: {why}"))),
        }
    }

    /// Keeps the raw message, writes the final row, reports and answers.
    async fn reject(&self, delivery: &Delivery, refusal: Refusal) {
        let own_id = RequestId::from_message_id(&delivery.message_id);
        let raw = Bytes::copy_from_slice(delivery.body.as_bytes());
        let hash = hex_digest(&raw);
        let payload = retry::until_done(
            |e| self.recorder.port_failed(e),
            || self.payloads.put(PutKind::Rejected, &own_id, short(&hash), raw.clone()),
        )
        .await;
        let now = self.clock.now();
        let request = Request {
            id: refusal.request_id.unwrap_or_else(|| own_id.clone()),
            content_hash: hash,
            message_id: delivery.message_id.clone(),
            model_id: refusal.model_id.unwrap_or_else(ModelId::unknown),
            downgraded_from: None,
            batch_id: refusal.batch_id,
            trace: self.trace_of(delivery),
            use_case: None,
            lane: Lane::none(),
            tenant: refusal.tenant,
            priority: refusal.priority,
            deadline: refusal.deadline,
            metadata: refusal.metadata,
            operation: Operation::Converse,
            body: payload,
            estimate: Estimate::default(),
            rank: String::new(),
            received_at: now,
        };
        let outcome = Outcome { error: Some(refusal.failure), ..Outcome::at(now) };
        logs::note_request(&request);
        let mut attempt = lifecycle::reject(request, outcome);
        // At most twice: under the id it asked for, and when others have that, under the message's own.
        for _ in 0..2 {
            let row = attempt.0.clone();
            match self.insert(vec![attempt.clone()]).await.pop() {
                Some(Inserted::Exists(present)) if present.request.message_id == delivery.message_id => {
                    // Delivered again: either admitted earlier, then all is well, or the answer may not have gone out.
                    if present.status == Status::Rejected {
                        self.recorder.publish(&present).await;
                    }
                    return;
                }
                Some(Inserted::Exists(_)) => attempt.0.request.id = own_id.clone(),
                Some(Inserted::New) | None => {
                    self.recorder.tracer().ingested(self.input.name(), delivery, &row, now, self.clock.now());
                    self.recorder.publish_new(&row, None).await;
                    return;
                }
            }
        }
    }

    /// Inserts rows, repeating those that the ledger could not take.
    async fn insert(&self, rows: Vec<(Row, Option<Work>)>) -> Vec<Inserted> {
        let mut answers: Vec<Option<Inserted>> = rows.iter().map(|_| None).collect();
        let mut delay = Duration::from_millis(100);
        loop {
            let open: Vec<usize> = (0..rows.len()).filter(|i| answers.get(*i).is_some_and(Option::is_none)).collect();
            if open.is_empty() {
                return answers.into_iter().flatten().collect();
            }
            let batch = open.iter().filter_map(|i| rows.get(*i).cloned()).collect();
            let results: Vec<PortResult<Inserted>> = self.ledger.insert(batch).await;
            let mut failed: Option<PortError> = None;
            for (index, result) in open.into_iter().zip(results) {
                match result {
                    Ok(inserted) => {
                        if let Some(slot) = answers.get_mut(index) {
                            *slot = Some(inserted);
                        }
                    }
                    Err(error) => failed = Some(error),
                }
            }
            if let Some(error) = failed {
                self.recorder.port_failed(&error);
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(Duration::from_secs(10));
            }
        }
    }
}

/// Whether a message may point to an object. Of the worker's own bucket it sees what was uploaded to be pointed to,
/// and nothing else.
fn may_read(object: &ForeignObject, allowed: &[String], upload_bucket: &str) -> bool {
    let uploaded = || {
        let path = object.key.strip_prefix(PutKind::Upload.prefix()).and_then(|rest| rest.strip_prefix('/'));
        path.is_some_and(|path| path.split('/').all(|part| !matches!(part, "" | "." | "..")))
    };
    allowed.contains(&object.bucket) || (object.bucket == upload_bucket && uploaded())
}

/// Whether a present row is this very message, or one that asked the same.
fn is_repeat(present: &Row, request: &Request) -> bool {
    present.request.message_id == request.message_id || present.request.content_hash == request.content_hash
}

/// Refuses what a known quota can never admit: Bedrock reserves input and maxTokens at the start.
///
/// # Errors
/// `TooLargeForQuota`, for the message's producer.
pub fn fits(estimate: Estimate, model: &ModelSpec) -> Result<(), Failure> {
    let reserve = estimate.input_tokens + estimate.max_output_tokens;
    let quota = model.quota.tokens_per_minute;
    if model.quota.origin == QuotaOrigin::Assumed || (reserve as f64) <= quota {
        return Ok(());
    }
    Err(Failure {
        kind: "TooLargeForQuota".to_owned(),
        message: format!(
            "about {} input tokens and {} reserved for the output exceed the {quota} tokens per minute of {}, so Bedrock would always throttle it; shorten the input or lower maxTokens",
            estimate.input_tokens, estimate.max_output_tokens, model.id
        ),
        retryable: false,
        field: Some("inferenceConfig.maxTokens".to_owned()),
    })
}

fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|n| char::from_digit(n.into(), 16))
        .collect()
}

/// The first 32 digits of a hash: enough to keep the payloads of one id apart.
fn short(hash: &str) -> &str {
    hash.get(..32).unwrap_or(hash)
}

/// A value for an error message: one line, not too long.
fn shown(text: &str) -> String {
    text.chars().take(128).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_own_bucket_only_uploads_may_be_pointed_to() {
        let allowed = ["theirs".to_owned()];
        let may = |bucket: &str, key: &str| {
            may_read(&ForeignObject { bucket: bucket.to_owned(), key: key.to_owned() }, &allowed, "own")
        };
        assert!(may("theirs", "results/secret.json") && may("own", "uploads/2026/11/21/a/b.json"));
        for key in ["results/a.json", "uploads", "uploadsx/a", "uploads/../results/a.json", "uploads//a", "/uploads/a"]
        {
            assert!(!may("own", key), "{key}");
        }
        assert!(!may("other", "uploads/a"));
    }
}
