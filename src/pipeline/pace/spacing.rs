//! Spaces the starts of requests: requests per minute, by governor, on tokio's clock.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

/// governor's clock on tokio's, so that paused time paces too.
#[derive(Clone, Debug)]
struct TokioClock {
    origin: Instant,
}

impl Clock for TokioClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.origin.elapsed())
    }
}

/// Lets one request start at a time, at most so many a minute.
///
/// governor's `per_minute(n)` would admit nearly 2n in the first minute; the burst here is a tenth of a second's
/// worth and two at least, which is just what makes up for timers that fire late.
pub struct Spacing {
    limiter: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Nanos>>,
    clock: TokioClock,
    per_minute: f64,
}

impl Spacing {
    /// Spaces by `per_minute` starts, which must be positive.
    pub fn new(per_minute: f64) -> Self {
        let clock = TokioClock { origin: Instant::now() };
        let period = Duration::from_secs_f64(60.0 / per_minute.clamp(1e-3, 6e6));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 2..=10000")]
        let burst = (per_minute / 600.0).clamp(2.0, 10_000.0) as u32;
        // `with_period` refuses only a period of zero, which the clamp excludes.
        let quota = Quota::with_period(period)
            .unwrap_or(Quota::per_second(NonZeroU32::MIN))
            .allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN));
        Self { limiter: RateLimiter::direct_with_clock(quota, clock.clone()), clock, per_minute }
    }

    /// The configured rate.
    pub fn per_minute(&self) -> f64 {
        self.per_minute
    }

    /// Takes a start if one is due, else says when to ask again.
    pub fn try_start(&self) -> Result<(), Instant> {
        self.limiter.check().map_err(|refused| {
            let wait: Nanos = refused.earliest_possible().duration_since(self.clock.now());
            Instant::now() + Duration::from(wait)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_minute_sees_its_rate_and_no_double_burst() {
        let spacing = Spacing::new(500.0);
        let start = Instant::now();
        let mut starts = 0;
        while start.elapsed() < Duration::from_mins(1) {
            match spacing.try_start() {
                Ok(()) => starts += 1,
                Err(at) => tokio::time::sleep_until(at).await,
            }
        }
        assert!((499..=502).contains(&starts), "{starts} starts in a minute of 500");
    }
}
