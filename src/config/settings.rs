//! Every setting there is, once: name, type, range, default and meaning. Loading, printing and the
//! documentation all come from these lists.

use std::collections::BTreeMap;
use std::time::Duration;

use super::budgets::BudgetPolicy;
use super::value::{Field, Form, Kind, Secret, Value};
use crate::request::{ModelId, Tenant};

/// A setting of `Owner`: the whole configuration, or one model's part of it.
pub(super) struct Setting<Owner> {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// As it would be written; without one the setting is optional.
    pub(super) default: Option<&'static str>,
    /// What it is for, for people.
    pub(super) doc: &'static [&'static str],
    /// Never shown, neither by `check-config` nor in faults.
    pub(super) secret: bool,
    pub(super) put: fn(&mut Owner, Value),
}

macro_rules! default {
    () => {
        None
    };
    ($default:literal) => {
        Some($default)
    };
}

macro_rules! secret {
    () => {
        false
    };
    (secret) => {
        true
    };
}

macro_rules! settings {
    (
        $(#[$about:meta])*
        struct $owner:ident in $list:ident {
            $( $(#[doc = $doc:literal])+ $name:ident: $type:ty = $kind:expr $(=> $default:literal)? $(, $secret:ident)?; )+
        }
        besides { $( $(#[$more:meta])* $extra:ident: $extra_type:ty; )* }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $owner {
            $( $(#[doc = $doc])+ pub $name: $type, )+
            $( $(#[$more])* pub $extra: $extra_type, )*
        }

        impl $owner {
            /// With nothing set, not even the defaults.
            pub(super) fn blank() -> Self {
                Self { $( $name: <$type>::default(), )+ $( $extra: <$extra_type>::default(), )* }
            }
        }

        pub(super) static $list: &[Setting<$owner>] = &[
            $( Setting {
                name: stringify!($name),
                kind: $kind,
                default: default!($($default)?),
                doc: &[$($doc),+],
                secret: secret!($($secret)?),
                put: |owner, value| owner.$name.put(value),
            }, )+
        ];
    };
}

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const MOST: u64 = u32::MAX as u64;
/// Budgets are counted in billionths of a dollar, which this leaves room for.
const MOST_USD: f64 = 1e9;

settings! {
    /// The effective configuration of a process.
    struct Config in SETTINGS {
        /// The AWS Region of everything. `AWS_REGION` and `AWS_DEFAULT_REGION` count when it is not set.
        aws_region: String = Kind::Text(Form::Region) => "us-east-1";
        /// Who receives the alarms. The deployments require it; the worker does not.
        notification_email: Option<String> = Kind::Text(Form::Email);
        /// How long a model call is expected to take before any was measured.
        average_request_duration: Duration = Kind::Span(1, HOUR) => "5s";
        /// How many minutes of work the hold queue may hold for a lane.
        minutes_to_process: u32 = Kind::Whole(1, 1440) => "5";
        /// How many model calls the whole fleet may have in flight.
        max_concurrent_executions: u32 = Kind::Whole(1, 100_000) => "30";
        /// How many errors in a period raise an alarm.
        alarm_threshold: u32 = Kind::Whole(1, MOST) => "5";
        /// For how many periods they must.
        alarm_evaluation_periods: u32 = Kind::Whole(1, 100) => "1";
        /// For how long on-call is not told again of the same condition; what happens meanwhile is counted and summed up.
        alert_cooldown: Duration = Kind::Span(SECOND, 7 * 24 * HOUR) => "15m";
        /// Where alerts are also posted as JSON, with a field `text` as Slack and Teams read it; nowhere when not set. Secret, since
        /// such a URL is all that somebody needs to post there.
        alert_webhook_url: Option<Secret> = Kind::Text(Form::Url), secret;
        /// Where alerts say that the runbook is: the URL of your copy of `docs/runbook.md`.
        alert_runbook_url: Option<String> = Kind::Text(Form::Url);
        /// The name of the CloudWatch dashboard.
        dashboard_name: String = Kind::Text(Form::Name) => "bedrock-errors";
        /// The CloudWatch namespace of all metrics. Deployments of one account and Region are told apart by it.
        metrics_namespace: String = Kind::Text(Form::Namespace) => "Smoother";
        /// How many messages the hold queue may hold.
        queue_depth_threshold: u32 = Kind::Whole(1, 100_000) => "100";

        /// The queue that producers send to.
        input_queue_url: Option<String> = Kind::Text(Form::Url);
        /// The queue that consumers receive results from.
        results_queue_url: Option<String> = Kind::Text(Form::Url);
        /// The queue of the requests that are called next.
        hold_queue_url: Option<String> = Kind::Text(Form::Url);
        /// The dead-letter queue of the hold queue.
        dlq_url: Option<String> = Kind::Text(Form::Url);
        /// The DynamoDB table of all requests.
        requests_table: Option<String> = Kind::Text(Form::Table);
        /// The DynamoDB table that analysts query.
        reporting_table: Option<String> = Kind::Text(Form::Table);
        /// The S3 bucket of request and result bodies.
        bucket: Option<String> = Kind::Text(Form::Bucket);
        /// The SNS topic that alerts go to.
        alarm_topic_arn: Option<String> = Kind::Text(Form::TopicArn);
        /// Calls models here instead of Bedrock: a simulator, a VPC endpoint.
        bedrock_endpoint: Option<String> = Kind::Text(Form::Url);

        /// Buckets that messages may point to with an S3 pointer. None when empty.
        allowed_source_buckets: Vec<String> = Kind::List(Form::Bucket) => "";
        /// Models that may be asked for; `*` stands for any characters.
        allowed_models: Vec<String> = Kind::List(Form::ModelPattern) => "*";
        /// Where quotas come from that are not under `[models]`: `service-quotas`, or `settings` for nowhere else.
        quota_source: String = Kind::Text(Form::QuotaSource) => "service-quotas";
        /// The quota assumed of a model that has none anywhere: requests a minute.
        max_requests_per_minute_default: u32 = Kind::Whole(1, MOST) => "60";
        /// The quota assumed of a model that has none anywhere: tokens a minute.
        max_tokens_per_minute_default: u64 = Kind::Whole(1, MOST) => "100000";
        /// Measures what others on the account use of the models' quotas and leaves it to them. CloudWatch is asked for one
        /// metric per model and minute, by one worker of the fleet: $0.01 per 1,000, some $0.43 a month per model. Needs the IAM
        /// action `cloudwatch:GetMetricData`.
        usage_feed: bool = Kind::Flag => "false";

        /// How much all tenants together may spend in a UTC day, in dollars.
        usd_per_day: Option<f64> = Kind::Number(0.01, MOST_USD);
        /// How much all tenants together may spend in a UTC month, in dollars.
        usd_per_month: Option<f64> = Kind::Number(0.01, MOST_USD);
        /// What becomes of requests that a budget has no room for: `delay` lets them wait until it renews, `reject` ends them
        /// with the error `BudgetExceeded`, `downgrade` sends them to the cheaper model (`downgrade_to`) before that, from
        /// `budget_downgrade_from` on, and lets them wait once all is spent.
        budget_policy: BudgetPolicy = Kind::Text(Form::BudgetPolicy) => "delay";
        /// The share of a budget from which on the policy `downgrade` sends requests to the cheaper model.
        budget_downgrade_from: f64 = Kind::Number(0.0, 1.0) => "0.8";

        /// A model call without an answer is given up after this.
        call_timeout: Duration = Kind::Span(SECOND, 2 * HOUR) => "15m";
        /// How many calls a request gets; throttled ones do not count.
        max_attempts: u32 = Kind::Whole(1, 100) => "6";
        /// The wait before the first retry; it doubles with each.
        retry_base: Duration = Kind::Span(1, HOUR) => "1s";
        /// No wait between retries is longer.
        retry_cap: Duration = Kind::Span(1, 12 * HOUR) => "5m";

        /// The largest message, also by pointer.
        max_message_size: u64 = Kind::Size(1000, 25_000_000) => "25MB";
        /// A larger result goes to the bucket, and the results message says where.
        inline_result_limit: u64 = Kind::Size(0, 240_000) => "200KB";
        /// Threads of receiving on the input queue.
        input_pollers: u32 = Kind::Whole(1, 64) => "2";
        /// How long a received input message stays invisible to other workers.
        input_visibility: Duration = Kind::Span(SECOND, 12 * HOUR) => "60s";
        /// How long a received hold message stays invisible; renewed while it is worked on.
        hold_visibility: Duration = Kind::Span(SECOND, 12 * HOUR) => "60s";
        /// How often the hold queue is topped up.
        plan_interval: Duration = Kind::Span(10, 10 * MINUTE) => "1s";
        /// Where the worker answers `GET /live`, `GET /ready` and `GET /metrics` (for Prometheus) over HTTP, without
        /// authentication; nowhere when not set. `smoother health` asks it.
        health_listen: Option<String> = Kind::Text(Form::Listen);
        /// Where traces go: the base URL of an OpenTelemetry collector that takes OTLP over HTTP (`/v1/traces` is added). Without
        /// one nothing is traced. `OTEL_EXPORTER_OTLP_ENDPOINT` counts when it is not set.
        otlp_endpoint: Option<String> = Kind::Text(Form::Url);
        /// HTTP headers for the collector, such as `authorization=Bearer%20TOKEN`. Never shown. `OTEL_EXPORTER_OTLP_HEADERS` counts
        /// when it is not set.
        otlp_headers: Option<Secret> = Kind::Text(Form::Headers), secret;
        /// How many of the traces that begin here are recorded, from none (0) to all (1). A producer that sends a `traceparent`
        /// decides for its own.
        trace_sample_ratio: f64 = Kind::Number(0.0, 1.0) => "1";
        /// How long a stopping worker waits for its calls in flight.
        drain_grace: Duration = Kind::Span(0, 2 * HOUR) => "25s";
        /// Partitions of the backlog's index. Fixed once there are requests.
        index_shards: u32 = Kind::Whole(1, 256) => "4";
        /// How many days finished requests and their bodies are kept.
        retention_days: u32 = Kind::Whole(1, 3650) => "30";
        /// How many days the reporting table keeps a row. Exports keep theirs.
        report_retention_days: u32 = Kind::Whole(1, 3650) => "400";
        /// The name of this worker in leases, heartbeats and logs. Random when not set.
        worker_id: Option<String> = Kind::Text(Form::Name);
    }
    besides {
        /// What is known of models, by id; adds to the built-in catalogue and overrides it.
        models: BTreeMap<ModelId, ModelSettings>;
        /// Use cases by name.
        use_cases: BTreeMap<String, UseCase>;
        /// What is set of tenants, by name; the others have the defaults.
        tenants: BTreeMap<Tenant, TenantSettings>;
    }
}

settings! {
    /// `[models."<model id>"]`: overrides of one model, profile or ARN. What is not set comes from Service Quotas and the catalogue.
    struct ModelSettings in MODEL_SETTINGS {
        /// The requests-per-minute quota. Not enforced for every model.
        requests_per_minute: Option<f64> = Kind::Number(0.01, f64::MAX);
        /// The tokens-per-minute quota.
        tokens_per_minute: Option<f64> = Kind::Number(1.0, f64::MAX);
        /// The tokens-per-day quota.
        tokens_per_day: Option<f64> = Kind::Number(1.0, f64::MAX);
        /// How many tokens of quota an output token costs.
        burndown: Option<f64> = Kind::Number(1.0, 1000.0);
        /// What Bedrock reserves for the output when a request sets no limit.
        max_output_tokens: Option<u64> = Kind::Whole(1, i32::MAX as u64);
        /// How many calls of this model the fleet may have in flight.
        max_concurrent: Option<u32> = Kind::Whole(1, 100_000);
        /// Dollars per million input tokens.
        input_usd_per_mtok: Option<f64> = Kind::Number(0.0, f64::MAX);
        /// Dollars per million output tokens.
        output_usd_per_mtok: Option<f64> = Kind::Number(0.0, f64::MAX);
        /// Dollars per million tokens read from the prompt cache.
        cache_read_usd_per_mtok: Option<f64> = Kind::Number(0.0, f64::MAX);
        /// Dollars per million tokens written to the prompt cache.
        cache_write_usd_per_mtok: Option<f64> = Kind::Number(0.0, f64::MAX);
        /// What the service tier `flex` costs, as a multiple of the standard prices.
        flex_price_factor: Option<f64> = Kind::Number(0.0, 100.0);
        /// What the service tier `priority` costs, as a multiple of the standard prices.
        priority_price_factor: Option<f64> = Kind::Number(0.0, 100.0);
        /// The cheaper model that stands in under the budget policy `downgrade`: cheaper by input and output, and both prices known.
        /// Only Converse requests are sent there; a native body fits no other model.
        downgrade_to: Option<String> = Kind::Text(Form::Model);
    }
    besides {}
}

settings! {
    /// `[use_cases.<name>]`: what producers may ask for instead of a model.
    struct UseCase in USE_CASE_SETTINGS {
        /// The model that serves it. Required.
        model: String = Kind::Text(Form::Model);
        /// The cheaper model that stands in under the budget policy `downgrade`; counts before the model's own.
        downgrade_to: Option<String> = Kind::Text(Form::Model);
    }
    besides {}
}

settings! {
    /// `[tenants.<name>]`: a tenant's part of the lanes, its limits and its budgets.
    struct TenantSettings in TENANT_SETTINGS {
        /// Its part of a lane, relative to the other tenants that have work there; 1 when not set.
        weight: f64 = Kind::Number(0.01, 1000.0) => "1";
        /// How many of its calls the fleet may have in flight.
        max_in_flight: Option<u32> = Kind::Whole(1, 100_000);
        /// How many of its calls may start in a minute.
        requests_per_minute: Option<f64> = Kind::Number(0.01, f64::MAX);
        /// How much it may spend in a UTC day, in dollars.
        usd_per_day: Option<f64> = Kind::Number(0.01, MOST_USD);
        /// How much it may spend in a UTC month, in dollars.
        usd_per_month: Option<f64> = Kind::Number(0.01, MOST_USD);
        /// What becomes of its requests that its budgets have no room for; the `budget_policy` of all when not set.
        budget_policy: Option<BudgetPolicy> = Kind::Text(Form::BudgetPolicy);
    }
    besides {}
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self::blank()
    }
}

impl Default for TenantSettings {
    fn default() -> Self {
        super::with_defaults(Self::blank(), TENANT_SETTINGS)
    }
}

impl<Owner> Setting<Owner> {
    /// Its doc comment as one line.
    pub(super) fn about(&self) -> String {
        self.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    /// A value of it as people may see it.
    pub(super) fn shown(&self, value: &impl std::fmt::Display) -> String {
        if self.secret { "(hidden)".to_owned() } else { value.to_string() }
    }
}

/// The environment variable of a setting.
pub(super) fn env_name(setting: &str) -> String {
    format!("SMOOTHER_{}", setting.to_uppercase())
}
