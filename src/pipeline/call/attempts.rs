//! One held request from its place in line to its end, or to the end of our part in it.
//!
//! The ledger is asked only when a permit is there: the claim is one write, and returns all that the call needs.

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Caller;
use crate::clock::Timestamp;
use crate::pipeline::alerts::conditions::Condition;
use crate::pipeline::hold::HoldMessage;
use crate::pipeline::lifecycle::{self, Calls};
use crate::pipeline::pace::{Ask, Paused, Permit, Settlement};
use crate::pipeline::quotas::lane_limits;
use crate::pipeline::record::Attempted;
use crate::pipeline::tracer::Called;
use crate::pipeline::{rank, verdict};
use crate::ports::model::{CallError, CallErrorClass};
use crate::ports::{Answer, Applied, Call};
use crate::request::{Failure, Row, Status, Verdict};
use crate::retry::{self, Next};
use crate::telemetry::logs;

/// A claimed request on its way through its attempts.
struct Claimed {
    row: Row,
    claim: String,
    body: Bytes,
}

/// What becomes of the hold message.
pub(super) enum End {
    /// The request went on; the message is done.
    Delete,
    /// Somebody else should have it now.
    HandBack,
    /// Leave it to its visibility timeout.
    Leave,
    /// Its request is poison and this message may be the last that tells of it: into the dead-letter queue.
    Bury,
}

/// Whether a claim could be had.
enum Claiming {
    Got(Box<Claimed>),
    Over(End),
}

impl Caller {
    /// From the message, which was received `receives` times by now, to the end of the request, or of our part in it.
    pub(super) async fn see_through(&self, message: &HoldMessage, receives: u32, stop: &CancellationToken) -> End {
        let mut claimed: Option<Box<Claimed>> = None;
        let mut calls = Calls::default();
        let mut last_call: Option<Timestamp> = None;
        loop {
            // What was called before goes on before others of its class.
            let rank = if claimed.is_some() { rank::first(&message.rank) } else { message.rank.clone() };
            let permit = tokio::select! {
                biased;
                () = stop.cancelled() => return self.step_down(claimed.as_deref(), calls).await,
                permit = self.admit(message, rank) => permit,
            };
            let mut permit = match permit {
                Admission::Admitted(permit) => permit,
                Admission::Paused(paused) => return self.step_back(message, claimed.as_deref(), calls, paused).await,
                Admission::TooLate => return self.expire(message, receives, claimed, calls).await,
            };
            let current = match claimed.take() {
                Some(current) => current,
                None => match self.claim(message, receives).await {
                    Claiming::Got(current) => current,
                    Claiming::Over(end) => return end,
                },
            };
            let current = claimed.insert(current);
            permit.mark_called();
            let started = Instant::now();
            let start = self.context.clock.now();
            calls.start(start);
            self.context.recorder.tracer().waited(&current.row, last_call, start);
            let outcome = self.call(current).await;
            let latency = Some(started.elapsed());
            let end = *last_call.insert(self.context.clock.now());
            let number = current.row.attempts + current.row.throttles + calls.attempts + calls.throttles + 1;
            let called = Called { start, end, number, outcome: outcome.as_ref() };
            self.context.recorder.tracer().called(&current.row, &called);
            self.context.tally.called(message.lane.as_str(), outcome.as_ref().err().map(|e| e.class));
            self.context.recorder.alerter().called(&message.lane, outcome.is_ok());
            let error = match outcome {
                Ok(answer) => {
                    calls.quota_tokens += self.settle(permit, message, Settlement::Answered(answer.usage));
                    calls.attempts += 1;
                    let attempted = Attempted { row: &current.row, claim: &current.claim, calls, latency };
                    let ours = self.context.recorder.succeed(attempted, answer).await;
                    return if ours { End::Delete } else { End::Leave };
                }
                Err(error) => error,
            };
            let failed = Settlement::Failed { class: error.class, retry_after: error.retry_after };
            calls.quota_tokens += self.settle(permit, message, failed);
            self.note_failure(&current.row, &error, &mut calls);
            match self.settings.policy.after(&error, current.row.attempts + calls.attempts) {
                Next::Again(delay) => {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(delay) => {}
                    }
                    if let Some(verdict) = self.verdict(&current.row).await {
                        let attempted = Attempted { row: &current.row, claim: &current.claim, calls, latency };
                        return self.end(attempted, verdict.status, verdict.failure).await;
                    }
                }
                Next::Defer(delay) => {
                    if let Some(verdict) = self.verdict(&current.row).await {
                        let attempted = Attempted { row: &current.row, claim: &current.claim, calls, latency };
                        return self.end(attempted, verdict.status, verdict.failure).await;
                    }
                    return self.defer(current, calls, self.context.clock.now() + delay, error.to_string()).await;
                }
                Next::GiveUp => {
                    self.context.recorder.alerter().ended(self.condition(&current.row, &error));
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

    async fn admit(&self, message: &HoldMessage, rank: String) -> Admission {
        let model = self.context.catalog.admitted(&message.lane.model());
        let ask = Ask {
            lane: message.lane.clone(),
            limits: lane_limits(&model),
            urgent: rank::is_urgent(&rank),
            rank,
            estimate: message.estimate,
            kind: message.use_case.clone(),
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

    /// Settles a call, counts what it used of its quota, and answers that.
    fn settle(&self, permit: Permit, message: &HoldMessage, settlement: Settlement) -> f64 {
        let tokens = permit.settle(settlement);
        self.context.tally.settled(&message.lane, tokens, self.context.clock.now());
        tokens
    }

    async fn claim(&self, message: &HoldMessage, receives: u32) -> Claiming {
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
                return Claiming::Over(if is_poison(&row) { End::Bury } else { End::Delete });
            }
            Applied::Refused(now) => {
                // A pass through the hold queue that is over.
                let status = now.as_ref().map(|row| row.status);
                tracing::debug!(request_id = %message.request_id, ?status, "a stale hold message");
                let poison = now.is_some_and(|row| is_poison(&row));
                return Claiming::Over(if poison { End::Bury } else { End::Delete });
            }
        };
        logs::note_request(&row.request);
        if let Some(Verdict { status, failure }) = row.verdict.clone() {
            let attempted = Attempted { row: &row, claim: &claim, calls: Calls::default(), latency: None };
            return Claiming::Over(self.end(attempted, status, failure).await);
        }
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
        // When the third worker was lost in an earlier pass, the message of that pass becomes the dead letter; when it was
        // lost under this very message, this one does.
        let bury = failure.kind == lifecycle::POISON && receives > 1;
        if failure.kind == lifecycle::POISON {
            let request = &row.request;
            self.context.recorder.alerter().tell(Condition::Poison {
                lane: request.lane.clone(),
                tenant: request.tenant.clone(),
                latest: request.id.clone(),
                workers: lost,
            });
        }
        let attempted = Attempted { row: &row, claim: &claim, calls: Calls::default(), latency: None };
        Claiming::Over(match self.end(attempted, Status::Failed, failure).await {
            End::Delete if bury => End::Bury,
            end => end,
        })
    }

    /// What was decided meanwhile about a request that is about to be called again.
    async fn verdict(&self, row: &Row) -> Option<Verdict> {
        let get = || self.ledger.get(&row.request.id);
        retry::until_done(|e| self.context.recorder.port_failed(e), get).await?.verdict
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

    fn note_failure(&self, row: &Row, error: &CallError, calls: &mut Calls) {
        if error.class.is_throttle() {
            calls.throttles += 1;
        } else {
            calls.attempts += 1;
        }
        tracing::warn!(
            request_id = %row.request.id,
            lane = %row.request.lane,
            error_type = error.kind,
            class = ?error.class,
            "a Bedrock call failed"
        );
        self.context.recorder.alerter().tell(self.condition(row, error));
    }

    /// What on-call is told of a failed call: its class and name, never Bedrock's words, which may quote the request.
    fn condition(&self, row: &Row, error: &CallError) -> Condition {
        let (lane, latest) = (row.request.lane.clone(), row.request.id.clone());
        match error.class {
            CallErrorClass::ThrottledRequests => Condition::Throttled { lane, tokens: false },
            CallErrorClass::ThrottledTokens => Condition::Throttled { lane, tokens: true },
            class @ (CallErrorClass::ThrottledDay | CallErrorClass::ThrottledAccountDay) => {
                let left = self.context.gate.day_paused_until(&lane);
                let left = left.map(|until| until.saturating_duration_since(Instant::now())).unwrap_or_default();
                let account_wide = class == CallErrorClass::ThrottledAccountDay;
                Condition::LanePaused { lane, account_wide, until: self.context.clock.now() + left }
            }
            _ if error.kind == "AccessDeniedException" => {
                Condition::AccessDenied { lane, model: row.request.model_id.clone(), latest }
            }
            class => Condition::failed_call(&lane, &latest, class, &error.kind),
        }
    }

    async fn end(&self, attempted: Attempted<'_>, status: Status, failure: Failure) -> End {
        if self.context.recorder.end(attempted, status, failure).await { End::Delete } else { End::Leave }
    }

    /// The deadline passed before a call was started.
    async fn expire(&self, message: &HoldMessage, receives: u32, claimed: Option<Box<Claimed>>, calls: Calls) -> End {
        let current = match claimed {
            Some(current) => current,
            None => match self.claim(message, receives).await {
                Claiming::Got(current) => current,
                Claiming::Over(end) => return end,
            },
        };
        let Verdict { status, failure } = verdict::expired(message.deadline.unwrap_or_default());
        let attempted = Attempted { row: &current.row, claim: &current.claim, calls, latency: None };
        self.end(attempted, status, failure).await
    }

    async fn defer(&self, current: &Claimed, calls: Calls, not_before: Timestamp, why: String) -> End {
        let now = self.context.clock.now();
        let transition = lifecycle::defer(&current.row, &current.claim, calls, not_before, why, now);
        if let Applied::Done(row) = self.context.recorder.apply(transition).await
            && row.verdict.is_some()
        {
            self.context.recorder.apply(lifecycle::set_aside(&row, now)).await;
        }
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

/// Whether a request was given up as poison, or will be by its next claim.
fn is_poison(row: &Row) -> bool {
    match &row.outcome {
        Some(outcome) => outcome.error.as_ref().is_some_and(|error| error.kind == lifecycle::POISON),
        None => row.status != Status::Running && row.claims >= lifecycle::MAX_LOST_CLAIMS,
    }
}

enum Admission {
    Admitted(Permit),
    Paused(Paused),
    TooLate,
}
