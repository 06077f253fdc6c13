//! Spaces the starts of requests: requests per minute, by governor, on tokio's clock.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

/// One start takes so much of the spacing's own time.
const PER_START: Duration = Duration::from_secs(1);

/// Starts that may be taken ahead of time, as seconds of the rate.
const AHEAD_SECONDS: f64 = 2.0;

/// Lets one request start at a time, at most so many a minute.
///
/// governor's rate is fixed for ever, and a new limiter would admit a new burst, while a lane's rate changes with quota,
/// share and throttles all the time. So governor gets a clock whose speed is the rate: on it a second passes with each
/// start that is due.
///
/// governor's `per_minute(n)` would admit nearly 2n in the first minute; the burst here is a tenth of a second's
/// worth and two at least, which is just what makes up for timers that fire late.
pub struct Spacing {
    limiter: RateLimiter<NotKeyed, InMemoryState, RateClock, NoOpMiddleware<Nanos>>,
    clock: RateClock,
    per_second: f64,
    at: Instant,
    due: f64,
    /// Starts taken ahead of time, to be made up for by those that become due next.
    ahead: f64,
    /// Starts that led to no call, to be used again; no more than a burst.
    given_back: u32,
    burst: u32,
}

/// Shows the starts that became due so far, each as a second.
#[derive(Clone, Debug, Default)]
struct RateClock(Arc<AtomicU64>);

impl Clock for RateClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(Duration::from_nanos(self.0.load(Ordering::Relaxed)))
    }
}

impl Spacing {
    /// Spaces starts of a quota of `per_minute`; none is due before [`Spacing::set_rate`].
    pub fn new(per_minute: f64) -> Self {
        let clock = RateClock::default();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 2..=10000")]
        let burst = (per_minute / 600.0).clamp(2.0, 10_000.0) as u32;
        // `with_period` refuses only a period of zero.
        let quota = Quota::with_period(PER_START)
            .unwrap_or(Quota::per_second(NonZeroU32::MIN))
            .allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN));
        let limiter = RateLimiter::direct_with_clock(quota, clock.clone());
        Self { limiter, clock, per_second: 0.0, at: Instant::now(), due: 0.0, ahead: 0.0, given_back: 0, burst }
    }

    /// Sets the rate from now on.
    pub fn set_rate(&mut self, per_minute: f64, now: Instant) {
        self.advance(now);
        self.per_second = per_minute / 60.0;
    }

    /// Takes a start if one is due, else says when to ask again.
    pub fn try_start(&mut self, now: Instant) -> Result<(), Instant> {
        self.advance(now);
        if self.given_back > 0 {
            self.given_back -= 1;
            return Ok(());
        }
        self.limiter.check().map_err(|refused| {
            let missing: Nanos = refused.earliest_possible().duration_since(self.clock.now());
            // Never less than a timer's millisecond, and a rate of next to nothing is looked at again within a day.
            let wait = (Duration::from(missing).as_secs_f64() + self.ahead) / self.per_second.max(1e-9);
            now + Duration::from_secs_f64(wait.clamp(0.001, 86_400.0))
        })
    }

    /// A start that was taken led to no call: another may have it.
    pub fn give_back(&mut self) {
        self.given_back = (self.given_back + 1).min(self.burst);
    }

    /// Takes a start that is not due, at most a few seconds' worth and two at least.
    pub fn start_ahead(&mut self) -> bool {
        let allowed = self.ahead + 1.0 <= (self.per_second * AHEAD_SECONDS).max(2.0);
        if allowed {
            self.ahead += 1.0;
        }
        allowed
    }

    fn advance(&mut self, now: Instant) {
        let due = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        let made_up = due.min(self.ahead);
        self.ahead -= made_up;
        self.due += due - made_up;
        self.at = self.at.max(now);
        let shown = Duration::try_from_secs_f64(self.due).unwrap_or(Duration::MAX).as_nanos();
        self.clock.0.store(u64::try_from(shown).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn starts(spacing: &mut Spacing, span: Duration) -> u32 {
        let (start, mut starts) = (Instant::now(), 0);
        while start.elapsed() < span {
            match spacing.try_start(Instant::now()) {
                Ok(()) => starts += 1,
                Err(at) => tokio::time::sleep_until(at.min(start + span)).await,
            }
        }
        starts
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_sees_its_rate_and_no_double_burst() {
        let mut spacing = Spacing::new(500.0);
        spacing.set_rate(500.0, Instant::now());
        let starts = starts(&mut spacing, Duration::from_mins(1)).await;
        assert!((499..=502).contains(&starts), "{starts} starts in a minute of 500");
    }

    #[tokio::test(start_paused = true)]
    async fn starts_taken_ahead_are_made_up_for() {
        let mut spacing = Spacing::new(60.0);
        spacing.set_rate(60.0, Instant::now());
        let ahead = (0..10).filter(|_| spacing.start_ahead()).count();
        assert_eq!(ahead, 2, "no more than two seconds' worth");
        // The two that are due from the beginning, and those of a minute less the two taken ahead.
        let starts = starts(&mut spacing, Duration::from_mins(1)).await;
        assert!((59..=61).contains(&starts), "{starts}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_led_to_no_call_is_there_for_the_next() {
        let mut spacing = Spacing::new(60.0);
        spacing.set_rate(60.0, Instant::now());
        let mut flushed = 0;
        while spacing.try_start(Instant::now()).is_ok() && flushed < 1_000 {
            spacing.give_back();
            flushed += 1;
        }
        assert_eq!(flushed, 1_000, "those that are not called cost no time");
        // And what is really called is spaced as ever.
        let starts = starts(&mut spacing, Duration::from_mins(1)).await;
        assert!((60..=64).contains(&starts), "{starts}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_that_changes_all_the_time_admits_its_mean_and_no_new_bursts() {
        let mut spacing = Spacing::new(600.0);
        let mut sum = 0;
        for n in 0..120 {
            spacing.set_rate(if n % 2 == 0 { 200.0 } else { 400.0 }, Instant::now());
            sum += starts(&mut spacing, Duration::from_millis(500)).await;
        }
        assert!((299..=302).contains(&sum), "{sum} starts in a minute of 300 on average");
        spacing.set_rate(0.0, Instant::now());
        assert!(starts(&mut spacing, Duration::from_mins(5)).await <= 2, "no more than was saved");
    }
}
