//! How much of their quota lanes used, minute by minute.
//!
//! A call counts in the minute in which it started. Minutes are closed, and then only their shares are kept, once no more of
//! their calls are expected; what comes later than that counts as a minute of its own.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Serialize;

use super::dimension::Value;
use super::quantiles::Quantiles;
use crate::clock::Timestamp;
use crate::ports::ReportRow;

/// Calls that end later than this after their minute are no longer added to it.
const PATIENCE: Duration = Duration::from_hours(1);
const MINUTE: u64 = 60_000;
const MILLION: f64 = 1e6;

/// What was used of a quota, of the minutes with a call. 1 is all of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Share {
    /// The quota, as it was last.
    pub limit_per_minute: f64,
    /// Of all those minutes.
    pub mean: f64,
    /// In 95 % of them it was no more.
    pub p95: f64,
    /// In the busiest one.
    pub max: f64,
}

/// What was used of a lane.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LaneUse {
    /// Its name.
    pub lane: String,
    /// Minutes in which a call started.
    pub active_minutes: u64,
    /// Requests that were called; of each the last call.
    pub calls: u64,
    /// Tokens of quota that they used.
    pub quota_tokens: u64,
    /// Of the tokens a minute; null when they are not limited or it is not known.
    pub tokens: Option<Share>,
    /// Of the requests a minute; likewise.
    pub requests: Option<Share>,
}

impl LaneUse {
    /// The part that is used more, by its mean: `tokens` or `requests`, and how much.
    #[must_use]
    pub fn tighter(&self) -> Option<(&'static str, &Share)> {
        match (&self.tokens, &self.requests) {
            (Some(tokens), Some(requests)) if requests.mean > tokens.mean => Some(("requests", requests)),
            (Some(tokens), _) => Some(("tokens", tokens)),
            (None, Some(requests)) => Some(("requests", requests)),
            (None, None) => None,
        }
    }

    /// How busy it is: the mean of what is used more.
    #[must_use]
    pub fn busy(&self) -> f64 {
        self.tighter().map_or(0.0, |(_, share)| share.mean)
    }
}

/// A lane's minute so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cell {
    pub(super) tokens: u64,
    pub(super) calls: u64,
    pub(super) tokens_limit: Option<f64>,
    pub(super) requests_limit: Option<f64>,
}

impl Cell {
    /// Shares of both limits, in millionths.
    pub(super) fn shares(&self) -> [Option<(f64, u64)>; 2] {
        let share = |used: u64, limit: Option<f64>| {
            let limit = limit.filter(|limit| *limit > 0.0)?;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; the cast saturates")]
            let millionths = (used as f64 / limit * MILLION).round() as u64;
            Some((limit, millionths))
        };
        [share(self.tokens, self.tokens_limit), share(self.calls, self.requests_limit)]
    }
}

/// Whose minutes are counted.
pub(super) type Owner = u32;

/// Minutes that are still open, of any owners.
#[derive(Default)]
pub(super) struct Minutes {
    open: BTreeMap<u64, HashMap<(Owner, Value), Cell>>,
}

impl Minutes {
    /// Counts a row for some owners.
    pub(super) fn add(&mut self, row: &ReportRow, lane: Value, owners: &[Owner]) {
        let Some(started) = row.started_at else { return };
        let cells = self.open.entry(started.0 / MINUTE).or_default();
        for owner in owners {
            let cell = cells.entry((*owner, lane)).or_default();
            cell.tokens += row.quota_tokens.unwrap_or(0);
            cell.calls += 1;
            cell.tokens_limit = max(cell.tokens_limit, row.lane_tokens_per_minute);
            cell.requests_limit = max(cell.requests_limit, row.lane_requests_per_minute);
        }
    }

    /// Closes the minutes of which no more is expected, when all rows that ended before `until` have been counted.
    pub(super) fn close(&mut self, until: Timestamp, mut closed: impl FnMut(Owner, Value, Timestamp, Cell)) {
        let first_open = (until - PATIENCE).0 / MINUTE;
        let later = self.open.split_off(&first_open);
        for (minute, cells) in std::mem::replace(&mut self.open, later) {
            for ((owner, lane), cell) in cells {
                closed(owner, lane, Timestamp(minute * MINUTE), cell);
            }
        }
    }
}

fn max(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    }
}

/// A lane's closed minutes.
#[derive(Clone, Debug, Default)]
pub(super) struct Use {
    minutes: u64,
    calls: u64,
    tokens: u64,
    shares: [Shares; 2],
}

#[derive(Clone, Debug, Default)]
struct Shares {
    limit: (Timestamp, f64),
    /// In millionths, as all here: whole numbers, whose sums are the same in any order.
    sum: u128,
    max: u64,
    all: Quantiles,
}

impl Use {
    pub(super) fn close(&mut self, minute: Timestamp, cell: &Cell) {
        self.minutes += 1;
        self.calls += cell.calls;
        self.tokens += cell.tokens;
        for (shares, share) in self.shares.iter_mut().zip(cell.shares()) {
            let Some((limit, share)) = share else { continue };
            if minute >= shares.limit.0 {
                shares.limit = (minute, limit);
            }
            shares.sum += u128::from(share);
            shares.max = shares.max.max(share);
            shares.all.add(share);
        }
    }

    pub(super) fn told(&self, lane: String) -> LaneUse {
        let [tokens, requests] = &self.shares;
        LaneUse {
            lane,
            active_minutes: self.minutes,
            calls: self.calls,
            quota_tokens: self.tokens,
            tokens: tokens.told(),
            requests: requests.told(),
        }
    }
}

impl Shares {
    fn told(&self) -> Option<Share> {
        let count = self.all.known()?.count();
        let max = self.max as f64 / MILLION;
        Some(Share {
            limit_per_minute: self.limit.1,
            mean: self.sum as f64 / count as f64 / MILLION,
            p95: (self.all.at(0.95) as f64 / MILLION).min(max),
            max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(second: u64, tokens: Option<u64>, limits: (Option<f64>, Option<f64>)) -> ReportRow {
        ReportRow {
            started_at: Some(Timestamp(second * 1_000)),
            quota_tokens: tokens,
            lane_tokens_per_minute: limits.0,
            lane_requests_per_minute: limits.1,
            ..ReportRow::example()
        }
    }

    fn used(rows: &[ReportRow]) -> LaneUse {
        let (mut minutes, mut used) = (Minutes::default(), Use::default());
        for row in rows {
            minutes.add(row, 3, &[7]);
        }
        minutes.close(Timestamp(u64::MAX), |owner, lane, at, cell| {
            assert_eq!((owner, lane), (7, 3));
            used.close(at, &cell);
        });
        used.told("l".to_owned())
    }

    #[test]
    fn use_is_that_of_minutes_with_calls() {
        let limits = (Some(1_000.0), Some(4.0));
        // Minute 0: 500 tokens and 2 calls; minute 2: 1,200 tokens and 1 call; minute 1 is idle.
        let rows = [call(1, Some(300), limits), call(59, Some(200), limits), call(120, Some(1_200), limits)];
        let lane = used(&rows);
        assert_eq!((lane.active_minutes, lane.calls, lane.quota_tokens), (2, 3, 1_700));
        assert_eq!(lane.tokens, Some(Share { limit_per_minute: 1_000.0, mean: 0.85, p95: 1.2, max: 1.2 }));
        assert_eq!(lane.requests, Some(Share { limit_per_minute: 4.0, mean: 0.375, p95: 0.5, max: 0.5 }));
        assert_eq!(lane.tighter().map(|(what, _)| what), Some("tokens"));
    }

    #[test]
    fn what_is_not_limited_or_not_known_has_no_share() {
        let lane = used(&[call(1, None, (None, None)), call(2, Some(5), (None, Some(0.0)))]);
        assert_eq!((lane.calls, lane.quota_tokens, lane.busy()), (2, 5, 0.0));
        assert_eq!((lane.tokens, lane.requests), (None, None));
    }

    #[test]
    fn minutes_stay_open_while_calls_may_still_end() {
        let mut minutes = Minutes::default();
        let limits = (Some(1_000.0), None);
        minutes.add(&call(30, Some(1), limits), 0, &[0]);
        let hour = Timestamp(3_600_000);
        let closed = |minutes: &mut Minutes, until| {
            let mut n = 0;
            minutes.close(until, |_, _, _, _| n += 1);
            n
        };
        assert_eq!(closed(&mut minutes, hour), 0);
        minutes.add(&call(31, Some(1), limits), 0, &[0]);
        assert_eq!(closed(&mut minutes, hour + Duration::from_mins(1)), 1);
    }
}
