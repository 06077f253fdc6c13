//! Whole dry runs over a directory.

use std::fs::File;
use std::io::Write as _;

use super::*;
use crate::cli::place::{Place, open_local};
use crate::config::Sources;
use crate::pipeline::fleet::{Fleet, Member};
use crate::pipeline::pace::{Ask, Gate, Settlement};
use crate::pipeline::quotas::lane_limits;
use crate::pipeline::spend::Spend;
use crate::request::{Estimate, Lane, ModelId, Operation, PayloadRef, Priority, Request, RequestId, Usage};

const LITE: &str = "amazon.nova-lite-v1:0";
const PRO: &str = "amazon.nova-pro-v1:0";

fn config(settings: &[(&str, &str)]) -> Config {
    let overrides = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::load(&Sources { overrides, ..Sources::default() }).unwrap().config
}

/// A request of 3,600 bytes of text, 1,008 tokens.
fn message(id: u32, model: &str, more: &str, limit: &str) -> String {
    let text = "x".repeat(3_600);
    format!(
        r#"{{"request_id":"r{id}","model_id":"{model}",{more}"converse":{{"messages":[{{"role":"user","content":[{{"text":"{text}"}}]}}]{limit}}}}}"#
    )
}

fn limit(tokens: u32) -> String {
    format!(r#","inferenceConfig":{{"maxTokens":{tokens}}}"#)
}

fn plan(config: &Config, surroundings: &Surroundings, text: &str) -> Plan {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in.jsonl");
    File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    let (file, length) = lines::open(&path).unwrap();
    let clock = Clock::system();
    let catalog = Catalog::new(config);
    let mut submit =
        Submit::new(Checker::new(catalog.clone(), config.message_limits(), clock.clone()), "in.jsonl", file, length);
    let mut draft = Draft::new(&catalog, config, surroundings);
    let judged = submit.judge_each(&mut |_| {}, &mut |seen| draft.note(&seen)).unwrap();
    Plan::new(&draft, config, surroundings, judged.repeated, Timestamp::parse("2026-11-21T12:00:00Z").unwrap())
}

fn lines_of(n: u32, line: impl Fn(u32) -> String) -> String {
    (0..n).map(|n| line(n) + "\n").collect()
}

#[test]
fn tokens_and_dollars_are_added_up_and_an_unknown_price_is_never_nothing() {
    let config = config(&[("models.own.burndown", "1"), ("models.amazon.nova-lite-v1:0.tokens_per_minute", "1000000")]);
    let mut text = lines_of(10, |n| message(n, LITE, "", &limit(400)));
    let around = Surroundings::default();
    let priced = plan(&config, &around, &text);
    assert_eq!((priced.total.requests, priced.total.input_tokens), (10, 10_080));
    assert_eq!((priced.total.output_tokens, priced.total.output_tokens_at_most), (2_000, 4_000));
    // 10,080 tokens at $0.06 and 2,000 or 4,000 at $0.24 per million.
    assert!((priced.total.cost_usd.unwrap() - 0.001_084_8).abs() < 1e-9);
    assert!((priced.total.cost_usd_at_most.unwrap() - 0.001_564_8).abs() < 1e-9);
    assert!(priced.warnings.is_empty(), "{:?}", priced.warnings);

    text.push_str(&message(100, "own", "", &limit(400)));
    text.push('\n');
    text.push_str(&message(5, LITE, "", &limit(400)));
    let mixed = plan(&config, &around, &text);
    assert_eq!((mixed.repeated, mixed.total.unpriced, mixed.total.cost_usd), (1, 1, None));
    let page = mixed.to_page("in.jsonl");
    let row = |model: &str| {
        page.lines().skip_while(|line| *line != model).nth(1).unwrap().split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(row("own")[..5], ["expected", "1", "1,008", "200", "unknown"]);
    assert_eq!(row("all")[1..6], ["11", "11,088", "2,200", "over", "$0.001085"]);
    assert!(page.lines().all(|line| line.chars().count() <= 100), "{page}");
    assert!(page.contains("its price is not known") && page.contains("1 line repeats an earlier one"), "{page}");
    let json: serde_json::Value = serde_json::from_str(&mixed.to_json()).unwrap();
    assert_eq!(json["models"][1]["cost_usd"], serde_json::Value::Null);
    assert_eq!((&json["submitted"], &json["total"]["requests"]), (&0.into(), &11.into()));
}

#[test]
fn what_binds_is_named_and_decides_when_it_is_done() {
    let lite = |setting: &str| format!("models.amazon.nova-lite-v1:0.{setting}");
    let settings = |pairs: &[(&str, &str)]| {
        let pairs: Vec<(String, &str)> = pairs.iter().map(|(name, value)| (lite(name), *value)).collect();
        config(&pairs.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>())
    };
    let eta = |config: &Config, requests: u32, most: u32| {
        let plan = plan(config, &Surroundings::default(), &lines_of(requests, |n| message(n, LITE, "", &limit(most))));
        plan.models[0].eta.clone().unwrap()
    };
    let near = |eta: &Eta, bound: forecast::Bound, done: f64| {
        assert_eq!(eta.bound_by, bound, "{eta:?}");
        assert!((eta.done_seconds - done).abs() < 0.01, "{eta:?}");
    };
    let fast = [("tokens_per_minute", "100000000")];
    // 300 calls of 5 s, 30 at a time: ten rounds.
    near(&eta(&settings(&fast), 300, 400), forecast::Bound::Concurrency, 50.0);
    near(&eta(&settings(&fast), 3, 400), forecast::Bound::TokensPerMinute, 5.0);
    near(&eta(&settings(&[fast[0], ("max_concurrent", "10")]), 300, 400), forecast::Bound::ModelConcurrency, 150.0);
    // The 61st starts after a minute.
    near(&eta(&settings(&[fast[0], ("requests_per_minute", "60")]), 61, 400), forecast::Bound::RequestsPerMinute, 65.0);
    // 100 of 1,208 tokens out of 60,704 · 0.995 a minute: the last starts after two minutes.
    let tokens = eta(&settings(&[("tokens_per_minute", "60704")]), 100, 400);
    near(&tokens, forecast::Bound::TokensPerMinute, 125.0);
    assert_eq!((tokens.limit, tokens.limit_source), (60_704.0, "setting"));
    // Without a limit each reserves 11,008, of which one fits into 0.9 · 20,000, though answers take but 100.
    let learned = Surroundings {
        learned: [(format!("default:us-east-1:{LITE}"), surroundings::Learned::of(1.0, 100.0))].into(),
        ..Surroundings::default()
    };
    let tight = settings(&[("tokens_per_minute", "20000")]);
    let plan = plan(&tight, &learned, &lines_of(100, |n| message(n, LITE, "", "")));
    let eta = plan.models[0].eta.clone().unwrap();
    near(&eta, forecast::Bound::Reservations, 500.0);
    assert!(
        plan.warnings[0].contains("100 requests set no limit on the output, so Bedrock reserves 10,000 tokens"),
        "{:?}",
        plan.warnings
    );
}

#[test]
fn all_models_share_the_calls_at_a_time() {
    let fast = |id: &str| format!("models.{id}.tokens_per_minute");
    let (lite, pro) = (fast(LITE), fast(PRO));
    let config = config(&[(&lite, "100000000"), (&pro, "100000000")]);
    let text = lines_of(300, |n| message(n, LITE, "", &limit(400)))
        + &lines_of(300, |n| message(1_000 + n, PRO, "", &limit(400)));
    let plan = plan(&config, &Surroundings::default(), &text);
    assert!((plan.done_seconds - 100.0).abs() < 0.01, "{}", plan.done_seconds);
}

#[test]
fn faults_are_counted_by_model_and_reason() {
    let config = config(&[("models.amazon.nova-lite-v1:0.tokens_per_minute", "5000")]);
    let text = message(1, LITE, "", &limit(400))
        + "\n"
        + &message(2, LITE, "", &limit(9_000))
        + "\nnot json\n"
        + &lines_of(2, |n| message(10 + n, "amazon.nova-light-v1:0", "", ""));
    let plan = plan(&config, &Surroundings::default(), &text);
    assert_eq!((plan.invalid, plan.total.requests), (4, 1));
    let by_model: BTreeMap<&str, u64> = plan.models.iter().map(|m| (m.model.as_str(), m.invalid)).collect();
    assert_eq!(by_model, [(LITE, 1), ("amazon.nova-light-v1:0", 2)].into());
    let most = plan.faults.iter().max_by_key(|(_, n)| **n).unwrap();
    assert!(most.0.starts_with("model_id: unknown model") && *most.1 == 2, "{:?}", plan.faults);
    assert!(plan.faults.keys().any(|f| f.contains("exceed the 5000 tokens per minute")), "{:?}", plan.faults);
    assert!(plan.to_page("in.jsonl").contains("none good, 2 lines are invalid"));
}

/// A request in line for the second model.
fn waiting(now: Timestamp) -> Request {
    let model_id = ModelId::new(PRO).unwrap();
    Request {
        id: RequestId::new("waiting").unwrap(),
        content_hash: String::new(),
        message_id: String::new(),
        downgraded_from: None,
        batch_id: None,
        trace: None,
        use_case: None,
        lane: Lane::new("default", "us-east-1", &model_id),
        model_id,
        tenant: Tenant::default(),
        priority: Priority::NORMAL,
        deadline: None,
        metadata: BTreeMap::new(),
        operation: Operation::Converse,
        body: PayloadRef(String::new()),
        estimate: Estimate { input_tokens: 1_000, max_output_tokens: 100 },
        rank: "1".to_owned(),
        received_at: now,
    }
}

/// A place where a worker has learned, spent, and left something in line.
async fn used() -> (tempfile::TempDir, Place) {
    let dir = tempfile::tempdir().unwrap();
    let place = open_local(dir.path().join("data"), config(&[]), Clock::system()).await.unwrap();
    let (id, estimate) = (ModelId::new(LITE).unwrap(), Estimate { input_tokens: 1_008, max_output_tokens: 4_000 });
    let gate = Gate::alone(10);
    let mut tasks = tokio::task::JoinSet::new();
    let dispatcher = gate.clone();
    tasks.spawn(async move { dispatcher.run().await });
    let ask = Ask {
        lane: Lane::new("default", "us-east-1", &id),
        limits: lane_limits(
            &Catalog::new(&config(&[("models.amazon.nova-lite-v1:0.tokens_per_minute", "100000000")])).admitted(&id),
        ),
        rank: "1".to_owned(),
        urgent: false,
        estimate,
        kind: None,
    };
    let usage = Usage { input_tokens: 1_008, output_tokens: 100, ..Usage::default() };
    gate.admit(ask).await.unwrap().settle(Settlement::Answered(Some(usage)));
    let member = Member {
        worker: "w".to_owned(),
        roles: std::collections::BTreeSet::new(),
        since: place.clock.now(),
        shown_at: place.clock.now(),
        lanes: gate.snapshots(),
        finished: 0,
        used: None,
    };
    let fleet = Fleet::new(place.ports.registers.clone(), "w".to_owned(), false);
    fleet.beat(&member).await.unwrap();
    let spend = Spend::new(place.ports.registers.clone(), "w", place.clock.clone(), std::collections::BTreeSet::new());
    spend.add(&Tenant::new("acme").unwrap(), 9.9, Timestamp::parse("2026-11-21T11:00:00Z").unwrap());
    spend.flush().await.unwrap();
    let in_line = crate::pipeline::lifecycle::admit(waiting(place.clock.now()));
    place.ports.ledger.insert(vec![in_line]).await.pop().unwrap().unwrap();
    (dir, place)
}

#[tokio::test]
async fn what_workers_have_learned_and_spent_counts() {
    let (_dir, place) = used().await;
    let mut around = Surroundings::default();
    around.read(&place).await.unwrap();
    let config = config(&[
        ("models.amazon.nova-pro-v1:0.tokens_per_minute", "100000000"),
        ("models.amazon.nova-lite-v1:0.tokens_per_minute", "100000000"),
        ("tenants.acme.usd_per_day", "10"),
        ("tenants.acme.budget_policy", "reject"),
        ("usd_per_month", "1000"),
    ]);
    let acme = r#""tenant":"acme","#;
    let small = plan(&config, &around, &lines_of(10, |n| message(n, LITE, acme, &limit(4_000))));
    assert_eq!(small.total.output_tokens, 1_000, "as long as the answer that was seen");
    assert_eq!(small.warnings.len(), 1, "{:?}", small.warnings);
    assert!(
        small.warnings[0].contains("maxTokens is 4,000 on average, and three of four answers take no more than 100")
    );
    let large = plan(&config, &around, &lines_of(10, |n| message(n, PRO, acme, &limit(10_000))));
    assert_eq!(
        large.warnings,
        [
            "the day's budget of tenant acme is $10.00, and $0.1681 is expected here ($9.90 spent so far): what has no room ends with the error BudgetExceeded; it renews 2026-11-22 00:00:00 UTC."
        ]
    );
    let eta = large.models[0].eta.as_ref().unwrap();
    assert_eq!((eta.ahead, eta.ahead_at_least), (1, false));
    assert!(large.to_page("x").contains("after 1 request that is in line already"), "{}", large.to_page("x"));
    let others = plan(&config, &around, &lines_of(10, |n| message(n, PRO, "", &limit(10_000))));
    assert!(others.warnings.is_empty(), "{:?}", others.warnings);
}
