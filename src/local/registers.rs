//! Registers: rows with a version.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};

use super::database::Database;
use super::schema::{integer, natural};
use crate::ports::{PortResult, Register, Registers};

/// The registers table.
pub(super) struct LocalRegisters {
    pub database: Database,
}

#[async_trait]
impl Registers for LocalRegisters {
    async fn read(&self, name: &str) -> PortResult<Option<Register>> {
        let key = name.to_owned();
        self.database
            .read(&format!("local registers: read {name}"), move |connection| {
                Ok(connection
                    .prepare_cached("SELECT version, value FROM registers WHERE name = ?")?
                    .query_row([key], |row| Ok(Register { version: natural(row.get(0)?), value: row.get(1)? }))
                    .optional()?)
            })
            .await
    }

    async fn write(&self, name: &str, expected: u64, value: String) -> PortResult<bool> {
        let key = name.to_owned();
        self.database
            .write(&format!("local registers: write {name}"), move |connection| {
                let changed = if expected == 0 {
                    connection
                        .prepare_cached("INSERT INTO registers VALUES (?, 1, ?) ON CONFLICT DO NOTHING")?
                        .execute(params![key, value])?
                } else {
                    connection
                        .prepare_cached(
                            "UPDATE registers SET version = version + 1, value = ? WHERE name = ? AND version = ?",
                        )?
                        .execute(params![value, key, integer(expected)])?
                };
                Ok(changed == 1)
            })
            .await
    }

    async fn remove(&self, name: &str, expected: u64) -> PortResult<bool> {
        let key = name.to_owned();
        self.database
            .write(&format!("local registers: remove {name}"), move |connection| {
                let changed = connection
                    .prepare_cached("DELETE FROM registers WHERE name = ? AND version = ?")?
                    .execute(params![key, integer(expected)])?;
                Ok(changed == 1)
            })
            .await
    }

    async fn list(&self, prefix: &str) -> PortResult<Vec<(String, Register)>> {
        let prefix = prefix.to_owned();
        self.database
            .read(&format!("local registers: list {prefix}"), move |connection| {
                let mut statement = connection
                    .prepare_cached("SELECT name, version, value FROM registers WHERE name >= ? ORDER BY name")?;
                let mut rows = statement.query([&prefix])?;
                let mut found = Vec::new();
                // Names with the prefix stand together, right from the prefix itself on.
                while let Some(row) = rows.next()? {
                    let name: String = row.get(0)?;
                    if !name.starts_with(&prefix) {
                        break;
                    }
                    found.push((name, Register { version: natural(row.get(1)?), value: row.get(2)? }));
                }
                Ok(found)
            })
            .await
    }
}
