//! Numbers for dashboards.

use async_trait::async_trait;
use serde::Serialize;

use super::PortError;
use crate::clock::Timestamp;

/// A metric's unit, as CloudWatch names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Milliseconds.
    Milliseconds,
    /// 0 to 100.
    Percent,
    /// Dollars and anything else.
    None,
}

impl Unit {
    /// Its name on CloudWatch.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
            Self::Percent => "Percent",
            Self::None => "None",
        }
    }
}

/// Values of one metric over a minute, already summed up.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
    /// `RequestsFinished`, `Wait`, …
    pub name: &'static str,
    /// Few and of few values: lane, status, priority class.
    pub dimensions: Vec<(&'static str, String)>,
    /// When the period began.
    pub at: Timestamp,
    /// Its unit.
    pub unit: Unit,
    /// How many samples.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// A delivery that failed, as a whole or in part.
#[derive(Debug)]
pub struct Undelivered {
    /// Why.
    pub error: PortError,
    /// What was certainly not taken, and may be delivered again.
    pub data: Vec<Datum>,
    /// How many data must not be delivered again: they were refused for what they say, or may have been taken.
    pub lost: usize,
}

/// Where metrics go.
#[async_trait]
pub trait Metrics: Send + Sync {
    /// Delivers all of them, in as few calls as the service allows. After a failure the rest tells what has not been counted.
    async fn put(&self, data: Vec<Datum>) -> Result<(), Undelivered>;
}
