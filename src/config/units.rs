//! Durations and sizes as people write them: `90s`, `5m`, `500ms`, `256KiB`, `25MB`.

use std::time::Duration;

/// In milliseconds, the finest that is kept.
const DURATIONS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

/// Reads a duration; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let scale = match unit {
        "" => 1000,
        unit => DURATIONS.iter().find(|(name, _)| *name == unit)?.1,
    };
    let millis = (number * scale as f64).round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
    (0.0..9.0e15).contains(&millis).then(|| Duration::from_millis(millis as u64))
}

/// Reads a size; a bare number is bytes. `KB` is 1,000 bytes, `KiB` 1,024.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let scale = match unit {
        "" => 1,
        unit => SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1,
    };
    let bytes = number * scale as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and in range")]
    (bytes.fract() == 0.0 && (0.0..9.0e15).contains(&bytes)).then_some(bytes as u64)
}

/// The number and the unit behind it.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let number: f64 = number.replace('_', "").parse().ok()?;
    Some((number, unit.trim()))
}

/// Writes a duration in the largest unit that it is a whole number of.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, scale) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if millis.is_multiple_of(scale) && (millis > 0 || unit == "s") {
            return format!("{}{unit}", millis / scale);
        }
    }
    format!("{millis}ms")
}

/// Writes a size in the largest decimal or binary unit that it is a whole number of.
pub(super) fn show_size(bytes: u64) -> String {
    let (unit, scale) =
        SIZES.iter().rev().find(|(_, scale)| bytes > 0 && bytes.is_multiple_of(*scale)).unwrap_or(&SIZES[0]);
    format!("{}{unit}", bytes / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, millis) in [
            ("5", Some(5000)),
            ("2.5", Some(2500)),
            ("500ms", Some(500)),
            ("90s", Some(90_000)),
            (" 5 m ", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("2d", Some(172_800_000)),
            ("-5s", None),
            ("5 minutes", None),
            ("five", None),
            ("", None),
            ("1e400", None),
            ("1e15d", None),
            ("0.0001s", Some(0)),
        ] {
            assert_eq!(duration(text).map(|d| d.as_millis()), millis, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_read_in_every_unit() {
        for (text, bytes) in [
            ("100", Some(100)),
            ("256KiB", Some(262_144)),
            ("200kb", Some(200_000)),
            ("25MB", Some(25_000_000)),
            ("1.5 MiB", Some(1_572_864)),
            ("1GiB", Some(1 << 30)),
            ("0.5", None),
            ("-1", None),
            ("5 apples", None),
            ("", None),
        ] {
            assert_eq!(size(text), bytes, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(millis in 0_u64..1_000_000_000_000, bytes in 0_u64..1_000_000_000_000) {
            let span = Duration::from_millis(millis);
            prop_assert_eq!(duration(&show_duration(span)).map(|d| d.as_millis()), Some(u128::from(millis)));
            prop_assert_eq!(size(&show_size(bytes)), Some(bytes));
        }
    }
}
