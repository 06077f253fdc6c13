//! What the requests under way are expected to cost.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::usd::Usd;
use crate::clock::Timestamp;
use crate::request::{RequestId, Tenant};

/// A request that left counts for this much longer: until its cost was saved (every two seconds) and read.
const LINGER: Duration = Duration::from_secs(5);

/// Estimates of what is held and running, by tenant. The planner keeps it up to date.
#[derive(Debug, Default)]
pub struct Reserved {
    held: HashMap<RequestId, (Tenant, Usd)>,
    /// Those that left, the first to be forgotten first.
    left: VecDeque<(Timestamp, Tenant, Usd)>,
    sums: BTreeMap<Tenant, Usd>,
    total: Usd,
}

impl Reserved {
    /// A request is under way from now on; said again, the new estimate counts.
    pub fn add(&mut self, id: RequestId, tenant: Tenant, usd: f64) {
        let usd = Usd::of(usd);
        *self.sums.entry(tenant.clone()).or_default() += usd;
        self.total += usd;
        if let Some((tenant, usd)) = self.held.insert(id, (tenant, usd)) {
            self.release(&tenant, usd);
        }
    }

    /// A request is not under way any more, however it ended; it counts for five more seconds.
    pub fn remove(&mut self, id: &RequestId, now: Timestamp) {
        if let Some((tenant, usd)) = self.held.remove(id) {
            self.left.push_back((now, tenant, usd));
        }
    }

    /// Forgets those that left more than five seconds ago; to be called before asking.
    pub fn settle(&mut self, now: Timestamp) {
        while self.left.front().is_some_and(|(left, ..)| now.since(*left) > LINGER) {
            if let Some((_, tenant, usd)) = self.left.pop_front() {
                self.release(&tenant, usd);
            }
        }
    }

    /// Whether a request is under way.
    #[must_use]
    pub fn contains(&self, id: &RequestId) -> bool {
        self.held.contains_key(id)
    }

    /// The requests under way.
    pub fn ids(&self) -> impl Iterator<Item = &RequestId> {
        self.held.keys()
    }

    /// What a tenant's are expected to cost.
    #[must_use]
    pub fn of(&self, tenant: &Tenant) -> Usd {
        self.sums.get(tenant).copied().unwrap_or_default()
    }

    /// What all are expected to cost.
    #[must_use]
    pub fn total(&self) -> Usd {
        self.total
    }

    fn release(&mut self, tenant: &Tenant, usd: Usd) {
        self.total = self.total.less(usd);
        if let Some(sum) = self.sums.get_mut(tenant) {
            *sum = sum.less(usd);
            if *sum == Usd::default() {
                self.sums.remove(tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_left_counts_five_seconds_more() {
        let (id, tenant) = (|n: &str| RequestId::new(n).unwrap(), Tenant::default());
        let mut reserved = Reserved::default();
        reserved.add(id("a"), tenant.clone(), 1.0);
        reserved.add(id("b"), tenant.clone(), 2.0);
        reserved.add(id("b"), tenant.clone(), 3.0);
        reserved.add(id("c"), Tenant::new("other").unwrap(), 5.0);
        assert_eq!(
            (reserved.of(&tenant), reserved.total()),
            (Usd::of(4.0), Usd::of(9.0)),
            "said again, the last counts"
        );
        let at = Timestamp(1_000_000);
        reserved.remove(&id("a"), at);
        reserved.remove(&id("unknown"), at);
        reserved.settle(at + LINGER);
        assert_eq!(reserved.of(&tenant), Usd::of(4.0));
        reserved.settle(at + LINGER + Duration::from_millis(1));
        assert_eq!((reserved.of(&tenant), reserved.total()), (Usd::of(3.0), Usd::of(8.0)));
        assert!(!reserved.contains(&id("a")) && reserved.contains(&id("b")));
        for name in ["b", "c"] {
            reserved.remove(&id(name), at);
        }
        reserved.settle(at + 2 * LINGER);
        assert_eq!((reserved.total(), reserved.sums.len()), (Usd::default(), 0));
    }
}
