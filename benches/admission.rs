//! What an admission costs: a waiter enters, the dispatcher picks the best-ranked one, a permit is handed over and
//! settled, while so many others wait. `cargo bench --bench admission`.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people")]

use std::time::Duration;

use smoother::pipeline::pace::{Ask, Gate, LaneLimits, Permit, Settlement};
use smoother::request::{Estimate, Lane, ModelId, Usage};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

const WAITERS: [usize; 3] = [1, 1_000, 100_000];
/// Admissions per sample, and samples; the median counts, since machines are noisy.
const BATCH: u32 = 2_000;
const SAMPLES: usize = 15;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    println!("{:>10} {:>14} {:>10}", "waiters", "ns/admission", "relative");
    let mut first = None;
    for waiters in WAITERS {
        let nanos = runtime.block_on(measure(waiters));
        println!("{waiters:>10} {nanos:>14.0} {:>9.2}x", nanos / first.get_or_insert(nanos).max(1.0));
    }
}

/// Nanoseconds per admission with so many waiters in the room, the median of the samples.
async fn measure(waiters: usize) -> f64 {
    let gate = Gate::alone(1);
    let mut tasks = JoinSet::new();
    let dispatcher = gate.clone();
    tasks.spawn(async move { dispatcher.run().await });
    let (admitted, mut permits) = mpsc::unbounded_channel();
    let mut place = 0_u64;
    let mut enter = |tasks: &mut JoinSet<()>| {
        place += 1;
        // Newcomers rank anywhere among those who wait, not only last.
        let rank = format!("1#{:014}#{place:022}", place.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 100_000_000_000_000);
        tasks.spawn(stand_in_line(gate.clone(), rank, admitted.clone()));
    };
    for _ in 0..=waiters {
        enter(&mut tasks);
    }
    let mut samples = Vec::with_capacity(SAMPLES);
    for sample in 0..=SAMPLES {
        let start = Instant::now();
        for _ in 0..BATCH {
            let permit: Permit = permits.recv().await.unwrap();
            enter(&mut tasks);
            permit.settle(Settlement::Answered(Some(Usage {
                input_tokens: 100,
                output_tokens: 50,
                ..Usage::default()
            })));
        }
        // The first one also lets the waiters enter.
        if sample > 0 {
            samples.push(start.elapsed());
        }
        while tasks.try_join_next().is_some() {}
    }
    samples.sort_unstable();
    let median: Duration = samples[SAMPLES / 2];
    median.as_secs_f64() * 1e9 / f64::from(BATCH)
}

async fn stand_in_line(gate: Gate, rank: String, admitted: mpsc::UnboundedSender<Permit>) {
    let ask = Ask {
        lane: Lane::new("default", "us-east-1", &ModelId::new("amazon.nova-lite-v1:0").unwrap()),
        limits: LaneLimits {
            requests_per_minute: Some(6e9),
            tokens_per_minute: Some(6e12),
            burndown: 1.0,
            max_concurrent: None,
        },
        rank,
        urgent: false,
        estimate: Estimate { input_tokens: 100, max_output_tokens: 100 },
        kind: Some("bench".to_owned()),
    };
    if let Ok(permit) = gate.admit(ask).await {
        // The receiver goes away at the end of the measurement.
        drop(admitted.send(permit));
    }
}
