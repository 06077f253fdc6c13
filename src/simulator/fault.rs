//! What can go wrong with a call: kinds of injected faults, and errors as AWS REST-JSON spells them.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Probability of each kind of fault per call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// 429 `ThrottlingException` although there is quota.
    pub throttle: f64,
    /// 429 `ModelNotReadyException`.
    pub not_ready: f64,
    /// 500 `InternalServerException`.
    pub internal_500: f64,
    /// 503 `ServiceUnavailableException`.
    pub unavailable_503: f64,
    /// 424 `ModelErrorException`.
    pub model_error_424: f64,
    /// 408 `ModelTimeoutException`.
    pub timeout_408: f64,
    /// 400 `ValidationException`.
    pub validation_400: f64,
    /// 403 `AccessDeniedException`.
    pub access_denied_403: f64,
    /// 529 with a body of type `overloaded_error`.
    pub overloaded_529: f64,
    /// The connection is closed without an answer.
    pub drop: f64,
    /// The connection says nothing more for `stall_s`, then closes.
    pub stall: f64,
}

/// A kind of injected fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// See [`Faults::throttle`].
    Throttle,
    /// See [`Faults::not_ready`].
    NotReady,
    /// See [`Faults::internal_500`].
    #[serde(rename = "internal_500")]
    Internal,
    /// See [`Faults::unavailable_503`].
    #[serde(rename = "unavailable_503")]
    Unavailable,
    /// See [`Faults::model_error_424`].
    #[serde(rename = "model_error_424")]
    ModelError,
    /// See [`Faults::timeout_408`].
    #[serde(rename = "timeout_408")]
    Timeout,
    /// See [`Faults::validation_400`].
    #[serde(rename = "validation_400")]
    Validation,
    /// See [`Faults::access_denied_403`].
    #[serde(rename = "access_denied_403")]
    AccessDenied,
    /// See [`Faults::overloaded_529`].
    #[serde(rename = "overloaded_529")]
    Overloaded,
    /// See [`Faults::drop`].
    Drop,
    /// See [`Faults::stall`].
    Stall,
}

impl FaultKind {
    /// The field of [`Faults`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throttle => "throttle",
            Self::NotReady => "not_ready",
            Self::Internal => "internal_500",
            Self::Unavailable => "unavailable_503",
            Self::ModelError => "model_error_424",
            Self::Timeout => "timeout_408",
            Self::Validation => "validation_400",
            Self::AccessDenied => "access_denied_403",
            Self::Overloaded => "overloaded_529",
            Self::Drop => "drop",
            Self::Stall => "stall",
        }
    }

    /// Whether the call is refused at the door, before it takes any quota.
    #[must_use]
    pub const fn before_admission(self) -> bool {
        match self {
            Self::Throttle
            | Self::NotReady
            | Self::Unavailable
            | Self::Validation
            | Self::AccessDenied
            | Self::Overloaded => true,
            Self::Internal | Self::ModelError | Self::Timeout | Self::Drop | Self::Stall => false,
        }
    }

    /// The error a client sees; none when it sees no answer at all.
    #[must_use]
    pub fn error(self, model_id: &str) -> Option<AwsError> {
        Some(match self {
            Self::Throttle => AwsError::throttling("Too many requests, please wait before trying again."),
            Self::NotReady => AwsError::new(
                429,
                "ModelNotReadyException",
                "The model is not ready for inference. Please wait and try again.",
            ),
            Self::Internal => AwsError::new(
                500,
                "InternalServerException",
                "The system encountered an unexpected error during processing. Try your request again.",
            ),
            Self::Unavailable => {
                AwsError::new(503, "ServiceUnavailableException", "Bedrock is unable to process your request.")
            }
            Self::ModelError => AwsError::new(
                424,
                "ModelErrorException",
                "The model returned the following errors: the model could not complete the request.",
            )
            .with("originalStatusCode", json!(500))
            .with("resourceName", json!(model_id)),
            Self::Timeout => AwsError::new(
                408,
                "ModelTimeoutException",
                "Model has timed out in processing the request. Try your request again.",
            ),
            Self::Validation => AwsError::validation("The request could not be processed by the model."),
            Self::AccessDenied => AwsError::new(
                403,
                "AccessDeniedException",
                "You don't have access to the model with the specified model ID.",
            ),
            Self::Overloaded => AwsError::new(529, "", "Overloaded")
                .with("type", json!("error"))
                .with("error", json!({"type": "overloaded_error", "message": "Overloaded"})),
            Self::Drop | Self::Stall => return None,
        })
    }
}

impl Faults {
    /// Every kind with its probability.
    #[must_use]
    pub const fn each(&self) -> [(FaultKind, f64); 11] {
        [
            (FaultKind::Throttle, self.throttle),
            (FaultKind::NotReady, self.not_ready),
            (FaultKind::Internal, self.internal_500),
            (FaultKind::Unavailable, self.unavailable_503),
            (FaultKind::ModelError, self.model_error_424),
            (FaultKind::Timeout, self.timeout_408),
            (FaultKind::Validation, self.validation_400),
            (FaultKind::AccessDenied, self.access_denied_403),
            (FaultKind::Overloaded, self.overloaded_529),
            (FaultKind::Drop, self.drop),
            (FaultKind::Stall, self.stall),
        ]
    }

    /// Probability of any fault.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.each().iter().map(|(_, probability)| probability).sum()
    }

    /// The fault that a uniform draw picks, if any.
    #[must_use]
    pub fn pick(&self, draw: f64) -> Option<FaultKind> {
        let mut edge = 0.0;
        self.each().into_iter().find_map(|(kind, probability)| {
            edge += probability;
            (draw < edge).then_some(kind)
        })
    }
}

/// An error as an AWS service answers it.
#[derive(Clone, Debug, PartialEq)]
pub struct AwsError {
    /// HTTP status.
    pub status: u16,
    /// Exception name; empty sends no `x-amzn-ErrorType`.
    pub kind: &'static str,
    /// For the reader.
    pub message: String,
    more: Vec<(&'static str, Value)>,
}

impl AwsError {
    /// An error with a body of `{"message": …}`.
    #[must_use]
    pub fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), more: Vec::new() }
    }

    /// 400 `ValidationException`.
    #[must_use]
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new(400, "ValidationException", message)
    }

    /// 429 `ThrottlingException`.
    #[must_use]
    pub fn throttling(message: &str) -> Self {
        Self::new(429, "ThrottlingException", message)
    }

    /// Adds a field to the body.
    #[must_use]
    pub fn with(mut self, field: &'static str, value: Value) -> Self {
        self.more.push((field, value));
        self
    }

    /// The JSON body.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut body = json!({"message": self.message});
        for (field, value) in &self.more {
            body[*field] = value.clone();
        }
        body
    }

    /// The whole response; 429, 503 and 529 say when to come back if they are told to.
    #[must_use]
    pub fn respond(&self, retry_after_s: Option<u64>) -> Response<Body> {
        let mut response =
            json_response(StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST), &self.body());
        if !self.kind.is_empty() {
            response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(self.kind));
        }
        if let (429 | 503 | 529, Some(seconds)) = (self.status, retry_after_s) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A JSON response.
pub(super) fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_picks_by_probability() {
        let faults = Faults { throttle: 0.1, drop: 0.2, ..Faults::default() };
        assert_eq!(faults.pick(0.05), Some(FaultKind::Throttle));
        assert_eq!(faults.pick(0.25), Some(FaultKind::Drop));
        assert_eq!(faults.pick(0.31), None);
    }

    #[test]
    fn names_are_the_settings_fields() {
        let fields = serde_json::to_value(Faults::default()).unwrap();
        for (kind, _) in Faults::default().each() {
            assert!(fields.get(kind.name()).is_some(), "{kind:?}");
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    #[test]
    fn errors_are_spelled_as_rest_json() {
        let error = FaultKind::ModelError.error("m").unwrap();
        assert_eq!(error.body()["originalStatusCode"], 500);
        let response = error.respond(Some(3));
        assert_eq!(response.status(), 424);
        assert_eq!(response.headers()["x-amzn-errortype"], "ModelErrorException");
        assert!(!response.headers().contains_key("retry-after"));
        let overloaded = FaultKind::Overloaded.error("m").unwrap();
        assert_eq!(overloaded.body()["error"]["type"], "overloaded_error");
        assert_eq!(overloaded.respond(Some(3)).headers()["retry-after"], "3");
    }
}
