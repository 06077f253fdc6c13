//! A queue with SQS's semantics: at least once, visibility timeouts, no order promised.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::PortResult;

/// One receive of a message. It stays invisible to others until its visibility timeout ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The same for every receive of a message.
    pub message_id: String,
    /// Names this receive, for [`Queue::delete`] and [`Queue::extend`].
    pub receipt: String,
    /// The body as sent.
    pub body: String,
    /// String attributes as sent.
    pub attributes: BTreeMap<String, String>,
    /// 1 on the first receive.
    pub receive_count: u32,
}

/// A message to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// At most 1 MiB together with the attributes.
    pub body: String,
    /// At most 10 string attributes; empty values are left out.
    pub attributes: BTreeMap<String, String>,
}

/// How many messages a queue holds; approximate on SQS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Ready to be received.
    pub visible: u64,
    /// Received and neither deleted nor visible again.
    pub in_flight: u64,
}

/// One queue. Idempotent where SQS is: deleting or extending with a stale receipt changes nothing.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Receives up to `max` messages (any number; SQS calls carry 10), waiting up to `wait` for the first.
    /// Empty when there was none. Cancel-safe: a dropped call may leave messages invisible until their timeout.
    async fn receive(&self, max: usize, wait: Duration) -> PortResult<Vec<Delivery>>;

    /// Sends all messages; one result each, in order.
    async fn send(&self, messages: Vec<Outgoing>) -> Vec<PortResult<()>>;

    /// Deletes by receipt; one result each, in order. A message that is gone already counts as deleted; a receipt that a later
    /// receive outdated deletes nothing or fails, as the service decides, and never takes the message from its new holder unnoticed
    /// by the ledger's fencing.
    async fn delete(&self, receipts: Vec<String>) -> Vec<PortResult<()>>;

    /// Makes messages visible `after` from now instead of at their timeout; zero hands them back at once.
    async fn extend(&self, receipts: Vec<String>, after: Duration) -> Vec<PortResult<()>>;

    /// How many messages there are.
    async fn depth(&self) -> PortResult<Depth>;

    /// Its URL or, locally, its name: for people and configuration.
    fn name(&self) -> &str;
}
