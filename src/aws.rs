//! The AWS adapters: every port on Amazon's managed services, through the official SDK only.
//!
//! `clients` builds what all share, one file per service implements the ports, [`schema`] names every table, key
//! and index once, [`provision`] creates them for development (production is deployed with Terraform or CDK), and
//! [`bedrock`] is the model. Nothing here keeps state that a second replica would miss.

pub mod bedrock;
pub mod clients;
pub mod cloudwatch;
pub mod dynamodb_ledger;
pub mod dynamodb_registers;
pub mod dynamodb_reports;
pub mod errors;
pub mod export_bucket;
pub mod identity;
pub mod provision;
pub mod s3;
pub mod schema;
pub mod service_quotas;
pub mod sns;
pub mod sqs;
#[cfg(test)]
pub(crate) mod test_server;
pub mod usage_feed;

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;

use crate::clock::Clock;
use crate::ports::{PortError, PortResult, Ports, Queue};

use clients::Clients;

/// Where the pieces are; what `smoother init` and the deployments put out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `us-east-1`.
    pub region: String,
    /// What producers send to.
    pub input_queue_url: String,
    /// What consumers receive from.
    pub results_queue_url: String,
    /// The hold-next-batch queue.
    pub hold_queue_url: String,
    /// The hold queue's dead-letter queue.
    pub dlq_url: String,
    /// How long a received input message stays invisible; `None` for the queue's default.
    pub input_visibility: Option<Duration>,
    /// How long a received hold message stays invisible; `None` for the queue's default.
    pub hold_visibility: Option<Duration>,
    /// The requests table's name; registers live in it too.
    pub requests_table: String,
    /// The reporting table's name.
    pub reporting_table: String,
    /// The payload bucket's name.
    pub bucket: String,
    /// Where alerts go; `None` logs them only.
    pub alarm_topic_arn: Option<String>,
    /// Partitions of each work list, from 1: about 1,000 list changes a second each. May be raised at any time; lower it
    /// only while the requests table has no unfinished rows.
    pub index_shards: u32,
    /// Days that a finished row stays in the requests table.
    pub retention_days: u32,
    /// Days that a row stays in the reporting table.
    pub report_retention_days: u32,
    /// CloudWatch namespace of all metrics.
    pub metrics_namespace: String,
}

impl Settings {
    /// Default of [`Settings::index_shards`].
    pub const INDEX_SHARDS: u32 = 4;
    /// Default of [`Settings::report_retention_days`].
    pub const REPORT_RETENTION_DAYS: u32 = 400;
    /// Default of [`Settings::retention_days`].
    pub const RETENTION_DAYS: u32 = 30;
}

/// The adapters with credentials, Region and endpoints from the environment, as the AWS tools read them. Makes no call.
///
/// # Errors
/// Permanent, when a setting cannot be right.
pub async fn connect(settings: &Settings, clock: Clock) -> PortResult<Ports> {
    let config = clients::sdk_config(&settings.region).await?;
    connect_with(&config, settings, clock)
}

/// The adapters on a prepared configuration, for an emulator say ([`clients::emulator_config`]). Makes no call.
///
/// # Errors
/// Permanent, when a setting cannot be right.
pub fn connect_with(config: &SdkConfig, settings: &Settings, clock: Clock) -> PortResult<Ports> {
    if settings.index_shards == 0 || settings.index_shards > 256 {
        let why = format!("index_shards is {}; expected 1 to 256", settings.index_shards);
        return Err(PortError::permanent("aws settings", why));
    }
    let clients = Clients::new(config);
    let queue = |url: &str, visibility| -> Arc<dyn Queue> {
        Arc::new(sqs::SqsQueue::new(clients.sqs.clone(), url).with_visibility(visibility))
    };
    Ok(Ports {
        input: queue(&settings.input_queue_url, settings.input_visibility),
        hold: queue(&settings.hold_queue_url, settings.hold_visibility),
        dead: queue(&settings.dlq_url, None),
        results: queue(&settings.results_queue_url, None),
        ledger: Arc::new(dynamodb_ledger::DynamoLedger::new(
            clients.dynamodb.clone(),
            &settings.requests_table,
            settings.index_shards,
            settings.retention_days,
        )),
        payloads: Arc::new(s3::S3Payloads::new(clients.s3.clone(), &settings.bucket, clock)),
        reports: Arc::new(dynamodb_reports::DynamoReports::new(
            clients.dynamodb.clone(),
            &settings.reporting_table,
            settings.report_retention_days,
        )),
        registers: Arc::new(dynamodb_registers::DynamoRegisters::new(
            clients.dynamodb.clone(),
            &settings.requests_table,
        )),
        alerts: match &settings.alarm_topic_arn {
            Some(arn) => vec![Arc::new(sns::SnsAlerts::new(clients.sns.clone(), arn))],
            None => vec![Arc::new(sns::LoggedAlerts)],
        },
        metrics: Arc::new(cloudwatch::CloudWatchMetrics::new(clients.cloudwatch, &settings.metrics_namespace)),
    })
}
