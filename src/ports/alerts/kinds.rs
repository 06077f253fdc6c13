//! The closed list of what on-call is told of.

use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($( $(#[doc = $doc:literal])+ $kind:ident = $name:literal, )+) => {
        /// What kind of condition an alert is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Kind {
            $( $(#[doc = $doc])+ #[serde(rename = $name)] $kind, )+
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// As it is written, also in the runbook's anchors.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }

            /// What it tells of, for people.
            #[must_use]
            pub fn about(self) -> String {
                let lines: &[&str] = match self {
                    $(Self::$kind => &[$($doc),+],)+
                };
                lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
            }
        }
    };
}

kinds! {
    /// Calls of a lane fail with one error, other than throttles and denied access.
    ErrorRate = "error-rate",
    /// Bedrock throttles a lane in spite of pacing: at least 1 % of the calls.
    Throttled = "throttled",
    /// The dead-letter queue holds messages that no worker could bring to an end.
    DeadLetters = "dead-letters",
    /// A request took three workers down and was given up.
    Poison = "poison",
    /// Requests should start after their deadlines.
    DeadlineAtRisk = "deadline-at-risk",
    /// A budget has no room for the next request.
    Budget = "budget",
    /// Bedrock says that the day's tokens of a model, or of the account, are used up; the lane pauses.
    LanePaused = "lane-paused",
    /// Bedrock refuses the calls of a model for missing rights.
    AccessDenied = "access-denied",
    /// Requests could be called, and for minutes the fleet has finished none.
    NoProgress = "no-progress",
    /// A worker is gone without having left in order.
    WorkerLost = "worker-lost",
    /// Requests go to another model than they asked for.
    ModelSwitched = "model-switched",
    /// A service refuses what the worker needs of it, or fails for minutes.
    Port = "port",
    /// Something in the hold queue is not smoother's.
    ForeignMessage = "foreign-message",
    /// Sent by `smoother alerts test`.
    Test = "test",
}
