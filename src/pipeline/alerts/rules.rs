//! When each kind is told and when it is over, as a table.

use std::time::Duration;

use super::board::Sums;
use super::conditions::{Condition, Fault};
use super::{PERIOD, Settings};
use crate::ports::alerts::{Kind, Severity};

/// Throttled calls are normal up to this share: so the pacing learns what the real quota is.
const THROTTLED_SHARE: f64 = 0.01;
/// Failures of a service that may pass must last for so many periods.
const PASSING_PERIODS: u32 = 3;
/// So many calls at least for half of them to be telling.
const MANY_CALLS: u64 = 10;
/// Nothing of it for so long: over, however it should have been told.
const AT_LATEST: Duration = Duration::from_hours(24);

/// When a condition is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// The first time.
    AtOnce,
    /// When it has happened [`Settings::threshold`] times in each of so many consecutive periods, and was at least this share of
    /// the lane's calls.
    Rate {
        /// Consecutive periods.
        periods: u32,
        /// Of the calls, 0 to 1.
        share: f64,
    },
}

impl Condition {
    /// When it is told.
    #[must_use]
    pub fn when(&self, settings: &Settings) -> When {
        match self {
            Self::ErrorRate { .. } => When::Rate { periods: settings.periods, share: 0.0 },
            Self::Throttled { .. } => When::Rate { periods: settings.periods, share: THROTTLED_SHARE },
            Self::Port { passing: true, .. } => {
                When::Rate { periods: settings.periods.max(PASSING_PERIODS), share: 0.0 }
            }
            _ => When::AtOnce,
        }
    }

    /// Nothing of it for so long: it is over.
    #[must_use]
    pub fn quiet(&self, settings: &Settings) -> Duration {
        match self {
            Self::ErrorRate { .. } | Self::Throttled { .. } => PERIOD * (settings.periods + 1),
            Self::Port { .. } => PERIOD * (settings.periods.max(PASSING_PERIODS) + 2),
            Self::LanePaused { .. } => PERIOD * 5,
            Self::Poison { .. } | Self::ForeignMessage { .. } => settings.cooldown.max(PERIOD * 5),
            Self::WorkerLost { .. } => Duration::from_hours(1),
            _ => AT_LATEST,
        }
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(&self, sums: &Sums) -> Severity {
        match self {
            Self::Test | Self::ModelSwitched { .. } => Severity::Info,
            Self::DeadLetters { .. }
            | Self::AccessDenied { .. }
            | Self::NoProgress { .. }
            | Self::LanePaused { account_wide: true, .. }
            | Self::Port { passing: false, .. } => Severity::Critical,
            // Bedrock is down, or we cannot reach it.
            Self::ErrorRate { fault: Fault::Bedrock | Fault::Unanswered, .. }
                if sums.calls >= MANY_CALLS && sums.events * 2 >= sums.calls =>
            {
                Severity::Critical
            }
            _ => Severity::Warning,
        }
    }
}

/// What [`Condition::severity`] and [`Condition::when`] say of a kind, and what ends it, in words for `docs/alerts.md`.
#[must_use]
pub fn in_words(kind: Kind) -> [&'static str; 3] {
    match kind {
        Kind::ErrorRate => [
            "warning; critical when half of the calls fail and the requests are not at fault",
            "`alarm_threshold` failed calls in each of `alarm_evaluation_periods` consecutive periods",
            "fewer than that for the evaluation periods and one more",
        ],
        Kind::Throttled => [
            "warning",
            "`alarm_threshold` throttled calls, and 1 % of the lane's calls, in each of `alarm_evaluation_periods` consecutive periods",
            "fewer than that for the evaluation periods and one more",
        ],
        Kind::DeadLetters => ["critical", "at once", "the queue is empty"],
        Kind::DeadlineAtRisk => ["warning", "at once", "no known request of that tenant and lane is late any more"],
        Kind::Budget => ["warning", "at once", "it has room again: it renewed, or was raised"],
        Kind::LanePaused => [
            "warning; critical when all lanes of the account pause",
            "at once",
            "the pause is over and a call was answered, or five minutes have passed without another",
        ],
        Kind::AccessDenied => ["critical", "at once", "a call of that model is answered"],
        Kind::NoProgress => {
            ["critical", "after five minutes, or four average calls if that is longer", "a request finishes"]
        }
        Kind::WorkerLost => {
            ["warning", "after 20 s of silence", "there are as many workers as before; at the latest after an hour"]
        }
        Kind::ModelSwitched => ["info", "at once", "requests go to the model they ask for again"],
        Kind::Port => [
            "critical; warning when it may pass by itself",
            "at once; what may pass by itself, after `alarm_threshold` failures in each of three consecutive periods",
            "no failure for some minutes: what failed is repeated at least once a minute",
        ],
        Kind::Poison | Kind::ForeignMessage => ["warning", "at once", "no other one within `alert_cooldown`"],
        Kind::Test => ["info", "when you ask for it", "never"],
    }
}
