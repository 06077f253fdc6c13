//! Rows as bytes of a file.

mod csv;
mod jsonl;
mod parquet;

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::ports::{PortError, PortResult, ReportRow};

pub use self::parquet::parquet_type;

/// What files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Typed columns, compressed by Snappy.
    Parquet,
    /// One JSON object a line, absent values as null.
    Jsonl,
    /// With a header, quoted as RFC 4180 says.
    Csv,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parquet => "parquet",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
        })
    }
}

/// Makes one file: the same rows give the same bytes.
pub(super) enum Encoder {
    Parquet(Box<parquet::Parquet>),
    Lines(Vec<u8>, fn(&mut Vec<u8>, &ReportRow) -> Result<(), String>),
}

impl Encoder {
    pub(super) fn new(format: Format) -> PortResult<Self> {
        Ok(match format {
            Format::Parquet => {
                let parquet = parquet::Parquet::new();
                Self::Parquet(Box::new(parquet.map_err(|why| PortError::permanent("begin a Parquet file", why))?))
            }
            Format::Jsonl => Self::Lines(vec![], jsonl::add),
            Format::Csv => Self::Lines(csv::header(), csv::add),
        })
    }

    pub(super) fn add(&mut self, row: &ReportRow) -> Result<(), String> {
        match self {
            Self::Parquet(file) => file.add(row),
            Self::Lines(bytes, add) => add(bytes, row),
        }
    }

    /// How many bytes there are to be taken.
    pub(super) fn ready(&mut self) -> usize {
        match self {
            Self::Parquet(file) => file.bytes().len(),
            Self::Lines(bytes, _) => bytes.len(),
        }
    }

    /// What there is so far; the file goes on behind it.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Parquet(file) => file.bytes(),
            Self::Lines(bytes, _) => bytes,
        })
    }

    /// Ends the file; what is left of it.
    pub(super) fn finish(&mut self) -> Result<Vec<u8>, String> {
        if let Self::Parquet(file) = self {
            file.finish()?;
        }
        Ok(self.take())
    }
}
