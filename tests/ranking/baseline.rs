//! The same trace on as many slots in two simple orders: what the ranking is compared with.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

use crate::trace::{Planned, SLOTS};
use crate::world::{Fate, Outage};

/// Who goes next of those that wait.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// The first to come.
    Fifo,
    /// The first to come of the most urgent.
    Strict,
}

/// Runs a trace until the horizon. Generous to both: what is past its deadline takes no slot, and no time passes
/// between two calls. A call whose lane is out waits in its slot, as it does where lanes are not told apart.
pub fn run(trace: &[Planned], horizon: Duration, order: Order, outage: Option<Outage>) -> Vec<Fate> {
    let mut fates = vec![Fate::default(); trace.len()];
    let mut free: BinaryHeap<Reverse<Duration>> = (0..SLOTS).map(|_| Reverse(Duration::ZERO)).collect();
    let mut waiting = BTreeSet::new();
    let mut next = 0;
    while let Some(Reverse(slot)) = free.pop() {
        let mut now = slot;
        if waiting.is_empty() {
            let Some(planned) = trace.get(next) else { break };
            now = now.max(planned.at);
        }
        while let Some(planned) = trace.get(next).filter(|planned| planned.at <= now) {
            let class = if matches!(order, Order::Strict) { planned.priority } else { 0 };
            waiting.insert((class, next));
            next += 1;
        }
        if now >= horizon {
            break;
        }
        let Some((_, index)) = waiting.pop_first() else { continue };
        let planned = &trace[index];
        let out = outage.filter(|out| out.model == planned.model && (out.from..out.to).contains(&now));
        let start = out.map_or(now, |out| out.to);
        if planned.deadline.is_some_and(|deadline| planned.at + deadline <= start) {
            fates[index].expired = true;
            free.push(Reverse(start));
            continue;
        }
        fates[index] = Fate { started: Some(start), finished: Some(start + planned.takes()), expired: false };
        free.push(Reverse(start + planned.takes()));
    }
    for fate in &mut fates {
        fate.started = fate.started.filter(|at| *at < horizon);
        fate.finished = fate.finished.filter(|at| *at < horizon);
    }
    fates
}
