//! Alerts as lines of JSON in `alerts.jsonl` and as log events.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::ports::{Alert, Alerts, PortError, PortResult, Severity};

/// The alerts file.
pub(super) struct LocalAlerts {
    /// Opened for each alert, so that it may be moved away or cut off at any time.
    pub path: Arc<PathBuf>,
}

#[async_trait]
impl Alerts for LocalAlerts {
    fn name(&self) -> String {
        format!("file {}", self.path.display())
    }

    async fn publish(&self, alert: &Alert) -> PortResult<()> {
        let Alert { key, subject, count, .. } = alert;
        match alert.severity {
            Severity::Info => tracing::info!(alert = key, count, "{subject}"),
            Severity::Warning => tracing::warn!(alert = key, count, "{subject}"),
            Severity::Critical => tracing::error!(alert = key, count, "{subject}"),
        }
        let what = || format!("append to {}", self.path.display());
        let mut line = alert.to_json().into_bytes();
        line.push(b'\n');
        let path = Arc::clone(&self.path);
        tokio::task::spawn_blocking(move || {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path.as_path())?;
            // In one piece, so that lines of several processes do not mix.
            file.write_all(&line)?;
            file.sync_data()
        })
        .await
        .map_err(|error| PortError::transient(what(), error))?
        .map_err(|error| PortError::transient(what(), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::alerts::samples;
    use crate::ports::alerts::Kind;

    #[tokio::test]
    async fn each_alert_is_a_line_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let alerts = LocalAlerts { path: Arc::new(path.clone()) };
        for count in [1, 2] {
            alerts.publish(&Alert { count, ..samples::alert(Kind::AccessDenied) }).await.unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1]["count"], 2);
        assert_eq!((&lines[0]["severity"], &lines[0]["kind"]), (&"critical".into(), &"access-denied".into()));
        assert!(lines[0]["text"].as_str().unwrap().contains("\nImpact: "));
    }
}
