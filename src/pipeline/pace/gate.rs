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
        let state = State { lanes: HashMap::new(), share: 1.0, budget: budget.max(1), in_flight: 0, arrivals: 0 };
        Self(Arc::new(Shared { state: Mutex::new(state), wake: Notify::new() }))
    }

    /// Sets this process's part of every lane's quota (0 to 1) and its part of the concurrency budget.
    pub fn set_share(&self, share: f64, budget: u32) {
        let now = Instant::now();
        let mut state = self.0.lock();
        state.budget = budget.max(1);
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
                next = earlier(next, at);
                continue;
            }
            if let Some((waiter, hold)) = lane.admit_head(now) {
                state_ref.in_flight += 1;
                let permit = Permit { shared: Arc::clone(&self.0), lane: name.clone(), hold: Some(hold), called: false };
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
        Readiness::At(at) => *next = earlier(*next, at),
        Readiness::Blocked => {}
    }
}

fn earlier(a: Option<Instant>, b: Instant) -> Option<Instant> {
    Some(a.map_or(b, |a| a.min(b)))
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
