//! The traces, and what must come of them.

use std::time::Duration;

use crate::trace::{Arrives, HELD, MICRO, SLOT_TOKENS_PER_S, SLOTS, Source};
use crate::world::Outage;
use crate::{Run, figures};

/// A trace and its goals.
#[derive(Clone)]
pub struct Scenario {
    pub name: &'static str,
    pub sources: Vec<Source>,
    pub weights: Vec<(&'static str, f64)>,
    pub outage: Option<Outage>,
    pub check: fn(&Run, &Scenario),
}

impl Scenario {
    fn new(name: &'static str, sources: Vec<Source>, check: fn(&Run, &Scenario)) -> Self {
        Self { name, sources, weights: Vec::new(), outage: None, check }
    }
}

/// How long all that may be held or called takes: what is chosen already is not overtaken by other tenants' work beyond its place.
fn held_s() -> f64 {
    (HELD as f64 + f64::from(SLOTS)) * 2_000.0 / (f64::from(SLOTS) * SLOT_TOKENS_PER_S)
}

/// What every run must keep.
fn kept(run: &Run, scenario: &Scenario) {
    // What a lane that is out puts off is not in line until the lane is tried again.
    let put_off = if scenario.outage.is_some() { HELD + SLOTS as usize } else { 0 };
    let overtaken = figures::overtaken(&run.trace, &run.fates);
    assert!(overtaken <= put_off, "{overtaken} overtook what came more than its allowance earlier");
    let jain = run.least_jain(scenario);
    assert!(jain.is_none_or(|jain| jain >= 0.99), "fairness of an hour: {jain:?}");
}

fn share_kept(run: &Run, scenario: &Scenario, urgent_s: f64) {
    let slack = run.slack(&scenario.weights);
    // Two in a hundred for the moments between two calls of a slot.
    let bound = held_s() + urgent_s + 0.02 * run.horizon.as_secs_f64();
    assert!(slack <= bound, "somebody waited {slack:.0} s more than its tenant's share explains, above {bound:.0}");
}

const TRICKLE: Arrives = Arrives::Trickle(0.17);

/// All of them, for runs of this length.
pub fn all(horizon: Duration) -> Vec<Scenario> {
    let outage = Outage { model: MICRO, from: horizon / 4, to: horizon / 2 };
    let every = &[1, 2, 3, 4, 5, 6, 7, 8, 9];
    let due = |tenant, arrives| Source { deadlines: Some((0.3, 120..3_600)), ..Source::new(tenant, every, arrives) };
    vec![
        Scenario::new(
            "a_flood",
            vec![
                Source::new("flood", &[5], Arrives::AtOnce(60_000)),
                Source::new("anna", &[5], TRICKLE),
                Source::new("bert", &[5], TRICKLE),
                Source::new("carl", &[5], TRICKLE),
            ],
            |run, scenario| {
                kept(run, scenario);
                share_kept(run, scenario, 0.0);
                for tenant in ["anna", "bert", "carl"] {
                    let waits = run.wait(tenant, "normal");
                    assert!(!waits.max.open && waits.p50.seconds < 60.0, "{tenant}: {waits:?}");
                }
            },
        ),
        Scenario::new(
            "deadlines",
            vec![
                due("anna", Arrives::Trickle(0.2)),
                due("bert", Arrives::Bursts(1_200, 3_600)),
                due("carl", Arrives::Bursts(90, 700)),
            ],
            |run, scenario| {
                kept(run, scenario);
                let (ours, fifo, strict) = (run.met(&run.fates), run.met(&run.fifo), run.met(&run.strict));
                assert!(ours > fifo && ours > strict, "in time: {ours:.3}, by FIFO {fifo:.3}, strictly {strict:.3}");
            },
        ),
        Scenario::new(
            "urgent_bursts",
            vec![
                Source::new("batch", &[9], Arrives::AtOnce(50_000)),
                Source::new("app", &[0], Arrives::Bursts(40, 600)),
                Source::new("web", &[5], Arrives::Trickle(0.2)),
            ],
            |run, scenario| {
                kept(run, scenario);
                share_kept(run, scenario, 60.0);
                let urgent = run.wait("app", "urgent");
                // 40 calls on 8 slots, that are busy with calls of up to 18 s when they come.
                assert!(urgent.max.seconds < 90.0 && !urgent.max.open, "{urgent:?}");
            },
        ),
        Scenario {
            weights: vec![("one", 1.0), ("two", 2.0), ("four", 4.0)],
            ..Scenario::new(
                "weights",
                ["one", "two", "four"].map(|tenant| Source::new(tenant, &[5], Arrives::AtOnce(45_000))).to_vec(),
                |run, scenario| {
                    kept(run, scenario);
                    share_kept(run, scenario, 0.0);
                },
            )
        },
        Scenario {
            outage: Some(outage),
            ..Scenario::new(
                "a_lane_out",
                vec![
                    Source::new("anna", &[5], Arrives::Trickle(0.25)),
                    Source { model: MICRO, ..Source::new("bert", &[5], Arrives::Trickle(0.25)) },
                ],
                |run, scenario| {
                    kept(run, scenario);
                    let [with, without] =
                        run.during_outage(scenario).map(|mut waits| waits.remove(&("anna", "normal")).unwrap());
                    assert!(!with.max.open && with.p99.seconds <= without.p99.seconds + 1.0, "{with:?}, {without:?}");
                },
            )
        },
        Scenario::new(
            "own_priorities",
            vec![
                Source::new("flood", &[9], Arrives::AtOnce(60_000)),
                Source::new("flood", &[2], Arrives::Bursts(10, 300)),
                Source::new("anna", &[5], Arrives::Trickle(0.3)),
            ],
            |run, scenario| {
                kept(run, scenario);
                share_kept(run, scenario, 0.0);
                let high = run.wait("flood", "high");
                // Not the longest: when the backlog is nearly a day old, it goes before what comes now, as it should.
                assert!(high.p99.seconds < held_s() && !high.p99.open, "{high:?}");
            },
        ),
    ]
}
