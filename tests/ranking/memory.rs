//! All ports in memory: as fast as may be, so that a day fits into seconds, and exact.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use smoother::clock::Timestamp;
use smoother::ports::ledger::{Counts, Patch};
use smoother::ports::payloads::{Fetched, ForeignObject};
use smoother::ports::{
    Alert, Alerts, Applied, Datum, Delivery, Depth, Inserted, Ledger, Metrics, Outgoing, Page, Payloads, PortResult,
    Ports, PutKind, Queue, ReportRow, Reports, Transition, Undelivered, Work, WorkItem, WorkList,
};
use smoother::request::{Flow, PayloadRef, Priority, RequestId, Row};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::registers;

/// The ports, and what was reported.
pub struct Memory {
    pub ports: Ports,
    pub reports: Arc<Mutex<Vec<ReportRow>>>,
}

impl Memory {
    pub fn new(seed: u64) -> Self {
        let reports = Arc::<Mutex<Vec<ReportRow>>>::default();
        let nothing = Arc::new(Nothing { reports: Arc::clone(&reports) });
        let ports = Ports {
            input: MemoryQueue::named("input"),
            hold: MemoryQueue::named("hold"),
            dead: MemoryQueue::named("dead"),
            results: Arc::new(Sink),
            ledger: Arc::new(MemoryLedger::default()),
            payloads: Arc::clone(&nothing) as _,
            reports: Arc::clone(&nothing) as _,
            registers: Arc::<registers::Memory>::default().link(seed),
            alerts: vec![Arc::clone(&nothing) as _],
            metrics: nothing,
        };
        Self { ports, reports }
    }
}

#[derive(Default)]
struct MemoryLedger {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    rows: HashMap<RequestId, (Row, Option<Work>)>,
    lists: HashMap<WorkList, BTreeMap<(String, RequestId), WorkItem>>,
    entered: HashMap<Flow, Timestamp>,
}

impl Table {
    fn leave(&mut self, id: &RequestId) {
        let Some((_, work)) = self.rows.get_mut(id) else { return };
        let Some(work) = work.take() else { return };
        if let Some(list) = self.lists.get_mut(&work.list) {
            list.remove(&(work.sort, id.clone()));
        }
    }

    fn enter(&mut self, row: Row, work: Option<Work>) {
        let request = &row.request;
        if let Some(work) = &work {
            if let WorkList::Ready(flow) = &work.list {
                self.entered.insert(flow.clone(), row.updated_at);
            }
            let item = WorkItem {
                id: request.id.clone(),
                sort: work.sort.clone(),
                flow: request.flow(),
                priority: request.priority,
                rank: request.rank.clone(),
                estimate: request.estimate,
                deadline: request.deadline,
            };
            let list = self.lists.entry(work.list.clone()).or_default();
            list.insert((work.sort.clone(), request.id.clone()), item);
        }
        self.rows.insert(request.id.clone(), (row, work));
    }

    fn apply(&mut self, transition: Transition) -> Applied {
        let Some((row, work)) = self.rows.get(&transition.id) else { return Applied::Refused(None) };
        let Transition { from, if_ticket, if_claim, if_work, if_updated_at, to, at, .. } = &transition;
        let allowed = from.contains(&row.status)
            && if_ticket.as_ref().is_none_or(|ticket| row.ticket.as_ref() == Some(ticket))
            && if_claim.as_ref().is_none_or(|claim| row.claim.as_ref() == Some(claim))
            && if_work.as_ref().is_none_or(|place| work.as_ref() == Some(place))
            && if_updated_at.is_none_or(|at| row.updated_at == at);
        if !allowed {
            return Applied::Refused(Some(Box::new(row.clone())));
        }
        let mut row = row.clone();
        (row.status, row.updated_at) = (*to, *at);
        patch(&mut row, transition.set);
        self.leave(&transition.id);
        self.enter(row.clone(), transition.work);
        Applied::Done(Box::new(row))
    }
}

fn patch(row: &mut Row, set: Patch) {
    if let Some((claim, worker)) = set.claim {
        (row.claim, row.worker) = (Some(claim), Some(worker));
    }
    row.claims = row.claims.saturating_add_signed(set.add_claims);
    row.attempts += set.add_attempts;
    row.throttles += set.add_throttles;
    row.ticket = set.ticket.or(row.ticket.take());
    row.queued_at = set.queued_at.or(row.queued_at);
    row.started_at = set.started_at.or(row.started_at);
    row.not_before = set.not_before.or(row.not_before);
    row.notes.extend(set.note);
    if let Some(request) = set.request {
        row.request = *request;
    }
    row.verdict = set.verdict.or(row.verdict.take());
    row.at_risk = set.at_risk.or(row.at_risk);
    row.outcome = set.outcome.or(row.outcome.take());
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn insert(&self, rows: Vec<(Row, Option<Work>)>) -> Vec<PortResult<Inserted>> {
        let mut table = self.table.lock().unwrap();
        let insert = |(row, work): (Row, Option<Work>)| {
            if let Some((row, _)) = table.rows.get(&row.request.id) {
                return Ok(Inserted::Exists(Box::new(row.clone())));
            }
            table.enter(row, work);
            Ok(Inserted::New)
        };
        rows.into_iter().map(insert).collect()
    }

    async fn apply(&self, transitions: Vec<Transition>) -> Vec<PortResult<Applied>> {
        let mut table = self.table.lock().unwrap();
        transitions.into_iter().map(|transition| Ok(table.apply(transition))).collect()
    }

    async fn get(&self, id: &RequestId) -> PortResult<Option<Row>> {
        Ok(self.table.lock().unwrap().rows.get(id).map(|(row, _)| row.clone()))
    }

    async fn list(&self, list: &WorkList, page: Page<'_>) -> PortResult<Vec<WorkItem>> {
        let table = self.table.lock().unwrap();
        let Some(list) = table.lists.get(list) else { return Ok(Vec::new()) };
        let after = page.after.map(|(sort, id)| (sort.to_owned(), id.clone()));
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let items = list.range((from, Bound::Unbounded)).map(|(_, item)| item);
        let items = items.take_while(|item| page.up_to.is_none_or(|up_to| item.sort.as_str() <= up_to));
        Ok(items.take(page.limit).cloned().collect())
    }

    async fn flows(&self, since: Option<Timestamp>) -> PortResult<Vec<Flow>> {
        let table = self.table.lock().unwrap();
        let entered = table.entered.iter().filter(|(_, at)| since.is_none_or(|since| **at >= since));
        Ok(entered.map(|(flow, _)| flow.clone()).collect())
    }

    async fn ready_by_priority(&self) -> PortResult<BTreeMap<Priority, u64>> {
        Ok(BTreeMap::new())
    }

    async fn counts(&self) -> PortResult<Counts> {
        Ok(Counts::default())
    }
}

/// First in, first out; a message that is received stays invisible until it is deleted or handed back.
struct MemoryQueue {
    name: &'static str,
    messages: Mutex<Messages>,
    arrived: Notify,
}

#[derive(Default)]
struct Messages {
    next: u64,
    waiting: VecDeque<Delivery>,
    taken: HashMap<String, Delivery>,
}

impl MemoryQueue {
    fn named(name: &'static str) -> Arc<Self> {
        Arc::new(Self { name, messages: Mutex::default(), arrived: Notify::new() })
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn receive(&self, max: usize, wait: Duration) -> PortResult<Vec<Delivery>> {
        let until = Instant::now() + wait;
        loop {
            let arrived = self.arrived.notified();
            {
                let mut messages = self.messages.lock().unwrap();
                let count = max.min(messages.waiting.len());
                let taken: Vec<Delivery> = messages.waiting.drain(..count).collect();
                messages.taken.extend(taken.iter().map(|taken| (taken.receipt.clone(), taken.clone())));
                if count > 0 || Instant::now() >= until {
                    return Ok(taken);
                }
            }
            tokio::select! {
                () = arrived => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    async fn send(&self, outgoing: Vec<Outgoing>) -> Vec<PortResult<()>> {
        let mut messages = self.messages.lock().unwrap();
        let mut enqueue = |Outgoing { body, attributes }: Outgoing| {
            messages.next += 1;
            let receipt = messages.next.to_string();
            let message_id = receipt.clone();
            messages.waiting.push_back(Delivery { message_id, receipt, body, attributes, receive_count: 1 });
            Ok(())
        };
        let results = outgoing.into_iter().map(&mut enqueue).collect();
        self.arrived.notify_one();
        results
    }

    async fn delete(&self, receipts: Vec<String>) -> Vec<PortResult<()>> {
        let mut messages = self.messages.lock().unwrap();
        for receipt in &receipts {
            messages.taken.remove(receipt);
        }
        receipts.iter().map(|_| Ok(())).collect()
    }

    async fn extend(&self, receipts: Vec<String>, after: Duration) -> Vec<PortResult<()>> {
        let mut messages = self.messages.lock().unwrap();
        for receipt in receipts.iter().filter(|_| after.is_zero()) {
            let back = messages.taken.remove(receipt);
            messages.waiting.extend(back);
        }
        self.arrived.notify_one();
        receipts.iter().map(|_| Ok(())).collect()
    }

    async fn depth(&self) -> PortResult<Depth> {
        let messages = self.messages.lock().unwrap();
        Ok(Depth { visible: messages.waiting.len() as u64, in_flight: messages.taken.len() as u64 })
    }

    fn name(&self) -> &str {
        self.name
    }
}

/// Where results go.
struct Sink;

#[async_trait]
impl Queue for Sink {
    async fn receive(&self, _: usize, wait: Duration) -> PortResult<Vec<Delivery>> {
        tokio::time::sleep(wait).await;
        Ok(Vec::new())
    }

    async fn send(&self, messages: Vec<Outgoing>) -> Vec<PortResult<()>> {
        messages.iter().map(|_| Ok(())).collect()
    }

    async fn delete(&self, receipts: Vec<String>) -> Vec<PortResult<()>> {
        receipts.iter().map(|_| Ok(())).collect()
    }

    async fn extend(&self, receipts: Vec<String>, _: Duration) -> Vec<PortResult<()>> {
        receipts.iter().map(|_| Ok(())).collect()
    }

    async fn depth(&self) -> PortResult<Depth> {
        Ok(Depth::default())
    }

    fn name(&self) -> &'static str {
        "results"
    }
}

/// Keeps reports; a request's body is its id.
struct Nothing {
    reports: Arc<Mutex<Vec<ReportRow>>>,
}

#[async_trait]
impl Payloads for Nothing {
    async fn put(&self, _: PutKind, _: &RequestId, _: &str, _: Bytes) -> PortResult<PayloadRef> {
        Ok(PayloadRef(String::new()))
    }

    async fn get(&self, payload: &PayloadRef) -> PortResult<Option<Bytes>> {
        Ok(Some(Bytes::from(payload.0.clone())))
    }

    async fn fetch_foreign(&self, _: &ForeignObject, _: u64) -> PortResult<Fetched> {
        Ok(Fetched::Missing)
    }

    fn location(&self, payload: &PayloadRef) -> (String, String) {
        (String::new(), payload.0.clone())
    }

    fn upload_bucket(&self) -> &'static str {
        "uploads"
    }
}

#[async_trait]
impl Reports for Nothing {
    async fn put(&self, rows: Vec<ReportRow>) -> Vec<PortResult<()>> {
        let results = rows.iter().map(|_| Ok(())).collect();
        self.reports.lock().unwrap().extend(rows);
        results
    }

    async fn page(&self, _: smoother::ports::reports::Slice<'_>, _: usize) -> PortResult<Vec<ReportRow>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Alerts for Nothing {
    fn name(&self) -> String {
        "nowhere".to_owned()
    }

    async fn publish(&self, _: &Alert) -> PortResult<()> {
        Ok(())
    }
}

#[async_trait]
impl Metrics for Nothing {
    async fn put(&self, _: Vec<Datum>) -> Result<(), Undelivered> {
        Ok(())
    }
}
