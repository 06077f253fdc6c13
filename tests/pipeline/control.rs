//! What operators do to what is queued, while the whole worker works on it.

use std::time::Duration;

use serde_json::{Value, json};
use smoother::control::audit::{self, Action, Operator, Target};
use smoother::control::filter::{Filter, Priorities, Stand};
use smoother::control::jobs::{Answers, Change, Jobs, Order, Outcome, Report};
use smoother::control::pauses::{Pauses, Scope, Switch};
use smoother::pipeline::fleet::Role;
use smoother::ports::model::CallErrorClass;
use smoother::request::{Priority, RequestId, Status, Tenant};
use smoother::shutdown::Stop;
use smoother::worker::Settings;
use tokio_util::sync::CancellationToken;

use crate::rig::{MICRO, NOVA, Reply, Rig, START, request};
use crate::seconds;

pub fn jobs(rig: &Rig) -> Jobs {
    Jobs::new(&rig.local.ports, rig.clock.clone(), Operator::named("ann"), seconds(5))
}

pub fn ids<S: AsRef<str>>(names: &[S]) -> Vec<RequestId> {
    names.iter().map(|name| RequestId::new(name.as_ref()).unwrap()).collect()
}

pub async fn order(rig: &Rig, name: &str, change: Change) -> Outcome {
    let order = Order { change, reason: Some("not needed".to_owned()) };
    let Answers { mut outcomes, not_audited } = jobs(rig).change(&ids(&[name]), &order).await.unwrap();
    assert!(not_audited.is_none());
    outcomes.remove(0).1
}

pub async fn order_all(rig: &Rig, filter: &Filter, change: Change) -> Report {
    let order = Order { change, reason: None };
    let report = jobs(rig).change_matching(filter, &order, &mut |_| {}, &CancellationToken::new()).await.unwrap();
    assert!(report.stopped.is_none() && report.not_audited.is_none(), "{report:?}");
    report
}

pub fn tenant(name: &str) -> Filter {
    Filter { tenant: Some(Tenant::new(name).unwrap()), ..Filter::default() }
}

pub fn of(tenant: &str, id: &str) -> Value {
    let mut message = request(id, id);
    message["tenant"] = json!(tenant);
    message
}

/// Runs a worker while a script runs, and ends it after.
pub async fn while_working(rig: &Rig, change: impl FnOnce(&mut Settings), script: impl Future<Output = ()>) {
    let stop = Stop::default();
    let worker = rig.worker("w", |settings| {
        settings.until_idle = false;
        change(settings);
    });
    let script = async {
        script.await;
        stop.intake.cancel();
    };
    tokio::join!(worker.run(stop.clone()), script);
}

/// Admits what was sent, and nothing else.
pub async fn admit(rig: &Rig) {
    let ingest = rig.worker("ingest", |settings| settings.roles = [Role::Ingest].into());
    assert!(tokio::time::timeout(seconds(3), ingest.run(Stop::default())).await.is_err());
}

pub async fn wait(n: u64) {
    tokio::time::sleep(seconds(n)).await;
}

async fn assert_cancelled_once(rig: &Rig, name: &str, results: &std::collections::BTreeMap<String, Vec<Value>>) {
    assert_eq!(rig.row(name).await.status, Status::Cancelled, "{name}");
    assert_eq!(results.get(name).map(Vec::len), Some(1), "{name}: {results:?}");
    let result = &results[name][0];
    assert_eq!((&result["status"], &result["error"]["type"]), (&json!("CANCELLED"), &json!("Cancelled")), "{name}");
    assert_eq!(result["error"]["message"], "cancelled by ann: not needed");
    assert_eq!(rig.reports().await[name], 1, "{name}");
}

/// One call at a time, so that `first` runs, two wait in the hold queue and the rest in the backlog.
#[tokio::test(start_paused = true)]
async fn what_is_cancelled_ends_once_and_is_not_called_any_more() {
    let rig = Rig::new().await;
    let slow = [Reply::After(seconds(30))];
    rig.model.on("first", &slow);
    rig.model.on("deferred", &[Reply::Fail(CallErrorClass::ThrottledDay)]);
    let few = |settings: &mut Settings| {
        settings.plan.queue_depth_threshold = 2;
        settings.plan.max_concurrent = 1;
        settings.call.max_concurrent = 1;
    };
    let mut other_lane = request("deferred", "deferred");
    other_lane["model_id"] = json!(MICRO);
    other_lane["priority"] = json!("urgent");
    rig.send(&[other_lane]).await;
    while_working(&rig, few, async {
        wait(3).await;
        assert_eq!(rig.row("deferred").await.status, Status::Received, "it waits for another day");
        assert_eq!(order(&rig, "deferred", Change::Priority(Priority::LOW)).await, Outcome::Done);
        wait(3).await;
        let deferred = rig.row("deferred").await;
        assert!(deferred.not_before > Some(rig.clock.now()) && deferred.request.rank.starts_with('1'), "{deferred:?}");
        assert_eq!((deferred.status, rig.model.calls_of("deferred")), (Status::Received, 1), "it waits on");
        rig.send(&["first", "queued-1", "queued-2", "backlog-1", "backlog-2", "backlog-3"].map(|id| request(id, id)))
            .await;
        wait(4).await;
        assert_eq!(rig.row("first").await.status, Status::Running);
        let mut stands = Vec::new();
        for name in ["queued-1", "queued-2", "backlog-1", "backlog-2", "backlog-3"] {
            stands.push(rig.row(name).await.status);
        }
        assert!(stands.contains(&Status::Queued) && stands.contains(&Status::Received), "{stands:?}");
        for name in ["queued-1", "backlog-1", "deferred"] {
            assert_eq!(order(&rig, name, Change::Cancel).await, Outcome::Done, "{name}");
        }
        wait(3).await;
        let results = rig.results().await;
        for name in ["queued-1", "backlog-1", "deferred"] {
            assert_cancelled_once(&rig, name, &results).await;
            assert_eq!(rig.model.calls_of(name), usize::from(name == "deferred"));
            assert_eq!(order(&rig, name, Change::Cancel).await, Outcome::AlreadyFinal(Status::Cancelled));
        }
        wait(60).await;
    })
    .await;
    let results = rig.results().await;
    for name in ["first", "queued-2", "backlog-2", "backlog-3"] {
        assert_eq!(results[name][0]["status"], "SUCCEEDED", "{name} was not meant");
    }
    assert_eq!(order(&rig, "nobody", Change::Cancel).await, Outcome::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_is_let_finish_and_not_repeated() {
    let rig = Rig::new().await;
    rig.model.on("answers", &[Reply::After(seconds(10))]);
    let server = Reply::Fail(CallErrorClass::Server);
    rig.model.on("fails", &[Reply::Fail(CallErrorClass::Server), server.clone(), server.clone(), server]);
    rig.model.on("day", &[Reply::After(seconds(9))]);
    rig.send(&[request("answers", "answers"), request("fails", "fails")]).await;
    while_working(&rig, |settings| settings.call.policy.base = seconds(16), async {
        wait(2).await;
        assert_eq!(rig.row("answers").await.status, Status::Running);
        assert_eq!(order(&rig, "answers", Change::Cancel).await, Outcome::AfterCall);
        assert_eq!(order(&rig, "answers", Change::Priority(Priority::HIGH)).await, Outcome::Decided(Status::Cancelled));
        let called = rig.model.calls_of("fails");
        let outcome = order(&rig, "fails", Change::Cancel).await;
        assert!(matches!(outcome, Outcome::AfterCall | Outcome::Done), "{outcome:?}");
        wait(90).await;
        assert_eq!(rig.model.calls_of("fails"), called, "it was called again");
    })
    .await;
    let results = rig.results().await;
    assert_eq!(results["answers"][0]["status"], "SUCCEEDED");
    assert_cancelled_once(&rig, "fails", &results).await;
}

#[tokio::test(start_paused = true)]
async fn another_priority_jumps_and_the_time_waited_still_counts() {
    let rig = Rig::new().await;
    let names: Vec<String> = (0..30).map(|n| format!("r-{n:02}")).collect();
    rig.send(&names.iter().map(|id| request(id, id)).collect::<Vec<_>>()).await;
    admit(&rig).await;
    let before = rig.row("r-29").await.request;
    wait(60).await;
    assert_eq!(order(&rig, "r-29", Change::Priority(Priority::URGENT)).await, Outcome::Done);
    assert_eq!(order(&rig, "r-29", Change::Priority(Priority::URGENT)).await, Outcome::Unchanged);
    assert_eq!(order(&rig, "r-28", Change::Priority(Priority::HIGH)).await, Outcome::Done);
    assert_eq!(order(&rig, "r-00", Change::Priority(Priority::BULK)).await, Outcome::Done);
    let after = rig.row("r-29").await;
    assert_eq!((after.request.priority, after.request.received_at), (Priority::URGENT, before.received_at));
    assert!(
        after.request.rank < before.rank && after.request.rank.ends_with(before.rank.split_at(16).1),
        "{}",
        after.request.rank
    );
    assert_eq!(after.notes.last().unwrap().what, "priority normal → urgent by ann: not needed");
    rig.worker("w", |settings| {
        settings.plan.queue_depth_threshold = 1;
        settings.plan.max_concurrent = 1;
        settings.call.max_concurrent = 1;
    })
    .run(Stop::default())
    .await;
    let calls = rig.model.calls.lock().unwrap().clone();
    assert_eq!((calls[0].as_str(), calls[1].as_str(), calls[29].as_str()), ("r-29", "r-28", "r-00"), "{calls:?}");
    assert_eq!(order(&rig, "r-01", Change::Priority(Priority::LOW)).await, Outcome::AlreadyFinal(Status::Succeeded));
}

/// The planner moves rows while the walk goes on, two workers at that; what is called ends, what is cancelled is not called, and every
/// request has one end.
#[tokio::test(start_paused = true)]
async fn a_bulk_change_beside_two_workers_loses_nothing() {
    let rig = Rig::new().await;
    let messages: Vec<_> = (0..400).map(|n| of(["acme", "blue"][n % 2], &format!("r-{n}"))).collect();
    rig.send(&messages).await;
    let stop = Stop::default();
    let workers = ["a", "b"].map(|name| rig.worker(name, |settings| settings.until_idle = false));
    let script = async {
        wait(5).await;
        let urgent = Filter { priority: Some(Priorities::Class("normal")), ..tenant("blue") };
        let jumped = order_all(&rig, &urgent, Change::Priority(Priority::URGENT)).await.tally;
        assert!(jumped.changed() > 150, "{jumped:?}");
        wait(2).await;
        let first = order_all(&rig, &tenant("acme"), Change::Cancel).await.tally;
        assert!(first.changed() > 150, "{first:?}");
        wait(5).await;
        let second = order_all(&rig, &tenant("acme"), Change::Cancel).await.tally;
        assert_eq!(second.changed(), 0, "{second:?}");
        wait(300).await;
        stop.intake.cancel();
    };
    let [a, b] = workers;
    tokio::join!(a.run(stop.clone()), b.run(stop.clone()), script);
    let (results, reports) = (rig.results().await, rig.reports().await);
    assert_eq!((results.len(), reports.len()), (400, 400));
    let twice: Vec<_> = results.iter().filter(|(id, r)| r.len() > 1 || reports[*id] > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    for n in 0..400 {
        let id = format!("r-{n}");
        let row = rig.row(&id).await;
        assert!(row.status == Status::Succeeded || (row.status == Status::Cancelled && n % 2 == 0), "{id}: {row:?}");
        assert_eq!(rig.model.calls_of(&id), usize::from(row.status == Status::Succeeded), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_filter_means_what_it_says() {
    let rig = Rig::new().await;
    let with = |id: &str, change: &dyn Fn(&mut Value)| {
        let mut message = of("acme", id);
        change(&mut message);
        message
    };
    rig.send(&[
        with("plain", &|_| {}),
        with("bulk", &|m| m["priority"] = json!("bulk")),
        with("three", &|m| m["priority"] = json!(3)),
        with("urgent", &|m| m["priority"] = json!("urgent")),
        with("micro", &|m| m["model_id"] = json!(MICRO)),
        with("due", &|m| m["deadline"] = json!((START + seconds(3600)).to_string())),
        of("blue", "blue"),
    ])
    .await;
    admit(&rig).await;
    let later = rig.clock.now();
    rig.send(&[of("acme", "late")]).await;
    admit(&rig).await;
    let model = |name: &str| smoother::request::ModelId::new(name).unwrap();
    let acme = || tenant("acme");
    for (filter, expected) in [
        (Filter::default(), 8),
        (acme(), 7),
        (Filter { priority: Some(Priorities::Class("high")), ..acme() }, 1),
        (Filter { priority: Some(Priorities::Class("urgent")), ..acme() }, 1),
        (Filter { priority: Some(Priorities::Number(Priority::BULK)), ..acme() }, 1),
        (Filter { model: Some(model(MICRO)), ..Filter::default() }, 1),
        (Filter { lane: Some(format!("default:us-east-1:{NOVA}")), ..Filter::default() }, 7),
        (Filter { lane: Some("elsewhere".to_owned()), ..Filter::default() }, 0),
        (Filter { use_case: Some("support".to_owned()), ..Filter::default() }, 0),
        (Filter { deadline_before: Some(START + seconds(7200)), ..Filter::default() }, 1),
        (Filter { deadline_before: Some(START + seconds(60)), ..Filter::default() }, 0),
        (Filter { deadline_after: Some(START + seconds(60)), ..Filter::default() }, 1),
        (Filter { received_before: Some(later), ..acme() }, 6),
        (Filter { received_after: Some(later), ..acme() }, 1),
        (Filter { stand: Some(Stand::Received), ..Filter::default() }, 8),
        (Filter { stand: Some(Stand::Queued), ..Filter::default() }, 0),
        (Filter { stand: Some(Stand::Deferred), ..Filter::default() }, 0),
    ] {
        let order = Order { change: Change::Cancel, reason: None };
        let seen =
            jobs(&rig).preview_matching(&filter, &order, &mut |_| {}, &CancellationToken::new()).await.unwrap().tally;
        assert_eq!(seen.changed(), expected, "{filter}");
    }
    assert_eq!(audit::day(&*rig.local.ports.registers, "2026-11-21").await.unwrap(), [], "a look is no change");
    // Those that are so already are not meant.
    let report = order_all(&rig, &acme(), Change::Priority(Priority::BULK)).await;
    assert_eq!(report.tally.changed(), 6);
    assert_eq!(report.tally.by_priority, [("high", 1), ("normal", 4), ("urgent", 1)].into());
    assert_eq!(order_all(&rig, &acme(), Change::Priority(Priority::BULK)).await.tally.met(), 0);
    let events = audit::day(&*rig.local.ports.registers, "2026-11-21").await.unwrap();
    // Two of the same millisecond are in no order.
    let event = &events.iter().find(|entry| !entry.event.outcome.is_empty()).unwrap().event;
    assert_eq!((event.action, &event.target), (Action::Reprioritise, &Target::Matching("tenant acme".to_owned())));
    assert_eq!(event.before.as_deref(), Some("normal 4, high (3) 1, urgent 1"));
    assert_eq!((event.after.as_deref(), event.outcome["changed"]), (Some("bulk"), 6));
}

#[tokio::test(start_paused = true)]
async fn what_was_done_is_on_record_even_if_it_was_cut_short() {
    let rig = Rig::new().await;
    rig.send(&(0..1_200).map(|n| of("acme", &format!("r-{n}"))).collect::<Vec<_>>()).await;
    admit(&rig).await;
    let stop = CancellationToken::new();
    let order = Order { change: Change::Cancel, reason: Some("test".to_owned()) };
    let report = jobs(&rig).change_matching(&tenant("acme"), &order, &mut |_| stop.cancel(), &stop).await.unwrap();
    assert_eq!((report.tally.changed(), report.stopped.as_deref()), (500, Some("interrupted")));
    tokio::time::sleep(Duration::from_millis(5)).await;
    let switch = Switch::new(&rig.local.ports, rig.clock.clone(), Operator::named("bob"));
    switch.pause(Scope::All, Some("night".to_owned()), Some(START + seconds(600))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    switch.resume(&Scope::All, None).await.unwrap();
    let entries = audit::since(&*rig.local.ports.registers, START, rig.clock.now()).await.unwrap();
    let told: Vec<_> =
        entries.iter().map(|e| (e.event.operator.name.as_str(), e.event.action, e.event.reason.as_deref())).collect();
    assert_eq!(
        told,
        [("ann", Action::Cancel, Some("test")), ("bob", Action::Pause, Some("night")), ("bob", Action::Resume, None)]
    );
    assert_eq!((entries[0].event.outcome["changed"], entries[0].event.stopped.as_deref()), (500, Some("interrupted")));
    assert!(Pauses::read(&*rig.local.ports.registers).await.unwrap().in_force(rig.clock.now()).is_empty());
}

/// Bytes of memory in use, where the system tells.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Twenty thousand rows need no more memory than a few, and what is cancelled stands in nobody's way while it is ended.
#[tokio::test(start_paused = true)]
async fn a_bulk_change_of_many_is_a_page_at_a_time_and_holds_nobody_up() {
    const MANY: usize = 20_000;
    let rig = Rig::new().await;
    rig.send(&[of("acme", "acme-model"), of("blue", "blue-model"), of("few", "few-model")]).await;
    admit(&rig).await;
    let add = async |model: &str, tenant: &str, n: usize| {
        let template = rig.row(model).await.request;
        for from in (0..n).step_by(1_000) {
            let rows = (from..n.min(from + 1_000)).map(|n| {
                let id = RequestId::new(format!("{tenant}-{n}")).unwrap();
                let rank = format!("{}{n:08}", template.rank.split_at(32).0);
                smoother::pipeline::lifecycle::admit(smoother::request::Request { id, rank, ..template.clone() })
            });
            for inserted in rig.local.ports.ledger.insert(rows.collect()).await {
                inserted.unwrap();
            }
        }
    };
    add("acme-model", "acme", MANY).await;
    add("blue-model", "blue", 30).await;
    add("few-model", "few", 1_000).await;
    assert_eq!(order_all(&rig, &tenant("few"), Change::Priority(Priority::BULK)).await.tally.changed(), 1_001);
    let before = memory();
    let (mut pages, mut most) = (0, 0);
    let order = Order { change: Change::Cancel, reason: None };
    let mut seen = 0;
    let mut watch = |tally: &smoother::control::jobs::Tally| {
        pages += 1;
        most = most.max(tally.met() - seen);
        seen = tally.met();
    };
    let report = jobs(&rig).change_matching(&tenant("acme"), &order, &mut watch, &CancellationToken::new()).await;
    assert_eq!(report.unwrap().tally.changed(), MANY as u64 + 1);
    assert!(most <= 500 && pages > 40, "{most} in a page, {pages} pages");
    if let (Some(before), Some(after)) = (before, memory()) {
        assert!(after < before + 10_000_000, "{before} bytes grew to {after}");
    }
    while_working(&rig, |settings| settings.plan.interval = seconds(2), async {
        // Four calls at a time of a second each, and the few have their share.
        wait(20).await;
        let called = rig.model.calls.lock().unwrap().iter().filter(|call| call.starts_with("blue")).count();
        assert_eq!(called, 31, "calls in 20 s beside what is being cancelled");
    })
    .await;
    let results = rig.results().await;
    let cancelled = results.values().filter(|r| r[0]["status"] == "CANCELLED").count();
    assert!(cancelled > 2_000, "{cancelled} were ended");
    assert!(results.values().all(|r| r.len() == 1));
    assert_eq!(rig.model.calls.lock().unwrap().iter().filter(|call| call.starts_with("acme")).count(), 0);
}
