//! The way to one channel. An alert that cannot be delivered is tried again until it can, for hours; meanwhile a newer one of the
//! same condition takes its place, and nobody else waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::pipeline::tally::Tally;
use crate::ports::{Alert, Alerts, PortError};

/// Alerts that may wait; of more, the oldest is given up.
const MOST: usize = 200;
/// A channel that says nothing for this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Waits between tries double from the first to the last of these.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// After this long an alert is no news any more.
const GIVE_UP: Duration = Duration::from_hours(6);
/// How long a worker that ends goes on trying, and how often.
const LAST_TRIES: Duration = Duration::from_secs(10);
const LAST_WAIT: Duration = Duration::from_secs(1);

/// What waits for one channel. Cheap to clone.
#[derive(Clone)]
pub struct Outbox(Arc<Shared>);

struct Shared {
    channel: Arc<dyn Alerts>,
    tally: Arc<Tally>,
    waiting: Mutex<VecDeque<Waiting>>,
    more: Notify,
    closing: CancellationToken,
}

#[derive(Clone)]
struct Waiting {
    alert: Alert,
    since: Instant,
}

impl Outbox {
    pub fn new(channel: Arc<dyn Alerts>, tally: Arc<Tally>) -> Self {
        let (waiting, more, closing) = (Mutex::default(), Notify::new(), CancellationToken::new());
        Self(Arc::new(Shared { channel, tally, waiting, more, closing }))
    }

    /// Sends it, in time.
    pub fn push(&self, alert: Alert) {
        self.with(|waiting| {
            waiting.retain(|other| other.alert.key != alert.key);
            if waiting.len() >= MOST
                && let Some(oldest) = waiting.pop_front()
            {
                self.give_up(&oldest, "too many wait");
            }
            waiting.push_back(Waiting { alert, since: Instant::now() });
        });
        self.0.more.notify_one();
    }

    /// No more is coming.
    pub fn close(&self) {
        self.0.closing.cancel();
    }

    /// Delivers until closed, and then what is left, for a while; `delivered` hears of each.
    pub async fn run(&self, delivered: impl Fn(&Alert)) {
        let out_of_patience = async {
            self.0.closing.cancelled().await;
            tokio::time::sleep(LAST_TRIES).await;
        };
        tokio::select! {
            () = self.deliver(delivered) => {}
            () = out_of_patience => {}
        }
        for undelivered in self.with(std::mem::take) {
            self.give_up(&undelivered, "the worker ends");
        }
    }

    async fn deliver(&self, delivered: impl Fn(&Alert)) {
        let mut wait = FIRST_WAIT;
        loop {
            let Some(next) = self.with(|waiting| waiting.front().cloned()) else {
                if self.0.closing.is_cancelled() {
                    return;
                }
                tokio::select! {
                    () = self.0.more.notified() => {}
                    () = self.0.closing.cancelled() => {}
                }
                continue;
            };
            let sent = tokio::time::timeout(PATIENCE, self.0.channel.publish(&next.alert)).await;
            let sent = sent.unwrap_or_else(|_| Err(PortError::transient("deliver an alert", "no answer in time")));
            match sent {
                Ok(()) => {
                    self.with(|waiting| waiting.retain(|other| other.alert != next.alert));
                    delivered(&next.alert);
                    wait = FIRST_WAIT;
                }
                Err(error) => {
                    self.failed(&next, &error);
                    self.pause(wait).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    /// The next one is tried first then: it may be this alert alone that the channel does not take.
    fn failed(&self, failed: &Waiting, error: &PortError) {
        self.0.tally.port_error();
        let (channel, key) = (self.0.channel.name(), &failed.alert.key);
        tracing::warn!(%error, channel, key, "an alert could not be delivered and is tried again");
        let old = failed.since.elapsed() >= GIVE_UP;
        self.with(|waiting| {
            let ours = waiting.iter().position(|other| other.alert == failed.alert);
            if let Some(ours) = ours.and_then(|at| waiting.remove(at))
                && !old
            {
                waiting.push_back(ours);
            }
        });
        if old {
            self.give_up(failed, "it was tried for hours");
        }
    }

    fn give_up(&self, alert: &Waiting, why: &str) {
        let (channel, Alert { key, subject, .. }) = (self.0.channel.name(), &alert.alert);
        tracing::error!(channel, key, subject, why, "an alert was never delivered");
    }

    async fn pause(&self, wait: Duration) {
        let wait = wait.mul_f64(0.75 + 0.25 * fastrand::f64());
        if self.0.closing.is_cancelled() {
            return tokio::time::sleep(wait.min(LAST_WAIT)).await;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.0.closing.cancelled() => {}
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut VecDeque<Waiting>) -> T) -> T {
        act(&mut self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
