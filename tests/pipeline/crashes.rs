//! A worker is killed at every single thing it does to the world, and another takes its place: nothing is lost, nothing
//! ends twice, and all is over within a time that can be told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::mortal::{Kill, Life, When, World};
use crate::rig::{MICRO, Reply, Rig, request};
use crate::seconds;
use serde_json::{Value, json};
use smoother::local;
use smoother::pipeline::fleet::Role;
use smoother::ports::model::CallErrorClass;
use smoother::ports::{Page, Queue, WorkList};
use smoother::retry::Policy;
use smoother::shutdown::Stop;
use smoother::worker::Worker;
use tokio::time::Instant;

const ALL: &[Role] = &[Role::Ingest, Role::Plan, Role::Call];
/// Of input and hold messages. Longer than it takes to find out that a planner is dead, as in production.
const VISIBILITY: Duration = Duration::from_secs(20);
/// When "hurried" is too late.
const DEADLINE: Duration = Duration::from_secs(4);

/// Another plans within this time of a planner's death.
const TAKEOVER: Duration = Duration::from_secs(10);
/// What the scenario takes when nobody dies, with the longest of its random delays.
const UNDISTURBED: Duration = Duration::from_secs(46);
/// For the planner's rounds, the look at whether all is over, and calls that are made again.
const SLACK: Duration = Duration::from_secs(4);
/// Nothing takes that long.
const FOREVER: Duration = Duration::from_mins(30);

/// A request of the scenario: how it may end, and how many calls that takes at most.
struct Expected {
    id: &'static str,
    ends: &'static [&'static str],
    calls: u32,
}

const fn expect(id: &'static str, ends: &'static [&'static str], calls: u32) -> Expected {
    Expected { id, ends, calls }
}

const EXPECTED: [Expected; 12] = [
    expect("urgent", &["SUCCEEDED"], 1),
    expect("normal", &["SUCCEEDED"], 1),
    expect("bulk", &["SUCCEEDED"], 1),
    expect("twice", &["SUCCEEDED"], 1),
    expect("large", &["SUCCEEDED"], 1),
    expect("slow-1", &["SUCCEEDED"], 1),
    expect("slow-2", &["SUCCEEDED"], 1),
    expect("throttled", &["SUCCEEDED"], 2),
    expect("deferred", &["SUCCEEDED"], 2),
    // By whom it is noticed depends on where the crash left it; before its admission it is refused.
    expect("hurried", &["EXPIRED", "SUCCEEDED", "REJECTED"], 1),
    expect("invalid", &["REJECTED"], 0),
    expect("refused", &["FAILED"], 0),
];

/// One call costs more than its tenant may spend in a day.
const NO_MONEY: [(&str, &str); 3] = [
    ("tenants.broke.usd_per_day", "0.01"),
    ("models.\"amazon.nova-lite-v1:0\".input_usd_per_mtok", "10000"),
    ("models.\"amazon.nova-lite-v1:0\".output_usd_per_mtok", "10000"),
];

async fn scenario() -> Rig {
    let settings =
        local::Settings { hold_visibility: VISIBILITY, input_visibility: VISIBILITY, ..local::Settings::default() };
    let rig = Rig::in_memory(settings).await;
    for slow in ["slow-1", "slow-2"] {
        rig.model.on(slow, &[Reply::After(seconds(6))]);
    }
    rig.model.on("large", &[Reply::Large(300_000)]);
    rig.model.on("throttled", &[Reply::Fail(CallErrorClass::ThrottledRequests)]);
    rig.model.on("deferred", &[Reply::Fail(CallErrorClass::Unavailable)]);
    let with = |id: &str, field: &str, value: Value| {
        let mut message = request(id, id);
        message[field] = value;
        message
    };
    rig.send(&[
        with("slow-1", "priority", json!("urgent")),
        with("slow-2", "priority", json!("urgent")),
        with("urgent", "priority", json!("urgent")),
        with("hurried", "deadline", json!((rig.clock.now() + DEADLINE).to_string())),
        request("normal", "normal"),
        with("bulk", "priority", json!("bulk")),
        request("twice", "twice"),
        request("twice", "twice"),
        with("throttled", "model_id", json!(MICRO)),
        with("deferred", "model_id", json!(MICRO)),
        request("large", "large"),
        with("invalid", "prioritee", json!("high")),
        with("refused", "tenant", json!("broke")),
    ])
    .await;
    rig
}

fn worker(rig: &Rig, life: &Arc<Life>, name: &str, roles: &[Role]) -> Worker {
    let (ports, model) = life.lead(&rig.local.ports, &rig.model());
    let money = NO_MONEY.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    rig.worker_on(ports, model, name, money, |settings| {
        settings.roles = roles.iter().copied().collect();
        settings.until_idle = false;
        settings.plan.max_concurrent = 2;
        settings.call.max_concurrent = 2;
        settings.call.visibility = VISIBILITY;
        settings.ingest.visibility = VISIBILITY;
        // The first delay is longer than what is waited out in place.
        settings.call.policy = Policy { base: seconds(24), ..settings.call.policy };
    })
}

/// One run of the scenario.
struct Played {
    /// The effects of the first worker.
    effects: usize,
    /// What the workers died of that were to be killed and were.
    deaths: Vec<String>,
    /// From the beginning or the last kill to the end.
    took: Duration,
    faults: Vec<String>,
}

/// Plays the scenario on workers of these roles, each killed as told and followed by the next, the last one living on;
/// one more worker has the other roles and lives all along.
async fn play(roles: &[Role], kills: &[Kill]) -> Played {
    let rig = scenario().await;
    let world = Arc::new(World::default());
    let stop = Stop::default();
    let mut lives: Vec<(String, Arc<Life>)> = Vec::new();
    for (n, kill) in kills.iter().copied().map(Some).chain([None]).enumerate() {
        let name = format!("worker-{n}");
        lives.push((name.clone(), Life::new(&name, kill, &world)));
    }
    let rest: Vec<Role> = ALL.iter().copied().filter(|role| !roles.contains(role)).collect();
    let other = Life::new("other", None, &world);
    let mut since = Instant::now();
    let mut deaths = Vec::new();
    let line = async {
        for (name, life) in &lives {
            let mut run = Box::pin(worker(&rig, life, name, roles).run(stop.clone()));
            tokio::select! {
                () = &mut run => break,
                () = life.died() => {}
            }
            drop(run);
            since = Instant::now();
            deaths.push(life.cause());
        }
    };
    let others = async {
        if !rest.is_empty() {
            Box::pin(worker(&rig, &other, "other", &rest).run(stop.clone())).await;
        }
    };
    let mut faults = Vec::new();
    let watch = async {
        let over = async {
            while !is_over(&rig, &world).await {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        if tokio::time::timeout(FOREVER, over).await.is_err() {
            faults.push(format!("it has not ended after {FOREVER:?}"));
        }
        stop.intake.cancel();
        Instant::now()
    };
    let ((), (), ended) = tokio::join!(line, others, watch);
    let took = ended - since;
    let victims: Vec<&str> = lives.iter().map(|(name, _)| name.as_str()).take(deaths.len()).collect();
    check(&rig, &world, &victims, &mut faults).await;
    Played { effects: lives[0].1.effects(), deaths, took, faults }
}

/// All is final, and no message is left.
async fn is_over(rig: &Rig, world: &World) -> bool {
    if world.ends().len() < EXPECTED.len() {
        return false;
    }
    let ports = &rig.local.ports;
    is_empty(&*ports.input).await && is_empty(&*ports.hold).await && is_empty(&*ports.dead).await
}

async fn is_empty(queue: &dyn Queue) -> bool {
    let depth = queue.depth().await.unwrap();
    depth.visible + depth.in_flight == 0
}

/// What must be true of every run at its end.
async fn check(rig: &Rig, world: &World, victims: &[&str], faults: &mut Vec<String>) {
    let mut wrong = |holds: bool, what: String| {
        if !holds {
            faults.push(what);
        }
    };
    let ids: BTreeSet<&str> = EXPECTED.iter().map(|expected| expected.id).collect();
    let (ends, reports, results) = (world.ends(), rig.reports().await, rig.results().await);
    let once: BTreeMap<String, u32> = ids.iter().map(|id| ((*id).to_owned(), 1)).collect();
    wrong(ends == once, format!("rows became final so often: {ends:?}"));
    let reported: BTreeMap<&str, usize> = reports.iter().map(|(id, n)| (id.as_str(), *n)).collect();
    wrong(reported == ids.iter().map(|id| (*id, 1)).collect(), format!("reports: {reports:?}"));
    wrong(results.keys().map(String::as_str).eq(ids.iter().copied()), format!("results of {:?}", results.keys()));
    for Expected { id, ends, calls } in &EXPECTED {
        let row = rig.row(id).await;
        let status = row.status.as_str();
        wrong(ends.contains(&status), format!("{id} is {row:?}"));
        let mut told = results.get(*id).into_iter().flatten();
        wrong(told.all(|result| result["status"] == status), format!("{id} is {status}, told was {results:?}"));
        let recorded = row.attempts + row.throttles;
        wrong(recorded <= *calls, format!("{id} was called {recorded} times by its row"));
        let lost: u32 = victims.iter().map(|victim| world.unrecorded(victim, id)).sum();
        let made = world.calls(id);
        wrong(made == recorded + lost, format!("{id}: {made} calls, {recorded} recorded, {lost} lost by kills"));
        wrong(made <= calls + u32::try_from(victims.len()).unwrap(), format!("{id}: {made} calls"));
    }
    for list in lists(rig).await {
        let left = rig.local.ports.ledger.list(&list, Page::first(10)).await.unwrap();
        wrong(left.is_empty(), format!("{list:?} still has {left:?}"));
    }
    for queue in [&rig.local.ports.input, &rig.local.ports.hold, &rig.local.ports.dead] {
        wrong(is_empty(&**queue).await, format!("{} is not empty", queue.name()));
    }
}

async fn lists(rig: &Rig) -> Vec<WorkList> {
    let flows = rig.local.ports.ledger.flows(None).await.unwrap();
    flows.into_iter().map(WorkList::Ready).chain([WorkList::Deferred, WorkList::Held]).collect()
}

/// How long it may take from the last kill to the end of everything. At worst all of the work is still to be done, and
/// what the dead had taken has to become visible again; who only plans has taken nothing, but must be missed first.
/// Never is anything left that has to wait for `overdue_after`, which is ten minutes here.
fn bound(roles: &[Role]) -> Duration {
    let recovery = if roles == [Role::Plan] { TAKEOVER } else { VISIBILITY };
    recovery + UNDISTURBED + SLACK
}

/// Which of a victim's effects are tried.
#[derive(Clone, Copy)]
struct Every {
    first: usize,
    step: usize,
}

/// Kills a worker of these roles at its effects one after the other, until a run ends before the next of them.
#[expect(clippy::print_stdout, reason = "how tight the bound is, for who runs it with --nocapture")]
async fn sweep(roles: &[Role], when: When, every: Every) {
    let undisturbed = play(roles, &[]).await;
    assert!(undisturbed.faults.is_empty(), "without any kill: {:#?}", undisturbed.faults);
    assert!(undisturbed.took <= UNDISTURBED, "without any kill it took {:?}", undisturbed.took);
    let (mut at, mut longest, mut runs) = (every.first, Duration::ZERO, 0);
    loop {
        let played = play(roles, &[Kill { at, when }]).await;
        if played.deaths.is_empty() {
            break;
        }
        judge(&played, roles, &format!("{when:?} effect {at}"));
        longest = longest.max(played.took);
        at += every.step;
        runs += 1;
    }
    // It died everywhere, not only at the beginning.
    assert!(at + every.step > undisturbed.effects / 2, "{runs} kills, the last before effect {at}");
    println!("{roles:?} {when:?}: {runs} kills, over after {longest:?} at most, allowed are {:?}", bound(roles));
}

fn judge(played: &Played, roles: &[Role], kill: &str) {
    let deaths = played.deaths.join(", then at: ");
    assert!(played.faults.is_empty(), "{roles:?} killed {kill}, at: {deaths}\n{:#?}", played.faults);
    assert!(played.took <= bound(roles), "{roles:?} killed {kill}, at: {deaths}\nit took {:?} from there", played.took);
}

/// Two workers die, the second while it takes over from the first.
async fn sweep_pairs(first: Every, second: Every, pairs: usize) {
    for n in 0..pairs {
        let (a, b) = (first.first + n * first.step, second.first + n * second.step);
        let when = |n: usize| if n.is_multiple_of(2) { When::Before } else { When::After };
        let kills = [Kill { at: a % 160, when: when(n) }, Kill { at: 1 + b % 120, when: when(n / 2) }];
        let played = play(ALL, &kills).await;
        judge(&played, ALL, &format!("{kills:?}"));
    }
}

// A few of the effects in every run of the tests, all of them (about four minutes) with
// cargo test --test pipeline crashes -- --ignored --nocapture

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_killed_before_an_effect_is_replaced() {
    sweep(ALL, When::Before, Every { first: 1, step: 6 }).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_killed_after_an_effect_is_replaced() {
    sweep(ALL, When::After, Every { first: 4, step: 6 }).await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_of_one_role_that_is_killed_is_replaced() {
    for role in ALL {
        sweep(&[*role], When::Before, Every { first: 2, step: 11 }).await;
        sweep(&[*role], When::After, Every { first: 7, step: 11 }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_killed_while_it_takes_over_is_replaced() {
    sweep_pairs(Every { first: 3, step: 13 }, Every { first: 1, step: 29 }, 16).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "all effects: minutes"]
async fn killed_before_every_effect() {
    for roles in [ALL, &[Role::Ingest], &[Role::Plan], &[Role::Call]] {
        sweep(roles, When::Before, Every { first: 1, step: 1 }).await;
    }
}

#[tokio::test(start_paused = true)]
#[ignore = "all effects: minutes"]
async fn killed_after_every_effect() {
    for roles in [ALL, &[Role::Ingest], &[Role::Plan], &[Role::Call]] {
        sweep(roles, When::After, Every { first: 1, step: 1 }).await;
    }
}

#[tokio::test(start_paused = true)]
#[ignore = "many pairs of effects: minutes"]
async fn killed_twice_at_many_effects() {
    sweep_pairs(Every { first: 1, step: 7 }, Every { first: 1, step: 37 }, 300).await;
}
