//! The configuration: defaults, then a TOML file or its text in `SMOOTHER_SETTINGS`, then the environment, then flags.
//!
//! Whatever is wrong is reported at once, each fault with the setting, the value, where it was written and
//! what is expected. All settings are listed in `config/settings.rs`, for people in `docs/configuration.md`.

mod budgets;
mod check;
mod fault;
mod layers;
mod render;
mod settings;
mod units;
mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

pub use self::budgets::BudgetPolicy;
pub use self::check::AwsResources;
pub use self::fault::{Fault, Faults, Origin};
use self::layers::Layers;
pub use self::render::document;
pub use self::settings::{Config, ModelSettings, TenantSettings, UseCase};
use self::settings::{SETTINGS, Setting, env_name};
pub(crate) use self::units::duration as parse_duration;
pub use self::value::Secret;
use self::value::{Raw, Value};
use crate::models::quota_id;
use crate::request::Tenant;
use crate::request::message::Limits;

/// Where a configuration is read from, weakest first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A TOML file; it must exist when it is named.
    pub file: Option<PathBuf>,
    /// Environment variables; those that are no settings are passed over. `SMOOTHER_SETTINGS` holds the text of a file.
    pub env: BTreeMap<String, String>,
    /// Settings and values from the command line, such as `("max_attempts", "3")` or
    /// `("models.\"amazon.nova-lite-v1:0\".tokens_per_minute", "100000")`; the last of a name counts.
    pub overrides: Vec<(String, String)>,
}

impl Sources {
    /// The environment of this process, and what its command line says.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, overrides: Vec<(String, String)>) -> Self {
        let env =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self { file, env: env.collect(), overrides }
    }
}

/// A configuration that holds together, and where each of its values came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What counts.
    pub config: Config,
    /// What is odd but no fault, for the log: a `SMOOTHER_` variable that is no setting, a cost that no budget can count.
    pub warnings: Vec<String>,
    effective: BTreeMap<String, Effective>,
}

/// A value that counts.
#[derive(Clone, Debug)]
struct Effective {
    value: Value,
    origin: Origin,
}

impl Loaded {
    /// Where the value of a setting came from; `None` when it has none.
    #[must_use]
    pub fn origin(&self, setting: &str) -> Option<&Origin> {
        self.effective.get(setting).map(|e| &e.origin)
    }
}

impl Config {
    /// Reads all sources.
    ///
    /// # Errors
    /// Every fault of every source, and every contradiction between values that are fine by themselves.
    pub fn load(sources: &Sources) -> Result<Loaded, Faults> {
        let mut layers = Layers::defaults();
        layers.written(sources.file.as_deref(), &sources.env);
        layers.env(&sources.env);
        layers.flags(&sources.overrides);
        layers.finish()
    }

    /// How much work the hold queue may hold for a lane: [`Config::minutes_to_process`].
    #[must_use]
    pub fn processing_window(&self) -> Duration {
        Duration::from_mins(u64::from(self.minutes_to_process))
    }

    /// Whether Service Quotas is asked for the quotas that are not configured.
    #[must_use]
    pub fn asks_service_quotas(&self) -> bool {
        self.quota_source == "service-quotas"
    }

    /// What is set of a tenant, or the defaults.
    #[must_use]
    pub fn tenant(&self, tenant: &Tenant) -> TenantSettings {
        self.tenants.get(tenant).cloned().unwrap_or_default()
    }

    /// What [`crate::request::message::decode`] needs of it.
    #[must_use]
    pub fn message_limits(&self) -> Limits {
        Limits { message_bytes: self.max_message_size }
    }

    /// Whether `allowed_models` has the model, by what was asked for or, for an ARN, by the id in it.
    #[must_use]
    pub fn allows_model(&self, model: &str) -> bool {
        let id = quota_id(model);
        self.allowed_models.iter().any(|pattern| glob(pattern, model) || glob(pattern, id))
    }
}

impl Default for Config {
    /// What an empty configuration gives.
    fn default() -> Self {
        with_defaults(Self::blank(), SETTINGS)
    }
}

fn with_defaults<Owner>(mut owner: Owner, settings: &[Setting<Owner>]) -> Owner {
    for setting in settings {
        if let Some(value) = default_of(setting) {
            (setting.put)(&mut owner, value);
        }
    }
    owner
}

fn default_of<Owner>(setting: &Setting<Owner>) -> Option<Value> {
    setting.kind.read(&Raw::Loose(setting.default?.to_owned()))
}

/// Whether a setting's value is not to be shown.
pub(crate) fn is_secret(setting: &str) -> bool {
    SETTINGS.iter().any(|known| known.name == setting && known.secret)
}

/// A setting that is no table, for deployments: as JSON these names are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlainSetting {
    /// Its name.
    pub name: &'static str,
    /// Its environment variable.
    pub environment: String,
    /// As it would be written; `None` when it is not set by default.
    pub default: Option<&'static str>,
}

/// All of them.
pub fn plain_settings() -> impl Iterator<Item = PlainSetting> {
    SETTINGS.iter().map(|setting| PlainSetting {
        name: setting.name,
        environment: env_name(setting.name),
        default: setting.default,
    })
}

/// Whether a pattern, in which `*` stands for any characters, covers the whole text.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(head) else { return false };
    let Some((middle, last)) = tail.rsplit_once('*') else { return rest.ends_with(tail) };
    for part in middle.split('*') {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests;
