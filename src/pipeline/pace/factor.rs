//! How much of a quota a lane dares to use: cut by throttles, grown back by time, less what others are seen to use.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Adaptation;

/// Cuts come at most this often, so that one burst of throttles is one cut.
const CUT_GAP: Duration = Duration::from_secs(8);
/// What a cut leaves of what was used before when it is not known how much there is.
const CUT: f64 = 0.7;
/// What a cut leaves of what there was, where that is known.
const CUT_OF_KNOWN: f64 = 0.93;
/// What there was between two throttles is known as well as a guess when they are so far apart.
const KNOWN_AFTER_S: f64 = 60.0;
/// And not at all when they are further apart than this: the server may have been full in between.
const KNOWABLE: Duration = Duration::from_mins(15);
/// A factor grows back by this times the square of the seconds since the cut: carefully as long as what was measured
/// should still be so, then faster and faster, since a full server loses what is not used.
const REGROWTH: f64 = 8e-7;
/// Never less than this share of a quota.
const LEAST: f64 = 0.05;
/// Other traffic below this share is noise.
const NOTICEABLE: f64 = 0.01;
/// Left free besides what others use, for each throttle episode of the last hour, three at most.
const MARGIN: f64 = 0.015;
const MARGIN_SPAN: Duration = Duration::from_hours(1);
const MARGINS: usize = 3;

/// A lane's factors, for tokens and for requests.
#[derive(Debug)]
pub struct Factors {
    tokens: Factor,
    requests: Factor,
    episodes: u64,
    /// The latest token throttles, a [`CUT_GAP`] apart.
    recent: VecDeque<Instant>,
    background: Option<f64>,
}

/// A throttle, and what is known of the quota at that moment.
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    /// On tokens, or else on requests.
    pub tokens: bool,
    /// It cuts nothing.
    pub spared: bool,
    /// All that was taken from the quota so far.
    pub taken: f64,
    /// Our part of the quota.
    pub per_second: f64,
}

#[derive(Debug)]
struct Factor {
    value: f64,
    cut: Option<Instant>,
    /// The latest throttle, and what had been taken from the quota until then.
    throttle: Option<(Instant, f64)>,
}

impl Factors {
    /// All of both quotas.
    pub fn new() -> Self {
        let whole = || Factor { value: 1.0, cut: None, throttle: None };
        Self { tokens: whole(), requests: whole(), episodes: 0, recent: VecDeque::new(), background: None }
    }

    /// Share of the tokens a minute that may be used.
    pub fn tokens(&mut self, now: Instant) -> f64 {
        (self.tokens.value(now) * self.left(now)).max(LEAST)
    }

    /// What other traffic leaves, as measured, with a margin.
    fn left(&mut self, now: Instant) -> f64 {
        let Some(share) = self.background.filter(|share| *share > NOTICEABLE) else { return 1.0 };
        let since = |at: &Instant| now.saturating_duration_since(*at);
        while self.recent.front().is_some_and(|at| since(at) > MARGIN_SPAN) {
            self.recent.pop_front();
        }
        (1.0 - share - MARGIN * self.recent.len().min(MARGINS) as f64).max(LEAST)
    }

    /// Share of the requests a minute that may be used.
    pub fn requests(&mut self, now: Instant) -> f64 {
        self.requests.value(now)
    }

    /// A throttle that began a pause.
    pub fn throttled(&mut self, throttle: Throttle, now: Instant) {
        let Throttle { tokens, spared, taken, per_second } = throttle;
        self.episodes += 1;
        if tokens && self.recent.back().is_none_or(|last| now.saturating_duration_since(*last) >= CUT_GAP) {
            self.recent.push_back(now);
            if self.recent.len() > MARGINS {
                self.recent.pop_front();
            }
        }
        let left = if tokens { self.left(now) } else { 1.0 };
        let factor = if tokens { &mut self.tokens } else { &mut self.requests };
        let known = factor.known(taken, per_second * left, now);
        if !spared {
            factor.cut(known, now);
        }
    }

    /// Other traffic takes this share of the tokens a minute.
    pub fn set_background(&mut self, share: f64) {
        self.background = share.is_finite().then(|| share.clamp(0.0, 1.0));
    }

    /// Other traffic's share, if it is measured.
    pub fn background(&self) -> Option<f64> {
        self.background
    }

    /// Throttle episodes so far, and what they left of tokens and of requests.
    pub fn learned(&mut self, now: Instant) -> (u64, f64, f64) {
        (self.episodes, self.tokens.value(now), self.requests.value(now))
    }

    /// What another replica learned after us counts: the newest cut wins.
    pub fn adopt(&mut self, learned: &Adaptation, now: Instant) {
        if learned.episodes > self.episodes {
            self.tokens.adopt(learned.token_factor, now);
            self.requests.adopt(learned.request_factor, now);
            self.episodes = learned.episodes;
        }
    }
}

impl Factor {
    fn value(&mut self, now: Instant) -> f64 {
        let Some(cut) = self.cut else { return 1.0 };
        let age = now.saturating_duration_since(cut).as_secs_f64();
        (self.value + REGROWTH * age * age).min(1.0)
    }

    fn known(&mut self, taken: f64, per_second: f64, now: Instant) -> Option<f64> {
        let (then, before) = self.throttle.replace((now, taken))?;
        let span = now.saturating_duration_since(then);
        if span > KNOWABLE || per_second <= 0.0 {
            return None;
        }
        let seconds = span.as_secs_f64();
        let weight = seconds / (seconds + KNOWN_AFTER_S);
        let used = (taken - before) / seconds.max(1e-3) / per_second;
        Some(weight * used * CUT_OF_KNOWN + (1.0 - weight) * self.value(now) * CUT)
    }

    fn cut(&mut self, known: Option<f64>, now: Instant) {
        if self.cut.is_none_or(|last| now.saturating_duration_since(last) >= CUT_GAP) {
            let value = self.value(now);
            let cut = known.map_or(value * CUT, |known| known.clamp(value * CUT * CUT, value));
            self.value = cut.max(LEAST);
            self.cut = Some(now);
        }
    }

    fn adopt(&mut self, value: f64, now: Instant) {
        let value = value.clamp(LEAST, 1.0);
        if value < self.value(now) {
            (self.value, self.cut) = (value, Some(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PER_SECOND: f64 = 1_000.0;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// A throttle on tokens after so many had been taken.
    fn throttle(taken: f64) -> Throttle {
        Throttle { tokens: true, spared: false, taken, per_second: PER_SECOND }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_throttle_is_spared_and_a_later_one_cuts_to_a_guess() {
        let start = Instant::now();
        let mut factors = Factors::new();
        factors.throttled(Throttle { spared: true, ..throttle(0.0) }, start);
        assert!((factors.tokens(start) - 1.0).abs() < 1e-9);
        // Two hours later nothing is known of the time between.
        let later = start + seconds(7_200);
        factors.throttled(throttle(5e6), later);
        factors.throttled(throttle(5e6), later + seconds(1));
        assert!((factors.tokens(later + seconds(1)) - CUT).abs() < 1e-3, "one burst of throttles is one cut");
        assert!((factors.requests(later) - 1.0).abs() < 1e-9);
        factors.throttled(Throttle { tokens: false, ..throttle(0.0) }, later);
        assert!((factors.requests(later) - CUT).abs() < 1e-9);
    }

    #[tokio::test(start_paused = true)]
    async fn two_throttles_tell_what_there_was_between_them() {
        let start = Instant::now();
        let mut factors = Factors::new();
        factors.throttled(Throttle { spared: true, ..throttle(0.0) }, start);
        // In ten minutes, from an empty server to an empty server, 60 % of the quota could be taken.
        factors.throttled(throttle(0.6 * 600.0 * PER_SECOND), start + seconds(600));
        let cut = factors.tokens(start + seconds(600));
        assert!((0.55..0.6).contains(&cut), "{cut}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_grows_back_carefully_then_fast() {
        let start = Instant::now();
        let mut factors = Factors::new();
        factors.throttled(throttle(0.0), start);
        let after = |factors: &mut Factors, n| factors.tokens(start + seconds(n));
        assert!(after(&mut factors, 120) < CUT + 0.02);
        assert!((0.9..0.95).contains(&after(&mut factors, 530)));
        assert!((after(&mut factors, 700) - 1.0).abs() < 1e-9);
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_use_is_left_to_them_with_a_margin_that_throttles_widen() {
        let now = Instant::now();
        let mut factors = Factors::new();
        factors.set_background(0.3);
        assert!((factors.tokens(now) - 0.7).abs() < 1e-9);
        factors.throttled(Throttle { spared: true, ..throttle(0.0) }, now);
        assert!((factors.tokens(now) - (0.7 - MARGIN)).abs() < 1e-9);
        assert!((factors.tokens(now + seconds(3_660)) - 0.7).abs() < 1e-9);
        factors.set_background(0.005);
        assert!((factors.tokens(now) - 1.0).abs() < 1e-9, "noise");
        factors.set_background(f64::NAN);
        assert_eq!(factors.background(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_cut_wins_and_an_old_one_is_not_taken_over() {
        let now = Instant::now();
        let (mut ours, mut theirs) = (Factors::new(), Factors::new());
        theirs.throttled(throttle(0.0), now);
        let (episodes, token_factor, request_factor) = theirs.learned(now);
        let cut = Adaptation { episodes, token_factor, request_factor, log_engaged_s: 0.0, day_pause_s: 0.0 };
        ours.adopt(&cut, now);
        assert!((ours.tokens(now) - CUT).abs() < 1e-9);
        let grown = now + seconds(500);
        let before = ours.tokens(grown);
        ours.adopt(&cut, grown);
        assert!((ours.tokens(grown) - before).abs() < 1e-9, "heard of again it does not cut again");
    }
}
