//! Whose credentials these are.

use aws_config::SdkConfig;

use super::clients::timeouts;
use super::errors::port_error;
use crate::ports::{PortError, PortResult};

/// The ARN that AWS knows the caller by. Answers within a few seconds, or fails: it only adds to what is written down.
///
/// # Errors
/// STS is out of reach, or knows no such credentials.
pub async fn caller_arn(config: &SdkConfig) -> PortResult<String> {
    let what = "sts get caller identity";
    let settings = aws_sdk_sts::config::Builder::from(config).timeout_config(timeouts(3, 4));
    let client = aws_sdk_sts::Client::from_conf(settings.build());
    let identity = client.get_caller_identity().send().await.map_err(|e| port_error(what, &e))?;
    identity.arn.ok_or_else(|| PortError::permanent(what, "the answer has no ARN"))
}
