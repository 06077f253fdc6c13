//! Cutting work into SQS batches and putting the entries' outcomes back in order.

use std::future::Future;
use std::ops::Range;
use std::time::Duration;

use aws_sdk_sqs::types::BatchResultErrorEntry;
use futures_util::stream::{self, StreamExt};

use super::CONCURRENT_CALLS;
use crate::aws::errors::clip;
use crate::ports::{PortError, PortResult};

/// Most entries of one call.
pub const MAX_ENTRIES: usize = 10;
/// Most bytes of a message, and of all messages of one call together: 1 MiB.
pub const MAX_BYTES: usize = 1 << 20;
/// How often entries that the service could not take are sent, the first time included.
const ROUNDS: u32 = 3;
/// Pause before the second round; doubled before the third.
const PAUSE: Duration = Duration::from_millis(100);

/// One item on its way, with its place as the id.
pub struct Entry<'a, T> {
    /// Its index in the verb's list.
    pub id: String,
    /// The item.
    pub item: &'a T,
}

/// An entry that SQS did not take.
pub struct Refused {
    id: String,
    sender_fault: bool,
    code: String,
    why: String,
}

impl From<BatchResultErrorEntry> for Refused {
    fn from(entry: BatchResultErrorEntry) -> Self {
        let message = entry.message.unwrap_or_else(|| "no message".to_owned());
        let why = clip(&format!("{}: {message}", entry.code));
        Self { id: entry.id, sender_fault: entry.sender_fault, code: entry.code, why }
    }
}

/// What SQS said of each entry.
pub struct Called {
    /// Ids of those that went well.
    pub done: Vec<String>,
    /// The others.
    pub refused: Vec<Refused>,
}

/// One of the batch operations.
pub trait BatchCall: Sync {
    /// What an entry is made of.
    type Item: Sync;

    /// The operation and its queue, for errors.
    fn what(&self) -> String;

    /// What the item counts for in the call's size.
    fn bytes(&self, _item: &Self::Item) -> usize {
        0
    }

    /// Why the item could never be taken; such items are not sent, so that they cannot spoil a batch.
    fn fault(&self, _item: &Self::Item) -> Option<String> {
        None
    }

    /// Whether a refusal with this code says that there is nothing left to do.
    fn is_done(&self, _code: &str) -> bool {
        false
    }

    /// One call with at most [`MAX_ENTRIES`] entries of at most [`MAX_BYTES`] together.
    fn call(&self, entries: &[Entry<'_, Self::Item>]) -> impl Future<Output = PortResult<Called>> + Send;
}

/// Runs all items through `call`, several calls at a time; one result each, in order.
pub async fn in_batches<C: BatchCall>(call: &C, items: &[C::Item]) -> Vec<PortResult<()>> {
    let mut results: Vec<PortResult<()>> = items
        .iter()
        .map(|item| call.fault(item).map_or(Ok(()), |why| Err(PortError::permanent(call.what(), why))))
        .collect();
    let mut left: Vec<usize> = (0..items.len()).filter(|i| results.get(*i).is_some_and(Result::is_ok)).collect();
    for round in 0..ROUNDS {
        if left.is_empty() {
            break;
        }
        if round > 0 {
            tokio::time::sleep(PAUSE * 2u32.pow(round - 1)).await;
        }
        let mut again = Vec::new();
        for (index, outcome) in run_round(call, items, &left).await {
            let outcome = match outcome {
                Outcome::Done => Ok(()),
                Outcome::Final(error) => Err(error),
                Outcome::Again(error) => {
                    again.push(index);
                    Err(error)
                }
            };
            if let Some(slot) = results.get_mut(index) {
                *slot = outcome;
            }
        }
        left = again;
    }
    results
}

enum Outcome {
    Done,
    /// A fault of the entry, or of the whole call after the SDK's own retries.
    Final(PortError),
    /// A fault of the service with this entry.
    Again(PortError),
}

async fn run_round<C: BatchCall>(call: &C, items: &[C::Item], left: &[usize]) -> Vec<(usize, Outcome)> {
    let sent: Vec<(usize, &C::Item)> = left.iter().filter_map(|i| Some((*i, items.get(*i)?))).collect();
    let sizes: Vec<usize> = sent.iter().map(|(_, item)| call.bytes(item)).collect();
    let mut calls = Vec::new();
    for chunk in chunks(&sizes).into_iter().filter_map(|range| sent.get(range)) {
        calls.push(run_chunk(call, chunk));
    }
    let outcomes: Vec<_> = stream::iter(calls).buffer_unordered(CONCURRENT_CALLS).collect().await;
    outcomes.into_iter().flatten().collect()
}

async fn run_chunk<C: BatchCall>(call: &C, chunk: &[(usize, &C::Item)]) -> Vec<(usize, Outcome)> {
    let entries: Vec<Entry<'_, C::Item>> =
        chunk.iter().map(|&(index, item)| Entry { id: index.to_string(), item }).collect();
    let indexes = chunk.iter().map(|(index, _)| *index);
    match call.call(&entries).await {
        Err(error) => indexes.map(|index| (index, Outcome::Final(error.clone()))).collect(),
        Ok(called) => indexes.map(|index| (index, outcome_of(call, &called, &index.to_string()))).collect(),
    }
}

fn outcome_of<C: BatchCall>(call: &C, called: &Called, id: &str) -> Outcome {
    if called.done.iter().any(|done| done == id) {
        return Outcome::Done;
    }
    match called.refused.iter().find(|refused| refused.id == id) {
        Some(refused) if call.is_done(&refused.code) => Outcome::Done,
        Some(refused) if refused.sender_fault => Outcome::Final(PortError::permanent(call.what(), &refused.why)),
        Some(refused) => Outcome::Again(PortError::transient(call.what(), &refused.why)),
        None => Outcome::Again(PortError::transient(call.what(), "the answer does not mention this entry")),
    }
}

/// Cuts items of these sizes into consecutive chunks within both limits; an item above the limit gets its own chunk.
fn chunks(sizes: &[usize]) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let (mut start, mut bytes) = (0, 0usize);
    for (index, size) in sizes.iter().enumerate() {
        let full = index - start == MAX_ENTRIES || bytes.saturating_add(*size) > MAX_BYTES;
        if full && index > start {
            chunks.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes = bytes.saturating_add(*size);
    }
    if start < sizes.len() {
        chunks.push(start..sizes.len());
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Mutex;

    proptest! {
        #[test]
        fn chunks_lose_nothing_keep_order_and_hold_the_limits(sizes in proptest::collection::vec(
            prop_oneof![0usize..300, 100_000usize..400_000, 1_000_000usize..=MAX_BYTES], 0..80,
        )) {
            let cut = chunks(&sizes);
            let joined: Vec<usize> = cut.iter().cloned().flatten().collect();
            prop_assert_eq!(joined, (0..sizes.len()).collect::<Vec<_>>());
            for range in &cut {
                prop_assert!((1..=MAX_ENTRIES).contains(&range.len()));
                prop_assert!(sizes[range.clone()].iter().sum::<usize>() <= MAX_BYTES);
            }
            for pair in cut.windows(2) {
                let with_next = sizes[pair[0].clone()].iter().sum::<usize>() + sizes[pair[1].start];
                prop_assert!(pair[0].len() == MAX_ENTRIES || with_next > MAX_BYTES, "a chunk was cut too early");
            }
        }
    }

    /// Refuses by what the item says: `gone`, `sender`, `service` (always), `once` (the first time), `forget`.
    struct Script(Mutex<Vec<Vec<String>>>);

    impl BatchCall for Script {
        type Item = &'static str;
        fn what(&self) -> String {
            "test call".to_owned()
        }
        fn fault(&self, item: &&'static str) -> Option<String> {
            (*item == "never").then(|| "cannot be taken".to_owned())
        }
        fn is_done(&self, code: &str) -> bool {
            code == "gone"
        }
        async fn call(&self, entries: &[Entry<'_, &'static str>]) -> PortResult<Called> {
            let mut calls = self.0.lock().unwrap();
            let first = calls.iter().flatten().all(|sent| sent != "once");
            calls.push(entries.iter().map(|e| (*e.item).to_owned()).collect());
            let mut called = Called { done: vec![], refused: vec![] };
            if entries.iter().any(|e| *e.item == "whole call") {
                return Err(PortError::transient("test call", "down"));
            }
            for entry in entries {
                let code = (*entry.item).to_owned();
                let refuse = |sender_fault| Refused { id: entry.id.clone(), sender_fault, code, why: "no".to_owned() };
                match *entry.item {
                    "sender" | "gone" => called.refused.push(refuse(true)),
                    "service" => called.refused.push(refuse(false)),
                    "once" if first => called.refused.push(refuse(false)),
                    "forget" => {}
                    _ => called.done.push(entry.id.clone()),
                }
            }
            Ok(called)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_entry_gets_its_own_outcome() {
        let script = Script(Mutex::new(vec![]));
        let results = in_batches(&script, &["fine", "sender", "once", "never", "service", "forget", "gone"]).await;
        let told: Vec<_> = results.iter().map(|r| r.as_ref().map_err(|e| e.retryable).map(|()| "ok")).collect();
        assert_eq!(told, [Ok("ok"), Err(false), Ok("ok"), Err(false), Err(true), Err(true), Ok("ok")]);
        let calls = script.0.lock().unwrap();
        assert_eq!(calls[0], ["fine", "sender", "once", "service", "forget", "gone"]);
        assert_eq!(calls[1..], [vec!["once", "service", "forget"], vec!["service", "forget"]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_call_fails_its_own_chunk_only() {
        let script = Script(Mutex::new(vec![]));
        let mut items = vec!["fine"; 25];
        items[12] = "whole call";
        let results = in_batches(&script, &items).await;
        let failed: Vec<usize> = (0..25).filter(|i| results[*i].is_err()).collect();
        assert_eq!(failed, (10..20).collect::<Vec<_>>());
    }
}
