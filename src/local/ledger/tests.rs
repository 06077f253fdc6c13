use std::collections::BTreeMap;

use super::*;
use crate::request::{Lane, ModelId, Operation, Outcome, PayloadRef, Priority, Request, Tenant};

fn open() -> (tempfile::TempDir, LocalLedger) {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(&dir.path().join("smoother.db")).unwrap();
    (dir, LocalLedger { database })
}

fn row(id: &str) -> Row {
    let model_id = ModelId::new("amazon.nova-lite-v1:0").unwrap();
    let request = Request {
        id: RequestId::new(id).unwrap(),
        content_hash: "00".to_owned(),
        message_id: "m-1".to_owned(),
        lane: Lane::new("default", "us-east-1", &model_id),
        model_id,
        downgraded_from: None,
        batch_id: None,
        trace: None,
        use_case: None,
        tenant: Tenant::default(),
        priority: Priority::NORMAL,
        deadline: None,
        metadata: BTreeMap::from([("note".to_owned(), "a secret".to_owned())]),
        operation: Operation::Converse,
        body: PayloadRef("payloads/requests/x".to_owned()),
        estimate: Estimate::default(),
        rank: "1#5".to_owned(),
        received_at: Timestamp(1),
    };
    Row::new(request, Status::Received, Timestamp(1))
}

fn ready(row: &Row) -> Work {
    Work { list: WorkList::Ready(row.request.flow()), sort: row.request.rank.clone() }
}

fn failing(id: &str) -> Transition {
    let outcome = Outcome::at(Timestamp(9));
    Transition {
        id: RequestId::new(id).unwrap(),
        from: &[Status::Received],
        if_ticket: None,
        if_claim: None,
        if_work: None,
        if_updated_at: None,
        to: Status::Failed,
        at: Timestamp(9),
        work: None,
        set: Patch { outcome: Some(outcome), ..Patch::default() },
    }
}

async fn insert_all(ledger: &LocalLedger, ids: &[&str]) {
    let rows = ids.iter().map(|id| (row(id), Some(ready(&row(id))))).collect();
    for result in ledger.insert(rows).await {
        result.unwrap();
    }
}

#[tokio::test]
async fn counts_are_exact_final_statuses_included() {
    let (_dir, ledger) = open();
    assert_eq!(ledger.counts().await.unwrap(), Counts::default());
    insert_all(&ledger, &["a", "b", "c", "b"]).await;
    for result in ledger.apply(vec![failing("a"), failing("c"), failing("none")]).await {
        result.unwrap();
    }
    ledger.apply(vec![failing("a")]).await.remove(0).unwrap();
    let counts = ledger.counts().await.unwrap().by_status;
    assert_eq!(counts, BTreeMap::from([(Status::Received, 1), (Status::Failed, 2)]));
}

#[tokio::test]
async fn a_row_that_would_be_forgotten_or_found_when_final_is_refused() {
    let (_dir, ledger) = open();
    let place = ready(&row("a"));
    let forgotten = ledger.insert(vec![(row("a"), None)]).await.remove(0).unwrap_err();
    assert!(!forgotten.retryable && forgotten.why.contains("RECEIVED must stand"), "{forgotten}");
    insert_all(&ledger, &["a"]).await;
    let mut final_but_listed = failing("a");
    final_but_listed.work = Some(place);
    let error = ledger.apply(vec![final_but_listed]).await.remove(0).unwrap_err();
    assert!(!error.retryable && error.why.contains("FAILED must not stand"), "{error}");
}

#[tokio::test]
async fn a_damaged_row_is_named_without_its_content() {
    let (_dir, ledger) = open();
    insert_all(&ledger, &["a"]).await;
    let damage = "UPDATE requests SET request = replace(request, '\"priority\":5', '\"priority\":\"a secret\"')";
    ledger.database.write("damage", |connection| Ok(connection.execute(damage, [])?)).await.unwrap();
    let error = ledger.get(&RequestId::new("a").unwrap()).await.unwrap_err();
    assert!(!error.retryable && error.to_string().contains("requests.request"), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn lists_are_read_in_key_order_from_their_index() {
    let (_dir, ledger) = open();
    let plan = ledger.database.read("plan", move |connection| {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {LIST}"))?;
        let steps = statement.query_map(params!["held", "x", "a", "b", 5], |row| row.get("detail"))?;
        Ok(steps.collect::<Result<Vec<String>, _>>()?)
    });
    let plan = plan.await.unwrap();
    // No sort and no scan: straight to the page.
    assert_eq!(plan.len(), 1, "{plan:?}");
    assert!(plan[0].contains("SEARCH requests USING INDEX requests_by_work (work_list=? AND"), "{plan:?}");
    assert!(plan[0].contains("(work_sort,request_id)>(?,?)"), "{plan:?}");
}
