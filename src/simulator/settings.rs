//! What the simulator simulates. Every field has a default; a model that is named takes the shipped values of its kind
//! for every field that is left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::background::Step;
use super::family::shipped_settings;
use super::fault::Faults;
use super::quota::{QuotaSpec, Refill};

/// The whole simulator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Everything random follows from it.
    pub seed: u64,
    /// Region in ARNs.
    pub region: String,
    /// Account in ARNs, 12 digits.
    pub account_id: String,
    /// Multiplies every latency; 0 answers at once.
    pub latency_scale: f64,
    /// How long a stalled connection stays silent before it is closed; not scaled.
    pub stall_s: f64,
    /// Value of a `Retry-After` header on 429, 503 and 529; none leaves the header out, as Bedrock does.
    pub retry_after_s: Option<u64>,
    /// How long after the end of a minute its CloudWatch metrics become visible.
    pub metric_delay_s: f64,
    /// Keep the count of calls by request id or body hash (`/_sim/calls`).
    pub record_calls: bool,
    /// Application inference profiles: profile id → model id.
    pub application_profiles: BTreeMap<String, String>,
    /// Model id or inference profile id → its settings. Naming any replaces the shipped set.
    #[serde(deserialize_with = "models_over_shipped")]
    pub models: BTreeMap<String, ModelSettings>,
}

/// The models there are when none are named.
pub const SHIPPED_MODELS: [&str; 6] = [
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "us.anthropic.claude-haiku-4-5-20251001-v1:0",
    "amazon.nova-lite-v1:0",
    "us.amazon.nova-pro-v1:0",
    "amazon.titan-embed-text-v2:0",
    "cohere.embed-english-v3",
];

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            region: "us-east-1".into(),
            account_id: "123456789012".into(),
            latency_scale: 1.0,
            stall_s: 60.0,
            retry_after_s: None,
            metric_delay_s: 75.0,
            record_calls: true,
            application_profiles: BTreeMap::new(),
            models: SHIPPED_MODELS.iter().map(|id| ((*id).to_owned(), shipped_settings(id))).collect(),
        }
    }
}

/// One model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSettings {
    /// Requests a minute; 0 or none is not enforced.
    pub rpm: Option<u64>,
    /// Tokens a minute; 0 or none is not enforced.
    pub tpm: Option<u64>,
    /// Tokens a day; 0 or none is not enforced.
    pub tpd: Option<u64>,
    /// How a minute's quota comes back.
    pub refill: Refill,
    /// Capacity of a bucket as a share of one minute's quota; it starts full.
    pub burst: f64,
    /// Quota tokens an output token settles to.
    pub burndown: f64,
    /// Longest prompt, tokens.
    pub max_input_tokens: u64,
    /// Most output tokens; reserved when a request does not say.
    pub max_output_tokens: u64,
    /// Mean length of an answer, tokens, before `maxTokens` cuts it.
    pub mean_output_tokens: f64,
    /// Sigma of the lognormal length of an answer.
    pub output_sigma: f64,
    /// Time to answer.
    pub latency: Latency,
    /// Probabilities of faults per call; together at most 1.
    pub faults: Faults,
    /// Other traffic on the same quota.
    pub background: Vec<Step>,
    /// Mean settled size of a request of that traffic, tokens.
    pub background_request_tokens: Option<u64>,
    /// Model's name in Service Quotas, when it is not a shipped one.
    pub quota_name: Option<String>,
    /// In `ListFoundationModels`: LEGACY instead of ACTIVE.
    pub legacy: bool,
    /// In `ListFoundationModels`: end of life, RFC 3339.
    pub end_of_life: Option<String>,
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            rpm: None,
            tpm: None,
            tpd: None,
            refill: Refill::Bucket,
            burst: 1.0,
            burndown: 1.0,
            max_input_tokens: 200_000,
            max_output_tokens: 4_096,
            mean_output_tokens: 350.0,
            output_sigma: 0.6,
            latency: Latency::default(),
            faults: Faults::default(),
            background: Vec::new(),
            background_request_tokens: None,
            quota_name: None,
            legacy: false,
            end_of_life: None,
        }
    }
}

impl ModelSettings {
    /// The quota's specification; every model has a phase of its own.
    #[must_use]
    pub fn quota(&self, seed: u64) -> QuotaSpec {
        QuotaSpec {
            rpm: self.rpm,
            tpm: self.tpm,
            tpd: self.tpd,
            refill: self.refill,
            burst: self.burst,
            background: self.background.clone(),
            background_request_tokens: self.background_request_tokens,
            seed,
        }
    }
}

/// Time to answer: lognormal with mean `base_ms + output / tokens_per_second`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Latency {
    /// Time to the first token, milliseconds.
    pub base_ms: f64,
    /// Output tokens a second.
    pub tokens_per_second: f64,
    /// Sigma of the logarithm; 0 is exact.
    pub sigma: f64,
}

impl Default for Latency {
    fn default() -> Self {
        Self { base_ms: 800.0, tokens_per_second: 80.0, sigma: 0.35 }
    }
}

fn models_over_shipped<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, ModelSettings>, D::Error> {
    let given = BTreeMap::<String, Value>::deserialize(from)?;
    let read = |(id, patch): (String, Value)| {
        let settings = model_over_shipped(&id, patch).map_err(serde::de::Error::custom)?;
        Ok((id, settings))
    };
    given.into_iter().map(read).collect()
}

fn model_over_shipped(id: &str, patch: Value) -> Result<ModelSettings, String> {
    let fault = |error: serde_json::Error| format!("models.{id}: {error}");
    let mut value = serde_json::to_value(shipped_settings(id)).map_err(fault)?;
    merge(&mut value, patch);
    serde_json::from_value(value).map_err(fault)
}

/// Lays `patch` over `base`: objects field by field, everything else replaced.
fn merge(base: &mut Value, patch: Value) {
    match (base, patch) {
        (Value::Object(base), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, patch) => *base = patch,
    }
}

impl Settings {
    /// These settings with a JSON patch laid over them; `null` unsets an optional field or removes a model, a model
    /// that is not there yet starts from the shipped values of its kind.
    ///
    /// # Errors
    /// Every fault of the result, in words.
    pub fn patched(&self, patch: Value) -> Result<Self, String> {
        let mut value = serde_json::to_value(self).map_err(|error| error.to_string())?;
        merge(&mut value, patch);
        for map in ["models", "application_profiles"] {
            if let Some(Value::Object(map)) = value.get_mut(map) {
                map.retain(|_, entry| !entry.is_null());
            }
        }
        let settings: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        settings.check().map_err(|faults| faults.join("; "))?;
        Ok(settings)
    }

    /// Looks at every value.
    ///
    /// # Errors
    /// One line per fault: field, value, what is allowed.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mut faults = Vec::new();
        let mut number = |name: &str, value: f64, low: f64, high: f64| {
            if !(low..=high).contains(&value) {
                faults.push(format!("{name} is {value}, must be {low} to {high}"));
            }
        };
        number("latency_scale", self.latency_scale, 0.0, 1_000.0);
        number("stall_s", self.stall_s, 0.0, 86_400.0);
        number("metric_delay_s", self.metric_delay_s, 0.0, 86_400.0);
        for (id, model) in &self.models {
            number(&format!("models.{id}.burst"), model.burst, 0.001, 1_000.0);
            number(&format!("models.{id}.burndown"), model.burndown, 0.0, 1_000.0);
            number(&format!("models.{id}.mean_output_tokens"), model.mean_output_tokens, 0.0, 1e7);
            number(&format!("models.{id}.output_sigma"), model.output_sigma, 0.0, 5.0);
            number(&format!("models.{id}.latency.base_ms"), model.latency.base_ms, 0.0, 1e7);
            number(&format!("models.{id}.latency.tokens_per_second"), model.latency.tokens_per_second, 0.001, 1e9);
            number(&format!("models.{id}.latency.sigma"), model.latency.sigma, 0.0, 5.0);
            for (kind, probability) in model.faults.each() {
                number(&format!("models.{id}.faults.{}", kind.name()), probability, 0.0, 1.0);
            }
            number(&format!("models.{id}.faults together"), model.faults.total(), 0.0, 1.0 + 1e-9);
            for (at, step) in model.background.iter().enumerate() {
                number(&format!("models.{id}.background[{at}].after_s"), step.after_s, 0.0, 1e9);
                number(&format!("models.{id}.background[{at}].share"), step.share, 0.0, 1.0);
            }
        }
        for (profile, model) in &self.application_profiles {
            if !self.models.contains_key(model) {
                faults.push(format!("application_profiles.{profile} names {model}, which is not in models"));
            }
        }
        if self.models.is_empty() {
            faults.push("models is empty, name at least one or leave it out".into());
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_named_model_keeps_the_shipped_values_that_are_left_out() {
        let text = "latency_scale = 0.1\n[models.\"us.anthropic.claude-sonnet-4-5-20250929-v1:0\"]\ntpm = 1000\n\
                    latency.base_ms = 5\nbackground = [{ after_s = 60, share = 0.25 }]\nfaults.drop = 0.01";
        let settings: Settings = toml::from_str(text).unwrap();
        let model = settings.models.values().next().unwrap();
        assert_eq!(settings.models.len(), 1);
        assert_eq!((model.tpm, model.rpm, model.max_output_tokens), (Some(1_000), Some(500), 64_000));
        assert!((model.latency.base_ms - 5.0).abs() < f64::EPSILON);
        assert!((model.latency.tokens_per_second - 80.0).abs() < f64::EPSILON);
        assert_eq!(model.background.len(), 1);
        assert_eq!(toml::from_str::<Settings>("").unwrap(), Settings::default());
    }

    #[test]
    fn unknown_fields_name_the_model() {
        let error = toml::from_str::<Settings>("[models.x]\nrps = 1").unwrap_err().to_string();
        assert!(error.contains("models.x") && error.contains("rps"), "{error}");
        assert!(toml::from_str::<Settings>("sede = 1").is_err());
    }

    #[test]
    fn a_patch_changes_unsets_adds_and_removes() {
        let id = "amazon.nova-lite-v1:0";
        let patch =
            json!({"models": {id: {"rpm": null, "tpm": 5}, "cohere.embed-english-v3": null, "meta.x": {"tpm": 7}}});
        let settings = Settings::default().patched(patch).unwrap();
        assert_eq!((settings.models[id].rpm, settings.models[id].tpm), (None, Some(5)));
        assert_eq!(settings.models["meta.x"].rpm, Some(500));
        assert!(!settings.models.contains_key("cohere.embed-english-v3"));
        assert_eq!(settings.patched(json!({})).unwrap(), settings);
    }

    #[test]
    fn every_fault_is_named() {
        let patch = json!({"latency_scale": -1, "models": {"amazon.nova-lite-v1:0": {"burst": 0, "faults": {"drop": 0.7, "stall": 0.7}}}});
        let error = Settings::default().patched(patch).unwrap_err();
        for part in ["latency_scale is -1", "nova-lite-v1:0.burst", "faults together is 1.4"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(Settings::default().check().is_ok());
    }
}
