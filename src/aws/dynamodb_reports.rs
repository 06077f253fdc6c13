//! The reporting table on DynamoDB: every column of a [`ReportRow`] a typed attribute.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use futures_util::stream::{self, StreamExt};
use serde_json::{Map, Number, Value};

use super::errors::port_error;
use super::schema::reporting as schema;
use crate::ports::reports::Slice;
use crate::ports::{PortError, PortResult, ReportRow, Reports};

type Item = HashMap<String, AttributeValue>;
/// Partition and sort key.
type Key = (String, String);

/// Requests of one BatchWriteItem.
const MAX_BATCH: usize = 25;
/// Calls in flight for one verb.
const CONCURRENT_CALLS: usize = 4;
/// Rounds for rows that DynamoDB left unprocessed; the pauses between them add up to about six seconds.
const ROUNDS: u32 = 8;
const PAUSE: Duration = Duration::from_millis(50);
const SECONDS_PER_DAY: u64 = 86_400;

/// The reporting table.
#[derive(Clone, Debug)]
pub struct DynamoReports {
    client: Client,
    table: String,
    retention_seconds: u64,
}

impl DynamoReports {
    /// The reports in `table`, kept for `retention_days`.
    #[must_use]
    pub fn new(client: Client, table: &str, retention_days: u32) -> Self {
        let retention_seconds = u64::from(retention_days) * SECONDS_PER_DAY;
        Self { client, table: table.to_owned(), retention_seconds }
    }

    fn what(&self) -> String {
        format!("dynamodb put reports into {}", self.table)
    }

    fn encode(&self, row: &ReportRow) -> PortResult<Item> {
        let expires = (row.finished_at.0 / 1000).saturating_add(self.retention_seconds);
        let mut item = to_item(row).map_err(|e| PortError::permanent(self.what(), e))?;
        item.insert(schema::TTL.to_owned(), AttributeValue::N(expires.to_string()));
        Ok(item)
    }

    /// Writes items with distinct keys; tells the outcome of each by its key.
    async fn write(&self, items: Vec<(Key, Item)>) -> Vec<(Key, PortResult<()>)> {
        let keys: Vec<Key> = items.iter().map(|(key, _)| key.clone()).collect();
        match self.write_batch(items.iter().map(|(_, item)| item.clone()).collect()).await {
            Ok(unprocessed) => {
                let left: Vec<Key> = unprocessed.iter().filter_map(key_of).collect();
                let outcome = |key: &Key| {
                    if left.contains(key) {
                        Err(PortError::transient(self.what(), "DynamoDB left the row unprocessed; it is throttling"))
                    } else {
                        Ok(())
                    }
                };
                keys.into_iter().map(|key| (key.clone(), outcome(&key))).collect()
            }
            // One row that DynamoDB cannot take fails its whole batch: find it.
            Err(error) if !error.retryable && items.len() > 1 => {
                let mut outcomes = Vec::with_capacity(items.len());
                for (key, item) in items {
                    outcomes.push((key, self.write_one(item).await));
                }
                outcomes
            }
            Err(error) => keys.into_iter().map(|key| (key, Err(error.clone()))).collect(),
        }
    }

    async fn write_one(&self, item: Item) -> PortResult<()> {
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        put.send().await.map(drop).map_err(|e| port_error(self.what(), &e))
    }

    /// Answers with the items that are still unprocessed after all rounds.
    async fn write_batch(&self, items: Vec<Item>) -> PortResult<Vec<Item>> {
        let mut left = items;
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(PAUSE * 2u32.pow(round - 1)).await;
            }
            let requests = left.drain(..).map(|item| {
                let put = PutRequest::builder().set_item(Some(item)).build()?;
                Ok(WriteRequest::builder().put_request(put).build())
            });
            let requests: Result<Vec<_>, aws_sdk_dynamodb::error::BuildError> = requests.collect();
            let requests = requests.map_err(|e| PortError::permanent(self.what(), e))?;
            let call = self.client.batch_write_item().request_items(&self.table, requests);
            let answer = call.send().await.map_err(|e| port_error(self.what(), &e))?;
            let unprocessed = answer.unprocessed_items.and_then(|mut tables| tables.remove(&self.table));
            left = unprocessed.into_iter().flatten().filter_map(|r| r.put_request).map(|put| put.item).collect();
            if left.is_empty() {
                break;
            }
        }
        Ok(left)
    }
}

fn key_of(item: &Item) -> Option<Key> {
    match (item.get(schema::KEY), item.get(schema::SORT)) {
        (Some(AttributeValue::S(day)), Some(AttributeValue::S(key))) => Some((day.clone(), key.clone())),
        _ => None,
    }
}

/// A row's columns as attributes; absent ones are left out.
fn to_item(row: &ReportRow) -> serde_json::Result<Item> {
    let Value::Object(columns) = serde_json::to_value(row)? else {
        return Err(serde::ser::Error::custom("a report row is not an object"));
    };
    Ok(columns.into_iter().filter_map(|(name, value)| Some((name, to_attribute(value)?))).collect())
}

fn to_attribute(value: Value) -> Option<AttributeValue> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(yes) => AttributeValue::Bool(yes),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text),
        Value::Array(values) => AttributeValue::L(values.into_iter().filter_map(to_attribute).collect()),
        Value::Object(map) => {
            AttributeValue::M(map.into_iter().filter_map(|(name, v)| Some((name, to_attribute(v)?))).collect())
        }
    })
}

fn from_item(item: Item) -> serde_json::Result<ReportRow> {
    let columns: Map<String, Value> =
        item.into_iter().filter_map(|(name, value)| Some((name, from_attribute(value)?))).collect();
    serde_json::from_value(Value::Object(columns))
}

fn from_attribute(value: AttributeValue) -> Option<Value> {
    Some(match value {
        AttributeValue::S(text) => Value::String(text),
        AttributeValue::Bool(yes) => Value::Bool(yes),
        AttributeValue::N(digits) => from_digits(&digits)?,
        AttributeValue::L(values) => Value::Array(values.into_iter().filter_map(from_attribute).collect()),
        AttributeValue::M(map) => {
            Value::Object(map.into_iter().filter_map(|(name, v)| Some((name, from_attribute(v)?))).collect())
        }
        _ => return None,
    })
}

fn from_digits(digits: &str) -> Option<Value> {
    let whole = digits.parse::<u64>().ok().map(Number::from);
    whole.or_else(|| digits.parse().ok().and_then(Number::from_f64)).map(Value::Number)
}

#[async_trait]
impl Reports for DynamoReports {
    /// The last of several rows with one key is written; the others share its result.
    async fn put(&self, rows: Vec<ReportRow>) -> Vec<PortResult<()>> {
        let keys: Vec<Key> = rows.iter().map(|row| (row.day.clone(), row.finished_key.clone())).collect();
        let mut results: HashMap<Key, PortResult<()>> = HashMap::with_capacity(rows.len());
        let mut items: HashMap<Key, Item> = HashMap::with_capacity(rows.len());
        for (key, row) in keys.iter().zip(&rows) {
            match self.encode(row) {
                Ok(item) => drop(items.insert(key.clone(), item)),
                Err(error) => drop(results.insert(key.clone(), Err(error))),
            }
        }
        let mut items: Vec<(Key, Item)> = items.into_iter().collect();
        let mut batches = Vec::new();
        while !items.is_empty() {
            batches.push(items.split_off(items.len().saturating_sub(MAX_BATCH)));
        }
        let mut writes = stream::iter(batches).map(|batch| self.write(batch)).buffer_unordered(CONCURRENT_CALLS);
        while let Some(outcomes) = writes.next().await {
            results.extend(outcomes);
        }
        let lost = || Err(PortError::transient(self.what(), "the row was not answered for"));
        keys.iter().map(|key| results.get(key).cloned().unwrap_or_else(lost)).collect()
    }

    async fn page(&self, slice: Slice<'_>, limit: usize) -> PortResult<Vec<ReportRow>> {
        let what = format!("dynamodb read reports of {} from {}", slice.day, self.table);
        let (condition, bounds) = key_condition(slice);
        let mut rows = Vec::new();
        let mut start: Option<Item> = None;
        while rows.len() < limit {
            let mut query = self
                .client
                .query()
                .table_name(&self.table)
                .key_condition_expression(condition)
                .expression_attribute_names("#day", schema::KEY)
                .expression_attribute_values(":day", AttributeValue::S(slice.day.to_owned()))
                .limit(i32::try_from(limit - rows.len()).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start.take());
            if !bounds.is_empty() {
                query = query.expression_attribute_names("#key", schema::SORT);
            }
            for (name, key) in &bounds {
                query = query.expression_attribute_values(*name, AttributeValue::S((*key).to_owned()));
            }
            let answer = query.send().await.map_err(|e| port_error(&what, &e))?;
            for item in answer.items.unwrap_or_default() {
                let row = from_item(item).map_err(|e| PortError::permanent(&what, e))?;
                // `BETWEEN` takes in its bounds.
                if slice.after != Some(&row.finished_key) && slice.before != Some(&row.finished_key) {
                    rows.push(row);
                }
            }
            match answer.last_evaluated_key {
                Some(last) => start = Some(last),
                None => break,
            }
        }
        Ok(rows)
    }
}

/// The condition of a slice, and the keys that it names.
fn key_condition(slice: Slice<'_>) -> (&'static str, Vec<(&'static str, &str)>) {
    match (slice.after.filter(|key| !key.is_empty()), slice.before) {
        (None, None) => ("#day = :day", vec![]),
        (Some(after), None) => ("#day = :day AND #key > :after", vec![(":after", after)]),
        (None, Some(before)) => ("#day = :day AND #key < :before", vec![(":before", before)]),
        (Some(after), Some(before)) => {
            // DynamoDB refuses bounds in the wrong order.
            let before = before.max(after);
            ("#day = :day AND #key BETWEEN :after AND :before", vec![(":after", after), (":before", before)])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::clients::{Clients, emulator_config};
    use crate::aws::test_server::{Asked, Server, json};
    use crate::clock::Timestamp;
    use crate::request::RequestId;

    fn row(id: &str) -> ReportRow {
        let finished_at = Timestamp(1_795_252_123_456);
        ReportRow {
            finished_key: format!("{finished_at}#{id}"),
            request_id: RequestId::new(id).unwrap(),
            finished_at,
            latency_ms: Some(u64::MAX),
            deadline_met: Some(true),
            cost_usd: Some(0.000_000_123),
            metadata: std::collections::BTreeMap::from([("a".to_owned(), String::new())]),
            ..ReportRow::example()
        }
    }

    #[test]
    fn a_report_reads_back_and_its_columns_are_typed() {
        let item = to_item(&row("a")).unwrap();
        assert_eq!(item["attempts"], AttributeValue::N("1".to_owned()));
        assert_eq!(item["deadline_met"], AttributeValue::Bool(true));
        assert_eq!(item["finished_at"], AttributeValue::S("2026-11-21T09:08:43.456Z".to_owned()));
        assert!(!item.contains_key("use_case"));
        assert_eq!(from_item(item).unwrap(), row("a"));
    }

    fn reports(server: &Server) -> DynamoReports {
        let clients = Clients::new(&emulator_config(&server.url, "us-east-1").unwrap());
        DynamoReports::new(clients.dynamodb, "t", 400)
    }

    fn ids(asked: &Asked) -> Vec<String> {
        let body = asked.json();
        let requests = body["RequestItems"]["t"].as_array().unwrap().iter();
        let mut ids: Vec<String> =
            requests.map(|r| r["PutRequest"]["Item"]["request_id"]["S"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }

    #[tokio::test]
    async fn unprocessed_rows_are_sent_again_and_repeats_only_once() {
        let unprocessed = |asked: &Asked| {
            let body = asked.json();
            let first = &body["RequestItems"]["t"][0];
            json(200, &serde_json::json!({ "UnprocessedItems": { "t": [first] } }))
        };
        let done = |_: &Asked| json(200, &serde_json::json!({ "UnprocessedItems": {} }));
        let server = Server::replying(vec![Box::new(unprocessed), Box::new(done)]).await;
        let results = reports(&server).put(vec![row("a"), row("b"), row("a")]).await;
        assert!(results.len() == 3 && results.iter().all(Result::is_ok), "{results:?}");
        let asked = &server.script().asked;
        assert_eq!(ids(&asked[0]), ["a", "b"]);
        assert_eq!(ids(&asked[1]).len(), 1);
    }

    #[tokio::test]
    async fn a_row_that_cannot_be_stored_does_not_take_its_batch_along() {
        let invalid = || {
            let code = "com.amazon.coral.validate#ValidationException";
            json(400, &serde_json::json!({ "__type": code, "message": "Item size has exceeded the maximum" }))
        };
        let one = move |asked: &Asked| {
            let bad = asked.json()["Item"]["request_id"]["S"] == "bad";
            if bad { invalid() } else { json(200, &serde_json::json!({})) }
        };
        let server = Server::replying(vec![Box::new(move |_| invalid()), Box::new(one), Box::new(one)]).await;
        let results = reports(&server).put(vec![row("bad"), row("good")]).await;
        assert!(results[0].as_ref().is_err_and(|e| !e.retryable) && results[1].is_ok(), "{results:?}");
    }
}
