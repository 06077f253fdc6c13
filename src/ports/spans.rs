//! Traces: what a request's way looked like, for tools that draw it.

use async_trait::async_trait;

use super::PortResult;
use crate::clock::Timestamp;
use crate::request::TraceContext;

/// A piece of work with a beginning and an end.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its trace and its own id.
    pub context: TraceContext,
    /// The span it is part of, or was caused by.
    pub parent: Option<u64>,
    /// `smoother.call`, …
    pub name: &'static str,
    /// Its part in a conversation with others.
    pub kind: SpanKind,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// What is known of it. No payload, no prompt, no secret.
    pub attributes: Vec<(&'static str, SpanValue)>,
    /// Why it failed, in a stable word or two; `None` when it did not.
    pub error: Option<String>,
}

/// What part a span has in a conversation, as OpenTelemetry tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Work of its own.
    Internal,
    /// A call of somebody who answers.
    Client,
    /// A message that is sent.
    Producer,
    /// A message that is received.
    Consumer,
}

/// The value of a span's attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum SpanValue {
    /// Text.
    Text(String),
    /// A whole number.
    Whole(u64),
    /// Any number.
    Number(f64),
    /// Yes or no.
    Flag(bool),
}

impl From<&str> for SpanValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for SpanValue {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<u32> for SpanValue {
    fn from(number: u32) -> Self {
        Self::Whole(number.into())
    }
}

/// Where spans go.
#[async_trait]
pub trait Spans: Send + Sync {
    /// Hands over all of them. They may arrive twice when a call whose answer was lost is repeated; a span's id tells.
    async fn export(&self, spans: Vec<Span>) -> PortResult<()>;
}
