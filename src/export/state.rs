//! What an export notes at its target: `_smoother/export.json` for all of it, `_smoother/2026-11-21.json` for a day.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::target::{self, ExportTarget};
use super::{Format, Hour};
use crate::clock::Timestamp;
use crate::ports::{PortError, PortResult};

/// Of the notes' form. Newer ones are refused.
const VERSION: u32 = 1;
const OVERALL: &str = "_smoother/export.json";

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overall {
    version: u32,
    /// What all files here are.
    pub format: Format,
    /// All hours that begin before are done, as far as their rows were written by then.
    pub done_until: Option<Timestamp>,
}

/// One day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    version: u32,
    /// By `00` to `23`.
    pub hours: BTreeMap<String, Done>,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    pub rows: u64,
    pub bytes: u64,
    pub sha256: String,
    /// As the target tells it: only while it is still this one has nobody else written the file.
    pub tag: String,
}

impl Overall {
    /// What is noted at the target, or that it is begun with this format now.
    pub async fn open(target: &dyn ExportTarget, format: Format) -> PortResult<Self> {
        if let Some(found) = read::<Self>(target, OVERALL).await? {
            check_version(target, OVERALL, found.version)?;
            if found.format != format {
                let why = format!(
                    "it has {} files, and files of two formats cannot be read together; choose another target, or --format {}",
                    found.format, found.format
                );
                return Err(PortError::permanent(format!("export {format} to {}", target.name()), why));
            }
            return Ok(found);
        }
        let new = Self { version: VERSION, format, done_until: None };
        new.save(target).await?;
        Ok(new)
    }

    pub async fn save(&self, target: &dyn ExportTarget) -> PortResult<()> {
        write(target, OVERALL, self).await
    }
}

impl Day {
    fn path(day: &str) -> String {
        format!("_smoother/{day}.json")
    }

    pub async fn open(target: &dyn ExportTarget, day: &str) -> PortResult<Self> {
        let found: Self = read(target, &Self::path(day)).await?.unwrap_or(Self { version: VERSION, ..Self::default() });
        check_version(target, &Self::path(day), found.version)?;
        Ok(found)
    }

    pub async fn save(&self, target: &dyn ExportTarget, day: &str) -> PortResult<()> {
        write(target, &Self::path(day), self).await
    }

    /// The key of an hour in [`Day::hours`].
    pub fn key(hour: Hour) -> String {
        format!("{:02}", hour.of_day())
    }
}

async fn read<T: for<'a> Deserialize<'a>>(target: &dyn ExportTarget, path: &str) -> PortResult<Option<T>> {
    let Some(bytes) = target.read(path).await? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        let why = format!("{error}; it is not what smoother writes. Remove the file, and the export notes it all anew");
        PortError::permanent(format!("read {path} in {}", target.name()), why)
    })
}

async fn write<T: Serialize>(target: &dyn ExportTarget, path: &str, notes: &T) -> PortResult<()> {
    let json = serde_json::to_vec_pretty(notes)
        .map_err(|error| PortError::permanent(format!("write {path} in {}", target.name()), error))?;
    target::write(target, path, json).await.map(drop)
}

fn check_version(target: &dyn ExportTarget, path: &str, version: u32) -> PortResult<()> {
    if version <= VERSION {
        return Ok(());
    }
    let why = format!(
        "its version is {version} and this smoother knows {VERSION}; export with the newer smoother that wrote it"
    );
    Err(PortError::permanent(format!("read {path} in {}", target.name()), why))
}
