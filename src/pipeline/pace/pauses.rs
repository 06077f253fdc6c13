//! What a lane does when Bedrock pushes back: pause, probe, and use less.

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
/// How long the minute log stays engaged after the first token throttle.
const LOG_ENGAGED: Duration = Duration::from_hours(1);
/// Cuts come at most this often, so that one burst of throttles is one cut.
const CUT_GAP: Duration = Duration::from_secs(20);
/// What a cut leaves, and how it grows back per second: from 0.8 to 1 in 17 minutes.
const CUT: f64 = 0.8;
const REGROWTH: f64 = 0.0002;

/// The state of pushing back. All times are tokio's.
#[derive(Debug)]
pub struct Pauses {
    until: Option<Instant>,
    episodes: u32,
    last_throttle: Option<Instant>,
    probing: bool,
    last_probe: Option<Instant>,
    engaged_until: Option<Instant>,
    factor: f64,
    factor_at: Instant,
    last_cut: Option<Instant>,
}

impl Pauses {
    /// Nothing learned yet.
    pub fn new(now: Instant) -> Self {
        Self {
            until: None,
            episodes: 0,
            last_throttle: None,
            probing: false,
            last_probe: None,
            engaged_until: None,
            factor: 1.0,
            factor_at: now,
            last_cut: None,
        }
    }

    /// The share of the quota that may be used, 1 when nothing was cut.
    pub fn factor(&mut self, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.factor_at).as_secs_f64();
        self.factor_at = now;
        self.factor = (self.factor + elapsed * REGROWTH).min(1.0);
        self.factor
    }

    /// Whether the minute log bounds admission.
    pub fn log_engaged(&self, now: Instant) -> bool {
        self.engaged_until.is_some_and(|until| now < until)
    }

    /// Until when nothing may start: a pause, or the distance to the next probe.
    pub fn blocked_until(&self, now: Instant) -> Option<Instant> {
        if let Some(until) = self.until.filter(|until| *until > now) {
            return Some(until);
        }

        self.last_probe.map(|last| last + PROBE_GAP).filter(|at| self.probing && *at > now)
    }

    /// Until when the lane is paused, if it is.
    pub fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
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

    /// Bedrock throttled a call on tokens (or, with `tokens` false, on requests).
    pub fn throttled(&mut self, tokens: bool, hint: Option<Duration>, now: Instant) {
        if self.paused_until(now).is_some() {
            // Calls that were in flight when the pause began: the same episode.
            return;
        }
        if self.last_throttle.is_some_and(|last| now.saturating_duration_since(last) > QUIET + LONGEST_PAUSE) {
            self.episodes = 0;
        }
        self.last_throttle = Some(now);
        let pause = Duration::from_secs(1 << self.episodes.min(4)).min(LONGEST_PAUSE).max(hint.unwrap_or_default());
        self.episodes += 1;
        // A quarter of jitter keeps lanes and replicas from coming back in step.
        self.until = Some(now + pause.mul_f64(1.0 + 0.25 * fastrand::f64()));
        self.probing = true;
        self.last_probe = None;
        if tokens {
            let first = !self.log_engaged(now);
            self.engaged_until = Some(now + LOG_ENGAGED);
            let cut_due = self.last_cut.is_none_or(|last| now.saturating_duration_since(last) >= CUT_GAP);
            if !first && cut_due {
                self.factor = (self.factor(now) * CUT).max(0.05);
                self.last_cut = Some(now);
            }
        }
    }

    /// The day's tokens are used up.
    pub fn day_used_up(&mut self, hint: Option<Duration>, now: Instant) {
        self.until = Some(now + hint.unwrap_or_default().max(DAY_PAUSE));
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
        let mut pauses = Pauses::new(now);
        let mut lengths = Vec::new();
        for _ in 0..6 {
            pauses.throttled(true, None, now);
            let until = pauses.paused_until(now).unwrap();
            lengths.push(until.duration_since(now).as_secs_f64());
            now = until;
        }
        for (length, base) in lengths.iter().zip([1.0, 2.0, 4.0, 8.0, 16.0, 16.0]) {
            assert!((base..=base * 1.25).contains(length), "{lengths:?}");
        }
        now += Duration::from_mins(2);
        pauses.throttled(true, None, now);
        assert!(pauses.paused_until(now).unwrap() <= now + Duration::from_millis(1250));
    }

    #[tokio::test(start_paused = true)]
    async fn throttles_of_one_burst_are_one_episode() {
        let now = Instant::now();
        let mut pauses = Pauses::new(now);
        pauses.throttled(true, None, now);
        let until = pauses.paused_until(now);
        pauses.throttled(true, None, now + Duration::from_millis(10));
        assert_eq!(pauses.paused_until(now), until);
        assert!((pauses.factor(now) - 1.0).abs() < 1e-9, "the first throttle engages the log and cuts nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_single_probes_until_one_is_answered() {
        let now = Instant::now();
        let mut pauses = Pauses::new(now);
        pauses.throttled(false, Some(Duration::from_secs(5)), now);
        assert!(pauses.blocked_until(now).unwrap() >= now + Duration::from_secs(5));
        let later = now + Duration::from_secs(10);
        assert_eq!(pauses.blocked_until(later), None);
        pauses.started(later);
        assert_eq!(pauses.blocked_until(later), Some(later + PROBE_GAP));
        pauses.answered();
        assert_eq!(pauses.blocked_until(later), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_token_throttle_cuts_once_and_grows_back() {
        let now = Instant::now();
        let mut pauses = Pauses::new(now);
        pauses.throttled(true, None, now);
        let second = now + Duration::from_secs(25);
        pauses.throttled(true, None, second);
        assert!((pauses.factor(second) - 0.8).abs() < 1e-9);
        assert!((pauses.factor(second + Duration::from_secs(500)) - 0.9).abs() < 1e-9);
    }
}
