//! Keeps the quotas in force up to date with Service Quotas, and tells of models that have none.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::pace::{Gate, LaneLimits};
use crate::models::{Catalog, ModelSpec, QuotaOrigin, QuotaSettings};
use crate::ports::Quotas;

/// Between two looks at Service Quotas, and how much later, at random, a look may be: replicas that started together do not ask
/// together.
const EVERY: Duration = Duration::from_hours(1);
const JITTER: Duration = Duration::from_mins(6);
/// After a look that failed; doubles up to [`EVERY`].
const AGAIN: Duration = Duration::from_mins(1);
/// How often lanes and the models in use are gone through.
const LOOK: Duration = Duration::from_secs(15);

/// What a lane may use by what is known of its model.
#[must_use]
pub fn lane_limits(model: &ModelSpec) -> LaneLimits {
    LaneLimits {
        requests_per_minute: model.quota.requests_per_minute,
        tokens_per_minute: Some(model.quota.tokens_per_minute),
        burndown: model.burndown,
        max_concurrent: model.max_concurrent,
    }
}

/// The task that keeps quotas up to date.
pub struct QuotaKeeper {
    /// `None`: only what is configured counts.
    service: Option<Arc<dyn Quotas>>,
    catalog: Arc<Catalog>,
    gate: Gate,
    first: watch::Sender<bool>,
    warned: BTreeSet<String>,
    /// The last look failed, and that was told.
    failing: bool,
}

impl QuotaKeeper {
    /// Keeps the quotas in `catalog`, and those of the lanes of `gate`.
    #[must_use]
    pub fn new(service: Option<Arc<dyn Quotas>>, catalog: Arc<Catalog>, gate: Gate) -> Self {
        let first = watch::Sender::new(service.is_none());
        Self { service, catalog, gate, first, warned: BTreeSet::new(), failing: false }
    }

    /// Becomes true once Service Quotas was asked, whatever it said.
    #[must_use]
    pub fn first_look(&self) -> watch::Receiver<bool> {
        self.first.subscribe()
    }

    /// Runs until dropped.
    pub async fn run(mut self) {
        let mut again = AGAIN;
        let mut next = Instant::now();
        loop {
            if self.service.is_some() && Instant::now() >= next {
                let wait = if self.refresh().await {
                    again = AGAIN;
                    EVERY + JITTER.mul_f64(fastrand::f64())
                } else {
                    let wait = again;
                    again = (2 * again).min(EVERY);
                    wait
                };
                next = Instant::now() + wait;
            }
            self.first.send_replace(true);
            self.apply();
            self.warn();
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Asks Service Quotas. A failure changes nothing.
    async fn refresh(&mut self) -> bool {
        let Some(service) = &self.service else { return true };
        match service.list().await {
            Ok(rows) => {
                self.failing = false;
                for change in self.catalog.set_service_quotas(&rows) {
                    tracing::info!(
                        model = %change.model,
                        before = shown(&change.before),
                        now = shown(&change.after),
                        "the quota in force has changed"
                    );
                }
                tracing::debug!(quotas = rows.len(), "Service Quotas was read");
                true
            }
            Err(error) if self.failing => {
                tracing::debug!(%error, "Service Quotas could still not be read");
                false
            }
            Err(error) => {
                self.failing = true;
                tracing::warn!(
                    %error,
                    "Service Quotas could not be read; configured quotas count, then what it said before, then small defaults"
                );
                false
            }
        }
    }

    /// Brings what waits in the gate under the quotas in force; what asks from now on has them anyway.
    fn apply(&self) {
        for (lane, limits, _) in self.gate.demands() {
            let now = lane_limits(&self.catalog.admitted(&lane.model()));
            if now != limits {
                self.gate.set_limits(&lane, now);
            }
        }
    }

    /// Tells once of each model in use whose quota nobody knows, and of each value that could not be taken.
    fn warn(&mut self) {
        for id in self.catalog.in_use() {
            let quotas = self.catalog.quotas(&id);
            for fault in &quotas.faults {
                if self.warned.insert(fault.clone()) {
                    tracing::warn!(model = %id, "{fault}");
                }
            }
            if quotas.tokens_per_minute.origin == QuotaOrigin::Assumed && self.warned.insert(id.to_string()) {
                tracing::warn!(
                    model = %id,
                    assumed = shown(&quotas.settings()),
                    "the quota of this model is not known and a small one is assumed; set models.{:?}.tokens_per_minute",
                    id.as_str()
                );
            }
        }
    }
}

/// A quota in a log line.
fn shown(quota: &QuotaSettings) -> String {
    let requests = quota.requests_per_minute.map(|n| format!("{n} requests/min, ")).unwrap_or_default();
    let day = quota.tokens_per_day.map(|n| format!(", {n} tokens/day")).unwrap_or_default();
    let origin = match quota.origin {
        QuotaOrigin::Configured => "configured",
        QuotaOrigin::ServiceQuotas => "Service Quotas",
        QuotaOrigin::Assumed => "assumed",
    };
    format!("{requests}{} tokens/min{day} ({origin})", quota.tokens_per_minute)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::config::{Config, Sources};
    use crate::pipeline::pace::{Ask, Settlement};
    use crate::ports::{PortResult, QuotaRow};
    use crate::request::{Estimate, Lane, ModelId};

    const NOVA: &str = "amazon.nova-lite-v1:0";

    struct Listing(Mutex<f64>);

    #[async_trait]
    impl Quotas for Listing {
        async fn list(&self) -> PortResult<Vec<QuotaRow>> {
            let name = |what: &str| format!("On-demand model inference {what} per minute for Amazon Nova Lite");
            let requests = *self.0.lock().unwrap();
            Ok(vec![
                QuotaRow { name: name("requests"), value: requests },
                QuotaRow { name: name("tokens"), value: 1e6 },
            ])
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_already_gets_the_raised_quota() {
        let catalog = Arc::new(Catalog::new(&Config::load(&Sources::default()).unwrap().config));
        let (gate, listing) = (Gate::alone(10), Arc::new(Listing(Mutex::new(0.01))));
        let mut tasks = tokio::task::JoinSet::new();
        let dispatcher = gate.clone();
        tasks.spawn(async move { dispatcher.run().await });
        let keeper = QuotaKeeper::new(Some(listing.clone()), Arc::clone(&catalog), gate.clone());
        let mut first_look = keeper.first_look();
        tasks.spawn(keeper.run());
        first_look.wait_for(|looked| *looked).await.unwrap();

        let id = ModelId::new(NOVA).unwrap();
        let ask = |rank: &str| Ask {
            lane: Lane::new("default", "us-east-1", &id),
            limits: lane_limits(&catalog.admitted(&id)),
            rank: rank.to_owned(),
            urgent: false,
            estimate: Estimate { input_tokens: 10, max_output_tokens: 10 },
            kind: None,
        };
        let began = Instant::now();
        // What makes up for late timers, two starts, is there at the start.
        for rank in ["1", "2"] {
            gate.admit(ask(rank)).await.unwrap().settle(Settlement::Answered(None));
        }
        *listing.0.lock().unwrap() = 60.0;
        // Under the first quota a start is due every hundred minutes.
        gate.admit(ask("3")).await.unwrap().settle(Settlement::Answered(None));
        let waited = began.elapsed();
        assert!((EVERY..EVERY + JITTER + 2 * LOOK).contains(&waited), "{waited:?}");
    }
}
