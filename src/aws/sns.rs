//! Alerts on SNS, or in the log when no topic is configured.

use async_trait::async_trait;
use aws_sdk_sns::Client;
use aws_sdk_sns::types::MessageAttributeValue;
use serde_json::json;

use super::errors::port_error;
use crate::ports::alerts::MAX_SUBJECT;
use crate::ports::{Alert, Alerts, PortError, PortResult};

/// Longest text that is sent, in characters; SNS takes 256 KiB in all, a reader less.
const MAX_TEXT: usize = 20_000;

/// Alerts to one SNS topic: subscriptions by e-mail and SMS get the text, those of programs (SQS, Lambda, HTTP, Firehose) the JSON.
#[derive(Clone, Debug)]
pub struct SnsAlerts {
    client: Client,
    topic_arn: String,
}

impl SnsAlerts {
    /// The topic with this ARN.
    #[must_use]
    pub fn new(client: Client, topic_arn: &str) -> Self {
        Self { client, topic_arn: topic_arn.to_owned() }
    }
}

/// SNS refuses subjects that are longer, not ASCII, have line breaks, or do not begin with a letter, digit or punctuation mark.
fn subject(text: &str) -> String {
    let ascii = text.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect::<String>();
    let words = ascii.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = words.chars().take(MAX_SUBJECT).collect();
    if short.is_empty() { "smoother alert".to_owned() } else { short.trim_end().to_owned() }
}

/// What each protocol gets. A text message has no room but for the subject.
fn message(alert: &Alert) -> String {
    let text = alert.text();
    let text =
        if text.chars().count() > MAX_TEXT { text.chars().take(MAX_TEXT).chain(['…']).collect() } else { text };
    let data = alert.to_json();
    json!({
        "default": text,
        "email": text,
        "sms": alert.subject,
        "email-json": data,
        "sqs": data,
        "lambda": data,
        "http": data,
        "https": data,
        "firehose": data,
    })
    .to_string()
}

#[async_trait]
impl Alerts for SnsAlerts {
    fn name(&self) -> String {
        format!("sns {}", self.topic_arn)
    }

    async fn publish(&self, alert: &Alert) -> PortResult<()> {
        let what = format!("sns publish to {}", self.topic_arn);
        let permanent = |e: &dyn std::fmt::Display| PortError::permanent(&what, e);
        let attributes = [
            ("severity", alert.severity.as_str()),
            ("kind", alert.kind.as_str()),
            ("state", alert.state.as_str()),
            ("key", &alert.key),
        ];
        let mut call = self
            .client
            .publish()
            .topic_arn(&self.topic_arn)
            .subject(subject(&alert.subject))
            .message_structure("json")
            .message(message(alert));
        for (name, value) in attributes.into_iter().filter(|(_, value)| !value.is_empty()) {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
            call = call.message_attributes(name, value.map_err(|e| permanent(&e))?);
        }
        call.send().await.map(drop).map_err(|e| port_error(&what, &e))
    }
}

/// Alerts in the log only.
#[derive(Clone, Copy, Debug)]
pub struct LoggedAlerts;

#[async_trait]
impl Alerts for LoggedAlerts {
    fn name(&self) -> String {
        "log".to_owned()
    }

    async fn publish(&self, alert: &Alert) -> PortResult<()> {
        let Alert { key, subject, count, severity, .. } = alert;
        tracing::warn!(key, severity = severity.as_str(), count, subject, text = alert.text(), "alert");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::alerts::samples;
    use crate::ports::alerts::Kind;

    #[test]
    fn subjects_are_what_sns_takes() {
        assert_eq!(subject("  Throttled:\nlane ä x "), "Throttled: lane x");
        assert_eq!(subject("\n"), "smoother alert");
        assert_eq!(subject(&"a ".repeat(80)).len(), 99);
    }

    #[test]
    fn people_get_text_and_programs_json() {
        let alert = samples::alert(Kind::AccessDenied);
        let by_protocol: serde_json::Value = serde_json::from_str(&message(&alert)).unwrap();
        assert_eq!(by_protocol["email"], alert.text());
        assert_eq!(by_protocol["default"], alert.text());
        assert!(by_protocol["sms"].as_str().unwrap().len() <= 140);
        for protocol in ["sqs", "lambda", "https"] {
            let data: serde_json::Value = serde_json::from_str(by_protocol[protocol].as_str().unwrap()).unwrap();
            assert_eq!((&data["key"], &data["severity"]), (&alert.key.clone().into(), &"critical".into()));
        }
    }
}
