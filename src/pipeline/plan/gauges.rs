//! How the fleet's work stands, for the metrics: the backlog by priority, the oldest wait, the budgets that are used up.
//!
//! Only the planner knows, so only it tells: once a minute, for as long as it leads. The backlog is counted beside the rounds, and
//! what that costs a second is bounded: the more was counted, the longer until it is counted again. In between the last count is
//! repeated as it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Planner, Term};
use crate::clock::Timestamp;
use crate::pipeline::rank;
use crate::request::Priority;

/// How often what the rounds know is noted.
const NOTE: Duration = Duration::from_secs(10);
/// How often to see whether a count is due.
const LOOK: Duration = Duration::from_secs(1);
/// The least time between two counts.
const COUNT_EVERY: Duration = Duration::from_mins(1);
/// And so much more for each row that was counted: 500 rows a second, at most.
const PER_ROW: Duration = Duration::from_millis(2);

/// What the planner knows. Shared with whoever delivers the metrics.
#[derive(Debug, Default)]
pub struct Gauges(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The term of leadership in which it was learned.
    term: Option<u64>,
    noted: Option<Noted>,
    backlog: Option<BTreeMap<Priority, u64>>,
    next_count: Option<Instant>,
    /// There was something in line when that was last noted.
    had_work: bool,
}

#[derive(Clone, Copy, Debug)]
struct Noted {
    at: Instant,
    oldest: Option<Timestamp>,
    used_up: usize,
}

/// How the fleet's work stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Requests in line as last counted, by priority; `None` before the first count.
    pub backlog: Option<BTreeMap<Priority, u64>>,
    /// How long the oldest of those has waited that are known ahead and not paused; nothing when there is none.
    pub oldest_wait: Duration,
    /// Budgets without room.
    pub budgets_used_up: usize,
}

impl Gauges {
    /// What was learned in this term of leadership; `None` when that is nothing yet.
    #[must_use]
    pub fn reading(&self, term: u64, now: Timestamp) -> Option<Reading> {
        let known = self.known();
        let noted = known.noted.filter(|_| known.term == Some(term))?;
        Some(Reading {
            backlog: known.backlog.clone(),
            oldest_wait: noted.oldest.map(|oldest| now.since(oldest)).unwrap_or_default(),
            budgets_used_up: noted.used_up,
        })
    }

    fn note(&self, term: u64, oldest: Option<Timestamp>, used_up: usize, has_work: bool) {
        let mut known = self.of_term(term);
        known.noted = Some(Noted { at: Instant::now(), oldest, used_up });
        if has_work {
            known.had_work = true;
        } else if std::mem::take(&mut known.had_work) {
            // All is done: a large count must not be repeated until it is time for the next.
            known.next_count = None;
        }
    }

    fn is_noted(&self, term: u64) -> bool {
        self.of_term(term).noted.is_some_and(|noted| noted.at.elapsed() < NOTE)
    }

    fn is_count_due(&self, term: u64) -> bool {
        self.of_term(term).next_count.is_none_or(|next| next <= Instant::now())
    }

    /// `None` when it could not be counted.
    fn counted(&self, term: u64, backlog: Option<BTreeMap<Priority, u64>>) {
        let mut known = self.of_term(term);
        let rows: u64 = backlog.iter().flat_map(BTreeMap::values).sum();
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        known.next_count = Some(Instant::now() + COUNT_EVERY + PER_ROW * rows);
        if backlog.is_some() {
            known.backlog = backlog;
        }
    }

    /// What is known in this term; of another one nothing is kept.
    fn of_term(&self, term: u64) -> std::sync::MutexGuard<'_, Known> {
        let mut known = self.known();
        if known.term != Some(term) {
            *known = Known { term: Some(term), ..Known::default() };
        }
        known
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Planner {
    /// Notes what a round knows.
    pub(super) fn note_standing(&self, number: u64, term: &mut Term) {
        let gauges = &self.context.gauges;
        if gauges.is_noted(number) {
            return;
        }
        let now = self.context.clock.now();
        let free = term.lines.known().filter(|(flow, _)| !term.paused.covers(flow, now));
        let oldest = free.flat_map(|(_, items)| items).filter_map(|item| rank::arrived(&item.rank)).min();
        let has_work = term.lines.heads().next().is_some();
        gauges.note(number, oldest, term.money.used_up(now), has_work);
    }

    /// Counts the backlog from time to time while this replica leads.
    pub async fn count(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(term) = self.context.fleet.term() else { continue };
            if !self.context.gauges.is_count_due(term) {
                continue;
            }
            let counted = self.ledger.ready_by_priority().await;
            if let Err(error) = &counted {
                self.context.recorder.port_failed(error);
            }
            if self.context.fleet.term() == Some(term) {
                self.context.gauges.counted(term, counted.ok());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_252_123_456);

    fn backlog(rows: u64) -> BTreeMap<Priority, u64> {
        BTreeMap::from([(Priority::LOW, rows)])
    }

    async fn after(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_more_was_counted_the_longer_until_the_next_time() {
        let gauges = Gauges::default();
        assert!(gauges.is_count_due(1));
        for (rows, pause) in [(0, 60), (500, 61), (1_000_000, 2_060)] {
            gauges.counted(1, Some(backlog(rows)));
            after(pause - 1).await;
            assert!(!gauges.is_count_due(1), "{rows}");
            after(1).await;
            assert!(gauges.is_count_due(1), "{rows}");
        }
        gauges.counted(1, None);
        assert!(!gauges.is_count_due(1), "a count that failed is not repeated at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_backlog_that_is_done_is_counted_again() {
        let gauges = Gauges::default();
        gauges.counted(1, Some(backlog(1_000_000)));
        gauges.note(1, None, 0, false);
        assert!(!gauges.is_count_due(1), "nobody has seen anything of it yet");
        gauges.note(1, None, 0, true);
        gauges.note(1, None, 0, false);
        assert!(gauges.is_count_due(1));
        gauges.counted(1, Some(backlog(1_000_000)));
        gauges.note(1, None, 0, false);
        assert!(!gauges.is_count_due(1), "once");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_learned_counts_for_its_term_only() {
        let gauges = Gauges::default();
        gauges.counted(1, Some(backlog(3)));
        assert_eq!(gauges.reading(1, NOW), None, "no round was made yet");
        gauges.note(1, Some(NOW), 2, true);
        let wait = Duration::from_secs(7);
        let reading = Reading { backlog: Some(backlog(3)), oldest_wait: wait, budgets_used_up: 2 };
        assert_eq!(gauges.reading(1, NOW + wait), Some(reading));
        assert_eq!(gauges.reading(2, NOW), None);
        gauges.note(2, None, 0, false);
        let reading = Reading { backlog: None, oldest_wait: Duration::ZERO, budgets_used_up: 0 };
        assert_eq!(gauges.reading(2, NOW), Some(reading));
        assert!(gauges.is_count_due(2) && gauges.is_noted(2));
    }
}
