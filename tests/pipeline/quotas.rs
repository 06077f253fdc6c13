//! Quotas that nobody configured: from Service Quotas, live, and never in the way when it does not answer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use smoother::ports::{PortError, PortResult, QuotaRow, Quotas};
use smoother::request::Status;
use smoother::shutdown::Stop;
use tokio::time::Instant;

use crate::rig::{Rig, request};

/// Not configured in the rig.
const PRO: &str = "amazon.nova-pro-v1:0";

/// Lists what it is told to, after a while.
struct Listing {
    delay: Duration,
    /// Requests a minute of [`PRO`]; none: refuses.
    requests_per_minute: Mutex<Option<f64>>,
    asked: Mutex<Vec<Instant>>,
}

impl Listing {
    fn new(delay: Duration, requests_per_minute: Option<f64>) -> Arc<Self> {
        Arc::new(Self { delay, requests_per_minute: Mutex::new(requests_per_minute), asked: Mutex::default() })
    }
}

#[async_trait]
impl Quotas for Listing {
    async fn list(&self) -> PortResult<Vec<QuotaRow>> {
        self.asked.lock().unwrap().push(Instant::now());
        tokio::time::sleep(self.delay).await;
        let requests = *self.requests_per_minute.lock().unwrap();
        let requests = requests.ok_or_else(|| PortError::permanent("list", "AccessDeniedException"))?;
        let row = |what: &str, value: f64| QuotaRow {
            name: format!("On-demand model inference {what} per minute for Amazon Nova Pro"),
            value,
        };
        Ok(vec![row("requests", requests), row("tokens", 600_000.0)])
    }
}

fn messages(count: usize) -> Vec<Value> {
    (0..count)
        .map(|n| {
            let mut message = request(&format!("r-{n}"), "hello");
            message["model_id"] = json!(PRO);
            message
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_call_waits_for_the_listed_quota_and_keeps_to_it() {
    let rig = Rig::new().await;
    rig.send(&messages(7)).await;
    let listing = Listing::new(Duration::from_secs(2), Some(6.0));
    let began = Instant::now();
    let worker = rig.worker("w", |_| {}).with_quotas(Some(listing.clone()));
    let gate = worker.gate();
    worker.run(Stop::default()).await;
    let [lane] = gate.snapshots().try_into().unwrap();
    assert_eq!((lane.requests_per_minute, lane.tokens_per_minute), (Some(6.0), Some(600_000.0)));
    // Seven starts at six a minute take a minute; at the assumed 60 they would take six seconds.
    let took = began.elapsed();
    assert!((Duration::from_secs(50)..Duration::from_mins(2)).contains(&took), "{took:?}");
    assert_eq!(listing.asked.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_changes_applies_to_running_work() {
    let rig = Rig::new().await;
    rig.send(&messages(30)).await;
    let listing = Listing::new(Duration::ZERO, Some(0.2));
    let began = Instant::now();
    let worker = rig.worker("w", |_| {}).with_quotas(Some(listing.clone()));
    let (gate, stop) = (worker.gate(), Stop::default());
    let done = worker.run(stop);
    let raise = async {
        tokio::time::sleep(Duration::from_mins(50)).await;
        // At one in five minutes.
        let early = rig.model.calls_of("hello");
        assert!((8..=12).contains(&early), "{early} calls");
        *listing.requests_per_minute.lock().unwrap() = Some(600.0);
    };
    tokio::join!(done, raise);
    // The next look is an hour after the first, or up to six minutes later; the old quota would have lasted 150 minutes.
    let took = began.elapsed();
    assert!((Duration::from_hours(1)..Duration::from_mins(68)).contains(&took), "{took:?}");
    assert_eq!(gate.snapshots()[0].requests_per_minute, Some(600.0));
    assert_eq!(rig.model.calls_of("hello"), 30);
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_work_starts_with_what_is_assumed() {
    for (listing, most) in [
        (Listing::new(Duration::from_hours(1), Some(6.0)), Duration::from_secs(4)),
        (Listing::new(Duration::ZERO, None), Duration::from_secs(1)),
    ] {
        let rig = Rig::new().await;
        rig.send(&messages(1)).await;
        let began = Instant::now();
        let worker = rig.worker("w", |_| {}).with_quotas(Some(listing));
        let gate = worker.gate();
        let stop = Stop::default();
        let first_call = async {
            while rig.model.calls_of("hello") == 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            began.elapsed()
        };
        let (took, ()) = tokio::join!(first_call, worker.run(stop));
        assert!(took < most + Duration::from_secs(3), "{took:?}");
        assert_eq!(gate.snapshots()[0].requests_per_minute, Some(60.0));
        assert_eq!(rig.row("r-0").await.status, Status::Succeeded);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_look_is_soon_repeated_and_a_stop_does_not_wait_for_one() {
    let rig = Rig::new().await;
    rig.send(&messages(40)).await;
    let listing = Listing::new(Duration::ZERO, None);
    let worker = rig.worker("w", |settings| settings.until_idle = false).with_quotas(Some(listing.clone()));
    let stop = Stop::default();
    let watch = async {
        tokio::time::sleep(Duration::from_mins(8)).await;
        stop.intake.cancel();
    };
    tokio::join!(worker.run(stop.clone()), watch);
    // At once, after one minute, after two more, after four more.
    assert_eq!(listing.asked.lock().unwrap().len(), 4);

    let slow = Listing::new(Duration::from_hours(1), Some(6.0));
    let worker = rig.worker("v", |settings| settings.until_idle = false).with_quotas(Some(slow));
    let (began, stop) = (Instant::now(), Stop::default());
    stop.intake.cancel();
    worker.run(stop).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
