//! When all of it should be done: each lane by what bounds it, and all lanes by the calls that may run at a time.

use std::collections::BTreeMap;

use serde::Serialize;

use super::draft::Sum;
use super::surroundings::Ahead;
use super::word;
use crate::config::Config;
use crate::models::{Catalog, ModelSpec};
use crate::request::{Lane, ModelId};

/// The share of the token quota that may be reserved at a time, and that is used in the long run.
const RESERVABLE: f64 = 0.9;
const USED: f64 = 0.995;

/// What decides how long it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The quota of requests a minute.
    RequestsPerMinute,
    /// The quota of tokens a minute.
    TokensPerMinute,
    /// What is reserved of that quota for the longest answer.
    Reservations,
    /// `max_concurrent` of the model.
    ModelConcurrency,
    /// `max_concurrent_executions`, of all models together.
    Concurrency,
}

/// When a lane should be done.
#[derive(Clone, Debug, Serialize)]
pub struct Eta {
    /// The last call starts, in seconds from now.
    pub last_start_seconds: f64,
    /// It has its answer.
    pub done_seconds: f64,
    /// What decides.
    pub bound_by: Bound,
    /// How much of it there is: a minute, or at a time.
    pub limit: f64,
    /// Who says so: `setting`, `service-quotas` or `assumed`.
    pub limit_source: &'static str,
    /// Requests in line before these.
    pub ahead: u64,
    /// There may be more of them: they were not all counted.
    pub ahead_at_least: bool,
}

/// Everything that is to be called, by lane.
pub struct Lanes {
    call_seconds: f64,
    slots: f64,
    loads: BTreeMap<Lane, Load>,
}

struct Load {
    spec: ModelSpec,
    requests_source: &'static str,
    requests: f64,
    charged: f64,
    reserved: f64,
    ahead: u64,
    ahead_at_least: bool,
}

impl Lanes {
    pub fn new(config: &Config) -> Self {
        Self {
            call_seconds: config.average_request_duration.as_secs_f64(),
            slots: f64::from(config.max_concurrent_executions),
            loads: BTreeMap::new(),
        }
    }

    /// What is in line already.
    pub fn ahead(&mut self, lane: &Lane, catalog: &Catalog, ahead: &Ahead) {
        let load = self.load(lane, catalog, &lane.model());
        load.requests += ahead.requests as f64;
        load.charged += ahead.input as f64 + load.spec.burndown * ahead.output;
        load.reserved += ahead.reserved as f64;
        load.ahead += ahead.requests;
        load.ahead_at_least |= ahead.more;
    }

    /// What is to come.
    pub fn add(&mut self, lane: &Lane, catalog: &Catalog, model: &ModelId, sum: &Sum) {
        let load = self.load(lane, catalog, model);
        load.requests += sum.requests as f64;
        load.charged += sum.charged;
        load.reserved += sum.reserved;
    }

    fn load(&mut self, lane: &Lane, catalog: &Catalog, model: &ModelId) -> &mut Load {
        self.loads.entry(lane.clone()).or_insert_with(|| Load {
            spec: catalog.admitted(model),
            requests_source: catalog.quotas(model).requests_per_minute.map_or("", |quota| word(quota.origin)),
            requests: 0.0,
            charged: 0.0,
            reserved: 0.0,
            ahead: 0,
            ahead_at_least: false,
        })
    }

    /// When each is done.
    pub fn etas(&self) -> BTreeMap<Lane, Eta> {
        let alone: Vec<Eta> = self.loads.values().map(|load| load.alone(self.call_seconds, self.slots)).collect();
        let wanted: Vec<(f64, f64)> = self
            .loads
            .values()
            .zip(&alone)
            .map(|(load, eta)| (load.requests * self.call_seconds, eta.done_seconds.max(self.call_seconds)))
            .collect();
        let together = share(&wanted, self.slots);
        let etas = self.loads.keys().cloned().zip(alone.into_iter().zip(together));
        etas.map(|(lane, (eta, together))| {
            if together <= eta.done_seconds * 1.01 {
                return (lane, eta);
            }
            let last_start_seconds = (together - self.call_seconds).max(0.0);
            let bound = (Bound::Concurrency, self.slots, "setting");
            (
                lane,
                Eta {
                    last_start_seconds,
                    done_seconds: together,
                    bound_by: bound.0,
                    limit: bound.1,
                    limit_source: bound.2,
                    ..eta
                },
            )
        })
        .collect()
    }
}

impl Load {
    /// When it is done as if the other lanes were idle.
    fn alone(&self, call_seconds: f64, slots: f64) -> Eta {
        let quota = &self.spec.quota;
        let source = word(quota.origin);
        let each = (self.reserved / self.requests.max(1.0)).max(1.0);
        let fit = (quota.tokens_per_minute * RESERVABLE / each).floor().max(1.0);
        let at_a_time = |calls: f64| (self.requests * call_seconds / calls - call_seconds).max(0.0);
        let mut bounds = vec![
            (
                self.charged / (quota.tokens_per_minute * USED) * 60.0,
                Bound::TokensPerMinute,
                quota.tokens_per_minute,
                source,
            ),
            (at_a_time(slots), Bound::Concurrency, slots, "setting"),
            (at_a_time(fit), Bound::Reservations, fit, source),
        ];
        if let Some(limit) = quota.requests_per_minute {
            bounds.push((
                (self.requests - 1.0).max(0.0) / limit * 60.0,
                Bound::RequestsPerMinute,
                limit,
                self.requests_source,
            ));
        }
        if let Some(most) = self.spec.max_concurrent.map(f64::from) {
            bounds.push((at_a_time(most), Bound::ModelConcurrency, most, "setting"));
        }
        let last = bounds.into_iter().reduce(|a, b| if b.0 > a.0 { b } else { a });
        let (last_start_seconds, bound_by, limit, limit_source) =
            last.unwrap_or((0.0, Bound::Concurrency, slots, "setting"));
        Eta {
            last_start_seconds,
            done_seconds: last_start_seconds + call_seconds,
            bound_by,
            limit,
            limit_source,
            ahead: self.ahead,
            ahead_at_least: self.ahead_at_least,
        }
    }
}

/// When each of several loads is done that share slots: each is `work` slot-seconds, takes `alone` seconds by itself and never
/// more slots than that needs. What one does not need the others share evenly.
fn share(loads: &[(f64, f64)], slots: f64) -> Vec<f64> {
    let mut left: Vec<f64> = loads.iter().map(|(work, _)| *work).collect();
    let mut done = vec![0.0; loads.len()];
    let mut now = 0.0;
    for _ in 0..loads.len() {
        let mut open: Vec<(usize, f64)> =
            (0..loads.len()).filter(|i| left[*i] > 1e-9).map(|i| (i, loads[i].0 / loads[i].1)).collect();
        open.sort_by(|a, b| a.1.total_cmp(&b.1));
        let mut free = slots;
        let mut parts: Vec<(usize, f64)> = Vec::new();
        for (place, (i, most)) in open.iter().enumerate() {
            let part = most.min(free / (open.len() - place) as f64);
            free -= part;
            parts.push((*i, part));
        }
        let Some(step) = parts.iter().map(|(i, part)| left[*i] / part).reduce(f64::min) else { break };
        now += step;
        for (i, part) in parts {
            left[i] -= part * step;
            if left[i] <= 1e-9 * loads[i].0 {
                left[i] = 0.0;
                done[i] = now;
            }
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_share_what_the_others_do_not_need() {
        let near = |got: Vec<f64>, expected: &[f64]| {
            assert_eq!(got.len(), expected.len());
            assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?} {expected:?}");
        };
        near(share(&[(100.0, 10.0)], 30.0), &[10.0]);
        near(share(&[(100.0, 10.0), (300.0, 100.0)], 30.0), &[10.0, 100.0]);
        // Each would need all: half each until the first is done, then all.
        near(share(&[(100.0, 10.0), (300.0, 30.0)], 10.0), &[20.0, 40.0]);
        // One needs 2 of 10, the other gets 8.
        near(share(&[(20.0, 10.0), (100.0, 10.0)], 10.0), &[10.0, 12.0]);
        near(share(&[], 10.0), &[]);
        near(share(&[(0.0, 5.0), (10.0, 1.0)], 10.0), &[0.0, 1.0]);
    }
}
