//! The quotas in force: what is configured, else what Service Quotas lists, else a small default.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::quota_names::{Limits, Listed, QuotaTable};
use crate::config::{Config, ModelSettings};
use crate::ports::QuotaRow;
use crate::request::ModelId;

/// The quota of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuotaSettings {
    /// Requests a minute, where they are limited.
    pub requests_per_minute: Option<f64>,
    /// Tokens a minute.
    pub tokens_per_minute: f64,
    /// Tokens a day, where they are limited.
    pub tokens_per_day: Option<f64>,
    /// Who says so of the tokens a minute.
    pub origin: QuotaOrigin,
}

/// Where a quota is from, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaOrigin {
    /// Somebody configured it.
    Configured,
    /// Service Quotas lists it.
    ServiceQuotas,
    /// Neither; a small default stands in.
    Assumed,
}

/// A value and where it is from.
#[derive(Clone, Debug, PartialEq)]
pub struct Sourced {
    /// The limit.
    pub value: f64,
    /// Where it is from.
    pub origin: QuotaOrigin,
    /// The name of the quota in Service Quotas, when it is from there.
    pub quota_name: Option<Arc<str>>,
}

/// The quota of a model, each value with where it is from.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelQuotas {
    /// Requests a minute, where they are limited.
    pub requests_per_minute: Option<Sourced>,
    /// Tokens a minute.
    pub tokens_per_minute: Sourced,
    /// Tokens a day, where they are limited.
    pub tokens_per_day: Option<Sourced>,
    /// Why a value that Service Quotas lists was not taken, a sentence each.
    pub faults: Vec<String>,
}

/// A quota in force that is not what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaChange {
    /// Whose.
    pub model: ModelId,
    /// What it was.
    pub before: QuotaSettings,
    /// What it is.
    pub after: QuotaSettings,
}

impl Sourced {
    fn configured(value: f64) -> Self {
        Self { value, origin: QuotaOrigin::Configured, quota_name: None }
    }

    fn assumed(value: f64) -> Self {
        Self { value, origin: QuotaOrigin::Assumed, quota_name: None }
    }

    fn listed(listed: &Listed) -> Self {
        let quota_name = Some(Arc::clone(&listed.name));
        Self { value: listed.value, origin: QuotaOrigin::ServiceQuotas, quota_name }
    }
}

impl ModelQuotas {
    /// Each value by itself, the strongest source first. Requests are assumed to be limited only as long as nothing is known:
    /// Bedrock limits them for few models.
    pub(super) fn of(config: &Config, set: &ModelSettings, listed: &Limits) -> Self {
        let pick = |set: Option<f64>, listed: &Option<Listed>| {
            set.map(Sourced::configured).or_else(|| listed.as_ref().map(Sourced::listed))
        };
        let tokens = pick(set.tokens_per_minute, &listed.tokens_per_minute);
        let unknown = tokens.is_none();
        let assumed_requests = || Sourced::assumed(f64::from(config.max_requests_per_minute_default));
        Self {
            requests_per_minute: pick(set.requests_per_minute, &listed.requests_per_minute)
                .or_else(|| unknown.then(assumed_requests)),
            tokens_per_minute: tokens.unwrap_or_else(|| Sourced::assumed(config.max_tokens_per_minute_default as f64)),
            tokens_per_day: pick(set.tokens_per_day, &listed.tokens_per_day),
            faults: listed.faults.clone(),
        }
    }

    /// The values.
    #[must_use]
    pub fn settings(&self) -> QuotaSettings {
        QuotaSettings {
            requests_per_minute: self.requests_per_minute.as_ref().map(|q| q.value),
            tokens_per_minute: self.tokens_per_minute.value,
            tokens_per_day: self.tokens_per_day.as_ref().map(|q| q.value),
            origin: self.tokens_per_minute.origin,
        }
    }
}

/// What Service Quotas said last. A model's names are matched once, when it is first asked for.
#[derive(Debug, Default)]
pub(super) struct Live(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    table: QuotaTable,
    limits: HashMap<String, Arc<Limits>>,
}

impl Live {
    /// The quotas of a model that Service Quotas lists.
    pub(super) fn of(&self, quota_id: &str) -> Arc<Limits> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).limits.get(quota_id).cloned();
        known.unwrap_or_else(|| {
            let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
            let limits = Arc::new(inner.table.of(quota_id));
            inner.limits.insert(quota_id.to_owned(), Arc::clone(&limits));
            limits
        })
    }

    /// Takes over a new list, for all models that were ever asked for.
    pub(super) fn replace(&self, rows: &[QuotaRow]) {
        let table = QuotaTable::new(rows);
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (id, limits) in &mut inner.limits {
            *limits = Arc::new(table.of(id));
        }
        inner.table = table;
    }

    /// The ids that were ever asked for, in order.
    pub(super) fn asked(&self) -> Vec<String> {
        let mut ids: Vec<String> =
            self.0.read().unwrap_or_else(PoisonError::into_inner).limits.keys().cloned().collect();
        ids.sort();
        ids
    }

    /// The quota over all models of the account.
    pub(super) fn account_tokens_per_day(&self) -> Option<Listed> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).table.account_tokens_per_day().cloned()
    }
}
