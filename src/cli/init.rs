//! `smoother init`: queues, tables, bucket and topic on AWS or an emulator, for development.

use std::process::ExitCode;

use clap::Args as ClapArgs;

use crate::aws::clients;
use crate::aws::provision::{self, Provisioned};
use crate::ports::PortError;

use super::place::ConfigArgs;
use super::{Done, Error, print, say};

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// What every name begins with
    #[arg(long, default_value = "smoother")]
    prefix: String,
    /// Print the environment variables that `smoother run` then reads: eval "$(smoother init --env)"
    #[arg(long, conflicts_with = "json")]
    env: bool,
    /// Print one JSON object, the same outputs as the deployments'
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub async fn init(args: Args) -> Done {
    let config = args.config.load()?.config;
    let sdk = clients::sdk_config(&config.aws_region).await?;
    let made = provision::init(&sdk, &args.prefix, config.retention_days)
        .await
        .map_err(|error| explain(error, sdk.endpoint_url()))?;
    let outputs = outputs(&made)?;
    if args.json {
        print(&serde_json::to_string_pretty(&made).unwrap_or_default())?;
    } else if args.env {
        print(&format!("export SMOOTHER_AWS_REGION='{}'", config.aws_region))?;
        for (name, value) in outputs {
            // The dead-letter queue of the input is SQS's own business: the worker never touches it.
            if name != "input_dlq_url" {
                print(&format!("export SMOOTHER_{}='{value}'", name.to_uppercase()))?;
            }
        }
    } else {
        for (name, value) in outputs {
            print(&format!("{name:<20} {value}"))?;
        }
        say("\nNext: eval \"$(smoother init --env)\" && smoother run");
    }
    Ok(ExitCode::SUCCESS)
}

/// An emulator that is not running is the likeliest cause of all when there is an endpoint of one's own.
fn explain(error: PortError, endpoint: Option<&str>) -> Error {
    match endpoint {
        Some(endpoint) if error.retryable => {
            Error::Said(format!("cannot {error}\nAWS_ENDPOINT_URL is {endpoint}: is there an emulator running?"))
        }
        _ => error.into(),
    }
}

fn outputs(made: &Provisioned) -> Result<Vec<(String, String)>, Error> {
    let value = serde_json::to_value(made).map_err(|e| Error::Said(e.to_string()))?;
    let fields = value.as_object().into_iter().flatten();
    Ok(fields.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect())
}
