//! The life of one call: its fate is drawn, it is admitted against the quota or throttled, it takes its time, and it
//! ends by being served (settled), failed (given back) or abandoned by its client (settled: the work was done).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::answer::{Answer, compose, latency_ms};
use super::draw::{Draws, real, whole};
use super::fault::{AwsError, FaultKind};
use super::prompt::{Prompt, first_bits};
use super::quota::{Throttle, Ticket};
use super::state::{Model, State};

/// Tokens of one call, as the response tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Prompt tokens neither read from nor written to the cache.
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_write: u64,
}

impl Usage {
    pub(super) const fn total(&self) -> u64 {
        self.input + self.output + self.cache_read + self.cache_write
    }

    /// What the quota is charged in the end.
    fn settled(&self, burndown: f64) -> u64 {
        self.input + self.cache_write + whole((real(self.output) * burndown).ceil())
    }
}

/// A well-formed request for a known model.
pub(super) struct Request<'a> {
    pub model: Arc<Model>,
    pub body: &'a [u8],
    /// Counts the calls under this name; the body's SHA-256 where there is none.
    pub key: Option<&'a str>,
    pub prompt: Prompt,
}

/// How a call that was admitted will fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fate {
    pub kind: FaultKind,
    /// At which share of its duration.
    pub at: f64,
    /// On a streaming call: amid the stream instead of in place of it.
    pub in_stream: bool,
}

/// An admitted call. Dropping it without an end means its client went away.
pub(super) struct Call {
    pub state: Arc<State>,
    pub model: Arc<Model>,
    pub usage: Usage,
    pub answer: Answer,
    pub latency: Duration,
    /// Time to the first token.
    pub first_token: Duration,
    pub fate: Option<Fate>,
    pub id: String,
    /// Output tokens that an abandoned call is charged for.
    pub produced: u64,
    /// The connection has gone silent: however it ends now, the call has failed.
    pub stalled: bool,
    key: Option<String>,
    prompt: Prompt,
    ticket: Option<Ticket>,
}

impl Call {
    /// Admits a call or says how it is refused.
    pub(super) fn begin(state: &Arc<State>, request: Request) -> Result<Self, AwsError> {
        let Request { model, body, key, prompt } = request;
        let catalog = state.catalog();
        let settings = &model.settings;
        check_limits(&model, &prompt).inspect_err(|_| model.books().tally.rejected())?;

        let digest = Sha256::digest(body);
        let content = first_bits(&Sha256::new().chain_update(&model.id).chain_update(digest).finalize());
        let key = catalog.settings.record_calls.then(|| key.map_or_else(|| hex(&digest), str::to_owned));
        let now = Instant::now();
        let mut memory = state.memory();
        let attempt = memory.attempt(content);
        if let Some(key) = &key {
            memory.calls.came(key);
        }
        let read = prompt
            .points
            .iter()
            .rev()
            .find(|point| memory.is_cached(point.prefix, now))
            .map_or(0, |point| point.tokens);
        drop(memory);
        let write = prompt.points.last().map_or(0, |point| point.tokens).saturating_sub(read);
        let mut usage = Usage { input: prompt.tokens - read - write, output: 0, cache_read: read, cache_write: write };

        let mut draws = Draws::new(catalog.settings.seed, content, attempt);
        let fault = settings.faults.pick(draws.uniform());
        let reserve = usage.input + write + prompt.max_tokens.unwrap_or(settings.max_output_tokens);
        let mut books = model.books();
        books.tally.called();
        if let Some(kind) = fault.filter(|kind| kind.before_admission()) {
            books.tally.faulted(kind);
            return Err(refusal(kind, &model.id));
        }
        let ticket = books.quota.try_start(now, reserve).map_err(|throttle| {
            books.tally.throttled(throttle);
            throttled(throttle)
        })?;
        books.tally.started(now, reserve);
        drop(books);
        let in_flight = state.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        state.in_flight_peak.fetch_max(in_flight, Ordering::Relaxed);

        let fate = fault.map(|kind| Fate {
            kind,
            at: if kind == FaultKind::Timeout { 1.0 } else { draws.uniform() },
            in_stream: draws.uniform() < 0.5,
        });
        let mut content_draws = Draws::new(catalog.settings.seed, content, 0);
        let answer = compose(&prompt, settings, &mut content_draws);
        usage.output = answer.tokens;
        let scale = catalog.settings.latency_scale / 1_000.0;
        let total_ms = latency_ms(settings, answer.tokens, &mut draws);
        let mean_ms = settings.latency.base_ms + real(answer.tokens) / settings.latency.tokens_per_second * 1_000.0;
        let first_ms = if mean_ms > 0.0 { total_ms * settings.latency.base_ms / mean_ms } else { 0.0 };
        Ok(Self {
            state: Arc::clone(state),
            produced: usage.output,
            usage,
            answer,
            latency: Duration::from_secs_f64(total_ms * scale),
            first_token: Duration::from_secs_f64(first_ms * scale),
            fate,
            id: super::answer::letters(&mut draws, 24),
            key,
            stalled: false,
            prompt,
            ticket: Some(ticket),
            model,
        })
    }

    /// The call was answered: settles it and fills the prompt cache.
    pub(super) fn finish(mut self) {
        let now = Instant::now();
        if !self.prompt.points.is_empty() {
            let mut memory = self.state.memory();
            for point in &self.prompt.points {
                memory.cache(point.prefix, now + point.ttl);
            }
        }
        self.end(now, false);
    }

    /// The call failed: gives everything back. Returns the error, none where the client sees none.
    pub(super) fn fail(mut self, kind: FaultKind) -> Option<AwsError> {
        self.undo(kind);
        kind.error(&self.model.id)
    }

    fn undo(&mut self, kind: FaultKind) {
        let Some(ticket) = self.ticket.take() else { return };
        let now = Instant::now();
        let mut books = self.model.books();
        books.quota.give_back(now, ticket);
        books.tally.failed(now, kind);
        drop(books);
        self.state.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    fn end(&mut self, now: Instant, abandoned: bool) {
        let Some(ticket) = self.ticket.take() else { return };
        let settled = self.usage.settled(self.model.settings.burndown);
        let mut books = self.model.books();
        books.settle(now, ticket, &self.usage, settled);
        books.tally.ended(now, &self.usage, settled, abandoned);
        drop(books);
        self.state.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(key) = &self.key {
            self.state.memory().calls.worked(key);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.stalled {
            self.undo(FaultKind::Stall);
        } else if self.ticket.is_some() {
            self.usage.output = self.produced;
            self.end(Instant::now(), true);
        }
    }
}

fn check_limits(model: &Model, prompt: &Prompt) -> Result<(), AwsError> {
    let settings = &model.settings;
    if prompt.tokens > settings.max_input_tokens {
        return Err(AwsError::validation(if model.family.embeds() {
            format!(
                "400 Bad Request: Too many input tokens. Max input tokens: {}, request input token count: {}",
                settings.max_input_tokens, prompt.tokens
            )
        } else {
            "Input is too long for requested model.".to_owned()
        }));
    }
    if let Some(asked) = prompt.max_tokens.filter(|asked| *asked > settings.max_output_tokens) {
        let limit = settings.max_output_tokens;
        return Err(AwsError::validation(format!(
            "The maximum tokens you requested ({asked}) exceeds the model limit of {limit}. Try again with a maximum tokens value that is lower than {limit}."
        )));
    }
    Ok(())
}

fn refusal(kind: FaultKind, model_id: &str) -> AwsError {
    kind.error(model_id).unwrap_or_else(|| AwsError::new(500, "InternalServerException", "no error of this kind"))
}

fn throttled(by: Throttle) -> AwsError {
    AwsError::throttling(match by {
        Throttle::Requests => "Too many requests, please wait before trying again.",
        Throttle::Tokens => "Too many tokens, please wait before trying again.",
        Throttle::TokensPerDay => "Too many tokens per day, please wait before trying again.",
    })
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xF)]).collect()
}

#[cfg(test)]
mod tests;
