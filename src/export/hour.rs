//! Hours in UTC, what one file holds.

use std::fmt;
use std::time::Duration;

use crate::clock::Timestamp;

const HOUR_MS: u64 = 3_600_000;

/// An hour in UTC: hours since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hour(u64);

impl Hour {
    /// The hour that a time is in.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        Self(at.0 / HOUR_MS)
    }

    /// The first hour that begins at or after a time.
    #[must_use]
    pub fn from(at: Timestamp) -> Self {
        Self(at.0.div_ceil(HOUR_MS))
    }

    /// When it begins.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp(self.0 * HOUR_MS)
    }

    /// The next one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The first hour of the next day.
    #[must_use]
    pub fn next_day(self) -> Self {
        Self::of(self.start().next_day())
    }

    /// The hour at that distance before, whole hours, rounded up.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span.as_secs().div_ceil(3_600)))
    }

    /// `2026-11-21`.
    #[must_use]
    pub fn day(self) -> String {
        self.start().day()
    }

    /// From 0 to 23.
    #[must_use]
    pub fn of_day(self) -> u64 {
        self.0 % 24
    }

    /// `2026-11-21T09`, which sorts before the keys of all rows of the hour, and after all of the hour before.
    #[must_use]
    pub fn key(self) -> String {
        format!("{}T{:02}", self.day(), self.of_day())
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:02}:00", self.day(), self.of_day())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_of_days_in_utc() {
        let at = Timestamp(1_795_252_123_456);
        let hour = Hour::of(at);
        assert_eq!((hour.key(), hour.to_string()), ("2026-11-21T09".to_owned(), "2026-11-21 09:00".to_owned()));
        assert_eq!(Hour::from(at), hour.next());
        assert_eq!(Hour::from(hour.start()), hour);
        assert_eq!(hour.next_day().key(), "2026-11-22T00");
        assert_eq!(hour.before(Duration::from_hours(24)).key(), "2026-11-20T09");
        assert_eq!(hour.before(Duration::from_mins(1)), hour.before(Duration::from_hours(1)));
    }

    #[test]
    fn keys_of_rows_lie_between_the_keys_of_hours() {
        let hour = Hour::of(Timestamp(1_795_252_123_456));
        let (first, last) =
            (format!("{}#", hour.start()), format!("{}#~", hour.next().start() - Duration::from_millis(1)));
        assert!(hour.key() < first && first < last && last < hour.next().key());
    }
}
