//! Telling the engineer on call: what an alert says, as data, and where alerts go.

mod kinds;
mod text;

use async_trait::async_trait;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

pub use self::kinds::Kind;
use super::PortResult;
use crate::clock::Timestamp;

/// Longest subject, in characters; SNS takes no more.
pub const MAX_SUBJECT: usize = 100;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For the record.
    Info,
    /// Look at it today.
    Warning,
    /// Look at it now.
    Critical,
}

impl Severity {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Where a condition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has begun.
    Firing,
    /// It was told before and goes on: a sum.
    Ongoing,
    /// It is over.
    Recovered,
}

impl State {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Ongoing => "ongoing",
            Self::Recovered => "recovered",
        }
    }
}

/// A number that on-call needs, or a time or a name in place of one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Amount {
    /// Of `unit`.
    Number(f64),
    /// A time or a name.
    Text(String),
}

/// An [`Amount`] with its name, `failed_calls`, and its unit, `calls`; the unit of a text is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// What is counted, in snake case.
    pub name: &'static str,
    /// How much.
    pub amount: Amount,
    /// Of what.
    pub unit: &'static str,
}

/// What to do: a command to copy, or words where no command does it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What it shows or changes.
    pub why: String,
    /// The exact command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// One notification. `pipeline::alerts` decides when and writes it; a channel only delivers. Has no payload and no prompt, and
/// nothing that a model call answered. As JSON (see [`Alert::to_json`]) these names are stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alert {
    /// Of this shape; see [`Alert::SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What kind of condition.
    pub kind: Kind,
    /// Names the condition: alerts of one key are of one condition.
    pub key: String,
    /// How bad; `info` when it is over.
    pub severity: Severity,
    /// Where it stands.
    pub state: State,
    /// What and where, at most 100 ASCII characters.
    pub subject: String,
    /// What it means for requests.
    pub impact: String,
    /// How much, how often, until when.
    #[serde(serialize_with = "numbers")]
    pub numbers: Vec<Number>,
    /// Likely ones first.
    pub causes: Vec<String>,
    /// How to see what is the matter.
    pub look: Vec<Step>,
    /// How to end it.
    pub fix: Vec<Step>,
    /// The dashboard, where there is one.
    pub dashboard: Option<String>,
    /// The section of the runbook.
    pub runbook: String,
    /// Which deployment: its name and Region, or its directory.
    pub deployment: String,
    /// When this was written.
    pub at: Timestamp,
    /// When the condition began.
    pub since: Timestamp,
    /// How often it has happened since then, by all workers.
    pub count: u64,
    /// The worker that tells.
    pub worker: String,
}

impl Alert {
    /// Raised when a field goes or changes its meaning; new fields may come without.
    pub const SCHEMA_VERSION: u32 = 1;

    /// The text for people, at most 80 lines or so.
    #[must_use]
    pub fn text(&self) -> String {
        text::render(self)
    }

    /// The alert as one JSON object on one line, the text for people in `text`.
    #[must_use]
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct WithText<'a> {
            #[serde(flatten)]
            alert: &'a Alert,
            text: String,
        }
        serde_json::to_string(&WithText { alert: self, text: self.text() }).unwrap_or_default()
    }
}

/// As a map by name, in order.
fn numbers<S: Serializer>(numbers: &[Number], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Shown<'a> {
        value: &'a Amount,
        unit: &'a str,
    }
    let mut map = serializer.serialize_map(Some(numbers.len()))?;
    for number in numbers {
        map.serialize_entry(number.name, &Shown { value: &number.amount, unit: number.unit })?;
    }
    map.end()
}

/// A channel that alerts go to.
#[async_trait]
pub trait Alerts: Send + Sync {
    /// Which, for people, without anything secret: `sns arn:aws:sns:…`.
    fn name(&self) -> String;

    /// Delivers one alert, once or more often when an answer is lost.
    async fn publish(&self, alert: &Alert) -> PortResult<()>;
}
