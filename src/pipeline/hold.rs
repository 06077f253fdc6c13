//! The hold-next-batch queue: what its messages say, and keeping the ones at work invisible to other replicas.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ports::{Outgoing, Queue};
use crate::request::{Estimate, Lane, RequestId};

/// What a hold message says: enough to stand in line at the gate without reading the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldMessage {
    /// The request.
    pub request_id: RequestId,
    /// Names this pass through the hold queue; the ledger refuses any other.
    pub ticket: String,
    /// Its lane.
    pub lane: Lane,
    /// Its place in line.
    pub rank: String,
    /// What it is expected to use.
    pub estimate: Estimate,
    /// Requests of one use case have answers of about one length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_case: Option<String>,
    /// No call is started after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// When the planner looks after it if nobody has finished it by then.
    pub overdue: Timestamp,
}

impl HoldMessage {
    /// As a message for the queue.
    #[must_use]
    pub fn to_outgoing(&self) -> Outgoing {
        Outgoing { body: serde_json::to_string(self).unwrap_or_default(), ..Outgoing::default() }
    }
}

/// Extends the visibility of all messages at work, in batches, until their guards drop.
pub struct Keeper {
    queue: Arc<dyn Queue>,
    visibility: Duration,
    kept: Arc<Mutex<HashMap<u64, String>>>,
    next: std::sync::atomic::AtomicU64,
}

/// Keeps one message; stops when dropped.
pub struct Kept {
    kept: Arc<Mutex<HashMap<u64, String>>>,
    key: u64,
}

impl Keeper {
    /// A keeper for messages of `queue`, whose visibility timeout is `visibility`.
    #[must_use]
    pub fn new(queue: Arc<dyn Queue>, visibility: Duration) -> Self {
        Self { queue, visibility, kept: Arc::default(), next: std::sync::atomic::AtomicU64::default() }
    }

    /// Keeps the message of this receipt from now on.
    pub fn keep(&self, receipt: &str) -> Kept {
        let key = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(key, receipt.to_owned());
        Kept { kept: Arc::clone(&self.kept), key }
    }

    /// The receipts of what is kept now.
    #[must_use]
    pub fn receipts(&self) -> Vec<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Extends what is kept every third of the visibility timeout, until dropped. A message that cannot be extended
    /// may be delivered to somebody else, which the ledger's fencing makes harmless.
    pub async fn run(&self) {
        let mut tick = tokio::time::interval(self.visibility / 3);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tick.tick().await;
        loop {
            tick.tick().await;
            let receipts = self.receipts();
            if receipts.is_empty() {
                continue;
            }
            let failed =
                self.queue.extend(receipts, self.visibility).await.into_iter().filter_map(Result::err).next_back();
            if let Some(error) = failed {
                tracing::warn!(%error, "could not extend the visibility of hold messages");
            }
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
