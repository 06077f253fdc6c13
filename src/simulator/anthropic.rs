//! Anthropic's native messages: reads requests, writes responses and their stream events.

use serde_json::{Value, json};

use super::answer::{Answer, Content, pieces};
use super::call::Usage;
use super::fault::AwsError;
use super::native::short_name;
use super::prompt::{
    Choice, Media, PER_MESSAGE, PER_TOOL, Prompt, Reader, Tool, choose, json_tokens, media_tokens, text_tokens,
};

/// Measures a request.
pub(super) fn read(body: &Value, caching: bool) -> Result<Prompt, AwsError> {
    let required = |field: &str| {
        let value = body.get(field).filter(|value| !value.is_null());
        value.ok_or_else(|| AwsError::validation(format!("{field}: Field required")))
    };
    if required("anthropic_version")?.as_str().is_none() {
        return Err(AwsError::validation("anthropic_version: Input should be a valid string"));
    }
    let max_tokens = required("max_tokens")?
        .as_u64()
        .filter(|tokens| *tokens >= 1)
        .ok_or_else(|| AwsError::validation("max_tokens: Input should be greater than or equal to 1"))?;
    let messages = required("messages")?
        .as_array()
        .ok_or_else(|| AwsError::validation("messages: Input should be a valid list"))?;
    if messages.is_empty() {
        return Err(AwsError::validation("messages: at least one message is required"));
    }
    let mut reader = Reader::new(caching);
    let tools: Vec<Tool> = body
        .get("tools")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .filter_map(|tool| {
            reader.part(tool, json_tokens(tool) + PER_TOOL);
            point(tool, &mut reader);
            Some(Tool { name: tool.get("name")?.as_str()?, schema: tool.get("input_schema") })
        })
        .collect();
    if let Some(system) = body.get("system") {
        content(system, &mut reader, "system")?;
    }
    for (at, message) in messages.iter().enumerate() {
        let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
        if !matches!(role, "user" | "assistant") {
            return Err(AwsError::validation(format!("messages.{at}.role: Input should be 'user' or 'assistant'")));
        }
        reader.part(&Value::from(role), PER_MESSAGE);
        let parts = message.get("content").unwrap_or(&Value::Null);
        content(parts, &mut reader, &format!("messages.{at}.content"))?;
    }
    let wanted = choose(&tools, choice(body), asked(messages));
    Ok(reader.finish(Some(max_tokens), wanted))
}

fn choice(body: &Value) -> Choice<'_> {
    match body.pointer("/tool_choice/type").and_then(Value::as_str) {
        Some("any") => Choice::Any,
        Some("none") => Choice::Never,
        Some("tool") => Choice::Named(body.pointer("/tool_choice/name").and_then(Value::as_str).unwrap_or_default()),
        _ => Choice::Auto,
    }
}

/// The text the user ends with; none when the last message brings a tool's result.
fn asked(messages: &[Value]) -> Option<&str> {
    match messages.last()?.get("content")? {
        Value::String(text) => Some(text),
        Value::Array(blocks) if blocks.iter().all(|block| block["type"] != "tool_result") => {
            blocks.iter().rev().find_map(|block| block.get("text")?.as_str())
        }
        _ => None,
    }
}

fn point(block: &Value, reader: &mut Reader) {
    if let Some(control) = block.get("cache_control").filter(|control| !control.is_null()) {
        reader.cache_point(control.get("ttl").and_then(Value::as_str));
    }
}

fn content(content: &Value, reader: &mut Reader, path: &str) -> Result<(), AwsError> {
    match content {
        Value::String(text) => reader.part(content, text_tokens(text)),
        Value::Array(blocks) => {
            for (at, block) in blocks.iter().enumerate() {
                reader.part(&stripped(block), block_tokens(block, &format!("{path}.{at}"))?);
                point(block, reader);
            }
        }
        _ => return Err(AwsError::validation(format!("{path}: Input should be a valid string or list"))),
    }
    Ok(())
}

/// The block without its cache mark: a prefix is the same whether or not the mark has moved on.
fn stripped(block: &Value) -> Value {
    let mut block = block.clone();
    if let Some(fields) = block.as_object_mut() {
        fields.remove("cache_control");
    }
    block
}

fn block_tokens(block: &Value, path: &str) -> Result<u64, AwsError> {
    let data = block.pointer("/source/data").and_then(Value::as_str);
    match block.get("type").and_then(Value::as_str) {
        Some("text") => block
            .get("text")
            .and_then(Value::as_str)
            .map(text_tokens)
            .ok_or_else(|| AwsError::validation(format!("{path}.text: Field required"))),
        Some("image") => Ok(media_tokens(Media::Image, data)),
        Some("document") => Ok(media_tokens(Media::Document, data)),
        Some(_) => Ok(json_tokens(block) + PER_TOOL),
        None => Err(AwsError::validation(format!("{path}.type: Field required"))),
    }
}

fn block(answer: &Answer) -> Value {
    match &answer.content {
        Content::Text(text) => json!({"type": "text", "text": text}),
        Content::Tool { id, name, input } => {
            json!({"type": "tool_use", "id": id.replace("tooluse_", "toolu_bdrk_"), "name": name, "input": input})
        }
    }
}

fn tokens(usage: &Usage, output: u64) -> Value {
    json!({
        "input_tokens": usage.input, "output_tokens": output,
        "cache_creation_input_tokens": usage.cache_write, "cache_read_input_tokens": usage.cache_read,
    })
}

/// The response.
pub(super) fn write(model_id: &str, answer: &Answer, usage: &Usage, id: &str) -> Value {
    json!({
        "id": format!("msg_bdrk_{id}"), "type": "message", "role": "assistant", "model": short_name(model_id),
        "content": [block(answer)], "stop_reason": answer.stop.name(), "stop_sequence": null,
        "usage": tokens(usage, usage.output),
    })
}

/// The stream's events before the metrics are added to the last one; the first and the last two carry no text.
pub(super) fn events(model_id: &str, answer: &Answer, usage: &Usage, id: &str, most: u64) -> Vec<Value> {
    let start = json!({"type": "message_start", "message": {
        "id": format!("msg_bdrk_{id}"), "type": "message", "role": "assistant", "model": short_name(model_id),
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": tokens(usage, 1),
    }});
    let (empty, deltas): (Value, Vec<Value>) = match &answer.content {
        Content::Text(text) => {
            let delta = |piece| json!({"type": "text_delta", "text": piece});
            (json!({"type": "text", "text": ""}), pieces(text, most).into_iter().map(delta).collect())
        }
        Content::Tool { input, .. } => {
            let mut empty = block(answer);
            empty["input"] = json!({});
            let delta = |piece| json!({"type": "input_json_delta", "partial_json": piece});
            (empty, pieces(&input.to_string(), most).into_iter().map(delta).collect())
        }
    };
    let mut events = vec![start, json!({"type": "content_block_start", "index": 0, "content_block": empty})];
    events.extend(deltas.into_iter().map(|delta| json!({"type": "content_block_delta", "index": 0, "delta": delta})));
    events.push(json!({"type": "content_block_stop", "index": 0}));
    events.push(json!({
        "type": "message_delta", "delta": {"stop_reason": answer.stop.name(), "stop_sequence": null},
        "usage": {"output_tokens": usage.output},
    }));
    events.push(json!({"type": "message_stop"}));
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::answer::Stop;
    use crate::simulator::prompt::Wanted;

    #[test]
    fn a_request_adds_up_and_its_cache_mark_does_not_change_the_prefix() {
        let body = |marked: bool| {
            let mut system = json!({"type": "text", "text": "abcdefgh"});
            if marked {
                system["cache_control"] = json!({"type": "ephemeral"});
            }
            json!({
                "anthropic_version": "bedrock-2023-05-31", "max_tokens": 9,
                "system": [system], "messages": [{"role": "user", "content": [{"type": "text", "text": "abcd", "cache_control": {"type": "ephemeral"}}]}]
            })
        };
        let (one, two) = (read(&body(true), true).unwrap(), read(&body(false), true).unwrap());
        assert_eq!((one.tokens, one.max_tokens, &one.wanted), (2 + 4 + 1, Some(9), &Wanted::Text));
        assert_eq!(one.points.last(), two.points.last());
        assert_eq!((one.points.len(), two.points.len()), (2, 1));
    }

    #[test]
    fn stream_events_put_together_are_the_answer() {
        let input = json!({"city": "example", "list": [1, 2, 3]});
        let answer = Answer {
            content: Content::Tool { id: "tooluse_x".into(), name: "t".into(), input: input.clone() },
            tokens: 30,
            stop: Stop::ToolUse,
        };
        let events = events("us.anthropic.claude-x-v1:0", &answer, &Usage { output: 30, ..Usage::default() }, "id", 10);
        let text: String = events.iter().filter_map(|event| event.pointer("/delta/partial_json")?.as_str()).collect();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), input);
        assert_eq!(events[1]["content_block"]["id"], "toolu_bdrk_x");
        assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], "tool_use");
    }
}
