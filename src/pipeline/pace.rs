//! The admission gate: everything that calls Bedrock passes here, first attempts and retries alike.
//!
//! ```text
//! admit(ask) ─► waiting room of the lane, by rank ─► dispatcher: start due? tokens? room in flight? ─► Permit
//!                                                                                                      │ call
//!          meter, minute log, learned ratios, pauses  ◄──────────────── settle(what was really used) ──┘
//! ```
//! One [`Gate`] per process, one dispatcher task in it, one lane state per Bedrock quota. The design and the figures
//! behind the constants are the project's pacing study; each constant names its reason where it stands.

mod gate;
mod lane;
mod log;
mod meter;
mod pauses;
mod spacing;

pub use gate::{Gate, Paused, Permit};
pub use lane::LaneSnapshot;

use std::time::Duration;

use crate::ports::model::CallErrorClass;
use crate::request::{Estimate, Lane, Usage};

/// What a lane may use, fleet-wide. A changed limit applies from the next ask on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LaneLimits {
    /// Requests per minute, where Bedrock enforces them.
    pub requests_per_minute: Option<f64>,
    /// Tokens per minute.
    pub tokens_per_minute: Option<f64>,
    /// What an output token counts at settlement.
    pub burndown: f64,
    /// Calls in flight in this lane at most, below the fleet's budget.
    pub max_concurrent: Option<u32>,
}

/// A wish to call.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The quota it draws on.
    pub lane: Lane,
    /// That quota.
    pub limits: LaneLimits,
    /// Its place in line.
    pub rank: String,
    /// Whether it may use the tokens that other work leaves spare.
    pub urgent: bool,
    /// What it is expected to use.
    pub estimate: Estimate,
}

/// How a permit was used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Settlement {
    /// No call was made: everything is given back.
    NotCalled,
    /// Answered, with what Bedrock says it used; `None` when it does not say, then the reservation counts.
    Answered(Option<Usage>),
    /// Refused or failed.
    Failed {
        /// What the error means.
        class: CallErrorClass,
        /// The server's hint.
        retry_after: Option<Duration>,
    },
}
