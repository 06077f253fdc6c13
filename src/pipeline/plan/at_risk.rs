//! Deadlines that will not be met: found while there is still time to do something, and told once.
//!
//! Looked at is what is known of each line, its first thousand requests. A start is projected from what the lane has
//! lately started a minute, or could by its quota when it was not busy, and from the turns that other tenants take. So a
//! deadline is found to be at risk as soon as its request is among those, and not before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::{Planner, Term};
use crate::clock::Timestamp;
use crate::pipeline::alerts::conditions::Condition;
use crate::pipeline::fleet::LaneUse;
use crate::pipeline::lifecycle;
use crate::ports::{Applied, PortResult, WorkItem};
use crate::request::{Lane, RequestId, Tenant};

/// How often.
const LOOK: Duration = Duration::from_secs(10);
/// Requests told of in one look.
const TOLD: usize = 200;

/// What was found before.
#[derive(Debug, Default)]
pub struct Watch {
    looked: Option<Instant>,
    /// By the deadline that each was told of.
    told: HashMap<RequestId, Timestamp>,
}

/// A request that should start after its deadline.
struct Late {
    item: WorkItem,
    deadline: Timestamp,
    start: Timestamp,
}

impl Planner {
    /// Looks for requests whose projected start is after their deadline, marks them and tells on-call.
    pub(super) async fn watch_deadlines(&self, term: &mut Term) -> PortResult<()> {
        if term.watch.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Ok(());
        }
        term.watch.looked = Some(Instant::now());
        let uses = self.context.fleet.lane_uses();
        let mut found = Vec::new();
        for (lane, tenants) in lines_by_lane(term) {
            found.extend(self.late(term, lane, &tenants, uses.get(lane.as_str())));
        }
        let mut late: HashMap<(Lane, Tenant), u64> = HashMap::new();
        for Late { item, .. } in &found {
            *late.entry((item.flow.lane.clone(), item.flow.tenant.clone())).or_default() += 1;
        }
        found.retain(|late| term.watch.told.get(&late.item.id) != Some(&late.deadline));
        found.truncate(TOLD);
        let mut news: BTreeMap<(Lane, Tenant), Late> = BTreeMap::new();
        for new in found {
            let Late { item, deadline, start } = &new;
            term.watch.told.insert(item.id.clone(), *deadline);
            let Some(row) = self.ledger.get(&item.id).await? else { continue };
            let why = format!("at risk: it should start at {start}, after its deadline {deadline}");
            let Some(mark) = lifecycle::put_at_risk(&row, *start, why, self.context.clock.now()) else { continue };
            if let Applied::Done(_) = self.context.recorder.apply(mark).await {
                news.entry((item.flow.lane.clone(), item.flow.tenant.clone())).or_insert(new);
            }
        }
        let alerter = self.context.recorder.alerter();
        for ((lane, tenant), first) in news {
            let requests = late.get(&(lane.clone(), tenant.clone())).copied().unwrap_or(1);
            let Late { item: WorkItem { id: first, .. }, deadline, start } = first;
            alerter.tell(Condition::DeadlineAtRisk { lane, tenant, requests, first, deadline, start });
        }
        let late: BTreeSet<(Lane, Tenant)> = late.into_keys().collect();
        for condition in alerter.open() {
            if let Condition::DeadlineAtRisk { lane, tenant, .. } = &condition
                && !late.contains(&(lane.clone(), tenant.clone()))
            {
                alerter.recovered(&condition.key());
            }
        }
        Ok(())
    }

    /// The requests of a lane that should start too late, with when they should.
    fn late(
        &self,
        term: &Term,
        lane: &Lane,
        tenants: &HashMap<&Tenant, Vec<&WorkItem>>,
        busy: Option<&LaneUse>,
    ) -> Vec<Late> {
        let now = self.context.clock.now();
        let measured = busy.filter(|lane| lane.waiting > 0).and_then(|lane| lane.starts_per_minute).map(|n| 60.0 / n);
        let by_concurrency = self.average_call().as_secs_f64() / f64::from(self.settings.max_concurrent.max(1));
        let seconds = |item: &WorkItem| measured.unwrap_or_else(|| self.seconds(item).max(by_concurrency));
        let waiting = term.held.of_lane(lane).saturating_sub(busy.map_or(0, |lane| lane.in_flight as usize));
        let weights: f64 = tenants.keys().map(|tenant| self.allowance(tenant).weight).sum();
        let whole: f64 = tenants.values().flatten().map(|item| seconds(item)).sum();
        let mut found = Vec::new();
        for (tenant, items) in tenants {
            let share = self.allowance(tenant).weight / weights;
            let own: f64 = items.iter().map(|item| seconds(item)).sum();
            let mut before = 0.0;
            for item in items {
                // Others take turns, and no more of them than there are.
                let turns = (before / share).min(before + (whole - own));
                let start = now + Duration::from_secs_f64(turns + waiting as f64 * seconds(item));
                before += seconds(item);
                if let Some(deadline) = item.deadline.filter(|deadline| *deadline > now && *deadline < start) {
                    found.push(Late { item: (*item).clone(), deadline, start });
                }
            }
        }
        found.sort_by(|a, b| a.deadline.cmp(&b.deadline).then_with(|| a.item.id.cmp(&b.item.id)));
        found
    }
}

/// What is known of every lane: of each tenant its requests in rank order.
fn lines_by_lane(term: &Term) -> HashMap<&Lane, HashMap<&Tenant, Vec<&WorkItem>>> {
    let mut lanes: HashMap<&Lane, HashMap<&Tenant, Vec<&WorkItem>>> = HashMap::new();
    for (flow, items) in term.lines.known() {
        lanes.entry(&flow.lane).or_default().entry(&flow.tenant).or_default().extend(items);
    }
    lanes.retain(|_, tenants| tenants.values().flatten().any(|item| item.deadline.is_some()));
    for items in lanes.values_mut().flat_map(HashMap::values_mut) {
        items.sort_by(|a, b| a.rank.cmp(&b.rank));
    }
    lanes
}
