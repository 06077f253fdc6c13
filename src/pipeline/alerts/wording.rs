//! What is said of each kind, for somebody who was asleep a minute ago: what it means for requests, how much, why, and what to
//! type. In `calls` what Bedrock does, in `work` what becomes of requests, in `fleet` workers and services.

mod calls;
mod fleet;
mod work;

use super::board::Sums;
use super::conditions::Condition;
use super::frame::Frame;
use super::{PERIOD, Settings};
use crate::clock::Timestamp;
use crate::models::{bare_id, quota_id};
use crate::ports::alerts::{Amount, Number, Step};
use crate::request::{Lane, ModelId};
use crate::shell;

/// What is known besides the condition.
pub struct Facts<'a> {
    pub sums: Sums,
    pub settings: &'a Settings,
    pub frame: &'a Frame,
}

/// What is said.
#[derive(Debug, Default)]
pub struct Content {
    /// In a few words, with which model, tenant or queue.
    pub what: String,
    pub impact: String,
    pub numbers: Vec<Number>,
    pub causes: Vec<String>,
    pub look: Vec<Step>,
    pub fix: Vec<Step>,
    /// In place of the impact when it is over.
    pub over: String,
}

pub fn content(condition: &Condition, facts: &Facts<'_>) -> Content {
    match condition {
        Condition::ErrorRate { lane, error, fault, latest } => calls::error_rate(lane, error, *fault, latest, facts),
        Condition::Throttled { lane, tokens } => calls::throttled(lane, *tokens, facts),
        Condition::AccessDenied { lane, model, latest } => calls::access_denied(lane, model, latest, facts),
        Condition::LanePaused { lane, account_wide, until } => calls::lane_paused(lane, *account_wide, *until, facts),
        Condition::ModelSwitched { from, to, tenant, use_case, reason } => {
            let whose = (tenant.as_ref(), use_case.as_deref());
            work::model_switched(from, to, whose, *reason, facts)
        }
        Condition::DeadLetters { queue, messages } => work::dead_letters(queue, *messages, facts),
        Condition::Poison { lane, tenant, latest, workers } => work::poison(lane, tenant, latest, *workers, facts),
        Condition::DeadlineAtRisk { .. } => work::deadline_at_risk(condition, facts),
        Condition::Budget { .. } => work::budget(condition, facts),
        Condition::NoProgress { .. } => fleet::no_progress(condition, facts),
        Condition::WorkerLost { workers, seen, alive, before } => {
            fleet::worker_lost(workers, *seen, *alive, *before, facts)
        }
        Condition::Port { group, what, why, passing } => fleet::port(group, what, why, *passing, facts),
        Condition::ForeignMessage { queue, message } => fleet::foreign_message(queue, message, facts),
        Condition::Test => fleet::test(facts),
    }
}

/// The numbers that say something about all of it, when it is over: not those of a moment, nor of the latest request.
pub fn of_all(mut numbers: Vec<Number>) -> Vec<Number> {
    const LASTING: [&str; 17] = [
        "failed_calls",
        "throttled_calls",
        "refused_calls",
        "share_of_calls",
        "requests_failed",
        "requests_given_up",
        "requests_switched",
        "failures",
        "receives",
        "model",
        "region",
        "tenant",
        "queue",
        "asked_for",
        "used",
        "lost",
        "limit",
    ];
    numbers.retain(|number| LASTING.contains(&number.name));
    numbers
}

impl Facts<'_> {
    /// A step with a command of smoother's on the requests.
    fn step(&self, why: &str, words: &str) -> Step {
        step(why, self.frame.command(words))
    }

    /// `5 calls in each of 2 minutes`.
    fn threshold(&self) -> String {
        let minutes = u64::from(self.settings.periods) * PERIOD.as_secs() / 60;
        let span = if minutes == 1 { "a minute".to_owned() } else { format!("each of {minutes} minutes in a row") };
        format!("{} in {span}", self.settings.threshold)
    }
}

fn step(why: &str, run: impl Into<String>) -> Step {
    Step { why: why.to_owned(), run: Some(run.into()) }
}

/// Where no command does it.
fn advice(why: impl Into<String>) -> Step {
    Step { why: why.into(), run: None }
}

fn number(name: &'static str, amount: f64, unit: &'static str) -> Number {
    Number { name, amount: Amount::Number(amount), unit }
}

fn text(name: &'static str, text: impl Into<String>) -> Number {
    Number { name, amount: Amount::Text(text.into()), unit: "" }
}

fn time(name: &'static str, at: Timestamp) -> Number {
    text(name, moment(at))
}

fn moment(at: Timestamp) -> String {
    let text: String = at.to_string().chars().take(19).collect();
    format!("{} UTC", text.replace('T', " "))
}

/// A model by the name that people know; the numbers have the id in full.
fn short(model: &ModelId) -> &str {
    let id = quota_id(model.as_str());
    let name = bare_id(id.rsplit_once('/').map_or(id, |(_, name)| name));
    name.split_once('.').map_or(name, |(_, name)| name)
}

/// The Region of a lane.
fn region(lane: &Lane) -> &str {
    lane.as_str().split(':').nth(1).unwrap_or_default()
}

fn word(text: &str) -> String {
    shell::word(text)
}

#[cfg(test)]
mod tests;
