//! Reading work lists from the index: every shard at once, merged in order.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, Select};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::CONCURRENT_CALLS;
use super::item::{self, Fields, Item};
use super::places::{sort_of, upper_bound};
use crate::aws::errors::port_error;
use crate::aws::schema::requests as schema;
use crate::ports::PortResult;
use crate::ports::ledger::WorkItem;
use crate::request::RequestId;

/// Pages of 1 MB that are counted of one list and shard.
pub const MAX_COUNT_PAGES: usize = 100;

/// The first `limit` items of the list with these partition keys, up to `up_to`.
pub async fn first(
    client: &Client,
    table: &str,
    keys: &[String],
    up_to: Option<&str>,
    limit: usize,
) -> PortResult<Vec<WorkItem>> {
    let queries: Vec<_> = keys.iter().map(|key| shard(client, table, key, up_to, limit)).collect();
    let shards: Vec<_> = stream::iter(queries).buffer_unordered(CONCURRENT_CALLS).try_collect().await?;
    Ok(merge(shards, limit))
}

fn merge(shards: Vec<Vec<WorkItem>>, limit: usize) -> Vec<WorkItem> {
    let mut items: Vec<WorkItem> = shards.into_iter().flatten().collect();
    items.sort_by(|a, b| a.sort.cmp(&b.sort).then_with(|| a.id.cmp(&b.id)));
    items.truncate(limit);
    items
}

/// The first `limit` items of one shard; a page ends at 1 MB, so there may be several.
async fn shard(
    client: &Client,
    table: &str,
    key: &str,
    up_to: Option<&str>,
    limit: usize,
) -> PortResult<Vec<WorkItem>> {
    let what = format!("dynamodb list {key} of {table}");
    let mut items = Vec::new();
    let mut start: Option<Item> = None;
    while items.len() < limit {
        let page = i32::try_from(limit - items.len()).unwrap_or(i32::MAX);
        let mut query = client
            .query()
            .table_name(table)
            .index_name(schema::INDEX)
            .expression_attribute_names("#list", schema::INDEX_KEY)
            .expression_attribute_values(":list", item::text(key))
            .limit(page)
            .set_exclusive_start_key(start.take());
        query = match up_to {
            Some(sort) => query
                .key_condition_expression("#list = :list AND #sort <= :up_to")
                .expression_attribute_names("#sort", schema::INDEX_SORT)
                .expression_attribute_values(":up_to", item::text(upper_bound(sort))),
            None => query.key_condition_expression("#list = :list"),
        };
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
        lane: item::lane(what, &need(item::LANE)?)?,
        rank: need(item::RANK)?,
        estimate: fields.estimate()?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Estimate, Lane, ModelId};

    fn at(sort: &str, id: &str) -> WorkItem {
        WorkItem {
            id: RequestId::new(id).unwrap(),
            sort: sort.to_owned(),
            lane: Lane::new("default", "us-east-1", &ModelId::new("m").unwrap()),
            rank: "1".to_owned(),
            estimate: Estimate::default(),
        }
    }

    #[test]
    fn shards_merge_by_sort_then_id() {
        let merged = merge(vec![vec![at("1", "b"), at("3", "a")], vec![at("1", "a"), at("2", "z")], vec![]], 3);
        let got: Vec<_> = merged.iter().map(|i| (i.sort.as_str(), i.id.as_str())).collect();
        assert_eq!(got, [("1", "a"), ("1", "b"), ("2", "z")]);
    }
}
