//! What tokens cost. An unknown price is `None` wherever prices are kept, never zero.

use crate::config::ModelSettings;
use crate::request::Usage;

/// Dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prices {
    /// Fresh input.
    pub input: f64,
    /// Output.
    pub output: f64,
    /// Input read from the prompt cache; charged as input when unknown.
    pub cache_read: Option<f64>,
    /// Input written to the prompt cache; charged as input when unknown.
    pub cache_write: Option<f64>,
}

impl Prices {
    /// What a call cost, in dollars.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> f64 {
        let millionths = usage.input_tokens as f64 * self.input
            + usage.output_tokens as f64 * self.output
            + usage.cache_read_input_tokens as f64 * self.cache_read.unwrap_or(self.input)
            + usage.cache_write_input_tokens as f64 * self.cache_write.unwrap_or(self.input);
        millionths / 1e6
    }

    /// Whether input and output both cost less.
    #[must_use]
    pub fn is_below(&self, other: &Self) -> bool {
        self.input < other.input && self.output < other.output
    }

    /// Every price times `factor`.
    pub(super) fn times(self, factor: f64) -> Self {
        Self {
            input: self.input * factor,
            output: self.output * factor,
            cache_read: self.cache_read.map(|price| price * factor),
            cache_write: self.cache_write.map(|price| price * factor),
        }
    }

    /// The prices known so far with an operator's put over them. Unknown as long as input or output is.
    pub(super) fn overridden(known: Option<Self>, by: &ModelSettings) -> Option<Self> {
        Some(Self {
            input: by.input_usd_per_mtok.or(known.map(|p| p.input))?,
            output: by.output_usd_per_mtok.or(known.map(|p| p.output))?,
            cache_read: by.cache_read_usd_per_mtok.or(known.and_then(|p| p.cache_read)),
            cache_write: by.cache_write_usd_per_mtok.or(known.and_then(|p| p.cache_write)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_token_has_its_price() {
        let sonnet = Prices { input: 3.0, output: 15.0, cache_read: Some(0.3), cache_write: Some(3.75) };
        let usage = Usage {
            input_tokens: 1000,
            output_tokens: 100,
            cache_read_input_tokens: 10_000,
            cache_write_input_tokens: 2000,
        };
        // 0.003 + 0.0015 + 0.003 + 0.0075
        assert!((sonnet.cost(&usage) - 0.015).abs() < 1e-12);
        let uncached = Prices { cache_read: None, cache_write: None, ..sonnet };
        // 13,000 input tokens and the output
        assert!((uncached.cost(&usage) - 0.0405).abs() < 1e-12);
        assert!(sonnet.cost(&Usage::default()).abs() < 1e-12);
    }

    #[test]
    fn an_operators_price_wins_and_half_a_price_is_none() {
        let known = Prices { input: 1.0, output: 2.0, cache_read: Some(0.5), cache_write: None };
        let by = ModelSettings {
            output_usd_per_mtok: Some(3.0),
            cache_write_usd_per_mtok: Some(4.0),
            ..ModelSettings::default()
        };
        let expected = Prices { output: 3.0, cache_write: Some(4.0), ..known };
        assert_eq!(Prices::overridden(Some(known), &by), Some(expected));
        assert_eq!(Prices::overridden(None, &by), None);
    }
}
