//! The lanes: each quota with its gauge, and what pacing has learned of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::page::heading;
use super::paint::{Paint, Tone};
use crate::cli::format::{WIDTH, clip, gauge, plain, span, thousands, whole};
use crate::clock::Timestamp;
use crate::pipeline::fleet::Member;
use crate::pipeline::pace::LaneSnapshot;

/// Lanes shown; the busiest come first.
const LANES: usize = 12;
/// Reservations this many times the use are worth a word: they, not the quota, bound what runs at a time.
const OVERSIZED: f64 = 3.0;

/// A lane, summed over the workers that are alive. What is learned is the busiest worker's.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LaneNow {
    /// Its name.
    pub lane: String,
    /// The quota.
    pub tokens_per_minute: Option<f64>,
    /// The quota.
    pub requests_per_minute: Option<f64>,
    /// Share of the quota that the workers were granted, 1 when all of it.
    pub granted: f64,
    /// Tokens of the calls started in the last minute: settled, or reserved while in flight.
    pub tokens_last_minute: f64,
    /// Calls started in the last minute.
    pub requests_last_minute: u64,
    /// Calls a minute, from as much of the last minute as the workers are up; absent when none was started.
    pub starts_per_minute: Option<f64>,
    /// Calls in flight.
    pub in_flight: u64,
    /// Tokens reserved by them.
    pub reserved_tokens: f64,
    /// Tokens settled since the workers started.
    pub settled_tokens: f64,
    /// Requests at the gate.
    pub waiting: u64,
    /// Milliseconds until it goes on, when paused.
    pub paused_ms: Option<u64>,
    /// What throttles and other traffic left of the tokens, 0 to 1.
    pub factor: f64,
    /// What throttles left of the requests, 0 to 1.
    pub request_factor: f64,
    /// Other traffic's share of the tokens, where it is measured.
    pub background: Option<f64>,
    /// Whether the last minute's tokens bound admission too.
    pub log_engaged: bool,
    /// Calls throttled since the workers started.
    pub throttled: u64,
    /// Learned: input tokens per estimated one.
    pub input_ratio: f64,
    /// Learned: output tokens that three of four answers do not exceed; over all, and by use case.
    pub typical_output: Option<f64>,
    /// By use case.
    pub typical_outputs: BTreeMap<String, f64>,
    /// Learned: tokens reserved at the start per token used in the end.
    pub reserved_per_used: Option<f64>,
    #[serde(skip)]
    busiest: u64,
}

impl LaneNow {
    pub fn new(lane: &str) -> Self {
        Self { lane: lane.to_owned(), factor: 1.0, request_factor: 1.0, input_ratio: 1.0, ..Self::default() }
    }

    /// Adds a worker's part.
    pub fn add(&mut self, lane: &LaneSnapshot, member: &Member, now: Timestamp) {
        // Everybody knows the whole quota; after a change the one who heard of it last counts as much as the others.
        self.tokens_per_minute = lane.tokens_per_minute.or(self.tokens_per_minute);
        self.requests_per_minute = lane.requests_per_minute.or(self.requests_per_minute);
        self.granted += lane.share;
        self.tokens_last_minute += lane.tokens_last_minute;
        self.requests_last_minute += lane.requests_last_minute as u64;
        if lane.requests_last_minute > 0 {
            let up = member.shown_at.since(member.since).as_secs_f64().clamp(5.0, 60.0);
            *self.starts_per_minute.get_or_insert(0.0) += lane.requests_last_minute as f64 * 60.0 / up;
        }
        self.in_flight += u64::from(lane.in_flight);
        self.reserved_tokens += lane.reserved_tokens;
        self.settled_tokens += lane.settled_tokens;
        self.waiting += lane.waiting as u64;
        self.throttled += lane.throttled;
        self.factor = self.factor.min(lane.factor);
        self.request_factor = self.request_factor.min(lane.request_factor);
        self.background = self.background.into_iter().chain(lane.background).reduce(f64::max);
        self.log_engaged |= lane.log_engaged;
        let since = u64::try_from(now.since(member.shown_at).as_millis()).unwrap_or(u64::MAX);
        let paused = lane.paused_ms.map(|ms| ms.saturating_sub(since)).filter(|ms| *ms > 0);
        self.paused_ms = self.paused_ms.max(paused);
        if lane.answered > self.busiest {
            self.busiest = lane.answered;
            self.input_ratio = lane.input_ratio;
            self.typical_output = lane.typical_output;
            self.typical_outputs.clone_from(&lane.typical_outputs);
            self.reserved_per_used = lane.reserved_per_used;
        }
    }

    /// What slows it down or stops it.
    fn brakes(&self) -> Vec<String> {
        let mut brakes = Vec::new();
        if self.factor < 0.995 {
            brakes.push(format!("slowed to {:.0} %", self.factor * 100.0));
        }
        if self.request_factor < 0.995 {
            brakes.push(format!("requests slowed to {:.0} %", self.request_factor * 100.0));
        }
        if self.log_engaged {
            brakes.push("bound by the last minute too".to_owned());
        }
        if let Some(share) = self.background.filter(|share| *share > 0.005) {
            brakes.push(format!("others use {:.0} %", share * 100.0));
        }
        if let Some(ms) = self.paused_ms {
            brakes.push(format!("paused for {}", span(Duration::from_millis(ms))));
        }
        brakes
    }

    fn learned(&self) -> Option<String> {
        let output = self.typical_output?;
        let kinds: Vec<_> =
            self.typical_outputs.iter().map(|(kind, tokens)| format!("{} {}", plain(kind), whole(*tokens))).collect();
        let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        Some(format!("learned: {:.2} tokens in per estimated one, {} out{kinds}", self.input_ratio, whole(output)))
    }
}

/// The quotas with their gauges.
pub fn write_lanes(page: &mut String, lanes: &[LaneNow], paint: Paint) -> std::fmt::Result {
    heading(page, paint, "Quotas, use in the last minute")?;
    if lanes.is_empty() {
        return writeln!(page, "  nothing called yet\n");
    }
    let mut lanes: Vec<&LaneNow> = lanes.iter().collect();
    lanes.sort_by_key(|lane| (std::cmp::Reverse(lane.requests_last_minute + lane.waiting), lane.lane.as_str()));
    for lane in lanes.iter().take(LANES) {
        write_lane(page, lane, paint)?;
    }
    if lanes.len() > LANES {
        writeln!(page, "  and {} more", lanes.len() - LANES)?;
    }
    writeln!(page)
}

fn write_lane(page: &mut String, lane: &LaneNow, paint: Paint) -> std::fmt::Result {
    writeln!(page, "  {}", lane_name(&lane.lane))?;
    quota(page, paint, "tokens", lane.tokens_last_minute, lane.tokens_per_minute)?;
    quota(page, paint, "requests", lane.requests_last_minute as f64, lane.requests_per_minute)?;
    writeln!(
        page,
        "    {} in flight, {} tokens reserved · {} waiting · {} throttled",
        thousands(lane.in_flight),
        whole(lane.reserved_tokens),
        thousands(lane.waiting),
        thousands(lane.throttled)
    )?;
    let brakes = lane.brakes();
    if !brakes.is_empty() {
        writeln!(page, "    {}", paint.paint(Tone::Warn, &brakes.join(" · ")))?;
    }
    if let Some(learned) = lane.learned() {
        writeln!(page, "    {}", paint.paint(Tone::Faint, &clip(&learned, WIDTH - 4)))?;
    }
    if let Some(times) = lane.reserved_per_used.filter(|times| *times >= OVERSIZED) {
        let advice = format!("reserves {times:.1} times what is used: a lower maxTokens lets more calls run at a time");
        writeln!(page, "    {}", paint.paint(Tone::Warn, &advice))?;
    }
    Ok(())
}

fn quota(page: &mut String, paint: Paint, what: &str, used: f64, quota: Option<f64>) -> std::fmt::Result {
    let Some(quota) = quota.filter(|quota| *quota > 0.0) else {
        return writeln!(page, "    {what:<9} {} {:>11} a minute, not limited", " ".repeat(22), whole(used));
    };
    let share = used / quota;
    let bar = paint.paint(if share > 1.0 { Tone::Bad } else { Tone::Good }, &gauge(share));
    writeln!(page, "    {what:<9} {bar} {:>3.0} % {:>11} of {} a minute", share * 100.0, whole(used), whole(quota))
}

/// `amazon.nova-lite-v1:0 · us-east-1`, with the account when it is not the default one.
fn lane_name(lane: &str) -> String {
    let mut parts = lane.splitn(3, ':');
    let (account, region, model) = (parts.next(), parts.next(), parts.next());
    let name = match (account, region, model) {
        (Some("default"), Some(region), Some(model)) => format!("{model} · {region}"),
        (Some(account), Some(region), Some(model)) => format!("{model} · {region} · {account}"),
        _ => lane.to_owned(),
    };
    clip(&plain(&name), WIDTH - 2)
}
