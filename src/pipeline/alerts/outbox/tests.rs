use std::sync::Mutex;

use async_trait::async_trait;

use super::super::samples;
use super::*;
use crate::ports::PortResult;
use crate::ports::alerts::Kind;

/// A channel that fails as long as it is told to.
#[derive(Default)]
struct Flaky {
    got: Mutex<Vec<(String, u64, Instant)>>,
    tries: Mutex<u64>,
    down: Mutex<bool>,
    hangs: bool,
    refuses: Option<Kind>,
}

#[async_trait]
impl Alerts for Flaky {
    fn name(&self) -> String {
        "flaky".to_owned()
    }

    async fn publish(&self, alert: &Alert) -> PortResult<()> {
        *self.tries.lock().unwrap() += 1;
        if self.hangs {
            std::future::pending::<()>().await;
        }
        if *self.down.lock().unwrap() || self.refuses == Some(alert.kind) {
            return Err(PortError::transient("publish", "down"));
        }
        self.got.lock().unwrap().push((alert.kind.as_str().to_owned(), alert.count, Instant::now()));
        Ok(())
    }
}

impl Flaky {
    fn kinds(&self) -> Vec<String> {
        self.got.lock().unwrap().iter().map(|(kind, ..)| kind.clone()).collect()
    }
}

fn alert(kind: Kind, count: u64) -> Alert {
    Alert { count, ..samples::alert(kind) }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

async fn while_running(channel: &Arc<Flaky>, act: impl AsyncFnOnce(&Outbox, &Tally)) -> Vec<String> {
    let tally = Arc::<Tally>::default();
    let outbox = Outbox::new(Arc::clone(channel) as _, Arc::clone(&tally));
    let delivered = Mutex::new(Vec::new());
    let acts = async {
        act(&outbox, &tally).await;
        outbox.close();
    };
    tokio::join!(outbox.run(|alert| delivered.lock().unwrap().push(alert.kind.as_str().to_owned())), acts);
    delivered.into_inner().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_alert_is_tried_until_it_is_delivered() {
    let channel = Arc::new(Flaky { down: Mutex::new(true), ..Flaky::default() });
    let delivered = while_running(&channel, async |outbox, tally| {
        outbox.push(alert(Kind::Port, 1));
        tokio::time::sleep(seconds(3600)).await;
        let tries = *channel.tries.lock().unwrap();
        assert!((15..=25).contains(&tries), "{tries} in an hour");
        assert_eq!(tally.totals().port_errors, tries);
        *channel.down.lock().unwrap() = false;
        tokio::time::sleep(LONGEST_WAIT).await;
    })
    .await;
    assert_eq!((channel.kinds(), delivered), (vec!["port".to_owned()], vec!["port".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn the_latest_of_a_condition_is_what_waits() {
    let channel = Arc::new(Flaky { down: Mutex::new(true), ..Flaky::default() });
    while_running(&channel, async |outbox, _| {
        for count in 0..1_000 {
            outbox.push(alert(Kind::Port, count));
            outbox.push(alert(Kind::Budget, count));
        }
        tokio::time::sleep(seconds(5)).await;
        *channel.down.lock().unwrap() = false;
        tokio::time::sleep(seconds(60)).await;
    })
    .await;
    let counts: Vec<u64> = channel.got.lock().unwrap().iter().map(|(_, count, _)| *count).collect();
    assert_eq!(counts, [999, 999]);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_not_taken_does_not_hold_up_the_others() {
    let channel = Arc::new(Flaky { refuses: Some(Kind::Port), ..Flaky::default() });
    while_running(&channel, async |outbox, _| {
        outbox.push(alert(Kind::Port, 1));
        outbox.push(alert(Kind::Budget, 1));
        tokio::time::sleep(seconds(10)).await;
        assert_eq!(channel.kinds(), ["budget"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn old_news_are_given_up_and_what_waits_has_bounds() {
    let channel = Arc::new(Flaky { down: Mutex::new(true), ..Flaky::default() });
    while_running(&channel, async |outbox, _| {
        for n in 0..1_000 {
            outbox.push(Alert { key: format!("k-{n}"), ..alert(Kind::Port, n) });
        }
        assert_eq!(outbox.with(|waiting| waiting.len()), MOST);
        outbox.with(|waiting| waiting.truncate(1));
        tokio::time::sleep(GIVE_UP + LONGEST_WAIT * 2).await;
        assert_eq!(outbox.with(|waiting| waiting.len()), 0);
    })
    .await;
    assert!(channel.kinds().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_delivery_but_not_for_ever() {
    let channel = Arc::new(Flaky { down: Mutex::new(true), ..Flaky::default() });
    let mends = async {
        tokio::time::sleep(seconds(5)).await;
        *channel.down.lock().unwrap() = false;
    };
    let ends = while_running(&channel, async |outbox, _| outbox.push(alert(Kind::Port, 1)));
    assert_eq!(tokio::join!(ends, mends).0, ["port"], "a channel that works again within seconds");

    for channel in [Flaky { down: Mutex::new(true), ..Flaky::default() }, Flaky { hangs: true, ..Flaky::default() }] {
        let began = Instant::now();
        let delivered = while_running(&Arc::new(channel), async |outbox, _| outbox.push(alert(Kind::Port, 1))).await;
        assert!(delivered.is_empty() && began.elapsed() <= LAST_TRIES + seconds(1), "{:?}", began.elapsed());
    }
}
