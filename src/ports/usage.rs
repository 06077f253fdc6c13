//! What a whole account uses of its quotas, as the provider itself measures it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::PortResult;
use crate::clock::Timestamp;
use crate::request::Lane;

/// A minute of UTC, counted from the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Minute(pub u64);

impl Minute {
    /// The minute that a time lies in.
    #[must_use]
    pub fn of(time: Timestamp) -> Self {
        Self(time.0 / 60_000)
    }

    /// When it begins.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp(0) + Duration::from_mins(self.0)
    }

    /// The minute so many before, 0 at the earliest.
    #[must_use]
    pub fn back(self, minutes: u64) -> Self {
        Self(self.0.saturating_sub(minutes))
    }

    /// The minute after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Quota tokens by lane and minute.
pub type MinuteTokens = BTreeMap<Lane, BTreeMap<Minute, f64>>;

/// Where an account's use is measured.
#[async_trait]
pub trait UsageFeed: Send + Sync {
    /// The quota tokens that everybody on the account together used of each lane in each of the minutes, the end excluded.
    /// A lane or a minute that is not in the answer is unknown, now or for ever, and not zero.
    async fn tokens(&self, lanes: &[Lane], minutes: Range<Minute>) -> PortResult<MinuteTokens>;
}
