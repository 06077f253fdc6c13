//! Ends what is decided without a call: cancelled by an operator, past its deadline, refused by a budget.
//!
//! There is no hold message that would be delivered again after a crash, so here the end is told before it is written. Told
//! twice it is the same: the report overwrites itself, and results come at least once.

use futures_util::stream::{self, StreamExt};
use tracing::Instrument;

use super::{Planner, SWEEP};
use crate::pipeline::lifecycle;
use crate::ports::{Applied, Page, PortResult, WorkList};
use crate::request::{Row, Verdict};
use crate::telemetry::logs;

/// Rows that are told of at the same time.
const TOLD: usize = 64;
/// Pages a round: others wait no longer than that takes.
const PAGES: usize = 4;

impl Planner {
    /// Decides a request that waits; [`Planner::conclude`] ends it.
    pub(super) async fn condemn(&self, row: &Row, verdict: Verdict, why: String) {
        if let Some(transition) = lifecycle::condemn(row, verdict, why, self.context.clock.now()) {
            self.context.recorder.apply(transition).instrument(logs::request_span(&row.request)).await;
        }
    }

    /// Tells and writes the ends of what is decided.
    pub(super) async fn conclude(&self) -> PortResult<()> {
        for _ in 0..PAGES {
            let decided = self.ledger.list(&WorkList::Decided, Page::first(SWEEP)).await?;
            let ends = decided.iter().map(|item| async move {
                let Some(row) = self.ledger.get(&item.id).await? else { return Ok(None) };
                let Some((ended, transition)) = lifecycle::conclude(&row) else { return Ok(None) };
                self.context.recorder.publish(&ended).instrument(logs::request_span(&ended.request)).await;
                Ok(Some(transition))
            });
            let ends: Vec<_> = ends.collect();
            let told: Vec<PortResult<_>> = stream::iter(ends).buffer_unordered(TOLD).collect().await;
            let transitions = told.into_iter().filter_map(PortResult::transpose).collect::<PortResult<Vec<_>>>()?;
            for applied in self.ledger.apply(transitions).await {
                if let Applied::Done(row) = applied? {
                    self.context.recorder.count(&row);
                }
            }
            if decided.len() < SWEEP {
                break;
            }
        }
        Ok(())
    }
}
