//! The whole worker under paused time: what becomes of a message, whatever Bedrock and the workers do.

#![expect(clippy::unwrap_used, reason = "tests")]

mod alerts;
mod background;
mod control;
mod crashes;
mod dead_letters;
mod health;
mod metrics;
mod mortal;
mod pauses;
mod quotas;
mod registers;
mod replicas;
mod reports;
mod rig;
mod shares;
mod tenants;
mod traces;

use std::sync::LazyLock;
use std::time::Duration;

use rig::{NOVA, Reply, Rig, START, request};
use serde_json::json;
use smoother::pipeline::spend::Usd;
use smoother::ports::model::CallErrorClass;
use smoother::ports::{Outgoing, Work, WorkList};
use smoother::request::Status;
use smoother::shutdown::Stop;

/// What an answer costs: 20 input tokens at $0.06 and 10 output tokens at $0.24 a million.
static ANSWER: LazyLock<Usd> = LazyLock::new(|| Usd::of(3.6e-6));

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_as_one_row_one_report_and_one_result() {
    let rig = Rig::new().await;
    let mut message = request("r-1", "hello");
    message["metadata"] = json!({"ticket": "T-1"});
    message["tenant"] = json!("checkout");
    rig.send(&[message]).await;
    rig.run().await;

    let row = rig.row("r-1").await;
    assert_eq!((row.status, row.attempts, row.throttles, row.claims), (Status::Succeeded, 1, 0, 1));
    assert_eq!(rig.reports().await["r-1"], 1);
    let results = rig.results().await;
    let [result] = results["r-1"].as_slice() else { panic!("not one result: {results:?}") };
    assert_eq!(result["status"], "SUCCEEDED");
    assert_eq!(result["model_id"], NOVA);
    assert_eq!(result["tenant"], "checkout");
    assert_eq!(result["metadata"], json!({"ticket": "T-1"}));
    assert_eq!(result["attempts"], 1);
    assert_eq!(result["usage"]["output_tokens"], 10);
    assert_eq!(result["latency_ms"], 1000);
    // 20 input tokens at $0.06 and 10 output tokens at $0.24 a million.
    assert!((result["cost_usd"].as_f64().unwrap() - 3.6e-6).abs() < 1e-12);
    assert_eq!(result["result"]["output"]["message"]["content"][0]["text"], "fine");
    for queue in [&rig.local.ports.input, &rig.local.ports.hold, &rig.local.ports.dead] {
        let depth = queue.depth().await.unwrap();
        assert_eq!(depth.visible + depth.in_flight, 0, "{}", queue.name());
    }
}

#[tokio::test(start_paused = true)]
async fn bad_messages_are_answered_and_touch_nobody_else() {
    let rig = Rig::new().await;
    let mut past = request("past", "x");
    past["deadline"] = json!("2020-01-01T00:00:00Z");
    let mut model = request("model", "x");
    model["model_id"] = json!("amazon.nova-light-v1:0");
    let mut field = request("field", "x");
    field["prioritee"] = json!("high");
    rig.send(&[request("good-1", "a"), past, model, field, request("good-2", "b")]).await;
    let raw = |body: &str| Outgoing { body: body.to_owned(), ..Outgoing::default() };
    let pointer = |bucket: &str| {
        raw(&format!(
            r#"["software.amazon.payloadoffloading.PayloadS3Pointer",{{"s3BucketName":"{bucket}","s3Key":"none"}}]"#
        ))
    };
    rig.local.ports.input.send(vec![raw("{not json"), pointer("foreign"), pointer("producers")]).await;
    rig.run().await;

    let results = rig.results().await;
    let reports = rig.reports().await;
    assert_eq!(results.len(), 8);
    assert_eq!(reports.len(), 8);
    for (id, messages) in &results {
        assert_eq!((messages.len(), reports[id]), (1, 1), "{id}");
        let result = &messages[0];
        if id.starts_with("good") {
            assert_eq!(result["status"], "SUCCEEDED");
            continue;
        }
        assert_eq!(result["status"], "REJECTED", "{id}");
        assert!(result["error"]["field"].is_string() && result["error"]["message"].is_string(), "{result}");
        let row = rig.row(id).await;
        let kept = rig.local.ports.payloads.get(&row.request.body).await.unwrap();
        assert!(kept.is_some(), "the raw message of {id} is not kept");
    }
    assert_eq!(results["past"][0]["error"]["field"], "deadline");
    assert_eq!(results["model"][0]["error"]["field"], "model_id");
    assert_eq!(results["field"][0]["error"]["field"], "prioritee");
    let by_message: Vec<_> = results.iter().filter(|(id, _)| id.starts_with("sqs-")).collect();
    assert_eq!(by_message.len(), 3, "messages without a readable id end under that of their message");
    assert_eq!(rig.model.calls.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_is_acknowledged_and_a_conflict_rejected() {
    let rig = Rig::new().await;
    rig.send(&[request("r", "one"), request("r", "one"), request("r", "two")]).await;
    rig.run().await;
    rig.send(&[request("r", "one")]).await;
    rig.run().await;

    let results = rig.results().await;
    assert_eq!(results["r"].len(), 1);
    assert_eq!(results["r"][0]["status"], "SUCCEEDED");
    let conflict = results.iter().find(|(id, _)| id.starts_with("sqs-")).unwrap().1;
    assert_eq!(conflict[0]["error"]["type"], "IdConflict");
    assert_eq!(*rig.model.calls.lock().unwrap(), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_in_another_notation_leaves_the_first_as_it_was() {
    let rig = Rig::new().await;
    let spaced = r#"{ "messages": [ {"role": "user", "content": [ {"text": "same"} ] } ] }"#;
    let dense = r#"{"messages":[{"role":"user","content":[{"text":"same"}]}]}"#;
    for body in [spaced, dense] {
        let body = format!(r#"{{"request_id": "twice", "model_id": "{NOVA}", "converse": {body}}}"#);
        rig.local.ports.input.send(vec![Outgoing { body, ..Outgoing::default() }]).await.remove(0).unwrap();
    }
    rig.run().await;
    let stored = rig.local.ports.payloads.get(&rig.row("twice").await.request.body).await.unwrap().unwrap();
    assert_eq!(stored, spaced);
    assert_eq!(rig.model.calls_of("same"), 1);
}

#[tokio::test(start_paused = true)]
async fn passing_faults_are_retried_and_final_ones_end() {
    use CallErrorClass::{Final, Server, ThrottledTokens, Transport, Unavailable};
    let rig = Rig::new().await;
    rig.model.on("flaky", &[Reply::Fail(Server), Reply::Fail(Unavailable), Reply::Fail(ThrottledTokens)]);
    rig.model.on("bad", &[Reply::Fail(Final)]);
    rig.model.on("dead", &[const { Reply::Fail(Server) }; 9]);
    rig.model.on("lost", &[const { Reply::Fail(Transport) }; 9]);
    rig.send(&[request("flaky", "flaky"), request("bad", "bad"), request("dead", "dead"), request("lost", "lost")])
        .await;
    rig.run().await;

    let results = rig.results().await;
    assert_eq!(results["flaky"][0]["status"], "SUCCEEDED");
    let flaky = rig.row("flaky").await;
    assert_eq!((flaky.attempts, flaky.throttles), (3, 1));
    assert_eq!((results["bad"][0]["status"].as_str(), rig.model.calls_of("bad")), (Some("FAILED"), 1));
    assert_eq!(results["bad"][0]["error"]["retryable"], false);
    assert_eq!((results["dead"][0]["status"].as_str(), rig.model.calls_of("dead")), (Some("FAILED"), 4));
    assert_eq!(results["dead"][0]["error"]["retryable"], true);
    assert_eq!(results["dead"][0]["attempts"], 4);
    assert_eq!(rig.model.calls_of("lost"), 3, "a call that may have been billed is repeated less");
}

#[tokio::test(start_paused = true)]
async fn a_spent_day_defers_and_later_goes_on() {
    let rig = Rig::new().await;
    rig.model.on("day", &[Reply::Fail(CallErrorClass::ThrottledDay)]);
    rig.send(&[request("day", "day"), request("other", "other")]).await;
    let started = tokio::time::Instant::now();
    rig.run().await;

    let row = rig.row("day").await;
    assert_eq!((row.status, row.throttles), (Status::Succeeded, 1));
    assert!(started.elapsed() >= seconds(60), "it went on at once");
    assert_eq!(row.notes.len(), 1, "the deferral is told: {:?}", row.notes);
    assert_eq!(rig.results().await["other"][0]["status"], "SUCCEEDED");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_costs_no_call() {
    let rig = Rig::new().await;
    // Four slow calls fill the budget; the fifth's deadline passes while it stands in line.
    for n in 0..4 {
        rig.model.on(&format!("slow-{n}"), &[Reply::After(seconds(120))]);
    }
    let slow: Vec<_> = (0..4).map(|n| request(&format!("slow-{n}"), &format!("slow-{n}"))).collect();
    rig.send(&slow).await;
    let mut hurried = request("hurried", "hurried");
    hurried["deadline"] = json!((START + seconds(30)).to_string());
    let sender = async {
        tokio::time::sleep(seconds(5)).await;
        rig.send(&[hurried]).await;
    };
    tokio::join!(rig.run(), sender);

    let results = rig.results().await;
    assert_eq!(results["hurried"][0]["status"], "EXPIRED");
    assert_eq!(results["hurried"][0]["error"]["type"], "DeadlinePassed");
    assert_eq!(rig.model.calls_of("hurried"), 0);
    let waited = rig.row("hurried").await.outcome.unwrap().finished_at.since(START);
    assert!(waited < seconds(32), "told after {waited:?}");
}

#[tokio::test(start_paused = true)]
async fn urgent_requests_overtake_the_backlog() {
    let rig = Rig::new().await;
    let bulk: Vec<_> = (0..100)
        .map(|n| {
            let mut message = request(&format!("bulk-{n}"), &format!("bulk-{n}"));
            message["priority"] = json!("bulk");
            message
        })
        .collect();
    rig.send(&bulk).await;
    let sender = async {
        tokio::time::sleep(seconds(5)).await;
        let mut urgent = request("urgent", "urgent");
        urgent["priority"] = json!("urgent");
        rig.send(&[urgent]).await;
    };
    tokio::join!(rig.run(), sender);

    let row = rig.row("urgent").await;
    let waited = row.started_at.unwrap().since(row.request.received_at);
    assert!(waited <= Duration::from_millis(1500), "waited {waited:?} with calls of one second");
    assert_eq!(rig.results().await.len(), 101);
}

#[tokio::test(start_paused = true)]
async fn a_large_result_travels_by_reference() {
    let rig = Rig::new().await;
    rig.model.on("long", &[Reply::Large(300_000)]);
    rig.send(&[request("long", "long")]).await;
    rig.run().await;
    let results = rig.results().await;
    let result = &results["long"][0];
    assert!(result.get("result").is_none());
    let (dir, key) = (result["result_s3"]["bucket"].as_str().unwrap(), result["result_s3"]["key"].as_str().unwrap());
    let body = std::fs::read(std::path::Path::new(dir).join(key)).unwrap();
    assert!(body.len() > 300_000);
}

/// A worker that is dropped without a word, as by kill -9, at many points; others finish its work.
#[tokio::test(start_paused = true)]
async fn killed_workers_lose_nothing_and_finish_nothing_twice() {
    let rig = Rig::new().await;
    let messages: Vec<_> = (0..60).map(|n| request(&format!("k-{n}"), &format!("k-{n}"))).collect();
    rig.send(&messages).await;
    let mut in_flight = 0;
    for life in 0..5 {
        let worker = rig.worker(&format!("victim-{life}"), |_| {});
        let gate = worker.gate();
        let lived = tokio::time::timeout(Duration::from_millis(2_300 + 70 * life), worker.run(Stop::default())).await;
        assert!(lived.is_err(), "it ended before it was killed");
        in_flight += gate.load().0;
        // The next one comes when the messages of this one are visible again.
        tokio::time::sleep(seconds(61)).await;
    }
    rig.run().await;

    let (results, reports) = (rig.results().await, rig.reports().await);
    for n in 0..60 {
        let id = format!("k-{n}");
        let row = rig.row(&id).await;
        assert_eq!(row.status, Status::Succeeded, "{id}: {row:?}");
        assert_eq!(reports[&id], 1, "{id}");
        assert!(!results[&id].is_empty(), "{id}");
    }
    let extra = rig.model.calls.lock().unwrap().len() - 60;
    // Each of five kills loses what was counted since it was saved last, in which time no more than four calls end.
    let counted = |requests: u32| (0..requests).map(|_| *ANSWER).sum::<Usd>();
    assert!((counted(40)..=counted(60)).contains(&rig.spent().await), "{}", rig.spent().await);
    // Four calls at most are in flight at a kill, by the budget.
    assert!(extra <= 20, "{extra} extra calls with {in_flight} in flight at the kills");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_three_workers_down_is_poison() {
    let rig = Rig::new().await;
    rig.model.on("poison", &[const { Reply::Hang }; 9]);
    rig.send(&[request("poison", "poison"), request("fine", "fine")]).await;
    for life in 0..3 {
        let worker = rig.worker(&format!("victim-{life}"), |_| {});
        let lived = tokio::time::timeout(seconds(30), worker.run(Stop::default())).await;
        assert!(lived.is_err());
        tokio::time::sleep(seconds(61)).await;
    }
    rig.run().await;

    let results = rig.results().await;
    assert_eq!(results["poison"][0]["status"], "FAILED");
    assert_eq!(results["poison"][0]["error"]["type"], "Poison");
    assert_eq!(rig.model.calls_of("poison"), 3);
    assert_eq!(results["fine"][0]["status"], "SUCCEEDED");
    assert_eq!(rig.local.ports.dead.depth().await.unwrap().visible, 1, "its message is kept for people to see");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_worker_finishes_what_is_in_flight_and_hands_back_the_rest() {
    let rig = Rig::new().await;
    let messages: Vec<_> = (0..40).map(|n| request(&format!("s-{n}"), &format!("s-{n}"))).collect();
    rig.send(&messages).await;
    let stop = Stop::default();
    let worker = rig.worker("first", |settings| settings.until_idle = false);
    let stopper = async {
        tokio::time::sleep(Duration::from_millis(3_500)).await;
        stop.intake.cancel();
    };
    let started = tokio::time::Instant::now();
    tokio::join!(worker.run(stop.clone()), stopper);
    assert!(started.elapsed() < seconds(8), "it took {:?} to stop", started.elapsed());
    let called = rig.model.calls.lock().unwrap().len();
    let finished = rig.results().await.len();
    assert_eq!(called, finished, "calls that were in flight are finished");
    assert_eq!(rig.spent().await, (0..finished).map(|_| *ANSWER).sum(), "and what they cost was saved before the end");
    assert!(finished < 40);

    let resumed = tokio::time::Instant::now();
    rig.worker("second", |_| {}).run(Stop::default()).await;
    assert!(resumed.elapsed() < seconds(20), "what was handed back had to wait: {:?}", resumed.elapsed());
    assert_eq!(rig.model.calls.lock().unwrap().len(), 40);
    assert_eq!(rig.results().await.len(), 40 - finished);
    assert_eq!(rig.spent().await, (0..40).map(|_| *ANSWER).sum());
}

#[tokio::test(start_paused = true)]
async fn two_workers_share_the_work_and_do_nothing_twice() {
    let rig = Rig::new().await;
    let messages: Vec<_> = (0..80).map(|n| request(&format!("t-{n}"), &format!("t-{n}"))).collect();
    rig.send(&messages).await;
    let (one, two) = (rig.worker("one", |_| {}), rig.worker("two", |_| {}));
    let (first, second) = (one.tally(), two.tally());
    tokio::join!(one.run(Stop::default()), two.run(Stop::default()));
    assert_eq!(rig.model.calls.lock().unwrap().len(), 80);
    assert_eq!(rig.results().await.len(), 80);
    assert_eq!(rig.spent().await, (0..80).map(|_| *ANSWER).sum());
    let shares = [first.totals().calls, second.totals().calls];
    assert!(shares.iter().all(|calls| *calls >= 20), "{shares:?}");
}

/// Three workers on one lane of 60 requests a minute: whoever is there uses all of it, and nobody more.
#[tokio::test(start_paused = true)]
async fn workers_share_a_quota_and_take_over_that_of_one_that_dies() {
    let rig = Rig::new().await;
    let messages: Vec<_> = (0..150).map(|n| request(&format!("q-{n}"), &format!("q-{n}"))).collect();
    rig.send(&messages).await;
    let worker = |name: &str| {
        let quota = vec![(format!("models.\"{NOVA}\".requests_per_minute"), "60".to_owned())];
        rig.worker_with(name, quota, |_| {})
    };
    let (one, two, three) = (worker("one"), worker("two"), worker("three"));
    let gates = [one.gate(), two.gate(), three.gate()];
    let share = move || -> f64 {
        let lanes = gates.iter().flat_map(smoother::pipeline::pace::Gate::snapshots);
        lanes.filter(|lane| lane.lane.ends_with(NOVA)).map(|lane| lane.share).sum()
    };
    let watch = async move {
        let mut mean = 0.0;
        for _ in 0..300 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(share() <= 1.0 + 1e-9, "{} of the quota", share());
            mean += share() / 300.0;
        }
        // The first second is without requests, and a third is nobody's for six, from the end of its holder to the takeover.
        assert!(mean > 0.9, "{mean} of the quota was in use");
    };
    let started = tokio::time::Instant::now();
    let short_life = tokio::time::timeout(seconds(20), one.run(Stop::default()));
    let (died, ..) = tokio::join!(short_life, two.run(Stop::default()), three.run(Stop::default()), watch);
    assert!(died.is_err());
    assert_eq!(rig.results().await.len(), 150);
    // 150 requests at 60 a minute, nine seconds with two thirds of it, and the calls in flight of the one that died again.
    assert!(started.elapsed() < seconds(230), "it took {:?}", started.elapsed());
    assert!(started.elapsed() > seconds(145), "faster than the quota: {:?}", started.elapsed());
}

/// What a planner leaves that dies between marking a row and sending its message.
#[tokio::test(start_paused = true)]
async fn a_row_whose_hold_message_was_never_sent_moves_on() {
    let rig = Rig::new().await;
    rig.send(&[request("lost", "lost")]).await;
    let ingest_only =
        rig.worker("ingest", |settings| settings.roles = [smoother::pipeline::fleet::Role::Ingest].into());
    let lived = tokio::time::timeout(seconds(3), ingest_only.run(Stop::default())).await;
    assert!(lived.is_err(), "nobody planned, so it cannot have become idle");
    let row = rig.row("lost").await;
    let from = Work { list: WorkList::Ready(row.request.flow()), sort: row.request.rank.clone() };
    let now = rig.clock.now();
    let held = smoother::pipeline::lifecycle::hold(row.request.id, from, "ticket", now + seconds(600), now);
    rig.local.ports.ledger.apply(vec![held]).await.remove(0).unwrap();

    rig.run().await;
    assert_eq!(rig.results().await["lost"][0]["status"], "SUCCEEDED");
}

/// A kill between the final status and the report, and kills of all that received the message afterwards: the message
/// ends in the dead-letter queue, and still everything is told.
#[tokio::test(start_paused = true)]
async fn what_was_finished_but_not_told_is_told_from_the_dead_letter_queue() {
    use smoother::pipeline::hold::HoldMessage;
    use smoother::pipeline::lifecycle::{self, Calls};
    use smoother::request::Outcome;

    let rig = Rig::new().await;
    rig.send(&[request("untold", "untold")]).await;
    let ingest_only =
        rig.worker("ingest", |settings| settings.roles = [smoother::pipeline::fleet::Role::Ingest].into());
    assert!(tokio::time::timeout(seconds(3), ingest_only.run(Stop::default())).await.is_err());
    let request = rig.row("untold").await.request;
    let from = Work { list: WorkList::Ready(request.flow()), sort: request.rank.clone() };
    let (now, overdue) = (rig.clock.now(), rig.clock.now() + seconds(600));
    let outcome = Outcome::at(now);
    let id = || request.id.clone();
    for transition in [
        lifecycle::hold(id(), from, "ticket", overdue, now),
        lifecycle::claim(id(), "ticket", "claim", "gone", overdue, now),
        lifecycle::finish(id(), "claim", Status::Succeeded, Calls::default(), outcome),
    ] {
        rig.local.ports.ledger.apply(vec![transition]).await.remove(0).unwrap();
    }
    let message = HoldMessage {
        request_id: id(),
        ticket: "ticket".to_owned(),
        lane: request.lane.clone(),
        rank: request.rank.clone(),
        estimate: request.estimate,
        use_case: None,
        deadline: None,
        overdue,
    };
    rig.local.ports.hold.send(vec![message.to_outgoing()]).await;
    for _ in 0..3 {
        assert_eq!(rig.local.ports.hold.receive(1, Duration::ZERO).await.unwrap().len(), 1);
        tokio::time::sleep(seconds(61)).await;
    }
    let stop = Stop::default();
    let worker = rig.worker("w", |settings| settings.until_idle = false);
    let stopper = async {
        tokio::time::sleep(seconds(30)).await;
        stop.intake.cancel();
    };
    tokio::join!(worker.run(stop.clone()), stopper);

    assert_eq!(rig.reports().await["untold"], 1);
    assert_eq!(rig.results().await["untold"][0]["status"], "SUCCEEDED");
    assert_eq!(rig.local.ports.dead.depth().await.unwrap().visible, 0);
}

#[tokio::test(start_paused = true)]
async fn another_plans_within_ten_seconds_of_the_planners_death() {
    let rig = Rig::new().await;
    let (first, second) =
        (rig.worker("first", |s| s.until_idle = false), rig.worker("second", |s| s.until_idle = false));
    let stop = Stop::default();
    let death = async {
        assert!(tokio::time::timeout(seconds(5), first.run(Stop::default())).await.is_err());
        rig.send(&[request("orphan", "orphan")]).await;
        tokio::time::sleep(seconds(15)).await;
        stop.intake.cancel();
    };
    let survivor = async {
        // Later, so that the first one leads.
        tokio::time::sleep(seconds(1)).await;
        second.run(stop.clone()).await;
    };
    tokio::join!(death, survivor);
    let row = rig.row("orphan").await;
    assert_eq!(row.status, Status::Succeeded);
    let waited = row.queued_at.unwrap().since(row.request.received_at);
    assert!(waited > seconds(3) && waited <= seconds(10), "planned after {waited:?}");
}
