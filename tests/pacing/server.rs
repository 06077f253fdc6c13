//! The simulated Bedrock in this process, under paused time: admits or throttles, settles when a call ends whether or
//! not its caller still lives, and notes what it saw.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use smoother::ports::model::CallErrorClass;
use smoother::simulator::quota::{Quota, Throttle, Ticket};
use tokio::time::Instant;

use crate::scenario::Server as Settings;
use crate::trace::Planned;

pub struct Server {
    quota: Quota,
    settings: Settings,
    origin: Instant,
    running: BinaryHeap<Reverse<(Instant, u64)>>,
    tickets: std::collections::HashMap<u64, (Ticket, f64)>,
    next: u64,
    pub seen: Seen,
}

/// What a server saw.
#[derive(Default)]
pub struct Seen {
    pub calls: u64,
    pub throttled: u64,
    /// When each served call started, and the tokens it settled to.
    pub starts: Vec<(Duration, f64)>,
    /// Tokens settled in each minute.
    pub settled_by_minute: Vec<f64>,
    pub last_start: Duration,
    in_flight: usize,
    /// Call-seconds in flight.
    in_flight_s: f64,
    /// The same when the last call started: what comes after is the tail.
    pub in_flight_s_at_last_start: f64,
    changed: Duration,
}

impl Server {
    pub fn new(settings: &Settings, seed: u64) -> Self {
        let origin = Instant::now();
        let quota = Quota::new(settings.quota(seed), origin);
        Self {
            quota,
            settings: settings.clone(),
            origin,
            running: BinaryHeap::new(),
            tickets: std::collections::HashMap::new(),
            next: 0,
            seen: Seen::default(),
        }
    }

    /// Starts a call; it will end by itself. Answers how long it takes.
    pub fn start(&mut self, request: &Planned) -> Result<Duration, CallErrorClass> {
        let now = Instant::now();
        self.end_until(now);
        self.seen.calls += 1;
        let at = now - self.origin;
        if let Some(outages) = self.settings.outages
            && at.as_secs_f64() % outages.every_s >= outages.every_s - outages.for_s
        {
            return Err(CallErrorClass::Unavailable);
        }
        match self.quota.try_start(now, request.reserved()) {
            Ok(ticket) => {
                let settled = request.settled(self.settings.burndown);
                self.next += 1;
                self.tickets.insert(self.next, (ticket, settled));
                self.running.push(Reverse((now + request.takes, self.next)));
                self.seen.starts.push((at, settled));
                self.seen.last_start = at;
                self.seen.change(at, 1);
                self.seen.in_flight_s_at_last_start = self.seen.in_flight_s;
                Ok(request.takes)
            }
            Err(throttle) => {
                self.seen.throttled += 1;
                if std::env::var_os("PACING_TRACE").is_some() {
                    eprintln!(
                        "{:>9.2}s throttled by {throttle:?}, reserve {}, levels {:?}, in flight {}",
                        at.as_secs_f64(),
                        request.reserved(),
                        self.quota.levels(now).tokens,
                        self.seen.in_flight
                    );
                }
                Err(match throttle {
                    Throttle::Requests => CallErrorClass::ThrottledRequests,
                    Throttle::Tokens => CallErrorClass::ThrottledTokens,
                    Throttle::TokensPerDay => CallErrorClass::ThrottledDay,
                })
            }
        }
    }

    pub fn level(&mut self) -> f64 {
        self.end_until(Instant::now());
        self.quota.levels(Instant::now()).tokens.map_or(0.0, |l| l.free)
    }

    /// Tokens that all traffic settled in a minute, as CloudWatch tells it.
    pub fn settled(&mut self, minute: u64) -> f64 {
        self.end_until(Instant::now());
        self.quota.usage(Instant::now()).get(&minute).map_or(0.0, |minute| minute.settled)
    }

    /// Tokens that the caller's own calls settled in a minute.
    pub fn own(&self, minute: u64) -> f64 {
        usize::try_from(minute).ok().and_then(|minute| self.seen.settled_by_minute.get(minute)).copied().unwrap_or(0.0)
    }

    pub fn change(&mut self, rpm: Option<u64>, tpm: Option<u64>) {
        let now = Instant::now();
        self.end_until(now);
        let mut spec = self.quota.spec().clone();
        (spec.rpm, spec.tpm) = (rpm.or(spec.rpm), tpm.or(spec.tpm));
        self.quota.change(now, spec);
    }

    fn end_until(&mut self, now: Instant) {
        while let Some(Reverse((end, id))) = self.running.peek().copied() {
            if end > now {
                break;
            }
            self.running.pop();
            let Some((ticket, settled)) = self.tickets.remove(&id) else { continue };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "tokens")]
            let whole = settled as u64;
            self.quota.settle(end, ticket, whole);
            let at = end - self.origin;
            let minute = usize::try_from(at.as_secs() / 60).unwrap();
            if self.seen.settled_by_minute.len() <= minute {
                self.seen.settled_by_minute.resize(minute + 1, 0.0);
            }
            self.seen.settled_by_minute[minute] += settled;
            self.seen.change(at, -1);
        }
    }
}

impl Seen {
    fn change(&mut self, at: Duration, by: isize) {
        self.in_flight_s += self.in_flight as f64 * (at.saturating_sub(self.changed)).as_secs_f64();
        self.changed = self.changed.max(at);
        self.in_flight = self.in_flight.saturating_add_signed(by);
    }
}
