//! The admission gate: everything that calls Bedrock passes here, first attempts and retries alike.
//!
//! ```text
//! admit(ask) ─► waiting room of the lane, by rank ─► dispatcher: start due? tokens? room in flight? ─► Permit
//!                                                                                                      │ call
//!          meter, minute log, learned ratios, pauses  ◄──────────────── settle(what was really used) ──┘
//! ```
//! One [`Gate`] per process, one dispatcher task in it, one lane state per Bedrock quota. What it was measured to
//! do is in docs/pacing.md; each constant names its reason where it stands.

mod capacity;
mod factor;
mod gate;
mod lane;
mod learned;
mod log;
mod meter;
mod pauses;
mod snapshot;
mod spacing;

pub use gate::{Gate, Paused, Permit};
pub use snapshot::LaneSnapshot;

use std::time::Duration;

use serde::{Deserialize, Serialize};

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

/// This process's part of what the fleet may use of a lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grant {
    /// Share of the requests and tokens a minute, 0 to 1.
    pub rate: f64,
    /// Share of the tokens that may be reserved at a time, 0 to 1.
    pub room: f64,
    /// Calls in flight, where the lane's are limited.
    pub calls: Option<u32>,
}

impl Grant {
    /// Everything; a limit on calls in flight is then the lane's own.
    pub const WHOLE: Self = Self { rate: 1.0, room: 1.0, calls: None };
    /// Nothing.
    pub const NONE: Self = Self { rate: 0.0, room: 0.0, calls: Some(0) };
}

/// What this process could use of a lane now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Demand {
    /// Minutes of the lane's whole quota that wait here, are in flight or owed.
    pub rate: f64,
    /// Share of the tokens that may be reserved at a time: in flight, and the best-ranked waiter's.
    pub room: f64,
    /// Calls in flight and waiters.
    pub calls: u32,
    /// Of `room`, what is in use.
    pub reserved: f64,
    /// Of `calls`, those in flight.
    pub in_flight: u32,
}

/// What a lane has learned from throttles. Replicas tell each other, and a restarted one takes it over. Times are
/// durations, so that no clocks are compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adaptation {
    /// Throttle episodes so far, fleet-wide: more is newer.
    pub episodes: u64,
    /// Share of the tokens a minute that may be used.
    pub token_factor: f64,
    /// Share of the requests a minute that may be used.
    pub request_factor: f64,
    /// For how much longer the minute log bounds admission, seconds.
    pub log_engaged_s: f64,
    /// For how much longer the day's tokens are taken for used up, seconds.
    pub day_pause_s: f64,
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
    /// Requests of one kind (a use case, say) have answers of about one length, which is learned.
    pub kind: Option<String>,
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
