//! Takes held requests, stands in line for them at the gate, calls Bedrock, and sees each to its end.
//!
//! ```text
//! receive ─► attempts: gate (by rank) ─► claim ─► body ─► Bedrock ─┬─► record, delete the message
//!                        ▲                                         ├─► again: same place in line, after a delay
//!                        └─────────────────────────────────────────┘└─► defer: back to the backlog, delete the message
//! ```
//! Here: taking messages, and handing back at the end. In `attempts`: one request's way through its calls.

mod attempts;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::attempts::End;
use super::alerts::conditions::Condition;
use super::batcher::{Batcher, Gathering};
use super::hold::{HoldMessage, Keeper};
use super::intake::{Intake, hand_back};
use super::pace::Gate;
use super::record::Recorder;
use super::tally::Tally;
use crate::clock::Clock;
use crate::models::Catalog;
use crate::ports::{Delivery, Ledger, Model, Payloads, Ports, Queue};
use crate::retry::Policy;
use crate::telemetry::logs;

/// Hold messages taken with one receive.
const RECEIVE: usize = 50;
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
    dead: Arc<dyn Queue>,
    ledger: Arc<dyn Ledger>,
    payloads: Arc<dyn Payloads>,
    model: Arc<dyn Model>,
    context: Context,
    settings: Settings,
    keeper: Keeper,
    deletes: Batcher<String>,
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
        let (hold, dead, payloads) = (Arc::clone(&ports.hold), Arc::clone(&ports.dead), Arc::clone(&ports.payloads));
        let ledger = Arc::clone(&ports.ledger);
        (Self { hold, dead, ledger, payloads, model, context, settings, keeper, deletes }, serve)
    }

    /// Keeps messages at work invisible; runs until dropped.
    pub async fn keep(&self) {
        self.keeper.run().await;
    }

    /// Works until `stop`; then hands back what has not begun and waits for what is in flight, until `abandon`.
    pub async fn run(self: &Arc<Self>, stop: &CancellationToken, abandon: &CancellationToken) {
        let mut tasks: JoinSet<()> = JoinSet::new();
        let mut intake = Intake::new(&*self.hold, self.settings.poll_wait, stop);
        loop {
            while tasks.try_join_next().is_some() {}
            let room = self.room().saturating_sub(tasks.len());
            if room == 0 {
                // Until a task ends, or the fleet gave us more of the budget.
                tokio::select! {
                    () = stop.cancelled() => break,
                    Some(_) = tasks.join_next() => {}
                    () = self.context.gate.budget_grown() => {}
                }
                continue;
            }
            let received = intake.next(room.min(RECEIVE), |error| self.context.recorder.port_failed(error)).await;
            let Some(deliveries) = received else { break };
            for delivery in deliveries {
                let (caller, stop) = (Arc::clone(self), stop.clone());
                tasks.spawn(async move { caller.handle(delivery, &stop).await });
            }
        }
        loop {
            tokio::select! {
                () = abandon.cancelled() => {
                    // Their claims are fenced: whoever receives the messages next claims them anew.
                    let receipts = self.keeper.receipts();
                    tasks.shutdown().await;
                    hand_back(&*self.hold, receipts).await;
                    break;
                }
                joined = tasks.join_next() => if joined.is_none() { break },
            }
        }
    }

    /// Messages this replica may have: as large a part of all that are called or stand in line as it has of the budget.
    fn room(&self) -> usize {
        let (_, budget) = self.context.gate.load();
        let whole = self.settings.max_concurrent.max(1) as usize;
        ((self.settings.queue_depth_threshold + whole) * budget as usize).div_ceil(whole)
    }

    async fn handle(&self, delivery: Delivery, stop: &CancellationToken) {
        let kept = self.keeper.keep(&delivery.receipt);
        let end = match serde_json::from_str::<HoldMessage>(&delivery.body) {
            Ok(message) => {
                let span = logs::held_span(&message.request_id, &message.lane);
                match self.see_through(&message, delivery.receive_count, stop).instrument(span).await {
                    End::Bury => self.bury(message).await,
                    end => end,
                }
            }
            Err(error) => {
                let (queue, message) = (self.hold.name().to_owned(), delivery.message_id);
                tracing::warn!(queue, message, %error, "a message in the hold queue is not smoother's");
                self.context.recorder.alerter().tell(Condition::ForeignMessage { queue, message });
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
            End::HandBack => hand_back(&*self.hold, vec![delivery.receipt]).await,
            End::Leave | End::Bury => {}
        }
    }

    /// Puts the message of a poison request where people look and redrive. It claims nothing any more.
    async fn bury(&self, message: HoldMessage) -> End {
        let letter = HoldMessage { ticket: String::new(), ..message };
        match self.dead.send(vec![letter.to_outgoing()]).await.into_iter().collect() {
            Ok(()) => End::Delete,
            Err(error) => {
                // It comes back and is buried then, or the queue itself moves it there.
                self.context.recorder.port_failed(&error);
                End::Leave
            }
        }
    }
}
