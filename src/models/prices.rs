//! What tokens cost. An unknown price is `None` wherever prices are kept, never zero.

use std::fmt;

use crate::config::ModelSettings;
use crate::request::Usage;

/// Dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prices {
    /// Fresh input.
    pub input: f64,
    /// Output.
    pub output: f64,
    /// Input read from the prompt cache.
    pub cache_read: Option<f64>,
    /// Input written to the prompt cache for five minutes; charged as fresh input where no price is listed.
    pub cache_write: Option<f64>,
    /// In the service tier `flex`.
    pub flex: Option<Factors>,
    /// In the service tier `priority`.
    pub priority: Option<Factors>,
    /// From when they are.
    pub as_of: AsOf,
}

/// What a service tier costs as multiples of the standard prices.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factors {
    /// Of all input, cached or not.
    pub input: f64,
    /// Of output.
    pub output: f64,
}

/// From when a price is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// The day of the built-in catalogue, `2026-11-21`.
    Catalog(&'static str),
    /// The operator's settings name a part of it at least.
    Settings,
}

impl fmt::Display for AsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Catalog(day) => day,
            Self::Settings => "settings",
        })
    }
}

impl Prices {
    /// What a call cost that was served in a tier (`None` is the standard one), in dollars. `None` when any price that it takes is
    /// not known.
    #[must_use]
    pub fn cost(&self, usage: &Usage, tier: Option<&str>) -> Option<f64> {
        let factors = match tier {
            None | Some("default" | "standard") => Factors { input: 1.0, output: 1.0 },
            Some("flex") => self.flex?,
            Some("priority") => self.priority?,
            // Reserved capacity is not paid by the token, and new tiers have no price here.
            Some(_) => return None,
        };
        let cache_read = match usage.cache_read_input_tokens {
            0 => 0.0,
            tokens => tokens as f64 * self.cache_read?,
        };
        let input = usage.input_tokens as f64 * self.input
            + cache_read
            + usage.cache_write_input_tokens as f64 * self.cache_write.unwrap_or(self.input);
        let output = usage.output_tokens as f64 * self.output;
        Some((input * factors.input + output * factors.output) / 1e6)
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
            ..self
        }
    }

    /// The prices known so far with an operator's put over them. Unknown as long as input or output is.
    pub(super) fn overridden(known: Option<Self>, by: &ModelSettings) -> Option<Self> {
        let set = [
            by.input_usd_per_mtok,
            by.output_usd_per_mtok,
            by.cache_read_usd_per_mtok,
            by.cache_write_usd_per_mtok,
            by.flex_price_factor,
            by.priority_price_factor,
        ];
        if set.iter().all(Option::is_none) {
            return known;
        }
        let factors =
            |factor: Option<f64>, known: Option<Factors>| factor.map(|f| Factors { input: f, output: f }).or(known);
        Some(Self {
            input: by.input_usd_per_mtok.or(known.map(|p| p.input))?,
            output: by.output_usd_per_mtok.or(known.map(|p| p.output))?,
            cache_read: by.cache_read_usd_per_mtok.or(known.and_then(|p| p.cache_read)),
            cache_write: by.cache_write_usd_per_mtok.or(known.and_then(|p| p.cache_write)),
            flex: factors(by.flex_price_factor, known.and_then(|p| p.flex)),
            priority: factors(by.priority_price_factor, known.and_then(|p| p.priority)),
            as_of: AsOf::Settings,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SONNET: Prices = Prices {
        input: 3.0,
        output: 15.0,
        cache_read: Some(0.3),
        cache_write: Some(3.75),
        flex: None,
        priority: None,
        as_of: AsOf::Catalog("2026-11-21"),
    };
    const USAGE: Usage = Usage {
        input_tokens: 1000,
        output_tokens: 100,
        cache_read_input_tokens: 10_000,
        cache_write_input_tokens: 2000,
    };

    fn assert_costs(prices: Prices, usage: Usage, tier: Option<&str>, expected: f64) {
        let cost = prices.cost(&usage, tier).unwrap();
        assert!((cost - expected).abs() < 1e-12, "{cost} is not {expected}");
    }

    #[test]
    fn every_kind_of_token_has_its_price() {
        // 0.003 + 0.0015 + 0.003 + 0.0075
        assert_costs(SONNET, USAGE, None, 0.015);
        assert_costs(SONNET, USAGE, Some("default"), 0.015);
        assert_costs(SONNET, Usage::default(), None, 0.0);
        // 3,000 input tokens, the output and what was read
        assert_costs(Prices { cache_write: None, ..SONNET }, USAGE, None, 0.0135);
    }

    #[test]
    fn a_tier_has_its_own_price() {
        let tiers = Prices {
            flex: Some(Factors { input: 0.5, output: 0.5 }),
            priority: Some(Factors { input: 1.75, output: 1.5 }),
            ..SONNET
        };
        assert_costs(tiers, USAGE, Some("flex"), 0.0075);
        assert_costs(tiers, USAGE, Some("priority"), 0.0135 * 1.75 + 0.0015 * 1.5);
    }

    #[test]
    fn what_is_not_known_is_not_zero() {
        assert_eq!(Prices { cache_read: None, ..SONNET }.cost(&USAGE, None), None);
        for tier in ["flex", "priority", "reserved", "something-new"] {
            assert_eq!(SONNET.cost(&USAGE, Some(tier)), None, "{tier}");
        }
    }

    #[test]
    fn an_operators_price_wins_and_half_a_price_is_none() {
        let by = ModelSettings {
            output_usd_per_mtok: Some(3.0),
            cache_write_usd_per_mtok: Some(4.0),
            flex_price_factor: Some(0.4),
            ..ModelSettings::default()
        };
        let flex = Some(Factors { input: 0.4, output: 0.4 });
        let expected = Prices { output: 3.0, cache_write: Some(4.0), flex, as_of: AsOf::Settings, ..SONNET };
        assert_eq!(Prices::overridden(Some(SONNET), &by), Some(expected));
        assert_eq!(Prices::overridden(None, &by), None);
        assert_eq!(Prices::overridden(Some(SONNET), &ModelSettings::default()), Some(SONNET));
    }
}
