//! One lane: who waits, what is in flight, and whether the head may start. Pure state, no waiting, no IO.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::log::MinuteLog;
use super::meter::Meter;
use super::pauses::Pauses;
use super::spacing::Spacing;
use super::{Ask, LaneLimits, Paused, Permit, Settlement};
use crate::ports::model::CallErrorClass;
use crate::request::Usage;

/// Keeps the last half percent of a quota unused: clocks and estimates are not exact.
const HEADROOM: f64 = 0.995;
/// Reservations in flight stay below this share of a minute's tokens.
const IN_FLIGHT_SHARE: f64 = 0.9;
/// Tokens that work which is not urgent leaves for urgent work.
const SPARE_FOR_URGENT: f64 = 2_000.0;
/// Seconds of quota a lane owes after a throttle.
const SINK_SECONDS: f64 = 10.0;
/// Weight of the newest sample in learned ratios.
const LEARNING: f64 = 0.05;

/// A place in the waiting room: rank, then arrival.
pub type Place = (String, u64);

/// Who waits at a place.
pub struct Waiter {
    pub ask: Ask,
    pub reply: oneshot::Sender<Result<Permit, Paused>>,
}

/// What an admitted call holds until it settles.
#[derive(Debug)]
pub struct Hold {
    /// Taken from the meter.
    pub charged: f64,
    /// What Bedrock itself reserves.
    pub reserved: f64,
    /// Estimated input, to learn from.
    pub estimated_input: u64,
    /// The most output it may make.
    pub max_output: u64,
    /// Its entry in the minute log.
    pub entry: u64,
}

/// Whether the head may start.
#[derive(Debug, PartialEq, Eq)]
pub enum Readiness {
    Now,
    At(Instant),
    /// Until something settles or arrives.
    Blocked,
}

/// State of a lane.
pub struct LaneState {
    pub waiting: BTreeMap<Place, Waiter>,
    limits: LaneLimits,
    share: f64,
    spacing: Option<Spacing>,
    meter: Option<Meter>,
    log: MinuteLog,
    pauses: Pauses,
    reserved: f64,
    in_flight: u32,
    /// Calls in flight that capacity errors leave; `None` when unbounded.
    capacity: Option<f64>,
    capacity_cut: Option<Instant>,
    /// Real input tokens per estimated one.
    input_ratio: f64,
    /// Output tokens of a typical answer.
    typical_output: Option<f64>,
    counters: Counters,
}

/// What a lane did since the process started.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    started: u64,
    answered: u64,
    throttled: u64,
    settled: f64,
    first_start: Option<Instant>,
    last_settled: Option<Instant>,
}

impl LaneState {
    pub fn new(limits: LaneLimits, share: f64, now: Instant) -> Self {
        let mut lane = Self {
            waiting: BTreeMap::new(),
            limits,
            share,
            spacing: None,
            meter: None,
            log: MinuteLog::default(),
            pauses: Pauses::new(now),
            reserved: 0.0,
            in_flight: 0,
            capacity: None,
            capacity_cut: None,
            input_ratio: 1.0,
            typical_output: None,
            counters: Counters::default(),
        };
        lane.configure(limits, share, now);
        lane
    }

    /// Applies limits or a share that changed.
    pub fn configure(&mut self, limits: LaneLimits, share: f64, now: Instant) {
        self.limits = limits;
        self.share = share;
        let starts = limits.requests_per_minute.map(|rpm| rpm * share * HEADROOM);
        let unchanged = match (&self.spacing, starts) {
            (Some(spacing), Some(rate)) => (spacing.per_minute() - rate).abs() < 1e-9,
            (None, None) => true,
            _ => false,
        };
        if !unchanged {
            self.spacing = starts.map(Spacing::new);
        }
        match (&mut self.meter, limits.tokens_per_minute) {
            (_, None) => self.meter = None,
            (Some(_), Some(_)) => self.refresh_rate(now),
            (empty @ None, Some(tpm)) => *empty = Some(Meter::new(tpm * share * HEADROOM, now)),
        }
    }

    pub fn limits(&self) -> &LaneLimits {
        &self.limits
    }

    /// Whether the best-ranked waiter may start now, but for the spacing of starts.
    pub fn readiness(&mut self, now: Instant) -> Readiness {
        let Some((reserve, charge, urgent)) = self.waiting.values().next().map(|w| self.cost(&w.ask)) else {
            return Readiness::Blocked;
        };
        if let Some(until) = self.pauses.blocked_until(now) {
            return Readiness::At(until);
        }
        if self.in_flight >= self.concurrency() {
            return Readiness::Blocked;
        }
        self.refresh_rate(now);
        let Some(tpm) = self.limits.tokens_per_minute else { return Readiness::Now };
        let quota = tpm * self.share;
        if self.in_flight > 0 && self.reserved + reserve > IN_FLIGHT_SHARE * quota {
            return Readiness::Blocked;
        }
        if let Some(meter) = &mut self.meter {
            let spare = if urgent { 0.0 } else { SPARE_FOR_URGENT };
            let needed = (charge + spare).min(meter.within_reach());
            match meter.when(needed, now) {
                Some(at) if at <= now => {}
                Some(at) => return Readiness::At(at),
                None => return Readiness::Blocked,
            }
        }
        if self.pauses.log_engaged(now) && self.in_flight > 0 {
            let at = self.log.when(reserve, quota, now);
            if at > now {
                return Readiness::At(at);
            }
        }
        Readiness::Now
    }

    /// Takes a start from the spacing.
    pub fn try_start(&self) -> Result<(), Instant> {
        self.spacing.as_ref().map_or(Ok(()), Spacing::try_start)
    }

    /// Admits the head; call only after [`LaneState::readiness`] and [`LaneState::try_start`] agreed.
    pub fn admit_head(&mut self, now: Instant) -> Option<(Waiter, Hold)> {
        let (_, waiter) = self.waiting.pop_first()?;
        let (reserved, charged, _) = self.cost(&waiter.ask);
        if let Some(meter) = &mut self.meter {
            meter.take(charged, now);
        }
        self.reserved += reserved;
        self.in_flight += 1;
        self.pauses.started(now);
        self.counters.started += 1;
        self.counters.first_start.get_or_insert(now);
        let hold = Hold {
            charged,
            reserved,
            estimated_input: waiter.ask.estimate.input_tokens,
            max_output: waiter.ask.estimate.max_output_tokens,
            entry: self.log.push(reserved, now),
        };
        Some((waiter, hold))
    }

    /// Books what a call really used.
    pub fn settle(&mut self, hold: &Hold, settlement: Settlement, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.reserved = (self.reserved - hold.reserved).max(0.0);
        match settlement {
            Settlement::NotCalled => {
                self.counters.started = self.counters.started.saturating_sub(1);
                self.book(hold, 0.0, now);
            }
            Settlement::Answered(usage) => {
                let used = usage.map_or(hold.charged, |usage| self.used(&usage));
                self.book(hold, used, now);
                self.learn(hold, usage);
                self.pauses.answered();
                self.counters.answered += 1;
                self.counters.settled += used;
                self.counters.last_settled = Some(now);
                self.capacity = self.capacity.map(|c| c + 1.0 / c.max(1.0)).filter(|c| *c < 1_000.0);
            }
            Settlement::Failed { class, retry_after } => self.failed(hold, class, retry_after, now),
        }
    }

    fn failed(&mut self, hold: &Hold, class: CallErrorClass, hint: Option<Duration>, now: Instant) {
        match class {
            CallErrorClass::ThrottledRequests | CallErrorClass::ThrottledTokens => {
                self.counters.throttled += 1;
                self.book(hold, 0.0, now);
                if let Some(meter) = &mut self.meter {
                    meter.sink_to(SINK_SECONDS, now);
                }
                self.pauses.throttled(class == CallErrorClass::ThrottledTokens, hint, now);
                self.refresh_rate(now);
            }
            CallErrorClass::ThrottledDay => {
                self.counters.throttled += 1;
                self.book(hold, 0.0, now);
                self.pauses.day_used_up(hint, now);
            }
            CallErrorClass::Unavailable => {
                self.book(hold, 0.0, now);
                let due =
                    self.capacity_cut.is_none_or(|last| now.saturating_duration_since(last) >= Duration::from_secs(5));
                if due {
                    self.capacity = Some((f64::from(self.in_flight + 1) * 0.7).max(1.0));
                    self.capacity_cut = Some(now);
                }
            }
            CallErrorClass::NotReady | CallErrorClass::Server | CallErrorClass::Final => self.book(hold, 0.0, now),
            // Bedrock may have used everything it reserved; assume that it did.
            CallErrorClass::ModelTimeout | CallErrorClass::Transport => self.book(hold, hold.charged, now),
        }
    }

    /// Until when the lane is paused, if it is.
    pub fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.pauses.paused_until(now)
    }

    pub fn snapshot(&mut self, lane: &str, now: Instant) -> LaneSnapshot {
        let quota = |limit: Option<f64>| limit.map(|l| l * self.share);
        let (requests, tokens) = (quota(self.limits.requests_per_minute), quota(self.limits.tokens_per_minute));
        let tokens_minute = self.log.tokens(now);
        let active = match (self.counters.first_start, self.counters.last_settled) {
            (Some(first), Some(last)) => last.saturating_duration_since(first).as_secs_f64(),
            _ => 0.0,
        };
        let per_active_minute = |n: f64, limit: Option<f64>| {
            limit.filter(|l| *l > 0.0 && active > 0.0).map(|limit| n / (active / 60.0) / limit)
        };
        LaneSnapshot {
            lane: lane.to_owned(),
            requests_per_minute: self.limits.requests_per_minute,
            tokens_per_minute: self.limits.tokens_per_minute,
            share: self.share,
            factor: self.pauses.factor(now),
            paused_ms: self.paused_until(now).map(|u| u.duration_since(now).as_millis().try_into().unwrap_or(u64::MAX)),
            waiting: self.waiting.len(),
            in_flight: self.in_flight,
            reserved_tokens: self.reserved,
            requests_last_minute: self.log.starts(now),
            tokens_last_minute: tokens_minute,
            started: self.counters.started,
            answered: self.counters.answered,
            throttled: self.counters.throttled,
            settled_tokens: self.counters.settled,
            rpm_used: per_active_minute(self.counters.started as f64, requests),
            tpm_used: per_active_minute(self.counters.settled, tokens),
            input_ratio: self.input_ratio,
            typical_output: self.typical_output,
        }
    }

    /// What Bedrock reserves, what the meter is charged, and whether it is urgent.
    fn cost(&self, ask: &Ask) -> (f64, f64, bool) {
        let input = ask.estimate.input_tokens as f64 * self.input_ratio;
        let max_output = ask.estimate.max_output_tokens as f64;
        let reserve = input + max_output;
        let output = self.typical_output.map_or(max_output / 2.0, |typical| typical.min(max_output));
        let charge = reserve.max(input + self.limits.burndown * output);
        (reserve, charge, ask.urgent)
    }

    fn used(&self, usage: &Usage) -> f64 {
        (usage.input_tokens + usage.cache_write_input_tokens) as f64 + self.limits.burndown * usage.output_tokens as f64
    }

    fn book(&mut self, hold: &Hold, used: f64, now: Instant) {
        self.log.correct(hold.entry, used);
        if let Some(meter) = &mut self.meter {
            meter.give_back(hold.charged - used, now);
        }
    }

    fn learn(&mut self, hold: &Hold, usage: Option<Usage>) {
        let Some(usage) = usage else { return };
        let input = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_write_input_tokens;
        if hold.estimated_input > 0 && input > 0 {
            let ratio = (input as f64 / hold.estimated_input as f64).clamp(0.25, 4.0);
            self.input_ratio += LEARNING * (ratio - self.input_ratio);
        }
        if hold.max_output > 0 {
            let output = usage.output_tokens as f64;
            let typical = self.typical_output.get_or_insert(output);
            *typical += LEARNING * (output - *typical);
        }
    }

    fn concurrency(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 1000")]
        let capacity = self.capacity.map_or(u32::MAX, |c| c.clamp(1.0, 1_000.0) as u32);
        let configured = self.limits.max_concurrent.map_or(u32::MAX, |max| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a u32")]
            let own = (f64::from(max) * self.share).ceil() as u32;
            own.max(1)
        });
        capacity.min(configured)
    }

    fn refresh_rate(&mut self, now: Instant) {
        let factor = self.pauses.factor(now);
        if let (Some(meter), Some(tpm)) = (&mut self.meter, self.limits.tokens_per_minute) {
            meter.set_rate(tpm * self.share * HEADROOM * factor, now);
        }
    }
}

/// A lane as people and dashboards see it. Shares are of the configured quota times this process's share of the fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneSnapshot {
    /// Its name.
    pub lane: String,
    /// The quota, fleet-wide.
    pub requests_per_minute: Option<f64>,
    /// The quota, fleet-wide.
    pub tokens_per_minute: Option<f64>,
    /// This process's part of the quota, 0 to 1.
    pub share: f64,
    /// What throttles left of it, 0 to 1.
    pub factor: f64,
    /// Milliseconds until it goes on, when paused.
    pub paused_ms: Option<u64>,
    /// Requests in the waiting room.
    pub waiting: usize,
    /// Calls in flight.
    pub in_flight: u32,
    /// Tokens reserved by them.
    pub reserved_tokens: f64,
    /// Calls started in the last minute.
    pub requests_last_minute: usize,
    /// Tokens they took: settled, or reserved while in flight.
    pub tokens_last_minute: f64,
    /// Calls started since the process started.
    pub started: u64,
    /// Calls answered.
    pub answered: u64,
    /// Calls throttled.
    pub throttled: u64,
    /// Tokens settled.
    pub settled_tokens: f64,
    /// Share of the requests/min used between the first start and the last answer.
    pub rpm_used: Option<f64>,
    /// Share of the tokens/min likewise.
    pub tpm_used: Option<f64>,
    /// Learned: real input tokens per estimated one.
    pub input_ratio: f64,
    /// Learned: output tokens of a typical answer.
    pub typical_output: Option<f64>,
}
