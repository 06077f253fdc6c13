//! How tenants share a lane: start-time fair queueing by weight, urgent requests first.
//!
//! Each tenant has a virtual clock in each lane: being served moves it on by what that took of the lane, divided by the
//! tenant's weight. Whoever's clock is earliest goes next, and a tenant that had nothing to do starts at the lane's
//! own virtual time, the clock of what is being called now. So a flood of a million requests delays others by its
//! share and not more, however old it is, and what nobody else wants is free.
//!
//! Urgent requests go before all others and still count towards their tenant's share. A tenant that has had more than its
//! share of the lane by urgency alone, by [`URGENT_LEAD`], is served by its clock for a while like everybody else.
//!
//! Kept in the planner's memory: a new planner starts with all clocks equal.

use std::collections::{HashMap, HashSet};

use tokio::time::Instant;

use crate::pipeline::fleet::LaneUse;
use crate::ports::WorkItem;
use crate::request::{Lane, RequestId, Tenant};

/// Seconds of a lane by which urgent work of a tenant may be ahead of its share while others wait.
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
    /// What was chosen and has not ended yet, with its tag.
    held: HashMap<RequestId, Tag>,
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
    /// Seconds of the lane that it is ahead by urgency; runs off with time.
    lead: f64,
    lead_at: Instant,
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
    /// earliest are, as many as are in flight.
    pub fn observe(&mut self, held: impl Fn(&RequestId) -> bool, uses: &HashMap<String, LaneUse>) {
        for (lane, clock) in &mut self.lanes {
            clock.held.retain(|id, _| held(id));
            let mut starts: Vec<f64> = clock.held.values().map(|tag| tag.start).collect();
            starts.sort_by(f64::total_cmp);
            let called = uses.get(lane.as_str()).map_or(0, |lane| lane.in_flight) as usize;
            let now = match starts.get(called).or(starts.last()) {
                Some(start) => *start,
                // Nothing is held: whoever comes next starts where the last one ended.
                None => clock.tenants.values().map(|tenant| tenant.next).fold(clock.now, f64::max),
            };
            clock.now = clock.now.max(now);
            let (now, at) = (clock.now, Instant::now());
            clock.tenants.retain(|_, tenant| tenant.next > now || tenant.lead(at) > 0.0);
        }
    }

    /// Which of the heads of a lane goes next, one of each tenant and class at most; `None` when there are none.
    /// `urgent` and `shared` say whether one of that class may be chosen at all.
    pub fn choose(&mut self, lane: &Lane, heads: &[Head<'_>], urgent: bool, shared: bool) -> Option<(usize, Class)> {
        let clock = self.lane(lane);
        let at = Instant::now();
        let tenants: HashSet<&Tenant> = heads.iter().map(|head| &head.item.flow.tenant).collect();
        let leads = |head: &Head<'_>| tenants.len() > 1 && clock.lead(&head.item.flow.tenant, at) > URGENT_LEAD;
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        for (index, head) in heads.iter().enumerate() {
            if head.item.flow.urgent && !leads(head) { first.push((index, head)) } else { rest.push((index, head)) }
        }
        let by_lead = |(_, a): &&(usize, &Head<'_>), (_, b): &&(usize, &Head<'_>)| {
            let lead = |head: &Head<'_>| clock.lead(&head.item.flow.tenant, at);
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
        let at = Instant::now();
        let (start, lead) = (clock.start(&item.flow.tenant), clock.lead(&item.flow.tenant, at));
        let lead = if class == Class::Urgent { lead + seconds * (weights / weight - 1.0).max(0.0) } else { lead };
        let mine = TenantClock { next: start + seconds / weight, lead, lead_at: at };
        clock.tenants.insert(item.flow.tenant.clone(), mine);
        if class == Class::Urgent {
            return item.rank.clone();
        }
        // It overtakes what its own tenant has there of a later rank, and takes over the earliest place of those.
        let later = |tag: &&Tag| tag.tenant == item.flow.tenant && tag.rank > item.rank;
        let start = clock.held.values().filter(later).map(|tag| tag.start).fold(start, f64::min);
        let tag = Tag { tenant: item.flow.tenant.clone(), start, rank: item.rank.clone() };
        clock.held.insert(item.id.clone(), tag);
        shared_rank(start, &item.rank)
    }

    /// A choice that came to nothing.
    pub fn drop_choice(&mut self, lane: &Lane, id: &RequestId) {
        self.lane(lane).held.remove(id);
    }

    fn lane(&mut self, lane: &Lane) -> &mut LaneClock {
        self.lanes.entry(lane.clone()).or_insert_with(|| LaneClock {
            now: 0.0,
            tenants: HashMap::new(),
            held: HashMap::new(),
        })
    }
}

impl LaneClock {
    fn start(&self, tenant: &Tenant) -> f64 {
        self.tenants.get(tenant).map_or(self.now, |tenant| tenant.next.max(self.now))
    }

    fn lead(&self, tenant: &Tenant, at: Instant) -> f64 {
        self.tenants.get(tenant).map_or(0.0, |tenant| tenant.lead(at))
    }
}

impl TenantClock {
    fn lead(&self, at: Instant) -> f64 {
        (self.lead - at.saturating_duration_since(self.lead_at).as_secs_f64()).max(0.0)
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
