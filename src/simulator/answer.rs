//! What the model says: plausible words of a drawn length, a tool call, or JSON, decided by the request's content.

use serde_json::Value;

use super::draw::{Draws, count, real, whole};
use super::prompt::{Prompt, Wanted, json_tokens};
use super::settings::ModelSettings;

/// An answer of a text model, or none to speak of from an embedding model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub content: Content,
    pub tokens: u64,
    pub stop: Stop,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Text(String),
    Tool { id: String, name: String, input: Value },
}

/// Why the model stopped; Converse and Anthropic spell it alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    EndTurn,
    MaxTokens,
    ToolUse,
}

impl Stop {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::EndTurn => "end_turn",
            Self::MaxTokens => "max_tokens",
            Self::ToolUse => "tool_use",
        }
    }
}

/// Composes the answer. Its length is lognormal about the model's mean and ends at the bound in force.
pub(super) fn compose(prompt: &Prompt, settings: &ModelSettings, draws: &mut Draws) -> Answer {
    let bound = prompt.max_tokens.unwrap_or(settings.max_output_tokens).max(1);
    let structured = |tokens: u64, content, stop| {
        let cut = tokens > bound;
        Answer { content, tokens: tokens.min(bound), stop: if cut { Stop::MaxTokens } else { stop } }
    };
    match &prompt.wanted {
        Wanted::Tool { name, input } => {
            let id = format!("tooluse_{}", letters(draws, 22));
            let content = Content::Tool { id, name: name.clone(), input: input.clone() };
            structured(json_tokens(input) + 20, content, Stop::ToolUse)
        }
        Wanted::Json(value) => {
            let mut text = value.to_string();
            let tokens = count(text.len()).div_ceil(4);
            if tokens > bound {
                text = text.chars().take(usize::try_from(bound * 4).unwrap_or(usize::MAX)).collect();
            }
            structured(tokens, Content::Text(text), Stop::EndTurn)
        }
        Wanted::Text => {
            let length = whole(settings.mean_output_tokens * draws.lognormal(settings.output_sigma)).max(1);
            let (tokens, stop) = if length >= bound { (bound, Stop::MaxTokens) } else { (length, Stop::EndTurn) };
            Answer { content: Content::Text(words(draws, tokens)), tokens, stop }
        }
        Wanted::Vectors => Answer { content: Content::Text(String::new()), tokens: 0, stop: Stop::EndTurn },
    }
}

const WORDS: [&str; 64] = [
    "the",
    "a",
    "of",
    "and",
    "to",
    "in",
    "that",
    "for",
    "with",
    "as",
    "on",
    "by",
    "each",
    "this",
    "from",
    "which",
    "request",
    "answer",
    "model",
    "summary",
    "report",
    "customer",
    "order",
    "value",
    "change",
    "result",
    "plan",
    "review",
    "market",
    "season",
    "detail",
    "question",
    "team",
    "method",
    "quality",
    "measure",
    "shows",
    "gives",
    "keeps",
    "takes",
    "follows",
    "holds",
    "explains",
    "reaches",
    "depends",
    "improves",
    "clear",
    "steady",
    "early",
    "simple",
    "likely",
    "complete",
    "careful",
    "recent",
    "general",
    "useful",
    "often",
    "mostly",
    "therefore",
    "together",
    "again",
    "rather",
    "already",
    "well",
];

/// Text of exactly this many tokens by the simulator's own measure.
fn words(draws: &mut Draws, tokens: u64) -> String {
    let length = usize::try_from(tokens.saturating_mul(4)).unwrap_or(usize::MAX);
    let mut text = String::with_capacity(length.min(1 << 20) + 16);
    let mut left_in_sentence = 0;
    while text.len() < length {
        let word = WORDS.get(draws.index(WORDS.len())).copied().unwrap_or("the");
        if left_in_sentence == 0 {
            if !text.is_empty() {
                text.push_str(". ");
            }
            left_in_sentence = 6 + draws.index(10);
            let mut letters = word.chars();
            text.extend(letters.next().map(|first| first.to_ascii_uppercase()));
            text.push_str(letters.as_str());
        } else {
            text.push(' ');
            text.push_str(word);
        }
        left_in_sentence -= 1;
    }
    text.truncate(length.saturating_sub(1));
    text.push('.');
    text
}

/// Letters and digits, as ids have them.
pub(super) fn letters(draws: &mut Draws, length: usize) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..length).filter_map(|_| ALPHABET.get(draws.index(62))).map(|byte| char::from(*byte)).collect()
}

/// A unit vector that depends on the text alone; four decimals, so that its norm is 1 to about three.
pub(super) fn vector(seed: u64, text_bits: u64, dimensions: usize) -> Vec<Value> {
    let mut draws = Draws::new(seed, text_bits, 0);
    let raw: Vec<f64> = (0..dimensions).map(|_| draws.uniform() - 0.5).collect();
    let norm = raw.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    raw.into_iter().map(|x| Value::from((x / norm * 1e6).round() / 1e6)).collect()
}

/// Cuts a text into pieces of about equal size, at most `most` of them, none shorter than about five tokens.
pub(super) fn pieces(text: &str, most: u64) -> Vec<String> {
    let letters = count(text.len());
    let size = usize::try_from((letters.div_ceil(most.max(1))).max(20)).unwrap_or(usize::MAX);
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(size).map(|piece| piece.iter().collect()).collect()
}

/// Milliseconds to produce an answer of this length, before scaling.
pub(super) fn latency_ms(settings: &ModelSettings, tokens: u64, draws: &mut Draws) -> f64 {
    let latency = settings.latency;
    let mean = latency.base_ms + real(tokens) / latency.tokens_per_second * 1_000.0;
    mean * draws.lognormal(latency.sigma)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::prompt::text_tokens;

    fn prompt(max_tokens: Option<u64>, wanted: Wanted) -> Prompt {
        Prompt { tokens: 1, points: Vec::new(), max_tokens, wanted }
    }

    #[test]
    fn length_and_stop_reason_agree_with_the_text() {
        let settings = ModelSettings::default();
        let mut stops = [0, 0];
        for seed in 0..500 {
            let answer = compose(&prompt(Some(300), Wanted::Text), &settings, &mut Draws::new(seed, 0, 0));
            let Content::Text(text) = &answer.content else { panic!("no text") };
            assert_eq!(text_tokens(text), answer.tokens);
            assert_eq!(answer.stop == Stop::MaxTokens, answer.tokens == 300);
            stops[usize::from(answer.stop == Stop::MaxTokens)] += 1;
        }
        assert!(stops.iter().all(|n| *n > 100), "{stops:?}");
    }

    #[test]
    fn the_same_request_gets_the_same_answer() {
        let settings = ModelSettings::default();
        let one = |seed| compose(&prompt(None, Wanted::Text), &settings, &mut Draws::new(1, seed, 0));
        assert_eq!(one(9), one(9));
        assert_ne!(one(9), one(10));
    }

    #[test]
    fn a_tool_call_that_does_not_fit_is_cut() {
        let wanted = Wanted::Tool { name: "t".into(), input: serde_json::json!({"a": 1}) };
        let stop =
            |max| compose(&prompt(Some(max), wanted.clone()), &ModelSettings::default(), &mut Draws::new(1, 1, 0)).stop;
        assert_eq!((stop(100), stop(5)), (Stop::ToolUse, Stop::MaxTokens));
    }

    #[test]
    fn pieces_make_the_whole() {
        for text in ["", "short", &"long text ".repeat(1_000)] {
            let cut = pieces(text, 50);
            assert_eq!(cut.concat(), *text);
            assert!(cut.len() <= 50);
        }
    }

    #[test]
    fn vectors_have_length_one() {
        let norm: f64 = vector(1, 2, 256).iter().map(|x| x.as_f64().unwrap().powi(2)).sum();
        assert!((norm - 1.0).abs() < 1e-3);
    }
}
