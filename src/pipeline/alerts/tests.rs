//! Workers that share a register and tell on-call, under paused time.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::*;
use crate::local;
use crate::ports::alerts::{Kind, State};
use crate::ports::{Alert, Register};

/// What on-call received, in order.
#[derive(Default)]
struct OnCall(Mutex<Vec<Alert>>);

#[async_trait]
impl Alerts for OnCall {
    fn name(&self) -> String {
        "on-call".to_owned()
    }

    async fn publish(&self, alert: &Alert) -> PortResult<()> {
        self.0.lock().unwrap().push(alert.clone());
        Ok(())
    }
}

impl OnCall {
    fn states(&self) -> Vec<(Kind, State, u64)> {
        self.0.lock().unwrap().iter().map(|alert| (alert.kind, alert.state, alert.count)).collect()
    }
}

/// A fleet's register, that may be out of reach.
struct Shared {
    inner: Arc<dyn Registers>,
    down: AtomicBool,
}

#[async_trait]
impl Registers for Shared {
    async fn read(&self, name: &str) -> PortResult<Option<Register>> {
        if self.down.load(Ordering::SeqCst) {
            return Err(PortError::transient("read register", "down"));
        }
        self.inner.read(name).await
    }

    async fn write(&self, name: &str, expected: u64, value: String) -> PortResult<bool> {
        if self.down.load(Ordering::SeqCst) {
            // Nobody answers.
            std::future::pending::<()>().await;
        }
        self.inner.write(name, expected, value).await
    }

    async fn remove(&self, name: &str, expected: u64) -> PortResult<bool> {
        self.inner.remove(name, expected).await
    }

    async fn list(&self, prefix: &str) -> PortResult<Vec<(String, Register)>> {
        self.inner.list(prefix).await
    }
}

struct Rig {
    on_call: Arc<OnCall>,
    shared: Arc<Shared>,
    clock: Clock,
    _dir: tempfile::TempDir,
}

impl Rig {
    async fn new() -> Self {
        let clock = Clock::anchored(samples::NOW);
        let dir = tempfile::tempdir().unwrap();
        let local = local::open(dir.path(), local::Settings::default(), clock.clone()).await.unwrap();
        let shared = Arc::new(Shared { inner: local.ports.registers, down: AtomicBool::new(false) });
        Self { on_call: Arc::default(), shared, clock, _dir: dir }
    }

    fn worker(&self, name: &str) -> (Alerter, impl Future<Output = ()> + Send + use<>) {
        Alerter::new(Context {
            channels: vec![Arc::clone(&self.on_call) as _],
            registers: Arc::clone(&self.shared) as _,
            tally: Arc::default(),
            clock: self.clock.clone(),
            frame: Frame { worker: name.to_owned(), ..samples::frame() },
            settings: samples::SETTINGS,
        })
    }
}

async fn seconds(n: u64) {
    tokio::time::sleep(Duration::from_secs(n)).await;
}

#[tokio::test(start_paused = true)]
async fn ten_workers_tell_of_one_condition_once() {
    let rig = Rig::new().await;
    let (alerters, serving): (Vec<_>, Vec<_>) = (0..10).map(|n| rig.worker(&format!("w-{n}"))).unzip();
    let storm = async move {
        // A thousand failures of each: none of the workers sees five in its first second.
        for round in 0..1_000_u64 {
            for alerter in &alerters {
                alerter.tell(samples::of(Kind::ErrorRate));
                if round == 0 {
                    alerter.tell(samples::of(Kind::Port));
                }
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        seconds(600).await;
    };
    tokio::join!(storm, join_all(serving));
    let told = rig.on_call.states();
    let of = |kind| told.iter().filter(|(told, ..)| *told == kind).copied().collect::<Vec<_>>();
    let errors = of(Kind::ErrorRate);
    assert_eq!(errors.len(), 2, "{told:?}");
    assert_eq!(errors[0].1, State::Firing);
    assert_eq!(errors[1], (Kind::ErrorRate, State::Recovered, 10_000));
    let ports: Vec<State> = of(Kind::Port).iter().map(|(_, state, _)| *state).collect();
    assert_eq!(ports, [State::Firing, State::Recovered], "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_another_worker_gets_ends_it() {
    let rig = Rig::new().await;
    let ((one, serve_one), (two, serve_two)) = (rig.worker("one"), rig.worker("two"));
    let lane = samples::of(Kind::AccessDenied).lane().unwrap().clone();
    let acts = async move {
        one.tell(samples::of(Kind::AccessDenied));
        seconds(61).await;
        assert_eq!(two.open().len(), 1, "known to all within a minute");
        two.called(&lane, true);
        seconds(1).await;
        assert!(two.open().is_empty());
    };
    tokio::join!(acts, serve_one, serve_two);
    let expected = [(Kind::AccessDenied, State::Firing, 1), (Kind::AccessDenied, State::Recovered, 1)];
    assert_eq!(rig.on_call.states(), expected);
    let over = rig.on_call.0.lock().unwrap().pop().unwrap();
    assert_eq!((over.severity, over.worker.as_str()), (crate::ports::Severity::Info, "two"));
    assert!(over.subject.starts_with("RECOVERED ") && over.fix.is_empty(), "{over:?}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_starts_knows_what_is_open() {
    let rig = Rig::new().await;
    let (first, serve) = rig.worker("first");
    first.tell(samples::of(Kind::Budget));
    drop(first);
    serve.await;
    let (second, serve) = rig.worker("second");
    let acts = async move {
        seconds(1).await;
        assert_eq!(second.open(), [samples::of(Kind::Budget)]);
        second.tell(samples::of(Kind::Budget));
        seconds(600).await;
        second.recovered(&samples::of(Kind::Budget).key());
    };
    tokio::join!(acts, serve);
    let states: Vec<State> = rig.on_call.states().iter().map(|(_, state, _)| *state).collect();
    assert_eq!(states, [State::Firing, State::Recovered]);
}

#[tokio::test(start_paused = true)]
async fn out_of_reach_of_the_register_it_is_told_all_the_same_and_once() {
    let rig = Rig::new().await;
    let (alerter, serve) = rig.worker("alone");
    let shared = Arc::clone(&rig.shared);
    let on_call = Arc::clone(&rig.on_call);
    let acts = async move {
        seconds(5).await;
        shared.down.store(true, Ordering::SeqCst);
        alerter.tell(samples::of(Kind::Port));
        alerter.tell(samples::of(Kind::AccessDenied));
        seconds(10).await;
        assert_eq!(on_call.states().len(), 2, "at once, for all that");
        alerter.recovered(&samples::of(Kind::AccessDenied).key());
        seconds(10).await;
        assert_eq!(on_call.states().len(), 3);
        shared.down.store(false, Ordering::SeqCst);
        alerter.tell(samples::of(Kind::Port));
        seconds(61).await;
        let board = board(&*shared).await.unwrap();
        assert_eq!(board.open().len(), 1, "others learn of it: {board:?}");
        assert_eq!(on_call.states().len(), 3, "and it is not told again");
    };
    tokio::join!(acts, serve);
}

#[tokio::test(start_paused = true)]
async fn telling_never_waits_and_the_end_is_bounded() {
    let rig = Rig::new().await;
    rig.shared.down.store(true, Ordering::SeqCst);
    let (alerter, serve) = rig.worker("w");
    for n in 0..100_000 {
        alerter.tell(Condition::ForeignMessage { queue: format!("q-{n}"), message: String::new() });
    }
    drop(alerter);
    let began = Instant::now();
    serve.await;
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn the_page_is_what_the_code_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alerts.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, document()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == document(), "docs/alerts.md is not what the code says: UPDATE_DOCS=1 cargo test --lib alerts");
}
