//! How a report writes numbers for people.

use std::time::Duration;

use crate::cli::format::{dollars, span, thousands};
use crate::clock::Timestamp;
use crate::report::{Figures, Period};

/// What is not known or does not apply.
pub const NOTHING: &str = "–";

/// 1,234 in full; from there in thousands, millions … with three digits: `12.3 k`, `456 M`.
pub fn compact(number: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    if number < 10_000 {
        return thousands(number);
    }
    // 999,950 is 1.00 M and not 1000 k.
    let unit = UNITS.iter().find(|(unit, _)| number as f64 / *unit as f64 >= 0.9995);
    unit.map_or_else(|| thousands(number), |(unit, name)| format!("{} {name}", digits(number as f64 / *unit as f64)))
}

/// Three digits of a positive number below 1,000.
fn digits(number: f64) -> String {
    match number {
        n if n >= 99.95 => format!("{n:.0}"),
        n if n >= 9.995 => format!("{n:.1}"),
        n => format!("{n:.2}"),
    }
}

/// A share: `0 %`, `< 0.1 %`, `3.6 %`, `97 %`. All is only what is all of it, and nothing only what is nothing.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        p if p <= 0.0 => "0 %".to_owned(),
        p if p < 0.05 => "<0.1 %".to_owned(),
        p if p < 9.95 => format!("{p:.1} %"),
        p if p < 99.5 => format!("{p:.0} %"),
        p if p < 99.95 => format!("{p:.1} %"),
        p if p < 100.0 => ">99.9 %".to_owned(),
        p => format!("{p:.0} %"),
    }
}

/// The same, or a dash.
pub fn percent_or(share: Option<f64>) -> String {
    share.map_or_else(|| NOTHING.to_owned(), percent)
}

/// A time in milliseconds.
pub fn ms(value: u64) -> String {
    span(Duration::from_millis(value))
}

/// A cost of which some may not be known: `$1.20`, `≥ $1.20`, `unknown`.
pub fn cost(usd: Option<f64>, unpriced: u64) -> String {
    match (usd, unpriced) {
        (None, _) => "unknown".to_owned(),
        (Some(usd), 0) => dollars(usd),
        (Some(usd), _) => format!("≥ {}", dollars(usd)),
    }
}

/// What a group cost.
pub fn cost_of(figures: &Figures) -> String {
    cost(figures.cost_usd, figures.unpriced)
}

/// `1 answer`, `2,000 answers`.
pub fn answers(number: u64) -> String {
    crate::cli::format::count(number, "answer")
}

/// Day and time without seconds, if they are none: `2026-11-21 09:00`.
pub fn minute(at: Timestamp) -> String {
    let text = at.to_string();
    let digits = if at.0.is_multiple_of(60_000) { 16 } else { 19 };
    text.chars().take(digits).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

/// A period in two largest units: `24 h`, `7 days`, `2 h 05 m`.
pub fn length(period: Period) -> String {
    let (hours, rest) = (period.length().as_secs() / 3_600, period.length().as_secs() % 3_600);
    match hours {
        24.. if rest == 0 && hours.is_multiple_of(24) && hours > 24 => format!("{} days", hours / 24),
        1..=48 if rest == 0 => format!("{hours} h"),
        _ => span(period.length()),
    }
}

/// The period with its zone: `2026-11-20 09:00 to 2026-11-21 09:00 UTC (24 h)`.
pub fn period(period: Period) -> String {
    format!("{} to {} UTC ({})", minute(period.since), minute(period.until), length(period))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        let shown = [0, 9_999, 10_000, 123_456, 999_949, 999_950, 1_234_567, 45_600_000_000, 7_000_000_000_000_000]
            .map(compact);
        assert_eq!(shown, ["0", "9,999", "10.0 k", "123 k", "1.00 M", "1.00 M", "1.23 M", "45.6 G", "7000 T"]);
    }

    #[test]
    fn only_all_is_all_and_only_nothing_is_nothing() {
        let shown = [0.0, 0.000_1, 0.001, 0.0364, 0.5, 0.996, 0.999_9, 1.0, 1.2].map(percent);
        assert_eq!(shown, ["0 %", "<0.1 %", "0.1 %", "3.6 %", "50 %", "99.6 %", ">99.9 %", "100 %", "120 %"]);
    }

    #[test]
    fn costs_tell_when_they_are_not_all() {
        assert_eq!(cost(Some(1.2), 0), "$1.20");
        assert_eq!(cost(Some(1.2), 3), "≥ $1.20");
        assert_eq!(cost(None, 3), "unknown");
    }

    #[test]
    fn periods_are_named_by_their_length() {
        let since = Timestamp::parse("2026-11-20T09:00:00Z").unwrap();
        let named = |seconds| period(Period { since, until: since + Duration::from_secs(seconds) });
        assert_eq!(named(86_400), "2026-11-20 09:00 to 2026-11-21 09:00 UTC (24 h)");
        assert_eq!(named(7 * 86_400), "2026-11-20 09:00 to 2026-11-27 09:00 UTC (7 days)");
        assert_eq!(named(7_530), "2026-11-20 09:00 to 2026-11-20 11:05:30 UTC (2 h 05 m)");
    }
}
