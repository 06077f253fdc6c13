//! What operators do about requests that take workers down.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::mortal::{Kill, Life, When, World};
use crate::rig::{Reply, Rig, request};
use crate::seconds;
use smoother::control::dead_letters::{Content, DeadLetters, Fate, Handled, Which};
use smoother::local;
use smoother::pipeline::fleet::Role;
use smoother::pipeline::lifecycle;
use smoother::ports::Outgoing;
use smoother::request::Status;
use smoother::shutdown::Stop;

/// Three workers die of the request "poison".
async fn three_die(rig: &Rig) {
    for life in 0..3 {
        let worker = rig.worker(&format!("victim-{life}"), |_| {});
        assert!(tokio::time::timeout(seconds(30), worker.run(Stop::default())).await.is_err());
        tokio::time::sleep(seconds(61)).await;
    }
}

/// Three workers die of the request "poison"; the fourth gives it up, and finishes all else.
async fn poisoned(rig: &Rig) {
    three_die(rig).await;
    rig.run().await;
}

/// A rig with a request that has just become poison, and the dead-letter queue of it.
async fn with_poison(hangs: usize) -> (Rig, DeadLetters) {
    let rig = Rig::in_memory(local::Settings::default()).await;
    rig.model.on("poison", &vec![Reply::Hang; hangs]);
    rig.send(&[request("poison", "poison"), request("fine", "fine")]).await;
    poisoned(&rig).await;
    let row = rig.row("poison").await;
    assert_eq!((row.status, row.outcome.unwrap().error.unwrap().kind.as_str()), (Status::Failed, "Poison"));
    let letters = DeadLetters::new(&rig.local.ports, rig.clock.clone());
    (rig, letters)
}

fn named(id: &str) -> Which {
    Which::Named(BTreeSet::from([id.to_owned()]))
}

fn fates(handled: &[Handled]) -> Vec<(&str, Fate)> {
    let mut fates: Vec<_> = handled.iter().map(|h| (h.name.as_str(), h.fate)).collect();
    fates.sort_unstable();
    fates
}

async fn dead(rig: &Rig) -> (u64, u64) {
    let depth = rig.local.ports.dead.depth().await.unwrap();
    (depth.visible, depth.in_flight)
}

#[tokio::test(start_paused = true)]
async fn poison_that_is_redriven_succeeds_and_is_told_again() {
    let (rig, letters) = with_poison(3).await;
    let listing = letters.list(10).await.unwrap();
    let [letter] = listing.letters.as_slice() else { panic!("not one: {listing:?}") };
    assert_eq!((letter.name(), letter.row().unwrap().status, listing.more), ("poison", Status::Failed, false));
    assert_eq!(dead(&rig).await, (1, 0), "a look hands back what it took");

    let before = rig.row("poison").await;
    let would = letters.redrive(&Which::All, "ann@desk", true).await.unwrap();
    assert_eq!(fates(&would), [("poison", Fate::Revived)]);
    assert_eq!((rig.row("poison").await, dead(&rig).await), (before.clone(), (1, 0)), "a dry run changes nothing");

    assert!(letters.redrive(&named("fine"), "ann@desk", false).await.unwrap().is_empty());
    let done = letters.redrive(&named("poison"), "ann@desk", false).await.unwrap();
    assert_eq!(fates(&done), [("poison", Fate::Revived)]);
    let row = rig.row("poison").await;
    assert_eq!((row.status, row.claims, row.outcome), (Status::Received, 0, None));
    let note = &row.notes.last().unwrap().what;
    assert!(note.starts_with("put back into line by ann@desk; it had failed as Poison"), "{note}");
    assert_eq!(dead(&rig).await, (0, 0));

    rig.run().await;
    assert_eq!(rig.row("poison").await.status, Status::Succeeded);
    let results = rig.results().await;
    let told: Vec<_> = results["poison"].iter().map(|result| result["status"].as_str().unwrap()).collect();
    assert_eq!(told, ["FAILED", "SUCCEEDED"]);
    let reports = rig.reports().await;
    assert_eq!((reports["poison"], reports["fine"], rig.model.calls_of("fine")), (2, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_poison_rule_counts_anew_after_a_redrive() {
    let (rig, letters) = with_poison(6).await;
    letters.redrive(&Which::All, "ann", false).await.unwrap();
    poisoned(&rig).await;
    let row = rig.row("poison").await;
    assert_eq!((row.status, rig.model.calls_of("poison")), (Status::Failed, 6));
    let failure = row.outcome.unwrap().error.unwrap();
    assert!(failure.message.starts_with("3 workers"), "{failure:?}");
    assert_eq!(dead(&rig).await, (1, 0));
}

/// A kill between the row and the message: whoever comes next deletes the message, and the row is not touched twice.
#[tokio::test(start_paused = true)]
async fn a_redrive_that_was_cut_short_can_be_repeated() {
    let (rig, letters) = with_poison(3).await;
    let row = rig.row("poison").await;
    let revival = lifecycle::revive(&row, "ann", rig.clock.now());
    rig.local.ports.ledger.apply(vec![revival]).await.remove(0).unwrap();
    let revived = rig.row("poison").await;
    let repeat = letters.redrive(&Which::All, "bob", false).await.unwrap();
    assert_eq!(fates(&repeat), [("poison", Fate::LeftOver)]);
    assert_eq!((rig.row("poison").await, dead(&rig).await), (revived, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn what_the_planner_has_not_decided_is_left_to_it() {
    let rig = Rig::new().await;
    rig.model.on("slow", &[Reply::Hang]);
    rig.send(&[request("slow", "slow")]).await;
    assert!(tokio::time::timeout(seconds(30), rig.worker("victim", |_| {}).run(Stop::default())).await.is_err());
    for _ in 0..2 {
        tokio::time::sleep(seconds(61)).await;
        assert_eq!(rig.local.ports.hold.receive(1, Duration::ZERO).await.unwrap().len(), 1);
    }
    tokio::time::sleep(seconds(61)).await;
    assert!(rig.local.ports.hold.receive(1, Duration::ZERO).await.unwrap().is_empty(), "it moves on");
    let letters = DeadLetters::new(&rig.local.ports, rig.clock.clone());
    for handled in
        [letters.redrive(&Which::All, "ann", false).await.unwrap(), letters.purge(&Which::All, false).await.unwrap()]
    {
        assert_eq!(fates(&handled), [("slow", Fate::Undecided)]);
    }
    assert_eq!(dead(&rig).await, (1, 0));
    rig.run().await;
    assert_eq!((rig.row("slow").await.status, dead(&rig).await), (Status::Succeeded, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn foreign_messages_are_shown_and_only_purged() {
    let (rig, letters) = with_poison(3).await;
    let foreign: Vec<_> = (0..25).map(|n| Outgoing { body: format!("foreign {n}"), ..Outgoing::default() }).collect();
    rig.local.ports.dead.send(foreign).await;
    let first = letters.list(20).await.unwrap();
    assert_eq!((first.letters.len(), first.more), (20, true));
    let all = letters.list(26).await.unwrap();
    assert_eq!((all.letters.len(), all.more), (26, false));
    let one = all.letters.iter().find(|l| matches!(&l.content, Content::Foreign(body) if body == "foreign 7")).unwrap();
    let found = letters.find(one.name()).await.unwrap();
    assert!(matches!(found.as_slice(), [l] if matches!(&l.content, Content::Foreign(body) if body == "foreign 7")));

    let redriven = letters.redrive(&Which::All, "ann", false).await.unwrap();
    let stay = redriven.iter().filter(|h| h.fate == Fate::Foreign).count();
    assert_eq!((stay, redriven.len(), dead(&rig).await), (25, 26, (25, 0)));
    assert_eq!(letters.purge(&named(one.name()), false).await.unwrap().len(), 1);
    assert_eq!(letters.purge(&Which::All, true).await.unwrap().len(), 24);
    assert_eq!(dead(&rig).await, (24, 0));
    assert_eq!(letters.purge(&Which::All, false).await.unwrap().len(), 24);
    assert_eq!(dead(&rig).await, (0, 0));
    assert_eq!(rig.row("poison").await.status, Status::Received);
}

#[tokio::test(start_paused = true)]
async fn a_purge_leaves_the_row_as_it_is() {
    let (rig, letters) = with_poison(3).await;
    let before = rig.row("poison").await;
    assert_eq!(fates(&letters.purge(&Which::All, false).await.unwrap()), [("poison", Fate::Purged)]);
    assert_eq!((rig.row("poison").await, dead(&rig).await), (before, (0, 0)));
    assert!(letters.redrive(&Which::All, "ann", false).await.unwrap().is_empty());
}

/// The third worker need not be lost at the third receive of one message. Whichever pass through the hold queue it is in,
/// and even when nobody was there for longer than rows are waited for: there is something to redrive.
#[tokio::test(start_paused = true)]
async fn poison_has_a_dead_letter_however_it_came_about() {
    for away in [61, 700] {
        let rig = Rig::in_memory(local::Settings::default()).await;
        rig.model.on("poison", &[const { Reply::Hang }; 3]);
        rig.send(&[request("poison", "poison")]).await;
        let life = async |name: &str, roles: &[Role], lived: u64| {
            let worker = rig.worker(name, |settings| settings.roles = roles.iter().copied().collect());
            assert!(tokio::time::timeout(seconds(lived), worker.run(Stop::default())).await.is_err());
        };
        life("planner", &[Role::Ingest, Role::Plan], 5).await;
        // Somebody receives it and is gone before the claim.
        assert_eq!(rig.local.ports.hold.receive(1, Duration::ZERO).await.unwrap().len(), 1);
        tokio::time::sleep(seconds(61)).await;
        let all = [Role::Ingest, Role::Plan, Role::Call];
        for (name, away) in [("victim-0", 61), ("victim-1", 61), ("victim-2", away)] {
            life(name, &all, 30).await;
            tokio::time::sleep(seconds(away)).await;
        }
        rig.run().await;
        let row = rig.row("poison").await;
        assert_eq!((row.status, rig.model.calls_of("poison")), (Status::Failed, 3), "{row:?}");
        assert_eq!(rig.results().await["poison"].len(), 1);
        assert_eq!(dead(&rig).await, (1, 0), "away for {away} s: {:?}", row.notes);
        let letters = DeadLetters::new(&rig.local.ports, rig.clock.clone());
        assert_eq!(fates(&letters.redrive(&Which::All, "ann", false).await.unwrap()), [("poison", Fate::Revived)]);
        rig.run().await;
        assert_eq!((rig.row("poison").await.status, dead(&rig).await), (Status::Succeeded, (0, 0)));
    }
}

/// Runs a worker that is killed as told, and one after it until nothing is left; whether the first one died.
async fn killed_and_replaced(rig: &Rig, kill: Kill) -> bool {
    let life = Life::new("victim-3", Some(kill), &Arc::new(World::default()));
    let (ports, model) = life.lead(&rig.local.ports, &rig.model());
    let mut run = Box::pin(rig.worker_on(ports, model, "victim-3", Vec::new(), |_| {}).run(Stop::default()));
    let died = tokio::select! {
        () = &mut run => false,
        () = life.died() => true,
    };
    drop(run);
    rig.run().await;
    died
}

/// Whoever decides about a dead letter is killed at one step of it after the other.
#[tokio::test(start_paused = true)]
async fn a_kill_while_poison_is_given_up_leaves_it_poison() {
    for (first, when) in [(1, When::Before), (2, When::After)] {
        for at in (first..).step_by(3) {
            let rig = Rig::in_memory(local::Settings::default()).await;
            rig.model.on("poison", &[const { Reply::Hang }; 3]);
            rig.send(&[request("poison", "poison")]).await;
            three_die(&rig).await;
            let died = killed_and_replaced(&rig, Kill { at, when }).await;
            let row = rig.row("poison").await;
            let kind = row.outcome.as_ref().and_then(|o| o.error.as_ref()).map(|e| e.kind.as_str());
            assert_eq!((row.status, kind), (Status::Failed, Some("Poison")), "{when:?} {at}: {row:?}");
            assert_eq!(rig.reports().await["poison"], 1, "{when:?} {at}");
            let results = rig.results().await;
            assert!(results["poison"].iter().all(|r| r["error"]["type"] == "Poison"), "{when:?} {at}: {results:?}");
            assert_eq!(rig.model.calls_of("poison"), 3, "{when:?} {at}");
            // The dead letter itself may be in the hands of the dead for a while.
            tokio::time::sleep(seconds(61)).await;
            assert!(dead(&rig).await.0 >= 1, "{when:?} {at}: nothing is left to redrive");
            if !died {
                assert!(at > 10, "it ended after {at} effects");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_redrive_that_is_killed_at_any_step_can_be_repeated() {
    for when in [When::Before, When::After] {
        for at in 1.. {
            let (rig, letters) = with_poison(3).await;
            let life = Life::new("operator", Some(Kill { at, when }), &Arc::new(World::default()));
            let (ports, _) = life.lead(&rig.local.ports, &rig.model());
            let mortal = DeadLetters::new(&ports, rig.clock.clone());
            let died = tokio::select! {
                done = mortal.redrive(&Which::All, "ann", false) => {
                    assert_eq!(fates(&done.unwrap()), [("poison", Fate::Revived)]);
                    false
                }
                () = life.died() => true,
            };
            tokio::time::sleep(seconds(61)).await;
            letters.redrive(&Which::All, "bob", false).await.unwrap();
            let row = rig.row("poison").await;
            assert_eq!((row.status, row.claims, dead(&rig).await), (Status::Received, 0, (0, 0)), "{when:?} {at}");
            let revivals = row.notes.iter().filter(|note| note.what.starts_with("put back into line")).count();
            assert_eq!(revivals, 1, "{when:?} {at}: {:?}", row.notes);
            rig.run().await;
            assert_eq!(rig.row("poison").await.status, Status::Succeeded, "{when:?} {at}");
            if !died {
                assert!(at > 3, "it ended after {at} effects");
                break;
            }
        }
    }
}
