//! Seeded chance. A draw is a pure function of (seed, content, attempt): a request's answer and its length come from
//! attempt 0, so every try of the same content has the same answer; its faults, latency and breaking points come from
//! the number of the try, counted per content. So the same sequence of requests meets the same fate in every run,
//! however many run at once.

/// A stream of random numbers for one purpose.
#[derive(Clone, Debug)]
pub struct Draws(fastrand::Rng);

impl Draws {
    /// The stream of one (seed, content, attempt).
    #[must_use]
    pub fn new(seed: u64, content: u64, attempt: u64) -> Self {
        Self(fastrand::Rng::with_seed(mix(mix(mix(seed) ^ content) ^ attempt)))
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        self.0.f64()
    }

    /// Uniform in [0, below); 0 when `below` is 0.
    pub fn index(&mut self, below: usize) -> usize {
        if below == 0 { 0 } else { self.0.usize(..below) }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// Standard normal, by Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Lognormal with mean 1 and the given sigma of the logarithm.
    pub fn lognormal(&mut self, sigma: f64) -> f64 {
        (sigma * self.normal() - sigma * sigma / 2.0).exp()
    }

    /// Exponential with the given rate; infinite when the rate is not positive.
    pub fn exponential(&mut self, rate: f64) -> f64 {
        if rate > 0.0 { -(1.0 - self.uniform()).ln() / rate } else { f64::INFINITY }
    }
}

/// The finaliser of splitmix64: neighbouring seeds give unrelated streams.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A count as a real number; exact below 2^53.
#[must_use]
pub const fn real(count: u64) -> f64 {
    count as f64
}

/// A real number rounded to a count; negative and NaN become 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, which is what is wanted")]
#[must_use]
pub const fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// A length as a count.
#[must_use]
pub fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_key_same_stream_and_neighbours_differ() {
        let first: Vec<u64> = (0..4).map(|_| Draws::new(1, 2, 3).bits()).collect();
        assert!(first.windows(2).all(|w| w[0] == w[1]));
        let others = [Draws::new(2, 2, 3).bits(), Draws::new(1, 3, 3).bits(), Draws::new(1, 2, 4).bits()];
        assert!(others.iter().all(|bits| *bits != first[0]), "{others:?}");
    }

    #[test]
    fn moments_are_as_promised() {
        let mut draws = Draws::new(7, 0, 0);
        let n = 40_000_u32;
        let mean = |f: &mut dyn FnMut() -> f64| (0..n).map(|_| f()).sum::<f64>() / f64::from(n);
        assert!((mean(&mut || draws.lognormal(0.6)) - 1.0).abs() < 0.02);
        assert!((mean(&mut || draws.exponential(4.0)) - 0.25).abs() < 0.01);
        assert!(mean(&mut || draws.normal()).abs() < 0.02);
        assert!(Draws::new(0, 0, 0).exponential(0.0).is_infinite());
    }
}
