//! The fleet's open conditions: what all workers report of them, and what is told of them when. Kept in one register, and a
//! plain value: time comes in from outside, so that whoever writes the register next goes on where the last one stopped.
//!
//! ```text
//!            events            told: firing                          told: recovered
//!   nothing ───────► watched ───────────────► open ─┬──────────────────────────────► closed ──► forgotten after an hour
//!                       │ too few                   └─► told: ongoing, once a cooldown  │ again
//!                       ▼ forgotten                                                     ▼ watched
//! ```

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::conditions::Condition;
use super::rules::When;
use super::{PERIOD, Settings};
use crate::clock::Timestamp;
use crate::ports::alerts::{Severity, State};
use crate::request::Lane;

/// What the register may hold, in bytes; registers take 100 KB.
const LARGEST: usize = 80_000;
/// For how long what was over is remembered, so that what comes and goes is known as such.
const REMEMBERED: Duration = Duration::from_hours(1);
/// An alert that its worker has not delivered within this time is told by another one.
const UNSENT: Duration = Duration::from_mins(5);
/// What comes and goes must be quiet for twice as long each time, so many times.
const MOST_FLAPS: u32 = 6;

/// How much of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// How often it happened.
    pub events: u64,
    /// Calls of the lane, failed ones included.
    pub calls: u64,
    /// Requests that ended as FAILED by it.
    pub ended: u64,
}

impl AddAssign for Sums {
    fn add_assign(&mut self, more: Self) {
        self.events += more.events;
        self.calls += more.calls;
        self.ended += more.ended;
    }
}

/// What a worker has noticed.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// It happened.
    Happened(Condition, Sums),
    /// It is over, by key.
    Over(String),
    /// Calls of a lane, whatever became of them.
    Calls(Lane, u64),
    /// What was told then was delivered, by key.
    Sent(String, Timestamp),
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Where it stands.
    pub state: State,
    /// What is known of it.
    pub entry: Entry,
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It was over; kept for a while.
    Closed,
    /// It happened, not often enough.
    Watched,
    /// It was told.
    Open,
}

/// A condition and its history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What.
    pub condition: Condition,
    /// Where it stands.
    pub standing: Standing,
    /// When it began.
    pub since: Timestamp,
    /// How much, since then.
    pub sums: Sums,
    /// When it was last there: happened, or happened often enough.
    last: Timestamp,
    /// The present period.
    window: (Timestamp, Sums),
    /// Full periods in a row before that one in which it happened often enough.
    streak: u32,
    /// When it was last told, and how much of `sums.events` that was.
    told: Option<(Timestamp, u64)>,
    /// What was told was delivered somewhere.
    sent: bool,
    /// How often it came back soon after it was over.
    flaps: u32,
}

/// All of them, by key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Board(BTreeMap<String, Entry>);

impl Board {
    /// Takes over what was noticed, and answers what is to be told.
    pub fn apply(&mut self, reports: &[Report], now: Timestamp, settings: &Settings) -> Vec<Told> {
        let mut told = Vec::new();
        let mut tell = |entry: &Entry, state| told.push(Told { state, entry: entry.clone() });
        for report in reports {
            match report {
                Report::Happened(condition, sums) => {
                    let new = || Entry::new(condition.clone(), now);
                    let entry = self.0.entry(condition.key()).or_insert_with(new);
                    entry.happened(condition, *sums, now, settings);
                    if let Some(state) = entry.advance(now, settings) {
                        tell(entry, state);
                    }
                }
                Report::Over(key) => {
                    if let Some(entry) = self.0.get_mut(key).filter(|entry| entry.standing == Standing::Open) {
                        entry.close(now);
                        tell(entry, State::Recovered);
                    }
                }
                Report::Calls(lane, calls) => {
                    for entry in self.0.values_mut().filter(|entry| entry.condition.lane() == Some(lane)) {
                        entry.calls(*calls, now, settings);
                    }
                }
                Report::Sent(key, at) => self.sent(key, *at),
            }
        }
        for entry in self.0.values_mut() {
            if let Some(state) = entry.advance(now, settings) {
                tell(entry, state);
            }
        }
        self.0.retain(|_, entry| !entry.is_forgotten(now));
        self.fit(LARGEST);
        told
    }

    /// What was told then was delivered.
    pub fn sent(&mut self, key: &str, at: Timestamp) {
        if let Some(entry) = self.0.get_mut(key) {
            entry.sent |= entry.told.is_some_and(|(told, _)| told <= at);
        }
    }

    /// All that is open, the worst and then the oldest first.
    #[must_use]
    pub fn open(&self) -> Vec<&Entry> {
        let mut open: Vec<&Entry> = self.0.values().filter(|entry| entry.standing == Standing::Open).collect();
        open.sort_by_key(|entry| (std::cmp::Reverse(entry.severity()), entry.since));
        open
    }

    /// Whether anything may have to be told without being reported again.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.0.values().any(|entry| entry.standing != Standing::Closed)
    }

    /// Takes over what was decided alone, while the register was out of reach, about these keys; `before` is what was known then.
    pub fn merge(&mut self, alone: &Self, before: &Self, keys: impl IntoIterator<Item = String>) {
        for key in keys {
            match (alone.0.get(&key), self.0.get_mut(&key)) {
                (Some(ours), Some(theirs)) if theirs.standing >= ours.standing && theirs.standing == Standing::Open => {
                    let known = before.0.get(&key).filter(|known| known.since == ours.since);
                    theirs.sums.events +=
                        ours.sums.events - known.map_or(0, |known| known.sums.events).min(ours.sums.events);
                    theirs.last = theirs.last.max(ours.last);
                    theirs.told = theirs.told.max(ours.told);
                }
                (Some(ours), _) => _ = self.0.insert(key, ours.clone()),
                (None, _) => _ = self.0.remove(&key),
            }
        }
    }

    /// Forgets what matters least until it takes no more than `bytes` as JSON.
    fn fit(&mut self, bytes: usize) {
        while serde_json::to_string(self).map_or(0, |json| json.len()) > bytes {
            let least = self.0.iter().min_by_key(|(_, entry)| (entry.standing, entry.severity(), entry.since));
            let Some(key) = least.map(|(key, _)| key.clone()) else { return };
            tracing::warn!(key, "more conditions are open than can be remembered; this one is forgotten");
            self.0.remove(&key);
        }
    }
}

impl Entry {
    fn new(condition: Condition, now: Timestamp) -> Self {
        Self {
            condition,
            standing: Standing::Watched,
            since: now,
            sums: Sums::default(),
            last: now,
            window: (now, Sums::default()),
            streak: 0,
            told: None,
            sent: true,
            flaps: 0,
        }
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.condition.severity(&self.sums)
    }

    /// When it was told last.
    #[must_use]
    pub fn told_at(&self) -> Option<Timestamp> {
        self.told.map(|(at, _)| at)
    }

    fn happened(&mut self, condition: &Condition, sums: Sums, now: Timestamp, settings: &Settings) {
        if self.standing == Standing::Closed {
            *self = Self { flaps: (self.flaps + 1).min(MOST_FLAPS), ..Self::new(condition.clone(), now) };
        }
        self.roll(now, settings);
        if self.streak == 0 && self.window.1.events == 0 {
            self.window = (now, Sums::default());
        }
        self.condition.absorb(condition.clone());
        self.sums += sums;
        self.window.1 += sums;
        if self.is_hot(settings) {
            self.last = now;
        }
    }

    fn calls(&mut self, calls: u64, now: Timestamp, settings: &Settings) {
        self.roll(now, settings);
        if self.standing != Standing::Closed && (self.streak > 0 || self.window.1.events > 0) {
            let more = Sums { calls, ..Sums::default() };
            self.sums += more;
            self.window.1 += more;
        }
    }

    /// Whether it happens often enough in the present period.
    fn is_hot(&self, settings: &Settings) -> bool {
        let Sums { events, calls, .. } = self.window.1;
        match self.condition.when(settings) {
            When::AtOnce => events > 0,
            When::Rate { share, .. } => events >= settings.threshold && events as f64 >= share * calls as f64,
        }
    }

    /// Begins new periods as they come.
    fn roll(&mut self, now: Timestamp, settings: &Settings) {
        while now >= self.window.0 + PERIOD {
            self.streak = if self.is_hot(settings) { self.streak + 1 } else { 0 };
            let next = self.window.0 + PERIOD;
            let missed = now >= next + PERIOD;
            if missed {
                self.streak = 0;
            }
            self.window = (if missed { now } else { next }, Sums::default());
            if self.standing == Standing::Watched && self.streak == 0 {
                (self.since, self.sums) = (self.window.0, Sums::default());
            }
        }
    }

    /// Goes on to `now`; answers what is to be told.
    fn advance(&mut self, now: Timestamp, settings: &Settings) -> Option<State> {
        self.roll(now, settings);
        match self.standing {
            Standing::Closed => None,
            Standing::Watched => {
                let periods = match self.condition.when(settings) {
                    When::AtOnce => 1,
                    When::Rate { periods, .. } => periods,
                };
                (self.is_hot(settings) && self.streak + 1 >= periods).then(|| {
                    self.standing = Standing::Open;
                    self.tell(State::Firing, now)
                })
            }
            Standing::Open => {
                let (told_at, told) = self.told.unwrap_or((now, 0));
                let last = self.last.max(self.condition.lasts_until().unwrap_or_default());
                if now.since(last) >= self.quiet(settings) {
                    self.close(now);
                    return Some(State::Recovered);
                }
                if now.since(told_at) >= settings.cooldown && self.sums.events > told {
                    return Some(self.tell(State::Ongoing, now));
                }
                (!self.sent && now.since(told_at) >= UNSENT).then(|| self.tell(State::Firing, now))
            }
        }
    }

    fn tell(&mut self, state: State, now: Timestamp) -> State {
        (self.told, self.sent) = (Some((now, self.sums.events)), false);
        state
    }

    fn close(&mut self, now: Timestamp) {
        (self.standing, self.last, self.sent) = (Standing::Closed, now, true);
    }

    /// What comes and goes must be quiet for longer, or on-call would get two messages each time.
    fn quiet(&self, settings: &Settings) -> Duration {
        let base = self.condition.quiet(settings);
        (base * (1 << self.flaps)).min(settings.cooldown.max(base))
    }

    fn is_forgotten(&self, now: Timestamp) -> bool {
        match self.standing {
            Standing::Open => false,
            Standing::Watched => self.streak == 0 && self.window.1.events == 0,
            Standing::Closed => now.since(self.last) >= REMEMBERED,
        }
    }
}

#[cfg(test)]
mod tests;
