//! All requests that are not final, page by page through the work lists: never a scan, and never more than a page in memory.

use std::collections::VecDeque;

use super::filter::{Filter, Stand};
use crate::clock::{Clock, Timestamp};
use crate::ports::{Ledger, Page, PortResult, Work, WorkItem, WorkList};
use crate::request::RequestId;

/// Items of a page.
pub const PAGE: usize = 500;

/// A walk through the lists that may have matches.
///
/// Rows move between lists meanwhile. What was there when the walk began and still waits where it stood when the walk
/// comes by is met; what moves behind its back is not, and what is put back into line may be met twice.
pub struct Walk<'a> {
    ledger: &'a dyn Ledger,
    filter: &'a Filter,
    clock: &'a Clock,
    began: Timestamp,
    parts: VecDeque<Part>,
    /// Where the page before ended.
    last: Option<(String, RequestId)>,
}

enum Part {
    Whole(WorkList),
    /// What was overdue in the hold queue when the walk began.
    Overdue,
    /// What is not overdue there now. What became overdue in between was cancelled, by this walk or another one, and may be
    /// as much as there is.
    Held,
}

/// A page of matches.
pub struct Matches {
    /// Those items that match in all but where they stand.
    pub items: Vec<WorkItem>,
    /// Only the rows tell where they stand, and whether they wait at all.
    pub held: bool,
}

impl<'a> Walk<'a> {
    /// Finds out which lists there are.
    pub async fn begin(ledger: &'a dyn Ledger, clock: &'a Clock, filter: &'a Filter) -> PortResult<Self> {
        let mut parts = VecDeque::new();
        if filter.stand.is_none_or(|stand| stand == Stand::Received) {
            let mut flows = ledger.flows(None).await?;
            flows.retain(|flow| filter.takes_flow(flow));
            flows.sort();
            parts.extend(flows.into_iter().map(|flow| Part::Whole(WorkList::Ready(flow))));
        }
        if filter.stand.is_none_or(|stand| stand == Stand::Deferred) {
            parts.push_back(Part::Whole(WorkList::Deferred));
        }
        if filter.stand.is_none_or(|stand| matches!(stand, Stand::Queued | Stand::Running)) {
            parts.extend([Part::Overdue, Part::Held]);
        }
        Ok(Self { ledger, filter, clock, began: clock.now(), parts, last: None })
    }

    /// The next page; `None` at the end.
    pub async fn next(&mut self) -> PortResult<Option<Matches>> {
        while let Some(part) = self.parts.front() {
            let (list, up_to) = match part {
                Part::Whole(list) => (list, None),
                Part::Overdue => (&WorkList::Held, Some(Work::time_key(Timestamp(self.began.0.saturating_sub(1))))),
                Part::Held => (&WorkList::Held, None),
            };
            if matches!(part, Part::Held) && self.last.is_none() {
                // Behind all of this very millisecond.
                let now = format!("{}~", Work::time_key(self.clock.now()));
                self.last = Some((now, RequestId::from_message_id("")));
            }
            let after = self.last.as_ref().map(|(sort, id)| (sort.as_str(), id));
            let page = Page { after, up_to: up_to.as_deref(), limit: PAGE };
            let mut items = self.ledger.list(list, page).await?;
            let held = *list == WorkList::Held;
            let Some(end) = items.last() else {
                self.last = None;
                self.parts.pop_front();
                continue;
            };
            self.last = Some((end.sort.clone(), end.id.clone()));
            items.retain(|item| self.filter.takes_item(item));
            return Ok(Some(Matches { items, held }));
        }
        Ok(None)
    }
}
