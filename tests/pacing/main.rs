//! Pacing scenarios: each file of `scenarios/` is run under paused time against the simulator's quota model, and must
//! reach its goals. `cargo test --test pacing -- --nocapture NAME` shows the figures; `PACING_TRACE=1` every throttle.

#[path = "../pipeline/registers.rs"]
mod registers;
mod report;
mod scenario;
mod server;
mod trace;
mod world;

use report::{Figures, HEADER};
use scenario::Scenario;

/// Runs a scenario with all its seeds; prints the figures and fails with the goals that were missed.
fn check(name: &str, text: &str) {
    let scenario: Scenario = toml::from_str(text).unwrap_or_else(|why| panic!("scenarios/{name}.toml: {why}"));
    let runs: Vec<Figures> = scenario
        .seeds
        .iter()
        .map(|seed| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let figures = runtime.block_on(async {
                let world = world::run(&scenario, *seed).await;
                Figures::of(&world, *seed)
            });
            println!("{name:<28} {figures}   seed {seed}");
            figures
        })
        .collect();
    let mean = Figures::mean(&runs);
    println!("{:<28} {HEADER}\n{name:<28} {mean}   {}", "", scenario.about);
    let misses = mean.misses(&scenario.goals);
    assert!(misses.is_empty(), "{name}: {}", misses.join("; "));
}

macro_rules! scenarios {
    ($($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name), include_str!(concat!("scenarios/", stringify!($name), ".toml")));
            }
        )+

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
    sixteen_replicas_tiny
    four_replicas_slow
    four_replicas_window
    four_replicas_background
    four_replicas_skewed
    table_gone
    replica_cut_off
    replicas_join_and_leave
    sixteen_replicas
    four_replicas_crash
    four_replicas
    capacity_outages
    idle_then_bursts_window
    idle_then_bursts
    window_background
    requests_lower_than_believed
    quota_lower_than_believed
    quota_cut_known
    quota_cut_unknown
    unset_max_tokens
    burndown_5_small_burst
    burndown_15
    burndown_5
    huge_requests
    slow_requests
    tiny_requests_window
    tiny_requests
    window_sole_user
    bucket_background
    bucket_background_feed
    bucket_background_held_out
    bucket_background_feed_held_out
}
