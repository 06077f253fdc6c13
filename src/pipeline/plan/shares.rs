//! How tenants share a lane: start-time fair queueing by weight, urgent requests first.
//!
//! Each tenant has a virtual clock in each lane: being served moves it on by what that took of the lane, divided by the
//! tenant's weight. Whoever's clock is earliest goes next, and a tenant that had nothing to do starts at the lane's
//! own virtual time, the clock of what is being called now. So a flood of a million requests delays others by its
//! share and not more, however old it is, and what nobody else wants is free.
//!
//! Urgent requests go before all others and still count towards their tenant's share. A tenant that has had more than its
//! share of the lane by urgency alone, by [`URGENT_LEAD`], is served by its clock like everybody else until others have
//! been served as well.
//!
//! Kept in the planner's memory: a new planner starts with all clocks equal.

use std::collections::{HashMap, HashSet};

use crate::pipeline::fleet::LaneUse;
use crate::ports::WorkItem;
use crate::request::{Lane, RequestId, Tenant};

/// By how much urgent work of a tenant may be ahead of its share while others wait: what the lane's quota gives in so many seconds.
pub const URGENT_LEAD: f64 = 60.0;

/// The lanes' clocks.
#[derive(Debug, Default)]
pub struct Shares {
    lanes: HashMap<Lane, LaneClock>,
}

#[derive(Debug)]
struct LaneClock {
    now: f64,
    tenants: HashMap<Tenant, TenantClock>,
    /// What was chosen by the clocks and has not ended yet, with its tag.
    held: HashMap<RequestId, Tag>,
    /// What was chosen for its urgency and has not ended yet.
    urgent: HashSet<RequestId>,
}

/// A place in the order of a lane.
#[derive(Clone, Debug)]
struct Tag {
    tenant: Tenant,
    start: f64,
    rank: String,
}

#[derive(Clone, Copy, Debug)]
struct TenantClock {
    /// Where the next request of it starts.
    next: f64,
    /// Seconds of the lane that it had by urgency beyond its part of all that the lane gave meanwhile. In what the lane
    /// gives and not in time, so that it says the same of a lane that is slower than its quota.
    lead: f64,
    weight: f64,
}

/// A tenant's next request in a lane.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The request.
    pub item: &'a WorkItem,
    /// The tenant's weight.
    pub weight: f64,
}

/// Which class a choice goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Before all others.
    Urgent,
    /// By the tenants' clocks.
    Shared,
}

impl Shares {
    /// Forgets what has ended and moves the lanes' virtual times on to what is being called now: of what was chosen, the
    /// urgent ones and then the earliest, as many as are in flight. `waits` tells whether anything waits for a lane.
    pub fn observe(
        &mut self,
        held: impl Fn(&RequestId) -> bool,
        uses: &HashMap<String, LaneUse>,
        waits: impl Fn(&Lane) -> bool,
    ) {
        for (lane, clock) in &mut self.lanes {
            clock.urgent.retain(&held);
            let mut ended = clock.now;
            clock.held.retain(|id, tag| {
                let stays = held(id);
                if !stays {
                    ended = ended.max(tag.start);
                }
                stays
            });
            if clock.held.is_empty() && clock.urgent.is_empty() && !waits(lane) {
                // Nobody is behind any more: whoever comes next starts where the last one ended.
                clock.now = clock.tenants.values().map(|tenant| tenant.next).fold(ended, f64::max);
                clock.tenants.clear();
                continue;
            }
            let mut starts: Vec<f64> = clock.held.values().map(|tag| tag.start).collect();
            starts.sort_by(f64::total_cmp);
            let called = uses.get(lane.as_str()).map_or(0, |lane| lane.in_flight) as usize;
            let called = called.saturating_sub(clock.urgent.len());
            // Where the hold queue ran empty, the last start counts and not the last end: who waits must not lose what it is behind.
            clock.now = starts.get(called).or(starts.last()).map_or(ended, |start| start.max(clock.now));
            let now = clock.now;
            clock.tenants.retain(|_, tenant| tenant.next > now);
        }
    }

    /// Which of the heads of a lane goes next, one of each tenant and class at most; `None` when there are none.
    /// `urgent` and `shared` say whether one of that class may be chosen at all.
    pub fn choose(&mut self, lane: &Lane, heads: &[Head<'_>], urgent: bool, shared: bool) -> Option<(usize, Class)> {
        let clock = self.lane(lane);
        let tenants: HashSet<&Tenant> = heads.iter().map(|head| &head.item.flow.tenant).collect();
        let leads = |head: &Head<'_>| tenants.len() > 1 && clock.lead(&head.item.flow.tenant) > URGENT_LEAD;
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        for (index, head) in heads.iter().enumerate() {
            if head.item.flow.urgent && !leads(head) { first.push((index, head)) } else { rest.push((index, head)) }
        }
        let by_lead = |(_, a): &&(usize, &Head<'_>), (_, b): &&(usize, &Head<'_>)| {
            let lead = |head: &Head<'_>| clock.lead(&head.item.flow.tenant);
            lead(a).total_cmp(&lead(b)).then_with(|| a.item.rank.cmp(&b.item.rank))
        };
        let by_clock = |(_, a): &&(usize, &Head<'_>), (_, b): &&(usize, &Head<'_>)| {
            let start = |head: &Head<'_>| clock.start(&head.item.flow.tenant);
            start(a).total_cmp(&start(b)).then_with(|| a.item.rank.cmp(&b.item.rank))
        };
        let first = first.iter().filter(|_| urgent).min_by(by_lead).map(|(index, _)| (*index, Class::Urgent));
        first.or_else(|| rest.iter().filter(|_| shared).min_by(by_clock).map(|(index, _)| (*index, Class::Shared)))
    }

    /// Books a choice that takes `seconds` of the lane, among tenants whose weights add up to `weights`. Answers its rank in the hold
    /// queue and at the gates.
    pub fn take(&mut self, class: Class, head: Head<'_>, seconds: f64, weights: f64) -> String {
        let Head { item, weight } = head;
        let clock = self.lane(&item.flow.lane);
        let tenant = &item.flow.tenant;
        let start = clock.start(tenant);
        let urgent = if class == Class::Urgent { seconds } else { 0.0 };
        let mine = TenantClock { next: start + seconds / weight, lead: clock.lead(tenant) + urgent, weight };
        clock.tenants.insert(tenant.clone(), mine);
        let all = weights.max(weight);
        for tenant in clock.tenants.values_mut() {
            tenant.lead = (tenant.lead - seconds * tenant.weight / all).max(0.0);
        }
        if class == Class::Urgent && weights <= weight {
            // Nobody else wants the lane, so this is nobody's loss: who comes next starts from here.
            clock.now = clock.now.max(start);
        }
        if class == Class::Urgent {
            clock.urgent.insert(item.id.clone());
            return item.rank.clone();
        }
        let start = clock.overtake(&item.flow.tenant, &item.rank, start);
        let tag = Tag { tenant: item.flow.tenant.clone(), start, rank: item.rank.clone() };
        clock.held.insert(item.id.clone(), tag);
        shared_rank(start, &item.rank)
    }

    /// A choice that came to nothing.
    pub fn drop_choice(&mut self, lane: &Lane, id: &RequestId) {
        let clock = self.lane(lane);
        clock.held.remove(id);
        clock.urgent.remove(id);
    }

    fn lane(&mut self, lane: &Lane) -> &mut LaneClock {
        self.lanes.entry(lane.clone()).or_insert_with(|| LaneClock {
            now: 0.0,
            tenants: HashMap::new(),
            held: HashMap::new(),
            urgent: HashSet::new(),
        })
    }
}

impl LaneClock {
    fn start(&self, tenant: &Tenant) -> f64 {
        self.tenants.get(tenant).map_or(self.now, |tenant| tenant.next.max(self.now))
    }

    /// The place of a request that would have `start`: it overtakes what its own tenant has there of a later rank. Those move up
    /// one place each, the last of them to `start`, so that the tenant's places stay the same ones and virtual time does not
    /// wait for what is overtaken again and again. (Their messages keep the places they were sent with.)
    fn overtake(&mut self, tenant: &Tenant, rank: &str, start: f64) -> f64 {
        let mine = self.held.values_mut().filter(|tag| tag.tenant == *tenant && tag.rank.as_str() > rank);
        let mut later: Vec<&mut Tag> = mine.collect();
        later.sort_by(|a, b| a.start.total_cmp(&b.start).then_with(|| a.rank.cmp(&b.rank)));
        let mut place = start;
        for tag in later.into_iter().rev() {
            std::mem::swap(&mut place, &mut tag.start);
        }
        place
    }

    fn lead(&self, tenant: &Tenant) -> f64 {
        self.tenants.get(tenant).map_or(0.0, |tenant| tenant.lead)
    }
}

/// Sorts behind everything urgent, by virtual time, and then by the request's own rank.
fn shared_rank(start: f64, rank: &str) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "never negative; 16 digits last for ever"
    )]
    let start = (start * 1000.0) as u64;
    format!("1#{start:016}#{rank}")
}

#[cfg(test)]
mod tests;
