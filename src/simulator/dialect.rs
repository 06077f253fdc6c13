//! Reads Converse bodies (which Nova's native bodies share) and refuses what Bedrock refuses, in its words.

use serde_json::Value;

use super::example::example;
use super::fault::AwsError;
use super::prompt::{
    Choice, Media, PER_MESSAGE, PER_TOOL, Prompt, Reader, Tool, Wanted, choose, json_tokens, media_tokens, text_tokens,
};

/// Parses a body.
pub(super) fn parse(body: &[u8]) -> Result<Value, AwsError> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| AwsError::validation(format!("The request body is not valid JSON: {error}")))?;
    if value.is_object() { Ok(value) } else { Err(AwsError::validation("The request body must be a JSON object.")) }
}

/// Whether a body can have cache points at all: a search of the text is cheaper than hashing every prefix.
pub(super) fn mentions(body: &[u8], needle: &str) -> bool {
    std::str::from_utf8(body).is_ok_and(|text| text.contains(needle))
}

/// Reads a Converse body; `max_tokens` is where the dialect keeps it in `inferenceConfig`.
pub(super) fn converse(body: &Value, max_tokens: &[&str], caching: bool) -> Result<Prompt, AwsError> {
    let mut reader = Reader::new(caching);
    let tools = tools(body, &mut reader)?;
    for (at, block) in list(body, "system")?.iter().enumerate() {
        read_block(block, &mut reader, &format!("system.{at}"))?;
    }
    let messages = body
        .get("messages")
        .and_then(Value::as_array)
        .ok_or_else(|| AwsError::validation("1 validation error detected: Value at 'messages' failed to satisfy constraint: Member must be a list of messages"))?;
    if messages.is_empty() {
        return Err(AwsError::validation("The messages field is empty. Add a message and try again."));
    }
    let mut before = "assistant";
    for (at, message) in messages.iter().enumerate() {
        before = read_message(message, at, before, &mut reader)?;
    }
    let max_tokens = inference(body, max_tokens)?;
    let wanted = wanted(body, &tools, messages.last());
    Ok(reader.finish(max_tokens, wanted))
}

fn list<'a>(body: &'a Value, field: &str) -> Result<&'a [Value], AwsError> {
    match body.get(field) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(values)) => Ok(values),
        Some(_) => Err(AwsError::validation(format!(
            "1 validation error detected: Value at '{field}' failed to satisfy constraint: Member must be a list"
        ))),
    }
}

fn read_message<'a>(message: &'a Value, at: usize, before: &str, reader: &mut Reader) -> Result<&'a str, AwsError> {
    let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
    if !matches!(role, "user" | "assistant" | "system") {
        return Err(AwsError::validation(format!(
            "1 validation error detected: Value at 'messages.{}.member.role' failed to satisfy constraint: Member must satisfy enum value set: [user, assistant, system]",
            at + 1
        )));
    }
    if at == 0 && role == "assistant" {
        return Err(AwsError::validation(
            "A conversation must start with a user message. Try again with a conversation that starts with a user message.",
        ));
    }
    if role == before {
        return Err(AwsError::validation(
            "A conversation must alternate between user and assistant roles. Make sure the conversation alternates between user and assistant roles and try again.",
        ));
    }
    let content = message.get("content").and_then(Value::as_array).filter(|content| !content.is_empty());
    let content = content.ok_or_else(|| AwsError::validation(format!("The content field in the Message object at messages.{at} is empty. Add a ContentBlock object to the content field and try again.")))?;
    reader.part(&Value::from(role), PER_MESSAGE);
    for (block_at, block) in content.iter().enumerate() {
        read_block(block, reader, &format!("messages.{at}.content.{block_at}"))?;
    }
    Ok(role)
}

fn read_block(block: &Value, reader: &mut Reader, path: &str) -> Result<(), AwsError> {
    if let Some(point) = block.get("cachePoint") {
        reader.cache_point(point.get("ttl").and_then(Value::as_str));
        return Ok(());
    }
    let tokens = block_tokens(block, path)?;
    reader.part(block, tokens);
    Ok(())
}

fn block_tokens(block: &Value, path: &str) -> Result<u64, AwsError> {
    let unknown = || {
        AwsError::validation(format!(
            "The ContentBlock object at {path} must set one of the following keys: text, image, toolUse, toolResult, document, video, cachePoint, reasoningContent, guardContent, citationsContent, searchResult."
        ))
    };
    let (kind, value) = block
        .as_object()
        .filter(|object| object.len() == 1)
        .and_then(|object| object.iter().next())
        .ok_or_else(unknown)?;
    let bytes = value.pointer("/source/bytes").and_then(Value::as_str);
    match kind.as_str() {
        "text" => {
            let text = value.as_str().ok_or_else(unknown)?;
            if text.trim().is_empty() {
                return Err(AwsError::validation(format!(
                    "The text field in the ContentBlock object at {path} is blank. Add text to the text field, and try again."
                )));
            }
            Ok(text_tokens(text))
        }
        "image" => Ok(media_tokens(Media::Image, bytes)),
        "video" | "audio" => Ok(media_tokens(Media::Video, bytes)),
        "document" => Ok(value
            .pointer("/source/text")
            .and_then(Value::as_str)
            .map_or_else(|| media_tokens(Media::Document, bytes), text_tokens)),
        "toolResult" => {
            let inner = value.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let tokens = |(at, block): (usize, &Value)| match block.get("json") {
                Some(json) => Ok(json_tokens(json)),
                None => block_tokens(block, &format!("{path}.toolResult.content.{at}")),
            };
            inner.iter().enumerate().map(tokens).sum::<Result<u64, _>>().map(|tokens| tokens + PER_TOOL)
        }
        "toolUse" => Ok(json_tokens(value) + PER_TOOL),
        "reasoningContent" | "guardContent" | "citationsContent" | "searchResult" | "toolAddition" | "toolRemoval" => {
            Ok(json_tokens(value))
        }
        _ => Err(unknown()),
    }
}

fn tools<'a>(body: &'a Value, reader: &mut Reader) -> Result<Vec<Tool<'a>>, AwsError> {
    let Some(config) = body.get("toolConfig").filter(|config| !config.is_null()) else { return Ok(Vec::new()) };
    let offered = list(config, "tools")?;
    if offered.is_empty() {
        return Err(AwsError::validation(
            "1 validation error detected: Value at 'toolConfig.tools' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ));
    }
    let mut tools = Vec::new();
    for (at, tool) in offered.iter().enumerate() {
        if let Some(point) = tool.get("cachePoint") {
            reader.cache_point(point.get("ttl").and_then(Value::as_str));
            continue;
        }
        reader.part(tool, json_tokens(tool) + PER_TOOL);
        if let Some(spec) = tool.get("toolSpec") {
            let name = spec.get("name").and_then(Value::as_str).ok_or_else(|| AwsError::validation(format!("1 validation error detected: Value at 'toolConfig.tools.{}.member.toolSpec.name' failed to satisfy constraint: Member must not be null", at + 1)))?;
            tools.push(Tool { name, schema: spec.pointer("/inputSchema/json") });
        }
    }
    Ok(tools)
}

fn inference(body: &Value, max_tokens: &[&str]) -> Result<Option<u64>, AwsError> {
    let Some(config) = body.get("inferenceConfig").filter(|config| !config.is_null()) else { return Ok(None) };
    for (field, high) in [("temperature", 2.0), ("topP", 1.0)] {
        if let Some(value) = config.get(field)
            && !value.as_f64().is_some_and(|value| (0.0..=high).contains(&value))
        {
            return Err(AwsError::validation(format!(
                "1 validation error detected: Value at 'inferenceConfig.{field}' failed to satisfy constraint: Member must be between 0 and {high}"
            )));
        }
    }
    let given = max_tokens.iter().find_map(|field| Some((field, config.get(*field).filter(|value| !value.is_null())?)));
    given.map_or(Ok(None), |(field, value)| {
        value.as_u64().filter(|value| *value >= 1).map(Some).ok_or_else(|| {
            AwsError::validation(format!("1 validation error detected: Value '{value}' at 'inferenceConfig.{field}' failed to satisfy constraint: Member must have value greater than or equal to 1"))
        })
    })
}

fn wanted(body: &Value, tools: &[Tool], last: Option<&Value>) -> Wanted {
    let choice = body.pointer("/toolConfig/toolChoice");
    let choice = match choice {
        Some(choice) if choice.get("any").is_some() => Choice::Any,
        Some(choice) => choice.pointer("/tool/name").and_then(Value::as_str).map_or(Choice::Auto, Choice::Named),
        None => Choice::Auto,
    };
    let blocks =
        last.and_then(|last| last.get("content")).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let answered = blocks.iter().any(|block| block.get("toolResult").is_some());
    let asked = blocks.iter().rev().find_map(|block| block.get("text").and_then(Value::as_str));
    match choose(tools, choice, asked.filter(|_| !answered)) {
        Wanted::Text => body
            .pointer("/outputConfig/textFormat/structure/jsonSchema/schema")
            .and_then(Value::as_str)
            .and_then(|schema| serde_json::from_str(schema).ok())
            .map_or(Wanted::Text, |schema: Value| Wanted::Json(example(&schema))),
        tool => tool,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: &Value) -> Result<Prompt, String> {
        converse(body, &["maxTokens"], true).map_err(|error| error.message)
    }

    #[test]
    fn a_prompt_adds_up() {
        let body = json!({
            "system": [{"text": "abcdefgh"}, {"cachePoint": {"type": "default"}}],
            "messages": [
                {"role": "user", "content": [{"text": "abcd"}, {"image": {"format": "png", "source": {"bytes": "AAAA"}}}]},
                {"role": "assistant", "content": [{"text": "abcde"}]},
                {"role": "user", "content": [{"document": {"format": "txt", "name": "d", "source": {"text": "abcdefgh"}}}, {"text": "x"}]}
            ],
            "inferenceConfig": {"maxTokens": 77}
        });
        let prompt = read(&body).unwrap();
        assert_eq!(prompt.tokens, 2 + (4 + 1 + 85) + (4 + 2) + (4 + 2 + 1));
        assert_eq!(prompt.max_tokens, Some(77));
        assert_eq!(prompt.points.iter().map(|point| point.tokens).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn faults_are_named() {
        let user = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
        let two = json!({"role": "user", "content": [{"text": "x"}]});
        for (body, part) in [
            (json!({}), "'messages'"),
            (json!({"messages": []}), "messages field is empty"),
            (user(json!([])), "messages.0 is empty"),
            (user(json!([{"text": " "}])), "messages.0.content.0 is blank"),
            (user(json!([{"txt": "x"}])), "messages.0.content.0 must set one"),
            (json!({"messages": [{"role": "assistant", "content": [{"text": "x"}]}]}), "start with a user message"),
            (json!({"messages": [two, two]}), "must alternate"),
            (json!({"messages": [{"role": "boss", "content": []}]}), "enum value set"),
            (json!({"messages": [two], "inferenceConfig": {"maxTokens": 0}}), "'inferenceConfig.maxTokens'"),
            (json!({"messages": [two], "inferenceConfig": {"topP": 7}}), "'inferenceConfig.topP'"),
            (json!({"messages": [two], "toolConfig": {"tools": []}}), "'toolConfig.tools'"),
            (json!({"messages": [two], "system": "x"}), "'system'"),
        ] {
            let error = read(&body).unwrap_err();
            assert!(error.contains(part), "{body}: {error}");
        }
        assert!(parse(b"{").unwrap_err().message.contains("not valid JSON"));
        assert!(parse(b"[]").is_err());
    }

    #[test]
    fn tools_and_schemas_decide_what_is_wanted() {
        let tool = json!({"toolSpec": {"name": "look_up", "inputSchema": {"json": {"type": "object", "properties": {"id": {"type": "integer"}}}}}});
        let ask = |text: &str, choice: Value| json!({"messages": [{"role": "user", "content": [{"text": text}]}], "toolConfig": {"tools": [tool], "toolChoice": choice}});
        let called = Wanted::Tool { name: "look_up".into(), input: json!({"id": 1}) };
        assert_eq!(read(&ask("hi", json!({"any": {}}))).unwrap().wanted, called);
        assert_eq!(read(&ask("hi", json!({"tool": {"name": "look_up"}}))).unwrap().wanted, called);
        assert_eq!(read(&ask("please use the tool", json!({"auto": {}}))).unwrap().wanted, called);
        assert_eq!(read(&ask("hi", json!({"auto": {}}))).unwrap().wanted, Wanted::Text);
        let schema = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}}).to_string();
        let body = json!({"messages": [{"role": "user", "content": [{"text": "x"}]}], "outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema}}}}});
        assert_eq!(read(&body).unwrap().wanted, Wanted::Json(json!({"ok": true})));
    }
}
