//! One lane's state: whether its head may start, and what starts and settlements do to it. Pure bookkeeping, no IO.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::capacity::Capacity;
use super::factor::{Factors, Throttle};
use super::learned::Learned;
use super::log::MinuteLog;
use super::meter::Meter;
use super::pauses::Pauses;
use super::snapshot::{Counters, LaneSnapshot};
use super::spacing::Spacing;
use super::{Adaptation, Ask, Demand, Grant, LaneLimits, Paused, Permit, Settlement};
use crate::ports::model::CallErrorClass;
use crate::request::{Estimate, Usage};

/// Keeps the last half percent of a quota unused: clocks and estimates are not exact.
const HEADROOM: f64 = 0.995;
/// Seconds of quota that an idle lane may save up. Few, so that work after idleness starts evenly.
const SAVED_SECONDS: f64 = 10.0;
/// Reservations in flight stay below this share of a minute's tokens.
const IN_FLIGHT_SHARE: f64 = 0.9;
/// Tokens that work which is not urgent leaves for urgent work, or as many as an urgent request is charged.
const SPARE_FOR_URGENT: f64 = 2_000.0;
const URGENT_LEARNING: f64 = 0.05;
/// Seconds of quota that urgent work may use ahead of time: a debt that a huge request left is not urgent
/// work's to wait for. Once tokens were throttled it may not any more.
const AHEAD_SECONDS: f64 = 20.0;
const AHEAD_AT_START_SECONDS: f64 = 4.0;
/// Seconds of quota a lane owes after a throttle.
const SINK_SECONDS: f64 = 10.0;
/// The minute log leaves room for what the estimates of calls in flight may be off by, in standard deviations; urgent
/// work may use all of it but one.
const LOG_SIGMAS: f64 = 2.5;
/// Of the tokens, while both wait, work that is not urgent gets at least this share.
const SHARE_OF_THE_REST: f64 = 0.1;
/// Waiters of a lane that is paused for longer than this are sent back to the backlog.
pub const PATIENCE: Duration = Duration::from_secs(10);

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
    charged: f64,
    /// What Bedrock itself reserves.
    reserved: f64,
    /// How uncertain that is, as a variance.
    doubt: f64,
    /// To learn from.
    estimate: Estimate,
    kind: Option<String>,
    /// Its entry in the minute log.
    entry: u64,
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
    /// Waiters with the tokens that they added to `tokens_waiting`.
    waiting: BTreeMap<Place, (Waiter, f64)>,
    tokens_waiting: f64,
    limits: LaneLimits,
    grant: Grant,
    spacing: Option<Spacing>,
    meter: Option<Meter>,
    /// What urgent work may take of the meter although there is nothing in it.
    ahead: Meter,
    log: MinuteLog,
    pauses: Pauses,
    factors: Factors,
    learned: Learned,
    reserved: f64,
    /// All that was ever taken: settled, or reserved while in flight.
    taken: f64,
    /// Variance of `reserved`.
    doubt: f64,
    in_flight: u32,
    capacity: Capacity,
    /// What an urgent request is charged, on average.
    urgent_charge: f64,
    /// Tokens that the rest must be let have before more urgent work.
    owed_to_rest: f64,
    counters: Counters,
}

impl LaneState {
    pub fn new(limits: LaneLimits, grant: Grant, now: Instant) -> Self {
        let mut lane = Self {
            waiting: BTreeMap::new(),
            tokens_waiting: 0.0,
            limits,
            grant,
            spacing: None,
            meter: None,
            ahead: Meter::new(AHEAD_SECONDS, now).with_advance(AHEAD_AT_START_SECONDS),
            log: MinuteLog::default(),
            pauses: Pauses::default(),
            factors: Factors::new(),
            learned: Learned::default(),
            reserved: 0.0,
            taken: 0.0,
            doubt: 0.0,
            in_flight: 0,
            capacity: Capacity::default(),
            urgent_charge: 0.0,
            owed_to_rest: 0.0,
            counters: Counters::default(),
        };
        lane.configure(limits, grant, now);
        lane
    }

    /// Applies limits or a grant that changed. What was saved or is owed stays.
    pub fn configure(&mut self, limits: LaneLimits, grant: Grant, now: Instant) {
        if limits.requests_per_minute != self.limits.requests_per_minute || self.spacing.is_none() {
            self.spacing = limits.requests_per_minute.map(Spacing::new);
        }
        if limits.tokens_per_minute.is_none() {
            self.meter = None;
        } else if self.meter.is_none() {
            self.meter = Some(Meter::new(SAVED_SECONDS, now));
        }
        (self.limits, self.grant) = (limits, grant);
        self.refresh_rates(now);
    }

    pub fn limits(&self) -> &LaneLimits {
        &self.limits
    }

    pub fn enter(&mut self, place: Place, waiter: Waiter) {
        let (_, tokens) = self.cost(&waiter.ask);
        self.tokens_waiting += tokens;
        self.waiting.insert(place, (waiter, tokens));
    }

    pub fn leave(&mut self, place: &Place) -> Option<Waiter> {
        let (waiter, tokens) = self.waiting.remove(place)?;
        self.tokens_waiting -= tokens;
        Some(waiter)
    }

    /// The pause, when it is so long that nobody should wait for it here.
    pub fn paused_for_long(&self, now: Instant) -> Option<Paused> {
        self.pauses.paused_until(now).filter(|until| until.duration_since(now) > PATIENCE).map(|until| Paused { until })
    }

    /// Sends everybody away when the lane is paused for long.
    pub fn bounce(&mut self, now: Instant) -> Vec<(Waiter, Paused)> {
        let Some(paused) = self.paused_for_long(now) else { return Vec::new() };
        self.tokens_waiting = 0.0;
        std::mem::take(&mut self.waiting).into_values().map(|(waiter, _)| (waiter, paused)).collect()
    }

    /// Where whoever is served next stands among the heads of all lanes: urgent before others, then by arrival here. Ranks of
    /// one lane say nothing about another's.
    pub fn precedence(&self) -> Option<(bool, u64)> {
        let ((rank, arrival), (waiter, _)) = self.next()?;
        let turn_of_rest = !waiter.ask.urgent && self.waiting.keys().next().is_some_and(|(first, _)| first != rank);
        Some((!waiter.ask.urgent && !turn_of_rest, *arrival))
    }

    /// Whoever is served next: the best-ranked waiter, or the first that is not urgent when it is the turn of the rest.
    fn next(&self) -> Option<(&Place, &(Waiter, f64))> {
        let first = self.waiting.first_key_value()?;
        if self.owed_to_rest <= 0.0 || !first.1.0.ask.urgent {
            return Some(first);
        }
        // Ranks begin with their class.
        let of_rest = self.waiting.range((String::from("1"), 0)..).next();
        Some(of_rest.filter(|(_, (waiter, _))| self.owed_to_rest >= self.cost(&waiter.ask).1).unwrap_or(first))
    }

    /// Notes what is owed to the rest after somebody took `tokens` although the rest waits.
    fn owe(&mut self, urgent: bool, tokens: f64) {
        // Urgent waiters rank before the others, so the rest waits if the last one is of it.
        let rest_waits = self.waiting.last_key_value().is_some_and(|(_, (waiter, _))| !waiter.ask.urgent);
        self.owed_to_rest = match (rest_waits, urgent) {
            (false, _) => 0.0,
            (true, true) => self.owed_to_rest + tokens * SHARE_OF_THE_REST / (1.0 - SHARE_OF_THE_REST),
            (true, false) => (self.owed_to_rest - tokens).max(0.0),
        };
    }

    /// Whether whoever is next may start now, but for the spacing of starts.
    pub fn readiness(&mut self, now: Instant) -> Readiness {
        let Some((ask, (reserve, charge))) = self.next().map(|(_, (w, _))| (&w.ask, self.cost(&w.ask))) else {
            return Readiness::Blocked;
        };
        let urgent = ask.urgent;
        if let Some(until) = self.pauses.blocked_until(now) {
            return Readiness::At(until);
        }
        if self.grant.rate <= 0.0 || self.in_flight >= self.concurrency() {
            return Readiness::Blocked;
        }
        self.refresh_rates(now);
        let Some(tpm) = self.limits.tokens_per_minute else { return Readiness::Now };
        let log_engaged = self.pauses.log_engaged(now);
        if urgent && !log_engaged && self.ahead.has(charge, now) {
            return Readiness::Now;
        }
        if self.in_flight > 0 && self.reserved + reserve > IN_FLIGHT_SHARE * tpm * self.grant.room {
            return Readiness::Blocked;
        }
        let spare = if urgent { 0.0 } else { SPARE_FOR_URGENT.max(self.urgent_charge) };
        if let Some(meter) = &mut self.meter {
            let needed = (charge + spare).min(meter.within_reach());
            match meter.when(needed, now) {
                Some(at) if at <= now => {}
                Some(at) => return Readiness::At(at),
                None => return Readiness::Blocked,
            }
        }
        if log_engaged && self.in_flight > 0 {
            let doubt = self.doubt.sqrt();
            let margin = if urgent { doubt } else { (spare * self.grant.rate).max(LOG_SIGMAS * doubt) };
            let at = self.log.when(reserve + margin, tpm * self.grant.rate, now);
            if at > now {
                return Readiness::At(at);
            }
        }
        Readiness::Now
    }

    /// Takes a start from the spacing.
    pub fn try_start(&mut self, now: Instant) -> Result<(), Instant> {
        let urgent = self.next().is_some_and(|(_, (waiter, _))| waiter.ask.urgent);
        let Some(spacing) = &mut self.spacing else { return Ok(()) };
        spacing.try_start(now).or_else(|at| if urgent && spacing.start_ahead() { Ok(()) } else { Err(at) })
    }

    /// Admits the head; call only after [`LaneState::readiness`] and [`LaneState::try_start`] agreed.
    pub fn admit_head(&mut self, now: Instant) -> Option<(Waiter, Hold)> {
        let place = self.next()?.0.clone();
        let waiter = self.leave(&place)?;
        let (reserved, charged) = self.cost(&waiter.ask);
        self.owe(waiter.ask.urgent, charged);
        let doubt = self.learned.input_variance(&waiter.ask.estimate);
        self.doubt += doubt;
        if waiter.ask.urgent {
            self.urgent_charge += (charged - self.urgent_charge) * URGENT_LEARNING;
            self.ahead.take(charged, now);
        }
        if let Some(meter) = &mut self.meter {
            meter.take(charged, now);
        }
        self.reserved += reserved;
        self.taken += reserved;
        self.in_flight += 1;
        self.pauses.started(now);
        self.counters.started(now);
        let hold = Hold {
            charged,
            reserved,
            doubt,
            estimate: waiter.ask.estimate,
            kind: waiter.ask.kind.clone(),
            entry: self.log.push(reserved, now),
        };
        Some((waiter, hold))
    }

    /// Books what a call really used; answers the tokens that were counted.
    pub fn settle(&mut self, hold: &Hold, settlement: Settlement, now: Instant) -> f64 {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.reserved = (self.reserved - hold.reserved).max(0.0);
        self.doubt = (self.doubt - hold.doubt).max(0.0);
        let used = match settlement {
            Settlement::NotCalled => {
                self.counters.not_started();
                if let Some(spacing) = &mut self.spacing {
                    spacing.give_back();
                }
                0.0
            }
            Settlement::Answered(usage) => {
                let used = usage.map_or(hold.charged, |usage| self.used(&usage));
                if let Some(usage) = usage {
                    self.learned.answered(hold.kind.as_deref(), &hold.estimate, &usage);
                }
                self.pauses.answered();
                self.learned.settled(hold.reserved, used);
                self.counters.answered(used, now);
                self.capacity.answered();
                used
            }
            Settlement::Failed { class, retry_after } => self.failed(hold, class, retry_after, now),
        };
        self.taken += used - hold.reserved;
        self.log.correct(hold.entry, used);
        if let Some(meter) = &mut self.meter {
            meter.give_back(hold.charged - used, now);
            if matches!(settlement, Settlement::Failed { class, .. } if class.is_minute_throttle()) {
                meter.sink_to(SINK_SECONDS, now);
            }
        }
        used
    }

    /// What a failed call is taken to have used.
    fn failed(&mut self, hold: &Hold, class: CallErrorClass, hint: Option<Duration>, now: Instant) -> f64 {
        match class {
            CallErrorClass::ThrottledRequests | CallErrorClass::ThrottledTokens => {
                self.counters.throttled();
                let tokens = class == CallErrorClass::ThrottledTokens;
                if self.pauses.throttled(hint, now) {
                    let (quota, taken) = if tokens {
                        (self.limits.tokens_per_minute, self.taken)
                    } else {
                        (self.limits.requests_per_minute, self.counters.started as f64)
                    };
                    // The first throttle on tokens may only mean that the server counts in windows: that is what the log is for.
                    let spared = tokens && self.pauses.engage_log(now);
                    let per_second = quota.unwrap_or(0.0) * self.grant.rate / 60.0;
                    self.factors.throttled(Throttle { tokens, spared, taken, per_second }, now);
                    self.refresh_rates(now);
                }
                0.0
            }
            CallErrorClass::ThrottledDay | CallErrorClass::ThrottledAccountDay => {
                self.counters.throttled();
                self.pauses.day_used_up(hint, now);
                0.0
            }
            CallErrorClass::Unavailable => {
                self.capacity.refused(self.in_flight, now);
                0.0
            }
            CallErrorClass::NotReady | CallErrorClass::Server | CallErrorClass::Final => 0.0,
            // Bedrock may have used everything it reserved; assume that it did.
            CallErrorClass::ModelTimeout | CallErrorClass::Transport => hold.charged,
        }
    }

    /// The day's tokens of the whole account are used up.
    pub fn pause_day(&mut self, hint: Option<Duration>, now: Instant) {
        self.pauses.day_used_up(hint, now);
    }

    /// As [`LaneState::pause_day`], when it is known from another lane.
    pub fn pause_day_until(&mut self, until: Instant, now: Instant) {
        self.pauses.day_pause_for(until.saturating_duration_since(now), now);
    }

    /// Until when the day's tokens are taken for used up.
    pub fn day_paused_until(&self) -> Option<Instant> {
        self.pauses.day_paused_until()
    }

    pub fn demand(&mut self, now: Instant) -> Demand {
        let tpm = self.limits.tokens_per_minute.filter(|tpm| *tpm > 0.0);
        let calls = self.in_flight.saturating_add(u32::try_from(self.waiting.len()).unwrap_or(u32::MAX));
        // What is owed must be paid from our part, or moving it elsewhere would forgive the debt.
        let owed = self.meter.as_mut().map_or(0.0, |meter| meter.debt(now)).max(self.reserved);
        let by_tokens = tpm.map_or(0.0, |tpm| (self.tokens_waiting.max(0.0) + owed) / tpm);
        let by_requests = self.limits.requests_per_minute.map_or(0.0, |rpm| f64::from(calls) / rpm.max(1e-3));
        let head = self.waiting.values().next().map_or(0.0, |(waiter, _)| self.cost(&waiter.ask).0);
        let room = |tokens: f64| tpm.map_or(0.0, |tpm| tokens / (IN_FLIGHT_SHARE * tpm));
        Demand {
            rate: by_tokens.max(by_requests),
            room: room(self.reserved + head),
            calls,
            reserved: room(self.reserved),
            in_flight: self.in_flight,
        }
    }

    pub fn adaptation(&mut self, now: Instant) -> Adaptation {
        let left = |until: Option<Instant>| until.map_or(0.0, |u| u.saturating_duration_since(now).as_secs_f64());
        let (episodes, token_factor, request_factor) = self.factors.learned(now);
        Adaptation {
            episodes,
            token_factor,
            request_factor,
            log_engaged_s: left(self.pauses.log_engaged_until()),
            day_pause_s: left(self.pauses.day_paused_until()),
        }
    }

    pub fn adopt(&mut self, learned: &Adaptation, now: Instant) {
        let span = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        self.factors.adopt(learned, now);
        self.pauses.engage_log_for(span(learned.log_engaged_s), now);
        if learned.day_pause_s > 0.0 {
            self.pauses.day_pause_for(span(learned.day_pause_s), now);
        }
        self.refresh_rates(now);
    }

    pub fn set_background(&mut self, share: f64, now: Instant) {
        self.factors.set_background(share);
        self.refresh_rates(now);
    }

    pub fn snapshot(&mut self, lane: &str, now: Instant) -> LaneSnapshot {
        let (requests, tokens) = (self.limits.requests_per_minute, self.limits.tokens_per_minute);
        LaneSnapshot {
            lane: lane.to_owned(),
            requests_per_minute: self.limits.requests_per_minute,
            tokens_per_minute: self.limits.tokens_per_minute,
            share: self.grant.rate,
            factor: self.factors.tokens(now),
            request_factor: self.factors.requests(now),
            background: self.factors.background(),
            log_engaged: self.pauses.log_engaged(now),
            paused_ms: self
                .pauses
                .paused_until(now)
                .map(|u| u.duration_since(now).as_millis().try_into().unwrap_or(u64::MAX)),
            waiting: self.waiting.len(),
            in_flight: self.in_flight,
            reserved_tokens: self.reserved,
            requests_last_minute: self.log.starts(now),
            tokens_last_minute: self.log.tokens(now),
            started: self.counters.started,
            answered: self.counters.answered,
            throttled: self.counters.throttled,
            settled_tokens: self.counters.settled,
            rpm_used: self.counters.per_active_minute(self.counters.started as f64, requests),
            tpm_used: self.counters.per_active_minute(self.counters.settled, tokens),
            input_ratio: self.learned.input_ratio(),
            reserved_per_used: self.learned.reserved_per_used(),
            typical_output: self.learned.typical_output(),
            typical_outputs: self.learned.typical_outputs(),
        }
    }

    /// What Bedrock reserves, and what the meter is charged: the larger of that and of what will be settled.
    fn cost(&self, ask: &Ask) -> (f64, f64) {
        let input = self.learned.input(&ask.estimate);
        let reserve = input + ask.estimate.max_output_tokens as f64;
        let output = self.learned.output(ask.kind.as_deref(), &ask.estimate);
        (reserve, reserve.max(input + self.limits.burndown * output))
    }

    fn used(&self, usage: &Usage) -> f64 {
        (usage.input_tokens + usage.cache_write_input_tokens) as f64 + self.limits.burndown * usage.output_tokens as f64
    }

    fn concurrency(&self) -> u32 {
        self.capacity.limit().min(self.grant.calls.or(self.limits.max_concurrent).unwrap_or(u32::MAX))
    }

    fn refresh_rates(&mut self, now: Instant) {
        if let (Some(meter), Some(tpm)) = (&mut self.meter, self.limits.tokens_per_minute) {
            let rate = tpm * self.grant.rate * HEADROOM * self.factors.tokens(now);
            meter.set_rate(rate, now);
            self.ahead.set_rate(rate, now);
        }
        if let (Some(spacing), Some(rpm)) = (&mut self.spacing, self.limits.requests_per_minute) {
            spacing.set_rate(rpm * self.grant.rate * HEADROOM * self.factors.requests(now), now);
        }
    }
}
