//! A request and everything that is known about it: the types the whole pipeline speaks.
//!
//! [`message`] decodes what producers send into a [`message::Submission`]; ingest turns that into a
//! [`Request`], the ledger keeps it as a [`Row`] until it has an [`Outcome`].

pub mod message;
pub mod pointer;
mod row;
mod trace;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::row::{Failure, Note, Outcome, QuotaUse, Row, StoredResult, Usage, Verdict};
pub use self::trace::{TRACEPARENT, TraceContext};
use crate::clock::Timestamp;

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_type! {
    /// What a request is called everywhere: `[A-Za-z0-9._:-]{1,128}`, safe in keys, paths and logs.
    RequestId
}
text_type! {
    /// Whom a request belongs to: same alphabet and length as [`RequestId`].
    Tenant
}
text_type! {
    /// A Bedrock model id, inference profile id or ARN, as it goes into the request URI.
    ModelId
}
text_type! {
    /// What shares one Bedrock quota: `account role : Region : model or profile`, e.g. `default:us-east-1:us.amazon.nova-lite-v1:0`.
    Lane
}

/// Whether `text` is 1 to 128 characters of `[A-Za-z0-9._:-]`.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
}

impl RequestId {
    /// Takes a producer's id.
    ///
    /// # Errors
    /// States the rule when `text` breaks it.
    pub fn new(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        if is_name(&text) {
            Ok(Self(text))
        } else {
            Err("expected 1 to 128 characters of A-Z a-z 0-9 . _ : -".to_owned())
        }
    }

    /// The id of a message that names none, or none that may be used: `sqs-` and the queue's message id.
    #[must_use]
    pub fn from_message_id(message_id: &str) -> Self {
        let kept: String =
            message_id.chars().filter(|c| c.is_ascii_alphanumeric() || "._:-".contains(*c)).take(124).collect();
        Self(format!("sqs-{kept}"))
    }
}

impl Tenant {
    /// Takes a tenant's name.
    ///
    /// # Errors
    /// States the rule when `text` breaks it.
    pub fn new(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        if is_name(&text) {
            Ok(Self(text))
        } else {
            Err("expected 1 to 128 characters of A-Z a-z 0-9 . _ : -".to_owned())
        }
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl ModelId {
    /// Takes a model id, profile id or ARN: 1 to 2048 characters without spaces or control characters.
    ///
    /// # Errors
    /// States the rule when `text` breaks it.
    pub fn new(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        if (1..=2048).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(text))
        } else {
            Err("expected 1 to 2048 printable ASCII characters without spaces".to_owned())
        }
    }
}

impl ModelId {
    /// Stands for the model of a message that was too broken to tell it; empty.
    #[must_use]
    pub fn unknown() -> Self {
        Self(String::new())
    }
}

impl Lane {
    /// The lane of a model in an account (by the name of its role) and Region.
    #[must_use]
    pub fn new(account: &str, region: &str, model: &ModelId) -> Self {
        Self(format!("{account}:{region}:{model}"))
    }

    /// The lane of what is never called: messages that were refused.
    #[must_use]
    pub fn none() -> Self {
        Self("none".to_owned())
    }

    /// The model's part of the name.
    #[must_use]
    pub fn model(&self) -> ModelId {
        ModelId(self.0.splitn(3, ':').nth(2).unwrap_or_default().to_owned())
    }

    /// The Region's part of the name; `None` of the lane of what is never called.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        let mut parts = self.0.splitn(3, ':');
        parts.nth(1).filter(|_| parts.next().is_some())
    }

    /// The lane of another model in the same account and Region.
    #[must_use]
    pub fn with_model(&self, model: &ModelId) -> Self {
        let mut parts = self.0.splitn(3, ':');
        let (account, region) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        Self::new(account, region, model)
    }

    /// Whether both draw on what an account may use in a Region over all models.
    #[must_use]
    pub fn shares_account_with(&self, other: &Self) -> bool {
        self.0.splitn(3, ':').take(2).eq(other.0.splitn(3, ':').take(2))
    }
}

/// What waits in one line: requests of a tenant, urgent or not, for a use case (or for none), that draw on one lane. The
/// unit in which the backlog is shared out, paused and limited.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Flow {
    /// The quota.
    pub lane: Lane,
    /// Whose.
    pub tenant: Tenant,
    /// Before everything that is not.
    pub urgent: bool,
    /// What for, where it was asked by use case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_case: Option<String>,
}

/// Urgency from 0 (first) to 9 (last). The names stand for 0, 2, 5, 7 and 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Priority(u8);

impl Priority {
    /// Overtakes everything that is not urgent.
    pub const URGENT: Self = Self(0);
    /// Before normal work.
    pub const HIGH: Self = Self(2);
    /// The default.
    pub const NORMAL: Self = Self(5);
    /// After normal work.
    pub const LOW: Self = Self(7);
    /// Whenever there is nothing else.
    pub const BULK: Self = Self(9);

    /// What [`Priority::class`] may say, in order.
    pub const CLASSES: [&str; 5] = ["urgent", "high", "normal", "low", "bulk"];

    /// Takes a number from 0 to 9.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        u8::try_from(number).ok().filter(|n| *n <= 9).map(Self)
    }

    /// Takes one of the five names.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "urgent" => Some(Self::URGENT),
            "high" => Some(Self::HIGH),
            "normal" => Some(Self::NORMAL),
            "low" => Some(Self::LOW),
            "bulk" => Some(Self::BULK),
            _ => None,
        }
    }

    /// 0 to 9.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// The class that reports group by: the nearest of the five names.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self.0 {
            0 => "urgent",
            1..=3 => "high",
            4..=6 => "normal",
            7 | 8 => "low",
            _ => "bulk",
        }
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::NORMAL
    }
}

/// At most 16 string pairs of the producer's, echoed everywhere and never interpreted.
pub type Metadata = BTreeMap<String, String>;

/// Which Bedrock operation a body is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A Converse request body.
    #[default]
    Converse,
    /// A native InvokeModel body.
    Invoke,
}

impl Operation {
    /// As tables and messages spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Converse => "converse",
            Self::Invoke => "invoke",
        }
    }

    /// The inverse of [`Operation::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Converse, Self::Invoke].into_iter().find(|operation| operation.as_str() == text)
    }
}

/// Where a payload lies, as its store understands it; opaque to everybody else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PayloadRef(pub String);

/// An admitted request: fixed from ingest to the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Its name.
    pub id: RequestId,
    /// SHA-256 (hex) over what was asked; tells a repeat from a conflict.
    pub content_hash: String,
    /// The queue message it came in, the same for every delivery of it.
    pub message_id: String,
    /// The model that is called.
    pub model_id: ModelId,
    /// The model that was asked for, when a cheaper one stands in for it to keep a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downgraded_from: Option<ModelId>,
    /// The use case it was asked by, when it named none but that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_case: Option<String>,
    /// The batch that its producer put it in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_id: Option<String>,
    /// The W3C `traceparent` under which it is traced: its span is that of ingest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The quota it draws on.
    pub lane: Lane,
    /// Whom it belongs to.
    pub tenant: Tenant,
    /// Its urgency.
    pub priority: Priority,
    /// No call is started after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The producer's own pairs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: Metadata,
    /// Converse or InvokeModel.
    pub operation: Operation,
    /// Where the request body lies.
    pub body: PayloadRef,
    /// What it is expected to use.
    pub estimate: Estimate,
    /// Its place in line; smaller is earlier (see `pipeline::rank`).
    pub rank: String,
    /// When ingest took it.
    pub received_at: Timestamp,
}

impl Request {
    /// [`Request::trace`], read.
    #[must_use]
    pub fn trace_context(&self) -> Option<TraceContext> {
        self.trace.as_deref().and_then(TraceContext::parse)
    }

    /// The line it waits in.
    #[must_use]
    pub fn flow(&self) -> Flow {
        Flow {
            lane: self.lane.clone(),
            tenant: self.tenant.clone(),
            urgent: self.priority == Priority::URGENT,
            use_case: self.use_case.clone(),
        }
    }
}

/// Expected use of a request, known before the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// Input tokens, all of them (cached or not).
    pub input_tokens: u64,
    /// What Bedrock reserves for the output: `maxTokens`, or the model's maximum when unset.
    pub max_output_tokens: u64,
}

/// Where a request stands. The last five are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// In the backlog.
    Received,
    /// In the hold queue, next to be called.
    Queued,
    /// An attempt was started.
    Running,
    /// Answered.
    Succeeded,
    /// Given up; the error says why.
    Failed,
    /// Never admitted: the message was invalid.
    Rejected,
    /// Taken back by its owner.
    Cancelled,
    /// Its deadline passed before a call was started.
    Expired,
}

impl Status {
    /// Every status, in the order of a request's life.
    pub const ALL: [Self; 8] = [
        Self::Received,
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Rejected,
        Self::Cancelled,
        Self::Expired,
    ];

    /// Whether nothing follows it.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Rejected | Self::Cancelled | Self::Expired)
    }

    /// As tables and messages spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "RECEIVED",
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Rejected => "REJECTED",
            Self::Cancelled => "CANCELLED",
            Self::Expired => "EXPIRED",
        }
    }

    /// The inverse of [`Status::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_published_rule() {
        assert!(RequestId::new("Order.7:line_3-x").is_ok());
        for bad in ["", "a b", "../etc", "ä", "x\n", &"a".repeat(129)] {
            assert!(RequestId::new(bad).is_err(), "{bad:?} was taken");
        }
        assert_eq!(RequestId::from_message_id("../1 2").as_str(), "sqs-..12");
    }

    #[test]
    fn every_status_reads_back() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
    }

    #[test]
    fn named_priorities_are_their_own_class() {
        for name in ["urgent", "high", "normal", "low", "bulk"] {
            assert_eq!(Priority::from_name(name).map(Priority::class), Some(name));
        }
        assert_eq!(Priority::from_number(10), None);
    }
}
