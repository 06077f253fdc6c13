//! `ports::alerts` and `ports::metrics`: what goes out can be delivered.

use smoother::clock::Timestamp;
use smoother::ports::alerts::{Amount, Kind, Number, State, Step};
use smoother::ports::{Alert, Datum, Severity, Unit};

use crate::Fixture;
use crate::support::unique;

const AT: Timestamp = Timestamp(1_795_252_123_456);

/// An alert with texts that tend to break.
pub fn alert(key: &str) -> Alert {
    Alert {
        schema_version: Alert::SCHEMA_VERSION,
        kind: Kind::AccessDenied,
        key: key.to_owned(),
        severity: Severity::Critical,
        state: State::Firing,
        subject: "x".repeat(100),
        impact: "Zeile 1 – Ünïcödé\nline 2\n".repeat(200),
        numbers: vec![Number { name: "refused_calls", amount: Amount::Number(3.0), unit: "calls" }],
        causes: vec!["“a policy”".to_owned()],
        look: vec![Step { why: "why".to_owned(), run: Some("smoother status 'a b'".to_owned()) }],
        fix: Vec::new(),
        dashboard: None,
        runbook: "docs/runbook.md#access-denied".to_owned(),
        deployment: "Smoother us-east-1".to_owned(),
        at: AT,
        since: AT,
        count: 3,
        worker: "w".to_owned(),
    }
}

pub async fn alerts_of_every_severity_are_taken(fixture: &Fixture) {
    for severity in [Severity::Info, Severity::Warning, Severity::Critical] {
        let alert = Alert { severity, ..alert(&unique("access-denied/lane")) };
        for channel in &fixture.ports.alerts {
            assert!(!channel.name().is_empty());
            channel.publish(&alert).await.unwrap();
        }
    }
}

pub async fn metrics_of_any_number_are_taken(fixture: &Fixture) {
    let units = [Unit::Count, Unit::Milliseconds, Unit::Percent, Unit::None];
    let data = (0..1_100).map(|n| Datum {
        name: "QueueWait",
        dimensions: vec![("Lane", format!("default:us-east-1:model-{}", n % 40)), ("Class", "urgent".to_owned())],
        at: AT,
        unit: units[n % 4],
        count: 3.0,
        sum: 30.5,
        min: 0.0,
        max: 20.25,
    });
    fixture.ports.metrics.put(data.collect()).await.unwrap();
    fixture.ports.metrics.put(vec![]).await.unwrap();
}
