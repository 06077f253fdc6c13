//! Which flows there are: an item each, that stands in the index by when a row last entered the flow's list.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;

use super::item::{self, Fields, Item};
use super::places::flow_key;
use crate::aws::errors::port_error;
use crate::aws::schema::requests as schema;
use crate::clock::Timestamp;
use crate::ports::PortResult;
use crate::ports::ledger::Work;
use crate::request::{Flow, Priority};

/// An entry is noted at most once in so many milliseconds for each flow and process.
const NOTED_EVERY: u64 = 1_000;

/// The flows, and what this process has noted of them.
#[derive(Debug, Default)]
pub struct Flows {
    noted: Mutex<HashMap<Flow, Timestamp>>,
}

impl Flows {
    /// Notes that a row has entered `flow` at `at`.
    pub async fn entered(&self, client: &Client, table: &str, flow: &Flow, at: Timestamp) -> PortResult<()> {
        let fresh = |noted: &Timestamp| at.0 < noted.0 + NOTED_EVERY;
        if self.noted.lock().unwrap_or_else(PoisonError::into_inner).get(flow).is_some_and(fresh) {
            return Ok(());
        }
        let key = flow_key(flow);
        let mut note = client
            .put_item()
            .table_name(table)
            .item(schema::KEY, item::text(format!("{}{key}", schema::FLOW_PREFIX)))
            .item(schema::INDEX_KEY, item::text(schema::FLOWS_LIST))
            .item(schema::INDEX_SORT, item::text(format!("{}\t{key}", Work::time_key(at))))
            .item(item::LANE, item::text(flow.lane.as_str()))
            .item(item::TENANT, item::text(flow.tenant.as_str()))
            .item(item::PRIORITY, item::number(if flow.urgent { Priority::URGENT } else { Priority::NORMAL }.number()));
        if let Some(use_case) = &flow.use_case {
            note = note.item(item::USE_CASE, item::text(use_case));
        }
        note.send().await.map_err(|e| port_error(format!("dynamodb note flow {key} in {table}"), &e))?;
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).insert(flow.clone(), at);
        Ok(())
    }

    /// The flows that rows have entered since.
    pub async fn since(&self, client: &Client, table: &str, since: Option<Timestamp>) -> PortResult<Vec<Flow>> {
        let what = format!("dynamodb list flows of {table}");
        let mut flows = Vec::new();
        let mut start: Option<Item> = None;
        loop {
            let query = client
                .query()
                .table_name(table)
                .index_name(schema::INDEX)
                .key_condition_expression("#list = :list AND #sort >= :since")
                .expression_attribute_names("#list", schema::INDEX_KEY)
                .expression_attribute_names("#sort", schema::INDEX_SORT)
                .expression_attribute_values(":list", AttributeValue::S(schema::FLOWS_LIST.to_owned()))
                .expression_attribute_values(":since", item::text(Work::time_key(since.unwrap_or_default())))
                .set_exclusive_start_key(start.take());
            let answer = query.send().await.map_err(|e| port_error(&what, &e))?;
            for found in answer.items.unwrap_or_default() {
                match (Fields { what: &what, item: &found }).flow() {
                    Ok(flow) => flows.push(flow),
                    // Of another version or another hand; it must not hide the rest.
                    Err(error) => tracing::error!(%error, "skipped a flow"),
                }
            }
            match answer.last_evaluated_key {
                Some(last) => start = Some(last),
                None => return Ok(flows),
            }
        }
    }
}
