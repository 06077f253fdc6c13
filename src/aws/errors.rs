//! From the SDK's errors to [`PortError`]: what an operator can act on, and whether a repeat may help.

use std::error::Error;

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::ports::PortError;

/// Longest cause that is passed on, in characters.
const MAX_CAUSE: usize = 400;

/// Where to look when no request could be made.
const HINT: &str = " (check AWS credentials, Region and endpoint)";

/// Codes of refusals that pass by themselves, across the services used here. 5xx and 429 pass whatever their code.
const PASSING: &[&str] = &[
    "BandwidthLimitExceeded",
    "ConditionalRequestConflict",
    "ExpiredToken",
    "ExpiredTokenException",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "KmsThrottled",
    "KMSThrottlingException",
    "KMS.ThrottlingException",
    "LimitExceededException",
    "OperationAborted",
    "OverLimit",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "QueueDeletedRecently",
    "AWS.SimpleQueueService.QueueDeletedRecently",
    "RequestExpired",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ResourceInUseException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttled",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
];

/// Turns the SDK's error of the operation `what` into a port's. Says the service's code, message and request id.
pub fn port_error<E>(what: impl Into<String>, error: &SdkError<E, HttpResponse>) -> PortError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let what = what.into();
    match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let code = service.err().code().unwrap_or_default();
            let why = refusal(code, service.err().message(), status, service.raw());
            PortError { what, why, retryable: passes(code, status) }
        }
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            let why = format!("HTTP {status}, but the answer could not be read: {}", causes(error));
            PortError { what, why, retryable: status < 400 || passes("", status) }
        }
        SdkError::TimeoutError(_) => PortError::transient(what, "no answer in time"),
        SdkError::DispatchFailure(failure) => {
            let why = causes(error);
            let retryable = !failure.is_user() && !lacks_credentials(error);
            let hint = if retryable && !why.contains("credential") { "" } else { HINT };
            PortError { what, why: format!("{why}{hint}"), retryable }
        }
        _ => PortError::permanent(what, causes(error)),
    }
}

/// Whether a refusal passes by itself.
pub(super) fn passes(code: &str, status: u16) -> bool {
    status >= 500 || status == 429 || status == 408 || PASSING.contains(&code)
}

/// Code of a refusal, `None` when there was no answer or none that names one.
pub(super) fn code_of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

fn refusal(code: &str, message: Option<&str>, status: u16, raw: &HttpResponse) -> String {
    let code = if code.is_empty() { format!("HTTP {status}") } else { code.to_owned() };
    let message = clip(message.unwrap_or("no message"));
    match raw.headers().get("x-amzn-requestid").or_else(|| raw.headers().get("x-amz-request-id")) {
        Some(id) => format!("{code}: {message} (request id {id})"),
        None => format!("{code}: {message}"),
    }
}

/// The chain of causes, outermost first, without repeating what a cause says again.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(e) = next {
        let text = e.to_string();
        if parts.last().is_none_or(|last| !last.contains(&text)) {
            parts.push(text);
        }
        next = e.source();
    }
    clip(&parts.join(": "))
}

/// At most [`MAX_CAUSE`] characters on one line.
pub(super) fn clip(text: &str) -> String {
    let mut short: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_CAUSE).collect();
    if text.chars().count() > MAX_CAUSE {
        short.push('…');
    }
    short
}

/// Whether the credentials chain came up empty, as opposed to a source of credentials that failed.
pub(super) fn lacks_credentials(error: &dyn Error) -> bool {
    let mut next = Some(error);
    while let Some(e) = next {
        let text = e.to_string();
        if text.contains("credential provider was not enabled") || text.contains("no providers in chain") {
            return true;
        }
        next = e.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::clients::{Clients, emulator_config};

    #[test]
    fn throttles_and_server_faults_pass_and_refusals_stay() {
        for (code, status) in [("ThrottlingException", 400), ("SlowDown", 503), ("", 502), ("whatever", 500), ("", 429)]
        {
            assert!(passes(code, status), "{code} {status} should pass");
        }
        for (code, status) in [
            ("AccessDenied", 403),
            ("AccessDeniedException", 400),
            ("ValidationException", 400),
            ("ResourceNotFoundException", 400),
            ("AWS.SimpleQueueService.NonExistentQueue", 400),
            ("NoSuchBucket", 404),
            ("", 404),
            ("SomethingNew", 400),
        ] {
            assert!(!passes(code, status), "{code} {status} should stay");
        }
    }

    #[tokio::test]
    async fn missing_credentials_stay_and_say_so() {
        use aws_config::meta::credentials::CredentialsProviderChain;
        use aws_config::provider_config::ProviderConfig;
        use aws_sdk_sqs::config::SharedCredentialsProvider;
        let empty = ProviderConfig::empty();
        let profile = aws_config::profile::ProfileFileCredentialsProvider::builder().configure(&empty).build();
        let chain = CredentialsProviderChain::first_try("Profile", profile);
        let config = emulator_config("http://127.0.0.1:1", "us-east-1").unwrap().into_builder();
        let config = config.credentials_provider(SharedCredentialsProvider::new(chain)).build();
        let sent = Clients::new(&config).sqs.list_queues().send().await;
        let error = port_error("sqs list queues", &sent.unwrap_err());
        assert!(!error.retryable && error.why.ends_with(HINT), "{error}");
    }

    #[tokio::test]
    async fn an_endpoint_that_is_down_passes() {
        let config = emulator_config("http://127.0.0.1:1", "us-east-1").unwrap();
        let sent = Clients::new(&config).sqs.list_queues().send().await;
        let error = port_error("sqs list queues", &sent.unwrap_err());
        assert!(error.retryable && error.why.contains("refused"), "{error}");
    }

    #[test]
    fn long_causes_are_cut_at_characters() {
        let long = "ä".repeat(MAX_CAUSE + 5);
        assert_eq!(clip(&long).chars().count(), MAX_CAUSE + 1);
        assert_eq!(clip("a\nb"), "a b");
    }
}
