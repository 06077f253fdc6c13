//! Tenants: their parts of a lane, their limits, their budgets.

use std::time::Duration;

use serde_json::{Value, json};
use smoother::clock::Timestamp;
use smoother::ports::model::CallErrorClass;
use smoother::request::{Row, Status};
use smoother::shutdown::Stop;

use crate::rig::{MICRO, NOVA, Reply, Rig, request};
use crate::seconds;

fn of(tenant: &str, id: &str) -> Value {
    let mut message = request(id, id);
    message["tenant"] = json!(tenant);
    message
}

fn many(tenant: &str, count: usize) -> Vec<Value> {
    (0..count).map(|n| of(tenant, &format!("{tenant}-{n}"))).collect()
}

fn set(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// One call at a time, so that the order of the calls is the order of choice.
async fn run(rig: &Rig, settings: &[(&str, &str)], calls: u32) {
    let worker = rig.worker_with("w", set(settings), |settings| {
        settings.plan.max_concurrent = calls;
        settings.call.max_concurrent = calls;
    });
    worker.run(Stop::default()).await;
}

/// How many of the first `count` calls were a tenant's.
fn of_first(rig: &Rig, count: usize, tenant: &str) -> usize {
    let calls = rig.model.calls.lock().unwrap();
    calls.iter().take(count).filter(|prompt| prompt.starts_with(tenant)).count()
}

#[tokio::test(start_paused = true)]
async fn a_flood_delays_others_by_its_share_and_not_more() {
    let rig = Rig::new().await;
    rig.send(&many("flood", 200)).await;
    let worker = rig.worker("w", |settings| {
        settings.plan.max_concurrent = 1;
        settings.call.max_concurrent = 1;
    });
    let later = async {
        tokio::time::sleep(seconds(30)).await;
        rig.send(&many("late", 20)).await;
    };
    tokio::join!(worker.run(Stop::default()), later);
    let calls = rig.model.calls.lock().unwrap().clone();
    let first = calls.iter().position(|prompt| prompt.starts_with("late")).unwrap();
    assert!(first <= 36, "the first one had to wait for {first} calls, of which 30 were before it came");
    let last = calls.iter().rposition(|prompt| prompt.starts_with("late")).unwrap();
    assert!(last <= first + 2 * 20 + 4, "20 of them took {} turns of both", last - first);
    assert_eq!(calls.len(), 220);
}

#[tokio::test(start_paused = true)]
async fn weights_are_kept() {
    let rig = Rig::new().await;
    rig.send(&many("big", 100)).await;
    rig.send(&many("small", 100)).await;
    run(&rig, &[("tenants.big.weight", "3")], 1).await;
    let big = of_first(&rig, 80, "big");
    assert!((57..=63).contains(&big), "{big} of 80 at a weight of 3 to 1");
}

#[tokio::test(start_paused = true)]
async fn a_tenants_limits_hold_and_others_fill_the_room() {
    let rig = Rig::new().await;
    rig.send(&many("few", 12)).await;
    rig.send(&many("free", 30)).await;
    let worker = rig.worker_with("w", set(&[("tenants.few.max_in_flight", "1")]), |_| {});
    let started = tokio::time::Instant::now();
    worker.run(Stop::default()).await;
    // Three places for the 30, one for the 12.
    let took = started.elapsed();
    assert!(took >= seconds(12) && took < seconds(25), "{took:?}");
    let mut starts: Vec<u64> = Vec::new();
    for n in 0..12 {
        starts.push(rig.row(&format!("few-{n}")).await.started_at.unwrap().0);
    }
    starts.sort_unstable();
    assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= 1_000), "two at a time: {starts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_tenants_requests_a_minute_hold() {
    let rig = Rig::new().await;
    rig.send(&many("slow", 30)).await;
    rig.send(&many("free", 30)).await;
    run(&rig, &[("tenants.slow.requests_per_minute", "30")], 4).await;
    let mut starts: Vec<u64> = Vec::new();
    for n in 0..30 {
        starts.push(rig.row(&format!("slow-{n}")).await.started_at.unwrap().0);
    }
    starts.sort_unstable();
    let in_a_minute = |from: u64| starts.iter().filter(|at| (from..from + 60_000).contains(at)).count();
    let most = starts.iter().map(|from| in_a_minute(*from)).max().unwrap();
    assert!((28..=34).contains(&most), "{most} in a minute, 30 allowed and 3 in reserve");
    let free: u64 = rig.row("free-29").await.started_at.unwrap().0;
    assert!(free < starts[0] + 20_000, "others waited too");
}

/// Every answer has 20 input tokens and 10 output tokens.
const PRICE: [(&str, &str); 2] = [
    ("models.\"amazon.nova-lite-v1:0\".input_usd_per_mtok", "10000"),
    ("models.\"amazon.nova-lite-v1:0\".output_usd_per_mtok", "10000"),
];

async fn rows(rig: &Rig, tenant: &str, count: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for n in 0..count {
        rows.push(rig.row(&format!("{tenant}-{n}")).await);
    }
    rows
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_delays_until_it_renews() {
    // Two minutes to midnight.
    let rig = Rig::at(Timestamp::parse("2026-11-21T23:58:00Z").unwrap()).await;
    rig.send(&many("poor", 10)).await;
    rig.send(&many("rich", 10)).await;
    // $0.30 a call; estimated at about $0.8 with half of maxTokens.
    let settings = [PRICE[0], PRICE[1], ("tenants.poor.usd_per_day", "2")];
    let worker = rig.worker_with("w", set(&settings), |settings| {
        settings.plan.max_concurrent = 1;
        settings.call.max_concurrent = 1;
    });
    worker.run(Stop::default()).await;
    let poor = rows(&rig, "poor", 10).await;
    assert!(poor.iter().all(|row| row.status == Status::Succeeded));
    let mut days: Vec<String> = poor.iter().map(|row| row.started_at.unwrap().day()).collect();
    days.sort();
    for day in ["2026-11-21", "2026-11-22"] {
        let calls = days.iter().filter(|d| *d == day).count();
        assert!((3..=6).contains(&calls), "{calls} calls on {day} of $0.30 with $2 a day: {days:?}");
    }
    assert!(rows(&rig, "rich", 10).await.iter().all(|row| row.started_at.unwrap().day() == "2026-11-21"));
    let alerts = rig.alerts();
    let told: Vec<_> = alerts.iter().filter(|subject| subject.contains("budget")).collect();
    assert_eq!(
        told,
        [
            "WARNING rig: the day's budget of tenant poor is used up",
            "RECOVERED rig: the day's budget of tenant poor is used up"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_can_refuse() {
    let rig = Rig::new().await;
    rig.send(&many("poor", 10)).await;
    let settings = [PRICE[0], PRICE[1], ("tenants.poor.usd_per_day", "2"), ("tenants.poor.budget_policy", "reject")];
    run(&rig, &settings, 1).await;
    let poor = rows(&rig, "poor", 10).await;
    let refused = poor.iter().filter(|row| row.status == Status::Failed).count();
    assert!((4..=8).contains(&refused), "{refused}");
    assert_eq!(rig.model.calls.lock().unwrap().len(), 10 - refused);
    let results = rig.results().await;
    for row in poor.iter().filter(|row| row.status == Status::Failed) {
        let told = &results[row.request.id.as_str()];
        assert_eq!(told.len(), 1);
        assert_eq!(told[0]["error"]["type"], "BudgetExceeded");
        assert!(told[0]["error"]["message"].as_str().unwrap().contains("tenant poor"), "{}", told[0]);
    }
    assert_eq!(rig.reports().await.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_strained_budget_can_send_work_to_a_cheaper_model() {
    let rig = Rig::new().await;
    rig.send(&many("poor", 10)).await;
    let settings = [
        PRICE[0],
        PRICE[1],
        ("tenants.poor.usd_per_day", "3"),
        ("tenants.poor.budget_policy", "downgrade"),
        ("models.\"amazon.nova-lite-v1:0\".downgrade_to", MICRO),
    ];
    run(&rig, &settings, 1).await;
    let poor = rows(&rig, "poor", 10).await;
    assert!(poor.iter().all(|row| row.status == Status::Succeeded), "{poor:#?}");
    let cheaper: Vec<&Row> = poor.iter().filter(|row| row.request.model_id.as_str() == MICRO).collect();
    assert!((2..=8).contains(&cheaper.len()), "{}", cheaper.len());
    for row in cheaper {
        assert_eq!(row.request.downgraded_from.as_ref().unwrap().as_str(), NOVA);
        assert!(row.request.lane.as_str().ends_with(MICRO));
        assert!(row.notes.iter().any(|note| note.what.contains("to keep a budget")), "{:?}", row.notes);
    }
    assert!(poor.iter().all(|row| row.started_at.unwrap().day() == "2026-11-21"), "nothing had to wait");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_in_a_line_that_stands_still_is_told_in_time() {
    let rig = Rig::new().await;
    // Nothing of the tenant may go for hours.
    rig.model.on("hog-0", &[Reply::After(Duration::from_mins(10))]);
    rig.send(&many("hog", 1)).await;
    let worker = rig.worker_with("w", set(&[("tenants.hog.max_in_flight", "1")]), |_| {});
    let later = async {
        tokio::time::sleep(seconds(2)).await;
        let mut message = of("hog", "hog-late");
        message["deadline"] = json!((rig.clock.now() + seconds(60)).to_string());
        rig.send(&[message]).await;
    };
    tokio::join!(worker.run(Stop::default()), later);
    let row = rig.row("hog-late").await;
    assert_eq!(row.status, Status::Expired);
    let late = row.outcome.unwrap().finished_at.since(row.request.deadline.unwrap());
    assert!(late < seconds(3), "told {late:?} after its deadline");
    assert_eq!(rig.model.calls_of("hog-late"), 0);
    assert_eq!(rig.results().await["hog-late"][0]["error"]["type"], "DeadlinePassed");
}

#[tokio::test(start_paused = true)]
async fn deadlines_that_will_not_be_met_are_told_once() {
    let rig = Rig::new().await;
    let deadline = (rig.clock.now() + seconds(60)).to_string();
    // Two hundred seconds of work, one at a time.
    let messages: Vec<Value> = many("busy", 200)
        .into_iter()
        .map(|mut message| {
            message["deadline"] = json!(deadline);
            message
        })
        .collect();
    rig.send(&messages).await;
    run(&rig, &[], 1).await;
    let (mut at_risk, mut expired) = (0, 0);
    for row in rows(&rig, "busy", 200).await {
        expired += usize::from(row.status == Status::Expired);
        at_risk += usize::from(row.at_risk.is_some());
        let notes = row.notes.iter().filter(|note| note.what.starts_with("at risk")).count();
        assert!(notes <= 1, "{:?}", row.notes);
    }
    assert!((130..=145).contains(&expired), "{expired} expired");
    assert!(at_risk >= expired * 9 / 10 && at_risk <= expired + 25, "{at_risk} were at risk, {expired} expired");
    let alerts = rig.alerts();
    let told = alerts.iter().filter(|subject| subject.contains("at risk") && subject.starts_with("WARNING")).count();
    assert_eq!(told, 1, "{alerts:?}");
}

/// A lane whose quota of the day is used up keeps its backlog where it is, instead of passing it through the hold queue.
#[tokio::test(start_paused = true)]
async fn a_lane_that_is_paused_for_long_keeps_its_backlog_and_blocks_nobody() {
    let rig = Rig::new().await;
    rig.model.on("day-0", &[Reply::Fail(CallErrorClass::ThrottledDay)]);
    rig.send(&many("day", 300)).await;
    let micro = (0..40).map(|n| {
        let mut message = of("other", &format!("other-{n}"));
        message["model_id"] = json!(MICRO);
        message
    });
    rig.send(&micro.collect::<Vec<_>>()).await;
    let worker = rig.worker("w", |settings| settings.until_idle = false);
    let stop = Stop::default();
    let watch = async {
        tokio::time::sleep(seconds(60)).await;
        stop.intake.cancel();
    };
    tokio::join!(worker.run(stop.clone()), watch);
    assert!(rows(&rig, "other", 40).await.iter().all(|row| row.status == Status::Succeeded));
    let day = rows(&rig, "day", 300).await;
    let passed = day.iter().filter(|row| row.queued_at.is_some()).count();
    assert!(passed <= 60, "{passed} of 300 went through the hold queue, which has 24 places");
    assert!(day.iter().all(|row| !row.status.is_terminal() || row.status == Status::Succeeded));
}
