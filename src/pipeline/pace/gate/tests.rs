use std::time::Duration;

use proptest::prelude::*;
use tokio::task::JoinSet;

use super::*;
use crate::pipeline::pace::LaneLimits;
use crate::ports::model::CallErrorClass;
use crate::request::{Estimate, ModelId, Usage};
use crate::simulator::quota::{Quota, QuotaSpec};

fn ask(lane: &str, rank: &str, input: u64, max_output: u64, limits: LaneLimits) -> Ask {
    Ask {
        lane: Lane::new("default", "r", &ModelId::new(lane).unwrap()),
        limits,
        rank: rank.to_owned(),
        urgent: rank.starts_with('0'),
        estimate: Estimate { input_tokens: input, max_output_tokens: max_output },
        kind: None,
    }
}

const FREE: LaneLimits =
    LaneLimits { requests_per_minute: None, tokens_per_minute: None, burndown: 1.0, max_concurrent: None };

fn served(gate: &Gate) -> JoinSet<()> {
    let (gate, mut set) = (gate.clone(), JoinSet::new());
    set.spawn(async move { gate.run().await });
    set
}

fn used(input: u64, output: u64) -> Settlement {
    Settlement::Answered(Some(Usage { input_tokens: input, output_tokens: output, ..Usage::default() }))
}

#[tokio::test(start_paused = true)]
async fn waiters_are_served_by_rank_in_each_lane_and_urgent_ones_first_over_all() {
    let gate = Gate::alone(1);
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiters = JoinSet::new();
    for (lane, rank) in [("a", "1#3"), ("b", "1#1"), ("a", "0#9"), ("b", "1#2")] {
        let (gate, order) = (gate.clone(), Arc::clone(&order));
        waiters.spawn(async move {
            let permit = gate.admit(ask(lane, rank, 1, 1, FREE)).await.unwrap();
            order.lock().unwrap().push(rank);
            permit.settle(used(1, 1));
        });
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    let _dispatcher = served(&gate);
    while waiters.join_next().await.is_some() {}
    assert_eq!(*order.lock().unwrap(), ["0#9", "1#3", "1#1", "1#2"]);
    assert_eq!(gate.load().0, 0);
}

/// A server that refills continuously, as Bedrock is taken to: reserves at the start, settles at the end.
struct Bucket {
    level: f64,
    at: Instant,
    per_minute: f64,
    refused: u32,
}

impl Bucket {
    fn start(&mut self, reserve: f64) -> bool {
        let now = Instant::now();
        self.level = (self.level + (now - self.at).as_secs_f64() * self.per_minute / 60.0).min(self.per_minute);
        self.at = now;
        let admitted = self.level >= reserve;
        if admitted {
            self.level -= reserve;
        } else {
            self.refused += 1;
        }
        admitted
    }
}

#[tokio::test(start_paused = true)]
async fn a_refilling_quota_is_filled_and_never_overrun() {
    let limits =
        LaneLimits { tokens_per_minute: Some(300_000.0), requests_per_minute: Some(500.0), burndown: 5.0, ..FREE };
    let gate = Gate::alone(30);
    let _dispatcher = served(&gate);
    let server = Bucket { level: 300_000.0, at: Instant::now(), per_minute: 300_000.0, refused: 0 };
    let server = Arc::new(Mutex::new(server));
    let settled = Arc::new(Mutex::new(0.0));
    let start = Instant::now();
    let mut calls = JoinSet::new();
    for n in 0..2_000_u64 {
        let (gate, server, settled) = (gate.clone(), Arc::clone(&server), Arc::clone(&settled));
        calls.spawn(async move {
            let (input, output, max_output) = (200 + n * 37 % 1_500, 50 + n * 13 % 100, 1_000);
            let permit = gate.admit(ask("m", &format!("1#{n:05}"), input, max_output, limits)).await.unwrap();
            assert!(server.lock().unwrap().start((input + max_output) as f64), "throttled");
            tokio::time::sleep(Duration::from_millis(500 + output * 10)).await;
            let cost = (input + 5 * output) as f64;
            server.lock().unwrap().level += (input + max_output) as f64 - cost;
            *settled.lock().unwrap() += cost;
            permit.settle(used(input, output));
        });
    }
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
    let minutes = start.elapsed().as_secs_f64() / 60.0;
    let share = *settled.lock().unwrap() / 300_000.0 / minutes;
    assert_eq!(server.lock().unwrap().refused, 0);
    assert!((0.96..=1.0).contains(&share), "used {share} of the quota in {minutes} minutes");
}

#[tokio::test(start_paused = true)]
async fn a_giant_is_neither_starved_nor_refused() {
    let limits = LaneLimits { tokens_per_minute: Some(6_000.0), ..FREE };
    let gate = Gate::alone(10);
    let _dispatcher = served(&gate);
    let mut small = JoinSet::new();
    for n in 0..200 {
        let gate = gate.clone();
        small.spawn(async move {
            let permit = gate.admit(ask("m", &format!("1#{n:03}b"), 50, 0, limits)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
            permit.settle(used(50, 0));
        });
    }
    let giant = gate.admit(ask("m", "1#010a", 5_900, 0, limits)).await.unwrap();
    assert!(small.len() > 150, "the giant waited for those behind it");
    giant.settle(used(5_900, 0));
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_the_line_or_drops_a_permit_holds_nothing() {
    let limits = LaneLimits { tokens_per_minute: Some(6_000.0), ..FREE };
    let gate = Gate::alone(1);
    let _dispatcher = served(&gate);
    let permit = gate.admit(ask("m", "1", 100, 0, limits)).await.unwrap();
    let left = tokio::time::timeout(Duration::from_secs(5), gate.admit(ask("m", "1", 100, 0, limits))).await;
    assert!(left.is_err());
    assert_eq!((gate.snapshots()[0].waiting, gate.load().0), (0, 1));
    drop(permit);
    assert_eq!(gate.load().0, 0);
    assert!(gate.snapshots()[0].reserved_tokens.abs() < 1e-9);
    let mut lost = gate.admit(ask("m", "1", 100, 0, limits)).await.unwrap();
    lost.mark_called();
    drop(lost);
    assert_eq!(gate.load().0, 0);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_lane_pauses_and_others_go_on() {
    let gate = Gate::alone(10);
    let _dispatcher = served(&gate);
    let permit = gate.admit(ask("slow", "1", 1, 1, FREE)).await.unwrap();
    permit.settle(Settlement::Failed { class: CallErrorClass::ThrottledTokens, retry_after: None });
    let start = Instant::now();
    gate.admit(ask("other", "1", 1, 1, FREE)).await.unwrap().settle(used(1, 1));
    assert_eq!(start.elapsed(), Duration::ZERO);
    gate.admit(ask("slow", "1", 1, 1, FREE)).await.unwrap().settle(used(1, 1));
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_long_pause_sends_waiters_back() {
    let gate = Gate::alone(1);
    let _dispatcher = served(&gate);
    let permit = gate.admit(ask("m", "1", 1, 1, FREE)).await.unwrap();
    let waiting = gate.admit(ask("m", "2", 1, 1, FREE));
    let settle = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        permit.settle(Settlement::Failed { class: CallErrorClass::ThrottledDay, retry_after: None });
    };
    let (waited, ()) = tokio::join!(waiting, settle);
    assert!(waited.is_err());
    assert!(gate.admit(ask("m", "3", 1, 1, FREE)).await.is_err(), "a newcomer is sent back at once");
}

#[tokio::test(start_paused = true)]
async fn grants_that_lapsed_are_void_until_granted_anew() {
    let gate = Gate::in_fleet();
    let _dispatcher = served(&gate);
    let lane = ask("m", "1", 1, 1, FREE).lane;
    let lapse = Instant::now() + Duration::from_secs(5);
    gate.hold_until(lapse);
    gate.set_grant(&lane, Grant::WHOLE);
    gate.set_budget(1);
    gate.admit(ask("m", "1", 1, 1, FREE)).await.unwrap().settle(used(1, 1));
    tokio::time::sleep_until(lapse).await;
    let second = tokio::time::timeout(Duration::from_mins(1), gate.admit(ask("m", "1", 1, 1, FREE))).await;
    assert!(second.is_err(), "it was admitted on a grant that lapsed");
    gate.hold_until(Instant::now() + Duration::from_secs(5));
    assert_eq!(
        (gate.standing(&lane).unwrap().0, gate.load()),
        (Grant::NONE, (0, 0)),
        "to hold again is not to have again"
    );
    gate.lane_opened().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever waiters and calls do — leave, fail, throttle, vanish — nothing stays reserved and nobody waits for ever.
    #[test]
    fn every_permit_settles(fates in proptest::collection::vec((0u8..6, 1u64..2_000, 0u64..3_000), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let limits = LaneLimits { tokens_per_minute: Some(60_000.0), requests_per_minute: Some(600.0), burndown: 5.0, ..FREE };
            let gate = Gate::alone(4);
            let _dispatcher = served(&gate);
            let mut set = JoinSet::new();
            for (n, (fate, tokens, ms)) in fates.into_iter().enumerate() {
                let gate = gate.clone();
                set.spawn(async move {
                    let admitted = gate.admit(ask("m", &format!("1#{n:03}"), tokens, tokens, limits));
                    let admitted = if fate == 0 {
                        tokio::time::timeout(Duration::from_millis(ms), admitted).await
                    } else {
                        Ok(admitted.await)
                    };
                    let Ok(Ok(mut permit)) = admitted else { return };
                    permit.mark_called();
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    match fate {
                        1 => drop(permit),
                        2 => _ = permit.settle(Settlement::Failed { class: CallErrorClass::ThrottledTokens, retry_after: None }),
                        3 => _ = permit.settle(Settlement::Failed { class: CallErrorClass::Unavailable, retry_after: None }),
                        4 => _ = permit.settle(Settlement::NotCalled),
                        _ => _ = permit.settle(used(tokens, tokens / 2)),
                    }
                });
            }
            while let Some(done) = set.join_next().await {
                prop_assert!(done.is_ok());
            }
            let lane = &gate.snapshots()[0];
            prop_assert_eq!((gate.load().0, lane.in_flight, lane.waiting), (0, 0, 0));
            prop_assert!(lane.reserved_tokens.abs() < 1e-6);
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_and_a_cancelled_call_settle_their_permits() {
    let gate = Gate::alone(2);
    let _dispatcher = served(&gate);
    let limits = LaneLimits { tokens_per_minute: Some(60_000.0), ..FREE };
    let mut calls = JoinSet::new();
    for panics in [true, false] {
        let gate = gate.clone();
        calls.spawn(async move {
            let mut permit = gate.admit(ask("m", "1", 100, 100, limits)).await.unwrap();
            permit.mark_called();
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(!panics, "as a broken caller would");
            std::future::pending::<()>().await;
        });
    }
    assert!(calls.join_next().await.unwrap().unwrap_err().is_panic());
    assert_eq!(gate.load().0, 1);
    calls.shutdown().await;
    let lane = gate.snapshots().remove(0);
    assert_eq!((gate.load().0, lane.in_flight, lane.reserved_tokens), (0, 0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn an_accounts_spent_day_pauses_all_its_models_and_no_other_accounts() {
    let gate = Gate::alone(10);
    let _dispatcher = served(&gate);
    let elsewhere = |account: &str, region: &str| Ask {
        lane: Lane::new(account, region, &ModelId::new("n").unwrap()),
        ..ask("n", "1", 1, 1, FREE)
    };
    for other in [ask("n", "1", 1, 1, FREE), elsewhere("other", "r"), elsewhere("default", "q")] {
        gate.admit(other).await.unwrap().settle(used(1, 1));
    }
    let permit = gate.admit(ask("m", "1", 1, 1, FREE)).await.unwrap();
    permit.settle(Settlement::Failed { class: CallErrorClass::ThrottledAccountDay, retry_after: None });
    for model in ["m", "n"] {
        let paused = gate.admit(ask(model, "2", 1, 1, FREE)).await.err().unwrap();
        assert!(paused.until >= Instant::now() + Duration::from_mins(59), "{model}");
    }
    for other in [elsewhere("other", "r"), elsewhere("default", "q")] {
        gate.admit(other).await.unwrap().settle(used(1, 1));
    }
    let told = gate.adaptation(&ask("n", "1", 1, 1, FREE).lane).unwrap();
    assert!(told.day_pause_s > 3_500.0, "other replicas hear of it: {told:?}");
    // A model nobody has called yet is paused as well.
    assert!(gate.admit(ask("new", "1", 1, 1, FREE)).await.is_err());
}

/// A request as a property test makes it up.
#[derive(Clone, Debug)]
struct Made {
    urgent: bool,
    input: u64,
    max_output: u64,
    output: u64,
    ms: u64,
    after_ms: u64,
}

fn made() -> impl Strategy<Value = Made> {
    let sizes = prop_oneof![4 => (1u64..3_000, 1u64..2_000), 1 => (1u64..150_000, 1u64..60_000)];
    (any::<u8>(), sizes, 0u64..=100, 1u64..30_000, 0u64..20_000).prop_map(
        |(urgent, (input, max_output), part, ms, after_ms)| Made {
            urgent: urgent % 5 == 0,
            input,
            max_output,
            output: max_output * part / 100,
            ms,
            after_ms,
        },
    )
}

fn paused<T>(run: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(run)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever is asked for, and however it ends: a server that refills never has to refuse what the gate admits.
    #[test]
    fn never_reserves_more_than_a_refilling_server_has(asked in proptest::collection::vec(made(), 1..80)) {
        paused(async move {
            let spec = QuotaSpec { tpm: Some(300_000), rpm: Some(500), ..QuotaSpec::default() };
            let server = Arc::new(Mutex::new(Quota::new(spec, Instant::now())));
            let limits =
                LaneLimits { tokens_per_minute: Some(300_000.0), requests_per_minute: Some(500.0), ..FREE };
            let gate = Gate::alone(20);
            let _dispatcher = served(&gate);
            let mut calls = JoinSet::new();
            for (n, request) in asked.into_iter().enumerate() {
                let (gate, server) = (gate.clone(), Arc::clone(&server));
                calls.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(request.after_ms)).await;
                    let rank = format!("{}#{n:03}", u8::from(!request.urgent));
                    let permit = gate.admit(ask("m", &rank, request.input, request.max_output, limits)).await.unwrap();
                    let started = server.lock().unwrap().try_start(Instant::now(), request.input + request.max_output);
                    let Ok(ticket) = started else { return Err(server.lock().unwrap().levels(Instant::now())) };
                    tokio::time::sleep(Duration::from_millis(request.ms)).await;
                    server.lock().unwrap().settle(Instant::now(), ticket, request.input + request.output);
                    permit.settle(used(request.input, request.output));
                    Ok(())
                });
            }
            while let Some(call) = calls.join_next().await {
                let call = call.unwrap();
                prop_assert!(call.is_ok(), "refused at {call:?}");
            }
            Ok(())
        })?;
    }

    /// Size is no advantage: those who wait at the same time are admitted by rank, huge or small, and the huge one's wait
    /// does not idle the lane for longer than the huge one is worth.
    #[test]
    fn huge_and_small_are_served_in_order(sizes in proptest::collection::vec(prop_oneof![5 => 1u64..4_000, 1 => 50_000u64..250_000], 2..60)) {
        paused(async move {
            let limits = LaneLimits { tokens_per_minute: Some(300_000.0), ..FREE };
            let gate = Gate::alone(10);
            let order = Arc::new(Mutex::new(Vec::new()));
            let mut calls = JoinSet::new();
            for (n, tokens) in sizes.iter().copied().enumerate() {
                let (gate, order) = (gate.clone(), Arc::clone(&order));
                calls.spawn(async move {
                    let permit = gate.admit(ask("m", &format!("1#{n:03}"), tokens, 0, limits)).await.unwrap();
                    order.lock().unwrap().push(n);
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    permit.settle(used(tokens, 0));
                });
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            let start = Instant::now();
            let _dispatcher = served(&gate);
            while calls.join_next().await.is_some() {}
            prop_assert!(order.lock().unwrap().is_sorted(), "{:?}", order.lock().unwrap());
            let ideal = sizes.iter().sum::<u64>() as f64 / (300_000.0 * 0.995 / 60.0);
            let took = start.elapsed().as_secs_f64();
            // Calls in flight are waited for before a huge one, half a second each time, and the last one's end.
            let waits = 0.55 * (1 + sizes.iter().filter(|tokens| **tokens >= 50_000).count()) as f64;
            prop_assert!(took <= ideal + waits + 1.0, "took {took:.1} s, ideal {ideal:.1} s");
            Ok(())
        })?;
    }

    /// Waiters that leave in droves, parts that come and go: whoever still waits is served once there is a part again.
    #[test]
    fn storms_of_cancels_and_grants_deadlock_nobody(
        patience in proptest::collection::vec((0u64..5_000, any::<bool>()), 1..150),
        grants in proptest::collection::vec((0u8..4, 0u32..6), 0..40),
    ) {
        paused(async move {
            let limits = LaneLimits { tokens_per_minute: Some(60_000.0), requests_per_minute: Some(3_000.0), ..FREE };
            let gate = Gate::in_fleet();
            let _dispatcher = served(&gate);
            let mut calls = JoinSet::new();
            for (n, (ms, other)) in patience.into_iter().enumerate() {
                let gate = gate.clone();
                calls.spawn(async move {
                    let lane = if other { "a" } else { "b" };
                    let admitted = gate.admit(ask(lane, &format!("1#{n:03}"), 50, 50, limits));
                    if let Ok(Ok(permit)) = tokio::time::timeout(Duration::from_millis(ms), admitted).await {
                        tokio::time::sleep(Duration::from_millis(ms / 3)).await;
                        permit.settle(used(50, 50));
                    }
                });
            }
            let grant = |quarters: u8, budget: u32| {
                let rate = f64::from(quarters) / 4.0;
                for lane in ["a", "b"] {
                    gate.set_grant(&ask(lane, "", 0, 0, FREE).lane, Grant { rate, room: rate, calls: None });
                }
                gate.set_budget(budget);
            };
            for (quarters, budget) in grants {
                grant(quarters, budget);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            grant(4, 5);
            while let Some(call) = calls.join_next().await {
                prop_assert!(call.is_ok());
            }
            let last = tokio::time::timeout(Duration::from_secs(30), gate.admit(ask("a", "9", 50, 50, limits))).await;
            prop_assert!(last.is_ok(), "nobody is served any more");
            last.unwrap().unwrap().settle(used(50, 50));
            prop_assert_eq!(gate.load().0, 0);
            prop_assert!(gate.demands().iter().all(|(_, _, d)| d.calls == 0 && d.rate.abs() < 1e-9), "{:?}", gate.demands());
            Ok(())
        })?;
    }
}
