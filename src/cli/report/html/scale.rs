//! Scales and their ticks.

use super::text::{clock, day};
use crate::clock::Timestamp;
use crate::report::Period;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Steps between ticks of time.
const STEPS: [u64; 17] = [
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    28 * DAY,
    91 * DAY,
];
/// Durations at which a logarithmic scale has ticks, in ms.
const DURATIONS: [(f64, &str); 12] = [
    (1.0, "1 ms"),
    (10.0, "10 ms"),
    (100.0, "100 ms"),
    (1_000.0, "1 s"),
    (10_000.0, "10 s"),
    (60_000.0, "1 m"),
    (600_000.0, "10 m"),
    (3_600_000.0, "1 h"),
    (36_000_000.0, "10 h"),
    (259_200_000.0, "3 d"),
    (2_592_000_000.0, "30 d"),
    (25_920_000_000.0, "300 d"),
];
/// Ticks of time that have room.
const TIMES: u64 = 7;

/// Moments to be marked, and what they are called. Midnight is called by the day that begins.
pub fn times(period: Period) -> Vec<(Timestamp, String)> {
    let span = period.until.0.saturating_sub(period.since.0);
    let last = STEPS[STEPS.len() - 1];
    let step = STEPS.into_iter().find(|step| span / step <= TIMES).unwrap_or_else(|| last * (span / last / TIMES + 1));
    let mut ticks = Vec::new();
    let mut at = period.since.0.div_ceil(step) * step;
    while at < period.until.0 {
        let time = Timestamp(at);
        ticks.push((time, if at.is_multiple_of(DAY) { day(time) } else { clock(time) }));
        at += step;
    }
    ticks
}

/// The top of a linear scale and its ticks: steps of 1, 2, 2.5 (of tens and more) or 5 that take in `most`.
pub fn linear(most: f64) -> (f64, Vec<f64>) {
    let most = if most > 0.0 { most } else { 1.0 };
    let rough = most / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|m| m * power).into_iter();
    // Many things come in whole numbers.
    let whole = |step: &f64| power >= 10.0 || (step / power).fract() == 0.0;
    let step = steps.filter(whole).find(|step| *step >= rough * 0.999).unwrap_or(rough);
    let mut ticks = vec![0.0];
    let mut n = 1.0;
    while step * (n - 1.0) < most * 0.999 {
        ticks.push(step * n);
        n += 1.0;
    }
    (ticks[ticks.len() - 1], ticks)
}

/// A logarithmic scale of durations.
#[derive(Clone, Debug)]
pub struct Durations {
    low: f64,
    high: f64,
}

impl Durations {
    /// One that takes in these, in ms.
    pub fn of(values: impl Iterator<Item = u64> + Clone) -> Self {
        let least = values.clone().filter(|v| *v > 0).min().unwrap_or(100) as f64;
        let most = values.max().unwrap_or(1_000).max(1) as f64;
        let low = DURATIONS.iter().rev().map(|(at, _)| *at).find(|at| *at <= least).unwrap_or(1.0);
        let high = DURATIONS.iter().map(|(at, _)| *at).find(|at| *at >= most && *at > low).unwrap_or(most.max(10.0));
        Self { low, high }
    }

    /// Where a value is, from 0 to 1.
    pub fn place(&self, ms: u64) -> f64 {
        let value = (ms as f64).clamp(self.low, self.high);
        (value / self.low).ln() / (self.high / self.low).ln()
    }

    /// Its ticks.
    pub fn ticks(&self) -> Vec<(f64, &'static str)> {
        let ticks = DURATIONS.iter().filter(|(at, _)| *at >= self.low && *at <= self.high);
        ticks.map(|(at, name)| ((at / self.low).ln() / (self.high / self.low).ln(), *name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_few_and_whole() {
        let since = Timestamp::parse("2026-11-20T22:10:00Z").unwrap();
        for (hours, expected) in [
            (1, vec!["22:10", "22:20", "22:30", "22:40", "22:50", "23:00"]),
            (24, vec!["00:00", "06:00", "12:00", "18:00"]),
            (24 * 7, vec!["21 Nov", "22 Nov", "23 Nov", "24 Nov", "25 Nov", "26 Nov", "27 Nov"]),
        ] {
            let period = Period { since, until: since + Duration::from_hours(hours) };
            let shown: Vec<String> = times(period).into_iter().map(|(_, name)| name).collect();
            let expected: Vec<String> =
                expected.into_iter().map(|name| if name == "00:00" { "21 Nov" } else { name }.to_owned()).collect();
            assert!(shown.len() <= 8, "{shown:?}");
            if hours == 24 {
                assert!(shown.contains(&"21 Nov".to_owned()), "{shown:?}");
            } else {
                assert_eq!(shown, expected);
            }
        }
        for hours in [1, 5, 36, 24 * 90, 24 * 3_000] {
            let count = times(Period { since, until: since + Duration::from_hours(hours) }).len();
            assert!((3..=8).contains(&count), "{hours} h: {count}");
        }
    }

    #[test]
    fn linear_scales_take_in_what_they_show() {
        for most in [0.0, 0.000_3, 1.0, 7.0, 99.0, 100.0, 450_000.0] {
            let (top, ticks) = linear(most);
            assert!(top >= most && (3..=6).contains(&ticks.len()), "{most}: {ticks:?}");
        }
        assert_eq!(linear(450_000.0).1, [0.0, 100_000.0, 200_000.0, 300_000.0, 400_000.0, 500_000.0]);
        assert_eq!(linear(11.0).1, [0.0, 5.0, 10.0, 15.0]);
        assert_eq!(linear(110.0).1, [0.0, 25.0, 50.0, 75.0, 100.0, 125.0]);
    }

    #[test]
    fn durations_lie_between_their_ticks() {
        let scale = Durations::of([120, 45_000].into_iter());
        let ticks: Vec<&str> = scale.ticks().into_iter().map(|(_, name)| name).collect();
        assert_eq!(ticks, ["100 ms", "1 s", "10 s", "1 m"]);
        assert!(scale.place(0) <= 0.0 && scale.place(1_000) > 0.3 && scale.place(60_000) >= 1.0);
        assert_eq!(Durations::of([].into_iter()).ticks().len(), 2);
    }
}
