//! The one place that reads wall time.
//!
//! Waiting and measuring always go through `tokio::time`, so that tests run under paused time; wall time is
//! only ever used for what people and other machines see: timestamps, deadlines, days.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds since the Unix epoch; written as RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Reads an RFC 3339 date and time with any offset.
    ///
    /// # Errors
    /// Says what is expected when `text` is not RFC 3339 or lies before 1970.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(at) = parse_own(text.as_bytes()) {
            return Ok(at);
        }
        let parsed = OffsetDateTime::parse(text, &Rfc3339)
            .map_err(|_| "expected an RFC 3339 time such as 2026-11-21T09:30:00Z".to_owned())?;
        u64::try_from(parsed.unix_timestamp_nanos() / 1_000_000)
            .map(Self)
            .map_err(|_| "expected a time after 1970".to_owned())
    }

    /// The UTC day, `2026-11-21`.
    #[must_use]
    pub fn day(self) -> String {
        let date = self.to_date_time().date();
        format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
    }

    /// The UTC month, `2026-11`.
    #[must_use]
    pub fn month(self) -> String {
        let date = self.to_date_time().date();
        format!("{:04}-{:02}", date.year(), u8::from(date.month()))
    }

    /// The next midnight in UTC.
    #[must_use]
    pub fn next_day(self) -> Self {
        const DAY: u64 = 24 * 3600 * 1000;
        Self((self.0 / DAY).saturating_add(1).saturating_mul(DAY))
    }

    /// The next first of a month, midnight in UTC.
    #[must_use]
    pub fn next_month(self) -> Self {
        let date = self.to_date_time().date();
        let left = u64::from(date.month().length(date.year()) - date.day());
        self.next_day() + Duration::from_hours(24 * left)
    }

    /// Time from `earlier` to this one, zero when it lies after.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    fn to_date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

/// Reads what [`Timestamp`] writes, and that fast: reports have many of them. Whatever is odd is left to the real parser.
fn parse_own(text: &[u8]) -> Option<Timestamp> {
    let &[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T', h0, h1, b':', n0, n1, b':', s0, s1, b'.', f0, f1, f2, b'Z'] =
        text
    else {
        return None;
    };
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_u64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
    };
    let (year, month, day) = (number(&[y0, y1, y2, y3])?, number(&[m0, m1])?, number(&[d0, d1])?);
    let (hour, minute, second) = (number(&[h0, h1])?, number(&[n0, n1])?, number(&[s0, s1])?);
    let millis = number(&[f0, f1, f2])?;
    // Every month has these days.
    if year < 1970 || !(1..=12).contains(&month) || !(1..=28).contains(&day) || hour > 23 || minute > 59 || second > 59
    {
        return None;
    }
    // Years begin with March here, so that the day that some have more comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before = year * 365 + year / 4 - year / 100 + year / 400;
    let days = (before + (153 * month + 2) / 5 + day - 1).checked_sub(719_468)?;
    Some(Timestamp((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + millis))
}

/// A duration in whole milliseconds.
#[must_use]
pub fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(millis(rhs)))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(millis(rhs)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.to_date_time();
        let (date, time) = (t.date(), t.time());
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.millisecond()
        )
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Wall time for timestamps. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Anchored(Arc<(Timestamp, tokio::time::Instant)>),
}

impl Clock {
    /// The operating system's clock, as production uses it.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that shows `start` now and advances with tokio's clock, so it stands still under paused time.
    #[must_use]
    pub fn anchored(start: Timestamp) -> Self {
        Self(Source::Anchored(Arc::new((start, tokio::time::Instant::now()))))
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => {
                #[expect(clippy::disallowed_methods, reason = "the one place that reads wall time")]
                let now = std::time::SystemTime::now();
                let since_epoch = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
            }
            Source::Anchored(anchor) => anchor.0 + anchor.1.elapsed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_reads_back_what_it_shows() {
        let t = Timestamp(1_795_252_123_456);
        assert_eq!(t.to_string(), "2026-11-21T09:08:43.456Z");
        assert_eq!(Timestamp::parse(&t.to_string()), Ok(t));
        assert_eq!(t.day(), "2026-11-21");
    }

    #[test]
    fn the_fast_way_reads_every_day_as_the_real_parser_does() {
        let real = |text: &str| {
            let parsed = OffsetDateTime::parse(text, &Rfc3339).unwrap();
            Timestamp(u64::try_from(parsed.unix_timestamp_nanos() / 1_000_000).unwrap())
        };
        for day in 0..80_000_u64 {
            let at = Timestamp(day * 86_400_000 + day % 24 * 3_600_000 + day % 3_599 * 1_000 + day % 1_000);
            let text = at.to_string();
            assert_eq!(Timestamp::parse(&text), Ok(at), "{text}");
            assert_eq!(parse_own(text.as_bytes()), (at.to_date_time().day() <= 28).then(|| real(&text)), "{text}");
        }
        for odd in [
            "2026-02-29T00:00:00.000Z",
            "2026-13-01T00:00:00.000Z",
            "2026-01-01T24:00:00.000Z",
            "2026-01-0aT00:00:00.000Z",
        ] {
            assert!(Timestamp::parse(odd).is_err(), "{odd} was taken");
        }
    }

    #[test]
    fn days_and_months_end_at_midnight_in_utc() {
        for (at, day, month) in [
            ("2026-11-21T09:30:00Z", "2026-11-22", "2026-12-01"),
            ("2026-12-31T23:59:59.999Z", "2027-01-01", "2027-01-01"),
            ("2027-01-01T00:00:00Z", "2027-01-02", "2027-02-01"),
            ("2028-02-29T12:00:00+14:00", "2028-02-29", "2028-03-01"),
        ] {
            let at = Timestamp::parse(at).unwrap();
            let midnight = |day: &str| Timestamp::parse(&format!("{day}T00:00:00Z")).unwrap();
            assert_eq!((at.next_day(), at.next_month()), (midnight(day), midnight(month)), "{at}");
        }
        assert_eq!(Timestamp(1_795_252_123_456).month(), "2026-11");
    }

    #[test]
    fn offsets_are_honoured_and_nonsense_is_refused() {
        assert_eq!(Timestamp::parse("1970-01-01T01:00:01+01:00"), Ok(Timestamp(1000)));
        assert!(Timestamp::parse("tomorrow").is_err());
        assert!(Timestamp::parse("1960-01-01T00:00:00Z").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_anchored_clock_follows_tokio_time() {
        let clock = Clock::anchored(Timestamp(5));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(clock.now(), Timestamp(3005));
    }
}
