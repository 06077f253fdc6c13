//! Ports that count what a worker does to the world outside, and kill it at a chosen effect.
//!
//! Every item of a batch is an effect of its own, so that a kill leaves batches half done too. Reads are no effects: a
//! kill at one is the same as before the next effect. Of registers, which are written every two seconds, only the first
//! writes of each are counted. A killed worker's ports never answer again; what it had asked for already still happens,
//! as with kill -9 of a process whose requests are on their way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use smoother::clock::Timestamp;
use smoother::ports::ledger::Counts;
use smoother::ports::model::CallError;
use smoother::ports::payloads::{Fetched, ForeignObject};
use smoother::ports::reports::Slice;
use smoother::ports::{
    Alert, Alerts, Answer, Applied, Call, Datum, Delivery, Depth, Inserted, Ledger, Metrics, Model, Outgoing, Page,
    Payloads, PortResult, Ports, PutKind, Queue, Register, Registers, ReportRow, Reports, Transition, Undelivered,
    Work, WorkItem, WorkList,
};
use smoother::request::{Flow, PayloadRef, Priority, RequestId, Row};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

/// Writes of one register that are counted.
const REGISTER_WRITES: usize = 3;

/// When a worker dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The effect never happens.
    Before,
    /// It has happened, and the worker does not learn of it.
    After,
}

/// At which effect, from 1.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    pub at: usize,
    pub when: When,
}

/// What all workers did, as the world saw it.
#[derive(Default)]
pub struct World {
    seen: Mutex<Seen>,
    under_way: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Seen {
    calls: BTreeMap<String, u32>,
    /// Calls that no row tells of yet, by worker and request.
    open: BTreeMap<(String, String), u32>,
    /// How often a row became final.
    ends: BTreeMap<String, u32>,
}

impl World {
    /// Calls made for a request.
    pub fn calls(&self, id: &str) -> u32 {
        self.seen.lock().unwrap().calls.get(id).copied().unwrap_or_default()
    }

    /// Calls of a worker for a request that it had not recorded.
    pub fn unrecorded(&self, worker: &str, id: &str) -> u32 {
        let key = (worker.to_owned(), id.to_owned());
        self.seen.lock().unwrap().open.get(&key).copied().unwrap_or_default()
    }

    /// How often each row became final.
    pub fn ends(&self) -> BTreeMap<String, u32> {
        self.seen.lock().unwrap().ends.clone()
    }

    fn called(&self, worker: &str, id: &str) {
        let mut seen = self.seen.lock().unwrap();
        *seen.calls.entry(id.to_owned()).or_default() += 1;
        *seen.open.entry((worker.to_owned(), id.to_owned())).or_default() += 1;
    }

    fn applied(&self, worker: &str, records_calls: bool, row: &Row) {
        let mut seen = self.seen.lock().unwrap();
        let id = row.request.id.as_str().to_owned();
        if records_calls {
            seen.open.remove(&(worker.to_owned(), id.clone()));
        }
        if row.status.is_terminal() {
            *seen.ends.entry(id).or_default() += 1;
        }
    }
}

/// One worker's life.
pub struct Life {
    worker: String,
    kill: Option<Kill>,
    state: Mutex<State>,
    died: Notify,
    world: Arc<World>,
}

#[derive(Default)]
struct State {
    effects: usize,
    dead: bool,
    cause: String,
    registers: BTreeMap<String, usize>,
}

impl Life {
    pub fn new(worker: &str, kill: Option<Kill>, world: &Arc<World>) -> Arc<Self> {
        let (state, died, world) = (Mutex::default(), Notify::new(), Arc::clone(world));
        Arc::new(Self { worker: worker.to_owned(), kill, state, died, world })
    }

    /// Waits for its end.
    pub async fn died(&self) {
        self.died.notified().await;
    }

    /// Effects so far.
    pub fn effects(&self) -> usize {
        self.state.lock().unwrap().effects
    }

    /// The effect it died of; empty while it lives.
    pub fn cause(&self) -> String {
        self.state.lock().unwrap().cause.clone()
    }

    /// `ports` and `model` as this worker has them.
    pub fn lead(self: &Arc<Self>, ports: &Ports, model: &Arc<dyn Model>) -> (Ports, Arc<dyn Model>) {
        let queue = |inner: &Arc<dyn Queue>| -> Arc<dyn Queue> { mortal(self, inner) };
        let ports = Ports {
            input: queue(&ports.input),
            hold: queue(&ports.hold),
            dead: queue(&ports.dead),
            results: queue(&ports.results),
            ledger: mortal(self, &ports.ledger),
            payloads: mortal(self, &ports.payloads),
            reports: mortal(self, &ports.reports),
            registers: mortal(self, &ports.registers),
            alerts: ports.alerts.iter().map(|channel| -> Arc<dyn Alerts> { mortal(self, channel) }).collect(),
            metrics: mortal(self, &ports.metrics),
        };
        (ports, mortal(self, model))
    }

    async fn alive(&self) {
        if self.state.lock().unwrap().dead {
            std::future::pending::<()>().await;
        }
    }

    /// Answers with the effect's number.
    async fn begin(&self, what: String) -> usize {
        self.alive().await;
        let number = {
            let mut state = self.state.lock().unwrap();
            state.effects += 1;
            if self.kill.is_some_and(|kill| kill.at == state.effects) {
                state.cause = what;
            }
            state.effects
        };
        self.perhaps_die(number, When::Before).await;
        number
    }

    async fn end(&self, number: usize) {
        self.perhaps_die(number, When::After).await;
        self.alive().await;
    }

    async fn perhaps_die(&self, number: usize, when: When) {
        if self.kill.is_some_and(|kill| kill.at == number && kill.when == when) {
            self.state.lock().unwrap().dead = true;
            self.died.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// Carries an effect out; once begun it is carried to its end whatever becomes of the worker.
    async fn effect<T: Send + 'static>(&self, what: String, act: impl Future<Output = T> + Send + 'static) -> T {
        let number = self.begin(what).await;
        let (done, outcome) = oneshot::channel();
        self.world.under_way.lock().unwrap().spawn(async move {
            drop(done.send(act.await));
        });
        let outcome = outcome.await.unwrap();
        self.end(number).await;
        outcome
    }
}

struct Mortal<P: ?Sized> {
    life: Arc<Life>,
    inner: Arc<P>,
}

fn mortal<P: ?Sized>(life: &Arc<Life>, inner: &Arc<P>) -> Arc<Mortal<P>> {
    Arc::new(Mortal { life: Arc::clone(life), inner: Arc::clone(inner) })
}

impl Mortal<dyn Queue> {
    fn what(&self, verb: &str) -> String {
        format!("{verb} {}", self.inner.name())
    }
}

#[async_trait]
impl Queue for Mortal<dyn Queue> {
    /// An effect only when something was received, and then only to die of after it.
    async fn receive(&self, max: usize, wait: Duration) -> PortResult<Vec<Delivery>> {
        self.life.alive().await;
        let received = self.inner.receive(max, wait).await;
        self.life.alive().await;
        if received.as_ref().is_ok_and(|deliveries| !deliveries.is_empty()) {
            let number = self.life.begin(self.what("receive from")).await;
            self.life.end(number).await;
        }
        received
    }

    async fn send(&self, messages: Vec<Outgoing>) -> Vec<PortResult<()>> {
        let mut results = Vec::new();
        for message in messages {
            let inner = Arc::clone(&self.inner);
            let act = async move { inner.send(vec![message]).await };
            results.extend(self.life.effect(self.what("send to"), act).await);
        }
        results
    }

    async fn delete(&self, receipts: Vec<String>) -> Vec<PortResult<()>> {
        let mut results = Vec::new();
        for receipt in receipts {
            let inner = Arc::clone(&self.inner);
            let act = async move { inner.delete(vec![receipt]).await };
            results.extend(self.life.effect(self.what("delete from"), act).await);
        }
        results
    }

    async fn extend(&self, receipts: Vec<String>, after: Duration) -> Vec<PortResult<()>> {
        let mut results = Vec::new();
        for receipt in receipts {
            let inner = Arc::clone(&self.inner);
            let act = async move { inner.extend(vec![receipt], after).await };
            results.extend(self.life.effect(self.what("extend in"), act).await);
        }
        results
    }

    async fn depth(&self) -> PortResult<Depth> {
        self.life.alive().await;
        self.inner.depth().await
    }

    fn name(&self) -> &str {
        self.inner.name()
    }
}

#[async_trait]
impl Ledger for Mortal<dyn Ledger> {
    async fn insert(&self, rows: Vec<(Row, Option<Work>)>) -> Vec<PortResult<Inserted>> {
        let mut results = Vec::new();
        for (row, work) in rows {
            let (inner, life) = (Arc::clone(&self.inner), Arc::clone(&self.life));
            let what = format!("insert {} as {}", row.request.id, row.status);
            let act = async move {
                let inserted = inner.insert(vec![(row.clone(), work)]).await;
                if matches!(inserted.as_slice(), [Ok(Inserted::New)]) {
                    life.world.applied(&life.worker, false, &row);
                }
                inserted
            };
            results.extend(self.life.effect(what, act).await);
        }
        results
    }

    async fn apply(&self, transitions: Vec<Transition>) -> Vec<PortResult<Applied>> {
        let mut results = Vec::new();
        for transition in transitions {
            let (inner, life) = (Arc::clone(&self.inner), Arc::clone(&self.life));
            let what = format!("move {} to {}", transition.id, transition.to);
            // What ends or puts off a claim carries the calls that were made under it.
            let records_calls = transition.if_claim.is_some();
            let act = async move {
                let applied = inner.apply(vec![transition]).await;
                if let [Ok(Applied::Done(row))] = applied.as_slice() {
                    life.world.applied(&life.worker, records_calls, row);
                }
                applied
            };
            results.extend(self.life.effect(what, act).await);
        }
        results
    }

    async fn get(&self, id: &RequestId) -> PortResult<Option<Row>> {
        self.life.alive().await;
        self.inner.get(id).await
    }

    async fn list(&self, list: &WorkList, page: Page<'_>) -> PortResult<Vec<WorkItem>> {
        self.life.alive().await;
        self.inner.list(list, page).await
    }

    async fn flows(&self, since: Option<Timestamp>) -> PortResult<Vec<Flow>> {
        self.life.alive().await;
        self.inner.flows(since).await
    }

    async fn ready_by_priority(&self) -> PortResult<BTreeMap<Priority, u64>> {
        self.life.alive().await;
        self.inner.ready_by_priority().await
    }

    async fn counts(&self) -> PortResult<Counts> {
        self.life.alive().await;
        self.inner.counts().await
    }
}

#[async_trait]
impl Payloads for Mortal<dyn Payloads> {
    async fn put(&self, kind: PutKind, id: &RequestId, discriminator: &str, bytes: Bytes) -> PortResult<PayloadRef> {
        let (inner, own, name) = (Arc::clone(&self.inner), id.clone(), discriminator.to_owned());
        let act = async move { inner.put(kind, &own, &name, bytes).await };
        self.life.effect(format!("put {} of {id}", kind.prefix()), act).await
    }

    async fn get(&self, payload: &PayloadRef) -> PortResult<Option<Bytes>> {
        self.life.alive().await;
        self.inner.get(payload).await
    }

    async fn fetch_foreign(&self, object: &ForeignObject, limit: u64) -> PortResult<Fetched> {
        self.life.alive().await;
        self.inner.fetch_foreign(object, limit).await
    }

    fn location(&self, payload: &PayloadRef) -> (String, String) {
        self.inner.location(payload)
    }

    fn upload_bucket(&self) -> &str {
        self.inner.upload_bucket()
    }
}

#[async_trait]
impl Reports for Mortal<dyn Reports> {
    async fn put(&self, rows: Vec<ReportRow>) -> Vec<PortResult<()>> {
        let mut results = Vec::new();
        for row in rows {
            let inner = Arc::clone(&self.inner);
            let what = format!("report {}", row.request_id);
            results.extend(self.life.effect(what, async move { inner.put(vec![row]).await }).await);
        }
        results
    }

    async fn page(&self, slice: Slice<'_>, limit: usize) -> PortResult<Vec<ReportRow>> {
        self.life.alive().await;
        self.inner.page(slice, limit).await
    }
}

impl Mortal<dyn Registers> {
    fn counts(&self, name: &str) -> bool {
        let mut state = self.life.state.lock().unwrap();
        let writes = state.registers.entry(name.to_owned()).or_default();
        *writes += 1;
        *writes <= REGISTER_WRITES
    }
}

#[async_trait]
impl Registers for Mortal<dyn Registers> {
    async fn read(&self, name: &str) -> PortResult<Option<Register>> {
        self.life.alive().await;
        self.inner.read(name).await
    }

    async fn write(&self, name: &str, expected: u64, value: String) -> PortResult<bool> {
        self.life.alive().await;
        if !self.counts(name) {
            return self.inner.write(name, expected, value).await;
        }
        let (inner, own) = (Arc::clone(&self.inner), name.to_owned());
        let act = async move { inner.write(&own, expected, value).await };
        self.life.effect(format!("write register {name}"), act).await
    }

    async fn remove(&self, name: &str, expected: u64) -> PortResult<bool> {
        let (inner, own) = (Arc::clone(&self.inner), name.to_owned());
        let act = async move { inner.remove(&own, expected).await };
        self.life.effect(format!("remove register {name}"), act).await
    }

    async fn list(&self, prefix: &str) -> PortResult<Vec<(String, Register)>> {
        self.life.alive().await;
        self.inner.list(prefix).await
    }
}

#[async_trait]
impl Alerts for Mortal<dyn Alerts> {
    fn name(&self) -> String {
        self.inner.name()
    }

    async fn publish(&self, alert: &Alert) -> PortResult<()> {
        let (inner, own) = (Arc::clone(&self.inner), alert.clone());
        self.life.effect(format!("alert {}", alert.key), async move { inner.publish(&own).await }).await
    }
}

#[async_trait]
impl Metrics for Mortal<dyn Metrics> {
    async fn put(&self, data: Vec<Datum>) -> Result<(), Undelivered> {
        let inner = Arc::clone(&self.inner);
        self.life.effect("put metrics".to_owned(), async move { inner.put(data).await }).await
    }
}

#[async_trait]
impl Model for Mortal<dyn Model> {
    /// The prompt names the request. A call that is under way ends with its worker, as a connection does.
    async fn call(&self, call: Call) -> Result<Answer, CallError> {
        let body: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
        let id = body["messages"][0]["content"][0]["text"].as_str().unwrap();
        let number = self.life.begin(format!("call for {id}")).await;
        self.life.world.called(&self.life.worker, id);
        let answer = self.inner.call(call).await;
        self.life.end(number).await;
        answer
    }
}
