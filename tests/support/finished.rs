//! Made-up finished requests that look like a week at work: an office day, a nightly batch, an hour of trouble.
//!
//! The same seed gives the same rows. They come in order of their arrival, not of their end.

use std::time::Duration;

use fastrand::Rng;
use smoother::clock::Timestamp;
use smoother::ports::ReportRow;
use smoother::request::{Operation, RequestId, Status};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// A model with its quota as shares of the traffic, prices for a million tokens, and how it behaves.
struct Model {
    id: &'static str,
    quota: &'static str,
    /// Of input and output tokens; `None` where no price is known.
    prices: Option<(f64, f64)>,
    output: f64,
    burndown: u64,
    /// Milliseconds before the first token, and for each one.
    pace: (f64, f64),
    /// Share of the requests.
    share: f64,
}

const MODELS: [Model; 4] = [
    Model {
        id: "us.anthropic.claude-haiku-4-5-20251001-v1:0",
        quota: "anthropic.claude-haiku-4-5-20251001-v1:0",
        prices: Some((1.0, 5.0)),
        output: 300.0,
        burndown: 5,
        pace: (450.0, 7.0),
        share: 0.5,
    },
    Model {
        id: "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        quota: "anthropic.claude-sonnet-4-5-20250929-v1:0",
        prices: Some((3.0, 15.0)),
        output: 700.0,
        burndown: 5,
        pace: (900.0, 14.0),
        share: 0.14,
    },
    Model {
        id: "amazon.nova-lite-v1:0",
        quota: "amazon.nova-lite-v1:0",
        prices: Some((0.06, 0.24)),
        output: 220.0,
        burndown: 1,
        pace: (300.0, 4.0),
        share: 0.3,
    },
    Model {
        id: "us.example.new-model-v1:0",
        quota: "example.new-model-v1:0",
        prices: None,
        output: 150.0,
        burndown: 1,
        pace: (350.0, 6.0),
        share: 0.06,
    },
];

/// Tenant, use case, share of the office day's requests, priorities.
const TENANTS: [(&str, Option<&str>, f64, &[u8]); 6] = [
    ("checkout", Some("fraud-check"), 0.30, &[0, 0, 2]),
    ("support", Some("reply-draft"), 0.26, &[2, 2, 5]),
    ("research", None, 0.18, &[5, 7]),
    ("mobile-app", Some("summaries"), 0.14, &[2, 5]),
    ("marketing", Some("copy"), 0.08, &[5]),
    ("legal", None, 0.04, &[5, 7]),
];
const NIGHTLY: &str = "nightly";

/// A row with nothing in it.
fn blank() -> ReportRow {
    ReportRow {
        day: String::new(),
        finished_key: String::new(),
        request_id: RequestId::new("r").unwrap(),
        status: Status::Succeeded,
        tenant: String::new(),
        model_id: String::new(),
        use_case: None,
        lane: "none".to_owned(),
        priority: 5,
        priority_class: String::new(),
        received_at: Timestamp(0),
        queued_at: None,
        started_at: None,
        finished_at: Timestamp(0),
        wait_ms: 0,
        latency_ms: None,
        attempts: 0,
        throttles: 0,
        deadline: None,
        deadline_met: None,
        input_tokens: None,
        output_tokens: None,
        cache_read_tokens: None,
        cache_write_tokens: None,
        cost_usd: None,
        error_type: None,
        metadata: std::collections::BTreeMap::new(),
        asked_model_id: String::new(),
        switch: None,
        region: None,
        operation: Operation::Converse,
        service_tier: None,
        batch_id: None,
        first_queued_at: None,
        claimed_at: None,
        first_started_at: None,
        backlog_ms: None,
        hold_ms: None,
        total_ms: 0,
        quota_tokens: None,
        lane_requests_per_minute: None,
        lane_tokens_per_minute: None,
        price_as_of: None,
        result_bytes: None,
        worker: None,
        trace_id: None,
    }
}

/// Makes rows one by one.
pub struct Traffic {
    rng: Rng,
    since: Timestamp,
    minutes: u64,
    /// Of the minute that is being made.
    minute: u64,
    due: f64,
    scale: f64,
    number: u64,
    /// Quotas by model: tokens and requests a minute.
    quotas: [(f64, f64); 4],
    /// Of each model: the minute that is being filled, and what is in it.
    filling: [(u64, f64, f64); 4],
}

/// How much comes in a minute of the day, relatively.
fn busyness(at: Timestamp) -> f64 {
    let hour = at.0 % (24 * HOUR) / MINUTE;
    let hour = hour as f64 / 60.0;
    let office = (-((hour - 11.0) / 2.6).powi(2)).exp() + 0.9 * (-((hour - 15.5) / 2.4).powi(2)).exp();
    0.12 + office
}

fn is_night(at: Timestamp) -> bool {
    (1..4).contains(&(at.0 % (24 * HOUR) / HOUR))
}

/// From 13:40 to 14:20 of every other day there is trouble.
fn is_trouble(at: Timestamp) -> bool {
    let minute = at.0 % (24 * HOUR) / MINUTE;
    (820..860).contains(&minute) && (at.0 / (24 * HOUR)).is_multiple_of(2)
}

impl Traffic {
    /// About `rows` requests that arrive over so much time.
    pub fn new(seed: u64, since: Timestamp, length: Duration, rows: u64) -> Self {
        let minutes = u64::try_from(length.as_millis()).unwrap() / MINUTE;
        let at = |minute: u64| since + Duration::from_mins(minute);
        let weight = |at: Timestamp| busyness(at) + if is_night(at) { 1.4 } else { 0.0 };
        let sum: f64 = (0..minutes).map(|minute| weight(at(minute))).sum();
        let scale = rows as f64 / sum.max(0.001);
        let peak = (0..minutes).map(|minute| weight(at(minute))).fold(0.0, f64::max) * scale * 1.3;
        let quota = |model: &Model| {
            let requests = (peak * model.share * 1.45).max(2.0);
            let tokens = requests * (900.0 + model.output * model.burndown as f64) * 1.05;
            (round(tokens), round(requests * 1.15))
        };
        Self {
            rng: Rng::with_seed(seed),
            since,
            minutes,
            minute: 0,
            due: 0.0,
            scale,
            number: 0,
            quotas: [0, 1, 2, 3].map(|at| quota(&MODELS[at])),
            filling: [(0, 0.0, 0.0); 4],
        }
    }

    fn spread(&mut self, typical: f64, sigma: f64) -> f64 {
        let (u, v) = (self.rng.f64().max(1e-9), self.rng.f64());
        typical * (sigma * (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()).exp()
    }

    fn row(&mut self, arrived: Timestamp) -> ReportRow {
        self.number += 1;
        let id = format!("{:08x}-{:06}", self.rng.u32(..), self.number);
        let nightly = is_night(arrived) && self.rng.u8(..10) < 8;
        let (tenant, use_case, priority) = self.producer(nightly);
        let mut row = ReportRow {
            request_id: RequestId::new(id).unwrap(),
            tenant: tenant.to_owned(),
            use_case: use_case.map(ToOwned::to_owned),
            priority,
            priority_class: class(priority).to_owned(),
            batch_id: nightly.then(|| format!("nightly-{}", arrived.day())),
            received_at: arrived,
            metadata: [("ticket".to_owned(), format!("T-{}", self.number))].into(),
            ..blank()
        };
        if self.rng.u16(..1_000) < 9 {
            return self.rejected(row);
        }
        let at = self.model(nightly);
        let model = &MODELS[at];
        model.id.clone_into(&mut row.model_id);
        model.id.clone_into(&mut row.asked_model_id);
        row.lane = format!("default:us-east-1:{}", model.quota);
        row.region = Some("us-east-1".to_owned());
        if at == 2 && self.rng.u8(..100) < 4 {
            MODELS[0].id.clone_into(&mut row.asked_model_id);
            row.switch = Some("downgrade".to_owned());
        }
        if priority == 0 || self.rng.u8(..10) == 0 {
            row.deadline = Some(arrived + Duration::from_secs(if priority == 0 { 30 } else { 600 }));
        }
        self.called(row, at)
    }

    fn producer(&mut self, nightly: bool) -> (&'static str, Option<&'static str>, u8) {
        if nightly {
            return (NIGHTLY, Some("archive"), if self.rng.u8(..5) == 0 { 7 } else { 9 });
        }
        let mut left = self.rng.f64();
        let found = TENANTS.iter().find(|(_, _, share, _)| {
            left -= share;
            left <= 0.0
        });
        let (tenant, use_case, _, priorities) = found.unwrap_or(&TENANTS[0]);
        (tenant, *use_case, priorities[self.rng.usize(..priorities.len())])
    }

    fn model(&mut self, nightly: bool) -> usize {
        if nightly {
            return if self.rng.u8(..10) < 7 { 2 } else { 0 };
        }
        let mut left = self.rng.f64();
        let at = MODELS.iter().position(|model| {
            left -= model.share;
            left <= 0.0
        });
        at.unwrap_or(0)
    }

    fn rejected(&mut self, mut row: ReportRow) -> ReportRow {
        row.status = Status::Rejected;
        let kinds = ["ValidationError", "ModelNotAllowed", "InvalidJson"];
        row.error_type = Some(kinds[self.rng.usize(..kinds.len())].to_owned());
        let end = row.received_at + Duration::from_millis(20 + self.rng.u64(..80));
        ended(row, end)
    }

    /// When a call of so many tokens may start: what does not fit into a minute goes into the next one.
    fn admitted(&mut self, at: usize, from: Timestamp, tokens: f64, priority: u8) -> Timestamp {
        let (tokens_limit, requests_limit) = self.quotas[at];
        let urgent = priority < 5 || (priority < 7 && self.rng.u8(..8) > 0);
        let filling = &mut self.filling[at];
        let minute = from.0 / MINUTE;
        if filling.0 < minute {
            *filling = (minute, 0.0, 0.0);
        }
        if !urgent && (filling.1 + tokens > tokens_limit * 0.74 || filling.2 + 1.0 > requests_limit * 0.74) {
            *filling = (filling.0 + 1, 0.0, 0.0);
        }
        if !urgent || filling.0 == minute {
            filling.1 += tokens;
            filling.2 += 1.0;
        }
        if urgent || filling.0 == minute { from } else { Timestamp(filling.0 * MINUTE + self.rng.u64(..MINUTE)) }
    }

    fn called(&mut self, mut row: ReportRow, at: usize) -> ReportRow {
        let model = &MODELS[at];
        let trouble = is_trouble(row.received_at) && at != 2;
        let typical = match row.priority {
            0 => 350.0,
            1..=3 => 900.0,
            4..=6 => 2_500.0,
            7 | 8 => 9_000.0,
            _ => 40_000.0,
        };
        let wait = self.spread(typical, 0.7) * if trouble { 6.0 } else { 1.0 };
        let (input, output) = (self.spread(800.0, 0.6).round(), self.spread(model.output, 0.5).round());
        let cached = row.use_case.as_deref() == Some("reply-draft") && at < 2;
        let quota_tokens = input + output * model.burndown as f64;
        let queued = row.received_at + millis(wait * 0.6);
        let started = self.admitted(at, row.received_at + millis(wait), quota_tokens, row.priority);
        row.queued_at = Some(queued);
        row.first_queued_at = Some(queued);
        if self.rng.u16(..1_000) < 3 {
            row.status = Status::Cancelled;
            return ended(row, queued);
        }
        if row.deadline.is_some_and(|deadline| started > deadline) {
            row.status = Status::Expired;
            row.error_type = Some("DeadlineExpired".to_owned());
            row.deadline_met = Some(false);
            let end = row.deadline.unwrap_or(started);
            return ended(row, end);
        }
        let latency = model.pace.0 + output * model.pace.1 * self.spread(1.0, 0.25) * if trouble { 3.0 } else { 1.0 };
        row.claimed_at = Some(started);
        row.first_started_at = Some(started);
        row.started_at = Some(started);
        row.wait_ms = started.0 - row.received_at.0;
        row.backlog_ms = Some(queued.0 - row.received_at.0);
        row.hold_ms = Some(started.0.saturating_sub(queued.0));
        row.latency_ms = Some(latency as u64);
        row.attempts = 1 + u32::from(self.rng.u8(..100) < 3);
        row.throttles = if trouble { u32::from(self.rng.u8(..100) < 22) } else { u32::from(self.rng.u16(..1_000) < 2) };
        (row.lane_tokens_per_minute, row.lane_requests_per_minute) = (Some(self.quotas[at].0), Some(self.quotas[at].1));
        row.worker = Some(format!("worker-{}", 1 + self.rng.u8(..3)));
        let end = started + millis(latency) + Duration::from_millis(15);
        row.deadline_met = row.deadline.map(|deadline| end <= deadline);
        if self.rng.u16(..1_000) < if trouble { 160 } else { 5 } {
            row.status = Status::Failed;
            let kinds = if trouble {
                ["ServiceUnavailableException", "ModelTimeoutException", "ThrottlingException"]
            } else {
                ["ValidationException", "ModelErrorException", "ModelTimeoutException"]
            };
            row.error_type = Some(kinds[self.rng.usize(..3)].to_owned());
            row.deadline_met = row.deadline.map(|_| false);
            row.quota_tokens = Some(input as u64);
            return ended(row, end);
        }
        let read = if cached { (input * 0.7).round() } else { 0.0 };
        row.input_tokens = Some((input - read) as u64);
        row.output_tokens = Some(output as u64);
        row.cache_read_tokens = Some(read as u64);
        row.cache_write_tokens = Some(if cached && self.rng.u8(..40) == 0 { 2_000 } else { 0 });
        row.quota_tokens = Some((quota_tokens - read) as u64);
        row.cost_usd = model.prices.map(|(i, o)| ((input - read) * i + read * i * 0.1 + output * o) / 1e6);
        row.price_as_of = row.cost_usd.map(|_| "2025-03-01".to_owned());
        row.service_tier = Some("default".to_owned());
        row.result_bytes = Some(400 + output as u64 * 5);
        ended(row, end)
    }
}

impl Iterator for Traffic {
    type Item = ReportRow;

    fn next(&mut self) -> Option<ReportRow> {
        while self.due < 1.0 {
            if self.minute >= self.minutes {
                return None;
            }
            let at = self.since + Duration::from_mins(self.minute);
            let weight = busyness(at) + if is_night(at) { 1.4 } else { 0.0 };
            self.due += weight * self.scale * (0.8 + 0.4 * self.rng.f64());
            self.minute += 1;
        }
        self.due -= 1.0;
        let at = self.since + Duration::from_mins(self.minute - 1) + Duration::from_millis(self.rng.u64(..MINUTE));
        Some(self.row(at))
    }
}

fn ended(row: ReportRow, at: Timestamp) -> ReportRow {
    let wait_ms = if row.started_at.is_some() { row.wait_ms } else { at.0 - row.received_at.0 };
    ReportRow {
        day: at.day(),
        finished_key: format!("{at}#{}", row.request_id),
        finished_at: at,
        total_ms: at.0 - row.received_at.0,
        wait_ms,
        ..row
    }
}

fn class(priority: u8) -> &'static str {
    match priority {
        0 => "urgent",
        1..=3 => "high",
        4..=6 => "normal",
        7 | 8 => "low",
        _ => "bulk",
    }
}

fn millis(ms: f64) -> Duration {
    Duration::from_millis(ms as u64)
}

/// To two digits.
fn round(number: f64) -> f64 {
    let power = 10_f64.powf(number.log10().floor() - 1.0);
    (number / power).round() * power
}
