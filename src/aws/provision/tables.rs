//! The two tables.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, SdkError};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, IndexStatus, KeySchemaElement, KeyType,
    PointInTimeRecoverySpecification, Projection, ProjectionType, ScalarAttributeType, TableDescription, TableStatus,
    TimeToLiveSpecification,
};

use super::schema;
use super::tolerate;
use crate::aws::errors::port_error;
use crate::ports::{PortError, PortResult};

const POLL: Duration = Duration::from_millis(500);
/// Ten minutes: an index on a large table takes its time.
const MAX_POLLS: u32 = 1200;

/// What a table is to be.
pub struct Design {
    name: String,
    attributes: Vec<AttributeDefinition>,
    keys: Vec<KeySchemaElement>,
    indexes: Vec<GlobalSecondaryIndex>,
    ttl: &'static str,
}

impl Design {
    /// As the schema has it.
    pub fn of(table: &schema::Table) -> PortResult<Self> {
        let what = || format!("design of table {}", table.name);
        Self::build(table).map_err(|e| PortError::permanent(what(), e))
    }

    fn build(table: &schema::Table) -> Result<Self, BuildError> {
        let of_indexes = table.indexes.iter().flat_map(|index| index.keys);
        Ok(Self {
            name: table.name.clone(),
            attributes: table.keys.iter().chain(of_indexes).map(attribute).collect::<Result<_, _>>()?,
            keys: elements(table.keys)?,
            indexes: table.indexes.iter().map(index).collect::<Result<_, _>>()?,
            ttl: table.ttl,
        })
    }
}

fn index(index: &schema::Index) -> Result<GlobalSecondaryIndex, BuildError> {
    let includes = index.includes.iter().map(|name| (*name).to_owned()).collect();
    GlobalSecondaryIndex::builder()
        .index_name(index.name)
        .set_key_schema(Some(elements(index.keys)?))
        .projection(
            Projection::builder()
                .projection_type(ProjectionType::Include)
                .set_non_key_attributes(Some(includes))
                .build(),
        )
        .build()
}

fn attribute(key: &schema::Key) -> Result<AttributeDefinition, BuildError> {
    let key_type = match key.key_type {
        schema::KeyType::S => ScalarAttributeType::S,
    };
    AttributeDefinition::builder().attribute_name(key.name).attribute_type(key_type).build()
}

fn elements(keys: &[schema::Key]) -> Result<Vec<KeySchemaElement>, BuildError> {
    let element = |key: &schema::Key| {
        let kind = match key.kind {
            schema::KeyKind::Hash => KeyType::Hash,
            schema::KeyKind::Range => KeyType::Range,
        };
        KeySchemaElement::builder().attribute_name(key.name).key_type(kind).build()
    };
    keys.iter().map(element).collect()
}

/// Creates the table unless it is there, waits until it and its index are active, and switches time to live and backups on.
pub async fn create(client: &Client, design: Design) -> PortResult<()> {
    let what = format!("dynamodb create table {}", design.name);
    let created = client
        .create_table()
        .table_name(&design.name)
        .set_attribute_definitions(Some(design.attributes.clone()))
        .set_key_schema(Some(design.keys.clone()))
        .set_global_secondary_indexes(Some(design.indexes.clone()).filter(|indexes| !indexes.is_empty()))
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await;
    match created {
        Ok(_) => {}
        Err(SdkError::ServiceError(e)) if e.err().is_resource_in_use_exception() => {}
        Err(e) => return Err(port_error(what, &e)),
    }
    wait_until_active(client, &what, &design).await?;
    tolerate(expire(client, &design).await);
    tolerate(back_up(client, &design.name).await);
    Ok(())
}

async fn wait_until_active(client: &Client, what: &str, design: &Design) -> PortResult<()> {
    for _ in 0..MAX_POLLS {
        let answer = client.describe_table().table_name(&design.name).send().await.map_err(|e| port_error(what, &e))?;
        if let Some(table) = answer.table {
            check(what, design, &table)?;
            if is_active(&table) {
                return Ok(());
            }
        }
        tokio::time::sleep(POLL).await;
    }
    Err(PortError::transient(what, "the table is still not active; run this again later"))
}

fn is_active(table: &TableDescription) -> bool {
    let indexes = table.global_secondary_indexes();
    table.table_status() == Some(&TableStatus::Active)
        && indexes.iter().all(|index| index.index_status().is_none_or(|s| *s == IndexStatus::Active))
}

/// A table of that name with other keys is somebody else's.
fn check(what: &str, design: &Design, table: &TableDescription) -> PortResult<()> {
    if table.key_schema() != design.keys {
        return Err(PortError::permanent(what, "a table of that name is there with other keys; choose another prefix"));
    }
    design.indexes.iter().try_for_each(|index| check_index(what, index, table))
}

fn check_index(what: &str, index: &GlobalSecondaryIndex, table: &TableDescription) -> PortResult<()> {
    let found = table.global_secondary_indexes().iter().find(|i| i.index_name() == Some(index.index_name()));
    let Some(found) = found.filter(|found| found.key_schema() == index.key_schema()) else {
        let why = format!("the table is there without its index {}; choose another prefix", index.index_name());
        return Err(PortError::permanent(what, why));
    };
    let carries = |name: &String| {
        let carried = found.projection().map(Projection::non_key_attributes).unwrap_or_default();
        // Whoever does not tell of any is taken to have them all.
        carried.is_empty() || carried.contains(name)
    };
    let wanted = index.projection().map(Projection::non_key_attributes).unwrap_or_default();
    match wanted.iter().find(|name| !carries(name)) {
        None => Ok(()),
        Some(name) => {
            let why = format!(
                "the index {} of the table does not carry {name}: an earlier smoother made it, and DynamoDB cannot change that; choose another prefix, or delete the table once nothing in it is needed",
                index.index_name()
            );
            Err(PortError::permanent(what, why))
        }
    }
}

async fn expire(client: &Client, design: &Design) -> PortResult<()> {
    let what = format!("dynamodb set time to live of {}", design.name);
    let describe = client.describe_time_to_live().table_name(&design.name).send().await;
    let present = describe.map_err(|e| port_error(&what, &e))?.time_to_live_description;
    if present.is_some_and(|ttl| ttl.attribute_name() == Some(design.ttl)) {
        return Ok(());
    }
    let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name(design.ttl).build();
    let ttl = ttl.map_err(|e| PortError::permanent(&what, e))?;
    let update = client.update_time_to_live().table_name(&design.name).time_to_live_specification(ttl);
    update.send().await.map(drop).map_err(|e| port_error(what, &e))
}

async fn back_up(client: &Client, name: &str) -> PortResult<()> {
    let what = format!("dynamodb switch on point-in-time recovery of {name}");
    let recovery = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build();
    let recovery = recovery.map_err(|e| PortError::permanent(&what, e))?;
    let update = client.update_continuous_backups().table_name(name).point_in_time_recovery_specification(recovery);
    update.send().await.map(drop).map_err(|e| port_error(what, &e))
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::GlobalSecondaryIndexDescription;

    use super::*;

    fn requests() -> Design {
        Design::of(&schema::Tables::new(&schema::Names::new("t")).requests).unwrap()
    }

    fn present(carried: &[&str]) -> TableDescription {
        let design = requests();
        let [index] = &design.indexes[..] else { panic!("one index") };
        let names = carried.iter().map(|name| (*name).to_owned()).collect();
        let index = GlobalSecondaryIndexDescription::builder()
            .index_name(index.index_name())
            .set_key_schema(Some(index.key_schema().to_vec()))
            .projection(Projection::builder().set_non_key_attributes(Some(names)).build())
            .build();
        TableDescription::builder().set_key_schema(Some(design.keys)).global_secondary_indexes(index).build()
    }

    #[test]
    fn an_index_of_an_earlier_version_is_told() {
        let design = requests();
        assert!(check("w", &design, &present(&schema::requests::INDEX_INCLUDES)).is_ok());
        assert!(check("w", &design, &present(&[])).is_ok());
        let error = check("w", &design, &present(&["lane", "rank"])).unwrap_err();
        assert!(!error.retryable && error.why.contains("does not carry tenant"), "{error}");
    }
}
