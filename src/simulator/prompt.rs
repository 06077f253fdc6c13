//! What a request asks for, whatever its dialect: how many prompt tokens, where its cache points are, how long the
//! answer may be and whether it is to be text, a tool call or JSON.
//!
//! Tokens are estimated: a quarter of the characters, rounded up, plus a little per message and tool; media by size.

use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::draw::count;
use super::example::example;

/// A prompt, measured.
#[derive(Debug, PartialEq)]
pub(super) struct Prompt {
    /// All prompt tokens, cached ones included.
    pub tokens: u64,
    /// Cache points in their order.
    pub points: Vec<CachePoint>,
    /// The request's own bound on the answer.
    pub max_tokens: Option<u64>,
    pub wanted: Wanted,
}

/// The end of a prefix that may be cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CachePoint {
    /// Identifies everything before the point.
    pub prefix: u64,
    /// Tokens before the point.
    pub tokens: u64,
    pub ttl: Duration,
}

/// The shape of the answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wanted {
    Text,
    /// A call of this tool with this input.
    Tool {
        name: String,
        input: Value,
    },
    /// JSON text by a schema.
    Json(Value),
    /// Vectors: no output tokens.
    Vectors,
}

/// Tokens of a text.
pub(super) fn text_tokens(text: &str) -> u64 {
    count(text.chars().count()).div_ceil(4)
}

/// Tokens of a value as its JSON text.
pub(super) fn json_tokens(value: &Value) -> u64 {
    count(value.to_string().len()).div_ceil(4)
}

/// A kind of media, as far as its tokens go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Media {
    Image,
    Document,
    Video,
}

/// Tokens of media that is inline as base64, or somewhere else when `base64` is none.
pub(super) fn media_tokens(media: Media, base64: Option<&str>) -> u64 {
    let bytes = base64.map(|text| count(text.len()) * 3 / 4);
    match media {
        Media::Image => bytes.map_or(1_600, |bytes| (bytes / 750).clamp(85, 1_600)),
        Media::Document => bytes.map_or(2_000, |bytes| (bytes / 6).max(100)),
        Media::Video => bytes.map_or(10_000, |bytes| (bytes / 1_000).max(1_000)),
    }
}

/// Overheads of the chat format.
pub(super) const PER_MESSAGE: u64 = 4;
pub(super) const PER_TOOL: u64 = 12;

/// How long a cached prefix lives.
pub(super) fn cache_ttl(ttl: Option<&str>) -> Duration {
    Duration::from_secs(if ttl == Some("1h") { 3_600 } else { 300 })
}

/// Adds up a prompt's parts in the order the model reads them: tools, system, messages.
pub(super) struct Reader {
    tokens: u64,
    points: Vec<CachePoint>,
    prefix: Option<Sha256>,
}

impl Reader {
    /// `caching` is whether the body may have cache points; prefixes are hashed only then.
    pub(super) fn new(caching: bool) -> Self {
        Self { tokens: 0, points: Vec::new(), prefix: caching.then(Sha256::new) }
    }

    pub(super) fn part(&mut self, part: &Value, tokens: u64) {
        self.tokens += tokens;
        if let Some(prefix) = &mut self.prefix {
            prefix.update(part.to_string());
        }
    }

    pub(super) fn cache_point(&mut self, ttl: Option<&str>) {
        if let Some(prefix) = &self.prefix {
            let prefix = first_bits(&prefix.clone().finalize());
            self.points.push(CachePoint { prefix, tokens: self.tokens, ttl: cache_ttl(ttl) });
        }
    }

    pub(super) fn finish(self, max_tokens: Option<u64>, wanted: Wanted) -> Prompt {
        Prompt { tokens: self.tokens, points: self.points, max_tokens, wanted }
    }
}

/// The first 64 bits of a digest.
pub(super) fn first_bits(digest: &[u8]) -> u64 {
    digest.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

/// A tool on offer.
pub(super) struct Tool<'a> {
    pub name: &'a str,
    pub schema: Option<&'a Value>,
}

/// What the request says about the use of tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice<'a> {
    /// The model may.
    Auto,
    /// The model must use one.
    Any,
    /// The model must use this one.
    Named(&'a str),
    /// The model must not.
    Never,
}

/// The tool that is called: the one that is forced, or, when the model may choose, the first one if the last thing the
/// user said names an offered tool or has the word "tool" in it. After a tool's result the model answers in text.
pub(super) fn choose(tools: &[Tool], choice: Choice, asked: Option<&str>) -> Wanted {
    let first = tools.first();
    let tool = match choice {
        Choice::Never => None,
        Choice::Any => first,
        Choice::Named(name) => tools.iter().find(|tool| tool.name == name).or(first),
        Choice::Auto => asked.map(str::to_lowercase).and_then(|asked| {
            let named = tools.iter().find(|tool| asked.contains(&tool.name.to_lowercase()));
            named.or_else(|| first.filter(|_| asked.contains("tool")))
        }),
    };
    tool.map_or(Wanted::Text, |tool| Wanted::Tool {
        name: tool.name.to_owned(),
        input: tool.schema.map_or_else(|| Value::Object(serde_json::Map::new()), example),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tokens_are_a_quarter_of_the_characters_rounded_up() {
        assert_eq!([text_tokens(""), text_tokens("abcd"), text_tokens("abcde"), text_tokens("äöüß")], [0, 1, 2, 1]);
    }

    #[test]
    fn media_counts_by_size_within_bounds() {
        let big = "A".repeat(4_000_000);
        assert_eq!(media_tokens(Media::Image, Some("AAAA")), 85);
        assert_eq!(media_tokens(Media::Image, Some(&big)), 1_600);
        assert_eq!(media_tokens(Media::Document, Some(&big)), 500_000);
        assert_eq!(media_tokens(Media::Document, None), 2_000);
    }

    #[test]
    fn tools_are_used_when_forced_or_asked_for() {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
        let tools = || [Tool { name: "clock", schema: None }, Tool { name: "weather", schema: Some(&schema) }];
        let name = |wanted| match wanted {
            Wanted::Tool { name, input } => Some((name, input)),
            _ => None,
        };
        assert_eq!(name(choose(&tools(), Choice::Any, None)), Some(("clock".into(), json!({}))));
        assert_eq!(name(choose(&tools(), Choice::Named("weather"), None)).unwrap().1, json!({"city": "example"}));
        assert_eq!(name(choose(&tools(), Choice::Auto, Some("What is the Weather?"))).unwrap().0, "weather");
        assert_eq!(name(choose(&tools(), Choice::Auto, Some("use a tool"))).unwrap().0, "clock");
        assert_eq!(name(choose(&tools(), Choice::Auto, Some("hello"))), None);
        assert_eq!(name(choose(&tools(), Choice::Never, Some("use a tool"))), None);
        assert_eq!(name(choose(&[], Choice::Any, None)), None);
    }

    #[test]
    fn equal_prefixes_have_equal_points() {
        let point = |texts: &[&str]| {
            let mut reader = Reader::new(true);
            for text in texts {
                reader.part(&json!(text), 5);
            }
            reader.cache_point(None);
            reader.finish(None, Wanted::Text).points[0]
        };
        assert_eq!(point(&["a", "b"]), point(&["a", "b"]));
        assert_ne!(point(&["a", "b"]).prefix, point(&["a", "c"]).prefix);
        assert_eq!(point(&["a", "b"]).tokens, 10);
    }
}
