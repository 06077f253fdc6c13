//! Budgets: what may be spent, what was, and what that means for the next request.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::account::Account;
use super::reserved::Reserved;
use super::usd::Usd;
use crate::clock::Timestamp;
use crate::config::{BudgetPolicy, Config};
use crate::ports::{PortResult, Registers};
use crate::request::{Failure, Tenant};

/// The kind of the failure of a request that no budget has room for.
const BUDGET_EXCEEDED: &str = "BudgetExceeded";

/// How long a budget is for, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// From the first to the first.
    Month,
}

impl Period {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// Its name at a time, as accounts have it.
    fn at(self, now: Timestamp) -> String {
        match self {
            Self::Day => now.day(),
            Self::Month => now.month(),
        }
    }

    fn ends(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Day => now.next_day(),
            Self::Month => now.next_month(),
        }
    }
}

/// Which budget: its tenant, `None` for that of all together, and how long it is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Which {
    /// Whose; `None` for all tenants together.
    pub tenant: Option<Tenant>,
    /// For how long.
    pub period: Period,
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = self.period.as_str();
        match &self.tenant {
            Some(tenant) => write!(f, "the {period}'s budget of tenant {tenant}"),
            None => write!(f, "the {period}'s budget of all tenants"),
        }
    }
}

/// The budgets that are configured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    all: Own,
    tenants: BTreeMap<Tenant, Own>,
    downgrade_from: f64,
}

/// The budgets of one tenant, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Own {
    day: Option<Usd>,
    month: Option<Usd>,
    policy: BudgetPolicy,
}

impl Limits {
    /// Those of a configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let own = |day: Option<f64>, month: Option<f64>, policy| Own {
            day: day.map(Usd::of),
            month: month.map(Usd::of),
            policy,
        };
        let tenants = config.tenants.iter().map(|(tenant, set)| {
            let policy = set.budget_policy.unwrap_or(config.budget_policy);
            (tenant.clone(), own(set.usd_per_day, set.usd_per_month, policy))
        });
        Self {
            all: own(config.usd_per_day, config.usd_per_month, config.budget_policy),
            tenants: tenants.filter(|(_, own)| own.day.is_some() || own.month.is_some()).collect(),
            downgrade_from: config.budget_downgrade_from,
        }
    }

    /// The tenants that have a budget of their own.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.tenants.keys()
    }

    /// Whether there is no budget at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tenants.is_empty() && self.all.day.is_none() && self.all.month.is_none()
    }
}

/// A request that wants to start.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Whose.
    pub tenant: &'a Tenant,
    /// What it is expected to cost; `None` where no price is known, which counts as nothing.
    pub usd: Option<f64>,
    /// What it is expected to cost on the cheaper model; `None` when none may stand in, or stands in already.
    pub cheaper: Option<f64>,
}

/// What the budgets say of a request, from the mildest to the strictest.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It may start.
    Go,
    /// It may start on the cheaper model.
    Downgrade,
    /// It must wait until a budget renews.
    Wait {
        /// When that is.
        until: Timestamp,
        /// Which one.
        which: Which,
    },
    /// It ends with this.
    Refuse(Failure),
}

impl Verdict {
    /// Orders them by strictness.
    fn strictness(&self) -> (u8, Timestamp) {
        match self {
            Self::Go => (0, Timestamp(0)),
            Self::Downgrade => (1, Timestamp(0)),
            Self::Wait { until, .. } => (2, *until),
            Self::Refuse(failure) => (if failure.retryable { 3 } else { 4 }, Timestamp(0)),
        }
    }
}

/// How a budget stands, for `smoother status` and alerts. As JSON these names are stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// Which one.
    #[serde(flatten)]
    pub which: Which,
    /// What happens when it has no room.
    pub policy: BudgetPolicy,
    /// Dollars that may be spent.
    pub limit_usd: f64,
    /// Dollars that were.
    pub spent_usd: f64,
    /// Dollars that the requests under way are expected to cost.
    pub reserved_usd: f64,
    /// Both as a share of the limit.
    pub share: f64,
    /// When it renews.
    pub renews_at: Timestamp,
}

/// A budget with what counts toward it.
struct Budget {
    which: Which,
    policy: BudgetPolicy,
    limit: Usd,
    spent: Usd,
    reserved: Usd,
    renews: Timestamp,
}

/// The budgets and what the fleet has spent of them.
#[derive(Clone, Debug, Default)]
pub struct Budgets {
    limits: Limits,
    spent: Account,
    totals: BTreeMap<String, Usd>,
}

impl Budgets {
    /// Nothing spent yet, as far as is known: see [`Budgets::refresh`].
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Whether there is nothing to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Reads what all workers have saved; every second or two while there are budgets. After an error what was known before counts.
    pub async fn refresh(&mut self, registers: &dyn Registers) -> PortResult<()> {
        if !self.is_empty() {
            self.set_spent(super::spent(registers).await?);
        }
        Ok(())
    }

    /// Takes over what was spent.
    pub fn set_spent(&mut self, spent: Account) {
        self.totals = spent.periods().map(|period| (period.to_owned(), spent.total(period))).collect();
        self.spent = spent;
    }

    /// What the budgets say of a request: the strictest of those that cover it. `reserved` is what is under way besides it. More
    /// spent, reserved or asked for never makes it milder.
    #[must_use]
    pub fn verdict(&self, ask: &Ask<'_>, reserved: &Reserved, now: Timestamp) -> Verdict {
        let verdicts = self.covering(ask.tenant, reserved, now).map(|budget| self.judge(&budget, ask));
        verdicts.fold(
            Verdict::Go,
            |strictest, next| {
                if next.strictness() > strictest.strictness() { next } else { strictest }
            },
        )
    }

    /// The budgets that keep a request back or refuse it for what was spent alone, each with when it renews; not those that it would
    /// exceed even if nothing was spent.
    #[must_use]
    pub fn blocking(&self, ask: &Ask<'_>, now: Timestamp) -> Vec<(Which, Timestamp)> {
        let blocks = |budget: &Budget| match self.judge(budget, ask) {
            Verdict::Go | Verdict::Downgrade => false,
            Verdict::Wait { .. } => true,
            Verdict::Refuse(failure) => failure.retryable,
        };
        let nothing = Reserved::default();
        let blocking = self.covering(ask.tenant, &nothing, now).filter(blocks);
        blocking.map(|budget| (budget.which, budget.renews)).collect()
    }

    /// Whether what was spent alone sends requests of a tenant to a cheaper model.
    #[must_use]
    pub fn is_strained(&self, tenant: &Tenant, now: Timestamp) -> bool {
        let nothing = Reserved::default();
        self.covering(tenant, &nothing, now).any(|budget| {
            budget.policy == BudgetPolicy::Downgrade
                && budget.spent > Usd::of(budget.limit.dollars() * self.limits.downgrade_from)
        })
    }

    /// How every budget stands; those of all tenants first.
    #[must_use]
    pub fn standing(&self, reserved: &Reserved, now: Timestamp) -> Vec<Standing> {
        let tenants = self.limits.tenants.iter();
        let own = tenants.flat_map(|(tenant, own)| self.of_tenant(tenant, *own, reserved, now));
        self.all(reserved, now).into_iter().chain(own).flatten().map(Budget::standing).collect()
    }

    /// The budgets that cover what is a tenant's.
    fn covering(&self, tenant: &Tenant, reserved: &Reserved, now: Timestamp) -> impl Iterator<Item = Budget> {
        let own = self.limits.tenants.get_key_value(tenant);
        let own = own.map(|(tenant, own)| self.of_tenant(tenant, *own, reserved, now)).unwrap_or_default();
        own.into_iter().chain(self.all(reserved, now)).flatten()
    }

    fn all(&self, reserved: &Reserved, now: Timestamp) -> [Option<Budget>; 2] {
        let spent = |period: Period| self.totals.get(&period.at(now)).copied().unwrap_or_default();
        budgets(None, self.limits.all, spent, reserved.total(), now)
    }

    fn of_tenant(&self, tenant: &Tenant, own: Own, reserved: &Reserved, now: Timestamp) -> [Option<Budget>; 2] {
        let spent = |period: Period| self.spent.of(&period.at(now), tenant);
        budgets(Some(tenant), own, spent, reserved.of(tenant), now)
    }

    fn judge(&self, budget: &Budget, ask: &Ask<'_>) -> Verdict {
        let used = budget.spent + budget.reserved;
        let has_room = |cost: Usd| used < budget.limit && used + cost <= budget.limit;
        let cost = ask.usd.map(Usd::of).unwrap_or_default();
        let cheaper = ask.cheaper.filter(|_| budget.policy == BudgetPolicy::Downgrade).map(Usd::of);
        let is_strained = used + cost > Usd::of(budget.limit.dollars() * self.limits.downgrade_from);
        let least = match cheaper {
            Some(cheaper) if is_strained && has_room(cheaper) => return Verdict::Downgrade,
            Some(cheaper) if is_strained => cheaper,
            _ if has_room(cost) => return Verdict::Go,
            _ => cost,
        };
        if least > budget.limit {
            return Verdict::Refuse(budget.failure(least, true));
        }
        match budget.policy {
            BudgetPolicy::Reject => Verdict::Refuse(budget.failure(least, false)),
            BudgetPolicy::Delay | BudgetPolicy::Downgrade => {
                Verdict::Wait { until: budget.renews, which: budget.which.clone() }
            }
        }
    }
}

fn budgets(
    tenant: Option<&Tenant>,
    own: Own,
    spent: impl Fn(Period) -> Usd,
    reserved: Usd,
    now: Timestamp,
) -> [Option<Budget>; 2] {
    let budget = |period: Period, limit: Option<Usd>| {
        Some(Budget {
            which: Which { tenant: tenant.cloned(), period },
            policy: own.policy,
            limit: limit?,
            spent: spent(period),
            reserved,
            renews: period.ends(now),
        })
    };
    [budget(Period::Day, own.day), budget(Period::Month, own.month)]
}

impl Budget {
    fn failure(&self, cost: Usd, never: bool) -> Failure {
        let Self { which, limit, spent, reserved, renews, .. } = self;
        let message = if never {
            format!(
                "{which} is {limit}, and this request alone is expected to cost {cost}; shorten it, lower maxTokens, or have the operator raise the budget"
            )
        } else {
            format!(
                "{which} is {limit} and has no room: {spent} spent, {reserved} expected of requests under way, {cost} expected of this one; it renews at {renews}"
            )
        };
        Failure { kind: BUDGET_EXCEEDED.to_owned(), message, retryable: !never, field: None }
    }

    fn standing(self) -> Standing {
        let used = self.spent + self.reserved;
        Standing {
            policy: self.policy,
            limit_usd: self.limit.dollars(),
            spent_usd: self.spent.dollars(),
            reserved_usd: self.reserved.dollars(),
            share: used.dollars() / self.limit.dollars().max(f64::MIN_POSITIVE),
            renews_at: self.renews,
            which: self.which,
        }
    }
}

#[cfg(test)]
mod tests;
