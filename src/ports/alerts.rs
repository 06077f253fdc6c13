//! Telling the engineer on call.

use async_trait::async_trait;
use serde::Serialize;

use super::PortResult;
use crate::clock::Timestamp;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For the record.
    Info,
    /// Look at it today.
    Warning,
    /// Look at it now.
    Critical,
}

/// One notification. `pipeline::alerter` decides when; an adapter only delivers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alert {
    /// Names the condition, so that repeats can be told: `bedrock-error/AccessDeniedException/<lane>`.
    pub key: String,
    /// How bad.
    pub severity: Severity,
    /// What and where, at most 100 ASCII characters (an SNS subject).
    pub subject: String,
    /// Impact, numbers, likely causes, the command to look or fix.
    pub body: String,
    /// When it was noticed.
    pub at: Timestamp,
    /// How often it happened since the last alert of this key.
    pub count: u64,
}

/// Where alerts go.
#[async_trait]
pub trait Alerts: Send + Sync {
    /// Delivers one alert.
    async fn publish(&self, alert: &Alert) -> PortResult<()>;
}
