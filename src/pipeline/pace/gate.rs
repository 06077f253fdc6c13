//! The gate: waiting rooms, the dispatcher that serves them by rank, and the permits it hands out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::lane::{Hold, LaneState, Place, Readiness, Waiter};
use super::{Adaptation, Ask, Demand, Grant, LaneLimits, LaneSnapshot, Settlement};
use crate::ports::model::CallErrorClass;
use crate::request::Lane;

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
    /// Somebody asked for a lane of which we have no part yet.
    opened: Notify,
    /// The budget has grown.
    grown: Notify,
}

struct State {
    lanes: HashMap<Lane, LaneState>,
    /// Our parts of the lanes; none of a lane that is missing. Without a fleet every lane is ours.
    grants: Option<HashMap<Lane, Grant>>,
    budget: u32,
    /// From then on grants and budget are void, since others may have them.
    lapse: Option<Instant>,
    /// Accounts, by a lane of theirs, whose tokens per day over all models are used up until then.
    spent_days: Vec<(Lane, Instant)>,
    in_flight: u32,
    arrivals: u64,
}

impl Gate {
    /// A gate that has every lane to itself and `budget` calls in flight at most. [`Gate::run`] must run for it to admit
    /// anything.
    #[must_use]
    pub fn alone(budget: u32) -> Self {
        Self::with(None, budget)
    }

    /// A gate of a replica: it admits nothing before [`Gate::set_grant`] and [`Gate::set_budget`].
    #[must_use]
    pub fn in_fleet() -> Self {
        Self::with(Some(HashMap::new()), 0)
    }

    fn with(grants: Option<HashMap<Lane, Grant>>, budget: u32) -> Self {
        let state = State {
            lanes: HashMap::new(),
            grants,
            budget,
            lapse: None,
            spent_days: Vec::new(),
            in_flight: 0,
            arrivals: 0,
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            wake: Notify::new(),
            opened: Notify::new(),
            grown: Notify::new(),
        }))
    }

    /// Sets this process's part of a lane.
    pub fn set_grant(&self, lane: &Lane, grant: Grant) {
        let now = Instant::now();
        let mut state = self.0.lock();
        if let Some(lane) = state.lanes.get_mut(lane) {
            let limits = *lane.limits();
            lane.configure(limits, grant, now);
        }
        state.grants.get_or_insert_default().insert(lane.clone(), grant);
        drop(state);
        self.0.wake.notify_one();
    }

    /// Sets how many calls may be in flight.
    pub fn set_budget(&self, budget: u32) {
        let before = std::mem::replace(&mut self.0.lock().budget, budget);
        if budget > before {
            self.0.grown.notify_one();
        }
        self.0.wake.notify_one();
    }

    /// Returns when more calls may be in flight than before. For one who waits at a time.
    pub async fn budget_grown(&self) {
        self.0.grown.notified().await;
    }

    /// Makes grants and budget void at `lapse`, unless this is called again before. What is void stays so: it must be
    /// granted anew.
    pub fn hold_until(&self, lapse: Instant) {
        self.0.lock_at(Instant::now()).lapse = Some(lapse);
    }

    /// Gives up grants and budget.
    pub fn withdraw(&self) {
        self.0.lock().withdraw(Instant::now());
    }

    /// This process's part of a lane, and what could be used of it; `None` when nobody has asked for the lane.
    #[must_use]
    pub fn standing(&self, lane: &Lane) -> Option<(Grant, LaneLimits, Demand)> {
        let now = Instant::now();
        let mut state = self.0.lock_at(now);
        let grant = state.grant(lane);
        state.lanes.get_mut(lane).map(|lane| (grant, *lane.limits(), lane.demand(now)))
    }

    /// Every lane that was ever asked for, with its limits and what could be used of it now.
    #[must_use]
    pub fn demands(&self) -> Vec<(Lane, LaneLimits, Demand)> {
        let now = Instant::now();
        let mut state = self.0.lock();
        let demands = state.lanes.iter_mut().map(|(name, lane)| (name.clone(), *lane.limits(), lane.demand(now)));
        let mut all: Vec<_> = demands.collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Applies limits that changed to what waits in a lane; what asks later brings its own.
    pub fn set_limits(&self, lane: &Lane, limits: LaneLimits) {
        let now = Instant::now();
        let mut state = self.0.lock();
        let grant = state.grant(lane);
        if let Some(lane) = state.lanes.get_mut(lane) {
            lane.configure(limits, grant, now);
        }
        drop(state);
        self.0.wake.notify_one();
    }

    /// Returns when somebody has asked for a lane of which we have no part.
    pub async fn lane_opened(&self) {
        self.0.opened.notified().await;
    }

    /// What a lane has learned from throttles, for the other replicas.
    #[must_use]
    pub fn adaptation(&self, lane: &Lane) -> Option<Adaptation> {
        let now = Instant::now();
        self.0.lock().lanes.get_mut(lane).map(|lane| lane.adaptation(now))
    }

    /// Takes over what another replica, or an earlier life of this one, has learned.
    pub fn adopt(&self, lane: &Lane, learned: &Adaptation) {
        let now = Instant::now();
        if let Some(lane) = self.0.lock().lanes.get_mut(lane) {
            lane.adopt(learned, now);
        }
        self.0.wake.notify_one();
    }

    /// Leaves `share` (0 to 1) of a lane's tokens to other traffic on the account, as measured.
    pub fn set_background(&self, lane: &Lane, share: f64) {
        let now = Instant::now();
        if let Some(lane) = self.0.lock().lanes.get_mut(lane) {
            lane.set_background(share, now);
        }
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
            let mut state = self.0.lock_at(now);
            let grant = state.grant(&lane);
            state.arrivals += 1;
            let place: Place = (ask.rank.clone(), state.arrivals);
            if grant == Grant::NONE {
                self.0.opened.notify_one();
            }
            let spent =
                state.spent_days.iter().find(|(other, _)| other.shares_account_with(&lane)).map(|(_, until)| *until);
            let room = state.lanes.entry(lane.clone()).or_insert_with(|| {
                let mut opened = LaneState::new(ask.limits, grant, now);
                if let Some(until) = spent {
                    opened.pause_day_until(until, now);
                }
                opened
            });
            if room.limits() != &ask.limits {
                room.configure(ask.limits, grant, now);
            }
            if let Some(paused) = room.paused_for_long(now) {
                return Err(paused);
            }
            room.enter(place.clone(), Waiter { ask, reply });
            place
        };
        self.0.wake.notify_one();
        let _leave = Leave { shared: &self.0, lane: &lane, place: &place };
        // The sender goes away unanswered only with the gate itself; whoever still waits then is shutting down too.
        answer.await.unwrap_or_else(|_| Err(Paused { until: Instant::now() }))
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

    /// Until when a lane's tokens of the day are taken for used up.
    #[must_use]
    pub fn day_paused_until(&self, lane: &Lane) -> Option<Instant> {
        self.0.lock().lanes.get(lane).and_then(LaneState::day_paused_until)
    }

    /// All lanes that were ever asked for, by name.
    #[must_use]
    pub fn snapshots(&self) -> Vec<LaneSnapshot> {
        let now = Instant::now();
        let mut state = self.0.lock_at(now);
        let mut all: Vec<_> = state.lanes.iter_mut().map(|(name, lane)| lane.snapshot(name.as_str(), now)).collect();
        all.sort_by(|a, b| a.lane.cmp(&b.lane));
        all
    }

    /// Calls in flight and the most there may be.
    #[must_use]
    pub fn load(&self) -> (u32, u32) {
        let state = self.0.lock_at(Instant::now());
        (state.in_flight, state.budget)
    }

    /// Admits whoever may start, urgent ones first over all lanes; tells when to look again.
    fn dispatch(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut granted = Vec::new();
        let mut next: Option<Instant> = None;
        let mut state = self.0.lock_at(now);
        let state_ref = &mut *state;
        let mut ready: Vec<((bool, u64), Lane)> = Vec::new();
        for (name, lane) in &mut state_ref.lanes {
            note_readiness(name, lane, now, &mut ready, &mut next);
        }
        while state_ref.in_flight < state_ref.budget {
            let Some(best) = (0..ready.len()).min_by(|a, b| ready[*a].0.cmp(&ready[*b].0)) else { break };
            let (_, name) = ready.swap_remove(best);
            let Some(lane) = state_ref.lanes.get_mut(&name) else { continue };
            if let Err(at) = lane.try_start(now) {
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
    ready: &mut Vec<((bool, u64), Lane)>,
    next: &mut Option<Instant>,
) {
    let Some(head) = lane.precedence() else { return };
    match lane.readiness(now) {
        Readiness::Now => ready.push((head, name.clone())),
        Readiness::At(at) => note_next(next, at),
        Readiness::Blocked => {}
    }
}

fn note_next(next: &mut Option<Instant>, at: Instant) {
    *next = Some(next.map_or(at, |known| known.min(at)));
}

impl State {
    fn grant(&self, lane: &Lane) -> Grant {
        self.grants.as_ref().map_or(Grant::WHOLE, |grants| grants.get(lane).copied().unwrap_or(Grant::NONE))
    }

    fn withdraw(&mut self, now: Instant) {
        for lane in self.lanes.values_mut() {
            let limits = *lane.limits();
            lane.configure(limits, Grant::NONE, now);
        }
        (self.grants, self.budget) = (Some(HashMap::new()), 0);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held; if something did, the state is still one that settles.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state as it is now, without what has lapsed. Looked at whenever somebody may be admitted rather than by a
    /// timer, so that a process that was stopped for a while admits nothing on old grants when it goes on.
    fn lock_at(&self, now: Instant) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let void = state.lapse.is_some_and(|lapse| now >= lapse);
        if void && (state.budget > 0 || state.grants.as_ref().is_some_and(|grants| !grants.is_empty())) {
            state.withdraw(now);
        }
        state
    }

    /// Answers the tokens that were counted.
    fn settle(&self, name: &Lane, hold: &Hold, settlement: Settlement) -> f64 {
        let now = Instant::now();
        let mut bounced = Vec::new();
        let mut state = self.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        let used = state.lanes.get_mut(name).map_or(0.0, |lane| lane.settle(hold, settlement, now));
        if let Settlement::Failed { class: CallErrorClass::ThrottledAccountDay, retry_after } = settlement {
            for (_, lane) in state.lanes.iter_mut().filter(|(other, _)| other.shares_account_with(name)) {
                lane.pause_day(retry_after, now);
                bounced.extend(lane.bounce(now));
            }
            state.spent_days.retain(|(lane, until)| *until > now && !lane.shares_account_with(name));
            if let Some(until) = state.lanes.get(name).and_then(LaneState::day_paused_until) {
                state.spent_days.push((name.clone(), until));
            }
        }
        if let Some(lane) = state.lanes.get_mut(name) {
            bounced.extend(lane.bounce(now));
        }
        drop(state);
        for (waiter, paused) in bounced {
            drop(waiter.reply.send(Err(paused)));
        }
        self.wake.notify_one();
        used
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
        let waiter = self.shared.lock().lanes.get_mut(self.lane).and_then(|lane| lane.leave(self.place));
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

    /// Books what was used; answers the quota tokens that it counts as.
    #[expect(clippy::must_use_candidate, reason = "to settle is the point; the figure is for those who count")]
    pub fn settle(mut self, settlement: Settlement) -> f64 {
        self.hold.take().map_or(0.0, |hold| self.shared.settle(&self.lane, &hold, settlement))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            let settlement = if self.called {
                Settlement::Failed { class: CallErrorClass::Transport, retry_after: None }
            } else {
                Settlement::NotCalled
            };
            self.shared.settle(&self.lane, &hold, settlement);
        }
    }
}

#[cfg(test)]
mod tests;
