//! Policies of budgets, and what must hold for them to work: a cheaper model that is one, and prices.

use super::fault::{Faults, Origin};
use super::settings::Config;
use crate::models::{Catalog, ModelSpec};
use crate::request::ModelId;

/// What becomes of requests that a budget has no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BudgetPolicy {
    /// They wait until it renews.
    #[default]
    Delay,
    /// They end with `BudgetExceeded`.
    Reject,
    /// They go to the cheaper model before the budget is spent; then they wait.
    Downgrade,
}

impl BudgetPolicy {
    /// Reads the name of one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "delay" => Some(Self::Delay),
            "reject" => Some(Self::Reject),
            "downgrade" => Some(Self::Downgrade),
            _ => None,
        }
    }
}

impl Config {
    /// The names of all budgets that are set: `usd_per_day`, `tenants.acme.usd_per_month`.
    #[must_use]
    pub fn budgets(&self) -> Vec<String> {
        let own =
            [("usd_per_day", self.usd_per_day), ("usd_per_month", self.usd_per_month)].map(|(n, b)| (n.to_owned(), b));
        let tenants = self.tenants.iter().flat_map(|(tenant, set)| {
            [("usd_per_day", set.usd_per_day), ("usd_per_month", set.usd_per_month)]
                .map(|(name, budget)| (format!("tenants.{tenant}.{name}"), budget))
        });
        own.into_iter().chain(tenants).filter(|(_, budget)| budget.is_some()).map(|(name, _)| name).collect()
    }

    fn downgrades(&self) -> bool {
        let of_tenants = self.tenants.values().filter_map(|set| set.budget_policy);
        of_tenants.chain([self.budget_policy]).any(|policy| policy == BudgetPolicy::Downgrade)
    }
}

/// Every `downgrade_to` must name a model that may be asked for and is surely cheaper.
pub(super) fn check(config: &Config, origin: impl Fn(&str) -> Origin, faults: &mut Faults) {
    let catalog = Catalog::new(config);
    let of_models = config.models.iter().filter_map(|(id, set)| {
        let setting = format!("models.{:?}.downgrade_to", id.as_str());
        Some((setting, Some(id.clone()), set.downgrade_to.as_ref()?))
    });
    let of_use_cases = config.use_cases.iter().filter_map(|(name, set)| {
        let setting = format!("use_cases.{name}.downgrade_to");
        Some((setting, ModelId::new(set.model.as_str()).ok(), set.downgrade_to.as_ref()?))
    });
    for (setting, from, to) in of_models.chain(of_use_cases) {
        for reason in unfit(&catalog, from.as_ref(), to) {
            faults.add(&setting, Some(to.clone()), &origin(&setting), reason);
        }
    }
}

/// All reasons why a model cannot stand in for another; a model that is not known is nobody's business here.
fn unfit(catalog: &Catalog, from: Option<&ModelId>, to: &str) -> Vec<String> {
    let to = match ModelId::new(to).map(|id| catalog.spec(&id)) {
        Ok(Ok(spec)) => spec,
        Ok(Err(failure)) => return vec![failure.message],
        Err(expected) => return vec![expected],
    };
    let Some(from) = from.and_then(|id| catalog.spec(id).ok()) else { return priceless(&to).into_iter().collect() };
    let mut reasons = Vec::new();
    match (catalog.embeds(&from.id), catalog.embeds(&to.id)) {
        (false, false) => {}
        (true, true) => reasons.push(format!(
            "{} makes embeddings: those of another model do not compare, and only Converse requests can be downgraded",
            from.id
        )),
        (embeds, _) => {
            let [makes, other] = if embeds { ["embeddings", "text"] } else { ["text", "embeddings"] };
            reasons.push(format!("makes {other}, {} makes {makes}", from.id));
        }
    }
    reasons.extend([&from, &to].into_iter().filter_map(priceless));
    if let (Some(dear), Some(cheap)) = (from.prices, to.prices)
        && !cheap.is_below(&dear)
    {
        reasons.push(format!(
            "not cheaper than {} by both prices: ${} and ${} per million tokens of input and output, against ${} and ${}",
            from.id, cheap.input, cheap.output, dear.input, dear.output
        ));
    }
    reasons
}

fn priceless(spec: &ModelSpec) -> Option<String> {
    spec.prices.is_none().then(|| {
        format!(
            "the price of {} is not known, so nobody can tell whether it is cheaper; set input_usd_per_mtok and output_usd_per_mtok under [models.{:?}]",
            spec.id,
            spec.id.as_str()
        )
    })
}

/// What makes budgets count less than people expect.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let budgets = config.budgets();
    let Some(first) = budgets.first() else { return Vec::new() };
    let first = if budgets.len() > 1 { format!("{first} and others") } else { first.clone() };
    let catalog = Catalog::new(config);
    let unpriced = catalog.in_use().into_iter().filter(|id| catalog.spec(id).is_ok_and(|spec| spec.prices.is_none()));
    let mut warnings: Vec<String> = unpriced
        .map(|id| {
            format!(
                "models.{:?}: the price is not known, so what it costs counts toward no budget ({first}); set input_usd_per_mtok and output_usd_per_mtok",
                id.as_str()
            )
        })
        .collect();
    let cheaper =
        config.models.values().map(|m| &m.downgrade_to).chain(config.use_cases.values().map(|u| &u.downgrade_to));
    if config.downgrades() && !cheaper.into_iter().any(Option::is_some) {
        warnings.push(
            "budget_policy downgrade: no model and no use case has a downgrade_to, so requests wait as under delay"
                .to_owned(),
        );
    }
    warnings
}
