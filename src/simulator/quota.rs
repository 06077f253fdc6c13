//! Bedrock's quota accounting as a pure model: no IO, no clock of its own, time is handed in.
//!
//! A call takes one request and `input + cacheWrite + maxTokens` tokens at its start, or is throttled and takes
//! nothing. When it ends, the tokens settle to `input + cacheWrite + output × burndown`: the difference is given back,
//! or taken when the settlement is the larger, so that a level may be negative. A failed call gives back everything.
//! Requests and tokens a minute refill as a continuous bucket or in fixed windows of unknown phase; tokens a day count
//! in windows of 24 hours from the start. What each minute saw is kept for an hour, as CloudWatch would count it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::background::{Background, Event, Step};
use super::draw::{Draws, real, whole};
use super::meter::Meter;
use super::minutes::Minutes;

/// How a minute's quota comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Refill {
    /// Continuously, quota / 60 every second, up to the burst.
    #[default]
    Bucket,
    /// All at once every 60 s; the phase comes from the seed.
    Window,
}

/// What a model's quota is. A limit of 0 or none is not enforced.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaSpec {
    /// Requests a minute.
    pub rpm: Option<u64>,
    /// Tokens a minute.
    pub tpm: Option<u64>,
    /// Tokens a day.
    pub tpd: Option<u64>,
    /// Shape of the refill.
    pub refill: Refill,
    /// Capacity of a bucket as a share of one minute's quota; it starts full. Windows ignore it.
    pub burst: f64,
    /// Other traffic on the same quota; `after_s` counts from the quota's creation or the last change of the steps.
    pub background: Vec<Step>,
    /// Mean settled size of a request of that traffic, tokens.
    pub background_request_tokens: Option<u64>,
    /// Seed of the windows' phase and of the other traffic.
    pub seed: u64,
}

impl Default for QuotaSpec {
    fn default() -> Self {
        Self {
            rpm: None,
            tpm: None,
            tpd: None,
            refill: Refill::Bucket,
            burst: 1.0,
            background: Vec::new(),
            background_request_tokens: None,
            seed: 0,
        }
    }
}

/// Which limit refused a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttle {
    /// Requests a minute.
    Requests,
    /// Tokens a minute.
    Tokens,
    /// Tokens a day.
    TokensPerDay,
}

/// A started call's hold on the quota; to be settled or given back exactly once.
#[derive(Debug, PartialEq)]
#[must_use = "an unsettled ticket keeps its reservation for ever"]
pub struct Ticket {
    at: f64,
    reserved: u64,
}

impl Ticket {
    /// Tokens taken at the start.
    #[must_use]
    pub const fn reserved(&self) -> u64 {
        self.reserved
    }
}

/// What is free of one limit; negative after a settlement above the reservation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Units free now.
    pub free: f64,
    /// The most that can be free.
    pub capacity: f64,
}

/// All three limits' levels; none where a limit is not enforced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels {
    /// Requests a minute.
    pub requests: Option<Level>,
    /// Tokens a minute.
    pub tokens: Option<Level>,
    /// Tokens a day.
    pub day: Option<Level>,
}

/// What a minute saw of all traffic on a quota, other traffic included.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MinuteUse {
    /// Tokens of the calls that ended in it, as they were settled.
    pub settled: f64,
    /// Calls that were served.
    pub served: u64,
    /// Calls that were refused for lack of quota.
    pub throttled: u64,
}

/// One model's quota.
#[derive(Debug)]
pub struct Quota {
    origin: Instant,
    spec: QuotaSpec,
    requests: Option<Meter>,
    tokens: Option<Meter>,
    day: Option<Meter>,
    background: Background,
    /// Seconds from where minutes are counted to the creation.
    counted_from: f64,
    minutes: Minutes<MinuteUse>,
}

const DAY_S: f64 = 86_400.0;

impl Quota {
    /// A quota that is full (bucket) or unused (window) at `now`.
    #[must_use]
    pub fn new(spec: QuotaSpec, now: Instant) -> Self {
        let phase = Draws::new(spec.seed, 0, 5).uniform() * 60.0;
        let minute = |limit: Option<u64>| {
            let limit = real(limit.filter(|limit| *limit > 0)?);
            Some(match spec.refill {
                Refill::Bucket => Meter::bucket(limit / 60.0, limit * spec.burst),
                Refill::Window => Meter::window(60.0, limit, phase),
            })
        };
        Self {
            origin: now,
            requests: minute(spec.rpm),
            tokens: minute(spec.tpm),
            day: spec.tpd.filter(|limit| *limit > 0).map(|limit| Meter::window(DAY_S, real(limit), 0.0)),
            background: Background::new(&spec, 0.0),
            counted_from: 0.0,
            minutes: Minutes::default(),
            spec,
        }
    }

    /// Counts minutes from `before` the creation on instead of from the creation itself; with the time since the Unix epoch
    /// they are minutes of UTC. To be said before anything happens.
    #[must_use]
    pub fn counting_from(self, before: Duration) -> Self {
        Self { counted_from: before.as_secs_f64(), ..self }
    }

    /// The specification in force.
    #[must_use]
    pub const fn spec(&self) -> &QuotaSpec {
        &self.spec
    }

    /// Takes one request and `reserve` tokens, or neither.
    ///
    /// # Errors
    /// The limit that refuses: requests, then tokens a minute, then tokens a day.
    pub fn try_start(&mut self, now: Instant, reserve: u64) -> Result<Ticket, Throttle> {
        let at = self.advance(now);
        let tokens = real(reserve);
        let lacks = |meter: &Option<Meter>, amount: f64| meter.as_ref().is_some_and(|meter| meter.free() < amount);
        let refused = if lacks(&self.requests, 1.0) {
            Some(Throttle::Requests)
        } else if lacks(&self.tokens, tokens) {
            Some(Throttle::Tokens)
        } else if lacks(&self.day, tokens) {
            Some(Throttle::TokensPerDay)
        } else {
            None
        };
        if let Some(throttle) = refused {
            self.at(at).throttled += 1;
            return Err(throttle);
        }
        for (meter, amount) in [(&mut self.requests, 1.0), (&mut self.tokens, tokens), (&mut self.day, tokens)] {
            if let Some(meter) = meter {
                meter.take(amount);
            }
        }
        Ok(Ticket { at, reserved: reserve })
    }

    /// Ends a served call that used `actual` tokens.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is spent by settling it")]
    pub fn settle(&mut self, now: Instant, ticket: Ticket, actual: u64) {
        let at = self.advance(now);
        self.release(&ticket, actual);
        let minute = self.at(at);
        minute.settled += real(actual);
        minute.served += 1;
    }

    /// Ends a failed call: its tokens and its request come back.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is spent by giving it back")]
    pub fn give_back(&mut self, now: Instant, ticket: Ticket) {
        self.advance(now);
        self.release(&ticket, 0);
        if let Some(meter) = &mut self.requests {
            meter.give_back(ticket.at, 1.0);
        }
    }

    fn release(&mut self, ticket: &Ticket, actual: u64) {
        let back = real(ticket.reserved) - real(actual);
        for meter in [&mut self.tokens, &mut self.day].into_iter().flatten() {
            meter.give_back(ticket.at, back);
        }
    }

    /// What each of the last 60 minutes and the present one saw, by the minute's number; one that saw nothing is not there.
    /// Minute 0 begins with the creation, unless [`Quota::counting_from`] said otherwise.
    pub fn usage(&mut self, now: Instant) -> &BTreeMap<u64, MinuteUse> {
        self.advance(now);
        self.minutes.all()
    }

    /// The number of the minute that a time lies in.
    #[must_use]
    pub fn minute(&self, now: Instant) -> u64 {
        self.minute_at(now.saturating_duration_since(self.origin).as_secs_f64())
    }

    fn minute_at(&self, at: f64) -> u64 {
        whole(((self.counted_from + at) / 60.0).floor())
    }

    fn at(&mut self, at: f64) -> &mut MinuteUse {
        let minute = self.minute_at(at);
        self.minutes.entry(minute)
    }

    /// What is free at `now`.
    pub fn levels(&mut self, now: Instant) -> Levels {
        self.advance(now);
        let level = |meter: &Option<Meter>| meter.as_ref().map(|m| Level { free: m.free(), capacity: m.capacity() });
        Levels { requests: level(&self.requests), tokens: level(&self.tokens), day: level(&self.day) }
    }

    /// Changes the quota in mid-flight. A limit keeps the share of it that was free, tickets stay valid, and steps of
    /// other traffic that changed count from now.
    pub fn change(&mut self, now: Instant, spec: QuotaSpec) {
        let at = self.advance(now);
        let mut next = Self {
            counted_from: self.counted_from,
            minutes: std::mem::take(&mut self.minutes),
            ..Self::new(spec, self.origin)
        };
        for (meter, old) in
            [(&mut next.requests, &self.requests), (&mut next.tokens, &self.tokens), (&mut next.day, &self.day)]
        {
            if let Some(meter) = meter {
                meter.continue_from(old.as_ref(), at);
            }
        }
        next.background = if next.spec.background == self.spec.background {
            self.background.resized(&next.spec)
        } else {
            Background::new(&next.spec, at)
        };
        *self = next;
    }

    /// Brings all levels to `now`, other traffic included, event by event. Returns seconds since the creation.
    fn advance(&mut self, now: Instant) -> f64 {
        let until = now.saturating_duration_since(self.origin).as_secs_f64();
        while let Some((at, event)) = self.background.next(until) {
            self.refill(at);
            match event {
                Event::Arrival { reserved, .. } => {
                    let room = |meter: &Option<Meter>, n: f64| meter.as_ref().is_none_or(|meter| meter.free() >= n);
                    if room(&self.requests, 1.0) && room(&self.tokens, reserved) {
                        if let Some(meter) = &mut self.requests {
                            meter.take(1.0);
                        }
                        if let Some(meter) = &mut self.tokens {
                            meter.take(reserved);
                        }
                        self.background.started(at, event);
                    } else {
                        self.at(at).throttled += 1;
                    }
                }
                Event::End { began, back, settled } => {
                    if let Some(meter) = &mut self.tokens {
                        meter.give_back(began, back);
                    }
                    let minute = self.at(at);
                    minute.settled += settled;
                    minute.served += 1;
                }
            }
        }
        self.refill(until);
        until
    }

    fn refill(&mut self, at: f64) {
        for meter in [&mut self.requests, &mut self.tokens, &mut self.day].into_iter().flatten() {
            meter.advance(at);
        }
    }
}

#[cfg(test)]
mod tests;
