//! What a run did for each tenant and class, and whether what is promised was kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::trace::{Planned, SLOT_TOKENS_PER_S, SLOTS};
use crate::world::Fate;

/// A wait in seconds; one that was not over yet is a lower bound.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Wait {
    pub seconds: f64,
    pub open: bool,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.open { "> " } else { "" };
        match self.seconds {
            s if s < 100.0 => write!(f, "{more}{s:.1} s"),
            s if s < 600.0 => write!(f, "{more}{:.1} min", s / 60.0),
            s if s < 6_000.0 => write!(f, "{more}{:.0} min", s / 60.0),
            s => write!(f, "{more}{:.1} h", s / 3_600.0),
        }
    }
}

/// The waits of a tenant's class.
#[derive(Clone, Debug)]
pub struct Waits {
    pub count: usize,
    pub p50: Wait,
    pub p99: Wait,
    pub max: Wait,
    pub due: usize,
    pub met: usize,
}

pub type Group = (&'static str, &'static str);

/// By tenant and class.
pub fn waits(trace: &[Planned], fates: &[Fate], horizon: Duration) -> BTreeMap<Group, Waits> {
    let mut groups: BTreeMap<Group, Vec<(Wait, &Planned, &Fate)>> = BTreeMap::new();
    for (planned, fate) in trace.iter().zip(fates) {
        let end = fate.started.or_else(|| fate.expired.then(|| planned.at + planned.deadline.unwrap_or_default()));
        let until = end.unwrap_or(horizon);
        let wait = Wait { seconds: until.saturating_sub(planned.at).as_secs_f64(), open: end.is_none() };
        groups.entry((planned.tenant, planned.class())).or_default().push((wait, planned, fate));
    }
    groups.into_iter().map(|(group, all)| (group, summed_up(all))).collect()
}

fn summed_up(mut all: Vec<(Wait, &Planned, &Fate)>) -> Waits {
    all.sort_by(|(a, ..), (b, ..)| a.seconds.total_cmp(&b.seconds));
    let at = |q: f64| all[((all.len() as f64 * q) as usize).min(all.len() - 1)].0;
    let due = all.iter().filter_map(|(_, planned, fate)| Some((planned.at + planned.deadline?, fate)));
    let met = due.clone().filter(|(deadline, fate)| fate.finished.is_some_and(|at| at <= *deadline)).count();
    Waits { count: all.len(), p50: at(0.5), p99: at(0.99), max: at(1.0), due: due.count(), met }
}

/// Where lane and tenant are the same and neither is urgent nor has a deadline that has passed, nothing is called before
/// what arrived more than its allowance earlier: how often it was.
pub fn overtaken(trace: &[Planned], fates: &[Fate]) -> usize {
    let mut flows: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (index, planned) in trace.iter().enumerate().filter(|(_, planned)| planned.priority > 0) {
        flows.entry((planned.tenant, planned.model)).or_default().push(index);
    }
    let mut violations = 0;
    for flow in flows.into_values() {
        // The last arrival that may overtake each request.
        let bound = |index: usize| trace[index].at + allowance(trace[index].priority);
        let mut left: BTreeSet<(Duration, usize)> =
            flow.iter().filter(|index| !fates[**index].expired).map(|index| (bound(*index), *index)).collect();
        let mut called: Vec<usize> = flow.into_iter().filter(|index| fates[*index].started.is_some()).collect();
        called.sort_by_key(|index| fates[*index].started);
        for index in called {
            left.remove(&(bound(index), index));
            // What starts at the same instant is not overtaken.
            let at = fates[index].started;
            let waits = |other: &&(Duration, usize)| fates[other.1].started.is_none_or(|start| Some(start) > at);
            violations +=
                usize::from(left.iter().take(64).find(waits).is_some_and(|(bound, _)| *bound < trace[index].at));
        }
    }
    violations
}

/// As `pipeline::rank` has it, and docs/ranking.md.
fn allowance(priority: u64) -> Duration {
    let minutes = [0, 5, 15, 30, 45, 60, 180, 360, 720, 1440];
    Duration::from_secs(60 * minutes[usize::try_from(priority).unwrap()])
}

/// The tenants' weights; 1 where there is none.
pub fn weight(weights: &[(&str, f64)], tenant: &str) -> f64 {
    weights.iter().find(|(name, _)| *name == tenant).map_or(1.0, |(_, weight)| *weight)
}

/// The most that any request waited beyond its tenant's own work that was called meanwhile, at the tenant's
/// share of all slots: seconds.
pub fn slack(trace: &[Planned], fates: &[Fate], weights: &[(&str, f64)], horizon: Duration) -> f64 {
    let tenants: BTreeSet<&str> = trace.iter().map(|planned| planned.tenant).collect();
    let all: f64 = tenants.iter().map(|tenant| weight(weights, tenant)).sum();
    let rate = f64::from(SLOTS) * SLOT_TOKENS_PER_S;
    let mut worst = 0.0_f64;
    for tenant in tenants {
        let own = || trace.iter().zip(fates).filter(|(planned, _)| planned.tenant == tenant);
        let mut starts: Vec<(Duration, f64)> =
            own().filter_map(|(planned, fate)| Some((fate.started?, planned.tokens as f64))).collect();
        starts.sort_by_key(|(at, _)| *at);
        let sums: Vec<f64> = std::iter::once(0.0)
            .chain(starts.iter().scan(0.0, |sum, (_, tokens)| {
                *sum += tokens;
                Some(*sum)
            }))
            .collect();
        let before = |at: Duration| sums[starts.partition_point(|(start, _)| *start <= at)];
        let share = rate * weight(weights, tenant) / all;
        for (planned, fate) in own().filter(|(_, fate)| !fate.expired) {
            let until = fate.started.unwrap_or(horizon);
            let waited = until.saturating_sub(planned.at).as_secs_f64();
            worst = worst.max(waited - (before(until) - before(planned.at)) / share);
        }
    }
    worst
}

/// The least Jain index over the hours of what the tenants were served by weight, of those that had something waiting
/// all the hour; `None` when there was no hour with two of them.
pub fn least_jain(trace: &[Planned], fates: &[Fate], weights: &[(&str, f64)], horizon: Duration) -> Option<f64> {
    let hour = Duration::from_hours(1);
    let hours = horizon.as_secs() / 3_600;
    let tenants: BTreeSet<&str> = trace.iter().map(|planned| planned.tenant).collect();
    let mut least: Option<f64> = None;
    for from in (0..hours).map(|n| hour * u32::try_from(n).unwrap()) {
        let mut served = Vec::new();
        for tenant in &tenants {
            let own = || trace.iter().zip(fates).filter(|(planned, _)| planned.tenant == *tenant);
            if !waits_throughout(own(), from, from + hour) {
                continue;
            }
            let in_hour = own().filter(|(_, fate)| fate.started.is_some_and(|at| (from..from + hour).contains(&at)));
            let tokens: f64 = in_hour.map(|(planned, _)| planned.tokens as f64).sum();
            served.push(tokens / weight(weights, tenant));
        }
        if served.len() > 1 {
            let (sum, squares) = served.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
            let jain = sum * sum / (served.len() as f64 * squares);
            least = Some(least.map_or(jain, |least| least.min(jain)));
        }
    }
    least
}

fn waits_throughout<'a>(own: impl Iterator<Item = (&'a Planned, &'a Fate)>, from: Duration, to: Duration) -> bool {
    let mut covered = from;
    // In order of arrival, so that gaps show.
    for (planned, fate) in own.filter(|(_, fate)| !fate.expired) {
        if planned.at > covered {
            return false;
        }
        covered = covered.max(fate.started.unwrap_or(to));
        if covered >= to {
            return true;
        }
    }
    false
}
