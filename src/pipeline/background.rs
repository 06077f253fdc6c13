//! Learns what others on the account use of our quotas, and leaves it to them.
//!
//! ```text
//!  every replica:      own use by minute ─► heartbeat
//!  the eldest caller:  feed: use of the whole account ─ the fleet's own use ─► registers background/<lane>
//!  every caller:       registers ─► share of the lane's tokens a minute ─► gate
//! ```
//! A measured minute comes in late, so what is known of others is some three minutes old; the mean over two minutes
//! evens out what is settled about the turn of a minute. What is unknown is not taken for zero: no background is set then,
//! and throttles alone tell of others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::fleet::Fleet;
use super::pace::Gate;
use super::tally::Tally;
use crate::clock::{Clock, Timestamp};
use crate::ports::{Minute, PortError, PortResult, Registers, UsageFeed};
use crate::request::Lane;

/// How long after its end a minute is measured in full.
const LATE: Duration = Duration::from_secs(75);
/// Minutes that are looked at, since some come in later still.
const LOOK_BACK: u64 = 5;
/// The newest measured minutes whose mean counts.
const MEAN_OF: usize = 2;
/// How often the registers are read; the feed is asked once for each minute.
const LOOK: Duration = Duration::from_secs(10);
/// A measurement that was not renewed for this long, on our own monotonic clock, is forgotten.
const FORGET: Duration = Duration::from_mins(5);
/// A measurement older than this by the clock on the wall is from an earlier run and not worth a first look.
const STALE: Duration = Duration::from_mins(10);

const PREFIX: &str = "background/";

/// What a register says of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Measured {
    /// What others use, tokens a minute; `None` when it is not known.
    tokens_per_minute: Option<f64>,
    /// When it was asked for.
    at: Timestamp,
}

/// A register as this replica sees it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    version: u64,
    since: Instant,
    measured: Option<Measured>,
}

/// What [`Watch`] works with.
pub struct Context {
    /// Shared by the fleet.
    pub registers: Arc<dyn Registers>,
    /// The other replicas.
    pub fleet: Arc<Fleet>,
    /// The lanes.
    pub gate: Gate,
    /// Our own use.
    pub tally: Arc<Tally>,
    /// Wall time, in whose minutes use is measured.
    pub clock: Clock,
}

/// Watches what others use.
pub struct Watch {
    feed: Arc<dyn UsageFeed>,
    context: Context,
}

impl Watch {
    /// Measured by `feed`.
    #[must_use]
    pub fn new(feed: Arc<dyn UsageFeed>, context: Context) -> Self {
        Self { feed, context }
    }

    /// Watches until dropped.
    pub async fn run(&self) {
        tokio::join!(self.publish(), self.follow());
    }

    /// Tells the others what we used.
    async fn publish(&self) {
        let Context { fleet, gate, tally, clock, .. } = &self.context;
        loop {
            let mut used = tally.used(clock.now());
            for (lane, ..) in gate.demands() {
                used.name(lane);
            }
            fleet.publish_used(used);
            tokio::time::sleep(Fleet::beat_interval()).await;
        }
    }

    async fn follow(&self) {
        // Of minutes before this replica came, or with a caller in them that does not publish what it uses, it is not known
        // what the fleet itself used.
        let mut known_from = Minute::of(self.context.clock.now()).next();
        let mut seen: HashMap<Lane, Seen> = HashMap::new();
        let mut asked = None;
        let mut complained = false;
        loop {
            if !self.context.fleet.tells_its_use() {
                known_from = Minute::of(self.context.clock.now()).next();
            }
            let due = Minute::of(self.context.clock.now() - LATE);
            if asked != Some(due) && self.context.fleet.is_eldest_caller() {
                asked = Some(due);
                match self.ask(due.back(LOOK_BACK).max(known_from)..due).await {
                    Ok(()) => complained = false,
                    Err(error) if !complained => {
                        complained = true;
                        tracing::warn!(
                            %error,
                            "cannot measure what others on the account use, and goes on without; smoother needs the IAM action cloudwatch:GetMetricData, or usage_feed = false"
                        );
                    }
                    Err(error) => tracing::debug!(%error, "still cannot measure what others on the account use"),
                }
            }
            if let Err(error) = self.look(&mut seen).await {
                tracing::debug!(%error, "could not read what others on the account use");
            }
            self.apply(&seen);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Asks for the minutes and writes what they show into the registers.
    async fn ask(&self, minutes: Range<Minute>) -> PortResult<()> {
        let Context { registers, fleet, gate, clock, .. } = &self.context;
        if minutes.is_empty() {
            return Ok(());
        }
        let own_lanes = gate.demands().into_iter().map(|(lane, ..)| lane);
        let lanes: BTreeSet<Lane> = own_lanes.chain(fleet.lanes()).collect();
        if lanes.is_empty() {
            return Ok(());
        }
        let lanes: Vec<Lane> = lanes.into_iter().collect();
        let total = self.feed.tokens(&lanes, minutes).await?;
        let present = registers.list(PREFIX).await?;
        let versions: HashMap<&str, u64> = present.iter().map(|(name, r)| (name.as_str(), r.version)).collect();
        for lane in &lanes {
            let others = total.get(lane).and_then(|by_minute| others(by_minute, |minute| fleet.used(lane, minute)));
            let name = register_of(lane);
            let version = versions.get(name.as_str()).copied().unwrap_or(0);
            let measured = Measured { tokens_per_minute: others, at: clock.now() };
            let value = serde_json::to_string(&measured).map_err(|e| PortError::permanent(name.as_str(), e))?;
            // Refused when another replica measures too: theirs is as new.
            registers.write(&name, version, value).await?;
        }
        Ok(())
    }

    async fn look(&self, seen: &mut HashMap<Lane, Seen>) -> PortResult<()> {
        let all = self.context.registers.list(PREFIX).await?;
        let by_name: HashMap<&str, _> = all.iter().map(|(name, register)| (name.as_str(), register)).collect();
        let fresh = self.context.clock.now() - STALE;
        for (lane, ..) in self.context.gate.demands() {
            let Some(register) = by_name.get(register_of(&lane).as_str()) else {
                seen.remove(&lane);
                continue;
            };
            if seen.get(&lane).is_none_or(|known| known.version != register.version) {
                let measured: Option<Measured> = serde_json::from_str(&register.value).ok();
                let measured = measured.filter(|measured| measured.at >= fresh);
                seen.insert(lane, Seen { version: register.version, since: Instant::now(), measured });
            }
        }
        Ok(())
    }

    fn apply(&self, seen: &HashMap<Lane, Seen>) {
        for (lane, limits, _) in self.context.gate.demands() {
            let known = seen.get(&lane).filter(|seen| seen.since.elapsed() < FORGET);
            let tokens = known.and_then(|seen| seen.measured).and_then(|measured| measured.tokens_per_minute);
            let share = tokens.zip(limits.tokens_per_minute.filter(|tpm| *tpm > 0.0)).map(|(tokens, tpm)| tokens / tpm);
            self.context.gate.set_background(&lane, share.unwrap_or(f64::NAN));
        }
    }
}

fn register_of(lane: &Lane) -> String {
    format!("{PREFIX}{lane}")
}

/// What others used a minute, by the newest minutes that were measured; `None` when none was. A minute may come out
/// negative by what was settled about its turn, so the mean is taken first.
fn others(total: &BTreeMap<Minute, f64>, own: impl Fn(Minute) -> f64) -> Option<f64> {
    let newest: Vec<f64> = total.iter().rev().take(MEAN_OF).map(|(minute, tokens)| tokens - own(*minute)).collect();
    (!newest.is_empty()).then(|| (newest.iter().sum::<f64>() / newest.len() as f64).max(0.0))
}

#[cfg(test)]
mod tests;
