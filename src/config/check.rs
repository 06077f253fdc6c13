//! What must hold between settings, and what an AWS worker cannot do without.

use super::fault::{Faults, Origin};
use super::settings::{Config, SETTINGS, env_name};
use super::units::show_duration;

/// The resources of a worker on AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsResources {
    /// The queue that producers send to.
    pub input_queue_url: String,
    /// The queue that consumers receive from.
    pub results_queue_url: String,
    /// The queue of the requests that are called next.
    pub hold_queue_url: String,
    /// Its dead-letter queue.
    pub dlq_url: String,
    /// The table of all requests.
    pub requests_table: String,
    /// The table that analysts query.
    pub reporting_table: String,
    /// The bucket of request and result bodies.
    pub bucket: String,
    /// The topic that alerts go to.
    pub alarm_topic_arn: String,
}

impl Config {
    /// The names of the AWS resources, which the embedded mode does without.
    ///
    /// # Errors
    /// Names every one that is not set.
    pub fn require_aws(&self) -> Result<AwsResources, Faults> {
        let mut faults = Faults::default();
        let mut need = |name: &str, value: &Option<String>| {
            if value.is_none() {
                let about = SETTINGS.iter().find(|s| s.name == name).map(super::Setting::about).unwrap_or_default();
                let reason =
                    format!("not set, needed on AWS. {about} Set {} (`smoother init --env` prints it)", env_name(name));
                faults.add(name, None, &Origin::Default, reason);
            }
            value.clone().unwrap_or_default()
        };
        let resources = AwsResources {
            input_queue_url: need("input_queue_url", &self.input_queue_url),
            results_queue_url: need("results_queue_url", &self.results_queue_url),
            hold_queue_url: need("hold_queue_url", &self.hold_queue_url),
            dlq_url: need("dlq_url", &self.dlq_url),
            requests_table: need("requests_table", &self.requests_table),
            reporting_table: need("reporting_table", &self.reporting_table),
            bucket: need("bucket", &self.bucket),
            alarm_topic_arn: need("alarm_topic_arn", &self.alarm_topic_arn),
        };
        if faults.0.is_empty() { Ok(resources) } else { Err(faults) }
    }
}

impl Config {
    /// The name of the reporting table, which is all that reading it needs.
    ///
    /// # Errors
    /// Says that it is not set.
    pub fn require_reporting_table(&self) -> Result<String, Faults> {
        self.reporting_table.clone().ok_or_else(|| {
            let mut faults = self.require_aws().err().unwrap_or_default();
            faults.0.retain(|fault| fault.setting == "reporting_table");
            faults
        })
    }
}

/// Values that are fine by themselves and wrong together.
pub(super) fn contradictions(config: &Config, origin: impl Fn(&str) -> Origin, faults: &mut Faults) {
    let mut clash = |setting: &str, value: String, reason: String| {
        faults.add(setting, Some(value), &origin(setting), reason);
    };

    if config.retry_base > config.retry_cap {
        let cap = show_duration(config.retry_cap);
        clash("retry_base", show_duration(config.retry_base), format!("longer than retry_cap, which is {cap}"));
    }

    let resources = [
        ("input_queue_url", &config.input_queue_url),
        ("results_queue_url", &config.results_queue_url),
        ("hold_queue_url", &config.hold_queue_url),
        ("dlq_url", &config.dlq_url),
        ("requests_table", &config.requests_table),
        ("reporting_table", &config.reporting_table),
    ];
    for (at, (name, value)) in resources.iter().enumerate() {
        let Some(value) = value else { continue };
        if let Some((other, _)) = resources.iter().take(at).find(|(_, v)| v.as_ref() == Some(value)) {
            clash(name, value.clone(), format!("the same as {other}; each needs its own"));
        }
    }

    for (name, use_case) in &config.use_cases {
        let setting = format!("use_cases.{name}.model");
        if use_case.model.is_empty() {
            clash(&setting, "nothing".to_owned(), "expected the model that serves the use case".to_owned());
        } else if !config.allows_model(&use_case.model) {
            let allowed = config.allowed_models.join(", ");
            clash(&setting, use_case.model.clone(), format!("not covered by allowed_models, which is [{allowed}]"));
        }
    }

    for (id, model) in &config.models {
        if model.max_concurrent.is_some_and(|most| most > config.max_concurrent_executions) {
            clash(
                &format!("models.{:?}.max_concurrent", id.as_str()),
                model.max_concurrent.unwrap_or_default().to_string(),
                format!("more than max_concurrent_executions, which is {}", config.max_concurrent_executions),
            );
        }
    }
}
