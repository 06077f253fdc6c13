//! Converse and `ConverseStream`.

use serde_json::{Value, json};

use super::answer::{Answer, Content, pieces};
use super::call::Call;
use super::frames::event;
use super::stream::MOST_PIECES;

/// A Converse content block.
pub(super) fn block(answer: &Answer) -> Value {
    match &answer.content {
        Content::Text(text) => json!({"text": text}),
        Content::Tool { id, name, input } => json!({"toolUse": {"toolUseId": id, "name": name, "input": input}}),
    }
}

/// The response of Converse.
pub(super) fn response(call: &Call, request: &Value) -> Value {
    let mut response = json!({
        "output": {"message": {"role": "assistant", "content": [block(&call.answer)]}},
        "stopReason": call.answer.stop.name(),
    });
    add(&mut response, metrics(call, request));
    response
}

fn add(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

/// Usage and latency, and what the request chose and Bedrock repeats.
fn metrics(call: &Call, request: &Value) -> Value {
    let usage = &call.usage;
    let mut metrics = json!({
        "usage": {
            "inputTokens": usage.input, "outputTokens": usage.output, "totalTokens": usage.total(),
            "cacheReadInputTokens": usage.cache_read, "cacheWriteInputTokens": usage.cache_write,
        },
        "metrics": {"latencyMs": latency_ms(call)},
    });
    for field in ["serviceTier", "performanceConfig"] {
        if let Some(chosen) = request.get(field).filter(|chosen| chosen.is_object()) {
            metrics[field] = chosen.clone();
        }
    }
    metrics
}

/// Milliseconds the call takes, as simulated.
pub(super) fn latency_ms(call: &Call) -> u64 {
    u64::try_from(call.latency.as_millis()).unwrap_or(u64::MAX)
}

/// Bedrock pads events to hide the lengths of tokens.
const PADDING: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

fn padded(kind: &'static str, at: usize, mut payload: Value) -> bytes::Bytes {
    payload["p"] = json!(PADDING.get(..=(at * 7 + 3) % PADDING.len()));
    event(kind, &payload)
}

/// The frames of `ConverseStream`.
pub(super) fn frames(call: &Call, request: &Value) -> Vec<bytes::Bytes> {
    let mut frames = vec![padded("messageStart", 0, json!({"role": "assistant"}))];
    let deltas: Vec<Value> = match &call.answer.content {
        Content::Text(text) => pieces(text, MOST_PIECES).into_iter().map(|piece| json!({"text": piece})).collect(),
        Content::Tool { id, name, input } => {
            let start = json!({"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": id, "name": name}}});
            frames.push(padded("contentBlockStart", 1, start));
            let delta = |piece| json!({"toolUse": {"input": piece}});
            pieces(&input.to_string(), MOST_PIECES).into_iter().map(delta).collect()
        }
    };
    for (at, delta) in deltas.into_iter().enumerate() {
        frames.push(padded("contentBlockDelta", at, json!({"contentBlockIndex": 0, "delta": delta})));
    }
    frames.push(padded("contentBlockStop", 2, json!({"contentBlockIndex": 0})));
    frames.push(padded("messageStop", 3, json!({"stopReason": call.answer.stop.name()})));
    frames.push(padded("metadata", 4, metrics(call, request)));
    frames
}
