//! Money as whole billionths of a dollar, so that sums come out the same in any order.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

const PARTS: f64 = 1e9;

/// An amount of dollars, never negative; at most 18 billion, where it stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Usd(u64);

impl Usd {
    /// The nearest amount; nothing for what is negative or no number.
    #[must_use]
    pub fn of(dollars: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, as it should")]
        Self((dollars * PARTS).round() as u64)
    }

    /// In dollars.
    #[must_use]
    pub fn dollars(self) -> f64 {
        self.0 as f64 / PARTS
    }
}

impl Add for Usd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

impl Usd {
    /// Without `other`; nothing when that is more.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Usd {
    /// `$12.34`; small amounts with as many places as show something: `$0.000021`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = match self.0 {
            0 | 1_000_000_000.. => 2,
            10_000_000.. => 4,
            _ => 6,
        };
        write!(f, "${:.places$}", self.dollars())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_to_the_billionth_and_shown_as_short_as_they_say_something() {
        assert_eq!((0..1_000).map(|_| Usd::of(0.1)).sum::<Usd>(), Usd::of(100.0));
        for (dollars, shown) in [
            (0.0, "$0.00"),
            (12.345, "$12.35"),
            (0.5, "$0.5000"),
            (0.000_021, "$0.000021"),
            (-1.0, "$0.00"),
            (f64::NAN, "$0.00"),
        ] {
            assert_eq!(Usd::of(dollars).to_string(), shown);
        }
        assert_eq!(Usd::of(1e30) + Usd::of(1.0), Usd::of(f64::INFINITY));
        assert_eq!(Usd::of(1.0).less(Usd::of(2.0)), Usd::default());
    }
}
