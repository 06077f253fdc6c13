//! Alerts on SNS, or in the log when no topic is configured.

use async_trait::async_trait;
use aws_sdk_sns::Client;
use aws_sdk_sns::types::MessageAttributeValue;

use super::errors::port_error;
use crate::ports::{Alert, Alerts, PortError, PortResult, Severity};

/// Longest subject that SNS takes.
const MAX_SUBJECT: usize = 100;
/// Longest text that is sent, in characters; SNS takes 256 KiB, a reader less.
const MAX_BODY: usize = 20_000;

/// Alerts to one SNS topic.
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

fn severity(alert: &Alert) -> &'static str {
    match alert.severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

/// SNS refuses subjects that are longer, not ASCII, have line breaks, or do not begin with a letter, digit or punctuation mark.
fn subject(text: &str) -> String {
    let ascii = text.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect::<String>();
    let words = ascii.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = words.chars().take(MAX_SUBJECT).collect();
    if short.is_empty() { "smoother alert".to_owned() } else { short.trim_end().to_owned() }
}

/// The text for people, then the same as JSON for programs.
fn message(alert: &Alert) -> Result<String, serde_json::Error> {
    let mut alert = alert.clone();
    if alert.body.chars().count() > MAX_BODY {
        alert.body = alert.body.chars().take(MAX_BODY).chain("…".chars()).collect();
    }
    Ok(format!("{}\n\n{}\n", alert.body.trim_end(), serde_json::to_string(&alert)?))
}

#[async_trait]
impl Alerts for SnsAlerts {
    async fn publish(&self, alert: &Alert) -> PortResult<()> {
        let what = format!("sns publish to {}", self.topic_arn);
        let permanent = |e: &dyn std::fmt::Display| PortError::permanent(&what, e);
        let attribute = |value: &str| {
            MessageAttributeValue::builder().data_type("String").string_value(value).build().map_err(|e| permanent(&e))
        };
        let mut call = self
            .client
            .publish()
            .topic_arn(&self.topic_arn)
            .subject(subject(&alert.subject))
            .message(message(alert).map_err(|e| permanent(&e))?)
            .message_attributes("severity", attribute(severity(alert))?);
        if !alert.key.is_empty() {
            call = call.message_attributes("key", attribute(&alert.key)?);
        }
        call.send().await.map(drop).map_err(|e| port_error(&what, &e))
    }
}

/// Alerts in the log only.
#[derive(Clone, Copy, Debug)]
pub struct LoggedAlerts;

#[async_trait]
impl Alerts for LoggedAlerts {
    async fn publish(&self, alert: &Alert) -> PortResult<()> {
        tracing::warn!(key = %alert.key, severity = severity(alert), count = alert.count, subject = %alert.subject, body = %alert.body, "alert");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn subjects_are_what_sns_takes() {
        assert_eq!(subject("  Throttled:\nlane ä x "), "Throttled: lane x");
        assert_eq!(subject("\n"), "smoother alert");
        assert_eq!(subject(&"a ".repeat(80)).len(), 99);
    }

    #[test]
    fn the_message_reads_as_text_and_ends_in_json() {
        let alert = Alert {
            key: "k".to_owned(),
            severity: Severity::Critical,
            subject: "s".to_owned(),
            body: "Look here.\n".to_owned(),
            at: Timestamp(0),
            count: 3,
        };
        let text = message(&alert).unwrap();
        let (prose, json) = text.split_once("\n\n").unwrap();
        assert_eq!(prose, "Look here.");
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!((&json["key"], &json["severity"], &json["count"]), (&"k".into(), &"critical".into(), &3.into()));
    }
}
