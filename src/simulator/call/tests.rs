use serde_json::{Value, json};

use super::*;
use crate::simulator::dialect;
use crate::simulator::settings::Settings;

const MODEL: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";

fn state(model: &Value) -> Arc<State> {
    let patch = json!({"models": {MODEL: model}});
    Arc::new(State::new(Settings::default().patched(patch).unwrap(), crate::clock::Clock::system()))
}

fn begin(state: &Arc<State>, body: &Value) -> Result<Call, AwsError> {
    let raw = body.to_string();
    let prompt = dialect::converse(body, &["maxTokens"], true).unwrap();
    Call::begin(state, Request { model: state.resolve(MODEL).unwrap(), body: raw.as_bytes(), key: Some("k"), prompt })
}

fn body(text: &str, max_tokens: u64) -> Value {
    json!({"messages": [{"role": "user", "content": [{"text": text}]}], "inferenceConfig": {"maxTokens": max_tokens}})
}

/// Tokens free of the minute's quota.
fn free(state: &Arc<State>) -> f64 {
    state.resolve(MODEL).unwrap().books().quota.levels(Instant::now()).tokens.unwrap().free
}

#[tokio::test(start_paused = true)]
async fn reserves_at_the_start_and_settles_with_burndown() {
    let state = state(&json!({"tpm": 100_000, "mean_output_tokens": 1_000_000}));
    let call = begin(&state, &body("abcd", 500)).unwrap();
    assert!((free(&state) - (100_000.0 - 5.0 - 500.0)).abs() < 1e-6);
    assert_eq!((call.usage.input, call.usage.output), (5, 500));
    call.finish();
    assert!((free(&state) - (100_000.0 - 5.0 - 2_500.0)).abs() < 1e-6);
    let seen = state.stats();
    assert_eq!((seen.total.served, seen.total.in_flight, seen.total.in_flight_peak), (1, 0, 1));
    assert_eq!((seen.total.tokens.reserved, seen.total.tokens.settled), (505, 2_505));
}

#[tokio::test(start_paused = true)]
async fn no_max_tokens_reserves_the_models_maximum() {
    let state = state(&json!({"tpm": 64_004}));
    let mut open = body("abcd", 1);
    open["inferenceConfig"] = json!({});
    let error = begin(&state, &open).err().unwrap();
    assert_eq!((error.status, error.message.as_str()), (429, "Too many tokens, please wait before trying again."));
    assert_eq!(state.stats().models[MODEL].throttled.tpm, 1);
}

#[tokio::test(start_paused = true)]
async fn failing_gives_back_and_abandoning_charges() {
    let state = state(&json!({"tpm": 100_000, "mean_output_tokens": 1_000_000}));
    let error = begin(&state, &body("abcd", 500)).unwrap().fail(FaultKind::Internal).unwrap();
    assert_eq!(error.status, 500);
    assert!((free(&state) - 100_000.0).abs() < 1e-6);
    let mut call = begin(&state, &body("abcd", 500)).unwrap();
    call.produced = 10;
    drop(call);
    assert!((free(&state) - (100_000.0 - 5.0 - 50.0)).abs() < 1e-6);
    let seen = state.stats();
    assert_eq!((seen.total.abandoned, seen.total.faulted, seen.total.in_flight), (1, 1, 0));
    assert_eq!(state.memory().calls.show(false)["k"], 1, "the abandoned call did the work");
    assert_eq!(state.memory().calls.show(true)["k"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_prefix_is_written_once_and_read_for_five_minutes() {
    let state = state(&json!({}));
    let long = "x".repeat(4_000);
    let cached = |question: &str| {
        json!({"system": [{"text": long}, {"cachePoint": {"type": "default"}}],
            "messages": [{"role": "user", "content": [{"text": question}]}], "inferenceConfig": {"maxTokens": 10}})
    };
    let use_of = |question: &str| {
        let call = begin(&state, &cached(question)).unwrap();
        let usage = call.usage;
        call.finish();
        (usage.input, usage.cache_read, usage.cache_write)
    };
    assert_eq!(use_of("abcd"), (5, 0, 1_000));
    assert_eq!(use_of("efgh"), (5, 1_000, 0));
    tokio::time::sleep(Duration::from_secs(299)).await;
    assert_eq!(use_of("ijkl"), (5, 1_000, 0), "reading keeps it");
    tokio::time::sleep(Duration::from_secs(301)).await;
    assert_eq!(use_of("mnop"), (5, 0, 1_000));
}

#[tokio::test(start_paused = true)]
async fn the_same_sequence_meets_the_same_fate() {
    let fates = || {
        let state = state(&json!({"faults": {"throttle": 0.2, "internal_500": 0.2, "drop": 0.2}}));
        let fate = |at: u64| match begin(&state, &body(&format!("request {}", at % 20), 900)) {
            Err(error) => (Some(error.status), None, 0, Duration::ZERO),
            Ok(call) => (None, call.fate.map(|fate| fate.kind), call.usage.output, call.latency),
        };
        (0..60).map(fate).collect::<Vec<_>>()
    };
    let first = fates();
    assert_eq!(first, fates());
    let refused = first.iter().filter(|fate| fate.0.is_some()).count();
    assert!((4..=24).contains(&refused), "{refused}");
    // Another try of the same content has the same length but a fate of its own.
    assert!((0..20).all(|at| [20, 40].iter().all(|more| {
        let (one, other) = (first[at], first[at + more]);
        one.0.is_some() || other.0.is_some() || one.2 == other.2
    })));
    assert!((0..20).any(|at| first[at].0 != first[at + 20].0));
}

#[tokio::test(start_paused = true)]
async fn limits_are_refused_in_words() {
    let state = state(&json!({"max_input_tokens": 100}));
    assert!(begin(&state, &body(&"x".repeat(500), 5)).err().unwrap().message.contains("too long"));
    assert!(begin(&state, &body("x", 70_000)).err().unwrap().message.contains("64000"));
    let seen = state.stats();
    assert_eq!((seen.models[MODEL].rejected, seen.models[MODEL].calls), (2, 0));
}
