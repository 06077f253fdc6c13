//! Receiving from a queue until asked to stop, without leaving messages behind that nobody works on.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ports::{Delivery, PortError, Queue};

/// A receive that is under way when intake stops may still bring messages: they are waited for this long and handed
/// back, rather than left invisible until their timeout.
const LAST_RECEIVE: Duration = Duration::from_millis(1500);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// One receiver of a queue.
pub struct Intake<'a> {
    queue: &'a dyn Queue,
    wait: Duration,
    stop: &'a CancellationToken,
    backoff: Duration,
}

impl<'a> Intake<'a> {
    /// A receiver whose receives wait up to `wait` for a message.
    #[must_use]
    pub fn new(queue: &'a dyn Queue, wait: Duration, stop: &'a CancellationToken) -> Self {
        Self { queue, wait, stop, backoff: FIRST_BACKOFF }
    }

    /// The next messages, at most `max`, possibly none; `None` once intake has stopped. Failed receives are told to `noted`
    /// and repeated with growing delays.
    pub async fn next(&mut self, max: usize, mut noted: impl FnMut(&PortError)) -> Option<Vec<Delivery>> {
        while !self.stop.is_cancelled() {
            let mut receive = std::pin::pin!(self.queue.receive(max, self.wait));
            let received = tokio::select! {
                biased;
                received = &mut receive => received,
                () = self.stop.cancelled() => {
                    if let Ok(Ok(late)) = tokio::time::timeout(LAST_RECEIVE, receive).await {
                        hand_back(self.queue, late.into_iter().map(|d| d.receipt).collect()).await;
                    }
                    return None;
                }
            };
            match received {
                Ok(deliveries) => {
                    self.backoff = FIRST_BACKOFF;
                    return Some(deliveries);
                }
                Err(error) => {
                    noted(&error);
                    tokio::select! {
                        () = self.stop.cancelled() => {}
                        () = tokio::time::sleep(self.backoff) => self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF),
                    }
                }
            }
        }
        None
    }
}

/// Makes messages visible to others at once.
pub async fn hand_back(queue: &dyn Queue, receipts: Vec<String>) {
    if receipts.is_empty() {
        return;
    }
    for error in queue.extend(receipts, Duration::ZERO).await.into_iter().filter_map(Result::err) {
        tracing::warn!(%error, "could not hand a message back; it comes back at its visibility timeout");
    }
}
