//! The whole fleet at a moment: backlog, queues, lanes, workers. Only reads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::lanes::LaneNow;
use super::tenants::{TenantNow, budgets, tenants};
use crate::cli::alerts::{AlertNow, open};
use crate::cli::place::Place;
use crate::clock::Timestamp;
use crate::control::pauses::{Pause, Pauses};
use crate::pipeline::fleet::{Fleet, Member, Role};
use crate::pipeline::spend::Standing;
use crate::ports::ledger::Counts;
use crate::ports::{PortResult, Queue};
use crate::request::Status;

/// A worker that showed itself within this time is alive; it does so every other second.
const FRESH: Duration = Duration::from_secs(15);
/// One that has not for this long is gone.
const GONE: Duration = Duration::from_mins(1);
/// How often the backlog on AWS is counted: that reads its index, which costs.
const COUNT_EVERY: Duration = Duration::from_secs(15);

/// What a worker's silence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Life {
    Alive,
    /// For longer than usual; others may have taken its work over.
    Silent,
    Gone,
}

/// Whether a member is alive, as far as its clock and ours agree.
pub fn life(member: &Member, now: Timestamp) -> Life {
    match now.since(member.shown_at) {
        silence if silence < FRESH => Life::Alive,
        silence if silence < GONE => Life::Silent,
        _ => Life::Gone,
    }
}

/// Everything that the overview shows. As JSON these names are stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overview {
    /// When it was read.
    pub at: Timestamp,
    /// The directory or the Region.
    pub place: String,
    /// What on-call was told of and is not over.
    pub alerts: Vec<AlertNow>,
    /// Requests by status. On AWS only those that are not final.
    pub requests: BTreeMap<Status, u64>,
    /// By `input`, `hold`, `dead`, `results`.
    pub queues: BTreeMap<&'static str, QueueNow>,
    /// What operators hold back.
    pub pauses: Vec<Pause>,
    /// Who has a backlog.
    pub tenants: Vec<TenantNow>,
    /// The budgets of the configuration that this command was given.
    pub budgets: Vec<Standing>,
    /// One per quota.
    pub lanes: Vec<LaneNow>,
    /// Everybody who is or lately was there.
    pub workers: Vec<WorkerNow>,
    /// The worker that plans; absent when none does.
    pub planner: Option<String>,
}

/// A queue's depth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QueueNow {
    /// Messages that can be received.
    pub visible: u64,
    /// Messages that somebody has received and not deleted.
    pub in_flight: u64,
}

/// A worker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerNow {
    /// Its name.
    pub worker: String,
    /// What it does.
    pub roles: BTreeSet<Role>,
    /// When it started.
    pub since: Timestamp,
    /// When it showed itself last.
    pub shown_at: Timestamp,
    /// Whether it is there.
    pub life: Life,
}

/// The workers and their lanes.
pub struct Crew {
    pub lanes: Vec<LaneNow>,
    pub workers: Vec<WorkerNow>,
    pub planner: Option<String>,
}

impl Crew {
    /// Reads them.
    pub async fn read(place: &Place) -> PortResult<Self> {
        let registers = &*place.ports.registers;
        let (members, planner) = tokio::join!(Fleet::members(registers), Fleet::planner(registers));
        Ok(Self::of(&members?, planner?, place.clock.now()))
    }

    pub fn of(members: &[Member], planner: Option<String>, now: Timestamp) -> Self {
        let alive = |worker: &String| members.iter().any(|m| m.worker == *worker && life(m, now) == Life::Alive);
        let mut lanes: BTreeMap<&str, LaneNow> = BTreeMap::new();
        for member in members.iter().filter(|member| life(member, now) == Life::Alive) {
            for lane in &member.lanes {
                let new = || LaneNow::new(&lane.lane);
                lanes.entry(&lane.lane).or_insert_with(new).add(lane, member, now);
            }
        }
        let workers = members.iter().map(|member| WorkerNow {
            worker: member.worker.clone(),
            roles: member.roles.clone(),
            since: member.since,
            shown_at: member.shown_at,
            life: life(member, now),
        });
        let mut workers: Vec<_> = workers.collect();
        workers.sort_by(|a, b| a.life.cmp(&b.life).then_with(|| a.worker.cmp(&b.worker)));
        Self { lanes: lanes.into_values().collect(), workers, planner: planner.filter(alive) }
    }

    /// Whether anybody who is alive has this role.
    pub fn has(&self, role: Role) -> bool {
        self.workers.iter().any(|worker| worker.life == Life::Alive && worker.roles.contains(&role))
    }
}

/// Reads overviews, one after the other.
#[derive(Default)]
pub struct Observer {
    counted: Option<(Instant, Counts)>,
}

impl Observer {
    pub async fn look(&mut self, place: &Place) -> PortResult<Overview> {
        let ports = &place.ports;
        let (crew, alerts, budgets, counts, pauses, input, hold, dead, results) = tokio::join!(
            Crew::read(place),
            open(place),
            budgets(place),
            self.count(place),
            Pauses::read(&*ports.registers),
            depth(&*ports.input),
            depth(&*ports.hold),
            depth(&*ports.dead),
            depth(&*ports.results),
        );
        let (crew, counts) = (crew?, counts?);
        Ok(Overview {
            at: place.clock.now(),
            place: place.dir.as_ref().map_or_else(|| place.config.aws_region.clone(), |dir| dir.display().to_string()),
            alerts: alerts?,
            tenants: tenants(&counts, &place.config),
            budgets: budgets?,
            requests: counts.by_status,
            queues: [("input", input?), ("hold", hold?), ("dead", dead?), ("results", results?)].into(),
            pauses: pauses?.in_force(place.clock.now()),
            lanes: crew.lanes,
            workers: crew.workers,
            planner: crew.planner,
        })
    }

    async fn count(&mut self, place: &Place) -> PortResult<Counts> {
        let valid_for = if place.dir.is_some() { Duration::ZERO } else { COUNT_EVERY };
        match &self.counted {
            Some((at, counts)) if at.elapsed() < valid_for => Ok(counts.clone()),
            _ => {
                let counts = place.ports.ledger.counts().await?;
                self.counted = Some((Instant::now(), counts.clone()));
                Ok(counts)
            }
        }
    }
}

async fn depth(queue: &dyn Queue) -> PortResult<QueueNow> {
    let depth = queue.depth().await?;
    Ok(QueueNow { visible: depth.visible, in_flight: depth.in_flight })
}

/// A fleet for tests: a caller that is alive with one lane, a second one, and one that is gone.
#[cfg(test)]
pub mod fixture {
    use super::*;
    use crate::pipeline::pace::LaneSnapshot;

    pub const NOW: Timestamp = Timestamp(1_795_252_123_456);
    pub const LANE: &str = "default:us-east-1:amazon.nova-lite-v1:0";

    pub fn lane() -> LaneSnapshot {
        LaneSnapshot {
            lane: LANE.to_owned(),
            requests_per_minute: Some(60.0),
            tokens_per_minute: Some(100_000.0),
            share: 0.5,
            factor: 0.8,
            paused_ms: Some(5_000),
            waiting: 33,
            in_flight: 15,
            reserved_tokens: 12_000.0,
            requests_last_minute: 20,
            tokens_last_minute: 37_506.0,
            started: 100,
            answered: 80,
            throttled: 3,
            settled_tokens: 90_000.0,
            rpm_used: None,
            tpm_used: None,
            input_ratio: 1.18,
            typical_output: Some(320.0),
            typical_outputs: [("chat".to_owned(), 210.0), ("report".to_owned(), 1_450.0)].into(),
            reserved_per_used: Some(3.4),
            request_factor: 1.0,
            background: Some(0.12),
            log_engaged: true,
        }
    }

    pub fn member(worker: &str, silent: Duration, roles: &[Role]) -> Member {
        Member {
            worker: worker.to_owned(),
            roles: roles.iter().copied().collect(),
            since: NOW - Duration::from_mins(192),
            shown_at: NOW - silent,
            lanes: vec![lane()],
            finished: 0,
            used: None,
        }
    }

    pub fn members() -> Vec<Member> {
        let second = Duration::from_secs(1);
        vec![
            member("worker-3", 3600 * second, &[Role::Call]),
            member("worker-1", second, &[Role::Ingest, Role::Plan, Role::Call]),
            Member {
                lanes: vec![LaneSnapshot { paused_ms: None, factor: 1.0, ..lane() }],
                ..member("worker-2", 2 * second, &[Role::Call])
            },
            member("worker-4", 20 * second, &[Role::Call]),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::{LANE, NOW, members};
    use super::*;

    #[test]
    fn lanes_are_summed_over_those_who_are_alive() {
        let crew = Crew::of(&members(), Some("worker-1".to_owned()), NOW);
        let names: Vec<_> = crew.workers.iter().map(|w| (w.worker.as_str(), w.life)).collect();
        assert_eq!(
            names,
            [
                ("worker-1", Life::Alive),
                ("worker-2", Life::Alive),
                ("worker-4", Life::Silent),
                ("worker-3", Life::Gone)
            ]
        );
        let [lane] = crew.lanes.as_slice() else { panic!("{:?}", crew.lanes) };
        assert_eq!(lane.lane, LANE);
        assert_eq!((lane.in_flight, lane.waiting, lane.throttled), (30, 66, 6));
        assert_eq!((lane.requests_last_minute, lane.starts_per_minute), (40, Some(40.0)));
        assert_eq!((lane.paused_ms, lane.factor), (Some(4_000), 0.8));
        assert_eq!(crew.planner.as_deref(), Some("worker-1"));
    }

    #[test]
    fn the_dead_neither_plan_nor_call() {
        let crew = Crew::of(&members()[..1], Some("worker-3".to_owned()), NOW);
        assert_eq!(crew.planner, None);
        assert!(!crew.has(Role::Call) && crew.lanes.is_empty());
    }

    #[test]
    fn the_rate_of_a_young_worker_is_taken_from_its_age() {
        let mut young = members().remove(1);
        young.since = young.shown_at - Duration::from_secs(12);
        assert_eq!(Crew::of(&[young], None, NOW).lanes[0].starts_per_minute, Some(100.0));
    }
}
