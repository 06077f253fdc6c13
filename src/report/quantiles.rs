//! Quantiles of durations and shares, in little memory: exact while there are few values, within 1 % beyond.

use hdrhistogram::Histogram;
use serde::Serialize;
use serde::ser::SerializeStruct;

/// Values that are kept as they are.
const FEW: usize = 128;
/// Significant digits of a histogram.
const DIGITS: u8 = 2;

/// Values so far. Each is cut at 2³² − 1.
#[derive(Clone, Debug)]
pub struct Quantiles(Kept);

#[derive(Clone, Debug)]
enum Kept {
    Few(Vec<u32>),
    Many(Box<Histogram<u32>>),
}

impl Default for Quantiles {
    fn default() -> Self {
        Self(Kept::Few(Vec::new()))
    }
}

impl Quantiles {
    /// Adds a value.
    pub fn add(&mut self, value: u64) {
        let value = u32::try_from(value).unwrap_or(u32::MAX);
        match &mut self.0 {
            Kept::Few(values) if values.len() < FEW => values.push(value),
            Kept::Few(values) => {
                let mut histogram = Box::new(histogram());
                for value in values.iter() {
                    record(&mut histogram, u64::from(*value), 1);
                }
                record(&mut histogram, u64::from(value), 1);
                self.0 = Kept::Many(histogram);
            }
            Kept::Many(histogram) => record(histogram, u64::from(value), 1),
        }
    }

    /// Adds all values of another.
    pub fn merge(&mut self, other: &Self) {
        match (&mut self.0, &other.0) {
            (_, Kept::Few(values)) => {
                for value in values {
                    self.add(u64::from(*value));
                }
            }
            (Kept::Few(values), Kept::Many(theirs)) => {
                let mut histogram = theirs.clone();
                for value in values.iter() {
                    record(&mut histogram, u64::from(*value), 1);
                }
                self.0 = Kept::Many(histogram);
            }
            (Kept::Many(ours), Kept::Many(theirs)) => {
                for step in theirs.iter_recorded() {
                    record(ours, step.value_iterated_to(), step.count_at_value());
                }
            }
        }
    }

    /// How many values.
    #[must_use]
    pub fn count(&self) -> u64 {
        match &self.0 {
            Kept::Few(values) => values.len() as u64,
            Kept::Many(histogram) => histogram.len(),
        }
    }

    /// The least value that at least this share of the values does not exceed; 0 when there are none.
    #[must_use]
    pub fn at(&self, share: f64) -> u64 {
        match &self.0 {
            Kept::Few(values) => {
                let mut values = values.clone();
                values.sort_unstable();
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most FEW")]
                let rank = (share * values.len() as f64).ceil() as usize;
                values.get(rank.clamp(1, values.len().max(1)) - 1).map_or(0, |value| u64::from(*value))
            }
            Kept::Many(histogram) => histogram.value_at_quantile(share).min(histogram.max()),
        }
    }

    /// `None` while there are no values.
    #[must_use]
    pub fn known(&self) -> Option<&Self> {
        (self.count() > 0).then_some(self)
    }
}

impl PartialEq for Quantiles {
    fn eq(&self, other: &Self) -> bool {
        let shown = |q: &Self| (q.count(), [0.5, 0.95, 0.99, 1.0].map(|share| q.at(share)));
        shown(self) == shown(other)
    }
}

impl Serialize for Quantiles {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Quantiles", 5)?;
        fields.serialize_field("count", &self.count())?;
        for (name, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)] {
            fields.serialize_field(name, &self.at(share))?;
        }
        fields.end()
    }
}

/// Grows as it must; a value of 32 bits always finds a place.
fn record(histogram: &mut Histogram<u32>, value: u64, count: u32) {
    histogram.record_n(value, count).unwrap_or_default();
}

fn histogram() -> Histogram<u32> {
    #[expect(clippy::expect_used, reason = "constant bounds, covered by a test")]
    let mut histogram = Histogram::new(DIGITS).expect("valid precision");
    histogram.auto(true);
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By definition.
    fn exact(values: &[u64], share: f64) -> u64 {
        let mut values = values.to_vec();
        values.sort_unstable();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
        let rank = (share * values.len() as f64).ceil() as usize;
        values[rank.max(1) - 1]
    }

    proptest! {
        #[test]
        fn quantiles_are_exact_for_few_and_within_a_percent_for_many(
            values in prop::collection::vec(prop_oneof![0_u64..1_000, 0..u64::from(u32::MAX)], 1..400),
            cut in 0_usize..400,
        ) {
            let mut all = Quantiles::default();
            let (mut one, mut other) = (Quantiles::default(), Quantiles::default());
            for (at, value) in values.iter().enumerate() {
                all.add(*value);
                if at < cut { one.add(*value) } else { other.add(*value) }
            }
            one.merge(&other);
            for quantiles in [&all, &one] {
                prop_assert_eq!(quantiles.count(), values.len() as u64);
                for share in [0.5, 0.95, 0.99, 1.0] {
                    let (found, exact) = (quantiles.at(share), exact(&values, share));
                    let off = found.abs_diff(exact) as f64;
                    prop_assert!(values.len() > FEW || found == exact, "{found} for {exact}");
                    prop_assert!(off <= exact as f64 * 0.01, "{found} for {exact}");
                }
            }
        }
    }

    #[test]
    fn extremes_are_cut_and_nothing_is_nothing() {
        let mut none = Quantiles::default();
        assert_eq!((none.at(0.5), none.known().is_some()), (0, false));
        for _ in 0..1_000 {
            none.add(u64::MAX);
        }
        assert_eq!(none.at(0.99), u64::from(u32::MAX));
        assert_eq!(serde_json::to_value(&none).unwrap()["count"], 1_000);
    }
}
