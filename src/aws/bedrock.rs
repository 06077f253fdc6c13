//! Bedrock as [`Model`]: Converse and InvokeModel through the SDK (signing, credentials, endpoints), with the JSON as it
//! is both ways, since the SDK's types would lose what they do not know. No retries: the pipeline owns them.

mod failure;
mod usage;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_bedrockruntime::config::{
    ConfigBag, Intercept, ProvideCredentials, RuntimeComponents, StalledStreamProtectionConfig,
};
use aws_sdk_bedrockruntime::error::BoxError;
use aws_sdk_bedrockruntime::primitives::Blob;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;

use super::clients::{CONNECT_TIMEOUT, test_credentials};
use crate::ports::model::CallErrorClass;
use crate::ports::{Answer, Call, CallError, Model, PortError, PortResult};
use crate::request::{Lane, Operation};

/// The account that is called with the process's own credentials.
pub(super) const OWN_ACCOUNT: &str = "default";

/// Longest look for credentials at the start: instance and container services answer within a few seconds.
const CREDENTIALS_PATIENCE: Duration = Duration::from_secs(10);

/// How Bedrock is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Longest a call may take; models may think for up to an hour.
    pub attempt_timeout: Duration,
    /// Calls this URL instead of Amazon: a simulator, a proxy, a VPC endpoint. `None` follows `AWS_ENDPOINT_URL_BEDROCK_RUNTIME`
    /// and its like.
    pub endpoint: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { attempt_timeout: Duration::from_mins(15), endpoint: None }
    }
}

/// Amazon Bedrock: one client per account and Region, made when first called.
#[derive(Debug)]
pub struct Bedrock {
    config: SdkConfig,
    settings: Settings,
    clients: Mutex<HashMap<String, Client>>,
}

impl Bedrock {
    /// Bedrock with the credentials and the HTTP client of `config`. When the endpoint is on this machine and the environment
    /// names no credentials, and only then, calls are signed with test credentials.
    ///
    /// # Errors
    /// Permanent, when the endpoint is no URL.
    pub fn connect(config: &SdkConfig, settings: Settings) -> PortResult<Self> {
        let mut config = config.clone();
        if let Some(endpoint) = &settings.endpoint {
            let uri: http::Uri = endpoint.parse().map_err(|e| {
                PortError::permanent(
                    "bedrock endpoint",
                    format!("{endpoint:?} is not a URL such as http://127.0.0.1:8080: {e}"),
                )
            })?;
            if uri.scheme().is_none() || uri.host().is_none() {
                let why = format!("{endpoint:?} is not a URL such as http://127.0.0.1:8080");
                return Err(PortError::permanent("bedrock endpoint", why));
            }
            if uri.host().is_some_and(is_loopback) && !names_credentials() {
                let provider = aws_sdk_bedrockruntime::config::SharedCredentialsProvider::new(test_credentials());
                config = config.into_builder().credentials_provider(provider).build();
            }
        }
        Ok(Self { config, settings, clients: Mutex::default() })
    }

    /// Looks for credentials now, so that a worker without any says so at its start instead of failing request by request.
    ///
    /// # Errors
    /// Permanent, with the provider's reason.
    pub async fn require_credentials(&self) -> PortResult<()> {
        if std::env::var_os("AWS_BEARER_TOKEN_BEDROCK").is_some_and(|token| !token.is_empty()) {
            return Ok(());
        }
        let missing = |why: String| PortError::permanent("find AWS credentials to call Bedrock with", why);
        let Some(provider) = self.config.credentials_provider() else {
            return Err(missing("no provider is configured".to_owned()));
        };
        match tokio::time::timeout(CREDENTIALS_PATIENCE, provider.provide_credentials()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(missing(error.to_string())),
            Err(_) => Err(missing(format!("none within {} s", CREDENTIALS_PATIENCE.as_secs()))),
        }
    }

    fn client(&self, region: &str) -> Client {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(region) {
            return client.clone();
        }
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(self.settings.attempt_timeout)
            .build();
        let mut builder = aws_sdk_bedrockruntime::config::Builder::from(&self.config)
            .region(Region::new(region.to_owned()))
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(timeouts);
        if let Some(endpoint) = &self.settings.endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        let client = Client::from_conf(builder.build());
        clients.insert(region.to_owned(), client.clone());
        client
    }

    async fn converse(&self, client: &Client, call: Call) -> Result<Answer, CallError> {
        let seen = Seen::default();
        let body = call.body;
        let sent = client
            .converse()
            .model_id(call.model_id.as_str())
            .customize()
            .mutate_request(move |request| {
                let length = body.len().to_string();
                *request.body_mut() = SdkBody::from(body.clone());
                request.headers_mut().insert("content-length", length);
                request.headers_mut().insert("content-type", "application/json");
            })
            .interceptor(seen.clone())
            .send()
            .await;
        let Err(error) = sent else {
            let response = seen.take().ok_or_else(unseen)?;
            return Ok(usage::answer_of_converse(response.body));
        };
        // Answered, only not as the SDK's types expect: the caller understands the JSON better than they do.
        if let Some(body) = failure::unread_success(&error) {
            return Ok(usage::answer_of_converse(body));
        }
        Err(failure::call_error(&error))
    }

    async fn invoke(&self, client: &Client, call: Call) -> Result<Answer, CallError> {
        let seen = Seen::default();
        let sent = client
            .invoke_model()
            .model_id(call.model_id.as_str())
            .content_type("application/json")
            .accept("application/json")
            .body(Blob::new(Vec::from(call.body)))
            .customize()
            .interceptor(seen.clone())
            .send()
            .await;
        match sent {
            Ok(_) => {
                let response = seen.take().ok_or_else(unseen)?;
                let usage = usage::of_invoke(&response.counts, &response.body);
                Ok(Answer { body: response.body, usage, service_tier: response.service_tier })
            }
            Err(error) => Err(failure::call_error(&error)),
        }
    }
}

pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether somebody set credentials for this process. Instance metadata is not asked: what listens on this machine
/// needs no role's credentials, and the look would cost seconds where there is no such service.
pub(super) fn names_credentials() -> bool {
    ["AWS_ACCESS_KEY_ID", "AWS_PROFILE"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// The account and the Region of a lane.
pub(super) fn account_and_region(lane: &Lane) -> Option<(&str, &str)> {
    let mut parts = lane.as_str().splitn(3, ':');
    let (account, region) = (parts.next()?, parts.next()?);
    (parts.next().is_some() && !region.is_empty()).then_some((account, region))
}

/// What came over the wire.
#[derive(Debug)]
struct Response {
    body: Bytes,
    counts: usage::Counts,
    service_tier: Option<String>,
}

/// Remembers the response of one call as it came.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<Option<Response>>>);

impl Seen {
    fn take(&self) -> Option<Response> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Intercept for Seen {
    fn name(&self) -> &'static str {
        "SmootherResponse"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        if response.status().is_success()
            && let Some(body) = response.body().bytes()
        {
            let counts = usage::Counts::of_headers(|name| response.headers().get(name));
            let service_tier = response.headers().get("x-amzn-bedrock-service-tier").and_then(usage::tier_name);
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Response { body: Bytes::copy_from_slice(body), counts, service_tier });
        }
        Ok(())
    }
}

fn unseen() -> CallError {
    let message = "the SDK reported success without a response body".to_owned();
    CallError { class: CallErrorClass::Transport, kind: failure::TRANSPORT.to_owned(), message, retry_after: None }
}

fn refused(kind: &str, message: String) -> CallError {
    CallError { class: CallErrorClass::Final, kind: kind.to_owned(), message, retry_after: None }
}

#[async_trait]
impl Model for Bedrock {
    async fn call(&self, call: Call) -> Result<Answer, CallError> {
        let Some((account, region)) = account_and_region(&call.lane) else {
            let message = format!("lane {}: expected account:region:model", call.lane);
            return Err(refused("InvalidLane", message));
        };
        if account != OWN_ACCOUNT {
            let message = format!("account {account} of lane {} is not configured; known: {OWN_ACCOUNT}", call.lane);
            return Err(refused("UnknownAccount", message));
        }
        let client = self.client(region);
        match call.operation {
            Operation::Converse => Box::pin(self.converse(&client, call)).await,
            Operation::Invoke => Box::pin(self.invoke(&client, call)).await,
        }
    }
}

#[cfg(test)]
mod tests;
