//! What all AWS clients share: one HTTPS connection pool, credentials, Region, endpoints, time-outs.
//!
//! Endpoints come from the SDK's standard variables (`AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_SQS`, …) and profile keys.
//! The SDK's standard retries stay on for all services but Bedrock, where the pipeline owns every retry.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider, SharedHttpClient};
use aws_smithy_http_client::pool::{self, ConnectionPool};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::shared::IntoShared;

use super::bedrock::is_loopback;
use crate::ports::{PortError, PortResult};

/// Time to establish a connection, as the SDK's own default.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(3100);

/// Idle time after which TCP probes a connection. NAT gateways and VPC endpoints forget connections that are silent
/// for 350 s, and a model may think for longer than that.
const TCP_KEEPALIVE: Duration = Duration::from_mins(1);

/// Behaviour of the SDK, pinned so that an update of the crates changes no defaults.
#[must_use]
pub fn behavior_version() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// Loads the configuration from the environment: credentials chain, endpoints, profile, proxies.
///
/// # Errors
/// Permanent, when the TLS stack cannot be set up.
pub async fn sdk_config(region: &str) -> PortResult<SdkConfig> {
    let loader = aws_config::defaults(behavior_version())
        .region(Region::new(region.to_owned()))
        .http_client(http_client()?)
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build());
    Ok(loader.load().await)
}

/// A configuration for an emulator: everything at `endpoint` with fixed test credentials; the environment is not read.
///
/// # Errors
/// Permanent, when the TLS stack cannot be set up.
pub fn emulator_config(endpoint: &str, region: &str) -> PortResult<SdkConfig> {
    Ok(SdkConfig::builder()
        .behavior_version(behavior_version())
        .region(Region::new(region.to_owned()))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(test_credentials()))
        .http_client(http_client()?)
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
        .build())
}

/// Credentials that no AWS account accepts.
pub(super) fn test_credentials() -> Credentials {
    Credentials::new("test", "test", None, None, "smoother-test-credentials")
}

/// The HTTPS client: HTTP/1.1 and HTTP/2, proxies from the environment, TCP keepalive.
fn http_client() -> PortResult<SharedHttpClient> {
    let failed = |e: &dyn std::fmt::Display| PortError::permanent("aws https client", e);
    let pool = ConnectionPool::builder()
        .tcp_nodelay(true)
        .tcp_keepalive(TCP_KEEPALIVE)
        .proxy_config(ProxyConfig::from_env())
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .build_https()
        .map_err(|e| failed(&e))?;
    Ok(pool::Client::new(&pool).map_err(|e| failed(&e))?.into_shared())
}

/// One client per service.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Queues; reads may take as long as a long poll.
    pub sqs: aws_sdk_sqs::Client,
    /// Tables.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// Payloads.
    pub s3: aws_sdk_s3::Client,
    /// Alerts.
    pub sns: aws_sdk_sns::Client,
    /// Metrics.
    pub cloudwatch: aws_sdk_cloudwatch::Client,
    /// Who we are.
    pub sts: aws_sdk_sts::Client,
}

impl Clients {
    /// Builds all clients on one configuration.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        let sqs = aws_sdk_sqs::config::Builder::from(config).timeout_config(timeouts(30, 60));
        let dynamodb = aws_sdk_dynamodb::config::Builder::from(config).timeout_config(timeouts(10, 30));
        let s3 = aws_sdk_s3::config::Builder::from(config)
            .timeout_config(timeouts(60, 180))
            .force_path_style(has_custom_s3_endpoint(config));
        let sns = aws_sdk_sns::config::Builder::from(config).timeout_config(timeouts(10, 30));
        // A repeated PutMetricData counts twice, so `cloudwatch` itself decides what may be repeated.
        let cloudwatch = aws_sdk_cloudwatch::config::Builder::from(config)
            .timeout_config(timeouts(10, 30))
            .retry_config(aws_config::retry::RetryConfig::disabled());
        let sts = aws_sdk_sts::config::Builder::from(config).timeout_config(timeouts(10, 30));
        Self {
            sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
            sns: aws_sdk_sns::Client::from_conf(sns.build()),
            cloudwatch: aws_sdk_cloudwatch::Client::from_conf(cloudwatch.build()),
            sts: aws_sdk_sts::Client::from_conf(sts.build()),
        }
    }
}

/// Time-outs in seconds of one attempt and of a call with its retries.
pub(super) fn timeouts(attempt: u64, call: u64) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(Duration::from_secs(attempt))
        .operation_timeout(Duration::from_secs(call))
        .build()
}

/// Emulators do not resolve `bucket.host`; S3 itself wants just that.
fn has_custom_s3_endpoint(config: &SdkConfig) -> bool {
    config.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some_and(|url| !url.is_empty())
}

/// Whether a Bedrock endpoint is on this machine: a simulator then, which serves Service Quotas and CloudWatch as well. One
/// elsewhere is a way to Bedrock and to nothing else.
pub(super) fn is_on_this_machine(endpoint: &str) -> bool {
    endpoint.parse::<http::Uri>().is_ok_and(|uri| uri.host().is_some_and(is_loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_endpoints_of_this_machine_are_simulators() {
        for (endpoint, here) in [
            ("http://127.0.0.1:8080", true),
            ("http://localhost:1/", true),
            ("http://[::1]:9", true),
            ("https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com", false),
            ("no url", false),
        ] {
            assert_eq!(is_on_this_machine(endpoint), here, "{endpoint}");
        }
    }

    #[test]
    fn an_emulator_gets_path_style_and_amazon_does_not() {
        let emulator = emulator_config("http://127.0.0.1:1", "us-east-1").unwrap();
        assert!(has_custom_s3_endpoint(&emulator));
        let amazon = SdkConfig::builder().behavior_version(behavior_version()).build();
        assert!(!has_custom_s3_endpoint(&amazon));
    }
}
