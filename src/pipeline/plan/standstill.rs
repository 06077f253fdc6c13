//! What only the planner can see of the whole fleet, for on-call: that nothing finishes although something could, that workers
//! are gone, and that what was told is over.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::{Planner, Term};
use crate::clock::Timestamp;
use crate::pipeline::alerts::conditions::Condition;
use crate::pipeline::fleet::{Census, Role};
use crate::ports::alerts::Kind;

/// How often.
const LOOK: Duration = Duration::from_secs(10);
/// Nothing has finished for at least so long, and for so many average calls: no progress.
const STANDSTILL: Duration = Duration::from_mins(5);
const CALLS: u32 = 4;
/// How often what goes on is counted again.
const AGAIN: Duration = Duration::from_mins(1);

/// What was seen before.
#[derive(Debug, Default)]
pub struct Watch {
    looked: Option<Instant>,
    /// Requests that each worker had finished.
    finished: HashMap<String, u64>,
    /// Since when nothing has, although something could.
    still: Option<(Instant, Timestamp)>,
    told: Option<Instant>,
    /// Lost workers that on-call knows of.
    lost: HashSet<String>,
}

impl Watch {
    /// Whether any worker has finished a request since the last look.
    fn progress(&mut self, census: &Census) -> bool {
        let mut progress = false;
        let mut finished = HashMap::new();
        for member in &census.alive {
            let before = self.finished.get(&member.worker).copied();
            progress |= before.is_some_and(|before| before != member.finished);
            progress |= before.is_none() && member.finished > 0;
            finished.insert(member.worker.clone(), member.finished);
        }
        self.finished = finished;
        progress
    }
}

impl Planner {
    /// Looks how the fleet does.
    pub(super) fn watch_standstill(&self, term: &mut Term) {
        if term.standstill.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return;
        }
        term.standstill.looked = Some(Instant::now());
        let census = self.context.fleet.census();
        self.tell_renewed(&mut term.money);
        self.tell_lost(&mut term.standstill, &census);
        self.tell_progress(term, &census);
    }

    fn tell_progress(&self, term: &mut Term, census: &Census) {
        let now = self.context.clock.now();
        let uses = self.context.fleet.lane_uses();
        let can_go = |lane: &str| !uses.get(lane).is_some_and(|lane| lane.paused);
        let waiting = term.lines.known().filter_map(|(flow, items)| {
            let head = items.front()?;
            let goes =
                can_go(flow.lane.as_str()) && !term.paused.covers(flow, now) && self.can_be_paid(&term.money, head);
            goes.then_some(items.len() as u64)
        });
        let waiting: u64 = waiting.sum();
        let held = term.held.lanes().filter(|lane| can_go(lane.as_str())).map(|lane| term.held.of_lane(lane));
        let held = held.sum::<usize>() as u64;
        let alerter = self.context.recorder.alerter();
        let watch = &mut term.standstill;
        if watch.progress(census) || waiting + held == 0 {
            watch.still = None;
            alerter.recovered(Kind::NoProgress.as_str());
        }
        if waiting + held == 0 {
            return;
        }
        let (since, since_at) = *watch.still.get_or_insert_with(|| (Instant::now(), now));
        let known_by_now = since.elapsed() >= STANDSTILL.max(self.average_call() * CALLS);
        if known_by_now && watch.told.is_none_or(|told| told.elapsed() >= AGAIN) {
            watch.told = Some(Instant::now());
            alerter.tell(Condition::NoProgress {
                waiting,
                held,
                in_flight: uses.values().map(|lane| u64::from(lane.in_flight)).sum(),
                callers: census.alive.iter().filter(|member| member.roles.contains(&Role::Call)).count() as u64,
                since: since_at,
            });
        }
    }

    fn tell_lost(&self, watch: &mut Watch, census: &Census) {
        let alerter = self.context.recorder.alerter();
        for condition in alerter.open() {
            if let Condition::WorkerLost { before, .. } = condition
                && census.alive.len() as u64 >= before
            {
                alerter.recovered(Kind::WorkerLost.as_str());
            }
        }
        for lost in census.lost.iter().filter(|lost| !watch.lost.contains(&lost.worker)) {
            // Those that came since are replacements.
            let others = census.alive.iter().filter(|member| member.since <= lost.shown_at).count();
            alerter.tell(Condition::WorkerLost {
                workers: vec![lost.worker.clone()],
                seen: lost.shown_at,
                alive: census.alive.len() as u64,
                before: (others + census.lost.len()) as u64,
            });
        }
        watch.lost = census.lost.iter().map(|lost| lost.worker.clone()).collect();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::pipeline::fleet::Member;

    fn census(finished: &[(&str, u64)]) -> Census {
        let member = |(worker, finished): &(&str, u64)| Member {
            worker: (*worker).to_owned(),
            roles: BTreeSet::new(),
            since: Timestamp(0),
            shown_at: Timestamp(0),
            lanes: Vec::new(),
            finished: *finished,
            used: None,
        };
        Census { alive: finished.iter().map(member).collect(), lost: Vec::new() }
    }

    #[test]
    fn progress_is_what_finishes_and_not_who_comes_and_goes() {
        let mut watch = Watch::default();
        for (workers, progress) in [
            (&[("a", 0)][..], false),
            (&[("a", 0), ("b", 0)], false),
            (&[("a", 3), ("b", 0)], true),
            (&[("a", 3), ("b", 0)], false),
            (&[("b", 0)], false),
            (&[("b", 0), ("c", 2)], true),
            (&[("b", 1), ("c", 2)], true),
        ] {
            assert_eq!(watch.progress(&census(workers)), progress, "{workers:?}");
        }
    }
}
