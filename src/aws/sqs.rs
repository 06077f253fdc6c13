//! SQS: [`Queue`] with batches of ten, a long poll, and every entry's own outcome.
//!
//! A call that failed as a whole is retried by the SDK; entries that failed inside a call that succeeded are retried
//! here. A send whose answer was lost may so arrive twice, as SQS may deliver twice anyway.

mod batch;

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message, MessageAttributeValue,
    MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};
use futures_util::stream::{self, StreamExt};

use super::errors::port_error;
use crate::ports::{Delivery, Depth, Outgoing, PortError, PortResult, Queue};
use batch::{BatchCall, Called, Entry, MAX_BYTES, MAX_ENTRIES, Refused, in_batches};

/// Longest wait of one receive, as SQS allows.
const MAX_WAIT: Duration = Duration::from_secs(20);
/// Longest visibility timeout, as SQS allows.
const MAX_VISIBILITY: Duration = Duration::from_hours(12);
/// Calls in flight for one verb.
const CONCURRENT_CALLS: usize = 8;
/// Most attributes of a message.
const MAX_ATTRIBUTES: usize = 10;

/// One SQS queue.
#[derive(Clone, Debug)]
pub struct SqsQueue {
    client: Client,
    url: String,
    label: String,
    /// Of received messages; `None` leaves it to the queue.
    visibility: Option<i32>,
}

impl SqsQueue {
    /// The queue at `url`.
    #[must_use]
    pub fn new(client: Client, url: &str) -> Self {
        let label = url.rsplit('/').next().unwrap_or(url).to_owned();
        Self { client, url: url.to_owned(), label, visibility: None }
    }

    /// The same with a visibility timeout of its own for what is received, whatever the queue's default is: whoever
    /// extends it must know how soon.
    #[must_use]
    pub fn with_visibility(self, visibility: Option<Duration>) -> Self {
        Self { visibility: visibility.map(|d| whole_seconds(d, MAX_VISIBILITY)), ..self }
    }

    async fn receive_once(&self, max: usize, wait: Duration) -> PortResult<Vec<Delivery>> {
        let max = i32::try_from(max.min(MAX_ENTRIES)).unwrap_or(10);
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(max)
            .wait_time_seconds(whole_seconds(wait, MAX_WAIT))
            .set_visibility_timeout(self.visibility)
            .message_attribute_names("All")
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .send()
            .await
            .map_err(|e| port_error(format!("sqs receive from {}", self.label), &e))?;
        Ok(answer.messages.unwrap_or_default().into_iter().filter_map(delivery).collect())
    }
}

/// SQS counts in whole seconds: rounded up, so that a wait never becomes a busy loop nor a delay nothing.
fn whole_seconds(d: Duration, most: Duration) -> i32 {
    let d = d.min(most);
    let seconds = d.as_secs() + u64::from(d.subsec_nanos() > 0);
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

/// A message as received; `None` for one without receipt, which SQS never sends and nobody could delete.
fn delivery(message: Message) -> Option<Delivery> {
    let receive_count = message
        .attributes
        .as_ref()
        .and_then(|a| a.get(&MessageSystemAttributeName::ApproximateReceiveCount))
        .and_then(|n| n.parse().ok())
        .unwrap_or(1);
    let attributes = message
        .message_attributes
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.string_value?)))
        .collect();
    Some(Delivery {
        message_id: message.message_id.unwrap_or_default(),
        receipt: message.receipt_handle?,
        body: message.body.unwrap_or_default(),
        attributes,
        receive_count,
    })
}

struct Send<'a>(&'a SqsQueue);

impl BatchCall for Send<'_> {
    type Item = Outgoing;

    fn what(&self) -> String {
        format!("sqs send to {}", self.0.label)
    }

    fn bytes(&self, item: &Outgoing) -> usize {
        // Each attribute counts with its name, its type and its value.
        let attributes = item.attributes.iter().map(|(name, value)| name.len() + "String".len() + value.len());
        item.body.len() + attributes.sum::<usize>()
    }

    fn fault(&self, item: &Outgoing) -> Option<String> {
        let bytes = self.bytes(item);
        let attributes = item.attributes.values().filter(|v| !v.is_empty()).count();
        if item.body.is_empty() {
            Some("the body is empty; SQS takes none".to_owned())
        } else if bytes > MAX_BYTES {
            Some(format!("the message has {bytes} bytes with its attributes; SQS takes {MAX_BYTES}"))
        } else if attributes > MAX_ATTRIBUTES {
            Some(format!("the message has {attributes} attributes; SQS takes {MAX_ATTRIBUTES}"))
        } else {
            None
        }
    }

    async fn call(&self, entries: &[Entry<'_, Outgoing>]) -> PortResult<Called> {
        let built = entries.iter().map(|entry| {
            let attributes = entry.item.attributes.iter().filter(|(_, value)| !value.is_empty());
            attributes
                .map(|(name, value)| {
                    let value = MessageAttributeValue::builder().data_type("String").string_value(value).build()?;
                    Ok((name.clone(), value))
                })
                .collect::<Result<_, _>>()
                .and_then(|attributes| {
                    SendMessageBatchRequestEntry::builder()
                        .id(&entry.id)
                        .message_body(&entry.item.body)
                        .set_message_attributes(Some(attributes))
                        .build()
                })
        });
        let built = built.collect::<Result<Vec<_>, _>>().map_err(|e| PortError::permanent(self.what(), e))?;
        let call = self.0.client.send_message_batch().queue_url(&self.0.url).set_entries(Some(built));
        let answer = call.send().await.map_err(|e| port_error(self.what(), &e))?;
        Ok(Called {
            done: answer.successful.into_iter().map(|e| e.id).collect(),
            refused: answer.failed.into_iter().map(Refused::from).collect(),
        })
    }
}

struct Delete<'a>(&'a SqsQueue);

impl BatchCall for Delete<'_> {
    type Item = String;

    fn what(&self) -> String {
        format!("sqs delete from {}", self.0.label)
    }

    /// The receipts come from this very queue, so one that it does not know is of a message that is gone.
    fn is_done(&self, code: &str) -> bool {
        code == "ReceiptHandleIsInvalid"
    }

    async fn call(&self, entries: &[Entry<'_, String>]) -> PortResult<Called> {
        let built = entries
            .iter()
            .map(|entry| DeleteMessageBatchRequestEntry::builder().id(&entry.id).receipt_handle(entry.item).build())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| PortError::permanent(self.what(), e))?;
        let call = self.0.client.delete_message_batch().queue_url(&self.0.url).set_entries(Some(built));
        let answer = call.send().await.map_err(|e| port_error(self.what(), &e))?;
        Ok(Called {
            done: answer.successful.into_iter().map(|e| e.id).collect(),
            refused: answer.failed.into_iter().map(Refused::from).collect(),
        })
    }
}

struct Extend<'a> {
    queue: &'a SqsQueue,
    seconds: i32,
}

impl BatchCall for Extend<'_> {
    type Item = String;

    fn what(&self) -> String {
        format!("sqs change visibility in {}", self.queue.label)
    }

    async fn call(&self, entries: &[Entry<'_, String>]) -> PortResult<Called> {
        let built = entries
            .iter()
            .map(|entry| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(&entry.id)
                    .receipt_handle(entry.item)
                    .visibility_timeout(self.seconds)
                    .build()
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| PortError::permanent(self.what(), e))?;
        let call =
            self.queue.client.change_message_visibility_batch().queue_url(&self.queue.url).set_entries(Some(built));
        let answer = call.send().await.map_err(|e| port_error(self.what(), &e))?;
        Ok(Called {
            done: answer.successful.into_iter().map(|e| e.id).collect(),
            refused: answer.failed.into_iter().map(Refused::from).collect(),
        })
    }
}

#[async_trait]
impl Queue for SqsQueue {
    /// One long poll for the first ten; only if that came back full, short polls for the rest, at once. A short poll
    /// that fails costs nothing: what was received is returned.
    async fn receive(&self, max: usize, wait: Duration) -> PortResult<Vec<Delivery>> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let mut received = self.receive_once(max, wait).await?;
        if received.len() < MAX_ENTRIES || max <= MAX_ENTRIES {
            return Ok(received);
        }
        let polls = (max - MAX_ENTRIES).div_ceil(MAX_ENTRIES);
        let sizes = (0..polls).map(|n| (max - MAX_ENTRIES * (n + 1)).min(MAX_ENTRIES));
        let mut polls =
            stream::iter(sizes.map(|size| self.receive_once(size, Duration::ZERO))).buffer_unordered(CONCURRENT_CALLS);
        while let Some(poll) = polls.next().await {
            match poll {
                Ok(more) => received.extend(more),
                Err(error) => tracing::warn!(queue = %self.label, %error, "one of several receives failed"),
            }
        }
        Ok(received)
    }

    async fn send(&self, messages: Vec<Outgoing>) -> Vec<PortResult<()>> {
        in_batches(&Send(self), &messages).await
    }

    async fn delete(&self, receipts: Vec<String>) -> Vec<PortResult<()>> {
        in_batches(&Delete(self), &receipts).await
    }

    async fn extend(&self, receipts: Vec<String>, after: Duration) -> Vec<PortResult<()>> {
        in_batches(&Extend { queue: self, seconds: whole_seconds(after, MAX_VISIBILITY) }, &receipts).await
    }

    async fn depth(&self) -> PortResult<Depth> {
        let what = || format!("sqs depth of {}", self.label);
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let call = self.client.get_queue_attributes().queue_url(&self.url);
        let answer = call.set_attribute_names(Some(names.to_vec())).send().await.map_err(|e| port_error(what(), &e))?;
        let attributes = answer.attributes.unwrap_or_default();
        let [visible, in_flight] = names.map(|name| attributes.get(&name).and_then(|n| n.parse().ok()));
        match (visible, in_flight) {
            (Some(visible), Some(in_flight)) => Ok(Depth { visible, in_flight }),
            _ => Err(PortError::permanent(what(), "the answer has no message counts")),
        }
    }

    fn name(&self) -> &str {
        &self.url
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::clients::{Clients, emulator_config};
    use crate::aws::test_server::{Server, json};

    #[tokio::test]
    async fn received_messages_stay_invisible_for_as_long_as_configured() {
        let nothing = || json(200, &serde_json::json!({}));
        let server = Server::saying(vec![nothing(), nothing()]).await;
        let client = Clients::new(&emulator_config(&server.url, "us-east-1").unwrap()).sqs;
        let queue = SqsQueue::new(client, &format!("{}/1/q", server.url));
        queue.receive(1, Duration::ZERO).await.unwrap();
        let own = queue.with_visibility(Some(Duration::from_millis(4500)));
        own.receive(1, Duration::ZERO).await.unwrap();
        let asked: Vec<_> = server.script().asked.iter().map(|a| a.json()["VisibilityTimeout"].clone()).collect();
        assert_eq!(asked, [serde_json::Value::Null, 5.into()]);
    }

    #[test]
    fn waits_are_rounded_up_and_capped() {
        assert_eq!(whole_seconds(Duration::ZERO, MAX_WAIT), 0);
        assert_eq!(whole_seconds(Duration::from_millis(1), MAX_WAIT), 1);
        assert_eq!(whole_seconds(Duration::from_secs(3), MAX_WAIT), 3);
        assert_eq!(whole_seconds(Duration::from_secs(30), MAX_WAIT), 20);
    }
}
