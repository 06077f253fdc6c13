//! The requests table on DynamoDB: [`Ledger`] with conditional writes and a sharded, sparse index of work lists.
//!
//! Every write carries a random `write_id`. The SDK repeats a write whose answer was lost; when the repeat finds its
//! condition broken but its own `write_id` on the row, the write had been applied, and that is what is answered.

mod flows;
mod item;
mod lists;
mod places;
mod update;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use futures_util::stream::{self, StreamExt};

use super::errors::port_error;
use super::schema::requests as schema;
use crate::clock::Timestamp;
use crate::ports::ledger::{Applied, Counts, Inserted, Ledger, Page, Transition, Work, WorkItem, WorkList};
use crate::ports::{PortError, PortResult};
use crate::request::{Flow, Priority, RequestId, Row, Status};
use flows::Flows;
use item::Item;
use places::Places;

/// Calls in flight for one verb.
const CONCURRENT_CALLS: usize = 16;
const SECONDS_PER_DAY: u64 = 86_400;

/// The requests table.
#[derive(Debug)]
pub struct DynamoLedger {
    client: Client,
    table: String,
    places: Places,
    retention_seconds: u64,
    flows: Flows,
}

impl DynamoLedger {
    /// The ledger in `table`, its work lists cut into `shards` partitions, final rows kept for `retention_days`.
    #[must_use]
    pub fn new(client: Client, table: &str, shards: u32, retention_days: u32) -> Self {
        Self {
            client,
            table: table.to_owned(),
            places: Places::new(shards),
            retention_seconds: u64::from(retention_days) * SECONDS_PER_DAY,
            flows: Flows::default(),
        }
    }

    fn what(&self, verb: &str, id: &RequestId) -> String {
        format!("dynamodb {verb} {id} in {}", self.table)
    }

    /// An insert of a row that was there tells of its flow again: the first may have been cut short before it did.
    async fn insert_one(&self, row: Row, work: Option<Work>) -> PortResult<Inserted> {
        let what = self.what("insert", &row.request.id);
        let place = self.places.of(&what, &row.request.id, row.status, work.as_ref())?;
        let flow = entered(work.as_ref()).cloned();
        let write_id = new_write_id();
        let item = item::encode(&what, &row, place, self.retention_seconds, &write_id)?;
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(#key)")
            .expression_attribute_names("#key", schema::KEY)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let put = put.send().await;
        if let Some(flow) = flow {
            self.flows.entered(&self.client, &self.table, &flow, row.updated_at).await?;
        }
        let Err(error) = put else { return Ok(Inserted::New) };
        let Some(PutItemError::ConditionalCheckFailedException(refused)) = error.as_service_error() else {
            return Err(port_error(what, &error));
        };
        match &refused.item {
            Some(present) if item::is_write(present, &write_id) => Ok(Inserted::New),
            Some(present) => Ok(Inserted::Exists(Box::new(item::decode(&what, present)?))),
            None => self.existing(&what, &row.request.id).await,
        }
    }

    /// For services that do not send the present item along with the refusal.
    async fn existing(&self, what: &str, id: &RequestId) -> PortResult<Inserted> {
        match self.get(id).await? {
            Some(row) => Ok(Inserted::Exists(Box::new(row))),
            None => Err(PortError::transient(what, "the row was there and is gone")),
        }
    }

    async fn apply_one(&self, transition: Transition) -> PortResult<Applied> {
        let what = self.what("update", &transition.id);
        if transition.from.is_empty() {
            return Ok(Applied::Refused(self.get(&transition.id).await?.map(Box::new)));
        }
        let place = self.places.of(&what, &transition.id, transition.to, transition.work.as_ref())?;
        let write_id = new_write_id();
        let update = update::build(&what, &transition, place, self.retention_seconds, &write_id)?;
        let call = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(schema::KEY, AttributeValue::S(transition.id.as_str().to_owned()))
            .update_expression(update.expression)
            .condition_expression(update.condition)
            .set_expression_attribute_names(Some(update.names))
            .set_expression_attribute_values(Some(update.values))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let error = match call.send().await {
            Ok(answer) => {
                if let Some(flow) = entered(transition.work.as_ref()) {
                    self.flows.entered(&self.client, &self.table, flow, transition.at).await?;
                }
                let row = answer.attributes.unwrap_or_default();
                return Ok(Applied::Done(Box::new(item::decode(&what, &row)?)));
            }
            Err(error) => error,
        };
        let Some(UpdateItemError::ConditionalCheckFailedException(refused)) = error.as_service_error() else {
            return Err(port_error(what, &error));
        };
        let Some(present) = &refused.item else {
            return Ok(Applied::Refused(self.get(&transition.id).await?.map(Box::new)));
        };
        let row = Box::new(item::decode(&what, present)?);
        Ok(if item::is_write(present, &write_id) { Applied::Done(row) } else { Applied::Refused(Some(row)) })
    }

    async fn read(&self, what: &str, key: &str) -> PortResult<Option<Item>> {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let answer =
            get.key(schema::KEY, AttributeValue::S(key.to_owned())).send().await.map_err(|e| port_error(what, &e))?;
        Ok(answer.item)
    }
}

/// The flow that a row enters at this place.
fn entered(work: Option<&Work>) -> Option<&Flow> {
    match &work?.list {
        WorkList::Ready(flow) => Some(flow),
        WorkList::Deferred | WorkList::Held | WorkList::Decided => None,
    }
}

/// Names one write, so that it is known again.
pub(super) fn new_write_id() -> String {
    format!("{:016x}", fastrand::u64(..))
}

#[async_trait]
impl Ledger for DynamoLedger {
    async fn insert(&self, rows: Vec<(Row, Option<Work>)>) -> Vec<PortResult<Inserted>> {
        stream::iter(rows).map(|(row, work)| self.insert_one(row, work)).buffered(CONCURRENT_CALLS).collect().await
    }

    async fn apply(&self, transitions: Vec<Transition>) -> Vec<PortResult<Applied>> {
        stream::iter(transitions).map(|t| self.apply_one(t)).buffered(CONCURRENT_CALLS).collect().await
    }

    async fn get(&self, id: &RequestId) -> PortResult<Option<Row>> {
        let what = self.what("read", id);
        self.read(&what, id.as_str()).await?.map(|found| item::decode(&what, &found)).transpose()
    }

    /// Reads `limit` items of each shard and merges them; what the index does not show yet comes with the next read.
    async fn list(&self, list: &WorkList, page: Page<'_>) -> PortResult<Vec<WorkItem>> {
        lists::page(&self.client, &self.table, &self.places.keys(list), page).await
    }

    async fn flows(&self, since: Option<Timestamp>) -> PortResult<Vec<Flow>> {
        self.flows.since(&self.client, &self.table, since).await
    }

    /// Indexes follow within milliseconds as a rule.
    fn list_lag(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// One query after another, so that it takes little of what the index can answer at a time.
    async fn ready_by_priority(&self) -> PortResult<BTreeMap<Priority, u64>> {
        let mut ready = BTreeMap::new();
        for flow in self.flows(None).await? {
            for key in self.places.keys(&WorkList::Ready(flow)) {
                lists::count_priorities(&self.client, &self.table, &key, &mut ready).await?;
            }
        }
        Ok(ready)
    }

    /// Counts the work lists, up to 100 MB of each list and shard: beyond some hundred thousand
    /// rows the counts are lower bounds. Final rows stand in no list and are not counted, and held rows count as
    /// queued, running or not: the index does not carry the status, which would cost a write for every claim.
    async fn counts(&self) -> PortResult<Counts> {
        let waiting = [WorkList::Deferred, WorkList::Decided].map(|list| self.places.keys(&list)).concat();
        let held = self.places.keys(&WorkList::Held);
        let (mut received, held, flows) = tokio::try_join!(
            lists::count(&self.client, &self.table, &waiting),
            lists::count(&self.client, &self.table, &held),
            self.flows(None),
        )?;
        let mut ready = BTreeMap::new();
        for flow in flows {
            let keys = self.places.keys(&WorkList::Ready(flow.clone()));
            let rows = lists::count(&self.client, &self.table, &keys).await?;
            if rows > 0 {
                received += rows;
                ready.insert(flow, rows);
            }
        }
        Ok(Counts { by_status: [(Status::Received, received), (Status::Queued, held)].into(), ready })
    }
}

#[cfg(test)]
mod tests;
