//! Sums of what was spent: by day and month of UTC, by tenant.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::usd::Usd;
use crate::clock::Timestamp;
use crate::request::Tenant;

/// Under this name stand the tenants that have no sum of their own; it is the name of none.
const OTHERS: &str = "*";
/// Tenants without a budget whose sums are kept first when not all fit: those that spend most.
const LARGEST: usize = 100;

/// Dollars by day (`2026-11-21`) or month (`2026-11`), by tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Account(BTreeMap<String, BTreeMap<String, Usd>>);

impl Account {
    /// Adds what a tenant spent at a time, to its day and its month.
    pub(super) fn add(&mut self, tenant: &str, usd: Usd, at: Timestamp) {
        for period in [at.day(), at.month()] {
            let tenants = self.0.entry(period).or_default();
            match tenants.get_mut(tenant) {
                Some(sum) => *sum += usd,
                None => _ = tenants.insert(tenant.to_owned(), usd),
            }
        }
    }

    /// Adds all of another account.
    pub(super) fn merge(&mut self, other: &Self) {
        for (period, tenants) in &other.0 {
            let own = self.0.entry(period.clone()).or_default();
            for (tenant, usd) in tenants {
                *own.entry(tenant.clone()).or_default() += *usd;
            }
        }
    }

    /// Whether nothing was added.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a tenant spent in a day or month.
    #[must_use]
    pub fn of(&self, period: &str, tenant: &Tenant) -> Usd {
        self.0.get(period).and_then(|tenants| tenants.get(tenant.as_str())).copied().unwrap_or_default()
    }

    /// What was spent in a day or month.
    #[must_use]
    pub fn total(&self, period: &str) -> Usd {
        self.0.get(period).into_iter().flat_map(BTreeMap::values).copied().sum()
    }

    /// The days and months in which anything was spent.
    pub fn periods(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether its last month lies before `month`.
    pub(super) fn is_over(&self, month: &str) -> bool {
        self.0.keys().all(|period| period.get(..month.len()).is_none_or(|m| m < month))
    }

    /// Keeps the present day and month, those before, and what other clocks may call the next.
    pub(super) fn forget_before(&mut self, now: Timestamp) {
        let yesterday = (now - Duration::from_hours(24)).day();
        let first = Timestamp::parse(&format!("{}-01T00:00:00Z", now.month())).unwrap_or(now);
        let last_month = (first - Duration::from_millis(1)).month();
        self.0.retain(|period, _| {
            let oldest = if period.len() == yesterday.len() { &yesterday } else { &last_month };
            period >= oldest
        });
    }

    /// Gives up sums until it takes no more than `bytes` as JSON: of days and months that are over, then of tenants that have no
    /// budget, the smallest first; if need be of those that have one, which is told. Totals stay what they are.
    pub(super) fn fit(&mut self, bytes: usize, budgeted: &BTreeSet<Tenant>, now: Timestamp) {
        if self.bytes() <= bytes {
            return;
        }
        let present = [now.day(), now.month()];
        self.lump(|period, tenants| if present.iter().any(|p| p == period) { tenants } else { Vec::new() });
        let has_budget = |name: &str| Tenant::new(name).is_ok_and(|tenant| budgeted.contains(&tenant));
        for others in [LARGEST, LARGEST / 10, 0] {
            if self.bytes() <= bytes {
                return;
            }
            self.lump(|_, tenants| {
                let (mut kept, rest): (Vec<_>, Vec<_>) = tenants.into_iter().partition(|(name, _)| has_budget(name));
                kept.extend(rest.into_iter().take(others));
                kept
            });
        }
        let mut most = budgeted.len();
        while self.bytes() > bytes && most > 0 {
            most /= 2;
            tracing::error!(
                tenants = budgeted.len(),
                kept = most,
                "more tenants have budgets than one worker can count for; those that spend least are not bounded by theirs"
            );
            self.lump(|_, tenants| tenants.into_iter().take(most).collect());
        }
    }

    /// Puts all tenants under one name that are not chosen from a period's, which come with the largest first.
    fn lump(&mut self, choose: impl Fn(&str, Vec<(String, Usd)>) -> Vec<(String, Usd)>) {
        for (period, tenants) in &mut self.0 {
            let total: Usd = tenants.values().copied().sum();
            let mut sums: Vec<_> = std::mem::take(tenants).into_iter().filter(|(name, _)| name != OTHERS).collect();
            sums.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            *tenants = choose(period, sums).into_iter().collect();
            let rest = total.less(tenants.values().copied().sum());
            if rest > Usd::default() {
                tenants.insert(OTHERS.to_owned(), rest);
            }
        }
    }

    fn bytes(&self) -> usize {
        serde_json::to_string(self).map_or(0, |json| json.len())
    }
}
