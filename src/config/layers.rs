//! Laying the sources over one another, collecting faults on the way.

use std::collections::BTreeMap;
use std::path::Path;

use super::fault::{Faults, Origin};
use super::settings::{
    Config, MODEL_SETTINGS, SETTINGS, Setting, TENANT_SETTINGS, USE_CASE_SETTINGS, UseCase, env_name,
};
use super::value::{Raw, Value};
use super::{Effective, Loaded, budgets, check, default_of};
use crate::nearest::nearest;
use crate::request::{ModelId, Tenant, is_name};

/// The settings that are tables of tables.
const TABLES: [&str; 3] = ["models", "use_cases", "tenants"];
/// `SMOOTHER_` variables that belong to the command line itself.
const OF_THE_CLI: [&str; 5] =
    ["SMOOTHER_CONFIG", "SMOOTHER_LOCAL", "SMOOTHER_LOG", "SMOOTHER_OPERATOR", "SMOOTHER_ROLE"];
/// OpenTelemetry's variables, and the settings that they count for.
const OF_OPENTELEMETRY: [(&str, &str); 2] =
    [("OTEL_EXPORTER_OTLP_ENDPOINT", "otlp_endpoint"), ("OTEL_EXPORTER_OTLP_HEADERS", "otlp_headers")];
/// Holds what a file would, for containers that cannot have one.
const SETTINGS_TEXT: &str = "SMOOTHER_SETTINGS";

pub(super) struct Layers {
    config: Config,
    effective: BTreeMap<String, Effective>,
    warnings: Vec<String>,
    faults: Faults,
}

impl Layers {
    /// The weakest layer.
    pub(super) fn defaults() -> Self {
        let mut effective = BTreeMap::new();
        for setting in SETTINGS {
            if let Some(value) = default_of(setting) {
                effective.insert(setting.name.to_owned(), Effective { value, origin: Origin::Default });
            }
        }
        Self { config: Config::default(), effective, warnings: Vec::new(), faults: Faults::default() }
    }

    /// A TOML file, or its text in the environment; not both, since neither would be the stronger one.
    pub(super) fn written(&mut self, file: Option<&Path>, env: &BTreeMap<String, String>) {
        let text = given(env, SETTINGS_TEXT);
        if let Some(path) = file {
            let origin = Origin::File(path.to_owned());
            match std::fs::read_to_string(path) {
                Ok(text) => self.toml("configuration file", &text, &origin),
                Err(e) => self.faults.add("configuration file", None, &origin, format!("cannot be read: {e}")),
            }
        }
        if let Some(text) = text {
            let origin = Origin::Env(SETTINGS_TEXT.to_owned());
            self.toml("settings text", text, &origin);
            if let Some(path) = file {
                let reason = format!("set although there is a settings file, {}; unset one of them", path.display());
                self.faults.add("settings text", None, &origin, reason);
            }
        }
    }

    fn toml(&mut self, what: &str, text: &str, origin: &Origin) {
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(e) => {
                let line = e.span().and_then(|span| text.get(..span.start)).map_or(1, |t| t.split('\n').count());
                let why = e.message().replace('\n', ", ");
                return self.faults.add(what, None, origin, format!("line {line} is no TOML: {why}"));
            }
        };
        for (name, value) in table {
            match (TABLES.contains(&name.as_str()), value) {
                (true, toml::Value::Table(entries)) => {
                    for (key, entry) in entries {
                        self.entry(&name, &key, entry, origin);
                    }
                }
                (true, other) => {
                    let value = Some(Raw::Toml(other).to_string());
                    self.faults.add(&name, value, origin, format!("expected tables: [{name}.\"…\"]"));
                }
                (false, value) => self.set(&name, &Raw::Toml(value), origin),
            }
        }
    }

    /// Environment variables.
    pub(super) fn env(&mut self, env: &BTreeMap<String, String>) {
        // Weaker than our own variable, the SDK's usual two say the Region; the first of them counts, as in the SDK.
        if let Some((name, region)) =
            ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|n| Some((n, given(env, n)?)))
            && self.effective.get("aws_region").is_none_or(|region| region.origin == Origin::Default)
        {
            self.set("aws_region", &Raw::Loose(region.clone()), &Origin::Env((*name).to_owned()));
        }
        for (name, setting) in OF_OPENTELEMETRY {
            self.borrowed(env, name, setting);
        }
        for (name, value) in env.iter().filter(|(name, _)| name.starts_with("SMOOTHER_")) {
            if let Some(setting) = SETTINGS.iter().find(|setting| env_name(setting.name) == **name) {
                if given(env, name).is_some() {
                    self.set(setting.name, &Raw::Loose(value.clone()), &Origin::Env(name.clone()));
                }
            } else if name != SETTINGS_TEXT && !OF_THE_CLI.contains(&name.as_str()) {
                self.stray_variable(name);
            }
        }
    }

    /// A variable that others read too, for a setting that is not set otherwise. What does not fit may suit them: it is no fault.
    fn borrowed(&mut self, env: &BTreeMap<String, String>, name: &str, setting: &str) {
        let Some(value) = given(env, name).filter(|_| !self.effective.contains_key(setting)) else { return };
        let raw = Raw::Loose(value.clone());
        let speaks_grpc = given(env, "OTEL_EXPORTER_OTLP_PROTOCOL").is_some_and(|protocol| protocol == "grpc");
        if speaks_grpc {
            let why = format!(
                "{name} is ignored, since OTEL_EXPORTER_OTLP_PROTOCOL is grpc and smoother speaks OTLP over HTTP"
            );
            self.warnings.push(format!("{why}; to trace, set {}", env_name("otlp_endpoint")));
        } else if find(SETTINGS, setting).is_some_and(|setting| setting.kind.read(&raw).is_some()) {
            self.set(setting, &raw, &Origin::Env(name.to_owned()));
        } else {
            self.warnings.push(format!("{name} is ignored: it does not fit {setting}"));
        }
    }

    /// A near miss is taken for a typo. Anything else may be somebody else's: Kubernetes, say, sets `SMOOTHER_PORT` for a service of this name.
    fn stray_variable(&mut self, name: &str) {
        let meant = name.strip_prefix("SMOOTHER_").unwrap_or_default().to_lowercase();
        match nearest(&meant, SETTINGS.iter().map(|setting| setting.name)) {
            Some(known) => {
                let reason = format!("unknown setting; did you mean {}?", env_name(known));
                self.faults.add(&meant, None, &Origin::Env(name.to_owned()), reason);
            }
            None => self.warnings.push(format!("{name} is no setting and is ignored")),
        }
    }

    /// Names and values from the command line.
    pub(super) fn flags(&mut self, overrides: &[(String, String)]) {
        for (name, value) in overrides {
            let raw = Raw::Loose(value.clone());
            let nested = name.split_once('.').and_then(|(table, rest)| Some((table, rest.rsplit_once('.')?)));
            match nested {
                Some((table, (key, field))) if TABLES.contains(&table) => {
                    self.nested(table, key.trim_matches(['"', '\'']), field, &raw, &Origin::Flag);
                }
                _ => self.set(name, &raw, &Origin::Flag),
            }
        }
    }

    /// What is left when all layers are laid.
    pub(super) fn finish(mut self) -> Result<Loaded, Faults> {
        let effective = self.effective;
        let origin = |setting: &str| effective.get(setting).map_or(Origin::Default, |e| e.origin.clone());
        check::contradictions(&self.config, origin, &mut self.faults);
        budgets::check(&self.config, origin, &mut self.faults);
        self.warnings.extend(budgets::warnings(&self.config));
        if self.faults.0.is_empty() {
            Ok(Loaded { config: self.config, warnings: self.warnings, effective })
        } else {
            Err(self.faults)
        }
    }

    fn set(&mut self, name: &str, raw: &Raw, origin: &Origin) {
        let fitted = match find(SETTINGS, name) {
            Some(setting) => fit(setting, raw, &mut self.config),
            None => Err(unknown(name, SETTINGS.iter().map(|s| s.name).chain(TABLES))),
        };
        self.record(name, origin, fitted);
    }

    /// One table below `[models]`, `[use_cases]` or `[tenants]`.
    fn entry(&mut self, table: &str, key: &str, entry: toml::Value, origin: &Origin) {
        let toml::Value::Table(fields) = entry else {
            let value = Some(Raw::Toml(entry).to_string());
            return self.faults.add(&format!("{table}.{key:?}"), value, origin, "expected a table of settings");
        };
        // Also without a field: a model may be declared, and a use case without a model is missed by name.
        match (table, ModelId::new(key)) {
            ("models", Ok(id)) => _ = self.config.models.entry(id).or_default(),
            ("use_cases", _) if is_name(key) => {
                self.config.use_cases.entry(key.to_owned()).or_insert_with(UseCase::blank);
            }
            ("tenants", _) if let Ok(tenant) = Tenant::new(key) => _ = self.config.tenants.entry(tenant).or_default(),
            _ if fields.is_empty() => self.nested(table, key, "", &Raw::Loose(String::new()), origin),
            _ => {}
        }
        for (field, value) in fields {
            self.nested(table, key, &field, &Raw::Toml(value), origin);
        }
    }

    fn nested(&mut self, table: &str, key: &str, field: &str, raw: &Raw, origin: &Origin) {
        let (path, fitted) = if table == "tenants" {
            let fitted = match (Tenant::new(key), find(TENANT_SETTINGS, field)) {
                (Ok(tenant), Some(setting)) => fit(setting, raw, self.config.tenants.entry(tenant).or_default()),
                (Err(expected), _) => Err(Unfit { value: None, reason: format!("no name of a tenant; {expected}") }),
                (_, None) => Err(unknown(field, TENANT_SETTINGS.iter().map(|s| s.name))),
            };
            (format!("tenants.{key}.{field}"), fitted)
        } else if table == "models" {
            let fitted = match (ModelId::new(key), find(MODEL_SETTINGS, field)) {
                (Ok(id), Some(setting)) => fit(setting, raw, self.config.models.entry(id).or_default()),
                (Err(expected), _) => Err(Unfit { value: None, reason: format!("no model id; {expected}") }),
                (_, None) => Err(unknown(field, MODEL_SETTINGS.iter().map(|s| s.name))),
            };
            (format!("models.{key:?}.{field}"), fitted)
        } else {
            let fitted = match (is_name(key), find(USE_CASE_SETTINGS, field)) {
                (true, Some(setting)) => {
                    fit(setting, raw, self.config.use_cases.entry(key.to_owned()).or_insert_with(UseCase::blank))
                }
                (false, _) => Err(Unfit {
                    value: None,
                    reason: "no name of a use case; expected 1 to 128 characters of A-Z a-z 0-9 . _ : -".to_owned(),
                }),
                (_, None) => Err(unknown(field, USE_CASE_SETTINGS.iter().map(|s| s.name))),
            };
            (format!("{table}.{key}.{field}"), fitted)
        };
        self.record(&path, origin, fitted);
    }

    fn record(&mut self, path: &str, origin: &Origin, fitted: Result<Value, Unfit>) {
        match fitted {
            Ok(value) => _ = self.effective.insert(path.to_owned(), Effective { value, origin: origin.clone() }),
            Err(Unfit { value, reason }) => self.faults.add(path, value, origin, reason),
        }
    }
}

/// Why a value was not taken, and the value where it may be shown.
struct Unfit {
    value: Option<String>,
    reason: String,
}

/// An environment variable; an empty one counts as not set.
fn given<'a>(env: &'a BTreeMap<String, String>, name: &str) -> Option<&'a String> {
    env.get(name).filter(|value| !value.trim().is_empty())
}

fn find<Owner>(settings: &'static [Setting<Owner>], name: &str) -> Option<&'static Setting<Owner>> {
    settings.iter().find(|setting| setting.name == name)
}

/// Puts the value where it belongs if it fits; if not, what was there before stays.
fn fit<Owner>(setting: &Setting<Owner>, raw: &Raw, owner: &mut Owner) -> Result<Value, Unfit> {
    let unfit = || Unfit { value: Some(setting.shown(raw)), reason: format!("expected {}", setting.kind.expected()) };
    let value = setting.kind.read(raw).ok_or_else(unfit)?;
    (setting.put)(owner, value.clone());
    Ok(value)
}

/// Its value is not shown: nobody knows what it is.
fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Unfit {
    let hint = match nearest(name, known.clone()) {
        Some(known) => format!("did you mean {known}?"),
        None => format!("expected one of {}", known.collect::<Vec<_>>().join(", ")),
    };
    Unfit { value: None, reason: format!("unknown setting; {hint}") }
}
