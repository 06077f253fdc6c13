//! Delivers the metrics, once a minute.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::fleet::Fleet;
use super::pace::Gate;
use super::plan::Gauges;
use super::tally::Tally;
use crate::clock::Clock;
use crate::ports::Metrics;

const EVERY: Duration = Duration::from_mins(1);

/// Delivers what gathers in the tally, and asks once a minute how things stand.
pub struct Reporter {
    /// Where metrics go.
    pub metrics: Arc<dyn Metrics>,
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

impl Reporter {
    /// Delivers every minute, also when nothing happened; runs until dropped.
    pub async fn run(self) {
        let mut began = self.clock.now();
        // At a fixed rate, so that every minute has its own: a worker that misses one looks dead.
        let mut minutes = tokio::time::interval_at(Instant::now() + EVERY, EVERY);
        minutes.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            minutes.tick().await;
            let now = self.clock.now();
            self.tally.observe_worker();
            for lane in self.gate.snapshots() {
                self.tally.observe_lane(&lane);
            }
            if let Some(reading) = self.fleet.term().and_then(|term| self.gauges.reading(term, now)) {
                self.tally.observe_fleet(&reading);
            }
            if let Err(error) = self.metrics.put(self.tally.take_data(began)).await {
                tracing::warn!(%error, "metrics of the last minute could not be delivered");
            }
            began = now;
        }
    }
}
