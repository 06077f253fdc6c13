//! bedrock-runtime: takes a request apart, runs the call and writes the response.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use super::call::{Call, Request};
use super::dialect::{self, mentions, parse};
use super::fault::{AwsError, FaultKind, json_response};
use super::state::{Model, State};
use super::stream::{Outcome, play, stall};
use super::{converse, invoke, native};

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Converse,
    ConverseStream,
    Invoke,
    InvokeStream,
    CountTokens,
}

impl Operation {
    /// Takes `{modelId}/{operation}` apart, percent-decoded: an id may have slashes of its own.
    pub(super) fn of(path: &str) -> Option<(&str, Self)> {
        let (model, operation) = path.rsplit_once('/')?;
        let operation = match operation {
            "converse" => Self::Converse,
            "converse-stream" => Self::ConverseStream,
            "invoke" => Self::Invoke,
            "invoke-with-response-stream" => Self::InvokeStream,
            "count-tokens" => Self::CountTokens,
            _ => return None,
        };
        Some((model, operation))
    }
}

/// Serves one request.
pub(super) async fn serve(
    state: &Arc<State>,
    model_id: &str,
    operation: Operation,
    body: &[u8],
) -> Result<Outcome, AwsError> {
    let model = state.resolve(model_id)?;
    let read = parse(body).and_then(|request| {
        let prompt = match operation {
            Operation::CountTokens => return count_tokens(&model, &request).map(|tokens| (request, Err(tokens))),
            Operation::Converse | Operation::ConverseStream => read_converse(&model, &request, body)?,
            Operation::InvokeStream if model.family.embeds() => {
                return Err(AwsError::validation("The model is unsupported for streaming."));
            }
            Operation::Invoke | Operation::InvokeStream => native::read(model.family, &request, body)?,
        };
        Ok((request, Ok(prompt)))
    });
    let (request, prompt) = match read {
        Ok((request, Ok(prompt))) => (request, prompt),
        Ok((_, Err(tokens))) => {
            model.books().tally.counted_tokens();
            return Ok(Outcome::Answer(json_response(StatusCode::OK, &json!({"inputTokens": tokens}))));
        }
        Err(error) => {
            model.books().tally.rejected();
            return Err(error);
        }
    };
    let key = request.pointer("/requestMetadata/request_id").and_then(Value::as_str);
    let call = Call::begin(state, Request { model, body, key, prompt })?;
    answer(state, call, operation, &request).await
}

async fn answer(state: &State, call: Call, operation: Operation, request: &Value) -> Result<Outcome, AwsError> {
    let streams = matches!(operation, Operation::ConverseStream | Operation::InvokeStream);
    if let Some(fate) = call.fate
        && !(streams && fate.in_stream)
    {
        if state.sleep(call.latency.mul_f64(fate.at)).await.is_err() {
            return Ok(Outcome::HangUp);
        }
        return match fate.kind {
            FaultKind::Stall => Ok(stall(call)),
            kind => call.fail(kind).map_or(Ok(Outcome::HangUp), Err),
        };
    }
    match operation {
        Operation::ConverseStream => {
            let frames = converse::frames(&call, request);
            return Ok(play(call, frames));
        }
        Operation::InvokeStream => {
            let frames = invoke::frames(&call);
            let outcome = play(call, frames);
            return Ok(with_header(outcome, "x-amzn-bedrock-content-type", "application/json"));
        }
        Operation::Converse | Operation::Invoke | Operation::CountTokens => {}
    }
    if state.sleep(call.latency).await.is_err() {
        return Ok(Outcome::HangUp);
    }
    let response = match operation {
        Operation::Converse => json_response(StatusCode::OK, &converse::response(&call, request)),
        _ => invoke::response(&call, request),
    };
    call.finish();
    Ok(Outcome::Answer(response))
}

fn with_header(outcome: Outcome, name: &'static str, value: &'static str) -> Outcome {
    match outcome {
        Outcome::Answer(mut response) => {
            Response::<Body>::headers_mut(&mut response).insert(name, HeaderValue::from_static(value));
            Outcome::Answer(response)
        }
        Outcome::HangUp => Outcome::HangUp,
    }
}

fn read_converse(model: &Model, request: &Value, body: &[u8]) -> Result<super::prompt::Prompt, AwsError> {
    if model.family.embeds() {
        return Err(AwsError::validation(
            "This action doesn't support the model that you provided. Try again with a supported text or chat model.",
        ));
    }
    dialect::converse(request, &["maxTokens"], mentions(body, "cachePoint"))
}

fn count_tokens(model: &Model, request: &Value) -> Result<u64, AwsError> {
    if model.family.embeds() {
        return Err(AwsError::validation("The provided model doesn't support counting tokens."));
    }
    let input = request.get("input").unwrap_or(&Value::Null);
    if let Some(conversation) = input.get("converse") {
        return dialect::converse(conversation, &["maxTokens"], false).map(|prompt| prompt.tokens);
    }
    let body = input.pointer("/invokeModel/body").and_then(Value::as_str).ok_or_else(|| {
        AwsError::validation("1 validation error detected: Value at 'input' failed to satisfy constraint: Member must have exactly one of converse, invokeModel")
    })?;
    let body = aws_smithy_types::base64::decode(body)
        .map_err(|error| AwsError::validation(format!("input.invokeModel.body is not base64: {error}")))?;
    native::read(model.family, &parse(&body)?, &body).map(|prompt| prompt.tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        assert_eq!(Operation::of("a/b/converse"), Some(("a/b", Operation::Converse)));
        assert_eq!(Operation::of("m/invoke-with-response-stream"), Some(("m", Operation::InvokeStream)));
        assert_eq!(Operation::of("m/explode"), None);
        assert_eq!(Operation::of("converse"), None);
    }
}
