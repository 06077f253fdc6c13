//! What on-call is told while the whole worker works, under paused time.

use std::time::Duration;

use serde_json::{Value, json};
use smoother::ports::model::CallErrorClass;
use smoother::shutdown::Stop;

use crate::control::of;
use crate::rig::{MICRO, NOVA, Reply, Rig, request};
use crate::seconds;

/// All alerts of a kind: state and count of each.
fn told(rig: &Rig, kind: &str) -> Vec<(String, u64)> {
    let alerts = rig.alerts_whole().into_iter().filter(|alert| alert["kind"] == kind);
    alerts.map(|alert| (alert["state"].as_str().unwrap().to_owned(), alert["count"].as_u64().unwrap())).collect()
}

fn states(told: &[(String, u64)]) -> Vec<&str> {
    told.iter().map(|(state, _)| state.as_str()).collect()
}

/// One worker for so long.
async fn work_for(rig: &Rig, span: Duration) {
    let stop = Stop::default();
    let worker = rig.worker_with("w", vec![("max_attempts".to_owned(), "1".to_owned())], |settings| {
        settings.until_idle = false;
        settings.plan.max_concurrent = 40;
        settings.call.max_concurrent = 40;
        settings.plan.queue_depth_threshold = 200;
        settings.call.queue_depth_threshold = 200;
    });
    let stopper = async {
        tokio::time::sleep(span).await;
        stop.intake.cancel();
    };
    tokio::join!(worker.run(stop.clone()), stopper);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_ten_thousand_failures_gives_one_alert_with_a_count() {
    let rig = Rig::in_memory(smoother::local::Settings::default()).await;
    rig.model.on("storm", &vec![Reply::Fail(CallErrorClass::Final); 10_000]);
    let messages: Vec<Value> = (0..10_000).map(|n| request(&format!("s-{n}"), "storm")).collect();
    rig.send(&messages).await;
    work_for(&rig, Duration::from_mins(40)).await;
    assert_eq!(rig.model.calls_of("storm"), 10_000);
    let all = rig.alerts_whole();
    let told = told(&rig, "error-rate");
    let firing = told.iter().filter(|(state, _)| state == "firing").count();
    assert_eq!((firing, told.len()), (1, all.len()), "{told:?}");
    // How long the storm lasts is the quota's business; once it is over, all of it was counted.
    assert_eq!(told.last(), Some(&("recovered".to_owned(), 10_000)), "{told:?}");
    assert!(told.len() <= 4, "{told:?}");
    let over = all.last().unwrap();
    assert_eq!(over["numbers"]["requests_failed"], json!({"value": 10_000.0, "unit": "requests"}));
    assert!(!all.iter().any(|alert| alert.to_string().contains("as scripted")), "Bedrock's words are in it");
}

#[tokio::test(start_paused = true)]
async fn a_few_failures_are_nobodys_business() {
    let rig = Rig::new().await;
    for n in 0..4 {
        rig.model.on(&format!("f-{n}"), &[Reply::Fail(CallErrorClass::Server)]);
    }
    rig.send(&(0..40).map(|n| request(&format!("f-{n}"), &format!("f-{n}"))).collect::<Vec<_>>()).await;
    work_for(&rig, seconds(120)).await;
    assert!(rig.alerts().is_empty(), "{:?}", rig.alerts());
}

#[tokio::test(start_paused = true)]
async fn denied_access_is_told_at_once_and_over_with_the_first_answer() {
    let rig = Rig::new().await;
    rig.model.on("denied", &[Reply::Deny, Reply::Deny, Reply::Deny]);
    rig.send(&(0..3).map(|n| request(&format!("d-{n}"), "denied")).collect::<Vec<_>>()).await;
    let later = async {
        tokio::time::sleep(seconds(20)).await;
        assert_eq!(states(&told(&rig, "access-denied")), ["firing"]);
        rig.send(&[request("fine", "fine")]).await;
    };
    tokio::join!(work_for(&rig, seconds(60)), later);
    let denied = told(&rig, "access-denied");
    assert_eq!(denied, [("firing".to_owned(), denied[0].1), ("recovered".to_owned(), 3)]);
    let alert = &rig.alerts_whole()[0];
    assert_eq!(alert["severity"], "critical");
    assert!(
        alert["fix"].to_string().contains(&format!("arn:aws:bedrock:us-east-1::foundation-model/{NOVA}")),
        "{alert}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_spent_day_is_told_with_when_it_ends_and_when_it_did() {
    let rig = Rig::new().await;
    rig.model.on("day", &[Reply::Fail(CallErrorClass::ThrottledDay)]);
    rig.send(&[request("day", "day")]).await;
    work_for(&rig, Duration::from_mins(70)).await;
    assert_eq!(states(&told(&rig, "lane-paused")), ["firing", "recovered"]);
    let alert = &rig.alerts_whole()[0];
    // An hour after the start at 09:08.
    assert!(alert["numbers"]["paused_until"]["value"].as_str().unwrap().starts_with("2026-11-21 10:08"), "{alert}");
}

#[tokio::test(start_paused = true)]
async fn no_progress_is_told_after_minutes_and_over_when_something_finishes() {
    let rig = Rig::new().await;
    for n in 0..4 {
        rig.model.on(&format!("slow-{n}"), &[Reply::After(Duration::from_mins(8))]);
    }
    let slow: Vec<Value> = (0..4).map(|n| request(&format!("slow-{n}"), &format!("slow-{n}"))).collect();
    rig.send(&slow).await;
    let early = async {
        tokio::time::sleep(Duration::from_secs(290)).await;
        assert!(rig.alerts().is_empty());
    };
    tokio::join!(work_for(&rig, Duration::from_mins(10)), early);
    let told = told(&rig, "no-progress");
    assert_eq!(states(&told), ["firing", "recovered"]);
    assert_eq!(rig.alerts_whole()[0]["numbers"]["calls_in_flight"]["value"], 4.0);
}

#[tokio::test(start_paused = true)]
async fn what_is_paused_or_done_is_no_standstill() {
    let rig = Rig::new().await;
    let switch = smoother::control::pauses::Switch::new(
        &rig.local.ports,
        rig.clock.clone(),
        smoother::control::audit::Operator::named("ann"),
    );
    switch.pause(smoother::control::pauses::Scope::All, None, None).await.unwrap();
    rig.send(&[request("held", "held")]).await;
    work_for(&rig, Duration::from_mins(30)).await;
    assert!(rig.alerts().is_empty(), "{:?}", rig.alerts());
}

#[tokio::test(start_paused = true)]
async fn a_lost_worker_is_told_once_and_one_that_left_is_not() {
    let rig = Rig::new().await;
    let lasting = |name: &str| rig.worker(name, |settings| settings.until_idle = false);
    let (stop, leaver) = (Stop::default(), Stop::default());
    let lives = async {
        tokio::time::sleep(seconds(10)).await;
        leaver.intake.cancel();
    };
    let dies = async {
        let life = tokio::time::timeout(seconds(30), lasting("victim").run(Stop::default())).await;
        assert!(life.is_err());
        tokio::time::sleep(seconds(90)).await;
        assert_eq!(states(&told(&rig, "worker-lost")), ["firing"]);
        tokio::join!(lasting("victim-2").run(stop.clone()), async {
            tokio::time::sleep(seconds(90)).await;
            stop.intake.cancel();
        });
    };
    tokio::join!(lasting("stays").run(stop.clone()), lasting("leaves").run(leaver.clone()), lives, dies);
    assert_eq!(states(&told(&rig, "worker-lost")), ["firing", "recovered"]);
    let alert = rig.alerts_whole().into_iter().find(|alert| alert["kind"] == "worker-lost").unwrap();
    assert_eq!(alert["numbers"]["lost"]["value"], "victim", "{alert}");
    assert_eq!(alert["numbers"]["workers_before"]["value"], 2.0);
}

#[tokio::test(start_paused = true)]
async fn poison_is_told_with_its_request_and_the_queue_until_it_is_empty() {
    let rig = Rig::new().await;
    rig.model.on("poison", &[const { Reply::Hang }; 9]);
    rig.send(&[request("poison", "poison")]).await;
    for life in 0..3 {
        let worker = rig.worker(&format!("victim-{life}"), |_| {});
        assert!(tokio::time::timeout(seconds(30), worker.run(Stop::default())).await.is_err());
        tokio::time::sleep(seconds(61)).await;
    }
    work_for(&rig, seconds(30)).await;
    assert_eq!(states(&told(&rig, "poison")), ["firing"]);
    assert_eq!(states(&told(&rig, "dead-letters")), ["firing"]);
    let poison = rig.alerts_whole().into_iter().find(|alert| alert["kind"] == "poison").unwrap();
    assert_eq!(poison["numbers"]["latest_request"]["value"], "poison");
    assert!(poison["fix"].to_string().contains("smoother dlq redrive poison"), "{poison}");
    let letters = rig.local.ports.dead.receive(10, Duration::ZERO).await.unwrap();
    work_for(&rig, seconds(20)).await;
    assert_eq!(states(&told(&rig, "dead-letters")), ["firing"], "somebody only looks at it");
    rig.local.ports.dead.delete(letters.into_iter().map(|letter| letter.receipt).collect()).await;
    work_for(&rig, seconds(20)).await;
    assert_eq!(states(&told(&rig, "dead-letters")), ["firing", "recovered"]);
}

#[tokio::test(start_paused = true)]
async fn a_switch_to_a_cheaper_model_is_told_once() {
    let rig = Rig::new().await;
    rig.send(&(0..10).map(|n| of("poor", &format!("poor-{n}"))).collect::<Vec<_>>()).await;
    let settings = [
        ("models.\"amazon.nova-lite-v1:0\".input_usd_per_mtok", "10000"),
        ("models.\"amazon.nova-lite-v1:0\".output_usd_per_mtok", "10000"),
        ("tenants.poor.usd_per_day", "3"),
        ("tenants.poor.budget_policy", "downgrade"),
        ("models.\"amazon.nova-lite-v1:0\".downgrade_to", MICRO),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let worker = rig.worker_with("w", settings, |settings| {
        settings.plan.max_concurrent = 1;
        settings.call.max_concurrent = 1;
    });
    worker.run(Stop::default()).await;
    let switched = told(&rig, "model-switched");
    assert_eq!(states(&switched), ["firing"], "{:?}", rig.alerts());
    assert_eq!(rig.alerts_whole()[0]["severity"], "info");
}
