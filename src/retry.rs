//! The one retry policy: what a failed call means for its request, and how port calls are repeated.

use std::time::Duration;

use crate::ports::model::{CallError, CallErrorClass};
use crate::ports::{PortError, PortResult};

/// Delays up to this long are waited out in place; longer ones go through the backlog.
const IN_PLACE: Duration = Duration::from_secs(10);
/// A call that ended without an answer may have been billed, so it is repeated less often.
const MAX_UNANSWERED: u32 = 3;
/// Loading models and spent days end, but not within a few attempts.
const SLOW_DELAY: Duration = Duration::from_mins(1);

/// What to do after a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Back into the waiting room at the same rank, after this delay.
    Again(Duration),
    /// Back to the backlog for this long.
    Defer(Duration),
    /// Not again.
    GiveUp,
}

/// How often and how soon.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Calls per request at most; throttled ones do not count.
    pub max_attempts: u32,
    /// The first delay; each one doubles, with full jitter on its upper half.
    pub base: Duration,
    /// The longest delay.
    pub cap: Duration,
}

impl Policy {
    /// Decides after the `attempts`-th call (throttled ones not counted) of a request failed.
    #[must_use]
    pub fn after(&self, error: &CallError, attempts: u32) -> Next {
        let allowed = match error.class {
            // Throttles are the lane's business: it pauses, and the request keeps its place.
            CallErrorClass::ThrottledRequests | CallErrorClass::ThrottledTokens => return Next::Again(Duration::ZERO),
            CallErrorClass::ThrottledDay | CallErrorClass::ThrottledAccountDay => {
                return Next::Defer(error.retry_after.unwrap_or(SLOW_DELAY).max(SLOW_DELAY));
            }
            CallErrorClass::NotReady | CallErrorClass::Unavailable | CallErrorClass::Server => self.max_attempts,
            CallErrorClass::ModelTimeout | CallErrorClass::Transport => self.max_attempts.min(MAX_UNANSWERED),
            CallErrorClass::Final => return Next::GiveUp,
        };
        if attempts >= allowed {
            return Next::GiveUp;
        }
        let delay = self.delay(attempts).max(error.retry_after.unwrap_or_default());
        if delay <= IN_PLACE { Next::Again(delay) } else { Next::Defer(delay) }
    }

    /// The delay before the next attempt: doubling, capped, the upper half random so that retries spread out.
    fn delay(&self, attempts: u32) -> Duration {
        let full = self.base.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(self.cap);
        full.mul_f64(0.5 + 0.5 * fastrand::f64())
    }
}

/// Whether a producer may hope that the same request succeeds later.
#[must_use]
pub fn is_retryable(class: CallErrorClass) -> bool {
    match class {
        CallErrorClass::ThrottledRequests
        | CallErrorClass::ThrottledTokens
        | CallErrorClass::ThrottledDay
        | CallErrorClass::ThrottledAccountDay
        | CallErrorClass::NotReady
        | CallErrorClass::Unavailable
        | CallErrorClass::Server
        | CallErrorClass::ModelTimeout
        | CallErrorClass::Transport => true,
        CallErrorClass::Final => false,
    }
}

/// Repeats a port call until it succeeds, with growing delays. What was paid for or promised must not be lost to a
/// passing fault, and a permanent one (a missing permission) ends when a person mends it; `noted` hears of each failure.
pub async fn until_done<T, F, Fut>(mut noted: impl FnMut(&PortError), mut call: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = PortResult<T>>,
{
    let mut delay = Duration::from_millis(100);
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) => {
                noted(&error);
                let longest = if error.retryable { Duration::from_secs(10) } else { Duration::from_mins(1) };
                tokio::time::sleep(delay.mul_f64(0.5 + 0.5 * fastrand::f64())).await;
                delay = (delay * 2).min(longest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(class: CallErrorClass, retry_after: Option<Duration>) -> CallError {
        CallError { class, kind: "X".into(), message: String::new(), retry_after }
    }

    const POLICY: Policy = Policy { max_attempts: 6, base: Duration::from_secs(1), cap: Duration::from_mins(5) };

    #[test]
    fn throttles_never_use_up_attempts() {
        assert_eq!(POLICY.after(&error(CallErrorClass::ThrottledTokens, None), 99), Next::Again(Duration::ZERO));
        assert!(matches!(POLICY.after(&error(CallErrorClass::ThrottledDay, None), 99), Next::Defer(_)));
    }

    #[test]
    fn delays_double_within_bounds_and_long_ones_defer() {
        for (attempts, longest) in [(1, 1), (2, 2), (3, 4), (4, 8)] {
            let Next::Again(delay) = POLICY.after(&error(CallErrorClass::Server, None), attempts) else {
                panic!("attempt {attempts} was not repeated in place")
            };
            let longest = Duration::from_secs(longest);
            assert!(delay <= longest && delay >= longest / 2, "{attempts}: {delay:?}");
        }
        assert_eq!(POLICY.after(&error(CallErrorClass::Server, None), 6), Next::GiveUp);
        let hint = Some(Duration::from_mins(2));
        assert_eq!(POLICY.after(&error(CallErrorClass::Unavailable, hint), 1), Next::Defer(Duration::from_mins(2)));
    }

    #[test]
    fn unanswered_calls_are_repeated_less_and_final_ones_not() {
        assert_eq!(POLICY.after(&error(CallErrorClass::Transport, None), 3), Next::GiveUp);
        assert_eq!(POLICY.after(&error(CallErrorClass::Final, None), 1), Next::GiveUp);
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_call_is_repeated_until_it_succeeds() {
        let mut failures = 0;
        let mut left = 5;
        let value = until_done(
            |_| failures += 1,
            || {
                left -= 1;
                let outcome = if left == 0 { Ok(7) } else { Err(PortError::transient("read", "busy")) };
                async move { outcome }
            },
        )
        .await;
        assert_eq!((value, failures), (7, 4));
    }
}
