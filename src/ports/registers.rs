//! Small shared values with compare-and-swap: what leases, heartbeats and the fleet's shares are made of.
//!
//! No wall clocks are compared: whoever waits for a lease to lapse watches that its version stays unchanged for the
//! lease time on its own monotonic clock.

use async_trait::async_trait;

use super::PortResult;

/// A value and how often it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// 1 on the first write, then one more each time.
    pub version: u64,
    /// The value, JSON by convention, below 100 KB.
    pub value: String,
}

/// Named registers.
#[async_trait]
pub trait Registers: Send + Sync {
    /// The register, read consistently; `None` when never written or removed.
    async fn read(&self, name: &str) -> PortResult<Option<Register>>;

    /// Writes when the present version is `expected` (0: there must be none). Returns whether it did.
    async fn write(&self, name: &str, expected: u64, value: String) -> PortResult<bool>;

    /// Removes when the present version is `expected`. Returns whether it did.
    async fn remove(&self, name: &str, expected: u64) -> PortResult<bool>;

    /// All registers whose name starts with `prefix`, in name order.
    async fn list(&self, prefix: &str) -> PortResult<Vec<(String, Register)>>;
}
