//! Ports that count what is asked of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use smoother::clock::Timestamp;
use smoother::ports::ledger::Counts;
use smoother::ports::{
    Applied, Delivery, Depth, Inserted, Ledger, Outgoing, Page, PortResult, Ports, Queue, Transition, Work, WorkItem,
    WorkList,
};
use smoother::request::{Flow, Priority, RequestId, Row};

/// Operations by name.
#[derive(Default)]
pub struct Operations(Mutex<BTreeMap<&'static str, u64>>);

impl Operations {
    fn add(&self, name: &'static str, count: usize) {
        *self.0.lock().unwrap().entry(name).or_default() += count as u64;
    }

    /// All so far.
    pub fn read(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap().clone()
    }
}

/// The same ports, counting the ledger and the hold queue.
pub fn counting(ports: &Ports) -> (Ports, Arc<Operations>) {
    let counts = Arc::<Operations>::default();
    let ledger = CountingLedger { inner: Arc::clone(&ports.ledger), counts: Arc::clone(&counts) };
    let hold = CountingQueue { inner: Arc::clone(&ports.hold), counts: Arc::clone(&counts) };
    (Ports { ledger: Arc::new(ledger), hold: Arc::new(hold), ..ports.clone() }, counts)
}

struct CountingLedger {
    inner: Arc<dyn Ledger>,
    counts: Arc<Operations>,
}

#[async_trait]
impl Ledger for CountingLedger {
    async fn insert(&self, rows: Vec<(Row, Option<Work>)>) -> Vec<PortResult<Inserted>> {
        self.counts.add("rows inserted", rows.len());
        self.inner.insert(rows).await
    }

    async fn apply(&self, transitions: Vec<Transition>) -> Vec<PortResult<Applied>> {
        self.counts.add("transitions", transitions.len());
        self.inner.apply(transitions).await
    }

    async fn get(&self, id: &RequestId) -> PortResult<Option<Row>> {
        self.counts.add("rows read", 1);
        self.inner.get(id).await
    }

    async fn list(&self, list: &WorkList, page: Page<'_>) -> PortResult<Vec<WorkItem>> {
        let items = self.inner.list(list, page).await?;
        let (call, rows) = match list {
            WorkList::Ready(_) => ("lists of ready", "rows listed of ready"),
            WorkList::Held => ("lists of held", "rows listed of held"),
            WorkList::Deferred => ("lists of deferred", "rows listed of deferred"),
            WorkList::Decided => ("lists of decided", "rows listed of decided"),
        };
        self.counts.add(call, 1);
        self.counts.add(rows, items.len());
        Ok(items)
    }

    async fn flows(&self, since: Option<Timestamp>) -> PortResult<Vec<Flow>> {
        self.counts.add("looks for flows", 1);
        self.inner.flows(since).await
    }

    fn list_lag(&self) -> Duration {
        self.inner.list_lag()
    }

    async fn ready_by_priority(&self) -> PortResult<BTreeMap<Priority, u64>> {
        self.counts.add("counts of ready", 1);
        self.inner.ready_by_priority().await
    }

    async fn counts(&self) -> PortResult<Counts> {
        self.counts.add("counts", 1);
        self.inner.counts().await
    }
}

struct CountingQueue {
    inner: Arc<dyn Queue>,
    counts: Arc<Operations>,
}

#[async_trait]
impl Queue for CountingQueue {
    async fn receive(&self, max: usize, wait: Duration) -> PortResult<Vec<Delivery>> {
        let received = self.inner.receive(max, wait).await?;
        self.counts.add("hold receives", 1);
        self.counts.add("hold messages received", received.len());
        Ok(received)
    }

    async fn send(&self, messages: Vec<Outgoing>) -> Vec<PortResult<()>> {
        self.counts.add("hold messages sent", messages.len());
        self.inner.send(messages).await
    }

    async fn delete(&self, receipts: Vec<String>) -> Vec<PortResult<()>> {
        self.counts.add("hold messages deleted", receipts.len());
        self.inner.delete(receipts).await
    }

    async fn extend(&self, receipts: Vec<String>, after: Duration) -> Vec<PortResult<()>> {
        self.counts.add("hold messages extended", receipts.len());
        self.inner.extend(receipts, after).await
    }

    async fn depth(&self) -> PortResult<Depth> {
        self.counts.add("hold depths", 1);
        self.inner.depth().await
    }

    fn name(&self) -> &str {
        self.inner.name()
    }
}
