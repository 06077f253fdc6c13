//! Where a command works: a directory on this machine, or AWS. The one place that chooses adapters.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::aws::bedrock::{self, Bedrock};
use crate::aws::clients;
use crate::aws::service_quotas::ServiceQuotas;
use crate::aws::usage_feed::CloudWatchUsage;
use crate::clock::Clock;
use crate::config::{Config, Loaded, Secret, Sources, is_secret};
use crate::ports::{Alerts, Model, Ports, Quotas, Spans, UsageFeed};
use crate::telemetry::otlp::Otlp;
use crate::webhook::Webhook;
use crate::{aws, local};

use super::Error;
use super::format::shell_word;

/// Settings from a file and from flags.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// Settings file (TOML); smoother.example.toml shows all of them
    #[arg(long, value_name = "FILE", env = "SMOOTHER_CONFIG")]
    config: Option<PathBuf>,
    /// One setting, above file and environment; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

/// Settings, and whether to work in a directory instead of on AWS.
#[derive(Clone, Debug, Args)]
pub struct PlaceArgs {
    /// Work in this directory (SQLite and files, created as needed) instead of on AWS
    #[arg(long, value_name = "DIR", env = "SMOOTHER_LOCAL")]
    local: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.rsplit_once('=').ok_or("expected NAME=VALUE, such as max_attempts=3")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// An open place.
pub struct Place {
    /// All adapters but the model.
    pub ports: Ports,
    /// The settings in force.
    pub config: Config,
    /// Wall time.
    pub clock: Clock,
    /// The directory, when it is one.
    pub dir: Option<PathBuf>,
}

impl ConfigArgs {
    /// Reads the settings from everywhere.
    pub fn load(&self) -> Result<Loaded, Error> {
        let loaded = Config::load(&Sources::of_process(self.config.clone(), self.set.clone()))?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        Ok(loaded)
    }
}

impl PlaceArgs {
    /// The flags that name the same place in another command, with a space before each; empty when there are none.
    pub fn flags(&self) -> String {
        let dir = self.local.iter().map(|dir| ("--local", dir.display().to_string()));
        let config = self.config.config.iter().map(|file| ("--config", file.display().to_string()));
        let set = self.config.set.iter().filter(|(name, _)| !is_secret(name));
        let set = set.map(|(name, value)| ("--set", format!("{name}={value}")));
        let flags = dir.chain(config).chain(set).map(|(flag, value)| [" ", flag, " ", &shell_word(&value)].concat());
        flags.collect()
    }

    /// As [`PlaceArgs::open`], for commands that only make sense where something is: a directory is not made.
    pub async fn open_existing(&self) -> Result<Place, Error> {
        if let Some(dir) = self.local.as_ref().filter(|dir| !dir.join("smoother.db").exists()) {
            let dir = shell_word(&dir.display().to_string());
            return Err(Error::Said(format!(
                "nothing of smoother's is in {dir}: there is no smoother.db. It appears with the first smoother submit --local {dir} or smoother run --local {dir}"
            )));
        }
        self.open().await
    }

    /// Reads the settings.
    pub fn settings(&self) -> Result<Config, Error> {
        Ok(self.config.load()?.config)
    }

    /// As [`PlaceArgs::open`], for commands that read what is there and can do without: nothing is made. `None` when there is
    /// nothing yet, or AWS resources are not configured.
    pub async fn open_if_there(&self, config: Config) -> Result<Option<Place>, Error> {
        let is_there = match &self.local {
            Some(dir) => dir.join("smoother.db").exists(),
            None => config.require_aws().is_ok(),
        };
        if is_there { self.open_with(config).await.map(Some) } else { Ok(None) }
    }

    /// Why there is nothing to read.
    pub fn nothing_yet(&self) -> String {
        match &self.local {
            Some(dir) => format!("nothing of smoother's is in {} yet", dir.display()),
            None => "no AWS resources are configured, and no --local DIR is given".to_owned(),
        }
    }

    /// Reads the settings and opens what they name.
    pub async fn open(&self) -> Result<Place, Error> {
        self.open_with(self.settings()?).await
    }

    async fn open_with(&self, config: Config) -> Result<Place, Error> {
        let clock = Clock::system();
        if let Some(dir) = &self.local {
            return open_local(dir.clone(), config, clock).await;
        }
        let resources = config
            .require_aws()
            .map_err(|faults| Error::Said(format!("{faults}\nTo work on this machine without AWS: --local DIR")))?;
        let settings = aws::Settings {
            region: config.aws_region.clone(),
            input_queue_url: resources.input_queue_url,
            results_queue_url: resources.results_queue_url,
            hold_queue_url: resources.hold_queue_url,
            dlq_url: resources.dlq_url,
            input_visibility: Some(config.input_visibility),
            hold_visibility: Some(config.hold_visibility),
            requests_table: resources.requests_table,
            reporting_table: resources.reporting_table,
            bucket: resources.bucket,
            alarm_topic_arn: Some(resources.alarm_topic_arn),
            index_shards: config.index_shards,
            retention_days: config.retention_days,
            report_retention_days: config.report_retention_days,
            metrics_namespace: config.metrics_namespace.clone(),
        };
        let mut ports = aws::connect(&settings, clock.clone()).await?;
        ports.alerts.extend(webhook(&config)?);
        Ok(Place { ports, config, clock, dir: None })
    }
}

/// Opens a directory with these settings.
pub async fn open_local(dir: PathBuf, config: Config, clock: Clock) -> Result<Place, Error> {
    let settings = local::Settings {
        hold_visibility: config.hold_visibility,
        input_visibility: config.input_visibility,
        report_retention_days: config.report_retention_days,
        ..local::Settings::default()
    };
    let local::Local { mut ports, dir } = local::open(&dir, settings, clock.clone()).await?;
    ports.alerts.extend(webhook(&config)?);
    Ok(Place { ports, config, clock, dir: Some(dir) })
}

/// The channel besides that of the place, if there is one.
fn webhook(config: &Config) -> Result<Option<Arc<dyn Alerts>>, Error> {
    let Some(url) = &config.alert_webhook_url else { return Ok(None) };
    Ok(Some(Arc::new(Webhook::new(url.reveal())?)))
}

/// Where quotas are looked up that are not configured, if anywhere.
pub async fn quotas(config: &Config) -> Result<Option<Arc<dyn Quotas>>, Error> {
    if !config.asks_service_quotas() {
        return Ok(None);
    }
    let sdk = clients::sdk_config(&config.aws_region).await?;
    Ok(Some(Arc::new(ServiceQuotas::new(&sdk, config.bedrock_endpoint.as_deref()))))
}

/// Where the account's use of Bedrock's quotas is measured, if it shall be.
pub async fn usage_feed(config: &Config) -> Result<Option<Arc<dyn UsageFeed>>, Error> {
    if !config.usage_feed {
        return Ok(None);
    }
    let sdk = clients::sdk_config(&config.aws_region).await?;
    Ok(Some(Arc::new(CloudWatchUsage::new(&sdk, config.bedrock_endpoint.as_deref()))))
}

/// Where the spans of a worker go, if anywhere.
pub fn traces(config: &Config, worker: &str) -> Option<Arc<dyn Spans>> {
    let endpoint = config.otlp_endpoint.as_deref()?;
    let headers = config.otlp_headers.as_ref().map(Secret::reveal).unwrap_or_default();
    Some(Arc::new(Otlp::new(endpoint, headers, worker)))
}

impl Place {
    /// Bedrock, or what stands in for it.
    pub async fn model(&self) -> Result<Arc<dyn Model>, Error> {
        let sdk = clients::sdk_config(&self.config.aws_region).await?;
        let settings = bedrock::Settings {
            attempt_timeout: self.config.call_timeout,
            endpoint: self.config.bedrock_endpoint.clone(),
        };
        let bedrock = Bedrock::connect(&sdk, settings)?;
        bedrock.require_credentials().await.map_err(|error| {
            Error::Said(format!(
                "cannot {error}\nSet AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; or try without an account: smoother simulate-bedrock, and --bedrock-endpoint with the URL it prints"
            ))
        })?;
        Ok(Arc::new(bedrock))
    }

    /// How long a receive waits: SQS charges per call, the local queue does not.
    pub fn poll_wait(&self) -> std::time::Duration {
        std::time::Duration::from_secs(if self.dir.is_some() { 1 } else { 20 })
    }
}
