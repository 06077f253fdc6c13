//! Calls in flight that Bedrock's capacity allows: cut by 503 and 529, found again by answers.

use std::time::Duration;

use tokio::time::Instant;

/// A capacity error leaves this share of the calls in flight.
const CUT: f64 = 0.7;
/// Cuts come at most this often, so that one outage's errors are few cuts.
const CUT_GAP: Duration = Duration::from_secs(5);
/// Calls in flight from which on nothing is bounded any more.
const HEALED: f64 = 1_000.0;

/// A bound on the calls in flight that follows what Bedrock can take.
#[derive(Debug, Default)]
pub struct Capacity {
    /// `None` when unbounded.
    limit: Option<f64>,
    /// Up to here each answer makes room for one more call, so that after an outage the calls double with every round; from
    /// here on a whole round of answers does.
    doubling_to: f64,
    cut: Option<Instant>,
}

impl Capacity {
    /// Calls that may be in flight.
    pub fn limit(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 1000")]
        self.limit.map_or(u32::MAX, |limit| limit.clamp(1.0, HEALED) as u32)
    }

    /// A call was refused for lack of capacity while so many others were in flight.
    pub fn refused(&mut self, others: u32, now: Instant) {
        if self.cut.is_some_and(|last| now.saturating_duration_since(last) < CUT_GAP) {
            return;
        }
        let in_flight = f64::from(others) + 1.0;
        // The first cut of an outage tells what there was before it.
        let in_outage = self.cut.is_some_and(|last| now.saturating_duration_since(last) < 4 * CUT_GAP);
        let before = if in_outage { self.doubling_to / CUT } else { in_flight };
        self.doubling_to = before.max(in_flight) * CUT;
        self.limit = Some((in_flight * CUT).max(1.0));
        self.cut = Some(now);
    }

    /// A call was answered.
    pub fn answered(&mut self) {
        if let Some(limit) = self.limit {
            let grown = limit + if limit < self.doubling_to { 1.0 } else { 1.0 / limit };
            self.limit = (grown < HEALED).then_some(grown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_cuts_step_by_step_and_doubles_back() {
        let mut now = Instant::now();
        let mut capacity = Capacity::default();
        assert_eq!(capacity.limit(), u32::MAX);
        capacity.refused(39, now);
        capacity.refused(38, now);
        assert_eq!(capacity.limit(), 28, "errors of one moment are one cut");
        for _ in 0..20 {
            now += Duration::from_secs(6);
            capacity.refused(capacity.limit() - 1, now);
        }
        assert_eq!(capacity.limit(), 1);
        for round in 0..5 {
            for _ in 0..capacity.limit() {
                capacity.answered();
            }
            assert_eq!(capacity.limit(), (2 << round).min(28), "round {round}");
        }
        for _ in 0..28 {
            capacity.answered();
        }
        assert_eq!(capacity.limit(), 29, "then one more a round");
    }
}
