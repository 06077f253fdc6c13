//! Pacing scenarios: each file of `scenarios/` is run under paused time against the simulator's quota model, and must
//! reach its goals. `cargo test --test pacing -- --nocapture NAME` shows the figures; `PACING_TRACE=1` every throttle.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests, with a table for people"
)]

#[path = "../pipeline/registers.rs"]
mod registers;
mod report;
mod scenario;
mod server;
mod trace;
mod world;

use report::{Figures, HEADER};
use scenario::Scenario;

/// Runs a scenario with all its seeds; answers the means.
fn measure(name: &str, scenario: &Scenario) -> Figures {
    let one = |seed: &u64| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let figures = runtime.block_on(async { Figures::of(&*world::run(scenario, *seed).await, *seed) });
        println!("{name:<32} {figures}   seed {seed}");
        figures
    };
    Figures::mean(&scenario.seeds.iter().map(one).collect::<Vec<_>>())
}

fn read(name: &str, text: &str) -> Scenario {
    toml::from_str(text).unwrap_or_else(|why| panic!("scenarios/{name}.toml: {why}"))
}

/// Fails with the goals that were missed.
fn check(name: &str, text: &str) {
    let scenario = read(name, text);
    let mean = measure(name, &scenario);
    println!("{:<32} {HEADER}\n{name:<32} {mean}   {}", "", scenario.about);
    let misses = mean.misses(&scenario.goals);
    assert!(misses.is_empty(), "{name}: {}", misses.join("; "));
}

/// Where the table of all scenarios goes.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/pacing.md");
const BEGIN: &str = "<!-- scenarios:begin -->\n";
const END: &str = "<!-- scenarios:end -->";

/// `cargo test --test pacing -- --ignored` writes the figures of all scenarios into docs/pacing.md.
#[test]
#[ignore = "writes docs/pacing.md"]
fn write_the_table() {
    let mut table = format!("{}\n", report::MARKDOWN_HEADER);
    for (name, text) in ALL {
        let scenario = read(name, text);
        table += &measure(name, &scenario).markdown(name, &scenario.about);
    }
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    std::fs::write(DOCUMENT, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
}

macro_rules! scenarios {
    ($($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name), include_str!(concat!("scenarios/", stringify!($name), ".toml")));
            }
        )+

        /// All scenarios, by name.
        const ALL: &[(&str, &str)] =
            &[$((stringify!($name), include_str!(concat!("scenarios/", stringify!($name), ".toml")))),+];

        /// No file is left out.
        #[test]
        fn every_scenario_file_is_run() {
            let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pacing/scenarios");
            let mut files: Vec<String> = std::fs::read_dir(dir)
                .unwrap()
                .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
                .collect();
            files.sort();
            let mut run = vec![$(stringify!($name)),+];
            run.sort_unstable();
            assert_eq!(files, run);
        }
    };
}

scenarios! {
    bucket_sole_user
    bucket_background
    bucket_background_feed
    bucket_background_held_out
    bucket_background_feed_held_out
    window_sole_user
    window_background
    tiny_requests
    tiny_requests_window
    slow_requests
    huge_requests
    burndown_5
    burndown_5_small_burst
    burndown_15
    unset_max_tokens
    idle_then_bursts
    idle_then_bursts_window
    quota_cut_known
    quota_cut_unknown
    quota_lower_than_believed
    requests_lower_than_believed
    capacity_outages
    four_replicas
    four_replicas_crash
    four_replicas_skewed
    four_replicas_slow
    four_replicas_background
    four_replicas_window
    replicas_join_and_leave
    replica_cut_off
    table_gone
    sixteen_replicas
    sixteen_replicas_tiny
}
