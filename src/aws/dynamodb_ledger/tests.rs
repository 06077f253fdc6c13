//! The adapter against a scripted DynamoDB: lost answers, refusals, throttles. What a real one does is the contract suite's.

use super::*;
use crate::aws::clients::{Clients, emulator_config};
use crate::aws::test_server::{Asked, Canned, Reply, Server, json};
use crate::clock::Timestamp;
use crate::ports::ledger::Patch;
use crate::request::Status;
use serde_json::{Value, json};
use std::collections::HashSet;

async fn ledger(replies: Vec<Reply>) -> (DynamoLedger, Server) {
    let server = Server::replying(replies).await;
    let clients = Clients::new(&emulator_config(&server.url, "us-east-1").unwrap());
    let ledger = DynamoLedger::new(clients.dynamodb, "t", 4, 30);
    (ledger, server)
}

fn say(answer: Canned) -> Reply {
    Box::new(move |_| answer)
}

fn fault(status: u16, code: &str) -> Canned {
    let mut answer =
        json(status, &json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "m" }));
    answer.1.push(("x-amzn-requestid", "REQ1".to_owned()));
    answer
}

/// The refusal of a broken condition, with the row as a put of `write_id` left it.
fn refusal(write_id: &str) -> Canned {
    let item = item::encode("t", &item::tests::row(), None, 60, write_id).unwrap();
    let item: serde_json::Map<String, Value> = item.into_iter().map(|(name, value)| (name, wire(value))).collect();
    let code = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
    json(400, &json!({ "__type": code, "message": "The conditional request failed", "Item": item }))
}

fn wire(value: AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(digits) => json!({ "N": digits }),
        AttributeValue::L(list) => json!({ "L": list.into_iter().map(wire).collect::<Vec<_>>() }),
        AttributeValue::M(map) => {
            json!({ "M": map.into_iter().map(|(k, v)| (k, wire(v))).collect::<serde_json::Map<_, _>>() })
        }
        other => panic!("no such attribute is written: {other:?}"),
    }
}

fn put_write_id(asked: &Asked) -> String {
    asked.json()["Item"][item::WRITE_ID]["S"].as_str().unwrap().to_owned()
}

fn update_write_id(asked: &Asked) -> String {
    asked.json()["ExpressionAttributeValues"][":write_id"]["S"].as_str().unwrap().to_owned()
}

fn new_row() -> (Row, Option<Work>) {
    (item::tests::row(), Some(Work { list: WorkList::Held, sort: "1".to_owned() }))
}

fn claim() -> Transition {
    Transition {
        id: item::tests::row().request.id,
        from: &[Status::Queued],
        if_ticket: Some("t".to_owned()),
        if_claim: None,
        if_work: None,
        if_updated_at: None,
        to: Status::Running,
        at: Timestamp(1_795_252_123_460),
        work: Some(Work { list: WorkList::Held, sort: "1".to_owned() }),
        set: Patch::default(),
    }
}

#[tokio::test]
async fn an_insert_whose_answer_was_lost_was_an_insert() {
    let lost = say(fault(500, "InternalServerError"));
    let (ledger, server) = ledger(vec![lost, Box::new(|asked| refusal(&put_write_id(asked)))]).await;
    assert_eq!(ledger.insert(vec![new_row()]).await.remove(0).unwrap(), Inserted::New);
    assert_eq!(server.script().asked.len(), 2);

    let others = say(refusal("somebody else's"));
    let (ledger, _server) = self::ledger(vec![others]).await;
    let there = Inserted::Exists(Box::new(item::tests::row()));
    assert_eq!(ledger.insert(vec![new_row()]).await.remove(0).unwrap(), there);
}

#[tokio::test]
async fn a_transition_whose_answer_was_lost_was_done() {
    let row = || Box::new(item::tests::row());
    let lost = say(fault(500, "InternalServerError"));
    let (ledger, server) = ledger(vec![lost, Box::new(|asked| refusal(&update_write_id(asked)))]).await;
    assert_eq!(ledger.apply(vec![claim()]).await.remove(0).unwrap(), Applied::Done(row()));
    let write_ids: HashSet<String> = server.script().asked.iter().map(update_write_id).collect();
    assert_eq!(write_ids.len(), 1);

    let (ledger, _server) = self::ledger(vec![say(refusal("somebody else's"))]).await;
    assert_eq!(ledger.apply(vec![claim()]).await.remove(0).unwrap(), Applied::Refused(Some(row())));
}

#[tokio::test]
async fn throttles_are_retried_and_may_pass_later() {
    let throttle = || say(fault(400, "ProvisionedThroughputExceededException"));
    let (ledger, server) = ledger((0..10).map(|_| throttle()).collect()).await;
    let error = ledger.apply(vec![claim()]).await.remove(0).unwrap_err();
    assert!(error.retryable, "{error}");
    assert!(server.script().asked.len() > 1, "the SDK's own retries are off");
    assert_eq!(server.script().asked[0].headers["x-amz-target"].to_str().unwrap(), "DynamoDB_20120810.UpdateItem");
}

#[tokio::test]
async fn refused_access_stays_and_says_what_to_look_for() {
    let (ledger, server) = ledger(vec![say(fault(400, "AccessDeniedException"))]).await;
    let error = ledger.get(&item::tests::row().request.id).await.unwrap_err();
    assert!(!error.retryable);
    assert_eq!(error.to_string(), "dynamodb read r-1 in t: AccessDeniedException: m (request id REQ1)");
    assert_eq!(server.script().asked.len(), 1);
}

#[tokio::test]
async fn an_entry_into_a_flow_is_noted_after_the_row_and_once_a_second() {
    let fine = || say(json(200, &json!({})));
    let (ledger, server) = ledger((0..6).map(|_| fine()).collect()).await;
    let entering = |millis: u64| {
        let mut row = item::tests::row();
        row.updated_at = Timestamp(row.updated_at.0 + millis);
        let work = Work { list: WorkList::Ready(row.request.flow()), sort: "1".to_owned() };
        (row, Some(work))
    };
    for millis in [0, 1, 999, 1_000] {
        assert_eq!(ledger.insert(vec![entering(millis)]).await.remove(0).unwrap(), Inserted::New);
    }
    let script = server.script();
    let ids: Vec<_> =
        script.asked.iter().map(|asked| asked.json()["Item"]["request_id"]["S"].as_str().unwrap().to_owned()).collect();
    let flow = "flow#default:us-east-1:us.amazon.nova-lite-v1:0 default usual summaries";
    assert_eq!(ids, ["r-1", flow, "r-1", "r-1", "r-1", flow]);
}

#[tokio::test]
async fn list_goes_on_behind_a_short_page() {
    let page = |ids: &[&str], more: bool| {
        let items: Vec<Value> = ids
            .iter()
            .map(|id| {
                let mut row = item::tests::row();
                row.request.id = RequestId::new(*id).unwrap();
                let place = places::Place { list: "held#0".to_owned(), sort: format!("1\t{id}") };
                let item = item::encode("t", &row, Some(place), 60, "w").unwrap();
                Value::Object(item.into_iter().map(|(name, value)| (name, wire(value))).collect())
            })
            .collect();
        let mut answer = json!({ "Items": items });
        if more {
            answer["LastEvaluatedKey"] = json!({ "request_id": { "S": "b" } });
        }
        say(json(200, &answer))
    };
    let (mut ledger, server) = ledger(vec![page(&["a", "b"], true), page(&[], true), page(&["c"], false)]).await;
    ledger.places = Places::new(1);
    let items = ledger.list(&WorkList::Held, Page::first(10).up_to("1")).await.unwrap();
    assert_eq!(items.iter().map(|i| i.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    let script = server.script();
    assert_eq!(script.asked[1].json()["ExclusiveStartKey"]["request_id"]["S"], "b");
    assert_eq!(script.asked[1].json()["Limit"], 8);
}
