//! Counts of what an order changed, or would.

use std::collections::BTreeMap;

use super::{Change, Outcome, deadline_words, priority_words};
use crate::ports::WorkItem;
use crate::request::{Flow, Priority, Row};

/// Different deadlines that are told apart.
const DEADLINES: usize = 3;

/// Counts by outcome, and of what is changed by what it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By [`Outcome::name`].
    pub outcomes: BTreeMap<&'static str, u64>,
    /// What is changed, by tenant.
    pub by_tenant: BTreeMap<String, u64>,
    /// By priority as it was, `urgent` … `bulk`.
    pub by_priority: BTreeMap<&'static str, u64>,
    /// By lane.
    pub by_lane: BTreeMap<String, u64>,
    /// By what it was before; deadlines beyond a few are not told apart.
    before: BTreeMap<String, u64>,
}

impl Tally {
    /// How many are changed.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.count(&Outcome::Done) + self.count(&Outcome::AfterCall)
    }

    /// How many came to an outcome like this.
    #[must_use]
    pub fn count(&self, outcome: &Outcome) -> u64 {
        self.outcomes.get(outcome.name()).copied().unwrap_or(0)
    }

    /// All that were met.
    #[must_use]
    pub fn met(&self) -> u64 {
        self.outcomes.values().sum()
    }

    pub(super) fn add(&mut self, outcome: &Outcome, before: Option<&Row>, change: Change) {
        *self.outcomes.entry(outcome.name()).or_default() += 1;
        if let (Outcome::Done | Outcome::AfterCall, Some(row)) = (outcome, before) {
            let request = &row.request;
            self.add_changed(&request.flow(), request.priority);
            let was = match change {
                Change::Cancel => row.status.as_str().to_lowercase(),
                Change::Priority(_) => priority_words(request.priority),
                Change::Deadline(_) if self.before.len() >= DEADLINES => "other deadlines".to_owned(),
                Change::Deadline(_) => deadline_words(request.deadline),
            };
            *self.before.entry(was).or_default() += 1;
        }
    }

    /// One in the backlog that would be changed.
    pub(super) fn add_item(&mut self, item: &WorkItem) {
        *self.outcomes.entry(Outcome::Done.name()).or_default() += 1;
        self.add_changed(&item.flow, item.priority);
    }

    fn add_changed(&mut self, flow: &Flow, priority: Priority) {
        *self.by_tenant.entry(flow.tenant.as_str().to_owned()).or_default() += 1;
        *self.by_priority.entry(priority.class()).or_default() += 1;
        *self.by_lane.entry(flow.lane.as_str().to_owned()).or_default() += 1;
    }

    /// What was before, in words: `normal`, or `normal 12, bulk 3`.
    pub(super) fn before(&self) -> Option<String> {
        let mut parts: Vec<_> = self.before.iter().collect();
        parts.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        match parts.as_slice() {
            [] => None,
            [(only, _)] => Some((*only).clone()),
            several => Some(several.iter().map(|(was, n)| format!("{was} {n}")).collect::<Vec<_>>().join(", ")),
        }
    }
}
