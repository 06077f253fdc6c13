//! What a body holds, as far as its expected tokens depend on it.
//!
//! Tolerant on purpose: Bedrock judges the body, this only measures it. What has no known shape counts as text.

use serde_json::value::RawValue;

use super::json::{compact_len, is_array, is_object, items, member, members, text, whole};
use crate::request::Operation;

/// An object in S3 whose size the body does not tell is taken for this long.
const REMOTE_BYTES: u64 = 1_000_000;
/// Deeper than any known content block; what lies below counts as text.
const DEPTH: u8 = 12;

/// Measures of a body for [`crate::models::estimate`]. Sizes are in bytes, of media after base64 decoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyFacts {
    /// Text the model reads: messages, system prompt, tool definitions, text documents.
    pub text_bytes: u64,
    /// Images.
    pub image_bytes: u64,
    /// How many images.
    pub images: u32,
    /// Documents that are not plain text: PDF, Word, spreadsheets.
    pub document_bytes: u64,
    /// Video and audio.
    pub video_bytes: u64,
    /// Messages of the conversation, or texts to embed.
    pub messages: u32,
    /// The limit on the output that the body sets.
    pub max_tokens: Option<u64>,
    /// Places where the prompt is to be cached.
    pub cache_points: u32,
}

impl BodyFacts {
    /// Everything that is not text.
    #[must_use]
    pub fn media_bytes(&self) -> u64 {
        self.image_bytes + self.document_bytes + self.video_bytes
    }
}

/// Measures a body that is a JSON object.
pub(super) fn measure(operation: Operation, body: &RawValue) -> BodyFacts {
    let mut facts = BodyFacts::default();
    // A body that cannot be read any further was refused before; what was counted stands.
    _ = members(body, |key, value| match (operation, key.as_ref()) {
        (_, "messages" | "texts" | "inputs") => {
            if is_array(value) {
                _ = items(value, |_| facts.messages += 1);
            }
            facts.walk(value, Medium::Text, DEPTH);
        }
        (_, "tools" | "toolConfig" | "outputConfig") => facts.structure(value),
        (_, "inferenceConfig" | "textGenerationConfig")
        | (
            Operation::Converse,
            "additionalModelResponseFieldPaths"
            | "guardrailConfig"
            | "performanceConfig"
            | "requestMetadata"
            | "serviceTier",
        ) => {}
        (_, key) => facts.block(key, value, Medium::Text, DEPTH),
    });
    facts.messages = facts.messages.max(1);
    facts.max_tokens = max_tokens(operation, body);
    facts
}

/// The output limit under each of the names that model families use for it.
fn max_tokens(operation: Operation, body: &RawValue) -> Option<u64> {
    let paths: &[(&str, &str)] = match operation {
        Operation::Converse => &[("inferenceConfig", "maxTokens")],
        Operation::Invoke => &[
            ("max_tokens", ""),
            ("maxTokens", ""),
            ("max_completion_tokens", ""),
            ("max_tokens_to_sample", ""),
            ("max_gen_len", ""),
            ("textGenerationConfig", "maxTokenCount"),
            ("inferenceConfig", "max_new_tokens"),
            ("inferenceConfig", "maxTokens"),
        ],
    };
    paths.iter().find_map(|(outer, inner)| {
        let value = member(body, outer)?;
        let value = if inner.is_empty() { value } else { member(value, inner)? };
        whole(value).and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0)
    })
}

/// What the bytes at a place are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Medium {
    Text,
    Image,
    Document,
    Video,
}

impl Medium {
    /// By media type (`image/png`) or by the formats Converse names.
    fn of(format: &str) -> Self {
        match format.split_once('/').unwrap_or(("", format)) {
            ("image", _) | ("", "png" | "jpeg" | "gif" | "webp") => Self::Image,
            ("video" | "audio", _) => Self::Video,
            ("text", _) | ("", "txt" | "md" | "csv" | "html") => Self::Text,
            _ => Self::Document,
        }
    }
}

impl BodyFacts {
    fn walk(&mut self, value: &RawValue, medium: Medium, depth: u8) {
        let Some(depth) = depth.checked_sub(1) else { return self.structure(value) };
        if is_array(value) {
            _ = items(value, |item| self.walk(item, medium, depth));
        } else if is_object(value) {
            _ = members(value, |key, value| self.block(&key, value, medium, depth));
        } else {
            self.scalar(value, medium);
        }
    }

    /// A member of a content block, of a message or of a native body.
    fn block(&mut self, key: &str, value: &RawValue, medium: Medium, depth: u8) {
        match key {
            "role" | "type" | "format" | "media_type" | "toolUseId" | "tool_use_id" => {}
            "cachePoint" | "cache_control" => self.cache_points += 1,
            "input" | "json" | "inputSchema" | "input_schema" | "parameters" if is_object(value) => {
                self.structure(value);
            }
            "image" | "inputImage" | "images" => self.walk(value, Medium::Image, depth),
            "video" | "audio" | "mediaSource" => self.walk(value, Medium::Video, depth),
            "document" => {
                let format = member(value, "format").and_then(text);
                self.walk(value, format.map_or(Medium::Document, |f| Medium::of(&f)), depth);
            }
            "source" if is_object(value) => self.source(value, medium, depth),
            "bytes" | "base64String" => self.media(base64_len(value), medium),
            "s3Location" => self.media(REMOTE_BYTES, medium),
            "text" | "name" | "context" | "title" => self.walk(value, Medium::Text, depth),
            _ => self.walk(value, medium, depth),
        }
    }

    /// Where a block's bytes come from. Native Anthropic bodies say here, not in the block, what they are.
    fn source(&mut self, value: &RawValue, medium: Medium, depth: u8) {
        let medium = match member(value, "media_type").and_then(text) {
            Some(media_type) => Medium::of(&media_type),
            None => medium,
        };
        let encoded = member(value, "type").and_then(text).is_some_and(|t| t == "base64");
        _ = members(value, |key, value| match key.as_ref() {
            "data" if encoded => self.media(base64_len(value), medium),
            "content" | "data" => self.walk(value, Medium::Text, depth),
            "url" => self.media(REMOTE_BYTES, medium),
            key => self.block(key, value, medium, depth),
        });
    }

    fn scalar(&mut self, value: &RawValue, medium: Medium) {
        let Some(text) = text(value) else {
            self.text_bytes += value.get().len() as u64;
            return;
        };
        match text.strip_prefix("data:").and_then(|uri| uri.split_once(";base64,")) {
            Some((media_type, data)) => self.media(decoded_len(data), Medium::of(media_type)),
            None if medium == Medium::Text => self.text_bytes += text.len() as u64,
            None => self.media(decoded_len(&text), medium),
        }
    }

    fn media(&mut self, bytes: u64, medium: Medium) {
        match medium {
            Medium::Text => self.text_bytes += bytes,
            Medium::Document => self.document_bytes += bytes,
            Medium::Video => self.video_bytes += bytes,
            Medium::Image => {
                self.images += 1;
                self.image_bytes += bytes;
            }
        }
    }

    /// JSON that the model reads as such: tool definitions, arguments, results.
    fn structure(&mut self, value: &RawValue) {
        self.text_bytes += compact_len(value);
    }
}

/// Decoded length of a base64 string; of anything else its length.
fn base64_len(value: &RawValue) -> u64 {
    text(value).map_or(value.get().len() as u64, |text| decoded_len(&text))
}

fn decoded_len(base64: &str) -> u64 {
    base64.trim_end_matches('=').len() as u64 * 3 / 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(operation: Operation, body: &str) -> BodyFacts {
        measure(operation, serde_json::from_str(body).unwrap())
    }

    #[test]
    fn converse_text_is_what_the_model_reads() {
        let body = r#"{"system":[{"text":"abc"},{"cachePoint":{"type":"default"}}],
            "messages":[{"role":"user","content":[{"text":"h\u00e9llo"}]},{"role":"assistant","content":[{"text":"ok"}]}],
            "inferenceConfig":{"maxTokens":77},"serviceTier":{"type":"flex"},"requestMetadata":{"a":"bbbbbbb"}}"#;
        let expected = BodyFacts {
            text_bytes: 3 + 6 + 2,
            messages: 2,
            max_tokens: Some(77),
            cache_points: 1,
            ..BodyFacts::default()
        };
        assert_eq!(facts(Operation::Converse, body), expected);
    }

    #[test]
    fn tools_count_without_their_layout() {
        let dense = r#"{"messages":[],"toolConfig":{"tools":[{"toolSpec":{"name":"t"}}]}}"#;
        let wide = "{\"messages\":[],\"toolConfig\": {\n  \"tools\": [ {\"toolSpec\": {\"name\": \"t\"}} ]\n}}";
        assert_eq!(facts(Operation::Converse, dense).text_bytes, 37);
        assert_eq!(facts(Operation::Converse, wide).text_bytes, 37);
    }

    #[test]
    fn converse_media_count_by_kind_and_decoded_size() {
        let body = r#"{"messages":[{"role":"user","content":[
            {"image":{"format":"png","source":{"bytes":"AAAAAAA="}}},
            {"image":{"format":"png","source":{"s3Location":{"uri":"s3://bucket/key"}}}},
            {"document":{"format":"pdf","name":"n","source":{"bytes":"AAAA"}}},
            {"document":{"format":"csv","name":"nn","source":{"bytes":"AAAAAAAA"}}},
            {"video":{"format":"mp4","source":{"bytes":"AAAAAAAAAAAA"}}},
            {"toolResult":{"toolUseId":"x","content":[{"json":{"a":1}},{"image":{"format":"png","source":{"bytes":"AAAA"}}}]}}]}]}"#;
        let expected = BodyFacts {
            text_bytes: 1 + 2 + 6 + 7,
            image_bytes: 5 + REMOTE_BYTES + 3,
            images: 3,
            document_bytes: 3,
            video_bytes: 9,
            messages: 1,
            ..BodyFacts::default()
        };
        let facts = facts(Operation::Converse, body);
        assert_eq!(facts, expected);
        assert_eq!(facts.media_bytes(), 5 + REMOTE_BYTES + 3 + 3 + 9);
    }

    #[test]
    fn native_bodies_of_every_family_tell_their_limit() {
        for (body, expected) in [
            (r#"{"max_tokens":1}"#, Some(1)),
            (r#"{"maxTokens":2}"#, Some(2)),
            (r#"{"max_gen_len":3}"#, Some(3)),
            (r#"{"textGenerationConfig":{"maxTokenCount":4}}"#, Some(4)),
            (r#"{"inferenceConfig":{"max_new_tokens":5}}"#, Some(5)),
            (r#"{"inferenceConfig":{"maxTokens":6}}"#, Some(6)),
            (r#"{"max_tokens_to_sample":7.0}"#, Some(7)),
            (r#"{"max_tokens":"8"}"#, None),
            (r#"{"max_tokens":-1}"#, None),
            (r#"{"inputText":"x"}"#, None),
        ] {
            assert_eq!(facts(Operation::Invoke, body).max_tokens, expected, "{body}");
        }
    }

    #[test]
    fn native_bodies_count_text_and_media() {
        for (body, text, images, image_bytes) in [
            (r#"{"inputText":"abcd"}"#, 4, 0, 0),
            (r#"{"texts":["ab","cde"]}"#, 5, 0, 0),
            (r#"{"prompt":"abc"}"#, 3, 0, 0),
            (r#"{"anything":{"new":["abc",12]}}"#, 5, 0, 0),
            (r#"{"messages":[{"role":"user","content":"abc"}],"system":"de"}"#, 5, 0, 0),
            (
                r#"{"messages":[{"content":[{"type":"image","source":{"data":"AAAA","type":"base64","media_type":"image/png"}}]}]}"#,
                0,
                1,
                3,
            ),
            (
                r#"{"messages":[{"content":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"abcd"}}]}]}"#,
                4,
                0,
                0,
            ),
            (
                r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]}"#,
                0,
                1,
                3,
            ),
            (r#"{"images":["data:image/png;base64,AAAA"]}"#, 0, 1, 3),
            (r#"{"inputImage":"AAAA"}"#, 0, 1, 3),
        ] {
            let facts = facts(Operation::Invoke, body);
            assert_eq!((facts.text_bytes, facts.images, facts.image_bytes), (text, images, image_bytes), "{body}");
        }
        assert_eq!(facts(Operation::Invoke, r#"{"texts":["ab","cde"]}"#).messages, 2);
    }

    #[test]
    fn nesting_beyond_every_known_block_still_counts() {
        let body = format!("{{\"prompt\":{}\"abc\"{}}}", "[".repeat(50), "]".repeat(50));
        assert!(facts(Operation::Invoke, &body).text_bytes >= 3);
    }
}
