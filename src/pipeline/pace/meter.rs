//! A token bucket that can be refunded and can be in debt.
//!
//! governor has no give-back, and Bedrock takes more at the start of a call than it keeps at the end, so tokens are
//! metered here. The level starts at zero, not full: the server's bucket then stays about one quota ahead of ours,
//! which is the reserve that absorbs what we cannot see.

use std::time::Duration;

use tokio::time::Instant;

/// Tokens that may be reserved now. Signed: settlement may exceed the reservation.
#[derive(Debug)]
pub struct Meter {
    level: f64,
    per_second: f64,
    /// Seconds of refill that may be saved up.
    saved: f64,
    /// Seconds of refill that are there at the first rate.
    advance: f64,
    at: Instant,
}

impl Meter {
    /// An empty meter that saves up to so many seconds of refill, and does not refill before [`Meter::set_rate`].
    pub fn new(saved: f64, now: Instant) -> Self {
        Self { level: 0.0, per_second: 0.0, saved, advance: 0.0, at: now }
    }

    /// The same with so many seconds of refill from the beginning.
    pub fn with_advance(self, seconds: f64) -> Self {
        Self { advance: seconds, ..self }
    }

    /// Sets the refill rate from now on, tokens a minute; what was saved at the old rate stays.
    pub fn set_rate(&mut self, per_minute: f64, now: Instant) {
        self.refill(now);
        self.per_second = per_minute / 60.0;
        if self.per_second > 0.0 {
            self.level += std::mem::take(&mut self.advance) * self.per_second;
        }
    }

    /// The most that a request must wait for; a larger one goes into debt. A little below what idleness saves up, so
    /// that it is reached for certain, also while the rate changes.
    pub fn within_reach(&self) -> f64 {
        0.98 * self.cap()
    }

    fn cap(&self) -> f64 {
        self.per_second * self.saved
    }

    /// Whether there are so many tokens now.
    pub fn has(&mut self, tokens: f64, now: Instant) -> bool {
        self.refill(now);
        self.level >= tokens
    }

    /// Tokens owed now.
    pub fn debt(&mut self, now: Instant) -> f64 {
        self.refill(now);
        (-self.level).max(0.0)
    }

    /// Tokens available now; negative is debt.
    #[cfg(test)]
    fn level(&mut self, now: Instant) -> f64 {
        self.refill(now);
        self.level
    }

    /// Takes tokens, into debt if need be.
    pub fn take(&mut self, tokens: f64, now: Instant) {
        self.refill(now);
        self.level -= tokens;
    }

    /// Gives back what a settlement did not use (or takes more, when negative). Credits are not lost to the cap.
    pub fn give_back(&mut self, tokens: f64, now: Instant) {
        self.refill(now);
        self.level += tokens;
    }

    /// Sinks to at most `seconds` of quota in debt: how a lane empties itself after a throttle.
    pub fn sink_to(&mut self, seconds: f64, now: Instant) {
        self.refill(now);
        self.level = self.level.min(-seconds * self.per_second);
    }

    /// When the level will have reached `tokens`, if nothing else happens; `None` when it never will.
    pub fn when(&mut self, tokens: f64, now: Instant) -> Option<Instant> {
        self.refill(now);
        if self.level >= tokens {
            return Some(now);
        }
        if self.per_second <= 0.0 {
            return None;
        }
        // Never less than a timer's millisecond: rounding would make it "now" again and again. Never more than a day,
        // which bounds the arithmetic; whoever waits looks again long before.
        let wait = ((tokens - self.level) / self.per_second).clamp(0.001, 86_400.0);
        Some(now + Duration::from_secs_f64(wait))
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        let cap = self.cap();
        if self.level < cap {
            self.level = (self.level + elapsed * self.per_second).min(cap);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn metered(per_minute: f64, now: Instant) -> Meter {
        let mut meter = Meter::new(10.0, now);
        meter.set_rate(per_minute, now);
        meter
    }

    #[tokio::test(start_paused = true)]
    async fn starts_empty_and_saves_ten_seconds_at_most() {
        let start = Instant::now();
        let mut meter = metered(6_000.0, start);
        assert!(meter.level(start).abs() < 1e-9);
        assert!((meter.level(start + Duration::from_secs(1)) - 100.0).abs() < 1e-6);
        assert!((meter.level(start + Duration::from_hours(1)) - 1_000.0).abs() < 1e-6);
    }

    #[tokio::test(start_paused = true)]
    async fn credit_survives_the_cap_and_debt_is_paid_by_time() {
        let start = Instant::now();
        let mut meter = metered(6_000.0, start);
        meter.give_back(5_000.0, start);
        assert!((meter.level(start + Duration::from_mins(1)) - 5_000.0).abs() < 1e-6);
        meter.take(6_000.0, start + Duration::from_mins(1));
        assert_eq!(meter.when(0.0, start + Duration::from_mins(1)), Some(start + Duration::from_secs(70)));
    }

    proptest! {
        /// Whatever is taken and given back, no interval sees more tokens leave than the rate allows plus what was given.
        #[test]
        fn never_hands_out_more_than_was_filled(steps in proptest::collection::vec((0u64..5_000, 0.0f64..3_000.0, 0.0f64..1.0), 1..60)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let start = Instant::now();
                let mut meter = metered(12_000.0, start);
                let (mut now, mut kept) = (start, 0.0);
                for (ms, want, used) in steps {
                    now += Duration::from_millis(ms);
                    if meter.level(now) >= want {
                        meter.take(want, now);
                        meter.give_back(want * (1.0 - used), now);
                        kept += want * used;
                    }
                }
                let filled = 200.0 * now.duration_since(start).as_secs_f64();
                prop_assert!(kept <= filled + 1e-6, "kept {kept} of {filled}");
                Ok(())
            })?;
        }
    }
}
