//! A worker that plans and calls: its requests are put straight into the ledger.

use std::collections::BTreeSet;
use std::time::Duration;

use smoother::config::Config;
use smoother::pipeline::fleet::Role;
use smoother::pipeline::{alerts, call, ingest, plan, spend};
use smoother::retry::Policy;
use smoother::worker::Settings;

/// With so many calls in flight, so many requests waiting in the hold queue, and calls that should take about so long.
pub fn settings(config: &Config, slots: u32, held: usize, call: Duration) -> Settings {
    let seconds = Duration::from_secs;
    Settings {
        worker: "w".to_owned(),
        roles: BTreeSet::from([Role::Plan, Role::Call]),
        input_pollers: 1,
        drain_grace: seconds(25),
        inline_limit: 200_000,
        budgets: spend::Limits::default(),
        until_idle: false,
        alerts: alerts::Settings { threshold: 5, periods: 1, cooldown: seconds(900) },
        frame: alerts::Frame::default(),
        ingest: ingest::Settings {
            region: "us-east-1".to_owned(),
            allowed_source_buckets: Vec::new(),
            limits: config.message_limits(),
            expected_duration: call,
            poll_wait: seconds(20),
            visibility: seconds(60),
        },
        plan: plan::Settings {
            queue_depth_threshold: held,
            window: seconds(300),
            average_duration: call,
            max_concurrent: slots,
            interval: seconds(1),
            overdue_after: seconds(900),
            tenants: plan::allowances(config),
            budgets: spend::Limits::default(),
        },
        call: call::Settings {
            worker: "w".to_owned(),
            queue_depth_threshold: held,
            max_concurrent: slots,
            call_timeout: seconds(900),
            policy: Policy { max_attempts: 4, base: seconds(1), cap: seconds(300) },
            poll_wait: seconds(20),
            visibility: seconds(60),
        },
    }
}
