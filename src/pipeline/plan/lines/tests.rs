//! Fronts of a ledger that counts how often it is read.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::ports::ledger::{Counts, Inserted};
use crate::ports::{Applied, Transition, Work};
use crate::request::{Estimate, Lane, ModelId, Priority, Row, Tenant};

/// Lists that show everything that ever stood in them, as an index does that lags behind.
#[derive(Default)]
struct Lists {
    items: Mutex<BTreeMap<Flow, BTreeMap<String, WorkItem>>>,
    entered: Mutex<BTreeMap<Flow, Timestamp>>,
    reads: Mutex<usize>,
}

impl Lists {
    fn enters(&self, flow: &Flow, rank: u32, at: Timestamp) {
        let sort = format!("{rank:08}");
        let item = WorkItem {
            id: RequestId::new(format!("r{rank}")).unwrap(),
            sort: sort.clone(),
            flow: flow.clone(),
            priority: Priority::NORMAL,
            rank: sort.clone(),
            estimate: Estimate::default(),
            deadline: None,
        };
        self.items.lock().unwrap().entry(flow.clone()).or_default().insert(sort, item);
        self.entered.lock().unwrap().insert(flow.clone(), at);
    }

    fn reads(&self) -> usize {
        std::mem::take(&mut self.reads.lock().unwrap())
    }
}

#[async_trait]
impl Ledger for Lists {
    async fn insert(&self, _: Vec<(Row, Option<Work>)>) -> Vec<PortResult<Inserted>> {
        Vec::new()
    }

    async fn apply(&self, _: Vec<Transition>) -> Vec<PortResult<Applied>> {
        Vec::new()
    }

    async fn get(&self, _: &RequestId) -> PortResult<Option<Row>> {
        Ok(None)
    }

    async fn list(&self, list: &WorkList, page: Page<'_>) -> PortResult<Vec<WorkItem>> {
        let WorkList::Ready(flow) = list else { return Ok(Vec::new()) };
        *self.reads.lock().unwrap() += 1;
        let all = self.items.lock().unwrap();
        let items = all.get(flow).into_iter().flat_map(BTreeMap::values);
        let behind = |item: &&WorkItem| page.after.is_none_or(|(sort, _)| item.sort.as_str() > sort);
        Ok(items.filter(behind).take(page.limit).cloned().collect())
    }

    async fn flows(&self, since: Option<Timestamp>) -> PortResult<Vec<Flow>> {
        let entered = self.entered.lock().unwrap();
        Ok(entered
            .iter()
            .filter(|(_, at)| since.is_none_or(|since| **at >= since))
            .map(|(flow, _)| flow.clone())
            .collect())
    }

    async fn ready_by_priority(&self) -> PortResult<BTreeMap<Priority, u64>> {
        Ok(BTreeMap::new())
    }

    async fn counts(&self) -> PortResult<Counts> {
        Ok(Counts::default())
    }
}

fn flow(urgent: bool) -> Flow {
    let lane = Lane::new("default", "us-east-1", &ModelId::new("m").unwrap());
    Flow { lane, tenant: Tenant::default(), urgent, use_case: None }
}

const NOW: Timestamp = Timestamp(1_795_252_123_456);

#[tokio::test(start_paused = true)]
async fn a_front_goes_on_behind_what_a_lagging_list_still_shows() {
    let (lists, mut lines, flow) = (Lists::default(), Lines::default(), flow(false));
    let count = u32::try_from(2 * LONGEST + 10).unwrap();
    for rank in 0..count {
        lists.enters(&flow, rank, NOW);
    }
    lines.discover(&lists, NOW).await.unwrap();
    let mut held = HashSet::new();
    for _ in 0..3 {
        lines.read(&lists, |id| held.contains(id)).await.unwrap();
        while let Some(item) = lines.pop(&flow) {
            assert!(held.insert(item.id), "twice");
        }
    }
    assert_eq!(held.len(), count as usize);
}

#[tokio::test(start_paused = true)]
async fn arrivals_cost_a_read_a_second_and_urgent_ones_are_seen_at_once() {
    for urgent in [false, true] {
        let (lists, mut lines, flow) = (Lists::default(), Lines::default(), flow(urgent));
        lists.enters(&flow, 1_000, NOW);
        for step in 0..20 {
            lists.enters(&flow, 900 - step, NOW);
            lines.discover(&lists, NOW).await.unwrap();
            lines.read(&lists, |_| false).await.unwrap();
            if urgent {
                assert_eq!(lines.head(&flow).unwrap().sort, format!("{:08}", 900 - step));
            }
            tokio::time::advance(Duration::from_millis(50)).await;
        }
        assert_eq!(lists.reads(), if urgent { 20 } else { 1 });
        lines.read(&lists, |_| false).await.unwrap();
        assert_eq!(lines.head(&flow).unwrap().sort, "00000881", "a second later all is known");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_on_the_way_is_found_within_a_minute() {
    let (lists, mut lines, flow) = (Lists::default(), Lines::default(), flow(false));
    lists.enters(&flow, 1, NOW);
    lines.discover(&lists, NOW).await.unwrap();
    lines.read(&lists, |_| false).await.unwrap();
    lines.pop(&flow).unwrap();
    let later = NOW + Duration::from_secs(61);
    tokio::time::advance(Duration::from_secs(61)).await;
    lines.discover(&lists, later).await.unwrap();
    lines.read(&lists, |_| false).await.unwrap();
    assert_eq!(lines.head(&flow).unwrap().sort, "00000001");
}
