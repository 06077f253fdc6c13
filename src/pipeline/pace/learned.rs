//! What a lane learns from answers: how many tokens a byte is, and how long the answers of each kind of request are.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::request::{Estimate, Usage};

/// Answers that the ratio of input tokens remembers.
const RATIO_MEMORY: f64 = 400.0;
/// As many input tokens of the estimate count for a ratio of 1 before anything is learned.
const PRIOR: f64 = 5_000.0;
/// Answers of a kind that are remembered.
const REMEMBERED: usize = 128;
/// Share of the answers that are no longer than the expected one. Above the median, since too little is charged to the
/// whole lane and too much only until the answer is there.
const QUANTILE: f64 = 0.75;
/// Kinds told apart; more of them share what all answers tell.
const KINDS: usize = 256;
/// Kinds shown to people.
const SHOWN: usize = 8;

/// The state of learning.
#[derive(Debug)]
pub struct Learned {
    /// Decaying sums of real and of estimated input tokens. Their ratio is the least noisy one for a lane, whose
    /// reservations add up.
    real: f64,
    estimated: f64,
    /// Mean square of what an estimate is off by, as a share of it, once the ratio is applied.
    variance: f64,
    /// Decaying sums of what was reserved and of what was used of it.
    reserved: f64,
    used: f64,
    all: Outputs,
    kinds: HashMap<String, Outputs>,
}

impl Default for Learned {
    fn default() -> Self {
        Self {
            real: PRIOR,
            estimated: PRIOR,
            variance: 0.01,
            reserved: 0.0,
            used: 0.0,
            all: Outputs::default(),
            kinds: HashMap::new(),
        }
    }
}

impl Learned {
    /// Real input tokens per estimated one.
    pub fn input_ratio(&self) -> f64 {
        (self.real / self.estimated).clamp(0.25, 4.0)
    }

    /// The input that Bedrock will count.
    pub fn input(&self, estimate: &Estimate) -> f64 {
        estimate.input_tokens as f64 * self.input_ratio()
    }

    /// Variance of what [`Learned::input`] is off by, tokens squared.
    pub fn input_variance(&self, estimate: &Estimate) -> f64 {
        let input = self.input(estimate);
        input * input * self.variance
    }

    /// The output that a request should make, never more than it may. Half of that as long as nothing is known.
    pub fn output(&self, kind: Option<&str>, estimate: &Estimate) -> f64 {
        let most = estimate.max_output_tokens as f64;
        let known = kind.and_then(|kind| self.kinds.get(kind)).unwrap_or(&self.all);
        known.expected.map_or(most / 2.0, |expected| expected.min(most))
    }

    /// Notes what a call reserved and what it used of that.
    pub fn settled(&mut self, reserved: f64, used: f64) {
        let keep = 1.0 - 1.0 / RATIO_MEMORY;
        self.reserved = self.reserved * keep + reserved;
        self.used = self.used * keep + used;
    }

    /// Tokens reserved per token used, once anything was answered. Far above 1, maxTokens is set too high, or not at all:
    /// then little of a quota can be used.
    pub fn reserved_per_used(&self) -> Option<f64> {
        (self.used > 0.0).then(|| self.reserved / self.used)
    }

    /// Learns from an answer.
    pub fn answered(&mut self, kind: Option<&str>, estimate: &Estimate, usage: &Usage) {
        let input = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_write_input_tokens;
        if estimate.input_tokens > 0 && input > 0 {
            let off = input as f64 / self.input(estimate) - 1.0;
            self.variance += (off * off).min(1.0) / RATIO_MEMORY - self.variance / RATIO_MEMORY;
            let keep = 1.0 - 1.0 / RATIO_MEMORY;
            self.real = self.real * keep + input as f64;
            self.estimated = self.estimated * keep + estimate.input_tokens as f64;
        }
        if estimate.max_output_tokens == 0 {
            return;
        }
        self.all.learn(usage.output_tokens);
        let Some(kind) = kind else { return };
        if let Some(outputs) = self.kinds.get_mut(kind) {
            outputs.learn(usage.output_tokens);
        } else if self.kinds.len() < KINDS {
            self.kinds.entry(kind.to_owned()).or_default().learn(usage.output_tokens);
        }
    }

    /// The expected output over all kinds.
    pub fn typical_output(&self) -> Option<f64> {
        self.all.expected
    }

    /// The expected output of the kinds seen most.
    pub fn typical_outputs(&self) -> BTreeMap<String, f64> {
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by(|a, b| b.1.seen.cmp(&a.1.seen).then(a.0.cmp(b.0)));
        let shown = kinds.into_iter().take(SHOWN);
        shown.filter_map(|(kind, outputs)| Some((kind.clone(), outputs.expected?))).collect()
    }
}

/// The latest answers of a kind.
#[derive(Debug, Default)]
struct Outputs {
    latest: VecDeque<u64>,
    expected: Option<f64>,
    seen: u64,
}

impl Outputs {
    fn learn(&mut self, tokens: u64) {
        if self.latest.len() == REMEMBERED {
            self.latest.pop_front();
        }
        self.latest.push_back(tokens);
        self.seen += 1;
        let mut sorted: Vec<u64> = self.latest.iter().copied().collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index below REMEMBERED")]
        let at = ((sorted.len() - 1) as f64 * QUANTILE).ceil() as usize;
        let (_, expected, _) = sorted.select_nth_unstable(at);
        self.expected = Some(*expected as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(input: u64, output: u64) -> Usage {
        Usage { input_tokens: input, output_tokens: output, ..Usage::default() }
    }

    #[test]
    fn each_kind_has_its_own_length_bounded_by_what_it_may_make() {
        let mut learned = Learned::default();
        let estimate = Estimate { input_tokens: 100, max_output_tokens: 1_000 };
        assert!((learned.output(Some("chat"), &estimate) - 500.0).abs() < 1e-9, "half as long as nothing is known");
        for n in 0..400 {
            learned.answered(Some("chat"), &estimate, &answer(100, 1 + n % 100));
            learned.answered(Some("report"), &estimate, &answer(100, 800));
        }
        assert!((70.0..=85.0).contains(&learned.output(Some("chat"), &estimate)), "the third quartile");
        assert!((learned.output(Some("report"), &estimate) - 800.0).abs() < 1e-9);
        assert!((learned.output(Some("never seen"), &estimate) - 800.0).abs() < 1e-9, "as all answers are");
        let short = Estimate { max_output_tokens: 60, ..estimate };
        assert!((learned.output(Some("report"), &short) - 60.0).abs() < 1e-9);
    }

    #[test]
    fn the_input_ratio_follows_what_bedrock_counts_cached_tokens_too() {
        let mut learned = Learned::default();
        let estimate = Estimate { input_tokens: 1_000, max_output_tokens: 0 };
        for _ in 0..2_000 {
            let usage = Usage { input_tokens: 500, cache_read_input_tokens: 700, ..Usage::default() };
            learned.answered(None, &estimate, &usage);
        }
        assert!((learned.input(&estimate) - 1_200.0).abs() < 2.0, "{}", learned.input_ratio());
        assert!(learned.typical_output().is_none(), "nothing is learned of requests that make no output");
    }

    #[test]
    fn the_kinds_remembered_are_bounded() {
        let mut learned = Learned::default();
        let estimate = Estimate { input_tokens: 1, max_output_tokens: 10 };
        for n in 0..1_000 {
            learned.answered(Some(&format!("kind-{n}")), &estimate, &answer(1, 5));
        }
        assert_eq!((learned.kinds.len(), learned.typical_outputs().len()), (KINDS, SHOWN));
    }
}
