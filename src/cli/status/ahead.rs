//! What goes before a request: counted in the work lists, as far as it is worth counting, and never guessed.

use std::collections::BTreeMap;

use crate::cli::place::Place;
use crate::ports::{Ledger, Page, PortResult, WorkList};
use crate::request::{Flow, Lane, Request, Row, Status, Tenant};

/// Others are counted up to this many in a list.
pub const COUNTED: usize = 1_000;
/// Flows of the lane that are looked at.
const FLOWS: usize = 200;

/// What goes before a request that waits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ahead {
    /// Of its own tenant and lane in the backlog, ranked before it.
    pub own: u64,
    /// There are more of those than were counted.
    pub own_more: bool,
    /// Urgent ones of other tenants in the backlog of the lane. None when it is urgent itself: they take turns.
    pub urgent: u64,
    /// Other tenants with requests in the backlog of its lane that take turns with it.
    pub others: BTreeMap<Tenant, Other>,
    /// Its tenant's weight.
    pub weight: f64,
    /// There are more urgent ones, or more flows, than were counted.
    pub more: bool,
    /// Of its lane in the hold queue or running, as far as they go before it.
    pub held: u64,
}

/// Another tenant that wants the lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Other {
    /// Its requests in the backlog, of the same class; at most [`COUNTED`] a list.
    pub requests: u64,
    /// There are more.
    pub more: bool,
    /// Its weight.
    pub weight: f64,
}

impl Ahead {
    /// Counts what goes before a request that waits.
    pub async fn count(place: &Place, row: &Row) -> PortResult<Self> {
        let (ledger, request) = (&*place.ports.ledger, &row.request);
        let weight = |tenant: &Tenant| place.config.tenant(tenant).weight;
        let mut ahead = Self { weight: weight(&request.tenant), ..Self::default() };
        if row.status == Status::Received {
            let flows = of_lane(ledger, &request.lane).await?;
            ahead.more |= flows.len() > FLOWS;
            for flow in flows.iter().take(FLOWS) {
                ahead.add(ledger, request, flow, weight(&flow.tenant)).await?;
            }
        }
        let held = ledger.list(&WorkList::Held, Page::first(COUNTED)).await?;
        let same_lane = held.iter().filter(|item| item.flow.lane == request.lane && item.id != request.id);
        // What is held stands before all of the backlog; among the held of a tenant the rank decides.
        let own = |tenant: &Tenant| *tenant == request.tenant;
        let before = same_lane
            .filter(|item| row.status == Status::Received || !own(&item.flow.tenant) || item.rank < request.rank);
        ahead.held = before.count() as u64;
        Ok(ahead)
    }

    async fn add(&mut self, ledger: &dyn Ledger, request: &Request, flow: &Flow, weight: f64) -> PortResult<()> {
        let urgent = request.flow().urgent;
        let own = flow.tenant == request.tenant;
        if urgent && !flow.urgent {
            return Ok(());
        }
        let list = WorkList::Ready(flow.clone());
        let page = Page::first(COUNTED + 1);
        let page = if own { page.up_to(&request.rank) } else { page };
        let items = ledger.list(&list, page).await?;
        let more = items.len() > COUNTED;
        let count = items.iter().take(COUNTED).filter(|item| item.id != request.id).count() as u64;
        if own {
            self.own += count;
            self.own_more |= more;
        } else if flow.urgent && !urgent {
            self.urgent += count;
            self.more |= more;
        } else if count > 0 {
            let other = self.others.entry(flow.tenant.clone()).or_insert(Other { requests: 0, more: false, weight });
            other.requests += count;
            other.more |= more;
        }
        Ok(())
    }

    /// The part of the lane that its tenant has while all of them wait, 0 to 1.
    pub fn share(&self) -> f64 {
        let others: f64 = self.others.values().map(|other| other.weight).sum();
        self.weight / (self.weight + others)
    }

    /// How many of the backlog go before it, as tenants take turns by weight.
    pub fn in_backlog(&self) -> u64 {
        let others = self.others.values().map(|other| self.turns(other).min(other.requests));
        self.own + self.urgent + others.sum::<u64>()
    }

    /// Whether there may be more of them than were counted.
    pub fn at_least(&self) -> bool {
        let cut = |other: &Other| other.more && self.turns(other) > other.requests;
        self.own_more || self.more || self.others.values().any(cut)
    }

    /// The turns that another tenant has, while it has any, before all that is before this request has gone.
    fn turns(&self, other: &Other) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count, never negative")]
        let turns = (self.own as f64 * other.weight / self.weight).ceil() as u64;
        turns
    }
}

async fn of_lane(ledger: &dyn Ledger, lane: &Lane) -> PortResult<Vec<Flow>> {
    let mut flows = ledger.flows(None).await?;
    flows.retain(|flow| flow.lane == *lane);
    flows.sort();
    Ok(flows)
}
