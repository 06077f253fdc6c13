//! Registers on DynamoDB: reserved items of the requests table, written with compare-and-swap.
//!
//! [`Registers::list`] finds the names in the work index (registers stand there under a list of their own, and only when
//! created or removed is that entry written) and then reads the values consistently. So a value is never stale, but
//! a register that was just created may be missing from the list for a moment. A register has no time to live.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Builder, retry::RetryConfig};
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnValuesOnConditionCheckFailure};

use super::dynamodb_ledger::new_write_id;
use super::errors::port_error;
use super::schema::requests as schema;
use crate::ports::{PortError, PortResult, Register, Registers};

type Item = HashMap<String, AttributeValue>;

const VERSION: &str = "version";
const VALUE: &str = "value";
const WRITE_ID: &str = "write_id";
/// Keys of one BatchGetItem.
const MAX_KEYS: usize = 100;
/// Rounds for keys that DynamoDB left unprocessed.
const ROUNDS: u32 = 6;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// The registers in the requests table.
#[derive(Clone, Debug)]
pub struct DynamoRegisters {
    client: Client,
    table: String,
}

impl DynamoRegisters {
    /// The registers in `table`.
    #[must_use]
    pub fn new(client: Client, table: &str) -> Self {
        Self { client, table: table.to_owned() }
    }

    fn what(&self, verb: &str, name: &str) -> String {
        format!("dynamodb {verb} register {name} in {}", self.table)
    }

    async fn names(&self, prefix: &str) -> PortResult<Vec<String>> {
        let what = self.what("list", prefix);
        let mut names = Vec::new();
        let mut start: Option<Item> = None;
        loop {
            let mut query = self
                .client
                .query()
                .table_name(&self.table)
                .index_name(schema::INDEX)
                .projection_expression("#sort")
                .expression_attribute_names("#list", schema::INDEX_KEY)
                .expression_attribute_names("#sort", schema::INDEX_SORT)
                .expression_attribute_values(":list", text(schema::REGISTERS_LIST))
                .set_exclusive_start_key(start.take());
            query = if prefix.is_empty() {
                query.key_condition_expression("#list = :list")
            } else {
                query
                    .key_condition_expression("#list = :list AND begins_with(#sort, :prefix)")
                    .expression_attribute_values(":prefix", text(prefix))
            };
            let answer = query.send().await.map_err(|e| port_error(&what, &e))?;
            for mut item in answer.items.unwrap_or_default() {
                if let Some(AttributeValue::S(name)) = item.remove(schema::INDEX_SORT) {
                    names.push(name);
                }
            }
            match answer.last_evaluated_key {
                Some(last) => start = Some(last),
                None => return Ok(names),
            }
        }
    }

    /// The registers of these names that are there, in no order.
    async fn read_all(&self, names: &[String]) -> PortResult<Vec<(String, Register)>> {
        let what = format!("dynamodb read registers in {}", self.table);
        let keys = names.iter().map(|name| Item::from([(schema::KEY.to_owned(), text(id_of(name)))])).collect();
        let mut left = keys_and_attributes(&what, keys)?;
        let mut found = Vec::new();
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(PAUSE * 2u32.pow(round - 1)).await;
            }
            let call = self.client.batch_get_item().request_items(&self.table, left);
            let answer = call.send().await.map_err(|e| port_error(&what, &e))?;
            for item in answer.responses.into_iter().flat_map(|tables| tables.into_values().flatten()) {
                if let Some(AttributeValue::S(id)) = item.get(schema::KEY)
                    && let Some(name) = id.strip_prefix(schema::REGISTER_PREFIX)
                {
                    found.push((name.to_owned(), register(&what, &item)?));
                }
            }
            match answer.unprocessed_keys.and_then(|mut tables| tables.remove(&self.table)) {
                Some(keys) => left = keys,
                None => return Ok(found),
            }
        }
        Err(PortError::transient(what, "DynamoDB left some of the keys unprocessed"))
    }
}

fn keys_and_attributes(what: &str, keys: Vec<Item>) -> PortResult<KeysAndAttributes> {
    KeysAndAttributes::builder()
        .set_keys(Some(keys))
        .consistent_read(true)
        .build()
        .map_err(|e| PortError::permanent(what, e))
}

fn id_of(name: &str) -> String {
    format!("{}{name}", schema::REGISTER_PREFIX)
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn register(what: &str, item: &Item) -> PortResult<Register> {
    let version = match item.get(VERSION) {
        Some(AttributeValue::N(digits)) => digits.parse().ok(),
        _ => None,
    };
    match (version, item.get(VALUE)) {
        (Some(version), Some(AttributeValue::S(value))) => Ok(Register { version, value: value.clone() }),
        _ => Err(PortError::permanent(what, "the item is not a register")),
    }
}

#[async_trait]
impl Registers for DynamoRegisters {
    async fn read(&self, name: &str) -> PortResult<Option<Register>> {
        let what = self.what("read", name);
        let get = self.client.get_item().table_name(&self.table).key(schema::KEY, text(id_of(name)));
        let answer = get.consistent_read(true).send().await.map_err(|e| port_error(&what, &e))?;
        answer.item.map(|item| register(&what, &item)).transpose()
    }

    async fn write(&self, name: &str, expected: u64, value: String) -> PortResult<bool> {
        let what = self.what("write", name);
        let write_id = new_write_id();
        let mut put = self
            .client
            .put_item()
            .table_name(&self.table)
            .item(schema::KEY, text(id_of(name)))
            .item(schema::INDEX_KEY, text(schema::REGISTERS_LIST))
            .item(schema::INDEX_SORT, text(name))
            .item(VERSION, AttributeValue::N(expected.saturating_add(1).to_string()))
            .item(VALUE, text(value))
            .item(WRITE_ID, text(&write_id))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        put = if expected == 0 {
            put.condition_expression("attribute_not_exists(#key)").expression_attribute_names("#key", schema::KEY)
        } else {
            put.condition_expression("#version = :expected")
                .expression_attribute_names("#version", VERSION)
                .expression_attribute_values(":expected", AttributeValue::N(expected.to_string()))
        };
        let Err(error) = put.send().await else { return Ok(true) };
        let Some(PutItemError::ConditionalCheckFailedException(refused)) = error.as_service_error() else {
            return Err(port_error(what, &error));
        };
        // The SDK's repeat of this very write, whose first answer was lost, finds itself.
        Ok(refused.item.as_ref().is_some_and(|present| present.get(WRITE_ID) == Some(&text(write_id))))
    }

    /// Not repeated by the SDK: a repeat could not tell its own first success from somebody else's.
    async fn remove(&self, name: &str, expected: u64) -> PortResult<bool> {
        let delete = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key(schema::KEY, text(id_of(name)))
            .condition_expression("#version = :expected")
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_values(":expected", AttributeValue::N(expected.to_string()))
            .customize()
            .config_override(Builder::new().retry_config(RetryConfig::disabled()));
        match delete.send().await {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(e)) if e.err().is_conditional_check_failed_exception() => Ok(false),
            Err(e) => Err(port_error(self.what("remove", name), &e)),
        }
    }

    async fn list(&self, prefix: &str) -> PortResult<Vec<(String, Register)>> {
        let names = self.names(prefix).await?;
        let mut found = Vec::with_capacity(names.len());
        for some in names.chunks(MAX_KEYS) {
            found.extend(self.read_all(some).await?);
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }
}
