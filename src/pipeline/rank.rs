//! The rank: a request's place in its tenant's line, fixed at ingest, so that nothing is ever re-ranked or scanned.
//!
//! `class # due # arrival`: urgent requests first; then by a virtual due time, arrival plus the allowance of the
//! priority, which a deadline can only lower; then by arrival. Because the allowance is added to the time of
//! arrival, waiting is what makes a request first. The starvation bound: of one tenant, class and lane, nothing that
//! arrives more than a request's allowance later overtakes it. Between tenants the planner shares lanes by weight (see
//! `plan::shares`), so a tenant's line moves at no less than its share.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::request::Priority;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// How much later than its arrival a request of priority 0 to 9 is due, seconds.
const ALLOWANCE: [u64; 10] =
    [0, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, 45 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR];

/// Ranks in order of arrival among equals.
#[derive(Debug, Default)]
pub struct Ranker {
    arrivals: std::sync::atomic::AtomicU64,
}

impl Ranker {
    /// The rank of a request that arrived at `now` and should take `expected` to answer.
    pub fn rank(&self, priority: Priority, deadline: Option<Timestamp>, expected: Duration, now: Timestamp) -> String {
        let class = u8::from(priority != Priority::URGENT);
        let allowance = ALLOWANCE.get(usize::from(priority.number())).copied().unwrap_or(24 * HOUR);
        let due = now + Duration::from_secs(allowance);
        let due = deadline.map_or(due, |deadline| due.min(deadline - expected));
        let arrival = self.arrivals.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 100_000_000;
        format!("{class}#{:014}#{:014}#{arrival:08}", due.0, now.0)
    }
}

/// The rank in the hold queue and at the gates of what goes before all others of its class: it was there before.
#[must_use]
pub fn first(rank: &str) -> String {
    if is_urgent(rank) { rank.to_owned() } else { format!("1#{:016}#{rank}", 0) }
}

/// Whether a rank is in the urgent class.
#[must_use]
pub fn is_urgent(rank: &str) -> bool {
    rank.starts_with('0')
}

/// When a rank is due, as far as it can be read.
#[must_use]
pub fn due(rank: &str) -> Option<Timestamp> {
    rank.split('#').nth(1)?.parse().ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_795_252_123_456);

    #[test]
    fn urgent_first_then_by_allowance_then_by_arrival() {
        let ranker = Ranker::default();
        let rank = |priority, at| ranker.rank(priority, None, Duration::from_secs(5), at);
        let later = NOW + Duration::from_secs(10);
        let in_order = [
            rank(Priority::URGENT, later),
            rank(Priority::HIGH, NOW),
            rank(Priority::HIGH, later),
            rank(Priority::NORMAL, NOW),
            rank(Priority::NORMAL, NOW),
            rank(Priority::LOW, NOW),
            rank(Priority::BULK, NOW),
        ];
        assert!(in_order.is_sorted(), "{in_order:#?}");
    }

    #[test]
    fn a_deadline_lowers_the_rank_and_never_raises_it() {
        let ranker = Ranker::default();
        let expected = Duration::from_secs(5);
        let soon = ranker.rank(Priority::BULK, Some(NOW + Duration::from_mins(1)), expected, NOW);
        assert_eq!(due(&soon), Some(NOW + Duration::from_secs(55)));
        let far = ranker.rank(Priority::HIGH, Some(NOW + Duration::from_hours(240)), expected, NOW);
        assert_eq!(due(&far), Some(NOW + Duration::from_mins(15)));
    }

    proptest! {
        /// The starvation bound: whatever arrives more than the allowance later in the same class never overtakes.
        #[test]
        fn nothing_overtakes_after_the_allowance(mine in 1u64..=9, other in 1u64..=9, gap_ms in 1u64..200_000_000) {
            let ranker = Ranker::default();
            let mine = Priority::from_number(mine).unwrap();
            let first = ranker.rank(mine, None, Duration::ZERO, NOW);
            let arrival = NOW + Duration::from_secs(ALLOWANCE[usize::from(mine.number())]) + Duration::from_millis(gap_ms);
            let second = ranker.rank(Priority::from_number(other).unwrap(), None, Duration::ZERO, arrival);
            prop_assert!(first < second);
        }
    }
}
