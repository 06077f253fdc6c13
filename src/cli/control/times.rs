//! Points in time as people give them: `2026-11-21T09:30:00Z`, or `30m` from now or ago.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::parse_duration;

/// A point in time, or how far it is from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    At(Timestamp),
    Span(Duration),
}

impl Moment {
    /// That long from now.
    pub fn ahead(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Span(span) => now + span,
        }
    }

    /// That long ago.
    pub fn ago(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Span(span) => now - span,
        }
    }
}

/// For clap: either.
pub fn moment(text: &str) -> Result<Moment, String> {
    span(text).map(Moment::Span).or_else(|_| Timestamp::parse(text).map(Moment::At)).map_err(|_| {
        "expected an RFC 3339 time such as 2026-11-21T09:30:00Z, or a time from now such as 30m, 2h or 1d".to_owned()
    })
}

/// For clap: RFC 3339.
pub fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text)
}

/// For clap: a duration. A number without unit could be anything, so it is refused.
pub fn span(text: &str) -> Result<Duration, String> {
    let has_unit = text.trim().ends_with(|c: char| c.is_ascii_alphabetic());
    parse_duration(text)
        .filter(|span| has_unit && !span.is_zero())
        .ok_or_else(|| "expected a duration such as 90s, 30m, 2h or 1d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_a_distance() {
        let now = Timestamp(1_795_252_123_456);
        assert_eq!(moment("2h").map(|m| m.ahead(now)), Ok(now + Duration::from_hours(2)));
        assert_eq!(moment("2h").map(|m| m.ago(now)), Ok(now - Duration::from_hours(2)));
        assert_eq!(moment("2026-11-21T09:08:43.456Z").map(|m| m.ago(Timestamp(7))), Ok(now));
        for bad in ["5", "", "tomorrow", "-3m", "0s", "2026-11-21"] {
            assert!(moment(bad).is_err(), "{bad:?} was taken");
        }
    }
}
