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

/// A point in time that lies in the past, or the day that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    At(Timestamp),
    Ago(Duration),
    /// Midnight in UTC, so many days before the one that begins today.
    Midnight(u32),
}

impl Past {
    /// When that is.
    pub fn from(self, now: Timestamp) -> Timestamp {
        const DAY: Duration = Duration::from_hours(24);
        match self {
            Self::At(at) => at,
            Self::Ago(span) => now - span,
            Self::Midnight(days) => now.next_day() - DAY * days.saturating_add(1),
        }
    }
}

/// For clap: a time, a date (its midnight), `today`, `yesterday`, `now`, or how long ago. Without an offset it is UTC.
pub fn past(text: &str) -> Result<Past, String> {
    match text.trim() {
        "now" => return Ok(Past::Ago(Duration::ZERO)),
        "today" => return Ok(Past::Midnight(0)),
        "yesterday" => return Ok(Past::Midnight(1)),
        _ => {}
    }
    if let Ok(ago) = span(text) {
        return Ok(Past::Ago(ago));
    }
    let text = text.trim().replacen(' ', "T", 1);
    let time = ["", "Z", ":00Z", "T00:00:00Z"].iter().find_map(|rest| Timestamp::parse(&format!("{text}{rest}")).ok());
    time.map(Past::At).ok_or_else(|| {
        "expected a UTC date or time such as 2026-11-21 or 2026-11-21T09:30, how long ago such as 90m, 24h or 7d, \
         or today, yesterday or now"
            .to_owned()
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

    #[test]
    fn the_past_is_a_time_a_date_or_a_distance() {
        let now = Timestamp::parse("2026-11-21T09:08:43.456Z").unwrap();
        for (text, expected) in [
            ("2h", "2026-11-21T07:08:43.456Z"),
            ("7d", "2026-11-14T09:08:43.456Z"),
            ("now", "2026-11-21T09:08:43.456Z"),
            ("today", "2026-11-21T00:00:00.000Z"),
            ("yesterday", "2026-11-20T00:00:00.000Z"),
            ("2026-11-01", "2026-11-01T00:00:00.000Z"),
            ("2026-11-01T09:30", "2026-11-01T09:30:00.000Z"),
            ("2026-11-01 09:30:15", "2026-11-01T09:30:15.000Z"),
            ("2026-11-01T09:30:00+02:00", "2026-11-01T07:30:00.000Z"),
        ] {
            assert_eq!(past(text).map(|past| past.from(now).to_string()).as_deref(), Ok(expected), "{text}");
        }
        for bad in ["", "5", "tomorrow", "2026-11", "2026-13-01", "-3m", "9:30"] {
            assert!(past(bad).is_err(), "{bad:?} was taken");
        }
    }
}
