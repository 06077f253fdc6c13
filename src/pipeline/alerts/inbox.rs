//! What this worker has noticed and not yet reported, and what it knows to be open. Adding never waits.

use std::collections::{BTreeMap, HashMap};

use super::Settings;
use super::board::{Board, Report, Sums};
use super::conditions::Condition;
use super::rules::When;
use crate::clock::Timestamp;
use crate::request::Lane;

/// Conditions that may wait to be reported; of more, nothing is noticed until then.
const MOST: usize = 1_000;
/// Turns of one condition, from there to over and back, that are kept apart; further ones are counted with the last.
const TURNS: usize = 4;

/// How soon it should be reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// It only adds to what is known.
    Later,
    /// It may soon be enough to be told.
    Soon,
    /// It is to be told.
    Now,
}

#[derive(Debug, Default)]
pub struct Inbox {
    pending: BTreeMap<String, Vec<Report>>,
    calls: HashMap<Lane, u64>,
    sent: Vec<(String, Timestamp)>,
    urgency: Option<Urgency>,
    /// What is open, as of the last look.
    open: HashMap<String, Condition>,
}

impl Inbox {
    /// Notes that something happened.
    pub fn happened(&mut self, condition: Condition, sums: Sums, settings: &Settings) {
        let key = condition.key();
        let known = self.open.contains_key(&key);
        let urgency = match condition.when(settings) {
            _ if known => Urgency::Later,
            When::AtOnce => Urgency::Now,
            When::Rate { .. } => Urgency::Soon,
        };
        let full = self.pending.len() >= MOST;
        let turns = match self.pending.get_mut(&key) {
            Some(turns) => turns,
            None if full => return tracing::debug!(key, "too much happens at once; this is not counted"),
            None => self.pending.entry(key).or_default(),
        };
        if let Some(Report::Happened(latest, sum)) = turns.last_mut() {
            latest.absorb(condition);
            *sum += sums;
        } else if turns.len() < TURNS {
            turns.push(Report::Happened(condition, sums));
        } else {
            return;
        }
        self.urgency = self.urgency.max(Some(urgency));
    }

    /// Notes that something is over, if it is open.
    pub fn over(&mut self, key: &str) {
        if !self.open.contains_key(key) && !self.pending.contains_key(key) {
            return;
        }
        let turns = self.pending.entry(key.to_owned()).or_default();
        if !matches!(turns.last(), Some(Report::Over(_))) && turns.len() < TURNS {
            turns.push(Report::Over(key.to_owned()));
            self.urgency = Some(Urgency::Now);
        }
    }

    /// Counts a call of a lane; an answered one may show that something is over.
    pub fn called(&mut self, lane: &Lane, answered: bool, now: Timestamp) {
        match self.calls.get_mut(lane) {
            Some(calls) => *calls += 1,
            None => _ = self.calls.insert(lane.clone(), 1),
        }
        if answered && !self.open.is_empty() {
            let over = self.open.iter().filter(|(_, condition)| condition.ends_with_answer(lane, now));
            let over: Vec<String> = over.map(|(key, _)| key.clone()).collect();
            for key in over {
                self.over(&key);
            }
        }
    }

    /// Notes that an alert was delivered.
    pub fn sent(&mut self, key: &str, at: Timestamp) {
        if self.sent.len() < MOST {
            self.sent.push((key.to_owned(), at));
        }
    }

    /// How soon there is to be a report; `None` when there is nothing to report.
    pub fn urgency(&self) -> Option<Urgency> {
        self.urgency.or((!self.sent.is_empty()).then_some(Urgency::Later))
    }

    /// Takes all of it.
    pub fn take(&mut self) -> Vec<Report> {
        self.urgency = None;
        let mut calls = std::mem::take(&mut self.calls);
        let mut reports = Vec::new();
        for mut report in std::mem::take(&mut self.pending).into_values().flatten() {
            if let Report::Happened(condition, sums) = &mut report
                && let Some(lane) = condition.lane()
            {
                sums.calls += calls.get(lane).copied().unwrap_or_default();
            }
            reports.push(report);
        }
        for report in &reports {
            if let Report::Happened(condition, _) = report
                && let Some(lane) = condition.lane()
            {
                calls.remove(lane);
            }
        }
        // Where nothing failed: for the share of what failed elsewhere.
        reports.extend(calls.into_iter().map(|(lane, calls)| Report::Calls(lane, calls)));
        reports.extend(self.take_sent().into_iter().map(|(key, at)| Report::Sent(key, at)));
        reports
    }

    /// Takes what was delivered, by key and the time it was told.
    pub fn take_sent(&mut self) -> Vec<(String, Timestamp)> {
        std::mem::take(&mut self.sent)
    }

    /// Takes over what is open.
    pub fn know(&mut self, board: &Board) {
        self.open = board.open().into_iter().map(|entry| (entry.condition.key(), entry.condition.clone())).collect();
    }

    /// What is open, as of the last look.
    pub fn open(&self) -> Vec<Condition> {
        self.open.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ports::alerts::Kind;

    const SETTINGS: Settings = Settings { threshold: 5, periods: 1, cooldown: Duration::from_mins(15) };
    const ONCE: Sums = Sums { events: 1, calls: 0, ended: 0 };

    #[test]
    fn a_storm_is_one_report_with_the_calls_of_its_lane() {
        let mut inbox = Inbox::default();
        let failed = super::super::samples::of(Kind::ErrorRate);
        let lane = failed.lane().unwrap().clone();
        for _ in 0..500 {
            inbox.called(&lane, false, Timestamp(0));
            inbox.happened(failed.clone(), ONCE, &SETTINGS);
        }
        assert_eq!(inbox.urgency(), Some(Urgency::Soon));
        let expected = Sums { events: 500, calls: 500, ended: 0 };
        assert_eq!(inbox.take(), [Report::Happened(failed, expected)]);
        assert_eq!((inbox.take(), inbox.urgency()), (vec![], None));
    }

    #[test]
    fn what_is_over_and_comes_back_is_reported_in_order() {
        let mut inbox = Inbox::default();
        let denied = super::super::samples::of(Kind::AccessDenied);
        let lane = denied.lane().unwrap().clone();
        inbox.over(&denied.key());
        inbox.called(&lane, true, Timestamp(0));
        assert_eq!(inbox.urgency(), None, "nothing of it is known to be open");
        inbox.happened(denied.clone(), ONCE, &SETTINGS);
        assert_eq!(inbox.urgency(), Some(Urgency::Now));
        inbox.over(&denied.key());
        inbox.happened(denied.clone(), ONCE, &SETTINGS);
        let over = Report::Over(denied.key());
        let happened = |calls| Report::Happened(denied.clone(), Sums { calls, ..ONCE });
        assert_eq!(inbox.take(), [happened(1), over.clone(), happened(1)]);
        let mut board = Board::default();
        board.apply(&[happened(1)], Timestamp(0), &SETTINGS);
        inbox.know(&board);
        inbox.called(&lane, true, Timestamp(1));
        assert_eq!(inbox.take(), [over, Report::Calls(lane, 1)], "an answer ends it");
    }

    #[test]
    fn it_has_bounds() {
        let mut inbox = Inbox::default();
        let denied = |n: u64| Condition::ForeignMessage { queue: format!("q-{n}"), message: String::new() };
        for n in 0..2_000 {
            inbox.happened(denied(n), ONCE, &SETTINGS);
            inbox.sent("k", Timestamp(n));
        }
        for _ in 0..100 {
            inbox.over(&denied(0).key());
            inbox.happened(denied(0), ONCE, &SETTINGS);
        }
        assert!(inbox.take().len() <= 2 * MOST + TURNS);
    }
}
