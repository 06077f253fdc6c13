//! Gathers single writes into batches: services charge per call and embedded storage per commit.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ports::{PortError, PortResult};

type Item<T> = (T, oneshot::Sender<PortResult<()>>);
type Flush<T> = Arc<dyn Fn(Vec<T>) -> BoxFuture<'static, Vec<PortResult<()>>> + Send + Sync>;

/// How a batcher gathers.
#[derive(Clone, Copy, Debug)]
pub struct Gathering {
    /// Items per flush at most.
    pub size: usize,
    /// How long the first item of a batch waits for others.
    pub linger: Duration,
    /// Flushes at the same time.
    pub concurrent: usize,
}

/// Hands single items to a batch write and each its own result. Cheap to clone.
pub struct Batcher<T> {
    items: mpsc::Sender<Item<T>>,
}

impl<T> Clone for Batcher<T> {
    fn clone(&self) -> Self {
        Self { items: self.items.clone() }
    }
}

impl<T: Send + 'static> Batcher<T> {
    /// A batcher and the task that serves it until every clone is dropped; then everything is flushed.
    pub fn new<F, Fut>(gathering: Gathering, flush: F) -> (Self, impl Future<Output = ()> + Send + 'static)
    where
        F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Vec<PortResult<()>>> + Send + 'static,
    {
        let (items, receiver) = mpsc::channel(gathering.size * 4);
        let flush: Flush<T> = Arc::new(move |batch| Box::pin(flush(batch)));
        (Self { items }, serve(gathering, receiver, flush))
    }

    /// Writes one item with the next batch; answers when that batch is written.
    pub async fn write(&self, item: T) -> PortResult<()> {
        let (reply, answer) = oneshot::channel();
        let gone = || PortError::transient("batch write", "the writer has stopped");
        self.items.send((item, reply)).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

async fn serve<T: Send + 'static>(gathering: Gathering, mut items: mpsc::Receiver<Item<T>>, flush: Flush<T>) {
    let permits = Arc::new(Semaphore::new(gathering.concurrent));
    let mut flushes = JoinSet::new();
    while let Some(first) = items.recv().await {
        let mut batch = vec![first];
        let deadline = Instant::now() + gathering.linger;
        while batch.len() < gathering.size {
            match tokio::time::timeout_at(deadline, items.recv()).await {
                Ok(Some(item)) => batch.push(item),
                Ok(None) | Err(_) => break,
            }
        }
        while flushes.try_join_next().is_some() {}
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
        let flush = Arc::clone(&flush);
        flushes.spawn(async move {
            let (batch, replies): (Vec<T>, Vec<_>) = batch.into_iter().unzip();
            let results = flush(batch).await;
            for (reply, result) in replies.into_iter().zip(results) {
                drop(reply.send(result));
            }
            drop(permit);
        });
    }
    while flushes.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn items_share_batches_and_get_their_own_result() {
        let sizes: Arc<Mutex<Vec<usize>>> = Arc::default();
        let seen = Arc::clone(&sizes);
        let gathering = Gathering { size: 10, linger: Duration::from_millis(5), concurrent: 2 };
        let (batcher, serve) = Batcher::new(gathering, move |batch: Vec<u32>| {
            seen.lock().unwrap().push(batch.len());
            async move {
                batch
                    .into_iter()
                    .map(|n| if n == 13 { Err(PortError::permanent("write", n)) } else { Ok(()) })
                    .collect()
            }
        });
        let writes = (0..25).map(|n| {
            let batcher = batcher.clone();
            async move { batcher.write(n).await.is_ok() }
        });
        let writes = futures_util::future::join_all(writes);
        drop(batcher);
        let (results, ()) = tokio::join!(writes, serve);
        assert_eq!(results.iter().filter(|ok| !**ok).count(), 1);
        assert!(!results[13]);
        assert_eq!(*sizes.lock().unwrap(), [10, 10, 5]);
    }
}
