//! The body: exactly one, an object, and for Converse not wrong in a way that can be told before the call.

use serde_json::value::RawValue;

use super::canonical::ContentHash;
use super::fault::shown;
use super::fields::wrong_type;
use super::{Fields, Invalid, json, why};
use crate::request::Operation;

/// What Bedrock's 32-bit `maxTokens` can hold.
const MAX_TOKENS: i64 = i32::MAX as i64;

/// The one body of a message.
pub(super) fn choose<'a>(fields: &Fields<'a>, invalid: &mut Invalid) -> Option<(Operation, &'a RawValue)> {
    let (field, operation) = match (fields.contains_key("converse"), fields.contains_key("invoke")) {
        (true, true) => {
            invalid.fault("invoke", "given together with converse; a message has exactly one of the two");
            return None;
        }
        (false, false) => {
            invalid.fault("converse", "missing; a message has a converse body or an invoke body");
            return None;
        }
        (true, false) => ("converse", Operation::Converse),
        (false, true) => ("invoke", Operation::Invoke),
    };
    let body = *fields.get(field)?;
    if json::is_object(body) {
        return Some((operation, body));
    }
    let reason = if body.get().starts_with('"') {
        // The text itself is the producer's payload and not for errors.
        "found a string; expected an object: put the body in as JSON, not as text".to_owned()
    } else {
        wrong_type(body, "an object")
    };
    invalid.fault(field, reason);
    None
}

/// Judges the body and adds it to the hash.
pub(super) fn check(
    message: &str,
    operation: Operation,
    body: &RawValue,
    hash: &mut ContentHash,
    invalid: &mut Invalid,
) {
    let field = match operation {
        Operation::Converse => "converse",
        Operation::Invoke => "invoke",
    };
    if let Err(e) = hash.json(field, body) {
        let reason = if e.to_string().starts_with("recursion limit") {
            "nested more than 127 levels deep".to_owned()
        } else {
            let (line, column) = place(message, body, &e);
            format!("not JSON: {}", why(&e, line, column))
        };
        invalid.fault(field, reason);
        return;
    }
    if operation == Operation::Converse {
        converse(body, invalid);
    }
}

fn converse(body: &RawValue, invalid: &mut Invalid) {
    let (mut messages, mut inference, mut model) = (Vec::new(), Vec::new(), false);
    let read = json::members(body, |key, value| match key.as_ref() {
        "messages" => messages.push(value),
        "inferenceConfig" => inference.push(value),
        "modelId" => model = true,
        _ => {}
    });
    if read.is_err() {
        invalid.fault("converse", "a key is no readable string");
    }
    for (field, count) in [("converse.messages", messages.len()), ("converse.inferenceConfig", inference.len())] {
        if count > 1 {
            invalid.fault(field, "given twice; a body has each field once");
        }
    }
    match messages.first() {
        None => invalid.fault("converse.messages", "missing; expected an array of at least one message"),
        Some(value) if !json::is_array(value) => {
            invalid.fault("converse.messages", format!("found {}; expected an array of messages", json::kind(value)));
        }
        Some(value) => {
            let mut count = 0_usize;
            if json::items(value, |_| count += 1).is_ok() && count == 0 {
                invalid.fault("converse.messages", "found an empty array; expected at least one message");
            }
        }
    }
    if model {
        invalid.fault("converse.modelId", "the model belongs in the message's model_id, not in the body");
    }
    if let Some(value) = inference.first() {
        inference_config(value, invalid);
    }
}

fn inference_config(config: &RawValue, invalid: &mut Invalid) {
    if !json::is_object(config) {
        invalid.fault("converse.inferenceConfig", wrong_type(config, "an object"));
    } else if let Some(limit) = json::member(config, "maxTokens")
        && !json::whole(limit).is_some_and(|n| (1..=MAX_TOKENS).contains(&n))
    {
        invalid.fault(
            "converse.inferenceConfig.maxTokens",
            format!("found {}; expected a whole number from 1 to {MAX_TOKENS}", shown(limit)),
        );
    }
}

/// Line and column in the message of an error in its body.
fn place(message: &str, body: &RawValue, error: &serde_json::Error) -> (usize, usize) {
    let start = (body.get().as_ptr() as usize).saturating_sub(message.as_ptr() as usize);
    let before = message.as_bytes().get(..start).unwrap_or_default();
    let lines = before.split(|b| *b == b'\n').count();
    let column = before.iter().rev().take_while(|b| **b != b'\n').count();
    if error.line() <= 1 { (lines, column + error.column()) } else { (lines - 1 + error.line(), error.column()) }
}
