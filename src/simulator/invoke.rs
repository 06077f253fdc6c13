//! InvokeModel, its streaming form, and the token counts in its headers.

use aws_smithy_types::base64;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response};
use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::{Content, pieces};
use super::call::Call;
use super::converse::latency_ms;
use super::family::Family;
use super::fault::json_response;
use super::frames::event;
use super::native::{other_stop, text, write};
use super::stream::MOST_PIECES;

/// The response of InvokeModel.
pub(super) fn response(call: &Call, request: &Value) -> Response<Body> {
    let body = write(call.model.family, &call.model.id, request, &call.answer, &call.usage, &call.id);
    let mut response = json_response(axum::http::StatusCode::OK, &body);
    count_headers(response.headers_mut(), call);
    response
}

fn count_headers(headers: &mut HeaderMap, call: &Call) {
    let usage = &call.usage;
    headers.insert("x-amzn-bedrock-input-token-count", HeaderValue::from(usage.input));
    headers.insert("x-amzn-bedrock-output-token-count", HeaderValue::from(usage.output));
    headers.insert("x-amzn-bedrock-invocation-latency", HeaderValue::from(latency_ms(call)));
    if usage.cache_read + usage.cache_write > 0 {
        headers.insert("x-amzn-bedrock-cache-read-input-token-count", HeaderValue::from(usage.cache_read));
        headers.insert("x-amzn-bedrock-cache-write-input-token-count", HeaderValue::from(usage.cache_write));
    }
}

/// The frames of InvokeModelWithResponseStream: native events in chunks, the last one with the invocation's metrics.
pub(super) fn frames(call: &Call) -> Vec<Bytes> {
    let mut events = match call.model.family {
        Family::Anthropic => super::anthropic::events(&call.model.id, &call.answer, &call.usage, &call.id, MOST_PIECES),
        Family::Nova => nova_events(call),
        Family::Other | Family::TitanEmbed | Family::CohereEmbed => other_events(call),
    };
    if let Some(last) = events.last_mut() {
        let usage = &call.usage;
        last["amazon-bedrock-invocationMetrics"] = json!({
            "inputTokenCount": usage.input, "outputTokenCount": usage.output, "invocationLatency": latency_ms(call),
            "firstByteLatency": u64::try_from(call.first_token.as_millis()).unwrap_or(u64::MAX),
            "cacheReadInputTokenCount": usage.cache_read, "cacheWriteInputTokenCount": usage.cache_write,
        });
    }
    events.iter().map(|native| event("chunk", &json!({"bytes": base64::encode(native.to_string())}))).collect()
}

fn nova_events(call: &Call) -> Vec<Value> {
    let mut events = vec![json!({"messageStart": {"role": "assistant"}})];
    let deltas: Vec<Value> = match &call.answer.content {
        Content::Text(text) => pieces(text, MOST_PIECES).into_iter().map(|piece| json!({"text": piece})).collect(),
        Content::Tool { id, name, input } => {
            events.push(json!({"contentBlockStart": {"start": {"toolUse": {"toolUseId": id, "name": name}}, "contentBlockIndex": 0}}));
            pieces(&input.to_string(), MOST_PIECES)
                .into_iter()
                .map(|piece| json!({"toolUse": {"input": piece}}))
                .collect()
        }
    };
    events
        .extend(deltas.into_iter().map(|delta| json!({"contentBlockDelta": {"delta": delta, "contentBlockIndex": 0}})));
    events.push(json!({"contentBlockStop": {"contentBlockIndex": 0}}));
    events.push(json!({"messageStop": {"stopReason": call.answer.stop.name()}}));
    let usage = &call.usage;
    events.push(json!({"metadata": {
        "usage": {"inputTokens": usage.input, "outputTokens": usage.output,
            "cacheReadInputTokenCount": usage.cache_read, "cacheWriteInputTokenCount": usage.cache_write},
        "metrics": {}, "trace": {},
    }}));
    events
}

fn other_events(call: &Call) -> Vec<Value> {
    let stop = other_stop(call.answer.stop);
    let event = |piece| json!({"completion": piece, "stop_reason": null});
    let mut events: Vec<Value> = pieces(&text(&call.answer), MOST_PIECES).into_iter().map(event).collect();
    events.push(json!({"completion": "", "stop_reason": stop}));
    events
}
