//! What operators have paused: read every round; nobody of it is chosen, and what is in the hold queue is taken back.

use std::collections::HashSet;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{Planner, SWEEP, Term, first_error};
use crate::clock::Timestamp;
use crate::control::pauses::Pauses;
use crate::pipeline::lifecycle;
use crate::ports::{Applied, PortResult, Work, WorkItem, WorkList};
use crate::request::{Flow, RequestId, Status};

/// Rows read at the same time.
const READS: usize = 16;

/// The pauses, and which held requests of them are to stay.
#[derive(Debug, Default)]
pub struct Paused {
    pauses: Pauses,
    /// Being called, or decided: each with its place in the list, which is another one when it was moved on.
    stay: HashSet<(RequestId, String)>,
}

impl Paused {
    /// Takes over what was read.
    pub fn update(&mut self, pauses: Pauses) {
        self.pauses = pauses;
    }

    /// Whether nobody of this flow may go.
    pub fn covers(&self, flow: &Flow, now: Timestamp) -> bool {
        self.pauses.covering(flow, now).is_some()
    }
}

impl Planner {
    /// Puts what is paused and still in the hold queue back into line. Calls in flight are let finish.
    pub(super) async fn withdraw_paused(&self, term: &mut Term) -> PortResult<()> {
        let now = self.context.clock.now();
        if term.paused.pauses.is_empty(now) {
            term.paused.stay.clear();
            return Ok(());
        }
        let listed = self.held(self.capacity() + SWEEP + term.announced.len()).await?;
        let covered: Vec<WorkItem> = listed.into_iter().filter(|item| term.paused.covers(&item.flow, now)).collect();
        let place = |item: &WorkItem| (item.id.clone(), item.sort.clone());
        let there: HashSet<_> = covered.iter().map(place).collect();
        term.paused.stay.retain(|known| there.contains(known));
        let reads: Vec<_> = covered
            .into_iter()
            .filter(|item| !term.paused.stay.contains(&place(item)))
            .map(|item| async move {
                let row = self.ledger.get(&item.id).await?;
                let waits = row.is_some_and(|row| row.status == Status::Queued && row.verdict.is_none());
                Ok((item, waits))
            })
            .collect();
        let read: Vec<(WorkItem, bool)> = stream::iter(reads).buffer_unordered(READS).try_collect().await?;
        let (waiting, others): (Vec<_>, Vec<_>) = read.into_iter().partition(|(_, waits)| *waits);
        term.paused.stay.extend(others.iter().map(|(item, _)| place(item)));
        let transitions = waiting
            .iter()
            .map(|(item, _)| {
                let from = Work { list: WorkList::Held, sort: item.sort.clone() };
                lifecycle::withdraw(item.id.clone(), from, item.flow.clone(), &item.rank, now)
            })
            .collect();
        let applied = self.ledger.apply(transitions).await;
        for ((item, _), applied) in waiting.iter().zip(&applied) {
            if let Ok(Applied::Done(_)) = applied {
                term.held.remove(&item.id);
                term.shares.drop_choice(&item.flow.lane, &item.id);
            }
        }
        first_error(applied)
    }
}
