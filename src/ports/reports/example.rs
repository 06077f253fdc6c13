//! A row for tests.

use crate::clock::Timestamp;
use crate::ports::ReportRow;
use crate::request::{Outcome, QuotaUse, Request, Row, Status, Usage};

impl ReportRow {
    /// A request that succeeded a second after it was received, at second 1 of 1970.
    pub(crate) fn example() -> Self {
        let request: Request = serde_json::from_value(serde_json::json!({
            "id": "a", "content_hash": "", "message_id": "", "model_id": "m", "lane": "default:us-east-1:m", "tenant": "t",
            "priority": 5, "operation": "converse", "body": "", "estimate": {"input_tokens": 0, "max_output_tokens": 0},
            "rank": "", "received_at": "1970-01-01T00:00:00Z",
        }))
        .unwrap();
        let outcome = Outcome {
            usage: Some(Usage { input_tokens: 1, output_tokens: 1, ..Usage::default() }),
            latency_ms: Some(990),
            cost_usd: Some(0.1),
            price_as_of: Some("2026-11-21".to_owned()),
            quota: Some(QuotaUse { tokens: 2, requests_per_minute: None, tokens_per_minute: Some(1000.0) }),
            ..Outcome::at(Timestamp(1_000))
        };
        let row = Row {
            attempts: 1,
            queued_at: Some(Timestamp(5)),
            first_queued_at: Some(Timestamp(5)),
            claimed_at: Some(Timestamp(10)),
            started_at: Some(Timestamp(10)),
            first_started_at: Some(Timestamp(10)),
            outcome: Some(outcome),
            ..Row::new(request, Status::Succeeded, Timestamp(1_000))
        };
        Self::of(&row).unwrap()
    }
}
