//! The fronts of the backlog's lines: of every flow the best-ranked requests, read ahead in pages.
//!
//! The planner takes from these, so that what a plan reads does not depend on how long the backlog is. A front is read
//! anew when something has entered its list, since that may rank before what is known: at once where nothing is known or
//! it may be urgent, and else once a second, however much arrives.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::ports::ledger::FLOW_LAG;
use crate::ports::{Ledger, Page, PortResult, WorkItem, WorkList};
use crate::request::{Flow, RequestId};

/// Requests known ahead over all flows, about: what bounds the planner's memory.
const KNOWN: usize = 20_000;
/// Of one flow. Since a front is read anew while requests arrive, what is read ahead is mostly read in vain.
const LONGEST: usize = 250;
const SHORTEST: usize = 4;
/// Between two reads of a front that has something, of a flow that is not urgent.
const ANEW: Duration = Duration::from_secs(1);
/// Between two looks at all flows there are: whatever was missed or lost on the way is found by then.
const ALL_AGAIN: Duration = Duration::from_mins(1);
/// Lists read at the same time.
const READS: usize = 16;

/// The fronts of all flows that may have something.
#[derive(Debug, Default)]
pub struct Lines {
    fronts: HashMap<Flow, Front>,
    /// The last look at which flows there are, by both clocks.
    looked: Option<(Timestamp, Instant)>,
    looked_at_all: Option<Instant>,
}

#[derive(Debug, Default)]
struct Front {
    items: VecDeque<WorkItem>,
    /// The last one that was read, when there may be more behind it.
    more: Option<WorkItem>,
    /// Something may have come in before it.
    stale: bool,
    read: Option<Instant>,
}

impl Lines {
    /// Learns which flows something has entered since the last look; all there are at the first, and again once a minute. Where
    /// lists lag behind, it looks no more often than that: those reads cost money.
    pub async fn discover(&mut self, ledger: &dyn Ledger, now: Timestamp) -> PortResult<()> {
        if self.looked.is_some_and(|(_, looked)| looked.elapsed() < ledger.list_lag()) {
            return Ok(());
        }
        let all = self.looked_at_all.is_none_or(|looked| looked.elapsed() >= ALL_AGAIN);
        let since = self.looked.filter(|_| !all).map(|(looked, _)| looked - FLOW_LAG);
        for flow in ledger.flows(since).await? {
            self.fronts.entry(flow).or_default().stale = true;
        }
        self.looked = Some((now, Instant::now()));
        if all {
            self.looked_at_all = Some(Instant::now());
        }
        Ok(())
    }

    /// Reads the fronts that are stale and due from their beginning, and those that are used up from where they ended; none of those
    /// `held`, which a list may show for a moment after they have left it.
    pub async fn read(&mut self, ledger: &dyn Ledger, held: impl Fn(&RequestId) -> bool) -> PortResult<()> {
        let limit = (KNOWN / self.fronts.len().max(1)).clamp(SHORTEST, LONGEST);
        let wanted = self.fronts.iter().filter(|(flow, front)| front.is_wanted(flow));
        let reads: Vec<_> = wanted
            .map(|(flow, front)| {
                let (flow, behind) = (flow.clone(), front.more.clone().filter(|_| !front.stale));
                async move {
                    let page = Page::first(limit);
                    let page = behind.as_ref().map_or(page, |last| page.after(last));
                    let items = ledger.list(&WorkList::Ready(flow.clone()), page).await?;
                    Ok((flow, items))
                }
            })
            .collect();
        let read: Vec<(Flow, Vec<WorkItem>)> = stream::iter(reads).buffer_unordered(READS).try_collect().await?;
        for (flow, items) in read {
            let more = items.last().filter(|_| items.len() >= limit).cloned();
            let items: VecDeque<WorkItem> = items.into_iter().filter(|item| !held(&item.id)).collect();
            if items.is_empty() && more.is_none() {
                self.fronts.remove(&flow);
            } else {
                self.fronts.insert(flow, Front { items, more, stale: false, read: Some(Instant::now()) });
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
                // Should one of them not be ended after all, it is found again.
                front.stale = true;
                expired.extend::<VecDeque<_>>(past);
            }
        }
        expired
    }

    /// Looks at this flow's list again: something that was taken may still be there.
    pub fn recheck(&mut self, flow: &Flow) {
        let front = self.fronts.entry(flow.clone()).or_default();
        (front.stale, front.read) = (true, None);
    }
}

impl Front {
    fn is_wanted(&self, flow: &Flow) -> bool {
        if self.items.is_empty() {
            return self.stale || self.more.is_some();
        }
        self.stale && (flow.urgent || self.read.is_none_or(|read| read.elapsed() >= ANEW))
    }
}

fn is_past(item: &WorkItem, now: Timestamp) -> bool {
    item.deadline.is_some_and(|deadline| deadline <= now)
}

#[cfg(test)]
mod tests;
