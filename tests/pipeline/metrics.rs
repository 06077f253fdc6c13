//! What goes to CloudWatch, minute by minute.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use smoother::ports::{Datum, Metrics, PortError, Ports, Undelivered};
use smoother::shutdown::Stop;
use tokio::task::JoinSet;

use crate::registers::{Link, Memory};
use crate::rig::{NOVA, Reply, Rig, request};
use crate::seconds;

/// What a worker has delivered, a list a minute.
#[derive(Default)]
struct Delivered(Mutex<Vec<Vec<Datum>>>);

#[async_trait]
impl Metrics for Delivered {
    async fn put(&self, data: Vec<Datum>) -> Result<(), Undelivered> {
        self.0.lock().unwrap().push(data);
        Ok(())
    }
}

impl Delivered {
    /// The sum of a metric over a minute; `of` is the value of its dimension, or empty.
    fn minute(&self, minute: usize, name: &str, of: &str) -> Option<f64> {
        let minutes = self.0.lock().unwrap();
        let data = minutes.get(minute)?;
        data.iter().find(|d| d.name == name && d.dimensions.first().map_or("", |(_, value)| value) == of).map(|d| d.sum)
    }

    fn minutes(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn last(&self, name: &str, of: &str) -> Option<f64> {
        self.minute(self.minutes() - 1, name, of)
    }

    /// The sum over all minutes, of a metric without dimensions that counts things.
    #[expect(clippy::cast_possible_truncation, reason = "small whole numbers")]
    fn total(&self, name: &str) -> i64 {
        let minutes = self.0.lock().unwrap();
        minutes.iter().flatten().filter(|d| d.name == name && d.dimensions.is_empty()).map(|d| d.sum as i64).sum()
    }
}

/// Workers with room for one call in all, on registers in memory.
struct Workers {
    delivered: Vec<Arc<Delivered>>,
    links: Vec<Arc<Link>>,
    running: JoinSet<()>,
    stop: Stop,
}

fn start(rig: &Rig, count: u64, settings: &[(&str, &str)]) -> Workers {
    let (memory, stop) = (Arc::<Memory>::default(), Stop::default());
    let mut workers = Workers { delivered: Vec::new(), links: Vec::new(), running: JoinSet::new(), stop };
    for n in 0..count {
        let (link, delivered) = (memory.link(n), Arc::<Delivered>::default());
        let ports = Ports {
            registers: Arc::clone(&link) as _,
            metrics: Arc::clone(&delivered) as _,
            ..rig.local.ports.clone()
        };
        let set = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let worker = rig.worker_on(ports, rig.model(), &format!("w{n}"), set, |settings| {
            settings.until_idle = false;
            (settings.plan.max_concurrent, settings.call.max_concurrent) = (1, 1);
            (settings.plan.queue_depth_threshold, settings.call.queue_depth_threshold) = (1, 1);
        });
        workers.links.push(link);
        workers.delivered.push(delivered);
        workers.running.spawn(worker.run(workers.stop.clone()));
    }
    workers
}

fn of(tenant: &str, priority: &str, id: &str) -> Value {
    let mut message = request(id, id);
    message["tenant"] = json!(tenant);
    message["priority"] = json!(priority);
    message
}

/// Which of two workers tells how the fleet stands, in its last minute.
fn teller(workers: &Workers) -> usize {
    let tells: Vec<bool> = workers.delivered.iter().map(|d| d.last("Backlog", "").is_some()).collect();
    assert_eq!(tells.iter().filter(|tells| **tells).count(), 1, "one of them tells: {tells:?}");
    usize::from(tells[1])
}

#[tokio::test(start_paused = true)]
async fn a_minute_without_anything_is_told_too() {
    let rig = Rig::new().await;
    let workers = start(&rig, 1, &[]);
    tokio::time::sleep(seconds(601)).await;
    let told = &workers.delivered[0];
    assert_eq!(told.minutes(), 10);
    for minute in 0..10 {
        for (name, of, value) in [
            ("WorkersAlive", "", 1.0),
            ("Backlog", "", 0.0),
            ("Backlog", "urgent", 0.0),
            ("OldestWait", "", 0.0),
            ("BudgetsUsedUp", "", 0.0),
            ("RequestsFinished", "", 0.0),
        ] {
            assert_eq!(told.minute(minute, name, of), Some(value), "{name} {of} in minute {minute}");
        }
        assert_eq!(told.minute(minute, "RequestsAdmitted", ""), None);
    }
    let at: Vec<u64> = told.0.lock().unwrap().iter().map(|data| data[0].at.0).collect();
    assert!(at.windows(2).all(|pair| pair[1] - pair[0] == 60_000), "no minute is left out: {at:?}");
}

#[tokio::test(start_paused = true)]
async fn the_planner_tells_how_the_fleet_stands() {
    let rig = Rig::new().await;
    // An answer costs a cent, which is all that this tenant has.
    let price = format!("models.\"{NOVA}\".output_usd_per_mtok");
    let mut workers = start(&rig, 2, &[("tenants.broke.usd_per_day", "0.01"), (&price, "1000")]);
    rig.model.on("hang", &[Reply::Hang]);
    // By itself each request fits into the budget.
    let broke = |id: &str| {
        let mut message = of("broke", "normal", id);
        message["converse"]["inferenceConfig"]["maxTokens"] = json!(1);
        message
    };
    rig.send(&[broke("first")]).await;
    tokio::time::sleep(seconds(10)).await;
    rig.send(&[request("hang", "hang")]).await;
    tokio::time::sleep(seconds(5)).await;
    assert_eq!(rig.model.calls_of("hang"), 1);
    let many = |priority: &str, count: usize| {
        (0..count).map(|n| of("others", priority, &format!("{priority}-{n}"))).collect::<Vec<_>>()
    };
    rig.send(&[many("high", 3), many("normal", 2), many("bulk", 4), vec![broke("second")]].concat()).await;
    let mut late = of("others", "low", "late");
    late["deadline"] = json!((rig.clock.now() + seconds(30)).to_string());
    rig.send(&[late]).await;

    tokio::time::sleep(seconds(226)).await;
    let planner = teller(&workers);
    let told = &workers.delivered[planner];
    for (class, rows) in [("", 10.0), ("urgent", 0.0), ("high", 3.0), ("normal", 3.0), ("low", 0.0), ("bulk", 4.0)] {
        assert_eq!(told.last("Backlog", class), Some(rows), "{class}");
    }
    assert_eq!(told.last("BudgetsUsedUp", ""), Some(1.0));
    let waited = told.last("OldestWait", "").unwrap();
    assert!((224_000.0..=226_000.0).contains(&waited), "{waited} ms");
    for delivered in &workers.delivered {
        assert_eq!((delivered.minutes(), delivered.total("WorkersAlive")), (4, 4));
    }
    let total = |name: &str| workers.delivered.iter().map(|delivered| delivered.total(name)).sum::<i64>();
    assert_eq!(total("MissedDeadlines"), 1);
    assert_eq!(total("RequestsFinished"), 2, "one was answered, one came too late");
    assert_eq!(total("BedrockCalls"), 1, "the other one has not ended");

    // A planner that cannot renew its lease falls silent, though it goes on living; the other one goes on telling.
    workers.links[planner].cut.store(true, Ordering::Relaxed);
    tokio::time::sleep(seconds(180)).await;
    let next = teller(&workers);
    assert_ne!(next, planner);
    assert_eq!(workers.delivered[next].last("Backlog", ""), Some(10.0));
    assert_eq!(workers.delivered[next].last("BudgetsUsedUp", ""), Some(1.0));
    assert_eq!(workers.delivered[planner].last("WorkersAlive", ""), Some(1.0));
    assert_eq!(workers.delivered[planner].last("OldestWait", ""), None);
    workers.running.shutdown().await;
}

/// Takes nothing for two minutes.
#[derive(Default)]
struct Grudging {
    minutes: Mutex<usize>,
    delivered: Delivered,
}

#[async_trait]
impl Metrics for Grudging {
    async fn put(&self, data: Vec<Datum>) -> Result<(), Undelivered> {
        let minute = {
            let mut minutes = self.minutes.lock().unwrap();
            *minutes += 1;
            *minutes
        };
        match minute {
            1 => Err(Undelivered { error: PortError::transient("put", "throttled"), data, lost: 0 }),
            2 => {
                // A part may have been taken, and is not given back.
                let (lost, data) = data.into_iter().partition::<Vec<_>, _>(|datum| datum.name == "RequestsAdmitted");
                Err(Undelivered { error: PortError::transient("put", "no answer"), data, lost: lost.len() })
            }
            _ => self.delivered.put(data).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn minutes_that_were_not_taken_go_with_the_next_under_their_own_time() {
    let (rig, metrics) = (Rig::new().await, Arc::<Grudging>::default());
    let ports = Ports { metrics: Arc::clone(&metrics) as _, ..rig.local.ports.clone() };
    rig.send(&[request("r", "x")]).await;
    let worker = rig.worker_on(ports, rig.model(), "w", Vec::new(), |settings| settings.until_idle = false);
    let lived = tokio::time::timeout(seconds(241), worker.run(Stop::default())).await;
    assert!(lived.is_err());
    let minutes = metrics.delivered.0.lock().unwrap();
    let all: Vec<&Datum> = minutes.iter().flatten().collect();
    let mut alive: Vec<u64> = all.iter().filter(|d| d.name == "WorkersAlive").map(|d| d.at.0).collect();
    alive.sort_unstable();
    assert_eq!(alive.len(), 4, "each minute once");
    assert!(alive.windows(2).all(|pair| pair[1] - pair[0] == 60_000), "{alive:?}");
    let sum = |name: &str| all.iter().filter(|d| d.name == name && d.dimensions.is_empty()).map(|d| d.sum).sum::<f64>();
    assert!((sum("RequestsFinished") - 1.0).abs() < 1e-9 && (sum("BedrockCalls") - 1.0).abs() < 1e-9);
    assert!(sum("RequestsAdmitted").abs() < 1e-9, "what may have been taken is not sent again");
}

#[tokio::test(start_paused = true)]
async fn no_producer_can_make_labels() {
    let rig = Rig::new().await;
    let odd: Vec<Value> = (0..60)
        .map(|n| {
            let mut message = of(&format!("tenant-{n}"), "normal", &format!("odd-{n}"));
            message["model_id"] = json!(format!("{NOVA}-{n}"));
            message["metadata"] = json!({"note": format!("note-{n}")});
            message
        })
        .collect();
    rig.send(&odd).await;
    rig.send(&[of("tenant-x", "high", "good")]).await;
    let worker = rig.worker("w", |_| {});
    let observer = worker.observer();
    worker.run(Stop::default()).await;
    let page = observer.exposition();
    assert!(page.contains("smoother_requests_finished_total{status=\"REJECTED\"} 60\n"), "{page}");
    let lane = format!("lane=\"default:us-east-1:{NOVA}\"");
    assert!(page.contains(&format!("smoother_bedrock_calls_total{{{lane}}} 1\n")), "{page}");
    let labels = page.lines().filter(|line| !line.starts_with('#') && line.contains("lane="));
    assert!(labels.clone().count() > 5 && labels.clone().all(|line| line.contains(&lane)), "{page}");
    for telling in ["tenant", "odd", "note", "good"] {
        assert!(!page.lines().any(|line| !line.starts_with('#') && line.contains(telling)), "{telling} in\n{page}");
    }
}
