//! `smoother init`: creates what the worker needs, for development and emulators. Idempotent; production is deployed
//! with Terraform or CDK.
//!
//! What makes the product work must succeed; hardening that an emulator may not know (time to live, backups, bucket policies)
//! is tried and warned about.

mod bucket;
mod queues;
mod tables;

use aws_config::SdkConfig;
use serde::{Deserialize, Serialize};

use self::tables::Design;
use super::Settings;
use super::clients::Clients;
use super::errors::port_error;
use super::schema::{self, Names, Queues, Tables};
use crate::ports::{PortError, PortResult};

/// What there is now: the same outputs as the deployments'.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provisioned {
    /// What producers send to.
    pub input_queue_url: String,
    /// What consumers receive from.
    pub results_queue_url: String,
    /// What is called next.
    pub hold_queue_url: String,
    /// Where poison hold messages end.
    pub dlq_url: String,
    /// Where the input queue's poison ends.
    pub input_dlq_url: String,
    /// The requests table's name.
    pub requests_table: String,
    /// The reporting table's name.
    pub reporting_table: String,
    /// The payload bucket's name.
    pub bucket: String,
    /// On-call's topic.
    pub alarm_topic_arn: String,
}

impl Provisioned {
    /// Settings of a worker on all this, with the defaults.
    #[must_use]
    pub fn settings(&self, region: &str) -> Settings {
        Settings {
            region: region.to_owned(),
            input_queue_url: self.input_queue_url.clone(),
            results_queue_url: self.results_queue_url.clone(),
            hold_queue_url: self.hold_queue_url.clone(),
            dlq_url: self.dlq_url.clone(),
            input_visibility: None,
            hold_visibility: None,
            requests_table: self.requests_table.clone(),
            reporting_table: self.reporting_table.clone(),
            bucket: self.bucket.clone(),
            alarm_topic_arn: Some(self.alarm_topic_arn.clone()),
            index_shards: Settings::INDEX_SHARDS,
            retention_days: Settings::RETENTION_DAYS,
            report_retention_days: Settings::REPORT_RETENTION_DAYS,
            metrics_namespace: schema::METRICS_NAMESPACE.to_owned(),
        }
    }
}

/// Creates or completes everything under `prefix` and waits until it can be used. Bodies are kept for `retention_days`.
///
/// # Errors
/// What could not be created, and why; a repeat goes on from there.
pub async fn init(config: &SdkConfig, prefix: &str, retention_days: u32) -> PortResult<Provisioned> {
    check_prefix(prefix)?;
    let names = Names::new(prefix);
    let (queues, tables) = (Queues::new(&names), Tables::new(&names));
    let clients = Clients::new(config);
    let bucket = names.bucket(&account_id(&clients).await?);
    let region = config.region().map_or("us-east-1", AsRef::as_ref);
    let (queues, requests, reporting, bucket_done, topic) = tokio::join!(
        Box::pin(queues::create_all(&clients.sqs, &queues)),
        Box::pin(tables::create(&clients.dynamodb, Design::of(&tables.requests)?)),
        Box::pin(tables::create(&clients.dynamodb, Design::of(&tables.reporting)?)),
        Box::pin(bucket::create(&clients.s3, &bucket, region, retention_days)),
        create_topic(&clients.sns, &names.topic),
    );
    let queues = queues?;
    requests?;
    reporting?;
    bucket_done?;
    Ok(Provisioned {
        input_queue_url: queues.input,
        results_queue_url: queues.results,
        hold_queue_url: queues.hold,
        dlq_url: queues.hold_dlq,
        input_dlq_url: queues.input_dlq,
        requests_table: names.requests_table,
        reporting_table: names.reporting_table,
        bucket,
        alarm_topic_arn: topic?,
    })
}

/// Whether all names under a prefix are names to AWS: the rule of bucket names is the strictest.
///
/// # Errors
/// Says what is expected.
pub fn check_prefix(prefix: &str) -> PortResult<()> {
    let alphabet = prefix.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let first = prefix.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    if alphabet && first && prefix.len() <= 32 {
        return Ok(());
    }
    let what = format!("use the prefix {prefix:?}");
    Err(PortError::permanent(what, "expected 1 to 32 characters of a-z 0-9 -, beginning with a letter"))
}

async fn account_id(clients: &Clients) -> PortResult<String> {
    let what = "sts get caller identity";
    let identity = clients.sts.get_caller_identity().send().await.map_err(|e| port_error(what, &e))?;
    identity.account.ok_or_else(|| PortError::permanent(what, "the answer names no account"))
}

async fn create_topic(client: &aws_sdk_sns::Client, name: &str) -> PortResult<String> {
    let what = format!("sns create topic {name}");
    let topic = client.create_topic().name(name).send().await.map_err(|e| port_error(&what, &e))?;
    topic.topic_arn.ok_or_else(|| PortError::permanent(what, "the answer has no ARN"))
}

/// For hardening that an emulator may lack.
fn tolerate<T>(result: PortResult<T>) {
    if let Err(error) = result {
        tracing::warn!(%error, "continuing without it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outputs_have_the_names_of_the_contract() {
        let text = |s: &str| s.to_owned();
        let provisioned = Provisioned {
            input_queue_url: text("a"),
            results_queue_url: text("b"),
            hold_queue_url: text("c"),
            dlq_url: text("d"),
            input_dlq_url: text("e"),
            requests_table: text("f"),
            reporting_table: text("g"),
            bucket: text("h"),
            alarm_topic_arn: text("i"),
        };
        let json = serde_json::to_value(&provisioned).unwrap();
        let mut keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "alarm_topic_arn",
                "bucket",
                "dlq_url",
                "hold_queue_url",
                "input_dlq_url",
                "input_queue_url",
                "reporting_table",
                "requests_table",
                "results_queue_url"
            ]
        );
    }

    #[test]
    fn prefixes_fit_the_strictest_service() {
        assert!(check_prefix("smoother").is_ok());
        for bad in ["", "Smoother", "a_b", "-a", "9a", &"a".repeat(33)] {
            assert!(check_prefix(bad).is_err(), "{bad:?}");
        }
        assert!(Names::new(&"a".repeat(32)).bucket("123456789012").len() <= 63);
    }
}
