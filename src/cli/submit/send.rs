//! Sends messages in batches; each that fails is repeated on its own.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::pipeline::record::queue_safe;
use crate::ports::{Outgoing, Payloads, PortError, PortResult, PutKind, Queue};
use crate::request::{RequestId, TRACEPARENT, TraceContext};

use super::check::Message;

/// What SQS takes, and so the local queue.
const QUEUE_BYTES: usize = 1 << 20;
/// A batch is this many messages or bytes.
const BATCH: usize = 200;
const BATCH_BYTES: usize = 4 << 20;
/// How often a message is tried.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(250);
/// How a pointer calls itself, and the attribute that comes with it.
const POINTER: &str = "software.amazon.payloadoffloading.PayloadS3Pointer";
const POINTER_SIZE: &str = "ExtendedPayloadSize";

/// A message on its way, with the line it came from.
pub struct Item {
    pub line: u64,
    pub message: Message,
    outgoing: Outgoing,
}

/// A message that could not be sent.
pub struct Unsent {
    pub line: u64,
    pub error: PortError,
}

/// Collects messages and sends them.
pub struct Sender<'a> {
    queue: &'a dyn Queue,
    payloads: &'a dyn Payloads,
    trace: Option<TraceContext>,
    batch: Vec<Item>,
    bytes: usize,
}

impl<'a> Sender<'a> {
    /// Every message carries the trace context, if there is one.
    pub fn new(queue: &'a dyn Queue, payloads: &'a dyn Payloads, trace: Option<TraceContext>) -> Self {
        Self { queue, payloads, trace, batch: Vec::new(), bytes: 0 }
    }

    /// Takes a message. What is too long for the queue is uploaded at once, and a pointer to it takes its place.
    pub async fn take(&mut self, line: u64, message: Message, text: &str) -> Result<(), Unsent> {
        let body = queue_safe(text.to_owned());
        let mut outgoing = if body.len() > self.room() {
            self.upload(&message, body).await.map_err(|error| Unsent { line, error })?
        } else {
            Outgoing { body, ..Outgoing::default() }
        };
        if let Some(trace) = self.trace {
            outgoing.attributes.insert(TRACEPARENT.to_owned(), trace.to_string());
        }
        self.bytes += outgoing.body.len();
        self.batch.push(Item { line, message, outgoing });
        Ok(())
    }

    /// How long a body may be beside its attributes, which the queue counts with their names and types.
    fn room(&self) -> usize {
        let trace = self.trace.map_or(0, |trace| TRACEPARENT.len() + "String".len() + trace.to_string().len());
        QUEUE_BYTES - trace
    }

    /// Whether it is time to send.
    pub fn is_full(&self) -> bool {
        self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES
    }

    /// Sends what was taken: what went, and what did not after several tries.
    pub async fn flush(&mut self) -> (Vec<Item>, Vec<Unsent>) {
        self.bytes = 0;
        let (mut sent, mut unsent) = (Vec::new(), Vec::new());
        let mut left = std::mem::take(&mut self.batch);
        for attempt in 1..=TRIES {
            let outgoing = left.iter().map(|item| item.outgoing.clone()).collect();
            let mut again = Vec::new();
            for (item, result) in std::mem::take(&mut left).into_iter().zip(self.queue.send(outgoing).await) {
                match result {
                    Ok(()) => sent.push(item),
                    Err(error) if error.retryable && attempt < TRIES => again.push(item),
                    Err(error) => unsent.push(Unsent { line: item.line, error }),
                }
            }
            if again.is_empty() {
                break;
            }
            left = again;
            tokio::time::sleep(PAUSE * 2_u32.pow(attempt - 1)).await;
        }
        unsent.sort_by_key(|unsent| unsent.line);
        (sent, unsent)
    }

    async fn upload(&self, message: &Message, body: String) -> PortResult<Outgoing> {
        let nameless = || RequestId::from_message_id(&format!("upload-{:032x}", fastrand::u128(..)));
        let id = message.id.clone().unwrap_or_else(nameless);
        let length = body.len().to_string();
        let bytes = Bytes::from(body);
        let mut attempt = 1;
        let payload = loop {
            match self.payloads.put(PutKind::Upload, &id, &message.content_hash, bytes.clone()).await {
                Err(error) if error.retryable && attempt < TRIES => {
                    tokio::time::sleep(PAUSE * 2_u32.pow(attempt - 1)).await;
                    attempt += 1;
                }
                put => break put?,
            }
        };
        let (bucket, key) = self.payloads.location(&payload);
        let pointer = json!([POINTER, { "s3BucketName": bucket, "s3Key": key }]);
        Ok(Outgoing { body: pointer.to_string(), attributes: BTreeMap::from([(POINTER_SIZE.to_owned(), length)]) })
    }
}
