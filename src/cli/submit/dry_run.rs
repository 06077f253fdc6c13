//! `smoother submit --dry-run`: what a file would take, without sending any of it.
//!
//! Works without a connection. What can be read on the way makes it better: quotas of Service Quotas, what is in line already,
//! what the workers have learned, what was spent. What cannot be read is said.

mod draft;
mod forecast;
mod page;
mod surroundings;

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::Serialize;

pub use self::draft::Seen;
use self::draft::{Draft, Sum};
use self::forecast::{Eta, Lanes};
use self::surroundings::Surroundings;
use super::check::Checker;
use super::{Args, Submit, lines};
use crate::cli::format::{date_time, dollars};
use crate::cli::{Done, Error, print, say};
use crate::clock::{Clock, Timestamp};
use crate::config::{BudgetPolicy, Config};
use crate::models::{Catalog, QuotaOrigin};
use crate::pipeline::spend::{Budgets, Limits, Reserved, Usd};
use crate::request::Tenant;

/// As JSON these names are stable. Dollars are `null` where a price is not known.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// Always 0.
    submitted: u64,
    /// Lines with a fault.
    invalid: u64,
    /// Lines that say the same as an earlier one.
    repeated: u64,
    /// Requests that have no request_id.
    without_request_id: u64,
    /// Faults by how many lines have them; the most frequent ones.
    faults: BTreeMap<String, u64>,
    /// By model.
    models: Vec<ModelPlan>,
    /// Of all models together.
    total: Amounts,
    /// When the last request of all should have its answer, in seconds from now.
    done_seconds: f64,
    /// What should be known before it is sent.
    warnings: Vec<String>,
    /// What could not be read, and what is assumed.
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ModelPlan {
    model: String,
    /// Lines that ask for it and have a fault.
    invalid: u64,
    #[serde(flatten)]
    amounts: Amounts,
    /// Absent when no request of it is good.
    eta: Option<Eta>,
}

/// What requests take.
#[derive(Debug, Serialize)]
struct Amounts {
    requests: u64,
    /// Of those, without a known price.
    unpriced: u64,
    input_tokens: u64,
    output_tokens: u64,
    output_tokens_at_most: u64,
    cost_usd: Option<f64>,
    cost_usd_at_most: Option<f64>,
    /// Of those whose price is known: expected, and at most.
    #[serde(skip)]
    priced_usd: (f64, f64),
}

impl Amounts {
    fn of(sum: &Sum) -> Self {
        let known = |usd: f64| (sum.unpriced == 0 && sum.requests > 0).then(|| Usd::of(usd).dollars());
        Self {
            requests: sum.requests,
            unpriced: sum.unpriced,
            input_tokens: sum.input_tokens,
            output_tokens: draft::whole(sum.output_tokens),
            output_tokens_at_most: sum.output_at_most,
            cost_usd: known(sum.usd),
            cost_usd_at_most: known(sum.usd_at_most),
            priced_usd: (sum.usd, sum.usd_at_most),
        }
    }
}

pub async fn dry_run(args: &Args) -> Done {
    let config = args.place.settings()?;
    let clock = Clock::system();
    let source = args.source();
    let (file, length) = lines::open(&args.file).map_err(Error::io(format!("read {source}")))?;
    let catalog = Catalog::new(&config);
    let surroundings = Surroundings::look(&args.place, &config, &catalog).await;
    let mut submit =
        Submit::new(Checker::new(catalog.clone(), config.message_limits(), clock.clone()), &source, file, length);
    let mut draft = Draft::new(&catalog, &config, &surroundings);
    let judged = submit.judge_each(&mut say, &mut |seen| draft.note(&seen))?;
    if judged.spread {
        return Err(Error::Said(judged.verdict(&source)));
    }
    let plan = Plan::new(&draft, &config, &surroundings, judged.repeated, clock.now());
    print(if args.json { plan.to_json() } else { plan.to_page(&source) }.trim_end())?;
    let refused = judged.invalid > 0 && !args.skip_invalid;
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Plan {
    pub fn new(draft: &Draft<'_>, config: &Config, surroundings: &Surroundings, repeated: u64, now: Timestamp) -> Self {
        let mut lanes = Lanes::new(config);
        for (lane, ahead) in &surroundings.backlog.lanes {
            lanes.ahead(lane, draft.catalog, ahead);
        }
        for (model, sum) in draft.models.iter().filter(|(_, sum)| sum.requests > 0) {
            lanes.add(&draft.lane(model), draft.catalog, model, sum);
        }
        let etas = lanes.etas();
        let mut models: Vec<ModelPlan> = draft
            .models
            .iter()
            .map(|(model, sum)| ModelPlan {
                model: model.as_str().to_owned(),
                invalid: sum.invalid,
                amounts: Amounts::of(sum),
                eta: etas.get(&draft.lane(model)).filter(|_| sum.requests > 0).cloned(),
            })
            .collect();
        models.sort_by(|a, b| b.amounts.requests.cmp(&a.amounts.requests).then_with(|| a.model.cmp(&b.model)));
        let done_seconds = models.iter().filter_map(|m| m.eta.as_ref()).map(|eta| eta.done_seconds).fold(0.0, f64::max);
        let mut warnings = draft.warnings(&etas);
        warnings.extend(over_budget(draft, config, surroundings, now));
        Self {
            submitted: 0,
            invalid: draft.invalid,
            repeated,
            without_request_id: draft.without_request_id,
            faults: draft.frequent_faults(),
            total: Amounts::of(&draft.total()),
            models,
            done_seconds,
            warnings,
            notes: surroundings.notes.iter().cloned().chain(draft.notes(config)).collect(),
        }
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The budgets that have no room for what is expected.
fn over_budget(draft: &Draft<'_>, config: &Config, around: &Surroundings, now: Timestamp) -> Vec<String> {
    let mut budgets = Budgets::new(Limits::of(config));
    let known = around.spent.is_some();
    budgets.set_spent(around.spent.clone().unwrap_or_default());
    let usd = |tenant: Option<&Tenant>| match tenant {
        Some(tenant) => draft.tenants.get(tenant).copied().unwrap_or_default(),
        None => draft.tenants.values().sum(),
    };
    let standing = budgets.standing(&Reserved::default(), now).into_iter();
    let over = standing.filter(|b| {
        let expected = usd(b.which.tenant.as_ref());
        expected > 0.0 && b.spent_usd + expected > b.limit_usd
    });
    over.map(|budget| {
        let spent =
            if known { format!("{} spent so far", dollars(budget.spent_usd)) } else { "what was spent is not known".to_owned() };
        let policy = match budget.policy {
            BudgetPolicy::Delay => "what has no room waits until it renews,",
            BudgetPolicy::Reject => "what has no room ends with the error BudgetExceeded; it renews",
            BudgetPolicy::Downgrade => {
                "Converse requests go to the cheaper model where there is one, and what has no room waits until it renews,"
            }
        };
        format!(
            "{} is {}, and {} is expected here ({spent}): {policy} {}.",
            budget.which,
            dollars(budget.limit_usd),
            dollars(usd(budget.which.tenant.as_ref())),
            date_time(budget.renews_at)
        )
    })
    .collect()
}

/// Who says so of a quota, in a word.
fn word(origin: QuotaOrigin) -> &'static str {
    match origin {
        QuotaOrigin::Configured => "setting",
        QuotaOrigin::ServiceQuotas => "service-quotas",
        QuotaOrigin::Assumed => "assumed",
    }
}

#[cfg(test)]
mod tests;
