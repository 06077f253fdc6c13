//! `smoother run`: the long-running worker.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use tokio::net::TcpListener;

use crate::config::Config;
use crate::health;
use crate::models::Catalog;
use crate::pipeline::fleet::Role;
use crate::pipeline::{alerts, call, ingest, plan, spend};
use crate::retry::Policy;
use crate::shutdown::Stop;
use crate::telemetry;
use crate::worker::{Settings, Worker};

use super::place::{Place, PlaceArgs, quotas, traces, usage_feed};
use super::{Done, Error};

/// Held requests are looked after when they are older than this and than two processing windows.
const OVERDUE_AT_LEAST: Duration = Duration::from_mins(10);

#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    place: PlaceArgs,
    /// Calls models here instead of Bedrock, such as a simulator
    #[arg(long, value_name = "URL")]
    bedrock_endpoint: Option<String>,
    /// What to do, for scaling apart
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [RoleArg::Ingest, RoleArg::Plan, RoleArg::Call], env = "SMOOTHER_ROLE")]
    role: Vec<RoleArg>,
    /// End when nothing is left to do
    #[arg(long)]
    until_idle: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RoleArg {
    /// Drain the input queue
    Ingest,
    /// Fill the hold queue
    Plan,
    /// Call Bedrock
    Call,
}

pub async fn run(args: Args) -> Done {
    let mut place = args.place.open().await?;
    if args.bedrock_endpoint.is_some() {
        place.config.bedrock_endpoint = args.bedrock_endpoint;
    }
    let roles = args.role.iter().map(|role| match role {
        RoleArg::Ingest => Role::Ingest,
        RoleArg::Plan => Role::Plan,
        RoleArg::Call => Role::Call,
    });
    let settings = worker_settings(&place, roles.collect(), args.until_idle);
    telemetry::logs::set_worker(&settings.worker);
    let checks = match &place.config.health_listen {
        Some(addr) => {
            let bound = TcpListener::bind(addr).await;
            Some(bound.map_err(Error::io(format!("listen on {addr}, as the setting health_listen says")))?)
        }
        None => None,
    };
    let model = place.model().await?;
    let catalog = Arc::new(Catalog::new(&place.config));
    tracing::info!(
        roles = ?settings.roles,
        place = place.dir.as_ref().map_or_else(|| place.config.aws_region.clone(), |dir| dir.display().to_string()),
        bedrock = place.config.bedrock_endpoint.as_deref().unwrap_or("Amazon Bedrock"),
        input = place.ports.input.name(),
        version = env!("CARGO_PKG_VERSION"),
        "smoother works"
    );
    let traces = traces(&place.config, &settings.worker);
    let (quotas, usage_feed) = (quotas(&place.config).await?, usage_feed(&place.config).await?);
    let worker = Worker::new(place.ports.clone(), model, catalog, place.clock.clone(), settings)
        .with_quotas(quotas)
        .with_usage_feed(usage_feed)
        .with_traces(traces, place.config.trace_sample_ratio);
    let (tally, health, observer) = (worker.tally(), worker.health(), worker.observer());
    let answer_checks = async {
        match checks {
            Some(listener) => health::server::serve(listener, health, Arc::new(move || observer.exposition())).await,
            None => std::future::pending().await,
        }
    };
    let stop = Stop::default();
    let signals = stop.clone();
    tokio::select! {
        () = worker.run(stop) => {}
        failed = listen(signals) => return Err(failed),
        () = answer_checks => {}
    }
    let totals = tally.totals();
    tracing::info!(
        admitted = totals.admitted,
        finished = ?totals.finished,
        bedrock_calls = totals.calls,
        throttled_calls = totals.throttled,
        "smoother stopped in order"
    );
    Ok(ExitCode::SUCCESS)
}

/// Ends only with an error.
async fn listen(stop: Stop) -> Error {
    match stop.on_signals().await {
        Ok(()) => std::future::pending().await,
        Err(why) => Error::io("listen for signals")(why),
    }
}

/// When on-call is told, from the configuration.
pub fn alert_settings(config: &Config) -> alerts::Settings {
    alerts::Settings {
        threshold: u64::from(config.alarm_threshold),
        periods: config.alarm_evaluation_periods,
        cooldown: config.alert_cooldown,
    }
}

/// A worker's settings from the configuration.
pub fn worker_settings(place: &Place, roles: BTreeSet<Role>, until_idle: bool) -> Settings {
    let config = &place.config;
    let worker =
        config.worker_id.clone().unwrap_or_else(|| format!("worker-{}-{:08x}", std::process::id(), fastrand::u32(..)));
    let window = config.processing_window();
    let depth = config.queue_depth_threshold as usize;
    Settings {
        worker: worker.clone(),
        roles,
        input_pollers: config.input_pollers as usize,
        drain_grace: config.drain_grace,
        inline_limit: usize::try_from(config.inline_result_limit).unwrap_or(usize::MAX),
        until_idle,
        budgets: spend::Limits::of(config),
        alerts: alert_settings(config),
        frame: alerts::Frame::new(config, place.dir.as_deref(), &worker),
        ingest: ingest::Settings {
            region: config.aws_region.clone(),
            allowed_source_buckets: config.allowed_source_buckets.clone(),
            limits: config.message_limits(),
            expected_duration: config.average_request_duration,
            poll_wait: place.poll_wait(),
            visibility: config.input_visibility,
        },
        plan: plan::Settings {
            queue_depth_threshold: depth,
            window,
            average_duration: config.average_request_duration,
            max_concurrent: config.max_concurrent_executions,
            interval: config.plan_interval,
            overdue_after: (2 * window).max(OVERDUE_AT_LEAST),
            tenants: plan::allowances(config),
            budgets: spend::Limits::of(config),
        },
        call: call::Settings {
            worker,
            queue_depth_threshold: depth,
            max_concurrent: config.max_concurrent_executions,
            call_timeout: config.call_timeout,
            policy: Policy { max_attempts: config.max_attempts, base: config.retry_base, cap: config.retry_cap },
            poll_wait: place.poll_wait(),
            visibility: config.hold_visibility,
        },
    }
}
