//! What is in the hold queue or being called, as the planner knows it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::pipeline::rank;
use crate::ports::WorkItem;
use crate::request::{Lane, RequestId, Tenant};

/// Held requests by id, with counts.
#[derive(Debug, Default)]
pub struct Held {
    known: HashMap<RequestId, Place>,
    by_lane: HashMap<Lane, usize>,
    by_tenant: HashMap<Tenant, usize>,
    urgent: usize,
}

#[derive(Debug)]
struct Place {
    lane: Lane,
    tenant: Tenant,
    urgent: bool,
    since: Instant,
}

impl Held {
    /// Takes over what the ledger lists; what was added within `lag` may not be listed yet.
    pub fn observe(&mut self, listed: Vec<WorkItem>, lag: Duration) {
        let before = std::mem::take(self);
        let mut before = before.known;
        for item in listed {
            let known = before.remove(&item.id);
            let urgent = known.as_ref().map_or_else(|| rank::is_urgent(&item.rank), |place| place.urgent);
            let since = known.map_or_else(Instant::now, |place| place.since);
            self.insert(item.id, Place { lane: item.flow.lane, tenant: item.flow.tenant, urgent, since });
        }
        for (id, place) in before.into_iter().filter(|(_, place)| place.since.elapsed() < lag) {
            self.insert(id, place);
        }
    }

    /// One more, that goes as urgent or not.
    pub fn add(&mut self, item: &WorkItem, urgent: bool) {
        let (lane, tenant) = (item.flow.lane.clone(), item.flow.tenant.clone());
        self.insert(item.id.clone(), Place { lane, tenant, urgent, since: Instant::now() });
    }

    /// One less.
    pub fn remove(&mut self, id: &RequestId) {
        let Some(place) = self.known.remove(id) else { return };
        for count in [self.by_lane.get_mut(&place.lane), self.by_tenant.get_mut(&place.tenant)].into_iter().flatten() {
            *count = count.saturating_sub(1);
        }
        self.urgent -= usize::from(place.urgent);
    }

    /// Whether it is held.
    pub fn contains(&self, id: &RequestId) -> bool {
        self.known.contains_key(id)
    }

    /// All of them.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Urgent ones and others.
    pub fn by_class(&self) -> (usize, usize) {
        (self.urgent, self.known.len() - self.urgent)
    }

    /// Of a lane.
    pub fn of_lane(&self, lane: &Lane) -> usize {
        self.by_lane.get(lane).copied().unwrap_or(0)
    }

    /// Of a tenant.
    pub fn of_tenant(&self, tenant: &Tenant) -> usize {
        self.by_tenant.get(tenant).copied().unwrap_or(0)
    }

    /// The lanes that have any.
    pub fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.by_lane.iter().filter(|(_, count)| **count > 0).map(|(lane, _)| lane)
    }

    /// One that was known counts once: it may have been put back into line and chosen again before it was looked at.
    fn insert(&mut self, id: RequestId, place: Place) {
        self.remove(&id);
        *self.by_lane.entry(place.lane.clone()).or_default() += 1;
        *self.by_tenant.entry(place.tenant.clone()).or_default() += 1;
        self.urgent += usize::from(place.urgent);
        self.known.insert(id, place);
    }
}
