//! The requests of a scenario: sizes, lengths, durations and arrivals, all from the seed.

use std::time::Duration;

use smoother::simulator::draw::Draws;

use crate::scenario::Scenario;

/// A request as the server sees it, and what smoother knows of it beforehand.
#[derive(Clone, Debug)]
pub struct Planned {
    pub number: u32,
    pub kind: &'static str,
    pub urgent: bool,
    pub arrival: Duration,
    pub input: u64,
    pub output: u64,
    pub max_output: u64,
    /// Input tokens estimated from bytes: off by a factor common to all and a little by chance.
    pub estimated_input: u64,
    pub takes: Duration,
}

impl Planned {
    /// What Bedrock reserves.
    pub fn reserved(&self) -> u64 {
        self.input + self.max_output
    }

    /// What it counts in the end.
    pub fn settled(&self, burndown: f64) -> f64 {
        self.input as f64 + burndown * self.output as f64
    }
}

/// Medians and sigmas of lognormal sizes within bounds.
struct Kind {
    name: &'static str,
    input: (f64, f64, f64, f64),
    output: (f64, f64),
    max_output: u64,
}

const KINDS: &[Kind] = &[
    Kind { name: "chat", input: (400.0, 0.6, 50.0, 4e3), output: (220.0, 0.6), max_output: 512 },
    Kind { name: "extract", input: (1_500.0, 0.6, 200.0, 12e3), output: (350.0, 0.6), max_output: 1_024 },
    Kind { name: "report", input: (6_000.0, 0.5, 1e3, 30e3), output: (1_200.0, 0.4), max_output: 4_096 },
    Kind { name: "tiny", input: (150.0, 0.5, 20.0, 1e3), output: (60.0, 0.5), max_output: 128 },
    Kind { name: "slow", input: (200.0, 0.5, 20.0, 1e3), output: (800.0, 0.4), max_output: 2_048 },
    Kind { name: "huge", input: (90e3, 0.3, 40e3, 180e3), output: (1_200.0, 0.4), max_output: 4_096 },
];

/// How far the estimate of the input is off in all requests, and by chance in each.
const ESTIMATE_BIAS: f64 = 0.85;
const ESTIMATE_SIGMA: f64 = 0.1;

pub fn requests(scenario: &Scenario, seed: u64) -> Vec<Planned> {
    let trace = &scenario.trace;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a u32")]
    let urgent = (f64::from(trace.requests) * trace.urgent) as u32;
    let mut draws = Draws::new(seed, 0, 11);
    let urgent_kind = if trace.mix.contains_key("chat") { "chat" } else { trace.mix.keys().next().unwrap() };
    let mut all: Vec<Planned> = (0..trace.requests)
        .map(|number| {
            let is_urgent = number >= trace.requests - urgent;
            let pick_at = draws.uniform();
            let mut sum = 0.0;
            let pick = trace.mix.iter().find(|(_, share)| {
                sum += **share;
                pick_at < sum
            });
            let kind = if is_urgent { urgent_kind } else { pick.or(trace.mix.iter().next_back()).unwrap().0 };
            one(number, kind, is_urgent, trace.max_tokens_at_least, &mut draws)
        })
        .collect();
    let asked: f64 = all.iter().map(|request| request.settled(scenario.server.burndown)).sum();
    let minutes = scenario
        .server
        .tpm
        .map_or(0.0, |tpm| asked / tpm as f64)
        .max(scenario.server.rpm.map_or(0.0, |rpm| f64::from(trace.requests) / rpm as f64));
    let span = (0.85 * 60.0 * minutes).max(120.0);
    for request in &mut all {
        let at = match trace.bursts {
            Some(bursts) => f64::from(request.number / bursts.requests) * bursts.every_s,
            None if request.urgent => 60.0 + draws.uniform() * (span - 60.0),
            None => 0.0,
        };
        request.arrival = Duration::from_secs_f64(at);
    }
    all.sort_by_key(|request| (request.arrival, request.number));
    all
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped positive")]
fn one(number: u32, kind: &str, urgent: bool, least: u64, draws: &mut Draws) -> Planned {
    let kind = KINDS.iter().find(|known| known.name == kind).unwrap_or_else(|| panic!("no kind of request {kind:?}"));
    let mut sized = |(median, sigma): (f64, f64), low: f64, high: f64| {
        (median * (sigma * draws.normal()).exp()).clamp(low, high) as u64
    };
    let (median, sigma, low, high) = kind.input;
    let max_output = kind.max_output.max(least);
    let input = sized((median, sigma), low, high);
    let output = sized(kind.output, 1.0, kind.max_output as f64);
    let takes = (0.8 + output as f64 / 80.0) * (0.35 * draws.normal()).exp();
    let estimated_input = (input as f64 * ESTIMATE_BIAS * (ESTIMATE_SIGMA * draws.normal()).exp()) as u64;
    let takes = Duration::from_secs_f64(takes);
    Planned {
        number,
        kind: kind.name,
        urgent,
        arrival: Duration::ZERO,
        input,
        output,
        max_output,
        estimated_input,
        takes,
    }
}
