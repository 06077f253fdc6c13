//! Pauses, while the whole worker works.

use serde_json::{Value, json};
use smoother::control::audit::Operator;
use smoother::control::jobs::{Change, Order, Outcome};
use smoother::control::pauses::{Pauses, Scope, Switch};
use smoother::request::Tenant;
use smoother::shutdown::Stop;

use crate::control::{ids, jobs, of, order, order_all, tenant, wait, while_working};
use crate::rig::{MICRO, Rig, START, request};
use crate::seconds;

#[tokio::test(start_paused = true)]
async fn a_deadline_may_come_go_and_end_a_request() {
    let rig = Rig::new().await;
    let mut soon = request("rescued", "rescued");
    soon["deadline"] = json!((START + seconds(20)).to_string());
    rig.send(&[soon, request("doomed", "doomed"), request("other", "other")]).await;
    let pause = Switch::new(&rig.local.ports, rig.clock.clone(), Operator::named("ann"));
    pause.pause(Scope::All, None, None).await.unwrap();
    while_working(&rig, |_| {}, async {
        wait(3).await;
        let past = Order { change: Change::Deadline(Some(START)), reason: None };
        assert!(jobs(&rig).change(&ids(&["other"]), &past).await.is_err());
        assert_eq!(order(&rig, "rescued", Change::Deadline(None)).await, Outcome::Done);
        assert_eq!(order(&rig, "doomed", Change::Deadline(Some(rig.clock.now() + seconds(10)))).await, Outcome::Done);
        wait(30).await;
        let results = rig.results().await;
        assert_eq!(results.keys().collect::<Vec<_>>(), ["doomed"], "what is paused expires, and only that");
        assert_eq!(results["doomed"][0]["status"], "EXPIRED");
        pause.resume(&Scope::All, None).await.unwrap().unwrap();
        wait(5).await;
    })
    .await;
    let results = rig.results().await;
    assert!(["rescued", "other"].iter().all(|id| results[*id][0]["status"] == "SUCCEEDED"), "{results:?}");
    assert_eq!(rig.model.calls_of("doomed"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_within_seconds_whatever_is_in_the_hold_queue() {
    let micro = |mut message: Value| {
        message["model_id"] = json!(MICRO);
        message
    };
    let by_use_case = |mut message: Value| {
        message.as_object_mut().unwrap().remove("model_id");
        message["use_case"] = json!("support");
        message
    };
    let lane = format!("default:us-east-1:{MICRO}");
    for (scope, paused) in [
        (Scope::Tenant(Tenant::new("acme").unwrap()), &["acme"][..]),
        (Scope::Lane(lane), &["micro", "support"]),
        (Scope::Lane(MICRO.to_owned()), &["micro", "support"]),
        (Scope::UseCase("support".to_owned()), &["support"]),
        (Scope::All, &["acme", "blue", "micro", "support"]),
    ] {
        let rig = Rig::new().await;
        let mut messages = Vec::new();
        for n in 0..40 {
            messages.push(of("acme", &format!("acme-{n}")));
            messages.push(of("blue", &format!("blue-{n}")));
            messages.push(micro(of("blue", &format!("micro-{n}"))));
            messages.push(by_use_case(of("blue", &format!("support-{n}"))));
        }
        rig.send(&messages).await;
        let called = |kind: &str| {
            let calls = rig.model.calls.lock().unwrap();
            calls.iter().filter(|call| call.starts_with(kind)).count()
        };
        while_working(&rig, |_| {}, async {
            wait(4).await;
            let switch = Switch::new(&rig.local.ports, rig.clock.clone(), Operator::named("ann"));
            switch.pause(scope.clone(), Some("incident".to_owned()), None).await.unwrap();
            wait(3).await;
            let kinds = ["acme", "blue", "micro", "support"];
            let then = kinds.map(called);
            wait(10).await;
            for (kind, then) in kinds.into_iter().zip(then) {
                let holds = paused.contains(&kind);
                assert_eq!(called(kind) == then, holds, "{scope}: {kind} was called {} times", called(kind) - then);
                assert!(then > 0, "{kind} never ran");
            }
            switch.resume(&scope, None).await.unwrap().unwrap();
            wait(2).await;
            if scope == Scope::All {
                assert!(kinds.map(called).iter().sum::<usize>() > then.iter().sum(), "it goes on within a second");
            }
            wait(90).await;
        })
        .await;
        let results = rig.results().await;
        assert_eq!(results.len(), 160, "{scope}");
        assert!(results.values().all(|r| r.len() == 1 && r[0]["status"] == "SUCCEEDED"));
        assert_eq!(rig.model.calls.lock().unwrap().len(), 160, "{scope}: nothing is called twice");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_by_itself_and_outlives_its_planner() {
    let rig = Rig::new().await;
    rig.send(&(0..40).map(|n| of("acme", &format!("acme-{n}"))).collect::<Vec<_>>()).await;
    let switch = Switch::new(&rig.local.ports, rig.clock.clone(), Operator::named("ann"));
    let acme = Scope::Tenant(Tenant::new("acme").unwrap());
    switch.pause(acme.clone(), None, Some(START + seconds(60))).await.unwrap();
    let (first, second) =
        (rig.worker("first", |s| s.until_idle = false), rig.worker("second", |s| s.until_idle = false));
    let stop = Stop::default();
    let (other, script) = (second.run(stop.clone()), async {
        assert!(tokio::time::timeout(seconds(20), first.run(Stop::default())).await.is_err(), "killed");
        wait(35).await;
        assert_eq!(rig.model.calls.lock().unwrap().len(), 0, "the second planner knows");
        wait(8).await;
        assert!(!rig.model.calls.lock().unwrap().is_empty(), "the pause is over");
        wait(60).await;
        stop.intake.cancel();
    });
    tokio::join!(other, script);
    assert_eq!(rig.results().await.len(), 40);
    assert_eq!(switch.resume(&acme, None).await.unwrap(), None, "it has ended by itself");
}

/// A cancellation must come through although its flow is paused, and is not taken back as what is paused.
#[tokio::test(start_paused = true)]
async fn what_is_paused_can_be_cancelled() {
    let rig = Rig::new().await;
    rig.send(&(0..30).map(|n| of("acme", &format!("acme-{n}"))).collect::<Vec<_>>()).await;
    let switch = Switch::new(&rig.local.ports, rig.clock.clone(), Operator::named("ann"));
    switch.pause(Scope::Tenant(Tenant::new("acme").unwrap()), None, None).await.unwrap();
    while_working(&rig, |_| {}, async {
        wait(3).await;
        let report = order_all(&rig, &tenant("acme"), Change::Cancel).await;
        assert_eq!(report.tally.changed(), 30);
        wait(3).await;
    })
    .await;
    let results = rig.results().await;
    assert!(results.len() == 30 && results.values().all(|r| r[0]["status"] == "CANCELLED"), "{}", results.len());
    assert_eq!(rig.model.calls.lock().unwrap().len(), 0);
}

/// Many operators at the same time: one register, and no pause is lost.
#[tokio::test(start_paused = true)]
async fn pauses_made_at_the_same_time_are_all_there() {
    let rig = Rig::new().await;
    let scope = |n: usize| Scope::Tenant(Tenant::new(format!("t-{n}")).unwrap());
    let switch = |name: &str| Switch::new(&rig.local.ports, rig.clock.clone(), Operator::named(name));
    let made = (0..6).map(|n| {
        let switch = switch(&format!("operator-{n}"));
        async move { switch.pause(scope(n), None, None).await }
    });
    for made in futures_util::future::join_all(made).await {
        assert_eq!(made.unwrap(), None);
    }
    // The same one again changes what it says, and says what was.
    let until = Some(START + seconds(60));
    let before = switch("bob").pause(scope(3), Some("longer".to_owned()), until).await.unwrap().unwrap();
    assert_eq!((before.by.as_str(), before.until), ("operator-3", None));
    let pauses = async || Pauses::read(&*rig.local.ports.registers).await.unwrap().in_force(rig.clock.now());
    assert_eq!(pauses().await.len(), 6);
    wait(61).await;
    assert_eq!(pauses().await.len(), 5, "one has ended by itself");
    assert_eq!(switch("bob").resume(&Scope::All, None).await.unwrap(), None);
    assert!(switch("bob").resume(&scope(1), None).await.unwrap().is_some());
    assert_eq!(pauses().await.len(), 4);
}

/// The messages of what was paused or taken back stay with the workers that received them, and must not stand in the way of
/// what may go: at one start a second they would for minutes.
#[tokio::test(start_paused = true)]
async fn what_was_taken_out_of_the_hold_queue_delays_nobody() {
    let rig = Rig::new().await;
    let slow = |mut message: Value| {
        message["model_id"] = json!(MICRO);
        message
    };
    let flood: Vec<Value> = (0..100).map(|n| slow(of("acme", &format!("acme-{n}")))).collect();
    rig.send(&flood).await;
    let rate = vec![(format!("models.\"{MICRO}\".requests_per_minute"), "60".to_owned())];
    let stop = Stop::default();
    let worker = rig.worker_with("w", rate, |settings| {
        settings.until_idle = false;
        settings.plan.queue_depth_threshold = 60;
        settings.call.queue_depth_threshold = 60;
    });
    let operator = async {
        wait(5).await;
        let switch = Switch::new(&rig.local.ports, rig.clock.clone(), Operator::named("ann"));
        switch.pause(Scope::Tenant(Tenant::new("acme").unwrap()), None, None).await.unwrap();
        wait(2).await;
        // Others fill the hold queue behind it, and then somebody is in a hurry.
        let others: Vec<Value> = (0..100).map(|n| slow(of("blue", &format!("blue-{n}")))).collect();
        rig.send(&others).await;
        wait(3).await;
        let mut urgent = slow(of("blue", "urgent"));
        urgent["priority"] = json!("urgent");
        rig.send(&[urgent]).await;
        wait(60).await;
        stop.intake.cancel();
    };
    tokio::join!(worker.run(stop.clone()), operator);
    let row = rig.row("urgent").await;
    let waited = row.started_at.unwrap().since(row.request.received_at);
    assert!(waited < seconds(3), "it waited {waited:?} behind what is paused");
}
