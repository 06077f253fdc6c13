//! What a request will use, from the measures of its body alone. Calibration from real usage comes on top of it.

use super::ModelSpec;
use crate::request::Estimate;
use crate::request::message::BodyFacts;

/// Bytes of text a token stands for, in tenths.
const TENTHS_OF_BYTES_PER_TOKEN: u64 = 36;
/// Role markers and separators around each message.
const PER_MESSAGE: u64 = 8;
/// What a large image costs, whatever its size.
const PER_IMAGE: u64 = 1600;
/// A small image costs less: no more than this and a token for every so many of its bytes.
const SMALL_IMAGE: u64 = 100;
const BYTES_PER_IMAGE_TOKEN: u64 = 10;
/// PDF, Word and spreadsheets: text with a lot around it.
const BYTES_PER_DOCUMENT_TOKEN: u64 = 25;
/// Video and audio: about 300 tokens a second at a megabit.
const BYTES_PER_VIDEO_TOKEN: u64 = 400;

/// Expected input tokens, and the output tokens that Bedrock reserves.
#[must_use]
pub fn estimate(facts: &BodyFacts, spec: &ModelSpec) -> Estimate {
    let text = facts.text_bytes.saturating_mul(10).div_ceil(TENTHS_OF_BYTES_PER_TOKEN);
    let messages = u64::from(facts.messages) * PER_MESSAGE;
    let images = u64::from(facts.images);
    let images = (images * PER_IMAGE).min(images * SMALL_IMAGE + facts.image_bytes.div_ceil(BYTES_PER_IMAGE_TOKEN));
    let documents = facts.document_bytes.div_ceil(BYTES_PER_DOCUMENT_TOKEN);
    let video = facts.video_bytes.div_ceil(BYTES_PER_VIDEO_TOKEN);
    Estimate {
        input_tokens: text + messages + images + documents + video,
        max_output_tokens: facts.max_tokens.unwrap_or(spec.max_output_tokens),
    }
}

/// The share of its limit that an answer is expected to have as long as nothing was learned of such requests.
const UNKNOWN_OUTPUT: f64 = 0.5;

/// The output tokens that an answer should have: what was learned of such requests (see `pipeline::pace`), else half of what it
/// may; never more than it may.
#[must_use]
pub fn expected_output(estimate: Estimate, learned: Option<f64>) -> f64 {
    let most = estimate.max_output_tokens as f64;
    learned.map_or(most * UNKNOWN_OUTPUT, |tokens| tokens.clamp(0.0, most))
}

/// What a request should cost in dollars with an answer of so many tokens, nothing of it cached; `None` when no price is known.
#[must_use]
pub fn estimated_cost(spec: &ModelSpec, estimate: Estimate, output_tokens: f64) -> Option<f64> {
    let prices = spec.prices?;
    Some((estimate.input_tokens as f64 * prices.input + output_tokens * prices.output) / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::models::Catalog;
    use crate::request::ModelId;
    use proptest::prelude::*;

    fn lite() -> ModelSpec {
        Catalog::new(&Config::default()).spec(&ModelId::new("amazon.nova-lite-v1:0").unwrap()).unwrap()
    }

    fn tokens(facts: BodyFacts) -> u64 {
        estimate(&facts, &lite()).input_tokens
    }

    #[test]
    fn text_and_messages_add_up_rounded_up() {
        for (text_bytes, messages, expected) in [(0, 1, 8), (36, 1, 18), (37, 1, 19), (3600, 3, 1024)] {
            assert_eq!(tokens(BodyFacts { text_bytes, messages, ..BodyFacts::default() }), expected);
        }
    }

    #[test]
    fn images_cost_by_number_and_small_ones_less() {
        for (images, image_bytes, expected) in [(1, 1_000_000, 1600), (3, 9_000_000, 4800), (1, 1000, 200), (0, 0, 0)] {
            assert_eq!(tokens(BodyFacts { image_bytes, images, ..BodyFacts::default() }), expected);
        }
    }

    #[test]
    fn documents_and_video_cost_by_size() {
        assert_eq!(tokens(BodyFacts { document_bytes: 250_000, ..BodyFacts::default() }), 10_000);
        assert_eq!(tokens(BodyFacts { video_bytes: 4_000_000, ..BodyFacts::default() }), 10_000);
    }

    #[test]
    fn costs_follow_the_expected_answer_and_are_unknown_without_a_price() {
        let estimate = Estimate { input_tokens: 1_000, max_output_tokens: 800 };
        for (learned, tokens) in [(None, 400.0), (Some(100.0), 100.0), (Some(9_000.0), 800.0), (Some(-1.0), 0.0)] {
            assert!((expected_output(estimate, learned) - tokens).abs() < 1e-9);
        }
        // Nova Lite: $0.06 and $0.24.
        assert!((estimated_cost(&lite(), estimate, 400.0).unwrap() - 0.000_156).abs() < 1e-12);
        assert_eq!(estimated_cost(&ModelSpec { prices: None, ..lite() }, estimate, 400.0), None);
    }

    #[test]
    fn an_unset_limit_reserves_the_models_maximum() {
        let spec = lite();
        assert_eq!(estimate(&BodyFacts::default(), &spec).max_output_tokens, spec.max_output_tokens);
        let set = BodyFacts { max_tokens: Some(7), ..BodyFacts::default() };
        assert_eq!(estimate(&set, &spec).max_output_tokens, 7);
    }

    proptest! {
        #[test]
        fn more_in_the_body_never_costs_less(text_bytes in 0_u64..50_000_000, more in 0_u64..1000, image_bytes in 0_u64..50_000_000) {
            let facts = BodyFacts { text_bytes, image_bytes, images: 2, ..BodyFacts::default() };
            let larger = BodyFacts { text_bytes: text_bytes + more, image_bytes: image_bytes + more, ..facts };
            prop_assert!(tokens(larger) >= tokens(facts));
        }
    }
}
