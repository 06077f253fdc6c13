//! How much of a quota a lane dares to use: cut by throttles, grown back by time, less what others are seen to use.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Adaptation;

/// Cuts come at most this often, so that one burst of throttles is one cut.
const CUT_GAP: Duration = Duration::from_secs(20);
/// What a cut leaves, and how it grows back per second: from 0.8 to 1 in 17 minutes.
const CUT: f64 = 0.8;
const REGROWTH: f64 = 0.0002;
/// Never less than this share of a quota.
const LEAST: f64 = 0.05;
/// Other traffic below this share is noise.
const NOTICEABLE: f64 = 0.01;
/// Left free besides what others use, for each throttle episode of the last hour, three at most.
const MARGIN: f64 = 0.02;
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

#[derive(Debug)]
struct Factor {
    value: f64,
    at: Instant,
    cut: Option<Instant>,
}

impl Factors {
    /// All of both quotas.
    pub fn new(now: Instant) -> Self {
        let whole = || Factor { value: 1.0, at: now, cut: None };
        Self { tokens: whole(), requests: whole(), episodes: 0, recent: VecDeque::new(), background: None }
    }

    /// Share of the tokens a minute that may be used.
    pub fn tokens(&mut self, now: Instant) -> f64 {
        let left = match self.background.filter(|share| *share > NOTICEABLE) {
            None => 1.0,
            Some(share) => {
                let since = |at: &Instant| now.saturating_duration_since(*at);
                while self.recent.front().is_some_and(|at| since(at) > MARGIN_SPAN) {
                    self.recent.pop_front();
                }
                1.0 - share - MARGIN * self.recent.len().min(MARGINS) as f64
            }
        };
        (self.tokens.value(now) * left).max(LEAST)
    }

    /// Share of the requests a minute that may be used.
    pub fn requests(&mut self, now: Instant) -> f64 {
        self.requests.value(now)
    }

    /// A throttle, on tokens or else on requests, that began a pause. With `spare` it cuts nothing.
    pub fn throttled(&mut self, tokens: bool, spare: bool, now: Instant) {
        self.episodes += 1;
        if tokens && self.recent.back().is_none_or(|last| now.saturating_duration_since(*last) >= CUT_GAP) {
            self.recent.push_back(now);
            if self.recent.len() > MARGINS {
                self.recent.pop_front();
            }
        }
        if !spare {
            if tokens { self.tokens.cut(now) } else { self.requests.cut(now) }
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
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.value = (self.value + elapsed * REGROWTH).min(1.0);
        self.value
    }

    fn cut(&mut self, now: Instant) {
        if self.cut.is_none_or(|last| now.saturating_duration_since(last) >= CUT_GAP) {
            self.value = (self.value(now) * CUT).max(LEAST);
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

    #[tokio::test(start_paused = true)]
    async fn a_throttle_cuts_once_and_the_factor_grows_back() {
        let start = Instant::now();
        let mut factors = Factors::new(start);
        factors.throttled(true, true, start);
        assert!((factors.tokens(start) - 1.0).abs() < 1e-9, "the first one is spared");
        factors.throttled(true, false, start + Duration::from_secs(25));
        factors.throttled(true, false, start + Duration::from_secs(26));
        assert!((factors.tokens(start + Duration::from_secs(26)) - 0.8002).abs() < 1e-9);
        assert!((factors.tokens(start + Duration::from_secs(525)) - 0.9).abs() < 1e-9);
        assert!((factors.requests(start + Duration::from_secs(525)) - 1.0).abs() < 1e-9);
        factors.throttled(false, false, start + Duration::from_secs(600));
        assert!((factors.requests(start + Duration::from_secs(600)) - 0.8).abs() < 1e-9);
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_use_is_left_to_them_with_a_margin_that_throttles_widen() {
        let now = Instant::now();
        let mut factors = Factors::new(now);
        factors.set_background(0.3);
        assert!((factors.tokens(now) - 0.7).abs() < 1e-9);
        factors.throttled(true, true, now);
        assert!((factors.tokens(now) - 0.68).abs() < 1e-9);
        assert!((factors.tokens(now + Duration::from_mins(61)) - 0.7).abs() < 1e-9);
        factors.set_background(0.005);
        assert!((factors.tokens(now) - 1.0).abs() < 1e-9, "noise");
        factors.set_background(f64::NAN);
        assert_eq!(factors.background(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_cut_wins_and_an_old_one_is_not_taken_over() {
        let now = Instant::now();
        let (mut ours, mut theirs) = (Factors::new(now), Factors::new(now));
        theirs.throttled(true, false, now);
        let told = |f: &mut Factors, at| {
            let (episodes, token_factor, request_factor) = f.learned(at);
            Adaptation { episodes, token_factor, request_factor, log_engaged_s: 0.0, day_pause_s: 0.0 }
        };
        let cut = told(&mut theirs, now);
        ours.adopt(&cut, now);
        assert!((ours.tokens(now) - 0.8).abs() < 1e-9);
        // The same cut heard of again after growing back does not cut again.
        let later = now + Duration::from_secs(500);
        let grown = told(&mut theirs, later);
        ours.adopt(&grown, later);
        assert!((ours.tokens(later) - 0.9).abs() < 1e-9);
        ours.throttled(true, false, later);
        ours.adopt(&cut, later);
        assert!((ours.tokens(later) - 0.72).abs() < 1e-9, "older news");
    }
}
