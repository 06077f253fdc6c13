//! Days of traffic through a real worker under paused time: who waits how long, and whether what docs/ranking.md
//! promises was kept. By default the first hours of each; `cargo test --release --test ranking -- --ignored` runs whole days and
//! writes the table into docs/ranking.md.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "tests, with a table for people"
)]

mod baseline;
mod figures;
mod memory;
#[path = "../pipeline/registers.rs"]
mod registers;
mod scenarios;
mod trace;
#[path = "../support/worker.rs"]
mod worker;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use baseline::Order;
use figures::{Group, Waits};
use scenarios::Scenario;
use smoother::clock::Clock;
use trace::Planned;
use world::Fate;

/// A scenario that was run, with what FIFO and strict priority make of the same trace.
pub struct Run {
    trace: Arc<Vec<Planned>>,
    horizon: Duration,
    fates: Vec<Fate>,
    fifo: Vec<Fate>,
    strict: Vec<Fate>,
}

impl Run {
    fn of(scenario: &Scenario, horizon: Duration) -> Self {
        let trace = Arc::new(trace::trace(&scenario.sources, horizon, 1));
        let began = Clock::system().now();
        let fates = simulate(&trace, horizon, scenario);
        let called = fates.iter().filter(|fate| fate.started.is_some()).count();
        println!("{}: {called} of {} called, in {:?}", scenario.name, trace.len(), Clock::system().now().since(began));
        let simple = |order| baseline::run(&trace, horizon, order, scenario.outage);
        let (fifo, strict) = (simple(Order::Fifo), simple(Order::Strict));
        Self { trace, horizon, fates, fifo, strict }
    }

    /// The waits of what arrived during the outage, and what they would have been without.
    fn during_outage(&self, scenario: &Scenario) -> [BTreeMap<Group, Waits>; 2] {
        let outage = scenario.outage.unwrap();
        let without = simulate(&self.trace, self.horizon, &Scenario { outage: None, ..scenario.clone() });
        let arrived = |index: &usize| (outage.from..outage.to).contains(&self.trace[*index].at);
        let during: Vec<usize> = (0..self.trace.len()).filter(arrived).collect();
        let trace: Vec<Planned> = during.iter().map(|index| self.trace[*index].clone()).collect();
        [&self.fates, &without].map(|fates| {
            let fates: Vec<Fate> = during.iter().map(|index| fates[*index]).collect();
            figures::waits(&trace, &fates, self.horizon)
        })
    }

    fn waits(&self) -> BTreeMap<Group, Waits> {
        figures::waits(&self.trace, &self.fates, self.horizon)
    }

    fn wait(&self, tenant: &'static str, class: &'static str) -> Waits {
        self.waits().remove(&(tenant, class)).unwrap()
    }

    /// Of tenants in one lane: shares are kept in each lane on its own.
    fn least_jain(&self, scenario: &Scenario) -> Option<f64> {
        let one_lane = self.trace.iter().all(|planned| planned.model == self.trace[0].model);
        one_lane.then(|| figures::least_jain(&self.trace, &self.fates, &scenario.weights, self.horizon)).flatten()
    }

    fn slack(&self, weights: &[(&str, f64)]) -> f64 {
        figures::slack(&self.trace, &self.fates, weights, self.horizon)
    }

    fn met(&self, fates: &[Fate]) -> f64 {
        let waits = figures::waits(&self.trace, fates, self.horizon);
        let (met, due) = waits.values().fold((0, 0), |(met, due), w| (met + w.met, due + w.due));
        met as f64 / due.max(1) as f64
    }

    /// A row of the second table.
    fn summary(&self, scenario: &Scenario) -> String {
        let shown = |figure: Option<String>| figure.unwrap_or("–".to_owned());
        let slack = scenario.outage.is_none().then(|| format!("{:.1} s", self.slack(&scenario.weights)));
        format!(
            "| `{}` | {} | {} | {} |\n",
            scenario.name,
            shown(self.least_jain(scenario).map(|jain| format!("{jain:.4}"))),
            shown(slack),
            figures::overtaken(&self.trace, &self.fates)
        )
    }

    /// Rows of the table.
    fn rows(&self, name: &str) -> String {
        let of = |fates: &[Fate]| figures::waits(&self.trace, fates, self.horizon);
        let (ours, fifo, strict) = (of(&self.fates), of(&self.fifo), of(&self.strict));
        let row = |(group, waits): (&Group, &Waits)| {
            let part = |waits: &Waits| match waits.due {
                0 => "–".to_owned(),
                due => format!("{:.1} %", 100.0 * waits.met as f64 / due as f64),
            };
            let (fifo, strict) = (&fifo[group], &strict[group]);
            format!(
                "| `{name}` | {} {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
                group.0,
                group.1,
                waits.count,
                waits.p50,
                waits.p99,
                waits.max,
                fifo.p99,
                strict.p99,
                part(waits),
                part(fifo),
                part(strict)
            )
        };
        ours.iter().map(row).collect()
    }
}

fn simulate(trace: &Arc<Vec<Planned>>, horizon: Duration, scenario: &Scenario) -> Vec<Fate> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(world::run(trace, horizon, &scenario.weights, scenario.outage, 1))
}

/// Hours of a day.
const DAY: u64 = 24;

const HEADER: &str = "\
| trace | whose | requests | p50 | p99 | max | p99 by FIFO | p99 by strict priority | in time | by FIFO | by strict priority |
|---|---|---|---|---|---|---|---|---|---|---|
";
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ranking.md");
const BEGIN: &str = "<!-- traces:begin -->\n";
const END: &str = "<!-- traces:end -->";

/// Whole days of all scenarios.
#[test]
#[ignore = "minutes; writes docs/ranking.md"]
fn write_the_table() {
    let mut table = HEADER.to_owned();
    let mut sums = "\n| trace | least fairness of an hour | longest wait beyond the share | overtaken beyond the allowance |\n|---|---|---|---|\n".to_owned();
    let horizon = hours(DAY);
    for scenario in scenarios::all(horizon) {
        let run = Run::of(&scenario, horizon);
        println!("{}", run.rows(scenario.name));
        table += &run.rows(scenario.name);
        let row = run.summary(&scenario);
        println!("{row}");
        sums += &row;
        (scenario.check)(&run, &scenario);
    }
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    std::fs::write(DOCUMENT, format!("{before}{BEGIN}{table}{sums}{END}{after}")).unwrap();
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(3_600 * hours)
}

fn check(name: &str) {
    let horizon = hours(2);
    let scenario = scenarios::all(horizon).into_iter().find(|scenario| scenario.name == name).unwrap();
    let run = Run::of(&scenario, horizon);
    println!("{HEADER}{}", run.rows(name));
    println!("{}", run.summary(&scenario));
    (scenario.check)(&run, &scenario);
}

macro_rules! tests {
    ($($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )+

        #[test]
        fn every_scenario_is_run() {
            let names: Vec<_> = scenarios::all(hours(1)).into_iter().map(|scenario| scenario.name).collect();
            assert_eq!(names, [$(stringify!($name)),+]);
        }
    };
}

tests! { a_flood deadlines urgent_bursts weights a_lane_out own_priorities }
