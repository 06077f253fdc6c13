//! What a request costs does not depend on how many others wait. `cargo test --release --test backlog -- --ignored --nocapture`
//! goes up to a million.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests, with figures for people")]

mod aws;
mod counting;
mod seed;
#[path = "../support/worker.rs"]
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws::Aws;
use bytes::Bytes;
use counting::counting;
use seed::{Seeder, TENANTS};
use smoother::clock::{Clock, Timestamp};
use smoother::config::{Config, Sources};
use smoother::local;
use smoother::models::Catalog;
use smoother::ports::model::CallError;
use smoother::ports::{Answer, Call, Model, Ports};
use smoother::request::Usage;
use smoother::shutdown::Stop;
use smoother::worker::Worker;
use tokio::sync::Notify;
use tokio::task::JoinSet;

const NOVA: &str = "amazon.nova-lite-v1:0";
const START: Timestamp = Timestamp(1_795_252_123_456);
/// Called before counting begins, and while it goes on.
const BEFORE: u64 = 100;
const COUNTED: u64 = 500;

/// Answers after half a second to one and a half.
#[derive(Default)]
struct Echo {
    calls: AtomicU64,
    called: Notify,
}

#[async_trait]
impl Model for Echo {
    async fn call(&self, _: Call) -> Result<Answer, CallError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        self.called.notify_one();
        tokio::time::sleep(Duration::from_millis(500 + 389 * call % 1_000)).await;
        let usage = Usage { input_tokens: 20, output_tokens: 50, ..Usage::default() };
        Ok(Answer { body: Bytes::from_static(b"{}"), usage: Some(usage), service_tier: None })
    }
}

/// Operations per request on the local adapters with so many in line; with `arrivals`, as many come as are called.
async fn operations(backlog: usize, arrivals: bool) -> BTreeMap<String, f64> {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::anchored(START);
    let local = local::open(dir.path(), local::Settings::default(), clock.clone()).await.unwrap();
    let (ports, counts) = counting(&local.ports);
    let read = || counts.read().into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    let mut seeder = Seeder::new(&*local.ports.payloads, NOVA).await;
    let began = Clock::system().now();
    seeder.seed(&*local.ports.ledger, backlog, clock.now()).await;
    println!("{backlog} put into line in {:.1?}", Clock::system().now().since(began));
    measure(seeder, arrivals, &local.ports, ports, &clock, read).await
}

/// Works on `counted`, and reads the counts at the beginning and the end. What arrives comes through `direct`.
async fn measure(
    mut seeder: Seeder,
    arrivals: bool,
    direct: &Ports,
    counted: Ports,
    clock: &Clock,
    read: impl Fn() -> BTreeMap<String, u64>,
) -> BTreeMap<String, f64> {
    let model = Arc::<Echo>::default();
    let overrides = vec![(format!("models.\"{NOVA}\".tokens_per_minute"), "10000000".to_owned())];
    let config = Config::load(&Sources { overrides, ..Sources::default() }).unwrap().config;
    let settings = worker::settings(&config, 20, 50, Duration::from_secs(1));
    let worker =
        Worker::new(counted, Arc::clone(&model) as _, Arc::new(Catalog::new(&config)), clock.clone(), settings);
    let stop = Stop::default();
    let mut running = JoinSet::new();
    running.spawn(worker.run(stop.clone()));
    let until = async |goal: u64, seeder: &mut Seeder| {
        let mut seen = model.calls.load(Ordering::Relaxed);
        while seen < goal {
            model.called.notified().await;
            let calls = model.calls.load(Ordering::Relaxed);
            if arrivals {
                seeder.seed(&*direct.ledger, usize::try_from(calls - seen).unwrap(), clock.now()).await;
            }
            seen = calls;
        }
    };
    until(BEFORE, &mut seeder).await;
    let (before, at, called) = (read(), Clock::system().now(), model.calls.load(Ordering::Relaxed));
    until(BEFORE + COUNTED, &mut seeder).await;
    let (after, took, called) = (read(), Clock::system().now().since(at), model.calls.load(Ordering::Relaxed) - called);
    stop.intake.cancel();
    running.join_next().await.unwrap().unwrap();
    println!("{called} called in {took:.1?} of real time");
    let per_request = |(name, count): (String, u64)| {
        let count = count - before.get(&name).copied().unwrap_or(0);
        (name, count as f64 / called as f64)
    };
    after.into_iter().map(per_request).collect()
}

/// Runs all sizes on the local adapters.
async fn are_flat(sizes: &[usize], arrivals: bool) {
    let mut all = Vec::new();
    for size in sizes {
        all.push((*size, operations(*size, arrivals).await));
    }
    println!("arrivals: {arrivals}");
    compare(&all);
}

/// Every operation of the larger ones is as frequent as with the first, within a tenth (and a tenth of an operation where
/// there is less than one per request).
fn compare(all: &[(usize, BTreeMap<String, f64>)]) {
    let names: BTreeSet<&String> = all.iter().flat_map(|(_, counts)| counts.keys()).collect();
    let of = |counts: &BTreeMap<String, f64>, name| counts.get(name).copied().unwrap_or(0.0);
    let line = |cells: Vec<String>| println!("| {} |", cells.join(" | "));
    line(std::iter::once("per request".to_owned()).chain(all.iter().map(|(size, _)| size.to_string())).collect());
    for name in &names {
        let cells = all.iter().map(|(_, counts)| format!("{:.2}", of(counts, *name)));
        line(std::iter::once((*name).clone()).chain(cells).collect());
    }
    let (first_size, first) = &all[0];
    for (name, (size, counts)) in names.iter().flat_map(|name| all.iter().map(move |one| (*name, one))) {
        let (more, less) = (of(counts, name), of(first, name));
        assert!(
            more <= less * 1.1 + 0.1,
            "{name}: {more:.3} per request with {size} in line, {less:.3} with {first_size}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn operations_are_as_many_with_a_long_backlog() {
    are_flat(&[2_000, 20_000], false).await;
}

#[tokio::test(start_paused = true)]
async fn operations_are_as_many_with_a_long_backlog_while_more_arrive() {
    are_flat(&[2_000, 20_000], true).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "a minute in release, ten in debug"]
async fn operations_are_as_many_with_a_million() {
    are_flat(&[2_000, 100_000, 1_000_000], false).await;
    are_flat(&[2_000, 100_000, 1_000_000], true).await;
}

#[tokio::test]
#[ignore = "minutes: the emulator takes its time with so many rows"]
async fn calls_of_aws_are_as_many_with_a_long_backlog() {
    let mut all = Vec::new();
    for size in [1_000, 50_000] {
        let aws = Aws::start().await;
        let clock = Clock::system();
        let mut seeder = Seeder::new(&*aws.direct.payloads, NOVA).await;
        let began = clock.now();
        seeder.seed(&*aws.direct.ledger, TENANTS.len(), began).await;
        for n in 0..TENANTS.len() {
            aws.copy(&format!("seed-{n:07}"), size / TENANTS.len()).await;
        }
        println!("{size} put into line in {:.1?}", clock.now().since(began));
        let read = || aws.calls.lock().unwrap().clone();
        all.push((size, measure(seeder, false, &aws.direct, aws.counted.clone(), &clock, read).await));
    }
    compare(&all);
}
