//! How a pool — a lane's quota, or the budget of calls in flight — is divided among the replicas that use it. Pure
//! arithmetic on what the pool's register says, so that all replicas come to the same targets.
//!
//! A register never holds more than the whole. Nobody is given what another still has: a replica above its target
//! shrinks at once, one below grows into what is free, so shares move within two beats and are never spent twice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::pipeline::pace::Adaptation;

/// Part of the rate that all members divide equally whatever they want, so that each can start something at once.
const FLOOR: f64 = 0.01;
/// Minutes of quota that all members together seem to want beyond what they do. Below this, demand is noise: shares
/// stay about equal instead of running after every single request.
const NOISE: f64 = 0.005;
/// A want is told anew when it changed by this part of itself: shares that move are free for a beat, so those that hardly
/// change had better stay. With twice as much, urgent requests wait longer on skewed replicas.
const CHANGE: f64 = 0.1;
/// A change below this is none; a register is not written for it.
const FINE: f64 = 1e-4;
/// Grants are in so many parts of the whole, rounded down, so that their sum does not exceed it.
const GRAINS: f64 = 1e6;

/// An amount of what a pool has: its size, a replica's part, or what a replica wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Amount {
    /// Of the rate: a share as a part; minutes of the whole quota as a want.
    pub rate: f64,
    /// Share of the tokens that may be reserved at a time.
    pub room: f64,
    /// Calls in flight, where they are limited.
    pub calls: u32,
}

impl Amount {
    pub fn min(self, other: Self) -> Self {
        Self { rate: self.rate.min(other.rate), room: self.room.min(other.room), calls: self.calls.min(other.calls) }
    }

    pub fn max(self, other: Self) -> Self {
        Self { rate: self.rate.max(other.rate), room: self.room.max(other.room), calls: self.calls.max(other.calls) }
    }

    /// This, or `old` where the difference does not matter.
    pub fn unless_fine(self, old: Self) -> Self {
        let keep = |new: f64, old: f64| {
            let appeared = (new > 0.0) != (old > 0.0);
            if (new - old).abs() > FINE || appeared { new } else { old }
        };
        Self { rate: keep(self.rate, old.rate), room: keep(self.room, old.room), calls: self.calls }
    }

    /// Whether any of it is more than `other`.
    pub fn exceeds(self, other: Self) -> bool {
        self.rate > other.rate || self.room > other.room || self.calls > other.calls
    }

    /// A want of `self`, given that `told` was published before and `has` is what there is: what was published goes on
    /// to hold unless it became wrong, so that demand which flickers writes nothing.
    pub fn as_told(self, told: Self, has: Self) -> Self {
        let off = |now: f64, told: f64, noise: f64| (now - told).abs() > CHANGE * (told + noise);
        let short = self.calls > told.calls && self.calls > has.calls;
        let ample = self.calls < told.calls.div_ceil(2);
        Self {
            rate: if off(self.rate, told.rate, NOISE) { self.rate } else { told.rate },
            room: if off(self.room, told.room, 0.05) { self.room } else { told.room },
            calls: if short || ample { self.calls } else { told.calls },
        }
    }

    /// Whether so little is wanted that nobody need be kept waiting for it.
    pub fn is_noise(self) -> bool {
        self.rate < NOISE && self.calls == 0
    }
}

/// What a replica has of a pool, and wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// What nobody else may have. At least what its gate uses.
    #[serde(flatten)]
    pub has: Amount,
    /// What it could use.
    pub wants: Amount,
    /// Its place in line for calls in flight when there are fewer than replicas: the lowest comes first.
    #[serde(default)]
    pub turn: u64,
}

/// A pool's register.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Table {
    /// By replica.
    pub parts: BTreeMap<String, Entry>,
    /// What the lane has learned from throttles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<Adaptation>,
}

impl Table {
    /// What of `size` the others leave to `worker`.
    pub fn free(&self, worker: &str, size: Amount) -> Amount {
        let others = || self.parts.iter().filter(|(name, _)| *name != worker).map(|(_, entry)| entry.has);
        let left = |whole: f64, had: f64| (whole - had).clamp(0.0, 1.0);
        Amount {
            rate: left(size.rate, others().map(|has| has.rate).sum()),
            room: left(size.room, others().map(|has| has.room).sum()),
            calls: size.calls.saturating_sub(others().fold(0, |sum, has| sum.saturating_add(has.calls))),
        }
    }

    /// The place at the end of the line.
    pub fn last_turn(&self) -> u64 {
        self.parts.values().map(|entry| entry.turn).max().unwrap_or_default() + 1
    }

    /// What `worker` should have of `size`.
    pub fn target(&self, worker: &str, size: Amount) -> Amount {
        let Some(at) = self.parts.keys().position(|name| name == worker) else { return Amount::default() };
        let wants: Vec<Amount> = self.parts.values().map(|entry| entry.wants).collect();
        let rates = rates(&wants);
        let rooms = rooms(&wants, &rates);
        let mut line: Vec<usize> = (0..wants.len()).collect();
        let turns: Vec<u64> = self.parts.values().map(|entry| entry.turn).collect();
        line.sort_by_key(|i| (wants[*i].calls == 0, turns[*i]));
        let calls: Vec<u32> = wants.iter().map(|want| want.calls.max(1)).collect();
        let grain = |share: f64| (share * GRAINS).floor() / GRAINS;
        Amount {
            rate: grain(size.rate * rates[at]),
            room: grain(size.room * rooms[at]),
            calls: slots(size.calls, &calls, &line)[at],
        }
    }
}

/// The floor for everybody, the rest by demand.
fn rates(wants: &[Amount]) -> Vec<f64> {
    let count = wants.len() as f64;
    let all: f64 = wants.iter().map(|want| want.rate).sum();
    let by_demand = |want: &Amount| (want.rate + NOISE / count) / (all + NOISE);
    wants.iter().map(|want| FLOOR / count + (1.0 - FLOOR) * by_demand(want)).collect()
}

/// When all fit, everybody has what it wants and the rest goes by rate; so a large request finds its room on a replica
/// with a small share of the rate.
fn rooms(wants: &[Amount], rates: &[f64]) -> Vec<f64> {
    let all: f64 = wants.iter().map(|want| want.room).sum();
    let rest = (1.0 - all).max(0.0);
    wants.iter().zip(rates).map(|(want, rate)| want.room / all.max(1.0) + rest * rate).collect()
}

/// Divides whole slots: first everybody up to its want, the lowest first; then, when all have what they want, again the
/// lowest first. What does not come out even goes by the order of `line`.
fn slots(total: u32, wants: &[u32], line: &[usize]) -> Vec<u32> {
    let sum = |wants: &[u32]| wants.iter().map(|want| u64::from(*want)).sum::<u64>();
    if sum(wants) >= u64::from(total) {
        return level(total, line, |at, level| wants[at].min(level));
    }
    level(total, line, |at, level| wants[at].max(level))
}

/// Raises the level as far as `total` carries, then by one more for as many as it does, in the order of `line`.
fn level(total: u32, line: &[usize], part: impl Fn(usize, u32) -> u32) -> Vec<u32> {
    let needed = |level: u32| line.iter().map(|at| u64::from(part(*at, level))).sum::<u64>();
    let (mut low, mut high) = (0, total);
    while low < high {
        let middle = high - (high - low) / 2;
        if needed(middle) <= u64::from(total) { low = middle } else { high = middle - 1 }
    }
    let mut parts = vec![0; line.len()];
    let mut left = u64::from(total).saturating_sub(needed(low));
    for at in line {
        parts[*at] = part(*at, low);
        if left > 0 && part(*at, low + 1) > parts[*at] {
            parts[*at] += 1;
            left -= 1;
        }
    }
    parts
}

#[cfg(test)]
mod tests;
