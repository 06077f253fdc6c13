//! Adds the lines of a file up, model by model.

use std::collections::BTreeMap;

use super::forecast::{Bound, Eta};
use super::surroundings::Surroundings;
use crate::cli::format::{count, thousands, whole as shown};
use crate::cli::submit::check::{Message, Rejected};
use crate::config::Config;
use crate::models::{Catalog, QuotaOrigin, estimated_cost, expected_output};
use crate::request::{Estimate, Lane, ModelId, Tenant};

/// Different faults that are counted, and those that are shown.
const FAULTS: usize = 1_000;
const FAULTS_SHOWN: usize = 20;
/// A limit on the output this many times what answers take is worth a word.
const OVERSIZED: f64 = 3.0;

/// What was found of a line.
pub enum Seen<'a> {
    Good(&'a Message),
    Bad(&'a Rejected),
}

/// What the requests of a model take.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    pub requests: u64,
    pub invalid: u64,
    pub input_tokens: u64,
    pub output_tokens: f64,
    pub output_at_most: u64,
    /// Tokens of quota, reserved at the start and taken in the end.
    pub reserved: f64,
    pub charged: f64,
    pub usd: f64,
    pub usd_at_most: f64,
    pub unpriced: u64,
    /// Requests that set no limit on their output, and what it was learned that answers take.
    pub unlimited: u64,
    pub learned_output: Option<f64>,
}

/// The file as far as it was read.
pub struct Draft<'a> {
    pub catalog: &'a Catalog,
    region: &'a str,
    surroundings: &'a Surroundings,
    pub models: BTreeMap<ModelId, Sum>,
    /// Dollars expected by tenant, of what has a price.
    pub tenants: BTreeMap<Tenant, f64>,
    pub invalid: u64,
    pub without_request_id: u64,
    faults: BTreeMap<String, u64>,
}

impl<'a> Draft<'a> {
    pub fn new(catalog: &'a Catalog, config: &'a Config, surroundings: &'a Surroundings) -> Self {
        Self {
            catalog,
            region: &config.aws_region,
            surroundings,
            models: BTreeMap::new(),
            tenants: BTreeMap::new(),
            invalid: 0,
            without_request_id: 0,
            faults: BTreeMap::new(),
        }
    }

    pub fn lane(&self, model: &ModelId) -> Lane {
        Lane::new("default", self.region, &self.catalog.admitted(model).quota_id)
    }

    pub fn note(&mut self, seen: &Seen<'_>) {
        match seen {
            Seen::Good(message) => self.good(message),
            Seen::Bad(rejected) => self.bad(rejected),
        }
    }

    fn good(&mut self, message: &Message) {
        let spec = self.catalog.admitted(&message.model);
        let learned = self.surroundings.learned.get(self.lane(&message.model).as_str());
        let ratio = learned.map_or(1.0, |l| l.input_ratio);
        let learned_output = learned.and_then(|l| l.output(message.use_case.as_deref()));
        let estimate = message.estimate;
        let input = whole(estimate.input_tokens as f64 * ratio);
        let estimate = Estimate { input_tokens: input, ..estimate };
        let output = expected_output(estimate, learned_output);
        let most = estimate.max_output_tokens;
        let sum = self.models.entry(message.model.clone()).or_default();
        sum.requests += 1;
        sum.input_tokens += input;
        sum.output_tokens += output;
        sum.output_at_most += most;
        sum.reserved += (input + most) as f64;
        sum.charged += input as f64 + spec.burndown * output;
        sum.unlimited += u64::from(!message.limits_output && most > 0);
        sum.learned_output = learned.and_then(|l| l.output(None));
        match estimated_cost(&spec, estimate, output).zip(estimated_cost(&spec, estimate, most as f64)) {
            Some((usd, at_most)) => {
                sum.usd += usd;
                sum.usd_at_most += at_most;
                *self.tenants.entry(message.tenant.clone()).or_default() += usd;
            }
            None => sum.unpriced += 1,
        }
        self.without_request_id += u64::from(message.id.is_none());
    }

    fn bad(&mut self, rejected: &Rejected) {
        self.invalid += 1;
        if let Some(model) = &rejected.model {
            self.models.entry(model.clone()).or_default().invalid += 1;
        }
        for fault in &rejected.faults {
            let fault = fault.to_string();
            if self.faults.len() < FAULTS || self.faults.contains_key(&fault) {
                *self.faults.entry(fault).or_default() += 1;
            }
        }
    }

    pub fn frequent_faults(&self) -> BTreeMap<String, u64> {
        let mut faults: Vec<_> = self.faults.iter().collect();
        faults.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        faults.into_iter().take(FAULTS_SHOWN).map(|(fault, n)| (fault.clone(), *n)).collect()
    }

    pub fn total(&self) -> Sum {
        self.models.values().fold(Sum::default(), |mut total, sum| {
            total.requests += sum.requests;
            total.input_tokens += sum.input_tokens;
            total.output_tokens += sum.output_tokens;
            total.output_at_most += sum.output_at_most;
            total.usd += sum.usd;
            total.usd_at_most += sum.usd_at_most;
            total.unpriced += sum.unpriced;
            total
        })
    }

    /// What a producer should know before sending.
    pub fn warnings(&self, etas: &BTreeMap<Lane, Eta>) -> Vec<String> {
        let mut warnings = Vec::new();
        for (model, sum) in self.models.iter().filter(|(_, sum)| sum.requests > 0) {
            let spec = self.catalog.admitted(model);
            if sum.unlimited > 0 {
                warnings.push(format!(
                    "{model}: {} no limit on the output, so Bedrock reserves {} tokens of the quota for each, and the cost expected here may be far too high. Set inferenceConfig.maxTokens to what answers need.",
                    set(sum.unlimited),
                    thousands(spec.max_output_tokens)
                ));
            } else if let Some(learned) =
                sum.learned_output.filter(|tokens| sum.output_at_most as f64 > OVERSIZED * tokens * sum.requests as f64)
            {
                warnings.push(format!(
                    "{model}: maxTokens is {} on average, and three of four answers take no more than {}. A lower one lets more run at a time.",
                    shown(sum.output_at_most as f64 / sum.requests as f64),
                    shown(learned)
                ));
            } else if etas.get(&self.lane(model)).is_some_and(|eta| eta.bound_by == Bound::Reservations) {
                warnings.push(format!(
                    "{model}: what maxTokens reserves of the quota, not the quota itself, bounds how many run at a time. Set inferenceConfig.maxTokens to what answers need."
                ));
            }
            if let Some(day) = spec.quota.tokens_per_day.filter(|day| sum.charged > *day) {
                warnings.push(format!(
                    "{model}: about {} tokens of quota are more than its {} a day.",
                    shown(sum.charged),
                    shown(day)
                ));
            }
            if sum.unpriced > 0 {
                warnings.push(format!(
                    "{model}: its price is not known, so neither is the cost, and no budget counts it. The operator can set it under [models.{:?}].",
                    model.as_str()
                ));
            }
            if spec.quota.origin == QuotaOrigin::Assumed {
                warnings.push(format!(
                    "{model}: its quota is not known; a small one is assumed, and it may well be done sooner."
                ));
            }
        }
        warnings
    }

    /// What the figures rest on.
    pub fn notes(&self, config: &Config) -> Vec<String> {
        let mut notes = Vec::new();
        let all: Vec<&Sum> = self.models.values().filter(|sum| sum.output_at_most > 0).collect();
        if all.iter().any(|sum| sum.learned_output.is_none()) {
            notes.push(
                "Answers are taken to be half as long as they may be, until workers have learned better.".to_owned(),
            );
        }
        if all.iter().any(|sum| sum.learned_output.is_some()) {
            notes.push("Answers are taken to be as long as three of four were that the workers have seen.".to_owned());
        }
        if self.models.values().any(|sum| sum.requests > 0) {
            notes.push(format!(
                "A call is taken to last {} (average_request_duration), and {} to run at a time (max_concurrent_executions).",
                crate::cli::format::span(config.average_request_duration),
                config.max_concurrent_executions
            ));
        }
        notes
    }
}

fn set(requests: u64) -> String {
    format!("{} {}", count(requests, "request"), if requests == 1 { "sets" } else { "set" })
}

/// A positive number, rounded.
pub fn whole(number: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, as it should")]
    let number = number.round() as u64;
    number
}
