//! What a lane does when Bedrock pushes back: pause, then probe with single calls.

use std::time::Duration;

use tokio::time::Instant;

/// The longest pause after a throttle; the first is a second and each one doubles.
const LONGEST_PAUSE: Duration = Duration::from_secs(16);
/// Quiet time after which the next throttle starts at a second again.
const QUIET: Duration = Duration::from_secs(30);
/// Distance between single calls that test whether the quota is back.
const PROBE_GAP: Duration = Duration::from_millis(300);
/// A day's tokens are gone: look again after this long.
const DAY_PAUSE: Duration = Duration::from_hours(1);
/// How long the minute log stays engaged after a token throttle.
const LOG_ENGAGED: Duration = Duration::from_hours(1);

/// The state of pushing back. All times are tokio's.
#[derive(Debug, Default)]
pub struct Pauses {
    until: Option<Instant>,
    day_until: Option<Instant>,
    in_a_row: u32,
    last_throttle: Option<Instant>,
    probing: bool,
    last_probe: Option<Instant>,
    engaged_until: Option<Instant>,
}

impl Pauses {
    /// Whether the minute log bounds admission.
    pub fn log_engaged(&self, now: Instant) -> bool {
        self.engaged_until.is_some_and(|until| now < until)
    }

    /// Until when it does.
    pub fn log_engaged_until(&self) -> Option<Instant> {
        self.engaged_until
    }

    /// Engages the minute log after a token throttle; whether it was not engaged before.
    pub fn engage_log(&mut self, now: Instant) -> bool {
        let first = !self.log_engaged(now);
        self.engage_log_for(LOG_ENGAGED, now);
        first
    }

    /// Engages the minute log for at least so long.
    pub fn engage_log_for(&mut self, span: Duration, now: Instant) {
        self.engaged_until = self.engaged_until.max(Some(now + span.min(LOG_ENGAGED)));
    }

    /// Until when nothing may start: a pause, or the distance to the next probe.
    pub fn blocked_until(&self, now: Instant) -> Option<Instant> {
        let probe = self.last_probe.filter(|_| self.probing).map(|last| last + PROBE_GAP);
        self.paused_until(now).or(probe.filter(|at| *at > now))
    }

    /// Until when the lane is paused, if it is.
    pub fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.until.max(self.day_until).filter(|until| *until > now)
    }

    /// Until when the day's tokens are taken for used up.
    pub fn day_paused_until(&self) -> Option<Instant> {
        self.day_until
    }

    /// A call was started.
    pub fn started(&mut self, now: Instant) {
        if self.probing {
            self.last_probe = Some(now);
        }
    }

    /// A call was answered: the quota is back.
    pub fn answered(&mut self) {
        self.probing = false;
    }

    /// Bedrock throttled a call on a minute's quota. Whether that began a pause: calls that were in flight when one
    /// began are of the same episode.
    pub fn throttled(&mut self, hint: Option<Duration>, now: Instant) -> bool {
        if self.paused_until(now).is_some() {
            return false;
        }
        if self.last_throttle.is_some_and(|last| now.saturating_duration_since(last) > QUIET + LONGEST_PAUSE) {
            self.in_a_row = 0;
        }
        self.last_throttle = Some(now);
        let pause = Duration::from_secs(1 << self.in_a_row.min(4)).min(LONGEST_PAUSE).max(hint.unwrap_or_default());
        self.in_a_row += 1;
        // A quarter of jitter keeps lanes and replicas from coming back in step.
        self.until = Some(now + pause.mul_f64(1.0 + 0.25 * fastrand::f64()));
        self.probe();
        true
    }

    /// The day's tokens are used up.
    pub fn day_used_up(&mut self, hint: Option<Duration>, now: Instant) {
        self.day_pause_for(hint.unwrap_or_default().max(DAY_PAUSE), now);
        self.probe();
    }

    /// The day's tokens are taken for used up for at least so long.
    pub fn day_pause_for(&mut self, span: Duration, now: Instant) {
        self.day_until = self.day_until.max(Some(now + span));
    }

    fn probe(&mut self) {
        self.probing = true;
        self.last_probe = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_to_sixteen_seconds_and_start_over_after_quiet() {
        let mut now = Instant::now();
        let mut pauses = Pauses::default();
        let mut lengths = Vec::new();
        for _ in 0..6 {
            pauses.throttled(None, now);
            let until = pauses.paused_until(now).unwrap();
            lengths.push(until.duration_since(now).as_secs_f64());
            now = until;
        }
        for (length, base) in lengths.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 16.0]) {
            assert!((base..=base * 1.25).contains(length), "{lengths:?}");
        }
        now += Duration::from_mins(2);
        pauses.throttled(None, now);
        assert!(pauses.paused_until(now).unwrap() <= now + Duration::from_millis(1250));
    }

    #[tokio::test(start_paused = true)]
    async fn throttles_of_one_burst_are_one_episode() {
        let now = Instant::now();
        let mut pauses = Pauses::default();
        assert!(pauses.throttled(None, now));
        let until = pauses.paused_until(now);
        assert!(!pauses.throttled(None, now + Duration::from_millis(10)));
        assert_eq!(pauses.paused_until(now), until);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_single_probes_until_one_is_answered() {
        let now = Instant::now();
        let mut pauses = Pauses::default();
        pauses.throttled(Some(Duration::from_secs(5)), now);
        assert!(pauses.blocked_until(now).unwrap() >= now + Duration::from_secs(5));
        let later = now + Duration::from_secs(10);
        assert_eq!(pauses.blocked_until(later), None);
        pauses.started(later);
        assert_eq!(pauses.blocked_until(later), Some(later + PROBE_GAP));
        pauses.answered();
        assert_eq!(pauses.blocked_until(later), None);
    }
}
