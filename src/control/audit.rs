//! Who changed what, when and why: one event for every change that an operator makes, written after its effect.
//!
//! Each event is a register of its own, `audit/<day>/<time>-<random>`, written once and never again, so that a day's are listed by
//! their prefix. One has about a kilobyte, at most [`LONGEST`]; they are kept for good.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Timestamp};
use crate::ports::{PortError, PortResult, Registers};
use crate::request::RequestId;

/// The longest value of a register, and less than what the table takes.
pub const LONGEST: usize = 60_000;
/// Ids that an event names; of more only the number is kept.
const NAMED: usize = 100;
/// Names tried: one is taken only if another event of the same millisecond drew the same number.
const TRIES: u32 = 3;
const DAY: std::time::Duration = std::time::Duration::from_hours(24);

/// Who gives an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// As the person says, by default `user@host`.
    pub name: String,
    /// As AWS knows the caller, on AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
}

impl Operator {
    /// Somebody by name.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), arn: None }
    }
}

/// What was done. As JSON and in tables these names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Requests were taken back.
    Cancel,
    /// Requests got another priority.
    Reprioritise,
    /// Requests got another deadline, or none.
    Deadline,
    /// Something was paused.
    Pause,
    /// It was resumed.
    Resume,
    /// Failed requests were put back into line.
    Redrive,
    /// Dead letters were thrown away.
    Purge,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancel => "cancel",
            Self::Reprioritise => "reprioritise",
            Self::Deadline => "deadline",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Redrive => "redrive",
            Self::Purge => "purge",
        })
    }
}

/// What it was done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Requests by name: the first of them, and how many there were.
    Requests {
        /// At most a hundred.
        ids: Vec<String>,
        /// All of them.
        count: u64,
    },
    /// What matched, in words.
    Matching(String),
    /// A lane, a tenant, a use case or everything, in words.
    Scope(String),
}

impl Target {
    /// These requests.
    #[must_use]
    pub fn requests(ids: &[RequestId]) -> Self {
        Self::of(ids.iter().map(RequestId::as_str))
    }

    /// These requests, or messages.
    #[must_use]
    pub fn named(names: &[String]) -> Self {
        Self::of(names.iter().map(String::as_str))
    }

    fn of<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> Self {
        let count = names.len() as u64;
        Self::Requests { ids: names.take(NAMED).map(ToOwned::to_owned).collect(), count }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matching(words) | Self::Scope(words) => f.write_str(words),
            Self::Requests { ids, count } => match (ids.as_slice(), count) {
                ([only], 1) => f.write_str(only),
                ([first, ..], _) => write!(f, "{first} and {} more", count - 1),
                ([], _) => f.write_str("nothing"),
            },
        }
    }
}

/// A change and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Who.
    pub operator: Operator,
    /// What.
    pub action: Action,
    /// To what.
    pub target: Target,
    /// What it was before, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is now, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many came to which outcome.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outcome: BTreeMap<String, u64>,
    /// Why it ended before all was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// An event and when it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

/// Writes an event.
///
/// # Errors
/// The registers are out of reach, or the event is longer than [`LONGEST`]. What it tells of has happened all the same.
pub async fn record(registers: &dyn Registers, clock: &Clock, event: Event) -> PortResult<()> {
    let what = "write the audit event";
    let entry = Entry { at: clock.now(), event };
    let value = serde_json::to_string(&entry).map_err(|e| PortError::permanent(what, e))?;
    if value.len() > LONGEST {
        return Err(PortError::permanent(what, format!("it has {} bytes, more than {LONGEST}", value.len())));
    }
    let time: String = entry.at.to_string().chars().skip(11).take(12).collect();
    for _ in 0..TRIES {
        let name = format!("audit/{}/{time}-{:016x}", entry.at.day(), fastrand::u64(..));
        if registers.write(&name, 0, value.clone()).await? {
            return Ok(());
        }
    }
    Err(PortError::transient(what, "every name that was tried is taken"))
}

/// The events of a UTC day (`2026-11-21`), oldest first.
///
/// # Errors
/// The registers are out of reach, or one of them is no event.
pub async fn day(registers: &dyn Registers, day: &str) -> PortResult<Vec<Entry>> {
    let mut entries = Vec::new();
    for (name, register) in registers.list(&format!("audit/{day}/")).await? {
        let entry: Entry = serde_json::from_str(&register.value)
            .map_err(|e| PortError::permanent(format!("read register {name}"), e))?;
        entries.push(entry);
    }
    Ok(entries)
}

/// The events from `since` until `now`, oldest first.
///
/// # Errors
/// As [`day`].
pub async fn since(registers: &dyn Registers, since: Timestamp, now: Timestamp) -> PortResult<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut at = since;
    loop {
        let of_day = day(registers, &at.day()).await?;
        entries.extend(of_day.into_iter().filter(|entry| entry.at >= since));
        if at.day() >= now.day() {
            return Ok(entries);
        }
        at = at + DAY;
    }
}
