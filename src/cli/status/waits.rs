//! Why a request waits, and when it should run: from its row, its lane and the workers, nothing is guessed.

use std::time::Duration;

use serde::Serialize;

use super::ahead::Ahead;
use super::lanes::LaneNow;
use super::overview::{Crew, Life};
use crate::cli::control::line;
use crate::cli::format::{count, date_time, plain, span};
use crate::clock::Timestamp;
use crate::control::pauses::Pause;
use crate::pipeline::fleet::Role;
use crate::pipeline::rank;
use crate::request::{Priority, Row, Status};

/// Other tenants that are named.
const NAMED: usize = 5;
/// What is expected within this time is only said to be soon.
const SOON: Duration = Duration::from_secs(2);

/// Where it stands. As JSON these names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stand {
    /// Ranked among the requests of its lane.
    Backlog,
    /// Not to be called before a time.
    Deferred,
    /// To be called next.
    HoldQueue,
    /// With a worker.
    Running,
}

/// Why it waits. As JSON these names are stable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Waits {
    /// Where it stands.
    pub place: Stand,
    /// Requests of its lane that go before it; at least this many when `ahead_at_least`.
    pub ahead: Option<u64>,
    /// Of those, the ones of its own tenant that rank before it in the backlog.
    pub own_ahead: Option<u64>,
    /// The part of its lane that its tenant has while all that wait there do, 0 to 1.
    pub share: Option<f64>,
    /// Counting stopped at `ahead`.
    pub ahead_at_least: bool,
    /// Calls that its lane starts a minute; absent when unknown.
    pub starts_per_minute: Option<f64>,
    /// When it should be called; absent when unknown.
    pub expected_at: Option<Timestamp>,
    /// Why, in words.
    pub reasons: Vec<String>,
}

/// Explains a row that is not final.
pub fn explain(row: &Row, crew: &Crew, ahead: &Ahead, now: Timestamp) -> Waits {
    let lane = crew.lanes.iter().find(|lane| lane.lane == row.request.lane.as_str());
    match row.status {
        Status::Running => running(row, crew, now),
        Status::Received => match row.not_before.filter(|until| *until > now) {
            Some(until) => deferred(row, crew, lane, until, now),
            None => in_line(row, crew, lane, ahead, now),
        },
        _ => in_line(row, crew, lane, ahead, now),
    }
}

fn running(row: &Row, crew: &Crew, now: Timestamp) -> Waits {
    let worker = row.worker.as_deref().unwrap_or("unknown");
    let alive = crew.workers.iter().any(|w| w.worker == worker && w.life == Life::Alive);
    let mut reasons = vec![format!("with worker {} for {}", plain(worker), span(now.since(row.updated_at)))];
    if !alive {
        reasons.push(
            "that worker shows no sign of life; when its claim lapses, another one takes the request over".to_owned(),
        );
    }
    if row.claims > 1 {
        reasons.push(format!("{} before it ended without a word", count(u64::from(row.claims - 1), "worker")));
    }
    Waits {
        place: Stand::Running,
        ahead: None,
        own_ahead: None,
        share: None,
        ahead_at_least: false,
        starts_per_minute: None,
        expected_at: None,
        reasons,
    }
}

fn deferred(row: &Row, crew: &Crew, lane: Option<&LaneNow>, until: Timestamp, now: Timestamp) -> Waits {
    // Only a deferral after a call leaves a note; without one the lane was paused before it came to a call.
    let why = row.notes.last().filter(|note| note.at == row.updated_at);
    let why = why.map_or_else(|| "its lane was paused".to_owned(), |note| plain(&note.what));
    let mut reasons =
        vec![format!("deferred until {} (in {}), because: {why}", date_time(until), span(until.since(now)))];
    missing_roles(&mut reasons, crew, true);
    Waits {
        place: Stand::Deferred,
        ahead: None,
        own_ahead: None,
        share: None,
        ahead_at_least: false,
        starts_per_minute: lane.and_then(|lane| lane.starts_per_minute),
        expected_at: None,
        reasons,
    }
}

/// In the backlog or in the hold queue.
fn in_line(row: &Row, crew: &Crew, lane: Option<&LaneNow>, ahead: &Ahead, now: Timestamp) -> Waits {
    let held_back = row.status == Status::Received;
    // Of what is held before it, the calls in flight have been started.
    let in_flight = lane.map_or(0, |lane| lane.in_flight);
    let waiting = ahead.held.saturating_sub(in_flight);
    let all = ahead.in_backlog() + waiting;
    let mut reasons = Vec::new();
    if held_back {
        let own = count(ahead.own, "request");
        reasons.push(match ahead.own {
            _ if ahead.own_more => format!("in the backlog behind more than {own} of its tenant in its lane"),
            0 => "in the backlog, first of its tenant in its lane".to_owned(),
            _ => format!("in the backlog behind {own} of its tenant in its lane"),
        });
        reasons.extend(turns(row, ahead));
        if waiting > 0 {
            reasons.push(format!(
                "{} of its lane {} in the hold queue, which goes first",
                count(waiting, "request"),
                stand(waiting)
            ));
        }
    } else if waiting > 0 {
        reasons.push(format!("in the hold queue with {} of its lane that may go before it", count(waiting, "request")));
    } else {
        reasons.push("in the hold queue, next of its lane".to_owned());
    }
    reasons.push(place_in_line(row));
    let paused = lane.and_then(|lane| lane.paused_ms).map(Duration::from_millis);
    if let Some(paused) = paused {
        reasons.push(format!("its lane is paused for {} after throttling", span(paused)));
    }
    if let Some(start) = row.at_risk {
        reasons.push(format!("at risk: it was projected to start at {}, after its deadline", date_time(start)));
    }
    let complete = missing_roles(&mut reasons, crew, held_back);
    let rate = lane.and_then(|lane| lane.starts_per_minute).filter(|rate| *rate > 0.0);
    let expected_at = match (complete, ahead.at_least(), all, rate) {
        (false, ..) | (true, true, ..) => None,
        (true, false, 0, _) => Some(now + paused.unwrap_or_default()),
        (true, false, all, rate) => {
            rate.map(|rate| now + paused.unwrap_or_default() + Duration::from_secs_f64(all as f64 * 60.0 / rate))
        }
    };
    Waits {
        place: if held_back { Stand::Backlog } else { Stand::HoldQueue },
        ahead: Some(all),
        own_ahead: held_back.then_some(ahead.own),
        share: held_back.then(|| ahead.share()),
        ahead_at_least: ahead.at_least(),
        starts_per_minute: rate,
        expected_at,
        reasons,
    }
}

/// With whom it takes turns.
fn turns(row: &Row, ahead: &Ahead) -> Option<String> {
    let urgent =
        (ahead.urgent > 0).then(|| format!("{} of other tenants go first", count(ahead.urgent, "urgent request")));
    let turns = (!ahead.others.is_empty()).then(|| {
        let names: Vec<&str> = ahead.others.keys().take(NAMED).map(crate::request::Tenant::as_str).collect();
        let more = ahead.others.len().saturating_sub(NAMED);
        let names = if more > 0 { format!("{} and {more} more", names.join(", ")) } else { names.join(", ") };
        let share = ahead.share() * 100.0;
        let weight = ahead.weight;
        format!(
            "its lane is shared with {names}; tenant {} has {share:.0}% of it (weight {weight})",
            row.request.tenant
        )
    });
    match (urgent, turns) {
        (Some(urgent), Some(turns)) => Some(format!("{urgent}; {turns}")),
        (one, other) => one.or(other),
    }
}

fn stand(n: u64) -> &'static str {
    if n == 1 { "stands" } else { "stand" }
}

/// The order explained: who goes before it.
fn place_in_line(row: &Row) -> String {
    let request = &row.request;
    if request.priority == Priority::URGENT {
        return "it is urgent: of its tenant only urgent requests that are due earlier go before it".to_owned();
    }
    let because = if request.deadline.is_some() { ", and its deadline" } else { "" };
    let class = request.priority.class();
    match rank::due(&request.rank) {
        Some(due) => format!(
            "ranked as due at {} by its priority, {class}{because}; of its tenant, what is urgent or due earlier goes first",
            date_time(due)
        ),
        None => format!("its priority is {class}"),
    }
}

/// Says which part of the work nobody does; answers whether all is there.
fn missing_roles(reasons: &mut Vec<String>, crew: &Crew, held_back: bool) -> bool {
    let calls = crew.has(Role::Call);
    if !calls {
        reasons.push("no worker that calls Bedrock is alive: start one with smoother run".to_owned());
    }
    let plans = crew.planner.is_some() || !held_back;
    if !plans {
        let takeover =
            if crew.has(Role::Plan) { "another worker takes over in seconds" } else { "no worker has that role" };
        reasons.push(format!("nobody plans, so nothing leaves the backlog: {takeover}"));
    }
    calls && plans
}

impl Waits {
    /// An operator holds it back, whatever else.
    pub fn hold_back(&mut self, pause: &Pause, now: Timestamp) {
        self.reasons.insert(0, format!("paused: {}", line(pause, now)));
        self.expected_at = None;
    }

    /// When it should run, in words.
    pub fn expectation(&self, now: Timestamp) -> String {
        match (self.place, self.expected_at) {
            (Stand::Running, _) => "it is being called".to_owned(),
            (_, Some(at)) if at.since(now) <= SOON => "at any moment".to_owned(),
            (_, Some(at)) => {
                let rate = self.starts_per_minute.zip(self.ahead.filter(|n| *n > 0));
                let rate = rate.map(|(rate, n)| format!(" ({n} before it, {rate:.0} calls start a minute)"));
                let about = span(at.since(now));
                format!("in about {about}{}, unless something more urgent comes", rate.unwrap_or_default())
            }
            (_, None) if self.reasons.iter().any(|why| why.starts_with("paused")) => {
                "not while it is paused".to_owned()
            }
            (_, None) => "unknown".to_owned(),
        }
    }
}
