//! What all connections share: the models with their quotas, the attempts and caches, the call log.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::call::Usage;
use super::draw::{Draws, count, real};
use super::family::{Family, base_id, split_geography};
use super::fault::AwsError;
use super::memory::Generations;
use super::minutes::Minutes;
use super::quota::{MinuteUse, Quota, Ticket};
use super::settings::{ModelSettings, Settings};
use super::stats::{CallLog, Stats, Tally, Totals};
use crate::clock::{Clock, Timestamp};

/// One model: settings that a change replaces, books that it keeps.
pub(super) struct Model {
    pub id: String,
    pub family: Family,
    pub settings: ModelSettings,
    books: Arc<Mutex<Books>>,
}

/// A model's quota and counts, under one short lock.
pub(super) struct Books {
    pub quota: Quota,
    pub tally: Tally,
    /// Input and output tokens of the calls that ended, by minute of UTC, as the quota's minutes are.
    tokens: Minutes<(u64, u64)>,
}

/// The settings in force, and the models made of them.
pub(super) struct Catalog {
    pub settings: Settings,
    pub models: BTreeMap<String, Arc<Model>>,
}

/// Everything that remembers requests.
pub(super) struct Memory {
    attempts: Generations<u64, u64>,
    cached: Generations<u64, Instant>,
    pub calls: CallLog,
}

const ATTEMPTS: usize = 1 << 20;
const CACHED: usize = 1 << 16;

pub(super) struct State {
    /// For what has a date: metrics.
    pub clock: Clock,
    catalog: RwLock<Arc<Catalog>>,
    memory: Mutex<Memory>,
    since: Mutex<Instant>,
    unknown_model: AtomicU64,
    pub in_flight: AtomicU64,
    pub in_flight_peak: AtomicU64,
    serial: AtomicU64,
    pub stop: CancellationToken,
}

/// The simulator is being stopped.
#[derive(Debug)]
pub(super) struct Stopping;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Model {
    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }
}

impl Books {
    /// Ends a served call.
    pub(super) fn settle(&mut self, now: Instant, ticket: Ticket, usage: &Usage, settled: u64) {
        self.quota.settle(now, ticket, settled);
        let (input, output) = self.tokens.entry(self.quota.minute(now));
        *input += usage.input;
        *output += usage.output;
    }

    /// A metric of the last hour by minute of UTC; empty when there is no such metric.
    pub(super) fn metric(&mut self, name: &str) -> Vec<(u64, f64)> {
        let usage = self.quota.usage(Instant::now());
        let of = |value: fn(&MinuteUse) -> f64| {
            let data = usage.iter().map(|(minute, seen)| (*minute, value(seen)));
            data.collect()
        };
        match name {
            "EstimatedTPMQuotaUsage" => {
                usage.iter().filter(|(_, seen)| seen.served > 0).map(|(minute, seen)| (*minute, seen.settled)).collect()
            }
            "Invocations" => of(|seen| real(seen.served)),
            "InvocationThrottles" => of(|seen| real(seen.throttled)),
            "InputTokenCount" => self.tokens.all().iter().map(|(minute, (input, _))| (*minute, real(*input))).collect(),
            "OutputTokenCount" => {
                self.tokens.all().iter().map(|(minute, (_, output))| (*minute, real(*output))).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Each model's random traffic and window phase are its own.
fn quota_seed(seed: u64, id: &str) -> u64 {
    id.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

impl Catalog {
    fn new(settings: Settings, before: Option<&Self>, clock: &Clock) -> Self {
        let (now, since_epoch) = (Instant::now(), clock.now().since(Timestamp(0)));
        let model = |(id, model): (&String, &ModelSettings)| {
            let spec = model.quota(quota_seed(settings.seed, id));
            let books = if let Some(old) = before.and_then(|before| before.models.get(id)) {
                old.books().quota.change(now, spec);
                Arc::clone(&old.books)
            } else {
                let quota = Quota::new(spec, now).counting_from(since_epoch);
                Arc::new(Mutex::new(Books { quota, tally: Tally::default(), tokens: Minutes::default() }))
            };
            let model = Model { id: id.clone(), family: Family::of(id), settings: model.clone(), books };
            (id.clone(), Arc::new(model))
        };
        let models = settings.models.iter().map(model).collect();
        Self { settings, models }
    }

    /// The model that a path's id or ARN means.
    fn resolve(&self, given: &str) -> Result<&Arc<Model>, AwsError> {
        let id = match given.strip_prefix("arn:").and_then(|arn| arn.rsplit_once('/')) {
            Some((arn, id)) if arn.ends_with(":application-inference-profile") => {
                self.settings.application_profiles.get(id).map_or(id, String::as_str)
            }
            Some((_, id)) => id,
            None => self.settings.application_profiles.get(given).map_or(given, String::as_str),
        };
        if let Some(model) = self.models.get(id) {
            return Ok(model);
        }
        let profiled = self.models.keys().any(|known| split_geography(known).0.is_some() && base_id(known) == id);
        Err(AwsError::validation(if profiled {
            format!(
                "Invocation of model ID {id} with on-demand throughput isn\u{2019}t supported. Retry your request with the ID or ARN of an inference profile that contains this model."
            )
        } else {
            "The provided model identifier is invalid.".to_owned()
        }))
    }
}

impl State {
    pub(super) fn new(settings: Settings, clock: Clock) -> Self {
        Self {
            catalog: RwLock::new(Arc::new(Catalog::new(settings, None, &clock))),
            clock,
            memory: Mutex::new(Memory {
                attempts: Generations::new(ATTEMPTS),
                cached: Generations::new(CACHED),
                calls: CallLog::default(),
            }),
            since: Mutex::new(Instant::now()),
            unknown_model: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            in_flight_peak: AtomicU64::new(0),
            serial: AtomicU64::new(0),
            stop: CancellationToken::new(),
        }
    }

    pub(super) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }

    /// Lays a patch over the settings; models that stay keep their books.
    pub(super) fn change(&self, patch: serde_json::Value) -> Result<Settings, String> {
        let mut catalog = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        let settings = catalog.settings.patched(patch)?;
        *catalog = Arc::new(Catalog::new(settings.clone(), Some(&catalog), &self.clock));
        drop(catalog);
        Ok(settings)
    }

    pub(super) fn resolve(&self, id: &str) -> Result<Arc<Model>, AwsError> {
        self.catalog().resolve(id).cloned().inspect_err(|_| {
            self.unknown_model.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Waits, unless the simulator stops first.
    pub(super) async fn sleep(&self, duration: Duration) -> Result<(), Stopping> {
        if duration.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(duration) => Ok(()),
            () = self.stop.cancelled() => Err(Stopping),
        }
    }

    /// A request id: unique here, and the same in every run of the same sequence.
    pub(super) fn request_id(&self) -> String {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let mut draws = Draws::new(self.catalog().settings.seed, serial, u64::MAX);
        uuid(&mut draws)
    }

    pub(super) fn stats(&self) -> Stats {
        let now = Instant::now();
        let catalog = self.catalog();
        let mut total = Totals { in_flight_peak: self.in_flight_peak.load(Ordering::Relaxed), ..Totals::default() };
        let mut models = BTreeMap::new();
        for (id, model) in &catalog.models {
            let mut books = model.books();
            let levels = books.quota.levels(now);
            let stats = books.tally.show(books.quota.spec(), levels);
            drop(books);
            total.add(&stats);
            models.insert(id.clone(), stats);
        }
        let memory = self.memory();
        Stats {
            elapsed_s: now.saturating_duration_since(*lock(&self.since)).as_secs_f64(),
            total,
            unknown_model: self.unknown_model.load(Ordering::Relaxed),
            recorded_keys: count(memory.calls.len()),
            unrecorded_calls: memory.calls.unrecorded,
            models,
        }
    }

    /// Zeroes the stats, the call log and the counts of attempts, so that the same sequence of requests meets the same
    /// faults again. Quotas and prompt caches stay.
    pub(super) fn reset(&self) {
        *lock(&self.since) = Instant::now();
        self.unknown_model.store(0, Ordering::Relaxed);
        self.in_flight_peak.store(self.in_flight.load(Ordering::Relaxed), Ordering::Relaxed);
        for model in self.catalog().models.values() {
            model.books().tally.reset();
        }
        let mut memory = self.memory();
        memory.attempts.clear();
        memory.calls = CallLog::default();
    }
}

impl Memory {
    /// The number of this try of a content, from 1.
    pub(super) fn attempt(&mut self, content: u64) -> u64 {
        let attempts = self.attempts.entry(content, || 0);
        *attempts += 1;
        *attempts
    }

    /// Whether a prefix is cached now.
    pub(super) fn is_cached(&self, prefix: u64, now: Instant) -> bool {
        self.cached.get(&prefix).is_some_and(|until| *until > now)
    }

    /// Caches a prefix, or keeps it for longer.
    pub(super) fn cache(&mut self, prefix: u64, until: Instant) {
        let kept = self.cached.entry(prefix, || until);
        *kept = until.max(*kept);
    }
}

/// A version 4 UUID.
pub(super) fn uuid(draws: &mut Draws) -> String {
    let (high, low) = (draws.bits(), draws.bits());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xFFFF,
        high & 0xFFF,
        low >> 48 & 0x3FFF | 0x8000,
        low & 0xFFFF_FFFF_FFFF
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn ids_and_arns_resolve() {
        let settings =
            Settings::default().patched(json!({"application_profiles": {"abc123": "us.amazon.nova-pro-v1:0"}}));
        let state = State::new(settings.unwrap(), Clock::system());
        let id = |given: &str| state.resolve(given).map(|model| model.id.clone()).map_err(|error| error.message);
        for given in [
            "us.amazon.nova-pro-v1:0",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-pro-v1:0",
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123",
        ] {
            assert_eq!(id(given).unwrap(), "us.amazon.nova-pro-v1:0", "{given}");
        }
        assert_eq!(
            id("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0").unwrap(),
            "amazon.nova-lite-v1:0"
        );
        assert!(id("amazon.nova-pro-v1:0").unwrap_err().contains("inference profile"));
        assert_eq!(id("gpt").unwrap_err(), "The provided model identifier is invalid.");
        assert_eq!(state.stats().unknown_model, 2);
    }

    #[tokio::test]
    async fn a_change_keeps_the_books() {
        let state = State::new(Settings::default(), Clock::system());
        let id = "amazon.nova-lite-v1:0";
        state.resolve(id).unwrap().books().tally.called();
        state.change(json!({"models": {id: {"tpm": 10}}})).unwrap();
        let seen = state.stats();
        assert_eq!((seen.models[id].calls, seen.models[id].quota.tpm), (1, Some(10)));
        assert!(state.change(json!({"models": {id: {"tmp": 10}}})).unwrap_err().contains("tmp"));
        state.reset();
        assert_eq!(state.stats().models[id].calls, 0);
    }

    #[test]
    fn uuids_look_like_uuids() {
        let id = uuid(&mut Draws::new(1, 1, 1));
        assert_eq!(id.len(), 36);
        assert_eq!(id.chars().nth(14), Some('4'));
    }
}
