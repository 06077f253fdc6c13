//! Token counts: from the body of Converse, from headers or the model's own body of InvokeModel.

use bytes::Bytes;
use serde::Deserialize;

use crate::ports::Answer;
use crate::request::Usage;

/// Token counts of InvokeModel's headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
}

impl Counts {
    /// Reads them through `header`.
    pub fn of_headers<'a>(header: impl Fn(&'static str) -> Option<&'a str>) -> Self {
        let count = |name| header(name).and_then(|text| text.trim().parse().ok());
        Self {
            input: count("x-amzn-bedrock-input-token-count"),
            output: count("x-amzn-bedrock-output-token-count"),
            cache_read: count("x-amzn-bedrock-cache-read-input-token-count"),
            cache_write: count("x-amzn-bedrock-cache-write-input-token-count"),
        }
    }
}

/// A Converse response with its `usage` and `serviceTier`; without them when it has none or is not what Converse answers.
pub fn answer_of_converse(body: Bytes) -> Answer {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Told {
        usage: Option<ConverseUsage>,
        /// Of any shape, so that nothing odd in it costs the usage.
        service_tier: Option<serde_json::Value>,
    }
    let told: Told = serde_json::from_slice(&body).unwrap_or_default();
    let service_tier = told.service_tier.as_ref().and_then(|tier| tier_name(tier["type"].as_str()?));
    Answer { usage: told.usage.map(Usage::from), service_tier, body }
}

/// A tier as Bedrock names it; `None` for what cannot be one.
pub fn tier_name(text: &str) -> Option<String> {
    let plain = |name: &&str| name.len() <= 32 && crate::request::is_name(name);
    Some(text.trim()).filter(plain).map(str::to_owned)
}

/// Usage of InvokeModel: the headers first, since all models have them; what they leave open from the body, whose shape is
/// the model's own (Nova as Converse, Anthropic with snake case, Titan's `inputTextTokenCount`).
pub fn of_invoke(counts: &Counts, body: &[u8]) -> Option<Usage> {
    let told = of_native(body);
    if counts.input.is_none() && counts.output.is_none() && told.is_none() {
        return None;
    }
    let told = told.unwrap_or_default();
    Some(Usage {
        input_tokens: counts.input.unwrap_or(told.input_tokens),
        output_tokens: counts.output.unwrap_or(told.output_tokens),
        cache_read_input_tokens: counts.cache_read.unwrap_or(told.cache_read_input_tokens),
        cache_write_input_tokens: counts.cache_write.unwrap_or(told.cache_write_input_tokens),
    })
}

fn of_native(body: &[u8]) -> Option<Usage> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Native {
        Nova { usage: ConverseUsage },
        Anthropic { usage: AnthropicUsage },
        Titan(TitanUsage),
    }
    Some(match serde_json::from_slice::<Native>(body).ok()? {
        Native::Nova { usage } => usage.into(),
        Native::Anthropic { usage } => Usage {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cache_read_input_tokens: usage.cache_read_input_tokens.unwrap_or(0),
            cache_write_input_tokens: usage.cache_creation_input_tokens.unwrap_or(0),
        },
        Native::Titan(usage) => Usage {
            input_tokens: usage.input_text_token_count,
            output_tokens: usage.results.iter().map(|r| r.token_count).sum(),
            ..Usage::default()
        },
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names on the wire")]
struct ConverseUsage {
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
    cache_read_input_tokens: Option<u64>,
    cache_write_input_tokens: Option<u64>,
}

impl From<ConverseUsage> for Usage {
    fn from(usage: ConverseUsage) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cache_read_input_tokens: usage.cache_read_input_tokens.unwrap_or(0),
            cache_write_input_tokens: usage.cache_write_input_tokens.unwrap_or(0),
        }
    }
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names on the wire")]
struct AnthropicUsage {
    input_tokens: u64,
    output_tokens: u64,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TitanUsage {
    input_text_token_count: u64,
    #[serde(default)]
    results: Vec<TitanResult>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TitanResult {
    #[serde(default)]
    token_count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(input: u64, output: u64, read: u64, write: u64) -> Usage {
        Usage {
            input_tokens: input,
            output_tokens: output,
            cache_read_input_tokens: read,
            cache_write_input_tokens: write,
        }
    }

    fn headers(pairs: &'static [(&'static str, &'static str)]) -> Counts {
        Counts::of_headers(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| *v))
    }

    #[test]
    fn converse_tells_its_usage() {
        let body =
            br#"{"output":{},"usage":{"inputTokens":3,"outputTokens":5,"totalTokens":8,"cacheReadInputTokens":7}}"#;
        let told = |body: &'static [u8]| {
            let answer = answer_of_converse(Bytes::from_static(body));
            (answer.usage, answer.service_tier)
        };
        assert_eq!(told(body), (Some(usage(3, 5, 7, 0)), None));
        assert_eq!(told(br#"{"output":{}}"#), (None, None));
        assert_eq!(told(b"<html>"), (None, None));
        let usage = Some(usage(1, 0, 0, 0));
        let flex = br#"{"usage":{"inputTokens":1},"serviceTier":{"type":"flex"}}"#;
        assert_eq!(told(flex), (usage, Some("flex".to_owned())));
        assert_eq!(told(br#"{"usage":{"inputTokens":1},"serviceTier":{"type":"a b"}}"#), (usage, None));
        assert_eq!(told(br#"{"usage":{"inputTokens":1},"serviceTier":7}"#), (usage, None));
    }

    #[test]
    fn headers_go_before_the_body() {
        let counts =
            headers(&[("x-amzn-bedrock-input-token-count", "10"), ("x-amzn-bedrock-output-token-count", "20")]);
        let body = br#"{"usage":{"input_tokens":1,"output_tokens":2,"cache_read_input_tokens":3,"cache_creation_input_tokens":4}}"#;
        assert_eq!(of_invoke(&counts, body), Some(usage(10, 20, 3, 4)));
        assert_eq!(of_invoke(&Counts::default(), body), Some(usage(1, 2, 3, 4)));
    }

    #[test]
    fn embeddings_and_native_bodies_tell_theirs() {
        let none = Counts::default();
        assert_eq!(of_invoke(&none, br#"{"embedding":[0.1],"inputTextTokenCount":6}"#), Some(usage(6, 0, 0, 0)));
        assert_eq!(
            of_invoke(&none, br#"{"inputTextTokenCount":6,"results":[{"tokenCount":4,"outputText":"x"}]}"#),
            Some(usage(6, 4, 0, 0))
        );
        assert_eq!(of_invoke(&none, br#"{"usage":{"inputTokens":6,"outputTokens":1}}"#), Some(usage(6, 1, 0, 0)));
        let cohere = headers(&[("x-amzn-bedrock-input-token-count", "9")]);
        assert_eq!(of_invoke(&cohere, br#"{"embeddings":[[0.1]]}"#), Some(usage(9, 0, 0, 0)));
        assert_eq!(of_invoke(&none, br#"{"embeddings":[[0.1]]}"#), None);
    }
}
