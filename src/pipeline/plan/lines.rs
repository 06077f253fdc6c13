//! The fronts of the backlog's lines: of every flow the best-ranked requests, read ahead in pages.
//!
//! The planner takes from these, so that what a plan reads does not depend on how long the backlog is. A front is read
//! anew when something has entered its list, since that may rank before what is known.

use std::collections::{HashMap, VecDeque};

use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::clock::Timestamp;
use crate::ports::ledger::FLOW_LAG;
use crate::ports::{Ledger, Page, PortResult, WorkItem, WorkList};
use crate::request::{Flow, RequestId};

/// Requests known ahead over all flows, about: what bounds the planner's memory.
const KNOWN: usize = 20_000;
/// Of one flow.
const LONGEST: usize = 1_000;
const SHORTEST: usize = 4;
/// Lists read at the same time.
const READS: usize = 16;

/// The fronts of all flows that may have something.
#[derive(Debug, Default)]
pub struct Lines {
    fronts: HashMap<Flow, Front>,
    /// Wall time of the last look at which flows there are.
    looked: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Front {
    items: VecDeque<WorkItem>,
    /// There may be more behind the last one.
    more: bool,
    /// Something may have come in before it.
    stale: bool,
}

impl Lines {
    /// Learns which flows something has entered since the last look, all there are at the first.
    pub async fn discover(&mut self, ledger: &dyn Ledger, now: Timestamp) -> PortResult<()> {
        let since = self.looked.map(|looked| looked - FLOW_LAG);
        for flow in ledger.flows(since).await? {
            self.fronts.entry(flow).or_default().stale = true;
        }
        self.looked = Some(now);
        Ok(())
    }

    /// Reads the fronts that are stale, or used up although there is more; none of those `held`, which a list may show for a moment
    /// after they have left it.
    pub async fn read(&mut self, ledger: &dyn Ledger, held: impl Fn(&RequestId) -> bool) -> PortResult<()> {
        let page = (KNOWN / self.fronts.len().max(1)).clamp(SHORTEST, LONGEST);
        let wanted = self.fronts.iter().filter(|(_, front)| front.stale || (front.items.is_empty() && front.more));
        let reads: Vec<_> = wanted
            .map(|(flow, _)| {
                let flow = flow.clone();
                async move {
                    let items = ledger.list(&WorkList::Ready(flow.clone()), Page::first(page)).await?;
                    Ok((flow, items))
                }
            })
            .collect();
        let read: Vec<(Flow, Vec<WorkItem>)> = stream::iter(reads).buffer_unordered(READS).try_collect().await?;
        for (flow, items) in read {
            let more = items.len() >= page;
            let items: VecDeque<WorkItem> = items.into_iter().filter(|item| !held(&item.id)).collect();
            if items.is_empty() && !more {
                self.fronts.remove(&flow);
            } else {
                self.fronts.insert(flow, Front { items, more, stale: false });
            }
        }
        Ok(())
    }

    /// The flows with the first request of each.
    pub fn heads(&self) -> impl Iterator<Item = (&Flow, &WorkItem)> {
        self.fronts.iter().filter_map(|(flow, front)| Some((flow, front.items.front()?)))
    }

    /// The flows with all that is known of each, in rank order.
    pub fn known(&self) -> impl Iterator<Item = (&Flow, &VecDeque<WorkItem>)> {
        self.fronts.iter().map(|(flow, front)| (flow, &front.items))
    }

    /// The first request of a flow.
    pub fn head(&self, flow: &Flow) -> Option<&WorkItem> {
        self.fronts.get(flow)?.items.front()
    }

    /// Takes the first request of a flow.
    pub fn pop(&mut self, flow: &Flow) -> Option<WorkItem> {
        self.fronts.get_mut(flow)?.items.pop_front()
    }

    /// Takes what is past its deadline, as far as it is known: what has a deadline ranks early.
    pub fn take_expired(&mut self, now: Timestamp) -> Vec<WorkItem> {
        let mut expired = Vec::new();
        for front in self.fronts.values_mut() {
            if front.items.iter().any(|item| is_past(item, now)) {
                let (past, left) = front.items.drain(..).partition(|item| is_past(item, now));
                front.items = left;
                expired.extend::<VecDeque<_>>(past);
            }
        }
        expired
    }

    /// Looks at this flow's list again: something that was taken may still be there.
    pub fn recheck(&mut self, flow: &Flow) {
        self.fronts.entry(flow.clone()).or_default().stale = true;
    }
}

fn is_past(item: &WorkItem, now: Timestamp) -> bool {
    item.deadline.is_some_and(|deadline| deadline <= now)
}
