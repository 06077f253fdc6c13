//! A scripted feed on registers in memory, under paused time.

use std::sync::Mutex;

use tokio::task::JoinSet;

use super::*;
use crate::pipeline::fleet::{Member, Role};
use crate::pipeline::pace::{Ask, LaneLimits};
use crate::pipeline::usage::Used;
use crate::ports::{MinuteTokens, Register};
use crate::request::{Estimate, ModelId};

const START: Timestamp = Timestamp(1_795_252_123_456);
const TPM: f64 = 100_000.0;

fn lane(model: &str) -> Lane {
    Lane::new("default", "us-east-1", &ModelId::new(model).unwrap())
}

#[derive(Default)]
struct Memory(Mutex<BTreeMap<String, Register>>);

#[async_trait::async_trait]
impl Registers for Memory {
    async fn read(&self, name: &str) -> PortResult<Option<Register>> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }
    async fn write(&self, name: &str, expected: u64, value: String) -> PortResult<bool> {
        let mut all = self.0.lock().unwrap();
        let fits = all.get(name).map_or(0, |register| register.version) == expected;
        if fits {
            all.insert(name.to_owned(), Register { version: expected + 1, value });
        }
        Ok(fits)
    }
    async fn remove(&self, name: &str, expected: u64) -> PortResult<bool> {
        let mut all = self.0.lock().unwrap();
        let fits = all.get(name).is_some_and(|register| register.version == expected);
        if fits {
            all.remove(name);
        }
        Ok(fits)
    }
    async fn list(&self, prefix: &str) -> PortResult<Vec<(String, Register)>> {
        let all = self.0.lock().unwrap();
        Ok(all.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(n, r)| (n.clone(), r.clone())).collect())
    }
}

/// What the account used, minute by minute, and what was asked.
#[derive(Default)]
struct Script {
    total: Mutex<BTreeMap<Minute, f64>>,
    usual: Mutex<Option<f64>>,
    fails: Mutex<bool>,
    asked: Mutex<Vec<(Vec<Lane>, Range<Minute>)>>,
}

#[async_trait::async_trait]
impl UsageFeed for Script {
    async fn tokens(&self, lanes: &[Lane], minutes: Range<Minute>) -> PortResult<MinuteTokens> {
        self.asked.lock().unwrap().push((lanes.to_vec(), minutes.clone()));
        if *self.fails.lock().unwrap() {
            return Err(PortError::permanent("scripted feed", "AccessDenied"));
        }
        let (total, usual) = (self.total.lock().unwrap(), *self.usual.lock().unwrap());
        let of = |minute| total.get(&minute).copied().or(usual).map(|tokens| (minute, tokens));
        let by_minute = (minutes.start.0..minutes.end.0).filter_map(|minute| of(Minute(minute)));
        Ok([(lane("m"), by_minute.collect())].into())
    }
}

/// A replica with one lane in its gate.
struct Replica {
    gate: Gate,
    tally: Arc<Tally>,
    fleet: Arc<Fleet>,
    clock: Clock,
    watch: Watch,
    member: Member,
}

impl Replica {
    async fn new(name: &str, registers: &Arc<Memory>, feed: &Arc<Script>, clock: &Clock) -> Arc<Self> {
        let (gate, tally) = (Gate::alone(10), Arc::new(Tally::default()));
        let registers: Arc<dyn Registers> = Arc::clone(registers) as _;
        let fleet = Arc::new(Fleet::new(Arc::clone(&registers), name.to_owned(), false));
        let member = Member {
            worker: name.to_owned(),
            roles: [Role::Call].into(),
            since: clock.now(),
            shown_at: clock.now(),
            lanes: Vec::new(),
            finished: 0,
            used: None,
        };
        fleet.publish_used(Used::default());
        fleet.beat(&member).await.unwrap();
        // Opens the lane; nobody serves the gate, so the ask is dropped again.
        let ask = Ask {
            lane: lane("m"),
            limits: LaneLimits {
                requests_per_minute: None,
                tokens_per_minute: Some(TPM),
                burndown: 1.0,
                max_concurrent: None,
            },
            rank: String::new(),
            urgent: false,
            estimate: Estimate::default(),
            kind: None,
        };
        assert!(tokio::time::timeout(Duration::from_millis(1), gate.admit(ask)).await.is_err());
        let context = Context {
            registers,
            fleet: Arc::clone(&fleet),
            gate: gate.clone(),
            tally: Arc::clone(&tally),
            clock: clock.clone(),
        };
        let watch = Watch::new(Arc::clone(feed) as _, context);
        Arc::new(Self { gate, tally, fleet, clock: clock.clone(), watch, member })
    }

    /// Watches and beats from now on, and settles `rate` tokens a second.
    fn live(self: &Arc<Self>, rate: f64) -> JoinSet<()> {
        let (watching, beating) = (Arc::clone(self), Arc::clone(self));
        let mut life = JoinSet::new();
        life.spawn(async move { watching.watch.run().await });
        life.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(2)).await;
                beating.tally.settled(&lane("m"), rate * 2.0, beating.clock.now());
                beating.fleet.beat(&beating.member).await.unwrap();
            }
        });
        life
    }

    fn background(&self) -> Option<f64> {
        self.gate.snapshots()[0].background
    }

    fn is(&self, expected: f64) -> bool {
        self.background().is_some_and(|share| (share - expected).abs() < 0.002)
    }
}

async fn minutes(count: f64) {
    tokio::time::sleep(Duration::from_secs_f64(count * 60.0)).await;
}

#[test]
fn the_mean_of_the_newest_two_measured_minutes_counts() {
    let own = |minute: Minute| if minute == Minute(7) { 50.0 } else { 100.0 };
    let total = |data: &[(u64, f64)]| data.iter().map(|(minute, tokens)| (Minute(*minute), *tokens)).collect();
    for (data, expected) in [
        (total(&[(5, 999.0), (6, 130.0), (7, 100.0)]), Some(40.0)),
        // Minute 6 has not come in, or never will: 5 counts instead.
        (total(&[(5, 120.0), (7, 60.0)]), Some(15.0)),
        (total(&[(7, 60.0)]), Some(10.0)),
        // Settled at the turn of the minute: too little in one, too much in the other.
        (total(&[(6, 60.0), (7, 110.0)]), Some(10.0)),
        (total(&[(6, 60.0), (7, 50.0)]), Some(0.0)),
        (total(&[]), None),
    ] {
        let found: Option<f64> = others(&data, own);
        assert!(found.zip(expected).map_or(found == expected, |(a, b)| (a - b).abs() < 1e-9), "{data:?}: {found:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_fleet_used_is_taken_off_and_the_rest_is_left_to_others() {
    let (registers, feed, clock) = (Arc::default(), Arc::<Script>::default(), Clock::anchored(START));
    let one = Replica::new("z-first", &registers, &feed, &clock).await;
    let two = Replica::new("a-second", &registers, &feed, &clock).await;
    // The fleet settles 30,000 and 12,000 a minute.
    *feed.usual.lock().unwrap() = Some(42_000.0 + 30_000.0);
    let _lives = (one.live(500.0), two.live(200.0));
    minutes(6.0).await;
    assert!(one.is(0.3) && two.is(0.3), "{:?} {:?}", one.background(), two.background());
    assert!((one.gate.snapshots()[0].factor - 0.7).abs() < 0.002);

    let asked = feed.asked.lock().unwrap();
    assert!((3..=6).contains(&asked.len()), "one asks, once a minute: {}", asked.len());
    let first = &asked[0];
    assert_eq!(first.0, [lane("m")]);
    assert!(first.1.start > Minute::of(START), "of the minute it came in it does not know what the fleet used");
    for (_, minutes) in asked.iter() {
        assert!(minutes.end.0 - minutes.start.0 <= 5 && minutes.end.start() + LATE <= clock.now());
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_replica_used_still_counts() {
    let (registers, feed, clock) = (Arc::default(), Arc::<Script>::default(), Clock::anchored(START));
    let one = Replica::new("one", &registers, &feed, &clock).await;
    let two = Replica::new("two", &registers, &feed, &clock).await;
    *feed.usual.lock().unwrap() = Some(60_000.0);
    // "two" settles all of it and is killed; "one" goes on for as long as those minutes are looked at.
    let _life = one.live(0.0);
    let short_life = two.live(1_000.0);
    minutes(4.5).await;
    assert!(one.is(0.0), "{:?}", one.background());
    drop(short_life);
    let died = Minute::of(clock.now());
    let in_its_last_minute = clock.now().since(died.start()).as_secs_f64() * 1_000.0;
    assert!(in_its_last_minute > 10_000.0);
    feed.total.lock().unwrap().extend([(died, in_its_last_minute), (died.next(), 0.0), (died.next().next(), 0.0)]);
    *feed.usual.lock().unwrap() = None;
    feed.total.lock().unwrap().extend((1..6).map(|before| (died.back(before), 60_000.0)));
    for _ in 0..10 {
        minutes(0.4).await;
        // Of the minute it died in, what it settled after its last beat is missing: 4 s at the most.
        let background = one.background().unwrap();
        assert!(background <= 0.04, "{background}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_caller_that_does_not_tell_its_use_nothing_is_measured() {
    let (registers, feed, clock) = (Arc::<Memory>::default(), Arc::<Script>::default(), Clock::anchored(START));
    let one = Replica::new("one", &registers, &feed, &clock).await;
    let _life = one.live(0.0);
    *feed.usual.lock().unwrap() = Some(30_000.0);
    let secretive = Fleet::new(Arc::clone(&registers) as _, "earlier-version".to_owned(), false);
    for _ in 0..150 {
        secretive.beat(&Member { worker: "earlier-version".to_owned(), ..one.member.clone() }).await.unwrap();
        minutes(2.0 / 60.0).await;
    }
    assert!(feed.asked.lock().unwrap().is_empty());
    assert_eq!(one.background(), None);
    let gone = clock.now();
    minutes(4.0).await;
    assert!(one.is(0.3), "{:?}", one.background());
    assert!(feed.asked.lock().unwrap().iter().all(|(_, minutes)| minutes.start.start() > gone));
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_fails_is_done_without_and_comes_back() {
    let (registers, feed, clock) = (Arc::default(), Arc::<Script>::default(), Clock::anchored(START));
    let one = Replica::new("one", &registers, &feed, &clock).await;
    let _life = one.live(0.0);
    *feed.usual.lock().unwrap() = Some(30_000.0);
    minutes(5.0).await;
    assert!(one.is(0.3), "{:?}", one.background());
    *feed.fails.lock().unwrap() = true;
    minutes(4.5).await;
    assert!(one.is(0.3), "still the last that was measured: {:?}", one.background());
    minutes(1.5).await;
    assert_eq!(one.background(), None);
    assert!((one.gate.snapshots()[0].factor - 1.0).abs() < 1e-9);
    *feed.fails.lock().unwrap() = false;
    minutes(4.0).await;
    assert!(one.is(0.3), "{:?}", one.background());
}

#[tokio::test(start_paused = true)]
async fn no_data_is_unknown_and_not_zero() {
    let (registers, feed, clock) = (Arc::default(), Arc::<Script>::default(), Clock::anchored(START));
    let one = Replica::new("one", &registers, &feed, &clock).await;
    let _life = one.live(0.0);
    minutes(5.0).await;
    assert!(!feed.asked.lock().unwrap().is_empty());
    assert_eq!(one.background(), None);
    *feed.usual.lock().unwrap() = Some(20_000.0);
    minutes(4.0).await;
    assert!(one.is(0.2), "{:?}", one.background());
    *feed.usual.lock().unwrap() = None;
    minutes(1.5).await;
    assert_eq!(one.background(), None);
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_with_what_was_measured_unless_it_is_old() {
    let (registers, feed, clock) = (Arc::<Memory>::default(), Arc::<Script>::default(), Clock::anchored(START));
    let lane_register = register_of(&lane("m"));
    for (age, expected) in [(1, Some(0.3)), (11, None)] {
        let at = clock.now() - Duration::from_mins(age);
        let value = serde_json::to_string(&Measured { tokens_per_minute: Some(30_000.0), at }).unwrap();
        registers.write(&lane_register, 0, value).await.unwrap();
        let one = Replica::new(&format!("after {age}"), &registers, &feed, &clock).await;
        let _life = one.live(0.0);
        minutes(0.1).await;
        assert_eq!(one.background(), expected, "{age} minutes old");
        assert!(feed.asked.lock().unwrap().is_empty());
        registers.remove(&lane_register, 1).await.unwrap();
    }
}
