//! What operators have paused: read every round; nobody of it is chosen, and what is in the hold queue is taken back.

use std::collections::HashSet;

use super::{Planner, SWEEP, Term, first_error};
use crate::clock::Timestamp;
use crate::control::pauses::Pauses;
use crate::pipeline::lifecycle;
use crate::ports::{Applied, Page, PortResult, WorkItem, WorkList};
use crate::request::{Flow, RequestId};

/// The pauses, and which held requests of them are to stay.
#[derive(Debug, Default)]
pub struct Paused {
    pauses: Pauses,
    /// Being called: each with its place in the list, which is another one when it was moved on.
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
        let listed = self.ledger.list(&WorkList::Held, Page::first(self.capacity() + SWEEP)).await?;
        let mut covered: Vec<WorkItem> =
            listed.into_iter().filter(|item| term.paused.covers(&item.flow, now)).collect();
        let place = |item: &WorkItem| (item.id.clone(), item.sort.clone());
        let there: HashSet<_> = covered.iter().map(place).collect();
        term.paused.stay.retain(|known| there.contains(known));
        covered.retain(|item| !term.paused.stay.contains(&place(item)));
        let withdraw = |item: &WorkItem| lifecycle::withdraw(item.id.clone(), item.flow.clone(), &item.rank, now);
        let applied = self.ledger.apply(covered.iter().map(withdraw).collect()).await;
        for (item, applied) in covered.iter().zip(&applied) {
            match applied {
                Ok(Applied::Done(_)) => {
                    term.held.remove(&item.id);
                    term.shares.drop_choice(&item.flow.lane, &item.id);
                }
                Ok(Applied::Refused(_)) => _ = term.paused.stay.insert(place(item)),
                Err(_) => {}
            }
        }
        first_error(applied)
    }
}
