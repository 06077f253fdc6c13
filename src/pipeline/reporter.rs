//! Delivers the metrics, once a minute, and tells them to whoever asks.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::fleet::Fleet;
use super::pace::Gate;
use super::plan::Gauges;
use super::tally::{Standing, Tally};
use crate::clock::{Clock, Timestamp};
use crate::ports::Metrics;

const EVERY: Duration = Duration::from_mins(1);

/// Sees what happened in a worker and how things stand with it. Cheap to clone.
#[derive(Clone)]
pub struct Observer {
    /// What happened.
    pub tally: Arc<Tally>,
    /// The lanes.
    pub gate: Gate,
    /// Whether this worker plans.
    pub fleet: Arc<Fleet>,
    /// What it then knows.
    pub gauges: Arc<Gauges>,
    /// Wall time.
    pub clock: Clock,
}

impl Observer {
    /// Everything, in Prometheus' text format 0.0.4.
    #[must_use]
    pub fn exposition(&self) -> String {
        self.tally.exposition(&self.standing(self.clock.now()))
    }

    fn standing(&self, now: Timestamp) -> Standing {
        let reading = self.fleet.term().and_then(|term| self.gauges.reading(term, now));
        Standing { lanes: self.gate.snapshots(), reading }
    }
}

/// Delivers what an observer sees.
pub struct Reporter {
    /// Where metrics go.
    pub metrics: Arc<dyn Metrics>,
    /// Where they come from.
    pub observer: Observer,
}

impl Reporter {
    /// Delivers every minute, also when nothing happened; runs until dropped.
    pub async fn run(self) {
        let mut began = self.observer.clock.now();
        // At a fixed rate, so that every minute has its own: a worker that misses one looks dead.
        let mut minutes = tokio::time::interval_at(Instant::now() + EVERY, EVERY);
        minutes.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            minutes.tick().await;
            let now = self.observer.clock.now();
            self.observer.tally.observe(&self.observer.standing(now));
            deliver(&*self.metrics, &self.observer.tally, began).await;
            began = now;
        }
    }
}

/// Delivers what has gathered since `began`. What is not taken is kept for the next time.
pub async fn deliver(metrics: &dyn Metrics, tally: &Tally, began: Timestamp) {
    if let Err(undelivered) = metrics.put(tally.take_data(began)).await {
        let kept = undelivered.data.len();
        let lost = undelivered.lost + tally.put_back(undelivered.data);
        tracing::warn!(error = %undelivered.error, kept, lost, "metrics could not be delivered; those that are kept go with the next minute's");
    }
}
