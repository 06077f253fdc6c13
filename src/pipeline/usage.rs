//! The fleet's own use of its quotas by minute of UTC, to be taken off what the whole account used.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ports::{Minute, MinuteTokens};
use crate::request::Lane;

/// Minutes that are kept and published before the present one: as far back as measurements are looked at, and the time
/// until they come in.
pub const KEPT_MINUTES: u64 = 8;

/// Quota tokens that were settled, by lane and minute. Only the latest minutes are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Used(MinuteTokens);

impl Used {
    /// Counts tokens that were settled in a minute.
    pub fn add(&mut self, lane: &Lane, minute: Minute, tokens: f64) {
        if tokens <= 0.0 {
            return;
        }
        if !self.0.contains_key(lane) {
            self.0.insert(lane.clone(), BTreeMap::new());
        }
        if let Some(minutes) = self.0.get_mut(lane) {
            *minutes.entry(minute).or_default() += tokens;
            while minutes.first_key_value().is_some_and(|(first, _)| *first < minute.back(KEPT_MINUTES)) {
                minutes.pop_first();
            }
        }
    }

    /// Names a lane, even if nothing was used of it.
    pub fn name(&mut self, lane: Lane) {
        self.0.entry(lane).or_default();
    }

    /// The lanes that are named.
    pub fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.0.keys()
    }

    /// Tokens of a lane in a minute.
    #[must_use]
    pub fn of(&self, lane: &Lane, minute: Minute) -> f64 {
        self.0.get(lane).and_then(|minutes| minutes.get(&minute)).copied().unwrap_or(0.0)
    }

    /// The latest minute in which anything was used.
    #[must_use]
    pub fn latest(&self) -> Option<Minute> {
        self.0.values().filter_map(|minutes| minutes.last_key_value()).map(|(minute, _)| *minute).max()
    }

    /// Drops what was used before a minute, and lanes of which nothing is left.
    pub fn forget_before(&mut self, minute: Minute) {
        self.0.retain(|_, minutes| {
            minutes.retain(|at, _| *at >= minute);
            !minutes.is_empty()
        });
    }

    /// Whether no lane is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::ModelId;

    fn lane(model: &str) -> Lane {
        Lane::new("default", "us-east-1", &ModelId::new(model).unwrap())
    }

    #[test]
    fn tokens_are_summed_by_minute_and_old_ones_go() {
        let (a, b) = (lane("a"), lane("b"));
        let mut used = Used::default();
        used.add(&a, Minute(100), 5.0);
        used.add(&a, Minute(100), 7.0);
        used.add(&b, Minute(100), 1.0);
        used.add(&a, Minute(101), 0.0);
        assert!((used.of(&a, Minute(100)) - 12.0).abs() < 1e-9 && used.of(&a, Minute(101)) <= 0.0);
        used.add(&a, Minute(100 + KEPT_MINUTES + 1), 1.0);
        assert!(used.of(&a, Minute(100)) <= 0.0 && used.of(&b, Minute(100)) > 0.0);
        assert_eq!(used.latest(), Some(Minute(101 + KEPT_MINUTES)));
        used.forget_before(Minute(101));
        assert_eq!(used.lanes().collect::<Vec<_>>(), [&a]);
    }

    #[test]
    fn it_travels_as_json() {
        let mut used = Used::default();
        used.add(&lane("m:0"), Minute(29_921_000), 12.5);
        used.name(lane("idle"));
        let text = serde_json::to_string(&used).unwrap();
        assert_eq!(text, r#"{"default:us-east-1:idle":{},"default:us-east-1:m:0":{"29921000":12.5}}"#);
        assert_eq!(serde_json::from_str::<Used>(&text).unwrap(), used);
    }
}
