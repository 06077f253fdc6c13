//! The models that may be asked for: a built-in table with the operator's configuration put over it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use super::prices::{AsOf, Factors, Prices};
use super::profile::{bare_id, claude, is_geographic, quota_id};
use super::quota_names::Listed;
use super::quotas::{Live, ModelQuotas, QuotaChange, QuotaOrigin, QuotaSettings};
use crate::config::{Config, ModelSettings};
use crate::nearest::closest;
use crate::ports::QuotaRow;
use crate::request::message::Target;
use crate::request::{Estimate, Failure, ModelId, Operation, Request};

/// From when the prices of the table are.
pub const PRICES_AS_OF: &str = "2026-11-21";
/// The output limit taken for models that tell none.
const USUAL_MAX_OUTPUT: u64 = 8192;
/// What geographic profiles of Claude 4.5 and later cost on top.
const GEOGRAPHIC_FACTOR: f64 = 1.1;

/// Everything that admission and pacing need to know of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// As it was asked for; goes into the request URI.
    pub id: ModelId,
    /// Whose quota it draws on, for the lane: an ARN's own id, so that both are one lane. Otherwise the same as `id`.
    pub quota_id: ModelId,
    /// What Bedrock reserves for the output when a request sets no limit. Zero for embeddings.
    pub max_output_tokens: u64,
    /// How many tokens of quota an output token costs.
    pub burndown: f64,
    /// What may be used of it.
    pub quota: QuotaSettings,
    /// How many calls of it the fleet may have in flight, where it is limited.
    pub max_concurrent: Option<u32>,
    /// What it costs, where that is known.
    pub prices: Option<Prices>,
}

/// Which models there are and which use cases. Cheap to ask; fixed once made but for what Service Quotas says, which all
/// clones share.
#[derive(Clone, Debug)]
pub struct Catalog {
    config: Config,
    live: Arc<Live>,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
struct Entry {
    embeds: bool,
    prices: Option<Prices>,
    max_output_tokens: Option<u64>,
}

static TABLE: LazyLock<BTreeMap<&'static str, Entry>> = LazyLock::new(|| rows(include_str!("catalog.csv")));

fn rows(csv: &'static str) -> BTreeMap<&'static str, Entry> {
    let mut lines = csv.lines();
    let columns: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    lines
        .map(|line| {
            let row: BTreeMap<&str, &str> = columns.iter().copied().zip(line.split(',')).collect();
            let text = |column: &str| row.get(column).copied().unwrap_or_default();
            let number = |column: &str| text(column).parse::<f64>().ok();
            let factors = |of_input, of_output, input: f64, output: f64| {
                let (tier_input, tier_output) = number(of_input).zip(number(of_output))?;
                (input > 0.0 && output > 0.0)
                    .then(|| Factors { input: tier_input / input, output: tier_output / output })
            };
            let prices = number("usd_in_per_mtok").zip(number("usd_out_per_mtok")).map(|(input, output)| Prices {
                input,
                output,
                cache_read: number("usd_cache_read_per_mtok"),
                cache_write: number("usd_cache_write_5m_per_mtok"),
                flex: factors("usd_in_flex", "usd_out_flex", input, output),
                priority: factors("usd_in_priority", "usd_out_priority", input, output),
                as_of: AsOf::Catalog(PRICES_AS_OF),
            });
            let embeds = text("mode") != "chat";
            (text("model_id"), Entry { embeds, prices, max_output_tokens: text("max_output_tokens").parse().ok() })
        })
        .collect()
}

impl ModelSpec {
    /// Whether its quota, where it is known, can ever admit a request: Bedrock reserves input and output at the start.
    #[must_use]
    pub fn can_admit(&self, estimate: Estimate) -> bool {
        let reserve = estimate.input_tokens.saturating_add(estimate.max_output_tokens);
        self.quota.origin == QuotaOrigin::Assumed || reserve as f64 <= self.quota.tokens_per_minute
    }
}

impl Catalog {
    /// The built-in table with `[models]`, `[use_cases]` and `allowed_models` of the configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self { config: config.clone(), live: Arc::default() }
    }

    /// The model that a message asks for.
    ///
    /// # Errors
    /// `UnknownModel`, `ModelNotAllowed` or `UnknownUseCase`, for the message's producer.
    pub fn resolve(&self, target: &Target) -> Result<ModelSpec, Failure> {
        let name = match target {
            Target::Model(id) => return self.spec(id),
            Target::UseCase(name) => name,
        };
        let Some(use_case) = self.config.use_cases.get(name) else {
            let known: Vec<&str> = self.config.use_cases.keys().map(String::as_str).collect();
            let known = match known.as_slice() {
                [] => "no use case is configured".to_owned(),
                known => format!("known are {}", list(known)),
            };
            return Err(refused("UnknownUseCase", "use_case", format!("unknown use case {name:?}; {known}")));
        };
        let unserved = |why: String| refused("UnknownModel", "use_case", format!("use case {name:?}: {why}"));
        let id = ModelId::new(use_case.model.as_str()).map_err(unserved)?;
        self.spec(&id).map_err(|failure| Failure {
            message: format!("use case {name:?}: {}", failure.message),
            field: Some("use_case".to_owned()),
            ..failure
        })
    }

    /// What is known of a model.
    ///
    /// # Errors
    /// `UnknownModel` with the nearest known ids, or `ModelNotAllowed`.
    pub fn spec(&self, id: &ModelId) -> Result<ModelSpec, Failure> {
        let name = quota_id(id.as_str());
        let quota_id = ModelId::new(name).unwrap_or_else(|_| id.clone());
        // What is configured for an ARN itself wins over what is configured for its id.
        let settings = self.config.models.get(id).or_else(|| self.config.models.get(&quota_id));
        let entry = lookup(name);
        if settings.is_none() && entry.is_none() {
            return Err(self.unknown(id.as_str()));
        }
        if !self.config.allows_model(id.as_str()) {
            let allowed: Vec<&str> = self.config.allowed_models.iter().map(String::as_str).collect();
            let message =
                format!("model {:?} may not be asked for here; allowed are {}", short(id.as_str()), list(&allowed));
            return Err(refused("ModelNotAllowed", "model_id", message));
        }
        let none = ModelSettings::default();
        Ok(self.assemble(id, quota_id, entry, settings.unwrap_or(&none)))
    }

    /// What is known of a model that was admitted before, even if it may not be asked for any more.
    #[must_use]
    pub fn admitted(&self, id: &ModelId) -> ModelSpec {
        let name = quota_id(id.as_str());
        let quota_id = ModelId::new(name).unwrap_or_else(|_| id.clone());
        let settings = self.config.models.get(id).or_else(|| self.config.models.get(&quota_id));
        self.assemble(id, quota_id, lookup(name), settings.unwrap_or(&ModelSettings::default()))
    }

    /// Whether a model makes embeddings, as far as the table knows it.
    #[must_use]
    pub fn embeds(&self, id: &ModelId) -> bool {
        lookup(quota_id(id.as_str())).is_some_and(|entry| entry.embeds)
    }

    /// Whether a cheaper model may stand in for this one at all, for this use case or none.
    #[must_use]
    pub fn has_stand_in(&self, model: &ModelId, use_case: Option<&str>) -> bool {
        self.stand_in(model, use_case).is_some()
    }

    fn stand_in(&self, model: &ModelId, use_case: Option<&str>) -> Option<&String> {
        let of_use_case = use_case.and_then(|name| self.config.use_cases.get(name)?.downgrade_to.as_ref());
        let by_quota_id = || self.config.models.get(&ModelId::new(quota_id(model.as_str())).ok()?);
        let of_model = || self.config.models.get(model).or_else(by_quota_id)?.downgrade_to.as_ref();
        of_use_case.or_else(of_model)
    }

    /// The cheaper model that may stand in for a request's, one step down: what its use case names, else what its model names. `None`
    /// for a native body, which fits no other model; where nothing (or nothing cheaper) is configured, so also once it stands in; and
    /// where the stand-in does not take the request: its answer may be longer than that model makes, or exceed its quota.
    #[must_use]
    pub fn downgrade(&self, request: &Request) -> Option<ModelSpec> {
        if request.operation != Operation::Converse {
            return None;
        }
        let stand_in = self.stand_in(&request.model_id, request.use_case.as_deref())?;
        let cheaper = self.spec(&ModelId::new(stand_in.as_str()).ok()?).ok()?;
        let is_cheaper = cheaper.prices?.is_below(&self.admitted(&request.model_id).prices?);
        // Whether the length was set or is the model's own is not known any more; set too high it would be refused.
        let takes =
            request.estimate.max_output_tokens <= cheaper.max_output_tokens && cheaper.can_admit(request.estimate);
        (is_cheaper && takes).then_some(cheaper)
    }

    /// Takes over what Service Quotas lists; in force from now on wherever nothing is configured. Answers what that changed of
    /// the models in use.
    #[must_use = "an operator should be told"]
    pub fn set_service_quotas(&self, rows: &[QuotaRow]) -> Vec<QuotaChange> {
        let quotas = || self.in_use().into_iter().map(|id| (self.admitted(&id).quota, id));
        let before: Vec<_> = quotas().collect();
        self.live.replace(rows);
        let changed = before.into_iter().zip(quotas()).filter(|((before, _), (after, _))| before != after);
        changed.map(|((before, id), (after, _))| QuotaChange { model: id, before, after }).collect()
    }

    /// The models that are configured or serve a use case, and those that were asked for.
    #[must_use]
    pub fn in_use(&self) -> Vec<ModelId> {
        let serving = self.config.use_cases.values().filter_map(|use_case| ModelId::new(use_case.model.as_str()).ok());
        let mut ids: BTreeSet<ModelId> = self.config.models.keys().cloned().chain(serving).collect();
        let charged: BTreeSet<String> = ids.iter().map(|id| quota_id(id.as_str()).to_owned()).collect();
        let asked = self.live.asked().into_iter().filter(|id| !charged.contains(id));
        ids.extend(asked.filter_map(|id| ModelId::new(id).ok()));
        ids.into_iter().collect()
    }

    /// The built-in models, and those in use.
    #[must_use]
    pub fn models(&self) -> Vec<ModelId> {
        let built_in = TABLE.keys().filter_map(|id| ModelId::new(*id).ok());
        built_in.chain(self.in_use()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// A model's quota, each value with where it is from.
    #[must_use]
    pub fn quotas(&self, id: &ModelId) -> ModelQuotas {
        let charged = quota_id(id.as_str());
        let by_quota_id = || self.config.models.get(&ModelId::new(charged).ok()?);
        let settings = self.config.models.get(id).or_else(by_quota_id);
        ModelQuotas::of(&self.config, settings.unwrap_or(&ModelSettings::default()), &self.live.of(charged))
    }

    /// The quota of tokens a day over all models of the account, where Service Quotas lists one. It is shown and not paced:
    /// AWS counts it by price.
    #[must_use]
    pub fn account_tokens_per_day(&self) -> Option<Listed> {
        self.live.account_tokens_per_day()
    }

    fn assemble(&self, id: &ModelId, quota_id: ModelId, entry: Option<Entry>, set: &ModelSettings) -> ModelSpec {
        let usual = if entry.is_some_and(|e| e.embeds) { 0 } else { USUAL_MAX_OUTPUT };
        ModelSpec {
            max_output_tokens: set.max_output_tokens.or(entry.and_then(|e| e.max_output_tokens)).unwrap_or(usual),
            burndown: set.burndown.unwrap_or_else(|| burndown(quota_id.as_str())),
            quota: ModelQuotas::of(&self.config, set, &self.live.of(quota_id.as_str())).settings(),
            max_concurrent: set.max_concurrent,
            prices: Prices::overridden(entry.and_then(|e| e.prices), set),
            id: id.clone(),
            quota_id,
        }
    }

    fn unknown(&self, id: &str) -> Failure {
        if id.starts_with("arn:") {
            let message = format!("unknown model {:?}; the operator can add it under [models.\"{0}\"]", short(id));
            return refused("UnknownModel", "model_id", message);
        }
        let configured = self.config.models.keys().map(ModelId::as_str);
        let known: BTreeSet<&str> =
            TABLE.keys().copied().chain(configured).filter(|known| self.config.allows_model(known)).collect();
        let hint = match closest(id, known, 3).as_slice() {
            [] => String::new(),
            near => format!("; the nearest known are {}", list(near)),
        };
        refused("UnknownModel", "model_id", format!("unknown model {:?}{hint}", short(id)))
    }
}

/// The table's row of an id; a profile that has none takes that of its model.
fn lookup(id: &str) -> Option<Entry> {
    if let Some(entry) = TABLE.get(id) {
        return Some(*entry);
    }
    let mut entry = *TABLE.get(bare_id(id))?;
    if is_geographic(id) && claude(id).is_some_and(|(_, major, minor)| (major, minor) >= (4, 5)) {
        entry.prices = entry.prices.map(|prices| prices.times(GEOGRAPHIC_FACTOR));
    }
    Some(entry)
}

/// How many tokens of quota an output token costs, as AWS documents it by family. Of Claude models that are
/// newer than the documentation the dearest recent rate is taken: too much leaves quota unused, too little exceeds it.
fn burndown(id: &str) -> f64 {
    if !bare_id(id).starts_with("anthropic.") {
        return 1.0;
    }
    match claude(id) {
        Some((_, 4, 8)) => 15.0,
        Some((_, major, minor)) if (major, minor) > (4, 8) => 10.0,
        _ => 5.0,
    }
}

fn refused(kind: &str, field: &str, message: String) -> Failure {
    Failure { kind: kind.to_owned(), message, retryable: false, field: Some(field.to_owned()) }
}

/// At most 20 names with commas between.
fn list(names: &[&str]) -> String {
    let shown = names.iter().take(20).copied().collect::<Vec<_>>().join(", ");
    if names.len() > 20 { format!("{shown} and {} more", names.len() - 20) } else { shown }
}

/// An id as an error may show it.
fn short(id: &str) -> String {
    id.chars().take(200).collect()
}

#[cfg(test)]
mod tests;
