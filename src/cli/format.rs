//! How the command line writes numbers, times and texts for people.

use std::time::Duration;

use crate::clock::Timestamp;
pub use crate::shell::word as shell_word;

/// Width of a gauge.
const GAUGE: usize = 16;
/// No line that is written here is longer.
pub const WIDTH: usize = 100;

/// 1234567 as 1,234,567.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A positive number, rounded, as [`thousands`].
pub fn whole(number: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "quotas are positive and below 2^63")]
    let number = number.round() as u64;
    thousands(number)
}

/// `1 request`, `2 requests`.
pub fn count(number: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// A bar of sixteen places.
pub fn gauge(share: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the width")]
    let full = (share.clamp(0.0, 1.0) * GAUGE as f64).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(GAUGE - full))
}

/// `$12.34`, `$0.000021`.
pub fn dollars(usd: f64) -> String {
    crate::pipeline::spend::Usd::of(usd).to_string()
}

/// A short time: `999 ms`, `12.3 s`.
pub fn millis(ms: u64) -> String {
    if ms < 1_000 { format!("{ms} ms") } else { format!("{:.1} s", ms as f64 / 1_000.0) }
}

/// A time of any length in its two largest units: `850 ms`, `12.3 s`, `2 m 05 s`, `3 h 12 m`, `4 d 2 h`.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        60..3_600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {:02} m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// The time of day in UTC with milliseconds: `09:08:43.456`.
pub fn time_of_day(at: Timestamp) -> String {
    at.to_string().chars().skip(11).take(12).collect()
}

/// Day and time in UTC to the second: `2026-11-21 09:08:43 UTC`.
pub fn date_time(at: Timestamp) -> String {
    let text = at.to_string();
    let (day, time) = text.split_once('T').unwrap_or((&text, ""));
    format!("{day} {} UTC", time.chars().take(8).collect::<String>())
}

/// A text of somebody else's on one line: what could move a terminal's cursor is left out.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// At most `width` characters; what was cut is marked.
pub fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Breaks a text into lines of at most `width` characters, at spaces where there are some.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        while let Some(line) = lines.last_mut() {
            let used = line.chars().count();
            let space = usize::from(used > 0);
            if used + space + word.len() <= width {
                line.extend(std::iter::repeat_n(' ', space).chain(word));
                break;
            }
            if used == 0 {
                line.extend(word.drain(..width.max(1)));
            }
            lines.push(String::new());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(whole(12_345.6), "12,346");
        assert_eq!([count(1, "line"), count(2_000, "line")], ["1 line", "2,000 lines"]);
        assert_eq!(millis(999), "999 ms");
        assert_eq!(millis(12_345), "12.3 s");
        assert_eq!(gauge(0.5).chars().filter(|c| *c == '█').count(), 8);
        assert_eq!(gauge(7.0).chars().count(), GAUGE);
    }

    #[test]
    fn spans_keep_two_units() {
        let shown = [0, 850, 12_345, 125_000, 11_520_000, 352_800_000].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(shown, ["0 ms", "850 ms", "12.3 s", "2 m 05 s", "3 h 12 m", "4 d 2 h"]);
    }

    #[test]
    fn times_are_utc() {
        let at = Timestamp(1_795_252_123_456);
        assert_eq!(time_of_day(at), "09:08:43.456");
        assert_eq!(date_time(at), "2026-11-21 09:08:43 UTC");
    }

    #[test]
    fn text_is_wrapped_and_cannot_move_the_cursor() {
        assert_eq!(plain("a\u{1b}[2Jb\nc"), "a [2Jb c");
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("äöüäöüäöü x", 4), ["äöüä", "öüäö", "ü x"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!([clip("four", 4), clip("fiver", 4)], ["four", "fiv…"]);
    }
}
