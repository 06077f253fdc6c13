//! Calling a model on Bedrock.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::request::{Lane, ModelId, Operation, Usage};

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The lane it is charged to; names the account role and the Region.
    pub lane: Lane,
    /// The model, profile or ARN for the URI.
    pub model_id: ModelId,
    /// Converse or InvokeModel.
    pub operation: Operation,
    /// The request body, sent as it is.
    pub body: Bytes,
}

/// A model's answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The response body as it came.
    pub body: Bytes,
    /// Tokens used, from the body or the headers; `None` when Bedrock told none.
    pub usage: Option<Usage>,
    /// The service tier that it was served in, where Bedrock told.
    pub service_tier: Option<String>,
}

/// What a failed call means for the lane and the request. Exhaustive, unknown is final: see `bedrock-facts` §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallErrorClass {
    /// 429, too many requests per minute.
    ThrottledRequests,
    /// 429, too many tokens per minute.
    ThrottledTokens,
    /// 429, too many tokens per day.
    ThrottledDay,
    /// 429, too many tokens per day of all models of the account together.
    ThrottledAccountDay,
    /// 429 of a model that is still loading: not a quota signal.
    NotReady,
    /// 503, 529: capacity, not quota.
    Unavailable,
    /// 500 and 424 whose cause was 429 or 5xx.
    Server,
    /// 408: the model took too long; may have been billed.
    ModelTimeout,
    /// No answer: connection refused, reset or timed out; unknown whether billed.
    Transport,
    /// 400, 403, 404 and everything unknown: the same call would fail again.
    Final,
}

impl CallErrorClass {
    /// A minute's quota was exceeded.
    #[must_use]
    pub fn is_minute_throttle(self) -> bool {
        matches!(self, Self::ThrottledRequests | Self::ThrottledTokens)
    }

    /// Any quota was exceeded: Bedrock took nothing and bills nothing.
    #[must_use]
    pub fn is_throttle(self) -> bool {
        self.is_minute_throttle() || matches!(self, Self::ThrottledDay | Self::ThrottledAccountDay)
    }
}

/// A failed call.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct CallError {
    /// What it means.
    pub class: CallErrorClass,
    /// Bedrock's exception name, or `TransportError`.
    pub kind: String,
    /// Bedrock's message.
    pub message: String,
    /// The server's `Retry-After`.
    pub retry_after: Option<Duration>,
}

/// Amazon Bedrock, or something that speaks like it.
#[async_trait]
pub trait Model: Send + Sync {
    /// Makes one attempt, without retries. Dropping the future closes the connection.
    async fn call(&self, call: Call) -> Result<Answer, CallError>;
}
