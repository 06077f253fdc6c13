//! One condition of each kind, for tests and golden files.

use super::conditions::{Condition, Fault, SwitchReason};
use crate::clock::Timestamp;
use crate::ports::alerts::Kind;
use crate::request::{Lane, ModelId, RequestId, Tenant};

/// When they happen.
pub const NOW: Timestamp = Timestamp(1_795_252_123_456);

fn lane(model: &str) -> Lane {
    Lane::new("default", "us-east-1", &ModelId::new(model).unwrap())
}

/// The one of a kind.
pub fn of(kind: Kind) -> Condition {
    let nova = lane("us.amazon.nova-lite-v1:0");
    let request = |id: &str| RequestId::new(id).unwrap();
    let tenant = Tenant::new("acme").unwrap();
    let later = |minutes: u64| Timestamp(NOW.0 + 60_000 * minutes);
    match kind {
        Kind::ErrorRate => Condition::ErrorRate {
            lane: nova,
            error: "ServiceUnavailableException".to_owned(),
            fault: Fault::Bedrock,
            latest: request("order-4711"),
        },
        Kind::Throttled => Condition::Throttled { lane: nova, tokens: true },
        Kind::DeadLetters => Condition::DeadLetters { queue: "smoother-hold-next-batch-dlq".to_owned(), messages: 3 },
        Kind::Poison => Condition::Poison { lane: nova, tenant, latest: request("order-4711"), workers: 3 },
        Kind::DeadlineAtRisk => Condition::DeadlineAtRisk {
            lane: nova,
            tenant,
            requests: 12,
            first: request("order-4711"),
            deadline: later(10),
            start: later(25),
        },
        Kind::Budget => Condition::Budget {
            tenant: Some(tenant),
            period: "day".to_owned(),
            limit_usd: 25.0,
            spent_usd: 24.87,
            until: NOW.next_day(),
        },
        Kind::LanePaused => Condition::LanePaused { lane: nova, account_wide: false, until: later(60) },
        Kind::AccessDenied => Condition::AccessDenied {
            lane: nova,
            model: ModelId::new("us.amazon.nova-lite-v1:0").unwrap(),
            latest: request("order-4711"),
        },
        Kind::NoProgress => Condition::NoProgress {
            waiting: 250,
            held: 66,
            in_flight: 30,
            callers: 2,
            since: Timestamp(NOW.0 - 300_000),
        },
        Kind::WorkerLost => Condition::WorkerLost {
            workers: vec!["worker-17-c0ffee00".to_owned()],
            seen: Timestamp(NOW.0 - 21_000),
            alive: 3,
            before: 4,
        },
        Kind::ModelSwitched => Condition::ModelSwitched {
            from: ModelId::new("us.amazon.nova-pro-v1:0").unwrap(),
            to: ModelId::new("us.amazon.nova-lite-v1:0").unwrap(),
            tenant: Some(tenant),
            use_case: Some("summaries".to_owned()),
            reason: SwitchReason::Budget,
        },
        Kind::Port => Condition::Port {
            group: "sqs receive smoother-input".to_owned(),
            what: "sqs receive from smoother-input".to_owned(),
            why: "AccessDenied: the role may not sqs:ReceiveMessage (HTTP 403)".to_owned(),
            passing: false,
        },
        Kind::ForeignMessage => Condition::ForeignMessage {
            queue: "smoother-hold-next-batch".to_owned(),
            message: "2c1f0b5e-6c5a-4a52-9e7e-6f7b1c0a9d11".to_owned(),
        },
        Kind::Test => Condition::Test,
    }
}

/// All of them, and the variants that say something else.
pub fn all() -> Vec<Condition> {
    let mut all: Vec<Condition> = Kind::ALL.iter().map(|kind| of(*kind)).collect();
    for fault in [Fault::Unanswered, Fault::Request] {
        if let Condition::ErrorRate { lane, error, latest, .. } = of(Kind::ErrorRate) {
            all.push(Condition::ErrorRate { lane, error, latest, fault });
        }
    }
    for reason in [SwitchReason::Unavailable, SwitchReason::Operator] {
        if let Condition::ModelSwitched { from, to, .. } = of(Kind::ModelSwitched) {
            all.push(Condition::ModelSwitched { from, to, tenant: None, use_case: None, reason });
        }
    }
    if let Condition::LanePaused { lane, until, .. } = of(Kind::LanePaused) {
        all.push(Condition::LanePaused { lane, until, account_wide: true });
    }
    if let Condition::Budget { period, limit_usd, spent_usd, until, .. } = of(Kind::Budget) {
        all.push(Condition::Budget { tenant: None, period, limit_usd, spent_usd, until });
    }
    if let Condition::Port { group, what, why, .. } = of(Kind::Port) {
        all.push(Condition::Port { group, what, why, passing: true });
    }
    all
}

/// Where they happen.
pub fn frame() -> super::Frame {
    super::Frame {
        deployment: "Smoother us-east-1".to_owned(),
        region: "us-east-1".to_owned(),
        flags: String::new(),
        dashboard: Some(
            "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#dashboards/dashboard/bedrock-errors"
                .to_owned(),
        ),
        runbook: "https://wiki.example.com/smoother/runbook".to_owned(),
        worker: "worker-7-deadbeef".to_owned(),
    }
}

/// By default.
pub const SETTINGS: super::Settings =
    super::Settings { threshold: 5, periods: 1, cooldown: std::time::Duration::from_mins(15) };

/// As it is first told, after `events` of it.
pub fn told(condition: &Condition, events: u64) -> super::board::Told {
    use super::board::{Board, Report, Sums};
    let sums = Sums { events, calls: events * 5 / 2, ended: events / 3 };
    let told = Board::default().apply(&[Report::Happened(condition.clone(), sums)], NOW, &SETTINGS).pop();
    // What must go on for longer is shown as if it had.
    told.unwrap_or_else(|| {
        let settings = super::Settings { threshold: 1, periods: 1, ..SETTINGS };
        let mut board = Board::default();
        let mut told = Vec::new();
        for minute in 0..4 {
            let now = Timestamp(NOW.0 - 60_000 * (3 - minute));
            told.extend(board.apply(&[Report::Happened(condition.clone(), sums)], now, &settings));
        }
        told.pop().unwrap()
    })
}

/// The alert of a kind, as it is first told.
pub fn alert(kind: Kind) -> crate::ports::Alert {
    let events = if matches!(kind, Kind::ErrorRate | Kind::Throttled) { 12 } else { 1 };
    frame().alert(&told(&of(kind), events), NOW, &SETTINGS)
}
