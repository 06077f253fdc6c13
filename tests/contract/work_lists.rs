//! `ports::ledger`: the work lists. A list may lag behind writes, so cases wait until it shows what they expect.

use smoother::clock::Timestamp;
use smoother::ports::{Applied, Ledger, Page, Work, WorkItem, WorkList};
use smoother::request::{Flow, Lane, ModelId, Priority, Request, RequestId, Status, Tenant};

use crate::Fixture;
use crate::support::{eventually, flow, held, id, inserted, lane, outcome, ready, row, sorts, transition, unique};

/// More than anybody else's rows in the shared lists.
const ALL: usize = 10_000;

async fn holds(ledger: &dyn Ledger, list: &WorkList, id: &RequestId) -> bool {
    ledger.list(list, Page::first(ALL)).await.unwrap().iter().any(|item| item.id == *id)
}

/// Inserts a row for each key and waits until the list shows them.
async fn insert_all(ledger: &dyn Ledger, lane: &Lane, keys: &[String]) {
    let rows = keys.iter().map(|key| (row(id("item"), lane), Some(ready(lane, key)))).collect();
    assert!(ledger.insert(rows).await.iter().all(Result::is_ok));
    listed(ledger, lane, keys.len()).await;
}

/// The list of a lane once it has `count` items.
async fn listed(ledger: &dyn Ledger, lane: &Lane, count: usize) -> Vec<WorkItem> {
    let list = WorkList::Ready(flow(lane));
    eventually(&format!("{count} items"), async || {
        let items = ledger.list(&list, Page::first(ALL)).await.unwrap();
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
        flow: flow(&lane),
        priority: request.priority,
        rank: request.rank.clone(),
        estimate: request.estimate,
        deadline: None,
    };
    assert_eq!(item, wanted);

    let held = Work { list: WorkList::Held, sort: Work::time_key(Timestamp(1_795_252_123_456)) };
    let change = transition(&request.id, &[Status::Received], Status::Queued, Some(held.clone()));
    assert!(matches!(ledger.apply(vec![change]).await.remove(0), Ok(Applied::Done(_))));
    let item = eventually("the item in its new list", async || {
        let items = ledger.list(&WorkList::Held, Page::first(ALL)).await.unwrap();
        items.into_iter().find(|item| item.id == request.id)
    })
    .await;
    assert_eq!(item, WorkItem { sort: held.sort, ..wanted });
}

pub async fn a_row_stands_in_exactly_one_list(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    let id = inserted(ledger, &lane, ready(&lane, "1")).await.request.id;
    let time = |list| Work { list, sort: Work::time_key(Timestamp(1_795_252_123_456)) };
    let lists = [WorkList::Ready(flow(&lane)), WorkList::Held, WorkList::Deferred];
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
    let list = WorkList::Ready(flow(&lane));
    insert_all(ledger, &lane, &["1", "2", "2#", "20", "3", "4"].map(ToOwned::to_owned)).await;
    for (up_to, wanted) in [("2", 2), ("2#", 3), ("20", 4), ("2z", 4), ("3", 5), ("0", 0), ("9", 6)] {
        let items = ledger.list(&list, Page::first(100).up_to(up_to)).await.unwrap();
        assert_eq!(sorts(&items), ["1", "2", "2#", "20", "3", "4"][..wanted], "up to {up_to}");
    }
    assert_eq!(ledger.list(&list, Page::first(2).up_to("3")).await.unwrap().len(), 2);
}

pub async fn the_limit_keeps_the_first(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    let list = WorkList::Ready(flow(&lane));
    let keys: Vec<String> = (0..30).rev().map(|n| format!("{n:02}")).collect();
    insert_all(ledger, &lane, &keys).await;
    let items = ledger.list(&list, Page::first(7)).await.unwrap();
    assert_eq!(sorts(&items), ["00", "01", "02", "03", "04", "05", "06"]);
}

pub async fn more_than_a_thousand_items_are_listed(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    let list = WorkList::Ready(flow(&lane));
    let keys: Vec<String> = (0..1_200).map(|n| format!("{n:05}")).collect();
    insert_all(ledger, &lane, &keys).await;
    assert_eq!(sorts(&ledger.list(&list, Page::first(5_000)).await.unwrap()), keys);
    assert_eq!(sorts(&ledger.list(&list, Page::first(1_100)).await.unwrap()), keys[..1_100]);
    assert_eq!(sorts(&ledger.list(&list, Page::first(5_000).up_to("01049")).await.unwrap()), keys[..1_050]);
}

pub async fn flows_have_lists_of_their_own(fixture: &Fixture) {
    let ledger = &*fixture.ports.ledger;
    let account = unique("account");
    let named = |model: &str| Lane::new(&account, "us-east-1", &ModelId::new(model).unwrap());
    let plain = flow(&named("nova"));
    // One name continues another, or has what stands between the parts.
    let flows = [
        plain.clone(),
        flow(&named("nova-lite")),
        flow(&named("nova#1")),
        Flow { urgent: true, ..plain.clone() },
        Flow { tenant: Tenant::new("other").unwrap(), ..plain.clone() },
        Flow { use_case: Some("summaries of “reports”#1".to_owned()), ..plain.clone() },
        Flow { use_case: Some("urgent".to_owned()), ..plain },
    ];
    for (n, flow) in flows.iter().enumerate() {
        let mut row = row(id("flow"), &flow.lane);
        row.request.tenant = flow.tenant.clone();
        row.request.use_case.clone_from(&flow.use_case);
        row.request.priority = if flow.urgent { Priority::URGENT } else { Priority::NORMAL };
        row.request.deadline = Some(Timestamp(1_795_252_999_999));
        assert_eq!(row.request.flow(), *flow);
        let work = Work { list: WorkList::Ready(flow.clone()), sort: n.to_string() };
        assert!(ledger.insert(vec![(row, Some(work))]).await.remove(0).is_ok());
    }
    for (n, flow) in flows.iter().enumerate() {
        let items = eventually("the item of a flow", async || {
            let items = ledger.list(&WorkList::Ready(flow.clone()), Page::first(ALL)).await.unwrap();
            (!items.is_empty()).then_some(items)
        })
        .await;
        assert_eq!(sorts(&items), [n.to_string()]);
        assert_eq!((&items[0].flow, items[0].deadline), (flow, Some(Timestamp(1_795_252_999_999))));
    }
    eventually("all flows", async || {
        let known = ledger.flows(None).await.unwrap();
        flows.iter().all(|flow| known.contains(flow)).then_some(())
    })
    .await;
    let known = ledger.flows(None).await.unwrap();
    let distinct: std::collections::HashSet<_> = known.iter().collect();
    assert_eq!(distinct.len(), known.len(), "a flow is told twice");
}

pub async fn flows_are_known_by_when_a_row_last_entered(fixture: &Fixture) {
    let ledger = &*fixture.ports.ledger;
    let (early, late) = (lane(), lane());
    let entering = |lane: &Lane, at: u64| {
        let mut row = row(id("entering"), lane);
        row.updated_at = Timestamp(at);
        (row, Some(ready(lane, "1")))
    };
    let (long_ago, now) = (1_795_252_000_000, 1_795_252_100_000);
    let rows = vec![entering(&early, long_ago), entering(&late, now)];
    assert!(ledger.insert(rows).await.iter().all(Result::is_ok));
    let since = async |at: u64| {
        let known = ledger.flows(Some(Timestamp(at))).await.unwrap();
        (known.contains(&flow(&early)), known.contains(&flow(&late)))
    };
    eventually("both flows", async || (since(long_ago).await == (true, true)).then_some(())).await;
    assert_eq!(since(now).await, (false, true));
    assert_eq!(since(now + 1).await, (false, false));

    // Whatever comes back into line makes its flow known again.
    let back = inserted(ledger, &early, held(1)).await.request.id;
    let mut change = transition(&back, &[Status::Received], Status::Received, Some(ready(&early, "2")));
    change.at = Timestamp(now + 5_000);
    assert!(matches!(ledger.apply(vec![change]).await.remove(0), Ok(Applied::Done(_))));
    eventually("the flow that was entered again", async || (since(now + 1).await == (true, false)).then_some(())).await;
}

pub async fn pages_go_on_where_the_last_one_ended(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    let list = WorkList::Ready(flow(&lane));
    let keys: Vec<String> = (0..50).map(|n| format!("{:02}", n / 3)).collect();
    insert_all(ledger, &lane, &keys).await;
    for (limit, up_to) in [(1, None), (7, None), (50, None), (80, None), (4, Some("09"))] {
        let mut seen: Vec<WorkItem> = Vec::new();
        loop {
            let page = Page { up_to, ..Page::first(limit) };
            let page = seen.last().map_or(page, |last| page.after(last));
            let items = ledger.list(&list, page).await.unwrap();
            assert!(items.len() <= limit);
            if items.is_empty() {
                break;
            }
            seen.extend(items);
        }
        let wanted: Vec<&str> =
            keys.iter().map(String::as_str).filter(|key| up_to.is_none_or(|up| *key <= up)).collect();
        assert_eq!(sorts(&seen), wanted, "pages of {limit}, up to {up_to:?}");
        let ids: std::collections::HashSet<_> = seen.iter().map(|item| &item.id).collect();
        assert_eq!(ids.len(), seen.len(), "an item was seen twice");
    }
}

pub async fn rows_with_equal_keys_are_all_listed(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    let list = WorkList::Ready(flow(&lane));
    insert_all(ledger, &lane, &["5", "5", "5", "4"].map(ToOwned::to_owned)).await;
    let items = ledger.list(&list, Page::first(10).up_to("5")).await.unwrap();
    assert_eq!(sorts(&items), ["4", "5", "5", "5"]);
    assert_eq!(ledger.list(&list, Page::first(10)).await.unwrap(), items);
    assert_eq!(ledger.list(&list, Page::first(2)).await.unwrap(), items[..2]);
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

/// Other cases may have rows in the shared table: only those of a case's own are known, so differences count.
pub async fn ready_rows_are_counted_by_priority(fixture: &Fixture) {
    let (ledger, lane) = (&*fixture.ports.ledger, lane());
    // Priorities that no other case uses.
    let own = [1, 3, 8].map(|number| Priority::from_number(number).unwrap());
    let placed = |priority: Priority, work: Work| {
        let mut row = row(id("prioritised"), &lane);
        row.request.priority = priority;
        (row, Some(work))
    };
    let rows = vec![
        placed(own[0], ready(&lane, "1")),
        placed(own[1], ready(&lane, "2")),
        placed(own[1], ready(&lane, "3")),
        placed(own[1], held(1)),
        placed(own[2], Work { list: WorkList::Deferred, sort: Work::time_key(Timestamp(1)) }),
    ];
    let [first, second] = [0, 1].map(|n: usize| rows[n].0.clone());
    assert!(ledger.insert(rows).await.iter().all(Result::is_ok));
    let counted = async |what: &str, wanted: [u64; 3]| {
        eventually(what, async || {
            let ready = ledger.ready_by_priority().await.unwrap();
            let got = own.map(|priority| ready.get(&priority).copied().unwrap_or_default());
            (got == wanted).then_some(())
        })
        .await;
    };
    counted("the ready ones", [1, 2, 0]).await;

    let mut changed = transition(&second.request.id, &[Status::Received], Status::Received, Some(ready(&lane, "0")));
    changed.set.request = Some(Box::new(Request { priority: own[2], ..second.request.clone() }));
    assert!(matches!(ledger.apply(vec![changed]).await.remove(0), Ok(Applied::Done(_))));
    counted("one of another priority", [1, 1, 1]).await;

    let hold = transition(&first.request.id, &[Status::Received], Status::Queued, Some(held(2)));
    assert!(matches!(ledger.apply(vec![hold]).await.remove(0), Ok(Applied::Done(_))));
    counted("one less", [0, 1, 1]).await;
    let back = transition(&first.request.id, &[Status::Queued], Status::Received, Some(ready(&lane, "1")));
    assert!(matches!(ledger.apply(vec![back]).await.remove(0), Ok(Applied::Done(_))));
    counted("one more", [1, 1, 1]).await;
    let mut end = transition(&second.request.id, &[Status::Received], Status::Expired, None);
    end.set.outcome = Some(outcome(2));
    assert!(matches!(ledger.apply(vec![end]).await.remove(0), Ok(Applied::Done(_))));
    counted("the rest", [1, 1, 0]).await;
}
