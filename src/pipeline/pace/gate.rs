//! The gate: waiting rooms, the dispatcher that serves them by rank, and the permits it hands out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::lane::{Hold, LaneSnapshot, LaneState, Place, Readiness, Waiter};
use super::{Ask, Settlement};
use crate::request::Lane;

/// Waiters of a lane that is paused for longer than this are sent back to the backlog.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// The lane is paused until then: put the request back and let others use the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paused {
    /// When it goes on.
    pub until: Instant,
}

/// Admits calls by rank, within each lane's quota and the fleet's concurrency budget. Cheap to clone.
#[derive(Clone)]
pub struct Gate(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    wake: Notify,
}

struct State {
    lanes: HashMap<Lane, LaneState>,
    share: f64,
    budget: u32,
    in_flight: u32,
    arrivals: u64,
}

impl Gate {
    /// A gate for one process that has `budget` calls in flight at most. [`Gate::run`] must run for it to admit anything.
    #[must_use]
    pub fn new(budget: u32) -> Self {
        let state = State { lanes: HashMap::new(), share: 1.0, budget, in_flight: 0, arrivals: 0 };
        Self(Arc::new(Shared { state: Mutex::new(state), wake: Notify::new() }))
    }

    /// Sets this process's part of every lane's quota (0 to 1) and its part of the concurrency budget.
    pub fn set_share(&self, share: f64, budget: u32) {
        let now = Instant::now();
        let mut state = self.0.lock();
        state.budget = budget;
        if (state.share - share).abs() > 1e-9 {
            state.share = share;
            for lane in state.lanes.values_mut() {
                let limits = *lane.limits();
                lane.configure(limits, share, now);
            }
        }
        drop(state);
        self.0.wake.notify_one();
    }

    /// Waits for a permit, in the order of rank. Dropping the future leaves the line.
    ///
    /// # Errors
    /// [`Paused`] when the lane will not serve anybody for a while.
    pub async fn admit(&self, ask: Ask) -> Result<Permit, Paused> {
        let (reply, answer) = oneshot::channel();
        let lane = ask.lane.clone();
        let place = {
            let now = Instant::now();
            let mut state = self.0.lock();
            let share = state.share;
            state.arrivals += 1;
            let place: Place = (ask.rank.clone(), state.arrivals);
            let room = state.lanes.entry(lane.clone()).or_insert_with(|| LaneState::new(ask.limits, share, now));
            if room.limits() != &ask.limits {
                room.configure(ask.limits, share, now);
            }
            if let Some(until) = room.paused_until(now).filter(|until| until.duration_since(now) > PATIENCE) {
                return Err(Paused { until });
            }
            room.waiting.insert(place.clone(), Waiter { ask, reply });
            place
        };
        self.0.wake.notify_one();
        let _leave = Leave { shared: &self.0, lane: &lane, place: &place };
        // The sender goes away unanswered only with the gate itself; whoever still waits then is shutting down too.
        answer.await.unwrap_or(Err(Paused { until: Instant::now() + PATIENCE }))
    }

    /// Serves the waiting rooms until dropped.
    pub async fn run(&self) {
        loop {
            let next = self.dispatch();
            let woken = self.0.wake.notified();
            match next {
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = woken => {}
                },
                None => woken.await,
            }
        }
    }

    /// All lanes that were ever asked for, by name.
    #[must_use]
    pub fn snapshots(&self) -> Vec<LaneSnapshot> {
        let now = Instant::now();
        let mut state = self.0.lock();
        let mut all: Vec<_> = state.lanes.iter_mut().map(|(name, lane)| lane.snapshot(name.as_str(), now)).collect();
        all.sort_by(|a, b| a.lane.cmp(&b.lane));
        all
    }

    /// Calls in flight and the most there may be.
    #[must_use]
    pub fn load(&self) -> (u32, u32) {
        let state = self.0.lock();
        (state.in_flight, state.budget)
    }

    /// Admits whoever may start, best rank first over all lanes; tells when to look again.
    fn dispatch(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut granted = Vec::new();
        let mut next: Option<Instant> = None;
        let mut state = self.0.lock();
        let state_ref = &mut *state;
        let mut ready: Vec<(Place, Lane)> = Vec::new();
        for (name, lane) in &mut state_ref.lanes {
            note_readiness(name, lane, now, &mut ready, &mut next);
        }
        while state_ref.in_flight < state_ref.budget {
            let Some(best) = (0..ready.len()).min_by(|a, b| ready[*a].0.cmp(&ready[*b].0)) else { break };
            let (_, name) = ready.swap_remove(best);
            let Some(lane) = state_ref.lanes.get_mut(&name) else { continue };
            if let Err(at) = lane.try_start() {
                note_next(&mut next, at);
                continue;
            }
            if let Some((waiter, hold)) = lane.admit_head(now) {
                state_ref.in_flight += 1;
                let permit =
                    Permit { shared: Arc::clone(&self.0), lane: name.clone(), hold: Some(hold), called: false };
                granted.push((waiter.reply, permit));
            }
            note_readiness(&name, lane, now, &mut ready, &mut next);
        }
        drop(state);
        // Outside the lock: a permit whose waiter has left settles itself, which takes the lock.
        for (reply, permit) in granted {
            drop(reply.send(Ok(permit)));
        }
        next
    }
}

fn note_readiness(
    name: &Lane,
    lane: &mut LaneState,
    now: Instant,
    ready: &mut Vec<(Place, Lane)>,
    next: &mut Option<Instant>,
) {
    let Some(head) = lane.waiting.keys().next().cloned() else { return };
    match lane.readiness(now) {
        Readiness::Now => ready.push((head, name.clone())),
        Readiness::At(at) => note_next(next, at),
        Readiness::Blocked => {}
    }
}

fn note_next(next: &mut Option<Instant>, at: Instant) {
    *next = Some(next.map_or(at, |known| known.min(at)));
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held; if something did, the state is still one that settles.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, lane: &Lane, hold: &Hold, settlement: Settlement) {
        let now = Instant::now();
        let mut bounced = Vec::new();
        let mut state = self.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        if let Some(lane) = state.lanes.get_mut(lane) {
            lane.settle(hold, settlement, now);
            if let Some(until) = lane.paused_until(now).filter(|until| until.duration_since(now) > PATIENCE) {
                bounced.extend(std::mem::take(&mut lane.waiting).into_values().map(|w| (w.reply, until)));
            }
        }
        drop(state);
        for (reply, until) in bounced {
            drop(reply.send(Err(Paused { until })));
        }
        self.wake.notify_one();
    }
}

/// Takes a waiter that went away out of its room.
struct Leave<'a> {
    shared: &'a Shared,
    lane: &'a Lane,
    place: &'a Place,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let waiter = self.shared.lock().lanes.get_mut(self.lane).and_then(|lane| lane.waiting.remove(self.place));
        drop(waiter);
    }
}

/// Leave to make one call. Settles exactly once: by [`Permit::settle`], or on drop — in full when the call was not
/// yet made, without any refund when it was, since nobody knows then what it used.
#[must_use = "a permit holds quota until it is settled"]
pub struct Permit {
    shared: Arc<Shared>,
    lane: Lane,
    hold: Option<Hold>,
    called: bool,
}

impl Permit {
    /// Marks that the call is being made, so that a drop from here on gives nothing back.
    pub fn mark_called(&mut self) {
        self.called = true;
    }

    /// Books what was used.
    pub fn settle(mut self, settlement: Settlement) {
        if let Some(hold) = self.hold.take() {
            self.shared.settle(&self.lane, &hold, settlement);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            let settlement = if self.called {
                Settlement::Failed { class: crate::ports::model::CallErrorClass::Transport, retry_after: None }
            } else {
                Settlement::NotCalled
            };
            self.shared.settle(&self.lane, &hold, settlement);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::task::JoinSet;

    use super::*;
    use crate::pipeline::pace::LaneLimits;
    use crate::ports::model::CallErrorClass;
    use crate::request::{Estimate, ModelId, Usage};

    fn ask(lane: &str, rank: &str, input: u64, max_output: u64, limits: LaneLimits) -> Ask {
        Ask {
            lane: Lane::new("default", "r", &ModelId::new(lane).unwrap()),
            limits,
            rank: rank.to_owned(),
            urgent: rank.starts_with('0'),
            estimate: Estimate { input_tokens: input, max_output_tokens: max_output },
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
    async fn waiters_are_served_by_rank_over_all_lanes() {
        let gate = Gate::new(1);
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
        assert_eq!(*order.lock().unwrap(), ["0#9", "1#1", "1#2", "1#3"]);
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
        let gate = Gate::new(30);
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
        let gate = Gate::new(10);
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
        let gate = Gate::new(1);
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
        let gate = Gate::new(10);
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
        let gate = Gate::new(1);
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// Whatever waiters and calls do — leave, fail, throttle, vanish — nothing stays reserved and nobody waits for ever.
        #[test]
        fn every_permit_settles(fates in proptest::collection::vec((0u8..6, 1u64..2_000, 0u64..3_000), 1..80)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let limits = LaneLimits { tokens_per_minute: Some(60_000.0), requests_per_minute: Some(600.0), burndown: 5.0, ..FREE };
                let gate = Gate::new(4);
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
                            2 => permit.settle(Settlement::Failed { class: CallErrorClass::ThrottledTokens, retry_after: None }),
                            3 => permit.settle(Settlement::Failed { class: CallErrorClass::Unavailable, retry_after: None }),
                            4 => permit.settle(Settlement::NotCalled),
                            _ => permit.settle(used(tokens, tokens / 2)),
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
}
