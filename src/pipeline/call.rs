//! Takes held requests, stands in line for them at the gate, calls Bedrock, and sees each to its end.
//!
//! ```text
//! receive ─► gate (by rank) ─► claim ─► body ─► Bedrock ─┬─► record, delete the message
//!               ▲                                        ├─► again: same place in line, after a delay
//!               └────────────────────────────────────────┘└─► defer: back to the backlog, delete the message
//! ```
//! The ledger is asked only when a permit is there: the claim is one write, and returns all that the call needs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::batcher::{Batcher, Gathering};
use super::fleet::Fleet;
use super::hold::{HoldMessage, Keeper};
use super::lifecycle::{self, Calls};
use super::pace::{Ask, Gate, LaneLimits, Paused, Permit, Settlement};
use super::rank;
use super::record::{Attempted, Recorder};
use super::tally::Tally;
use crate::clock::{Clock, Timestamp};
use crate::models::Catalog;
use crate::ports::model::{CallError, CallErrorClass};
use crate::ports::{Answer, Applied, Call, Delivery, Model, Payloads, Ports, Queue, Severity};
use crate::request::{Failure, Row, Status};
use crate::retry::{self, Next, Policy};

/// Hold messages taken with one receive.
const RECEIVE: usize = 50;
/// At shutdown a receive that is under way may still bring messages; they are handed back rather than left invisible.
const LAST_RECEIVE: Duration = Duration::from_millis(1500);
const GATHER_DELETES: Gathering = Gathering { size: 10, linger: Duration::from_millis(20), concurrent: 16 };

/// What calling needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This replica's name in claims.
    pub worker: String,
    /// Requests that may wait in the hold queue, fleet-wide.
    pub queue_depth_threshold: usize,
    /// Calls in flight, fleet-wide.
    pub max_concurrent: u32,
    /// Longest call.
    pub call_timeout: Duration,
    /// When to try again.
    pub policy: Policy,
    /// How long a receive waits for a message.
    pub poll_wait: Duration,
    /// Visibility timeout of the hold queue.
    pub visibility: Duration,
}

/// The neighbours of [`Caller`].
pub struct Context {
    /// Admission.
    pub gate: Gate,
    /// Ends requests.
    pub recorder: Recorder,
    /// Quotas.
    pub catalog: Arc<Catalog>,
    /// The other replicas.
    pub fleet: Arc<Fleet>,
    /// Counts.
    pub tally: Arc<Tally>,
    /// Wall time.
    pub clock: Clock,
    /// Woken when a place in the hold queue came free.
    pub freed: Arc<Notify>,
}

/// The stage.
pub struct Caller {
    hold: Arc<dyn Queue>,
    payloads: Arc<dyn Payloads>,
    model: Arc<dyn Model>,
    context: Context,
    settings: Settings,
    keeper: Keeper,
    deletes: Batcher<String>,
}

/// A claimed request on its way through its attempts.
struct Claimed {
    row: Row,
    claim: String,
    body: Bytes,
}

/// What becomes of the hold message.
enum End {
    /// The request went on; the message is done.
    Delete,
    /// Somebody else should have it now.
    HandBack,
    /// Leave it to its visibility timeout.
    Leave,
}

/// Whether a claim could be had.
enum Claiming {
    Got(Box<Claimed>),
    Over(End),
}

impl Caller {
    /// The stage on these ports, and the task that deletes finished messages until the stage is dropped.
    pub fn new(
        ports: &Ports,
        model: Arc<dyn Model>,
        context: Context,
        settings: Settings,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let queue = Arc::clone(&ports.hold);
        let (deletes, serve) = Batcher::new(GATHER_DELETES, move |receipts: Vec<String>| {
            let queue = Arc::clone(&queue);
            async move { queue.delete(receipts).await }
        });
        let keeper = Keeper::new(Arc::clone(&ports.hold), settings.visibility);
        let (hold, payloads) = (Arc::clone(&ports.hold), Arc::clone(&ports.payloads));
        (Self { hold, payloads, model, context, settings, keeper, deletes }, serve)
    }

    /// Keeps messages at work invisible; runs until dropped.
    pub async fn keep(&self) {
        self.keeper.run().await;
    }

    /// Works until `stop`; then hands back what has not begun and waits for what is in flight, until `abandon`.
    pub async fn run(self: &Arc<Self>, stop: &CancellationToken, abandon: &CancellationToken) {
        let mut tasks: JoinSet<()> = JoinSet::new();
        let mut backoff = Duration::from_millis(100);
        while !stop.is_cancelled() {
            while tasks.try_join_next().is_some() {}
            let room = self.room().saturating_sub(tasks.len());
            if room == 0 {
                tokio::select! {
                    () = stop.cancelled() => break,
                    _ = tasks.join_next() => continue,
                }
            }
            match self.receive(room.min(RECEIVE), stop).await {
                Some(Ok(deliveries)) => {
                    backoff = Duration::from_millis(100);
                    for delivery in deliveries {
                        let (caller, stop) = (Arc::clone(self), stop.clone());
                        tasks.spawn(async move { caller.handle(delivery, &stop).await });
                    }
                }
                Some(Err(error)) => {
                    self.context.recorder.port_failed(&error);
                    tokio::select! {
                        () = stop.cancelled() => break,
                        () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(Duration::from_secs(10)),
                    }
                }
                None => break,
            }
        }
        loop {
            tokio::select! {
                () = abandon.cancelled() => {
                    // Their claims are fenced: whoever receives the messages next claims them anew.
                    let receipts = self.keeper.receipts();
                    tasks.shutdown().await;
                    self.hand_back(receipts).await;
                    break;
                }
                joined = tasks.join_next() => if joined.is_none() { break },
            }
        }
    }

    async fn receive(&self, max: usize, stop: &CancellationToken) -> Option<crate::ports::PortResult<Vec<Delivery>>> {
        let mut receive = std::pin::pin!(self.hold.receive(max, self.settings.poll_wait));
        tokio::select! {
            biased;
            received = &mut receive => return Some(received),
            () = stop.cancelled() => {}
        }
        if let Ok(Ok(late)) = tokio::time::timeout(LAST_RECEIVE, receive).await {
            let receipts = late.into_iter().map(|d| d.receipt).collect();
            self.hand_back(receipts).await;
        }
        None
    }

    /// Messages this replica may have: its part of the calls in flight and of those that stand in line.
    fn room(&self) -> usize {
        let fleet = self.context.fleet.callers();
        (self.settings.queue_depth_threshold + self.settings.max_concurrent as usize).div_ceil(fleet)
    }

    async fn handle(&self, delivery: Delivery, stop: &CancellationToken) {
        let kept = self.keeper.keep(&delivery.receipt);
        let end = match serde_json::from_str::<HoldMessage>(&delivery.body) {
            Ok(message) => self.see_through(&message, stop).await,
            Err(error) => {
                self.context.recorder.alerter().tell(
                    Severity::Warning,
                    "hold/unreadable",
                    "smoother: a message in the hold queue is not smoother's",
                    format!(
                        "message {} in {} cannot be read ({error}). It is left alone and ends in the dead-letter queue.\n\
                         Likely cause: something else sends to this queue. Producers send to the input queue.",
                        delivery.message_id,
                        self.hold.name()
                    ),
                );
                End::Leave
            }
        };
        drop(kept);
        match end {
            End::Delete => {
                if let Err(error) = self.deletes.write(delivery.receipt).await {
                    // It comes back and is recognised as finished or stale.
                    self.context.recorder.port_failed(&error);
                }
                self.context.freed.notify_one();
            }
            End::HandBack => self.hand_back(vec![delivery.receipt]).await,
            End::Leave => {}
        }
    }

    async fn hand_back(&self, receipts: Vec<String>) {
        for error in self.hold.extend(receipts, Duration::ZERO).await.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "could not hand a message back; it comes back at its visibility timeout");
        }
    }

    /// From the message to the end of the request, or of our part in it.
    async fn see_through(&self, message: &HoldMessage, stop: &CancellationToken) -> End {
        let mut claimed: Option<Box<Claimed>> = None;
        let mut calls = Calls::default();
        loop {
            let permit = tokio::select! {
                biased;
                () = stop.cancelled() => return self.step_down(claimed.as_deref(), calls).await,
                permit = self.admit(message) => permit,
            };
            let mut permit = match permit {
                Admission::Admitted(permit) => permit,
                Admission::Paused(paused) => return self.step_back(message, claimed.as_deref(), calls, paused).await,
                Admission::TooLate => return self.expire(message, claimed, calls).await,
            };
            let current = match claimed.take() {
                Some(current) => current,
                None => match self.claim(message).await {
                    Claiming::Got(current) => current,
                    Claiming::Over(end) => return end,
                },
            };
            let current = claimed.insert(current);
            permit.mark_called();
            let started = Instant::now();
            calls.started_at = Some(self.context.clock.now());
            let outcome = self.call(current).await;
            let latency = Some(started.elapsed());
            self.context.tally.called(message.lane.as_str(), outcome.as_ref().err().map(|e| e.class));
            let error = match outcome {
                Ok(answer) => {
                    permit.settle(Settlement::Answered(answer.usage));
                    calls.attempts += 1;
                    let attempted = Attempted { row: &current.row, claim: &current.claim, calls, latency };
                    let ours = self.context.recorder.succeed(attempted, answer).await;
                    return if ours { End::Delete } else { End::Leave };
                }
                Err(error) => error,
            };
            permit.settle(Settlement::Failed { class: error.class, retry_after: error.retry_after });
            self.note_failure(message, &error, &mut calls);
            match self.settings.policy.after(&error, current.row.attempts + calls.attempts) {
                Next::Again(delay) => {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(delay) => {}
                    }
                }
                Next::Defer(delay) => {
                    return self.defer(current, calls, self.context.clock.now() + delay, error.to_string()).await;
                }
                Next::GiveUp => {
                    let attempts = current.row.attempts + calls.attempts;
                    let failure = Failure {
                        kind: error.kind,
                        message: format!("{} (attempt {attempts})", error.message),
                        retryable: retry::is_retryable(error.class),
                        field: None,
                    };
                    let attempted = Attempted { row: &current.row, claim: &current.claim, calls, latency };
                    return self.end(attempted, Status::Failed, failure).await;
                }
            }
        }
    }

    async fn admit(&self, message: &HoldMessage) -> Admission {
        let model = self.context.catalog.admitted(&message.lane.model());
        let ask = Ask {
            lane: message.lane.clone(),
            limits: LaneLimits {
                requests_per_minute: model.quota.requests_per_minute,
                tokens_per_minute: Some(model.quota.tokens_per_minute),
                burndown: model.burndown,
                max_concurrent: model.max_concurrent,
            },
            rank: message.rank.clone(),
            urgent: rank::is_urgent(&message.rank),
            estimate: message.estimate,
        };
        let admitted = self.context.gate.admit(ask);
        let admitted = match message.deadline {
            None => admitted.await,
            Some(deadline) => {
                let left = deadline.since(self.context.clock.now());
                match tokio::time::timeout(left, admitted).await {
                    // The gate may have answered at the very moment.
                    Ok(_) | Err(_) if deadline <= self.context.clock.now() => return Admission::TooLate,
                    Ok(admitted) => admitted,
                    Err(_) => return Admission::TooLate,
                }
            }
        };
        admitted.map_or_else(Admission::Paused, Admission::Admitted)
    }

    async fn claim(&self, message: &HoldMessage) -> Claiming {
        let claim = lifecycle::token();
        let now = self.context.clock.now();
        let transition = lifecycle::claim(
            message.request_id.clone(),
            &message.ticket,
            &claim,
            &self.settings.worker,
            message.overdue,
            now,
        );
        let row = match self.context.recorder.apply(transition).await {
            Applied::Done(row) => row,
            // An earlier try of ours was applied although its answer was lost.
            Applied::Refused(Some(row)) if row.claim.as_ref() == Some(&claim) => row,
            Applied::Refused(Some(row)) if row.status.is_terminal() && row.ticket.as_ref() == Some(&message.ticket) => {
                // Finished, but perhaps killed before the result was sent.
                self.context.recorder.publish(&row).await;
                return Claiming::Over(End::Delete);
            }
            Applied::Refused(now) => {
                // A pass through the hold queue that is over.
                tracing::debug!(request_id = %message.request_id, status = ?now.map(|r| r.status), "a stale hold message");
                return Claiming::Over(End::Delete);
            }
        };
        let lost = row.claims.saturating_sub(1);
        let failure = if lost >= lifecycle::MAX_LOST_CLAIMS {
            Failure {
                kind: lifecycle::POISON.to_owned(),
                message: format!(
                    "{lost} workers started this request and were gone before it ended; it is not tried again"
                ),
                retryable: false,
                field: None,
            }
        } else {
            let get = || self.payloads.get(&row.request.body);
            if let Some(body) = retry::until_done(|e| self.context.recorder.port_failed(e), get).await {
                return Claiming::Got(Box::new(Claimed { row: *row, claim, body }));
            }
            Failure {
                kind: "PayloadMissing".to_owned(),
                message: "the stored request body is gone; was it deleted, or did the bucket's lifecycle end it?"
                    .to_owned(),
                retryable: true,
                field: None,
            }
        };
        let attempted = Attempted { row: &row, claim: &claim, calls: Calls::default(), latency: None };
        Claiming::Over(self.end(attempted, Status::Failed, failure).await)
    }

    async fn call(&self, current: &Claimed) -> Result<Answer, CallError> {
        let request = &current.row.request;
        let call = Call {
            lane: request.lane.clone(),
            model_id: request.model_id.clone(),
            operation: request.operation,
            body: current.body.clone(),
        };
        let timeout = self.settings.call_timeout;
        tokio::time::timeout(timeout, self.model.call(call)).await.unwrap_or_else(|_| {
            Err(CallError {
                class: CallErrorClass::Transport,
                kind: "CallTimeout".to_owned(),
                message: format!("no answer within {} s (call_timeout)", timeout.as_secs()),
                retry_after: None,
            })
        })
    }

    fn note_failure(&self, message: &HoldMessage, error: &CallError, calls: &mut Calls) {
        let throttled = matches!(
            error.class,
            CallErrorClass::ThrottledRequests | CallErrorClass::ThrottledTokens | CallErrorClass::ThrottledDay
        );
        if throttled {
            calls.throttles += 1;
        } else {
            calls.attempts += 1;
        }
        tracing::warn!(
            request_id = %message.request_id,
            lane = %message.lane,
            error_type = error.kind,
            class = ?error.class,
            "a Bedrock call failed"
        );
        self.context.recorder.alerter().tell(
            if error.class == CallErrorClass::Final { Severity::Critical } else { Severity::Warning },
            format!("bedrock/{}/{}", error.kind, message.lane),
            format!("smoother: {} from {}", error.kind, message.lane.model()),
            format!(
                "Bedrock answered {} on lane {}.\nLatest request: {}\n{}\nLook: smoother status {}",
                error.kind,
                message.lane,
                message.request_id,
                consequence(error.class),
                message.request_id
            ),
        );
    }

    async fn end(&self, attempted: Attempted<'_>, status: Status, failure: Failure) -> End {
        if self.context.recorder.end(attempted, status, failure).await { End::Delete } else { End::Leave }
    }

    /// The deadline passed before a call was started.
    async fn expire(&self, message: &HoldMessage, claimed: Option<Box<Claimed>>, calls: Calls) -> End {
        let current = match claimed {
            Some(current) => current,
            None => match self.claim(message).await {
                Claiming::Got(current) => current,
                Claiming::Over(end) => return end,
            },
        };
        let deadline = message.deadline.unwrap_or_default();
        let failure = Failure {
            kind: "DeadlinePassed".to_owned(),
            message: format!("the deadline {deadline} passed before a call could be started"),
            retryable: true,
            field: Some("deadline".to_owned()),
        };
        let attempted = Attempted { row: &current.row, claim: &current.claim, calls, latency: None };
        self.end(attempted, Status::Expired, failure).await
    }

    async fn defer(&self, current: &Claimed, calls: Calls, not_before: Timestamp, why: String) -> End {
        let now = self.context.clock.now();
        let transition = lifecycle::defer(&current.row, &current.claim, calls, not_before, why, now);
        self.context.recorder.apply(transition).await;
        End::Delete
    }

    /// The lane is paused for long: the request waits in the backlog, and others use the room.
    async fn step_back(&self, message: &HoldMessage, claimed: Option<&Claimed>, calls: Calls, paused: Paused) -> End {
        let now = self.context.clock.now();
        let pause = now + paused.until.saturating_duration_since(Instant::now());
        // Never past the deadline: at that moment it must be told that it expired.
        let not_before = message.deadline.map_or(pause, |deadline| deadline.min(pause));
        if let Some(current) = claimed {
            return self.defer(current, calls, not_before, "the lane is paused".to_owned()).await;
        }
        let id = message.request_id.clone();
        self.context.recorder.apply(lifecycle::step_back(id, &message.ticket, not_before, now)).await;
        End::Delete
    }

    /// We are shutting down: what has not begun is handed back, what is between attempts goes back into line.
    async fn step_down(&self, claimed: Option<&Claimed>, calls: Calls) -> End {
        match claimed {
            None => End::HandBack,
            Some(current) => {
                let now = self.context.clock.now();
                self.defer(current, calls, now, "its worker was stopped between two attempts".to_owned()).await
            }
        }
    }
}

enum Admission {
    Admitted(Permit),
    Paused(Paused),
    TooLate,
}

fn consequence(class: CallErrorClass) -> &'static str {
    match class {
        CallErrorClass::ThrottledRequests | CallErrorClass::ThrottledTokens => {
            "Impact: the lane pauses for seconds and then uses less; nothing is lost. Likely causes: other traffic on the same account, or a configured quota above the real one."
        }
        CallErrorClass::ThrottledDay => {
            "Impact: the lane pauses; its requests wait. Likely cause: the day's token quota is used up. Ask for more in Service Quotas or move work to another model."
        }
        CallErrorClass::NotReady | CallErrorClass::Unavailable | CallErrorClass::Server => {
            "Impact: the request is tried again with growing delays. Likely cause: Bedrock itself; see the AWS health dashboard if it goes on."
        }
        CallErrorClass::ModelTimeout | CallErrorClass::Transport => {
            "Impact: the request is tried again up to three times; an unanswered call may have been billed. Likely causes: very long answers, the network, call_timeout."
        }
        CallErrorClass::Final => {
            "Impact: the request is FAILED, its producer was told why; trying it again would not help. Likely causes: a malformed body, no access to the model, a model that needs an inference profile."
        }
    }
}
