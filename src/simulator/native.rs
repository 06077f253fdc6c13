//! Reads and writes native InvokeModel bodies: Anthropic messages, Nova messages-v1, Titan and Cohere embeddings, and
//! a plain completion for everything else.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::answer::{Answer, Content, Stop, vector};
use super::call::Usage;
use super::dialect::{converse, mentions};
use super::family::{Family, base_id};
use super::fault::AwsError;
use super::prompt::{Prompt, Reader, Wanted, first_bits, text_tokens};

/// Measures a native body.
pub(super) fn read(family: Family, body: &Value, raw: &[u8]) -> Result<Prompt, AwsError> {
    match family {
        Family::Anthropic => super::anthropic::read(body, mentions(raw, "cache_control")),
        Family::Nova => converse(body, &["maxTokens", "max_new_tokens"], mentions(raw, "cachePoint")),
        Family::TitanEmbed => titan(body),
        Family::CohereEmbed => cohere(body),
        Family::Other => other(body),
    }
}

/// The complaint about a field that is not there.
pub(super) fn missing(field: &str) -> AwsError {
    malformed(&format!("#: required key [{field}] not found"))
}

/// The complaint about a native body.
pub(super) fn malformed(reason: &str) -> AwsError {
    AwsError::validation(format!("Malformed input request: {reason}, please reformat your input and try again."))
}

fn measured(tokens: u64, max_tokens: Option<u64>, wanted: Wanted) -> Prompt {
    Prompt { tokens, points: Vec::new(), max_tokens, wanted }
}

fn titan(body: &Value) -> Result<Prompt, AwsError> {
    let text = body.get("inputText").ok_or_else(|| missing("inputText"))?;
    let text = text.as_str().ok_or_else(|| malformed("#/inputText: expected type: String"))?;
    if text.is_empty() {
        return Err(malformed("#/inputText: expected minLength: 1, actual: 0"));
    }
    dimensions(body)?;
    Ok(measured(text_tokens(text).max(1), Some(0), Wanted::Vectors))
}

fn dimensions(body: &Value) -> Result<usize, AwsError> {
    match body.get("dimensions") {
        None | Some(Value::Null) => Ok(1_024),
        Some(value) => match value.as_u64() {
            Some(256) => Ok(256),
            Some(512) => Ok(512),
            Some(1_024) => Ok(1_024),
            _ => Err(malformed(&format!("#/dimensions: {value} is not a valid enum value [256, 512, 1024]"))),
        },
    }
}

fn cohere(body: &Value) -> Result<Prompt, AwsError> {
    let texts = texts(body)?;
    let kind = body.get("input_type").and_then(Value::as_str).ok_or_else(|| missing("input_type"))?;
    if !matches!(kind, "search_document" | "search_query" | "classification" | "clustering" | "image") {
        return Err(malformed(&format!(
            "#/input_type: {kind} is not a valid enum value [search_document, search_query, classification, clustering]"
        )));
    }
    Ok(measured(texts.iter().map(|text| text_tokens(text).max(1)).sum(), Some(0), Wanted::Vectors))
}

fn texts<'body>(body: &'body Value) -> Result<Vec<&'body str>, AwsError> {
    let texts = body.get("texts").and_then(Value::as_array).ok_or_else(|| missing("texts"))?;
    if texts.is_empty() || texts.len() > 96 {
        return Err(malformed(&format!("#/texts: expected 1 to 96 items, found {}", texts.len())));
    }
    let text = |(at, text): (usize, &'body Value)| {
        text.as_str().ok_or_else(|| malformed(&format!("#/texts/{at}: expected type: String, found: {text}")))
    };
    texts.iter().enumerate().map(text).collect()
}

fn other(body: &Value) -> Result<Prompt, AwsError> {
    let prompt = ["prompt", "inputText"].into_iter().find_map(|field| body.get(field).and_then(Value::as_str));
    let mut reader = Reader::new(false);
    match (prompt, body.get("messages").and_then(Value::as_array)) {
        (Some(text), _) => reader.part(&Value::Null, text_tokens(text).max(1)),
        (None, Some(messages)) => {
            for message in messages {
                let content = message.get("content").unwrap_or(&Value::Null);
                let tokens = content.as_str().map_or_else(|| super::prompt::json_tokens(content), text_tokens);
                reader.part(&Value::Null, tokens + super::prompt::PER_MESSAGE);
            }
        }
        (None, None) => return Err(missing("prompt")),
    }
    let paths = [
        "/max_tokens",
        "/max_gen_len",
        "/maxTokens",
        "/max_tokens_to_sample",
        "/max_completion_tokens",
        "/textGenerationConfig/maxTokenCount",
    ];
    let max_tokens = paths.into_iter().find_map(|path| body.pointer(path).and_then(Value::as_u64));
    Ok(reader.finish(max_tokens, Wanted::Text))
}

/// The native response body.
pub(super) fn write(
    family: Family,
    model_id: &str,
    request: &Value,
    answer: &Answer,
    usage: &Usage,
    id: &str,
) -> Value {
    match family {
        Family::Anthropic => super::anthropic::write(model_id, answer, usage, id),
        Family::Nova => json!({
            "output": {"message": {"role": "assistant", "content": [super::converse::block(answer)]}},
            "stopReason": answer.stop.name(),
            "usage": {
                "inputTokens": usage.input, "outputTokens": usage.output, "totalTokens": usage.total(),
                "cacheReadInputTokenCount": usage.cache_read, "cacheWriteInputTokenCount": usage.cache_write,
            },
        }),
        Family::TitanEmbed => titan_vectors(request, usage),
        Family::CohereEmbed => cohere_vectors(request, id),
        Family::Other => json!({"completion": text(answer), "stop_reason": other_stop(answer.stop)}),
    }
}

/// The text of an answer; a tool call as its JSON.
pub(super) fn text(answer: &Answer) -> String {
    match &answer.content {
        Content::Text(text) => text.clone(),
        Content::Tool { input, .. } => input.to_string(),
    }
}

/// Stop reasons of completions.
pub(super) const fn other_stop(stop: Stop) -> &'static str {
    match stop {
        Stop::EndTurn | Stop::ToolUse => "stop",
        Stop::MaxTokens => "length",
    }
}

fn embed(text: &str, dimensions: usize) -> Vec<Value> {
    vector(0, first_bits(&Sha256::digest(text)), dimensions)
}

fn binary(vector: &[Value]) -> Vec<Value> {
    vector.iter().map(|x| json!(u8::from(x.as_f64().is_some_and(|x| x > 0.0)))).collect()
}

fn titan_vectors(request: &Value, usage: &Usage) -> Value {
    let text = request.get("inputText").and_then(Value::as_str).unwrap_or_default();
    let vector = embed(text, dimensions(request).unwrap_or(1_024));
    let kinds = request.get("embeddingTypes").and_then(Value::as_array);
    let wants = |kind: &str| kinds.map_or(kind == "float", |kinds| kinds.iter().any(|wanted| wanted == kind));
    let mut by_type = Map::new();
    let mut response = json!({"inputTextTokenCount": usage.input});
    if wants("binary") {
        by_type.insert("binary".into(), binary(&vector).into());
    }
    if wants("float") {
        by_type.insert("float".into(), vector.clone().into());
        response["embedding"] = vector.into();
    }
    response["embeddingsByType"] = by_type.into();
    response
}

fn cohere_vectors(request: &Value, id: &str) -> Value {
    let texts = texts(request).unwrap_or_default();
    let vectors: Vec<Vec<Value>> = texts.iter().map(|text| embed(text, 1_024)).collect();
    match request.get("embedding_types").and_then(Value::as_array) {
        None => json!({"id": id, "texts": texts, "embeddings": vectors, "response_type": "embeddings_floats"}),
        Some(kinds) => {
            let by_kind = |kind: &Value| {
                let kind = kind.as_str()?;
                let values = match kind {
                    "float" => json!(vectors),
                    "binary" | "ubinary" | "int8" | "uint8" => {
                        json!(vectors.iter().map(|vector| binary(vector)).collect::<Vec<_>>())
                    }
                    _ => return None,
                };
                Some((kind.to_owned(), values))
            };
            let embeddings: Map<String, Value> = kinds.iter().filter_map(by_kind).collect();
            json!({"id": id, "texts": texts, "embeddings": embeddings, "response_type": "embeddings_by_type"})
        }
    }
}

/// The model's own name in Anthropic's bodies: without provider and version of the Bedrock id.
pub(super) fn short_name(model_id: &str) -> &str {
    let base = base_id(model_id);
    let name = base.split_once('.').map_or(base, |(_, name)| name);
    name.split_once("-v").map_or(name, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_json(family: Family, body: &Value) -> Result<Prompt, String> {
        read(family, body, body.to_string().as_bytes()).map_err(|error| error.message)
    }

    #[test]
    fn embeddings_are_measured_and_answered() {
        let request = json!({"inputText": "abcdefgh", "dimensions": 256, "embeddingTypes": ["float", "binary"]});
        let prompt = read_json(Family::TitanEmbed, &request).unwrap();
        assert_eq!((prompt.tokens, prompt.max_tokens), (2, Some(0)));
        let usage = Usage { input: 2, ..Usage::default() };
        let answer = Answer { content: Content::Text(String::new()), tokens: 0, stop: Stop::EndTurn };
        let response = write(Family::TitanEmbed, "m", &request, &answer, &usage, "id");
        assert_eq!(response["embedding"].as_array().unwrap().len(), 256);
        assert_eq!(response["embeddingsByType"]["binary"].as_array().unwrap().len(), 256);
        assert_eq!(response["inputTextTokenCount"], 2);

        let request = json!({"texts": ["a", "b"], "input_type": "search_query"});
        assert_eq!(read_json(Family::CohereEmbed, &request).unwrap().tokens, 2);
        let response = write(Family::CohereEmbed, "m", &request, &answer, &usage, "id");
        assert_eq!(response["embeddings"].as_array().unwrap().len(), 2);
        assert_ne!(response["embeddings"][0], response["embeddings"][1]);
    }

    #[test]
    fn faults_are_named() {
        for (family, body, part) in [
            (Family::TitanEmbed, json!({}), "[inputText]"),
            (Family::TitanEmbed, json!({"inputText": "x", "dimensions": 3}), "#/dimensions"),
            (Family::CohereEmbed, json!({"texts": ["x"]}), "[input_type]"),
            (Family::CohereEmbed, json!({"texts": [1], "input_type": "search_query"}), "#/texts/0"),
            (Family::Anthropic, json!({"anthropic_version": "bedrock-2023-05-31"}), "max_tokens"),
            (Family::Nova, json!({}), "messages"),
            (Family::Other, json!({}), "[prompt]"),
        ] {
            let error = read_json(family, &body).unwrap_err();
            assert!(error.contains(part), "{family:?} {body}: {error}");
        }
    }

    #[test]
    fn other_models_take_prompts_and_messages() {
        let prompt = read_json(Family::Other, &json!({"prompt": "abcd", "max_gen_len": 9})).unwrap();
        assert_eq!((prompt.tokens, prompt.max_tokens), (1, Some(9)));
        let prompt = read_json(Family::Other, &json!({"messages": [{"role": "user", "content": "abcd"}]})).unwrap();
        assert_eq!(prompt.tokens, 5);
    }

    #[test]
    fn short_names() {
        assert_eq!(short_name("us.anthropic.claude-sonnet-4-5-20250929-v1:0"), "claude-sonnet-4-5-20250929");
    }
}
