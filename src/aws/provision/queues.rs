//! The five queues.

use std::collections::HashMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::types::QueueAttributeName;

use serde_json::json;

use super::{schema, tolerate};
use crate::aws::errors::port_error;
use crate::ports::{PortError, PortResult};

type Attributes = HashMap<QueueAttributeName, String>;

/// Their URLs.
pub struct Queues {
    pub input: String,
    pub input_dlq: String,
    pub results: String,
    pub hold: String,
    pub hold_dlq: String,
}

/// Creates or completes all five.
pub async fn create_all(client: &Client, queues: &schema::Queues) -> PortResult<Queues> {
    let input_dlq = create(client, &queues.input_dlq, None).await?;
    let hold_dlq = create(client, &queues.hold_dlq, None).await?;
    let (dead_input, dead_hold) = (arn(client, &input_dlq).await?, arn(client, &hold_dlq).await?);
    let made = Queues {
        input: create(client, &queues.input, Some(&dead_input)).await?,
        results: create(client, &queues.results, None).await?,
        hold: create(client, &queues.hold, Some(&dead_hold)).await?,
        input_dlq,
        hold_dlq,
    };
    let (input, hold, results) =
        (arn(client, &made.input).await?, arn(client, &made.hold).await?, arn(client, &made.results).await?);
    for (url, own, source) in [
        (&made.input, &input, None),
        (&made.input_dlq, &dead_input, Some(&input)),
        (&made.results, &results, None),
        (&made.hold, &hold, None),
        (&made.hold_dlq, &dead_hold, Some(&hold)),
    ] {
        tolerate(harden(client, url, own, source).await);
    }
    Ok(made)
}

/// Only over TLS; and into a dead-letter queue only what comes from its queue.
async fn harden(client: &Client, url: &str, own: &str, source: Option<&String>) -> PortResult<()> {
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sqs:*",
            "Resource": own,
            "Condition": { "Bool": { "aws:SecureTransport": "false" } },
        }],
    });
    let mut call =
        client.set_queue_attributes().queue_url(url).attributes(QueueAttributeName::Policy, policy.to_string());
    if let Some(source) = source {
        let allow = json!({ "redrivePermission": "byQueue", "sourceQueueArns": [source] });
        call = call.attributes(QueueAttributeName::RedriveAllowPolicy, allow.to_string());
    }
    call.send().await.map(drop).map_err(|e| port_error(format!("sqs set the policies of {url}"), &e))
}

fn attributes(queue: &schema::Queue, dead_letters: Option<&str>) -> Attributes {
    let mut attributes = Attributes::from([
        (QueueAttributeName::VisibilityTimeout, queue.visibility_seconds.to_string()),
        (QueueAttributeName::MessageRetentionPeriod, queue.retention_seconds.to_string()),
        (QueueAttributeName::SqsManagedSseEnabled, "true".to_owned()),
    ]);
    if let (Some(target), Some(receives)) = (dead_letters, queue.max_receives) {
        let policy = json!({ "deadLetterTargetArn": target, "maxReceiveCount": receives.to_string() });
        attributes.insert(QueueAttributeName::RedrivePolicy, policy.to_string());
    }
    attributes
}

/// A queue that is there gets the attributes again, so that an older one is brought up to date.
async fn create(client: &Client, queue: &schema::Queue, dead_letters: Option<&str>) -> PortResult<String> {
    let (name, attributes) = (queue.name.as_str(), attributes(queue, dead_letters));
    let what = format!("sqs create queue {name}");
    let url = match client.get_queue_url().queue_name(name).send().await {
        Ok(found) => found.queue_url,
        Err(SdkError::ServiceError(e)) if e.err().is_queue_does_not_exist() => {
            let created = client.create_queue().queue_name(name).set_attributes(Some(attributes.clone())).send().await;
            created.map_err(|e| port_error(&what, &e))?.queue_url
        }
        Err(e) => return Err(port_error(what, &e)),
    };
    let url = url.ok_or_else(|| PortError::permanent(&what, "the answer has no URL"))?;
    let set = client.set_queue_attributes().queue_url(&url).set_attributes(Some(attributes)).send().await;
    set.map_err(|e| port_error(what, &e))?;
    Ok(url)
}

async fn arn(client: &Client, url: &str) -> PortResult<String> {
    let what = format!("sqs read the ARN of {url}");
    let call = client.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::QueueArn);
    let answer = call.send().await.map_err(|e| port_error(&what, &e))?;
    let arn = answer.attributes.and_then(|mut a| a.remove(&QueueAttributeName::QueueArn));
    arn.ok_or_else(|| PortError::permanent(what, "the answer has no ARN"))
}
