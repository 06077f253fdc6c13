//! All requests that are neither decided nor final, page by page through the work lists: never a scan, and never more than a page in memory.

use std::collections::VecDeque;

use super::filter::{Filter, Stand};
use crate::ports::{Ledger, Page, PortResult, WorkItem, WorkList};

/// Items of a page.
pub const PAGE: usize = 500;

/// A walk through the lists that may have matches.
///
/// Rows move between lists meanwhile. What was there when the walk began and still waits where it stood when the walk
/// comes by is met; what moves behind its back is not, and what is put back into line may be met twice.
pub struct Walk<'a> {
    ledger: &'a dyn Ledger,
    filter: &'a Filter,
    lists: VecDeque<WorkList>,
    /// Where the page before ended.
    last: Option<WorkItem>,
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
    pub async fn begin(ledger: &'a dyn Ledger, filter: &'a Filter) -> PortResult<Self> {
        let mut lists = VecDeque::new();
        if filter.stand.is_none_or(|stand| stand == Stand::Received) {
            let mut flows = ledger.flows(None).await?;
            flows.retain(|flow| filter.takes_flow(flow));
            flows.sort();
            lists.extend(flows.into_iter().map(WorkList::Ready));
        }
        if filter.stand.is_none_or(|stand| stand == Stand::Deferred) {
            lists.push_back(WorkList::Deferred);
        }
        if filter.stand.is_none_or(|stand| matches!(stand, Stand::Queued | Stand::Running)) {
            lists.push_back(WorkList::Held);
        }
        Ok(Self { ledger, filter, lists, last: None })
    }

    /// The next page; `None` at the end.
    pub async fn next(&mut self) -> PortResult<Option<Matches>> {
        while let Some(list) = self.lists.front() {
            let page = Page::first(PAGE);
            let page = self.last.as_ref().map_or(page, |last| page.after(last));
            let mut items = self.ledger.list(list, page).await?;
            let held = *list == WorkList::Held;
            let Some(end) = items.last() else {
                self.last = None;
                self.lists.pop_front();
                continue;
            };
            self.last = Some(end.clone());
            items.retain(|item| self.filter.takes_item(item));
            return Ok(Some(Matches { items, held }));
        }
        Ok(None)
    }
}
