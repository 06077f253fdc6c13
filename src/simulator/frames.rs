//! Event-stream framing, `application/vnd.amazon.eventstream`.

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::{Bytes, BytesMut};
use serde_json::Value;

/// An event with a JSON payload.
pub(super) fn event(kind: &'static str, payload: &Value) -> Bytes {
    frame("event", ":event-type", kind.to_owned(), payload)
}

/// An exception amid the stream: the name of the shape with a small first letter.
pub(super) fn exception(shape: &str, payload: &Value) -> Bytes {
    let mut letters = shape.chars();
    let name = letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect();
    frame("exception", ":exception-type", name, payload)
}

fn frame(message_type: &'static str, kind_header: &'static str, kind: String, payload: &Value) -> Bytes {
    let text = |value: String| HeaderValue::String(value.into());
    let message = Message::new(payload.to_string())
        .add_header(Header::new(kind_header, text(kind)))
        .add_header(Header::new(":content-type", text("application/json".into())))
        .add_header(Header::new(":message-type", text(message_type.into())));
    let mut buffer = BytesMut::new();
    match write_message_to(&message, &mut buffer) {
        Ok(()) => buffer.freeze(),
        // Only a payload of more than 16 MB could fail, and answers are cut into pieces.
        Err(error) => {
            tracing::warn!(%error, "event left out of a simulated stream");
            Bytes::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_eventstream::frame::read_message_from;
    use serde_json::json;

    #[test]
    fn frames_can_be_read_back() {
        let message = read_message_from(event("messageStop", &json!({"stopReason": "end_turn"}))).unwrap();
        let headers: Vec<_> =
            message.headers().iter().map(|h| (h.name().as_str(), h.value().as_string().unwrap().as_str())).collect();
        assert_eq!(
            headers,
            [(":event-type", "messageStop"), (":content-type", "application/json"), (":message-type", "event")]
        );
        assert_eq!(&message.payload()[..], br#"{"stopReason":"end_turn"}"#);
        let message = read_message_from(exception("ModelStreamErrorException", &json!({}))).unwrap();
        assert_eq!(message.headers()[0].value().as_string().unwrap().as_str(), "modelStreamErrorException");
    }
}
