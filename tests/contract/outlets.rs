//! `ports::alerts` and `ports::metrics`: what goes out can be delivered.

use smoother::clock::Timestamp;
use smoother::ports::{Alert, Datum, Severity, Unit};

use crate::Fixture;
use crate::support::unique;

const AT: Timestamp = Timestamp(1_795_252_123_456);

pub async fn alerts_of_every_severity_are_taken(fixture: &Fixture) {
    for severity in [Severity::Info, Severity::Warning, Severity::Critical] {
        let alert = Alert {
            key: unique("bedrock-error/AccessDeniedException/lane"),
            severity,
            subject: "x".repeat(100),
            body: "Zeile 1 – Ünïcödé\nline 2\n".repeat(200),
            at: AT,
            count: 3,
        };
        fixture.ports.alerts.publish(&alert).await.unwrap();
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
