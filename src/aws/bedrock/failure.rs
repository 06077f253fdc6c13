//! What a failed call means: from the exception's name, its message, the status, or the way the connection broke.
//! Everything that is not listed is final.

use std::error::Error;
use std::time::Duration;

use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::aws::errors::{causes, clip, lacks_credentials};
use crate::ports::CallError;
use crate::ports::model::CallErrorClass;

/// Kind of the errors that are no answer of Bedrock's.
pub const TRANSPORT: &str = "TransportError";
/// Longest pause that a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);

/// What a refusal tells.
#[derive(Clone, Copy, Debug, Default)]
struct Refusal<'a> {
    name: &'a str,
    status: u16,
    message: &'a str,
    /// `originalStatusCode` of a `ModelErrorException`.
    original_status: Option<u16>,
}

/// The body of a response that succeeded but did not fit the SDK's types; `None` when it is not whole JSON.
pub fn unread_success<E>(error: &SdkError<E, HttpResponse>) -> Option<Bytes> {
    let raw = error.raw_response().filter(|raw| raw.status().is_success())?;
    let body = raw.body().bytes()?;
    serde_json::from_slice::<IgnoredAny>(body).ok()?;
    Some(Bytes::copy_from_slice(body))
}

/// Classifies the SDK's error. Takes names and messages over, never a body.
pub fn call_error<E>(error: &SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let raw = match error {
        SdkError::ServiceError(service) => service.raw(),
        SdkError::ResponseError(response) => response.raw(),
        SdkError::DispatchFailure(failure) if failure.is_user() => {
            return silent(CallErrorClass::Final, "InvalidCall", error);
        }
        SdkError::DispatchFailure(_) if lacks_credentials(error) => {
            return silent(CallErrorClass::Transport, "CredentialsMissing", error);
        }
        SdkError::DispatchFailure(_) => return silent(CallErrorClass::Transport, TRANSPORT, error),
        SdkError::TimeoutError(_) => {
            let message = "no answer within the attempt timeout".to_owned();
            return CallError {
                class: CallErrorClass::Transport,
                kind: TRANSPORT.to_owned(),
                message,
                retry_after: None,
            };
        }
        _ => return silent(CallErrorClass::Final, "InvalidCall", error),
    };
    let status = raw.status().as_u16();
    if (200..300).contains(&status) {
        // Cut off or garbled on the way; that it was billed must be assumed.
        return silent(CallErrorClass::Transport, TRANSPORT, error);
    }
    let body = raw.body().bytes().and_then(|body| serde_json::from_slice::<ErrorBody>(body).ok()).unwrap_or_default();
    let metadata = error.as_service_error().map(ProvideErrorMetadata::meta);
    let nested = body.error.unwrap_or_default();
    let name = metadata.and_then(|m| m.code().map(str::to_owned)).or(nested.kind).unwrap_or_default();
    let message = metadata.and_then(|m| m.message().map(str::to_owned)).or(body.message).or(nested.message);
    let message = message.unwrap_or_else(|| format!("HTTP {status} without a message"));
    let refusal = Refusal { name: &name, status, message: &message, original_status: body.original_status_code };
    let class = classify(&refusal);
    let hint = awaits_marketplace(&refusal).then_some(MAX_RETRY_AFTER);
    CallError {
        class,
        kind: if name.is_empty() { format!("Http{status}") } else { clip(&name) },
        message: clip(&message),
        retry_after: raw.headers().get("retry-after").and_then(retry_after).or(hint),
    }
}

/// The part of an error body that is read: AWS's own, and the form that Anthropic's 529 comes in.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ErrorBody {
    #[serde(alias = "Message")]
    message: Option<String>,
    original_status_code: Option<u16>,
    error: Option<NestedError>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NestedError {
    #[serde(rename = "type")]
    kind: Option<String>,
    message: Option<String>,
}

fn silent(class: CallErrorClass, kind: &str, error: &(dyn Error + 'static)) -> CallError {
    CallError { class, kind: kind.to_owned(), message: causes(error), retry_after: None }
}

/// Whole seconds, clamped; the date form is not used by AWS and ignored.
fn retry_after(header: &str) -> Option<Duration> {
    let seconds: u64 = header.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// A subscription to the model that AWS Marketplace is still setting up.
fn awaits_marketplace(refusal: &Refusal<'_>) -> bool {
    let message = refusal.message.to_ascii_lowercase();
    refusal.name == "AccessDeniedException" && message.contains("try again") && message.contains("minutes")
}

fn classify(refusal: &Refusal<'_>) -> CallErrorClass {
    match refusal.name {
        "ThrottlingException" | "TooManyRequestsException" | "Throttling" => throttled(refusal.message),
        // Expired credentials are renewed before the next call; they tell nothing of quota or model.
        "ModelNotReadyException" | "ExpiredTokenException" | "ExpiredToken" => CallErrorClass::NotReady,
        "ServiceUnavailableException" | "ServiceUnavailable" | "overloaded_error" => CallErrorClass::Unavailable,
        "InternalServerException" | "InternalServerError" | "InternalFailure" => CallErrorClass::Server,
        "ModelTimeoutException" => CallErrorClass::ModelTimeout,
        "ModelErrorException" => match refusal.original_status {
            Some(429 | 500..=599) => CallErrorClass::Server,
            _ => CallErrorClass::Final,
        },
        "AccessDeniedException" if awaits_marketplace(refusal) => CallErrorClass::NotReady,
        "AccessDeniedException"
        | "ValidationException"
        | "ResourceNotFoundException"
        | "ServiceQuotaExceededException"
        | "ConflictException" => CallErrorClass::Final,
        _ => by_status(refusal),
    }
}

/// For answers without a name, or with one that nobody has documented.
fn by_status(refusal: &Refusal<'_>) -> CallErrorClass {
    match refusal.status {
        429 => throttled(refusal.message),
        503 | 529 => CallErrorClass::Unavailable,
        408 => CallErrorClass::ModelTimeout,
        500 | 502 | 504 => CallErrorClass::Server,
        _ => CallErrorClass::Final,
    }
}

/// Which quota a 429 speaks of; requests when the message does not tell.
fn throttled(message: &str) -> CallErrorClass {
    let message = message.to_ascii_lowercase();
    if message.contains("per day") || message.contains("daily") {
        if ["account", "all models", "cross-model", "cross model"].iter().any(|wide| message.contains(wide)) {
            CallErrorClass::ThrottledAccountDay
        } else {
            CallErrorClass::ThrottledDay
        }
    } else if message.contains("token") {
        CallErrorClass::ThrottledTokens
    } else {
        CallErrorClass::ThrottledRequests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_clamped_and_nonsense_ignored() {
        assert_eq!(retry_after(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("0"), Some(Duration::ZERO));
        assert_eq!(retry_after("999999"), Some(MAX_RETRY_AFTER));
        for bad in ["-1", "soon", "", "Wed, 21 Oct 2026 07:28:00 GMT", "99999999999999999999999"] {
            assert_eq!(retry_after(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_name_goes_before_its_status() {
        let named = |name, status| classify(&Refusal { name, status, ..Refusal::default() });
        assert_eq!(named("ModelNotReadyException", 429), CallErrorClass::NotReady);
        assert_eq!(named("ServiceQuotaExceededException", 503), CallErrorClass::Final);
        assert_eq!(named("NeverHeardOf", 400), CallErrorClass::Final);
        assert_eq!(named("NeverHeardOf", 418), CallErrorClass::Final);
        assert_eq!(named("NeverHeardOf", 500), CallErrorClass::Server);
    }
}
