//! Reading work lists from the index: every shard at once, merged in order.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, Select};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::CONCURRENT_CALLS;
use super::item::{self, Fields, Item};
use super::places::{lower_bound, sort_of, upper_bound};
use crate::aws::errors::port_error;
use crate::aws::schema::requests as schema;
use crate::clock::Timestamp;
use crate::ports::PortResult;
use crate::ports::ledger::{Page, WorkItem};
use crate::request::{Priority, RequestId};

/// Pages of 1 MB that are counted of one list and shard.
pub const MAX_COUNT_PAGES: usize = 100;

/// A page of the list with these partition keys.
pub async fn page(client: &Client, table: &str, keys: &[String], page: Page<'_>) -> PortResult<Vec<WorkItem>> {
    let queries: Vec<_> = keys.iter().map(|key| shard(client, table, key, page)).collect();
    let shards: Vec<_> = stream::iter(queries).buffer_unordered(CONCURRENT_CALLS).try_collect().await?;
    Ok(merge(shards, page.limit))
}

fn merge(shards: Vec<Vec<WorkItem>>, limit: usize) -> Vec<WorkItem> {
    let mut items: Vec<WorkItem> = shards.into_iter().flatten().collect();
    items.sort_by(|a, b| a.sort.cmp(&b.sort).then_with(|| a.id.cmp(&b.id)));
    items.truncate(limit);
    items
}

/// A page of one shard; an answer ends at 1 MB, so there may be several.
async fn shard(client: &Client, table: &str, key: &str, page: Page<'_>) -> PortResult<Vec<WorkItem>> {
    let what = format!("dynamodb list {key} of {table}");
    let mut items = Vec::new();
    let mut start: Option<Item> = None;
    while items.len() < page.limit {
        let missing = i32::try_from(page.limit - items.len()).unwrap_or(i32::MAX);
        let mut query = client
            .query()
            .table_name(table)
            .index_name(schema::INDEX)
            .expression_attribute_names("#list", schema::INDEX_KEY)
            .expression_attribute_values(":list", item::text(key))
            .limit(missing)
            .set_exclusive_start_key(start.take());
        // A condition may bound a sort key on one side or on both, and both ends of BETWEEN belong to it.
        let after = page.after.map(|(sort, id)| lower_bound(sort, id));
        let up_to = page.up_to.map(upper_bound);
        let bounds = match (&after, &up_to) {
            (None, None) => "#list = :list",
            (None, Some(_)) => "#list = :list AND #sort <= :up_to",
            (Some(_), None) => "#list = :list AND #sort >= :after",
            (Some(after), Some(up_to)) if after > up_to => return Ok(items),
            (Some(_), Some(_)) => "#list = :list AND #sort BETWEEN :after AND :up_to",
        };
        query = query.key_condition_expression(bounds);
        if after.is_some() || up_to.is_some() {
            query = query.expression_attribute_names("#sort", schema::INDEX_SORT);
        }
        for (name, bound) in [(":after", after), (":up_to", up_to)] {
            if let Some(bound) = bound {
                query = query.expression_attribute_values(name, item::text(bound));
            }
        }
        let answer = query.send().await.map_err(|e| port_error(&what, &e))?;
        for found in answer.items.unwrap_or_default() {
            match work_item(&what, &found) {
                Ok(item) => items.push(item),
                // Of another version or another hand; it must not hide the rest of the list.
                Err(error) => tracing::error!(%error, "skipped an item of a work list"),
            }
        }
        match answer.last_evaluated_key {
            Some(last) => start = Some(last),
            None => break,
        }
    }
    Ok(items)
}

fn work_item(what: &str, found: &Item) -> PortResult<WorkItem> {
    let fields = Fields { what, item: found };
    let need = |name: &str| fields.text(name)?.ok_or_else(|| fields.bad(name));
    let sort = need(schema::INDEX_SORT)?;
    Ok(WorkItem {
        id: RequestId::new(need(schema::KEY)?).map_err(|_| fields.bad(schema::KEY))?,
        sort: sort_of(&sort).ok_or_else(|| fields.bad(schema::INDEX_SORT))?.to_owned(),
        flow: fields.flow()?,
        priority: fields.priority()?,
        rank: need(item::RANK)?,
        estimate: fields.estimate()?,
        deadline: fields.number(item::DEADLINE)?.map(Timestamp),
    })
}

/// How many rows stand in the lists with these partition keys.
pub async fn count(client: &Client, table: &str, keys: &[String]) -> PortResult<u64> {
    let queries: Vec<_> = keys.iter().map(|key| count_shard(client, table, key)).collect();
    let counted: Vec<u64> = stream::iter(queries).buffer_unordered(CONCURRENT_CALLS).try_collect().await?;
    Ok(counted.into_iter().sum())
}

async fn count_shard(client: &Client, table: &str, key: &str) -> PortResult<u64> {
    let what = format!("dynamodb count {key} of {table}");
    let mut count = 0;
    let mut start: Option<Item> = None;
    for _ in 0..MAX_COUNT_PAGES {
        let answer = client
            .query()
            .table_name(table)
            .index_name(schema::INDEX)
            .key_condition_expression("#list = :list")
            .select(Select::Count)
            .expression_attribute_names("#list", schema::INDEX_KEY)
            .expression_attribute_values(":list", AttributeValue::S(key.to_owned()))
            .set_exclusive_start_key(start.take())
            .send()
            .await
            .map_err(|e| port_error(&what, &e))?;
        count += u64::try_from(answer.count).unwrap_or_default();
        match answer.last_evaluated_key {
            Some(last) => start = Some(last),
            None => break,
        }
    }
    Ok(count)
}

/// Adds the rows in the list with this partition key to the counts of their priorities.
pub async fn count_priorities(
    client: &Client,
    table: &str,
    key: &str,
    counts: &mut BTreeMap<Priority, u64>,
) -> PortResult<()> {
    let what = format!("dynamodb count {key} of {table} by priority");
    let mut start: Option<Item> = None;
    loop {
        let query = client
            .query()
            .table_name(table)
            .index_name(schema::INDEX)
            .key_condition_expression("#list = :list")
            .projection_expression("#priority")
            .expression_attribute_names("#list", schema::INDEX_KEY)
            .expression_attribute_names("#priority", item::PRIORITY)
            .expression_attribute_values(":list", item::text(key))
            .set_exclusive_start_key(start.take());
        let answer = query.send().await.map_err(|e| port_error(&what, &e))?;
        for found in answer.items.unwrap_or_default() {
            match (Fields { what: &what, item: &found }).priority() {
                Ok(priority) => *counts.entry(priority).or_default() += 1,
                // Of another version or another hand; it must not hide the rest.
                Err(error) => tracing::error!(%error, "skipped an item of a work list"),
            }
        }
        match answer.last_evaluated_key {
            Some(last) => start = Some(last),
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Estimate, Flow, Lane, ModelId, Priority, Tenant};

    fn at(sort: &str, id: &str) -> WorkItem {
        WorkItem {
            id: RequestId::new(id).unwrap(),
            sort: sort.to_owned(),
            flow: Flow {
                lane: Lane::new("default", "us-east-1", &ModelId::new("m").unwrap()),
                tenant: Tenant::default(),
                urgent: false,
                use_case: None,
            },
            priority: Priority::NORMAL,
            rank: "1".to_owned(),
            estimate: Estimate::default(),
            deadline: None,
        }
    }

    #[test]
    fn shards_merge_by_sort_then_id() {
        let merged = merge(vec![vec![at("1", "b"), at("3", "a")], vec![at("1", "a"), at("2", "z")], vec![]], 3);
        let got: Vec<_> = merged.iter().map(|i| (i.sort.as_str(), i.id.as_str())).collect();
        assert_eq!(got, [("1", "a"), ("1", "b"), ("2", "z")]);
    }
}
