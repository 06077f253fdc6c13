//! A stretch of time, and how it is cut into buckets.

use std::time::Duration;

use crate::clock::Timestamp;

/// From `since` on and before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its first moment.
    pub since: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
}

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Widths of a chart's buckets: the narrowest is taken that makes no more than [`MOST_BUCKETS`].
const WIDTHS: [u64; 7] = [MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY];
const MOST_BUCKETS: u64 = 200;
/// The first Monday, so that weeks begin on Mondays.
const MONDAY: u64 = 4 * DAY;

impl Period {
    /// How long it is.
    #[must_use]
    pub fn length(self) -> Duration {
        self.until.since(self.since)
    }

    /// Its UTC hours, the first and the last one cut to fit.
    pub fn hours(self) -> impl Iterator<Item = Self> {
        self.cut(HOUR)
    }

    /// The starts of the UTC days or hours that it touches.
    pub(super) fn starts(self, width: Duration) -> impl Iterator<Item = Timestamp> {
        let width = millis(width);
        self.cut(width).map(move |part| Timestamp(part.since.0 / width * width))
    }

    fn cut(self, width: u64) -> impl Iterator<Item = Self> {
        let mut at = self.since.0;
        std::iter::from_fn(move || {
            let part = Self { since: Timestamp(at), until: Timestamp((at / width + 1).saturating_mul(width)) };
            at = part.until.0;
            (part.since < self.until).then(|| Self { until: part.until.min(self.until), ..part })
        })
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// A period's buckets: each begins at a whole multiple of the width; the first and the last one may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buckets {
    period: Period,
    width: u64,
    origin: u64,
}

impl Buckets {
    /// As charts want them.
    #[must_use]
    pub fn of(period: Period) -> Self {
        let fits = |width: u64| millis(period.length()) / width < MOST_BUCKETS;
        let width = WIDTHS.into_iter().find(|width| fits(*width)).unwrap_or(7 * DAY);
        let shift = if width == 7 * DAY { MONDAY } else { 0 };
        let whole = (period.since.0.saturating_sub(shift) / width) * width;
        Self { period, width, origin: whole + shift.min(period.since.0) }
    }

    /// Width of one.
    #[must_use]
    pub fn width(self) -> Duration {
        Duration::from_millis(self.width)
    }

    /// The period.
    #[must_use]
    pub fn period(self) -> Period {
        self.period
    }

    /// How many there are.
    #[must_use]
    pub fn count(self) -> usize {
        let span = self.period.until.0.saturating_sub(self.origin);
        usize::try_from(span.div_ceil(self.width)).unwrap_or(0)
    }

    /// Which one a moment is in.
    #[must_use]
    pub fn index(self, at: Timestamp) -> Option<usize> {
        if at < self.period.since || at >= self.period.until {
            return None;
        }
        usize::try_from((at.0 - self.origin.min(at.0)) / self.width).ok()
    }

    /// What it covers of the period.
    #[must_use]
    pub fn part(self, index: usize) -> Period {
        let start = self.origin + self.width.saturating_mul(index as u64);
        Period {
            since: Timestamp(start).max(self.period.since),
            until: Timestamp(start + self.width).min(self.period.until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(since: &str, until: &str) -> Period {
        Period { since: Timestamp::parse(since).unwrap(), until: Timestamp::parse(until).unwrap() }
    }

    #[test]
    fn hours_are_cut_to_fit_and_leave_nothing_out() {
        let hours: Vec<Period> = period("2026-11-21T09:30:00Z", "2026-11-21T11:00:00Z").hours().collect();
        assert_eq!(
            hours,
            [
                period("2026-11-21T09:30:00Z", "2026-11-21T10:00:00Z"),
                period("2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z")
            ]
        );
        let days = period("2026-11-21T23:59:59Z", "2026-11-23T00:00:01Z").starts(Duration::from_hours(24));
        assert_eq!(days.map(Timestamp::day).collect::<Vec<_>>(), ["2026-11-21", "2026-11-22", "2026-11-23"]);
        assert_eq!(period("2026-11-21T09:30:00Z", "2026-11-21T09:30:00Z").hours().count(), 0);
    }

    #[test]
    fn buckets_are_as_narrow_as_a_chart_can_show() {
        for (hours, width, count) in [
            (1, MINUTE, 60),
            (3, MINUTE, 180),
            (12, 5 * MINUTE, 144),
            (24, 15 * MINUTE, 96),
            (24 * 7, HOUR, 168),
            (24 * 30, 6 * HOUR, 120),
            (24 * 90, DAY, 90),
            (24 * 400, 7 * DAY, 58),
        ] {
            let since = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
            let buckets = Buckets::of(Period { since, until: since + Duration::from_hours(hours) });
            assert_eq!((buckets.width, buckets.count()), (width, count), "{hours} h");
        }
    }

    #[test]
    fn every_moment_is_in_the_bucket_that_covers_it() {
        for (since, until) in [
            ("2026-11-21T09:34:56.789Z", "2026-11-22T09:34:56.789Z"),
            ("2026-01-01T12:00:00Z", "2026-12-31T12:00:00Z"),
            ("1970-01-01T00:00:00Z", "1970-01-01T00:10:00Z"),
        ] {
            let period = period(since, until);
            let buckets = Buckets::of(period);
            let step = millis(period.length()) / 977;
            for at in (period.since.0..period.until.0).step_by(usize::try_from(step).unwrap()).map(Timestamp) {
                let index = buckets.index(at).unwrap();
                let part = buckets.part(index);
                assert!(index < buckets.count() && part.since <= at && at < part.until, "{at} in {part:?}");
            }
            assert_eq!(buckets.index(period.until), None);
            assert_eq!(buckets.part(buckets.count() - 1).until, period.until);
        }
    }
}
