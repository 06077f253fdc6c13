//! `ports::ledger`: conditional writes.

use std::sync::Arc;

use smoother::clock::Timestamp;
use smoother::pipeline::lifecycle;
use smoother::ports::ledger::Patch;
use smoother::ports::{Applied, Ledger, Page, Transition, WorkList};
use smoother::request::{Failure, ModelId, Outcome, Priority, Request, RequestId, Row, Status, Tenant, Verdict};
use tokio::task::JoinSet;

use crate::Fixture;
use crate::support::{eventually, held, id, inserted, lane, note, outcome, ready, row, transition};

async fn apply(ledger: &dyn Ledger, transition: Transition) -> Applied {
    let mut results = ledger.apply(vec![transition]).await;
    assert_eq!(results.len(), 1);
    results.remove(0).unwrap()
}

async fn done(ledger: &dyn Ledger, transition: Transition) -> Row {
    match apply(ledger, transition).await {
        Applied::Done(row) => *row,
        Applied::Refused(row) => panic!("refused: {row:?}"),
    }
}

fn queueing(id: &RequestId, ticket: &str) -> Transition {
    let mut transition = transition(id, &[Status::Received], Status::Queued, Some(held(5_000)));
    transition.set = Patch { ticket: Some(ticket.to_owned()), queued_at: Some(Timestamp(7)), ..Patch::default() };
    transition
}

fn claiming(id: &RequestId, ticket: &str, claim: &str) -> Transition {
    let mut transition = transition(id, &[Status::Queued], Status::Running, Some(held(6_000)));
    transition.if_ticket = Some(ticket.to_owned());
    transition.set =
        Patch { add_claims: 1, claim: Some((claim.to_owned(), format!("worker of {claim}"))), ..Patch::default() };
    transition
}

/// Sets a condition that does not hold.
type Guard = fn(&mut Transition);

/// A row in the hold queue, waiting for ticket `t1`.
async fn queued(ledger: &dyn Ledger) -> Row {
    let lane = lane();
    let row = inserted(ledger, &lane, ready(&lane, "1")).await;
    done(ledger, queueing(&row.request.id, "t1")).await
}

pub async fn a_transition_changes_what_it_says(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    let before = inserted(ledger, &lane, ready(&lane, "1")).await;
    let id = &before.request.id;
    let failure = Failure { kind: "X".to_owned(), message: "m".to_owned(), retryable: true, field: None };
    let verdict = Verdict { status: Status::Cancelled, failure };
    let mut change = queueing(id, "t1");
    change.at = Timestamp(1_795_252_300_001);
    change.set = Patch {
        ticket: Some("t1".to_owned()),
        claim: Some(("c1".to_owned(), "w1".to_owned())),
        add_claims: 1,
        add_attempts: 2,
        add_throttles: 3,
        queued_at: Some(Timestamp(11)),
        claimed_at: Some(Timestamp(12)),
        started_at: Some(Timestamp(12)),
        first_started_at: Some(Timestamp(10)),
        not_before: Some(Timestamp(13)),
        note: Some(note(14, "noted")),
        request: None,
        verdict: Some(verdict.clone()),
        at_risk: Some(Timestamp(15)),
        outcome: None,
        clear_outcome: false,
    };
    let wanted = Row {
        status: Status::Queued,
        updated_at: Timestamp(1_795_252_300_001),
        ticket: Some("t1".to_owned()),
        claim: Some("c1".to_owned()),
        worker: Some("w1".to_owned()),
        claims: 1,
        attempts: 2,
        throttles: 3,
        queued_at: Some(Timestamp(11)),
        first_queued_at: Some(Timestamp(11)),
        claimed_at: Some(Timestamp(12)),
        started_at: Some(Timestamp(12)),
        first_started_at: Some(Timestamp(10)),
        not_before: Some(Timestamp(13)),
        notes: vec![note(14, "noted")],
        verdict: Some(verdict),
        at_risk: Some(Timestamp(15)),
        ..before.clone()
    };
    assert_eq!(done(ledger, change).await, wanted);
    assert_eq!(ledger.get(id).await.unwrap().as_ref(), Some(&wanted));

    let mut finish = transition(id, &[Status::Queued], Status::Succeeded, None);
    finish.set.outcome = Some(outcome(15));
    finish.set.add_attempts = 1;
    finish.set.add_claims = -1;
    // The first times stay.
    finish.set.queued_at = Some(Timestamp(21));
    finish.set.first_started_at = Some(Timestamp(22));
    let finished = done(ledger, finish).await;
    let wanted = Row {
        status: Status::Succeeded,
        updated_at: finished.updated_at,
        claims: 0,
        attempts: 3,
        queued_at: Some(Timestamp(21)),
        outcome: Some(outcome(15)),
        ..wanted
    };
    assert_eq!(finished, wanted);
    assert_eq!(ledger.get(id).await.unwrap(), Some(wanted));
}

pub async fn a_request_can_be_replaced(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    let mut before = row(id("replaced"), &lane);
    before.request.use_case = Some("summaries".to_owned());
    let work = ready(&lane, "1");
    assert!(ledger.insert(vec![(before.clone(), Some(work))]).await.remove(0).is_ok());
    let request = Request {
        model_id: ModelId::new("amazon.nova-micro-v1:0").unwrap(),
        lane: crate::support::lane(),
        use_case: None,
        tenant: Tenant::new("other").unwrap(),
        priority: Priority::URGENT,
        deadline: Some(Timestamp(1_795_252_999_999)),
        estimate: smoother::request::Estimate { input_tokens: 5, max_output_tokens: 6 },
        rank: "0#7".to_owned(),
        ..before.request.clone()
    };
    let list = WorkList::Ready(request.flow());
    let place = smoother::ports::Work { list: list.clone(), sort: "0#7".to_owned() };
    let mut change = transition(&request.id, &[Status::Received], Status::Received, Some(place));
    change.set.request = Some(Box::new(request.clone()));
    let after = done(ledger, change).await;
    assert_eq!(after, Row { request: request.clone(), updated_at: after.updated_at, ..before });
    assert_eq!(ledger.get(&request.id).await.unwrap(), Some(after));
    let item =
        eventually("the item in its new list", async || ledger.list(&list, Page::first(10)).await.unwrap().pop()).await;
    assert_eq!((item.flow, item.rank), (request.flow(), request.rank));
    assert_eq!((item.priority, item.deadline, item.estimate), (request.priority, request.deadline, request.estimate));
}

pub async fn what_changed_since_it_was_read_is_refused(fixture: &Fixture) {
    let ledger = &*fixture.ports.ledger;
    let read = queued(ledger).await;
    let id = &read.request.id;
    let change = |at: u64| {
        let mut change = transition(id, &[Status::Queued], Status::Queued, Some(held(at)));
        change.if_updated_at = Some(read.updated_at);
        change.at = Timestamp(read.updated_at.0 + at);
        change
    };
    let changed = done(ledger, change(1)).await;
    assert_eq!(apply(ledger, change(2)).await, Applied::Refused(Some(Box::new(changed))));
}

pub async fn what_a_patch_leaves_out_stays(fixture: &Fixture) {
    let ledger = &*fixture.ports.ledger;
    let before = queued(ledger).await;
    let id = &before.request.id;
    let mut fill = claiming(id, "t1", "c1");
    fill.set.add_attempts = 1;
    fill.set.add_throttles = 1;
    fill.set.started_at = Some(Timestamp(8));
    fill.set.not_before = Some(Timestamp(9));
    fill.set.note = Some(note(1, "x"));
    let before = done(ledger, fill).await;
    let after = done(ledger, transition(id, &[Status::Running], Status::Running, Some(held(7_000)))).await;
    assert_eq!(after, Row { updated_at: after.updated_at, ..before });
    assert_eq!(ledger.get(id).await.unwrap(), Some(after));
}

pub async fn notes_are_appended_in_order(fixture: &Fixture) {
    let ledger = &*fixture.ports.ledger;
    let row = queued(ledger).await;
    let notes: Vec<_> = (0..20).map(|n| note(n, &format!("note {n} “ünï”"))).collect();
    for note in &notes {
        let mut change = transition(&row.request.id, &[Status::Queued], Status::Queued, Some(held(5_000)));
        change.set.note = Some(note.clone());
        done(ledger, change).await;
    }
    assert_eq!(ledger.get(&row.request.id).await.unwrap().unwrap().notes, notes);
}

pub async fn an_unknown_row_is_refused(fixture: &Fixture) {
    let ledger = &*fixture.ports.ledger;
    let id = id("none");
    assert_eq!(apply(ledger, queueing(&id, "t1")).await, Applied::Refused(None));
    assert_eq!(ledger.get(&id).await.unwrap(), None, "a refused transition made a row");
}

pub async fn every_guard_refuses_and_changes_nothing(fixture: &Fixture) {
    let ledger = &*fixture.ports.ledger;
    let row = queued(ledger).await;
    let id = &row.request.id;
    let attempt = || {
        let mut change = claiming(id, "t1", "c1");
        change.if_ticket = None;
        change.set.note = Some(note(1, "must not appear"));
        change
    };
    let guarded: [(&str, Guard); 8] = [
        ("from", |t| t.from = &[Status::Received, Status::Running]),
        ("from nothing", |t| t.from = &[]),
        ("ticket", |t| t.if_ticket = Some("t2".to_owned())),
        ("ticket prefix", |t| t.if_ticket = Some("t".to_owned())),
        ("claim of an unclaimed row", |t| t.if_claim = Some("c1".to_owned())),
        ("work sort", |t| t.if_work = Some(held(5_001))),
        ("work list", |t| t.if_work = Some(ready(&lane(), &held(5_000).sort))),
        ("one guard of several", |t| {
            t.if_ticket = Some("t1".to_owned());
            t.if_work = Some(held(4_000));
        }),
    ];
    for (name, guard) in guarded {
        let mut change = attempt();
        guard(&mut change);
        assert_eq!(apply(ledger, change).await, Applied::Refused(Some(Box::new(row.clone()))), "{name}");
        assert_eq!(ledger.get(id).await.unwrap().as_ref(), Some(&row), "{name}");
    }
    let claimed = done(ledger, attempt()).await;
    let mut foreign = transition(id, &[Status::Running], Status::Succeeded, None);
    foreign.if_claim = Some("c2".to_owned());
    foreign.set.outcome = Some(outcome(1));
    assert_eq!(apply(ledger, foreign).await, Applied::Refused(Some(Box::new(claimed.clone()))));
    assert_eq!(ledger.get(id).await.unwrap(), Some(claimed));
}

pub async fn matching_guards_let_pass(fixture: &Fixture) {
    let ledger = &*fixture.ports.ledger;
    let row = queued(ledger).await;
    let mut claim = claiming(&row.request.id, "t1", "c1");
    claim.if_work = Some(held(5_000));
    let claimed = done(ledger, claim).await;
    assert_eq!((claimed.claims, claimed.claim.as_deref()), (1, Some("c1")));
    let mut finish = transition(&row.request.id, &[Status::Running], Status::Succeeded, None);
    finish.if_ticket = Some("t1".to_owned());
    finish.if_claim = Some("c1".to_owned());
    finish.if_work = Some(held(6_000));
    finish.set.outcome = Some(outcome(1));
    assert_eq!(done(ledger, finish).await.status, Status::Succeeded);
}

pub async fn any_of_several_statuses_will_do(fixture: &Fixture) {
    let ledger = &*fixture.ports.ledger;
    let row = queued(ledger).await;
    let any = &[Status::Received, Status::Queued, Status::Running];
    let mut cancel = transition(&row.request.id, any, Status::Cancelled, None);
    cancel.set.outcome = Some(outcome(1));
    assert_eq!(done(ledger, cancel.clone()).await.status, Status::Cancelled);
    assert!(matches!(apply(ledger, cancel).await, Applied::Refused(Some(_))));
}

pub async fn a_batch_of_transitions_answers_each(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    let rows: Vec<_> = (0..130).map(|n| row(id(&format!("batch{n}")), &lane)).collect();
    // Every seventh is missing, every fifth is not in the status that the transition asks for.
    let kept = rows.iter().enumerate().filter(|(n, _)| n % 7 != 0);
    let placed = kept.map(|(n, row)| (row.clone(), Some(ready(&lane, &format!("{n:04}"))))).collect();
    assert!(ledger.insert(placed).await.iter().all(Result::is_ok));
    let transitions = rows.iter().enumerate().map(|(n, row)| {
        let mut change = queueing(&row.request.id, &format!("ticket {n}"));
        if n % 5 == 0 {
            change.from = &[Status::Running];
        }
        change
    });
    let answers = ledger.apply(transitions.collect()).await;
    assert_eq!(answers.len(), 130);
    for (n, (answer, row)) in answers.into_iter().zip(rows).enumerate() {
        let now = ledger.get(&row.request.id).await.unwrap();
        match answer.unwrap() {
            Applied::Refused(None) => assert!(n % 7 == 0 && now.is_none(), "{n}"),
            Applied::Refused(Some(same)) => assert!(n % 5 == 0 && *same == row && now == Some(row), "{n}"),
            Applied::Done(changed) => {
                assert!(n % 5 != 0 && n % 7 != 0, "{n}");
                assert_eq!(changed.ticket, Some(format!("ticket {n}")));
                assert_eq!(now, Some(*changed));
            }
        }
    }
    assert!(ledger.apply(vec![]).await.is_empty());
}

pub async fn of_concurrent_claims_one_wins(fixture: &Fixture) {
    let row = queued(&*fixture.ports.ledger).await;
    let mut racing = JoinSet::new();
    for n in 0..8 {
        let ledger = Arc::clone(&fixture.ports.ledger);
        let claim = claiming(&row.request.id, "t1", &format!("c{n}"));
        racing.spawn(async move { apply(&*ledger, claim).await });
    }
    let answers = racing.join_all().await;
    let winners: Vec<_> = answers.iter().filter(|answer| matches!(answer, Applied::Done(_))).collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    let now = fixture.ports.ledger.get(&row.request.id).await.unwrap().unwrap();
    assert_eq!(now.claims, 1);
    for answer in answers {
        let (Applied::Done(seen) | Applied::Refused(Some(seen))) = answer else { panic!("the row is gone") };
        assert_eq!(*seen, now);
    }
}

pub async fn a_final_row_stays_as_it_is(fixture: &Fixture) {
    let ledger = &*fixture.ports.ledger;
    let row = queued(ledger).await;
    let mut finish = transition(&row.request.id, &[Status::Queued], Status::Expired, None);
    finish.set.outcome = Some(outcome(1));
    let finished = done(ledger, finish).await;
    for late in [claiming(&row.request.id, "t1", "late"), queueing(&row.request.id, "late")] {
        assert_eq!(apply(ledger, late).await, Applied::Refused(Some(Box::new(finished.clone()))));
    }
    assert_eq!(ledger.get(&row.request.id).await.unwrap(), Some(finished));
}

pub async fn a_failed_row_is_revived_once(fixture: &Fixture) {
    let ledger = &*fixture.ports.ledger;
    let queued = queued(ledger).await;
    let id = &queued.request.id;
    for claim in ["c1", "c2"] {
        let mut claiming = claiming(id, "t1", claim);
        claiming.from = &[Status::Queued, Status::Running];
        done(ledger, claiming).await;
    }
    let mut finish = transition(id, &[Status::Running], Status::Failed, None);
    let failure =
        Failure { kind: "Poison".to_owned(), message: "three workers".to_owned(), retryable: false, field: None };
    finish.set.outcome = Some(Outcome { error: Some(failure), ..outcome(9) });
    let failed = done(ledger, finish).await;
    assert_eq!(failed.claims, 2);

    let at = Timestamp(1_795_252_400_000);
    let revive = lifecycle::revive(&failed, "ann@desk", at);
    let revived = done(ledger, revive.clone()).await;
    let what = "put back into line by ann@desk; it had failed as Poison: three workers";
    let mut notes = failed.notes.clone();
    notes.push(note(at.0, what));
    let wanted = Row { status: Status::Received, claims: 0, outcome: None, notes, updated_at: at, ..failed.clone() };
    assert_eq!(revived, wanted);
    assert_eq!(ledger.get(id).await.unwrap(), Some(wanted.clone()));
    let list = WorkList::Ready(revived.request.flow());
    let ids: Vec<_> = ledger.list(&list, Page::first(10)).await.unwrap().into_iter().map(|item| item.id).collect();
    assert_eq!(ids, std::slice::from_ref(id));
    assert_eq!(apply(ledger, revive.clone()).await, Applied::Refused(Some(Box::new(wanted))));

    // Nor does it bring back what has failed again meanwhile.
    done(ledger, queueing(id, "t2")).await;
    done(ledger, claiming(id, "t2", "c3")).await;
    let mut finish = transition(id, &[Status::Running], Status::Failed, None);
    finish.set.outcome = Some(outcome(10));
    let again = done(ledger, finish).await;
    assert_eq!(apply(ledger, revive).await, Applied::Refused(Some(Box::new(again))));
}
