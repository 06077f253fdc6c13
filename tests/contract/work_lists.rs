//! `ports::ledger`: the work lists. A list may lag behind writes, so cases wait until it shows what they expect.

use smoother::clock::Timestamp;
use smoother::ports::{Applied, Ledger, Work, WorkItem, WorkList};
use smoother::request::{Lane, ModelId, RequestId, Status};

use crate::Fixture;
use crate::support::{eventually, id, inserted, lane, outcome, ready, row, sorts, transition, unique};

/// More than anybody else's rows in the shared lists.
const ALL: usize = 10_000;

async fn holds(ledger: &dyn Ledger, list: &WorkList, id: &RequestId) -> bool {
    ledger.list(list, None, ALL).await.unwrap().iter().any(|item| item.id == *id)
}

/// Inserts a row for each key and waits until the list shows them.
async fn insert_all(ledger: &dyn Ledger, lane: &Lane, keys: &[String]) {
    let rows = keys.iter().map(|key| (row(id("item"), lane), Some(ready(lane, key)))).collect();
    assert!(ledger.insert(rows).await.iter().all(Result::is_ok));
    listed(ledger, lane, keys.len()).await;
}

/// The list of a lane once it has `count` items.
async fn listed(ledger: &dyn Ledger, lane: &Lane, count: usize) -> Vec<WorkItem> {
    let list = WorkList::Ready(lane.clone());
    eventually(&format!("{count} items"), async || {
        let items = ledger.list(&list, None, ALL).await.unwrap();
        (items.len() == count).then_some(items)
    })
    .await
}

pub async fn an_item_shows_what_the_planner_needs(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    let row = inserted(ledger, &lane, ready(&lane, "0#7")).await;
    let item = listed(ledger, &lane, 1).await.remove(0);
    let request = &row.request;
    let wanted = WorkItem {
        id: request.id.clone(),
        sort: "0#7".to_owned(),
        lane: lane.clone(),
        rank: request.rank.clone(),
        estimate: request.estimate,
    };
    assert_eq!(item, wanted);

    let held = Work { list: WorkList::Held, sort: Work::time_key(Timestamp(1_795_252_123_456)) };
    let change = transition(&request.id, &[Status::Received], Status::Queued, Some(held.clone()));
    assert!(matches!(ledger.apply(vec![change]).await.remove(0), Ok(Applied::Done(_))));
    let item = eventually("the item in its new list", async || {
        let items = ledger.list(&WorkList::Held, None, ALL).await.unwrap();
        items.into_iter().find(|item| item.id == request.id)
    })
    .await;
    assert_eq!(item, WorkItem { sort: held.sort, ..wanted });
}

pub async fn a_row_stands_in_exactly_one_list(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    let id = inserted(ledger, &lane, ready(&lane, "1")).await.request.id;
    let time = |list| Work { list, sort: Work::time_key(Timestamp(1_795_252_123_456)) };
    let lists = [WorkList::Ready(lane.clone()), WorkList::Held, WorkList::Deferred];
    let path = [
        (Status::Queued, time(WorkList::Held)),
        (Status::Received, time(WorkList::Deferred)),
        (Status::Received, ready(&lane, "1")),
        (Status::Received, ready(&lane, "2")),
    ];
    for (to, work) in path {
        let place = work.list.clone();
        let change = transition(&id, &[Status::Received, Status::Queued], to, Some(work));
        assert!(matches!(ledger.apply(vec![change]).await.remove(0), Ok(Applied::Done(_))));
        eventually(&format!("a place in {place:?} alone"), async || {
            for list in &lists {
                if holds(ledger, list, &id).await != (*list == place) {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }
    assert_eq!(sorts(&listed(ledger, &lane, 1).await), ["2"]);
}

pub async fn a_final_row_leaves_every_list(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    let mut rejected = row(id("rejected"), &lane);
    rejected.status = Status::Rejected;
    rejected.outcome = Some(outcome(1));
    assert!(ledger.insert(vec![(rejected.clone(), None)]).await.remove(0).is_ok());
    let finished = inserted(ledger, &lane, ready(&lane, "1")).await.request.id;
    listed(ledger, &lane, 1).await;
    let mut finish = transition(&finished, &[Status::Received], Status::Expired, None);
    finish.set.outcome = Some(outcome(2));
    assert!(matches!(ledger.apply(vec![finish]).await.remove(0), Ok(Applied::Done(_))));
    listed(ledger, &lane, 0).await;
    for id in [finished, rejected.request.id] {
        for list in [WorkList::Held, WorkList::Deferred] {
            assert!(!holds(ledger, &list, &id).await);
        }
    }
}

pub async fn a_list_is_in_bytewise_order(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    let ordered = [
        "#", "0", "00", "0A", "1", "10", "1~", "2", "A", "B", "_", "a", "a b", "a!", "a!a", "a#", "a#b", "a-b", "aB",
        "ab",
    ];
    let mut keys = ordered.map(ToOwned::to_owned);
    fastrand::shuffle(&mut keys);
    insert_all(ledger, &lane, &keys).await;
    let first = listed(ledger, &lane, keys.len()).await;
    assert_eq!(sorts(&first), ordered);
    assert_eq!(listed(ledger, &lane, keys.len()).await, first, "read again, the order is the same");
}

pub async fn up_to_includes_its_key_and_nothing_after(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    let list = WorkList::Ready(lane.clone());
    insert_all(ledger, &lane, &["1", "2", "2#", "20", "3", "4"].map(ToOwned::to_owned)).await;
    for (up_to, wanted) in [("2", 2), ("2#", 3), ("20", 4), ("2z", 4), ("3", 5), ("0", 0), ("9", 6)] {
        let items = ledger.list(&list, Some(up_to), 100).await.unwrap();
        assert_eq!(sorts(&items), ["1", "2", "2#", "20", "3", "4"][..wanted], "up to {up_to}");
    }
    assert_eq!(ledger.list(&list, Some("3"), 2).await.unwrap().len(), 2);
}

pub async fn the_limit_keeps_the_first(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    let list = WorkList::Ready(lane.clone());
    let keys: Vec<String> = (0..30).rev().map(|n| format!("{n:02}")).collect();
    insert_all(ledger, &lane, &keys).await;
    let items = ledger.list(&list, None, 7).await.unwrap();
    assert_eq!(sorts(&items), ["00", "01", "02", "03", "04", "05", "06"]);
}

pub async fn more_than_a_thousand_items_are_listed(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    let list = WorkList::Ready(lane.clone());
    let keys: Vec<String> = (0..1_200).map(|n| format!("{n:05}")).collect();
    insert_all(ledger, &lane, &keys).await;
    assert_eq!(sorts(&ledger.list(&list, None, 5_000).await.unwrap()), keys);
    assert_eq!(sorts(&ledger.list(&list, None, 1_100).await.unwrap()), keys[..1_100]);
    assert_eq!(sorts(&ledger.list(&list, Some("01049"), 5_000).await.unwrap()), keys[..1_050]);
}

pub async fn lanes_have_lists_of_their_own(fixture: &Fixture) {
    let ledger = &*fixture.ports.ledger;
    let account = unique("account");
    let named = |model: &str| Lane::new(&account, "us-east-1", &ModelId::new(model).unwrap());
    // One name continues another.
    let lanes = [named("nova"), named("nova-lite"), named("nova#1")];
    for lane in &lanes {
        inserted(ledger, lane, ready(lane, lane.as_str())).await;
    }
    for lane in &lanes {
        assert_eq!(sorts(&listed(ledger, lane, 1).await), [lane.as_str()]);
    }
    eventually("all lanes", async || {
        let known = ledger.lanes().await.unwrap();
        lanes.iter().all(|lane| known.contains(lane)).then_some(())
    })
    .await;
    let known = ledger.lanes().await.unwrap();
    let distinct: std::collections::HashSet<_> = known.iter().collect();
    assert_eq!(distinct.len(), known.len(), "a lane is told twice");
}

pub async fn rows_with_equal_keys_are_all_listed(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    let list = WorkList::Ready(lane.clone());
    insert_all(ledger, &lane, &["5", "5", "5", "4"].map(ToOwned::to_owned)).await;
    let items = ledger.list(&list, Some("5"), 10).await.unwrap();
    assert_eq!(sorts(&items), ["4", "5", "5", "5"]);
    assert_eq!(ledger.list(&list, None, 10).await.unwrap(), items);
    assert_eq!(ledger.list(&list, None, 2).await.unwrap(), items[..2]);
}

pub async fn counts_show_what_is_open(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    insert_all(ledger, &lane, &["1", "2", "3"].map(ToOwned::to_owned)).await;
    eventually("three received rows at least", async || {
        let counts = ledger.counts().await.unwrap();
        counts.by_status.get(&Status::Received).is_some_and(|n| *n >= 3).then_some(())
    })
    .await;
}
