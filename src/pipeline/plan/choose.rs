//! Choosing who goes to the hold queue next.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::shares::{Class, Head};
use super::tenants::Allowance;
use super::{Planner, SWEEP, Term};
use crate::pipeline::fleet::LaneUse;
use crate::pipeline::lifecycle;
use crate::ports::{Applied, Page, PortResult, Work, WorkItem, WorkList};
use crate::request::{Flow, Lane, Tenant};

/// A request and its rank in the hold queue.
struct Chosen {
    item: WorkItem,
    rank: String,
}

/// What may be chosen of a lane.
struct Open {
    lane: Lane,
    flows: Vec<Flow>,
    held: usize,
    cap: usize,
    /// Who would go next; `None` when that must be asked anew.
    next: Option<Next>,
}

enum Next {
    Nobody,
    Goes(Flow, Class),
}

impl Planner {
    /// Fills the hold queue as far as there is room and anybody may go.
    pub(super) async fn top_up(&self, term: &mut Term) -> PortResult<()> {
        let capacity = self.capacity();
        let listed = self.ledger.list(&WorkList::Held, Page::first(capacity + SWEEP)).await?;
        for item in &listed {
            self.reserve(&mut term.money, item);
        }
        term.held.observe(listed, self.ledger.list_lag());
        let mut uses = self.context.fleet.lane_uses();
        for own in self.context.gate.snapshots() {
            uses.entry(own.lane.clone()).or_default().paused |= own.paused_for_long();
        }
        let waits = |lane: &Lane| term.lines.heads().any(|(flow, _)| flow.lane == *lane);
        term.shares.observe(|id| term.held.contains(id), &uses, waits);
        term.money.observe(|id| term.held.contains(id), self.context.clock.now());
        if term.held.len() >= capacity {
            return Ok(());
        }
        term.lines.discover(&*self.ledger, self.context.clock.now()).await?;
        loop {
            term.lines.read(&*self.ledger, |id| term.held.contains(id)).await?;
            self.keep_budgets(term).await?;
            let chosen = self.choose(term, capacity, &uses);
            if chosen.is_empty() {
                return Ok(());
            }
            self.hold(term, chosen).await?;
        }
    }

    /// Chooses until nobody is left who may go. Some places are kept for urgent requests, and some from them.
    fn choose(&self, term: &mut Term, capacity: usize, uses: &HashMap<String, LaneUse>) -> Vec<Chosen> {
        let kept = (capacity / 10).max(1);
        let mut open = self.open(term, capacity, uses);
        let shared_wait = open.iter().flat_map(|lane| &lane.flows).any(|flow| !flow.urgent);
        let mut chosen = Vec::new();
        loop {
            let free = capacity.saturating_sub(term.held.len());
            let (urgent_held, shared_held) = term.held.by_class();
            // The first to come, of either class, may have all; the others only what is not kept.
            let urgent = free > 0 && (!shared_wait || shared_held >= kept || urgent_held + kept < capacity);
            let shared = free > kept || (free > 0 && capacity == 1);
            if !urgent && !shared {
                return chosen;
            }
            for lane in &mut open {
                if lane.held < lane.cap && lane.next.is_none() {
                    lane.next = Some(self.next(term, lane, urgent, shared));
                }
            }
            let fullness = |lane: &Open| lane.held as f64 / lane.cap as f64;
            let best = open
                .iter_mut()
                .filter(|lane| lane.held < lane.cap)
                .filter_map(|lane| match &lane.next {
                    Some(Next::Goes(flow, class)) => Some((flow.clone(), *class, lane)),
                    _ => None,
                })
                .min_by(|(_, a, lane_a), (_, b, lane_b)| {
                    let shared = |class: &Class| *class == Class::Shared;
                    shared(a).cmp(&shared(b)).then_with(|| fullness(lane_a).total_cmp(&fullness(lane_b)))
                });
            let Some((flow, class, lane)) = best else { return chosen };
            let weights = self.weights(lane);
            lane.held += 1;
            lane.next = None;
            let Some(item) = term.lines.pop(&flow) else { continue };
            let allowance = self.allowance(&flow.tenant);
            let rank = {
                let head = Head { item: &item, weight: allowance.weight };
                term.shares.take(class, head, self.seconds(&item), weights)
            };
            term.rates.take(&flow.tenant, &allowance);
            term.held.add(&item, class == Class::Urgent);
            self.reserve(&mut term.money, &item);
            let changed = !may_go(term, &flow.tenant, &allowance) || !term.money.budgets.is_empty();
            if changed || free - 1 == kept {
                for lane in &mut open {
                    lane.next = None;
                }
            }
            chosen.push(Chosen { item, rank });
        }
    }

    /// The lanes that anybody may go to, with the flows that operators have not paused. At the gate of a lane that is paused
    /// for long they would only be sent back.
    fn open(&self, term: &Term, capacity: usize, uses: &HashMap<String, LaneUse>) -> Vec<Open> {
        let mut by_lane: HashMap<Lane, Vec<Flow>> = HashMap::new();
        let now = self.context.clock.now();
        for (flow, _) in term.lines.heads().filter(|(flow, _)| !term.paused.covers(flow, now)) {
            by_lane.entry(flow.lane.clone()).or_default().push(flow.clone());
        }
        let several = by_lane.keys().chain(term.held.lanes()).collect::<HashSet<_>>().len() > 1;
        by_lane
            .into_iter()
            .filter(|(lane, _)| uses.get(lane.as_str()).is_none_or(|lane| !lane.paused))
            .map(|(lane, flows)| Open {
                held: term.held.of_lane(&lane),
                cap: self.lane_cap(&lane, several, capacity),
                lane,
                flows,
                next: None,
            })
            .collect()
    }

    /// Who goes next of a lane.
    fn next(&self, term: &mut Term, lane: &Open, urgent: bool, shared: bool) -> Next {
        // Of each tenant and class the best-ranked one over all use cases.
        let mut heads: HashMap<(&Tenant, bool), Head<'_>> = HashMap::new();
        for flow in &lane.flows {
            let Some(item) = term.lines.head(flow) else { continue };
            let allowance = self.allowance(&flow.tenant);
            if !may_go(term, &flow.tenant, &allowance) || !self.can_be_paid(&term.money, item) {
                continue;
            }
            let head = Head { item, weight: allowance.weight };
            let best = heads.entry((&flow.tenant, flow.urgent)).or_insert(head);
            if item.rank < best.item.rank {
                *best = head;
            }
        }
        let heads: Vec<Head<'_>> = heads.into_values().collect();
        let choice = term.shares.choose(&lane.lane, &heads, urgent, shared);
        choice
            .and_then(|(index, class)| heads.get(index).map(|head| Next::Goes(head.item.flow.clone(), class)))
            .unwrap_or(Next::Nobody)
    }

    async fn hold(&self, term: &mut Term, chosen: Vec<Chosen>) -> PortResult<()> {
        let now = self.context.clock.now();
        let overdue = now + self.settings.overdue_after;
        let transitions = chosen
            .iter()
            .map(|Chosen { item, .. }| {
                let from = Work { list: WorkList::Ready(item.flow.clone()), sort: item.sort.clone() };
                lifecycle::hold(item.id.clone(), from, &lifecycle::token(), overdue, now)
            })
            .collect();
        let mut rows = Vec::new();
        let mut failed = Ok(());
        for (chosen, applied) in chosen.into_iter().zip(self.ledger.apply(transitions).await) {
            let not_held = match applied {
                Ok(Applied::Done(row)) => {
                    rows.push((*row, Some(chosen.rank)));
                    continue;
                }
                // Taken by somebody else, changed, or the list lagged behind.
                Ok(Applied::Refused(_)) => None,
                Err(error) => Some(error),
            };
            term.held.remove(&chosen.item.id);
            term.shares.drop_choice(&chosen.item.flow.lane, &chosen.item.id);
            if let Some(error) = not_held {
                term.lines.recheck(&chosen.item.flow);
                failed = Err(error);
            }
        }
        self.send(rows, overdue).await;
        failed
    }

    pub(super) fn allowance(&self, tenant: &Tenant) -> Allowance {
        self.settings.tenants.get(tenant).copied().unwrap_or_default()
    }

    /// The weights of the tenants that want the lane, added up.
    fn weights(&self, lane: &Open) -> f64 {
        let tenants: HashSet<&Tenant> = lane.flows.iter().map(|flow| &flow.tenant).collect();
        tenants.into_iter().map(|tenant| self.allowance(tenant).weight).sum()
    }

    /// What a request takes of its lane, in seconds: of the tokens a minute or of the requests a minute, whatever is more.
    pub(super) fn seconds(&self, item: &WorkItem) -> f64 {
        let quota = self.context.catalog.admitted(&item.flow.lane.model()).quota;
        let tokens = (item.estimate.input_tokens + item.estimate.max_output_tokens) as f64;
        let by_tokens = tokens / quota.tokens_per_minute.max(1.0);
        let by_requests = quota.requests_per_minute.map_or(0.0, |rpm| 1.0 / rpm);
        60.0 * by_tokens.max(by_requests)
    }

    pub(super) fn average_call(&self) -> Duration {
        self.context.tally.average_call().unwrap_or(self.settings.average_duration)
    }

    /// What a lane can start within the window; with several lanes never all there is.
    fn lane_cap(&self, lane: &Lane, several: bool, capacity: usize) -> usize {
        let quota = self.context.catalog.admitted(&lane.model()).quota;
        let average = self.average_call().as_secs_f64().max(0.01);
        let by_concurrency = f64::from(self.settings.max_concurrent) * 60.0 / average;
        let per_minute = quota.requests_per_minute.map_or(by_concurrency, |rpm| rpm.min(by_concurrency));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        let window = (per_minute * self.settings.window.as_secs_f64() / 60.0).clamp(1.0, 1e6) as usize;
        if several { window.min(capacity * 4 / 5).max(1) } else { window }
    }
}

/// Whether the limits of a tenant let another request of it go now.
fn may_go(term: &Term, tenant: &Tenant, allowance: &Allowance) -> bool {
    let in_flight = || term.held.of_tenant(tenant) < allowance.max_in_flight.map_or(usize::MAX, |most| most as usize);
    in_flight() && term.rates.allows(tenant, allowance)
}
