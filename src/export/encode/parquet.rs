//! Parquet: a file of row groups, each column a chunk in them.

use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::TypePtr;

use crate::export::columns;
use crate::ports::ReportRow;
use crate::ports::reports::{Cell, Column, Kind};

/// Rows of a row group at most.
const GROUP_ROWS: usize = 50_000;
/// What the values of a row group take in memory at most, about.
const GROUP_BYTES: usize = 64 << 20;

/// A column's type in the words of Parquet's schemas.
#[must_use]
pub fn parquet_type(column: &Column) -> String {
    let presence = if column.optional { "optional" } else { "required" };
    let name = column.name;
    match column.kind {
        Kind::Text => format!("{presence} binary {name} (STRING);"),
        Kind::Time => format!("{presence} int64 {name} (TIMESTAMP(MILLIS,true));"),
        Kind::Whole => format!("{presence} int64 {name};"),
        Kind::Real => format!("{presence} double {name};"),
        Kind::Flag => format!("{presence} boolean {name};"),
        Kind::Pairs => format!(
            "{presence} group {name} (MAP) {{ repeated group key_value {{ required binary key (STRING); required binary value (STRING); }} }}"
        ),
    }
}

fn schema() -> Result<TypePtr, ParquetError> {
    let columns: Vec<String> = columns().map(|(_, column)| parquet_type(column)).collect();
    parse_message_type(&format!("message report {{ {} }}", columns.join(" "))).map(Arc::new)
}

fn properties() -> WriterProperties {
    let about = |(_, column): (usize, &Column)| {
        let unit = if column.unit.is_empty() { String::new() } else { format!(" [{}]", column.unit) };
        KeyValue::new(format!("smoother.column.{}", column.name), format!("{}{unit}", column.about()))
    };
    WriterProperties::builder()
        .set_created_by(concat!("smoother ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(None)
        .set_key_value_metadata(Some(columns().map(about).collect()))
        .build()
}

/// A file in the making.
pub(in crate::export) struct Parquet {
    writer: SerializedFileWriter<Vec<u8>>,
    chunks: Vec<Chunk>,
    rows: usize,
    /// What the chunks take, about.
    held: usize,
}

impl Parquet {
    pub(super) fn new() -> Result<Self, String> {
        let schema = schema().map_err(|error| error.to_string())?;
        let writer = SerializedFileWriter::new(vec![], schema, Arc::new(properties()));
        let chunks = columns().map(|(_, column)| Chunk::new(column)).collect();
        Ok(Self { writer: writer.map_err(|error| error.to_string())?, chunks, rows: 0, held: 0 })
    }

    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        self.writer.inner_mut()
    }

    pub(super) fn add(&mut self, row: &ReportRow) -> Result<(), String> {
        let cells = row.cells();
        for (chunk, (at, column)) in self.chunks.iter_mut().zip(columns()) {
            let cell = cells.get(at).unwrap_or(&Cell::Null);
            let size = chunk.add(cell).ok_or_else(|| format!("{} of {} is {cell:?}", column.name, row.request_id))?;
            self.held += size;
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS || self.held >= GROUP_BYTES { self.flush() } else { Ok(()) }
    }

    pub(super) fn finish(&mut self) -> Result<(), String> {
        self.flush()?;
        self.writer.finish().map(drop).map_err(|error| error.to_string())
    }

    /// Writes a row group.
    fn flush(&mut self) -> Result<(), String> {
        if self.rows > 0 {
            self.write_group().map_err(|error| error.to_string())?;
            self.rows = 0;
            self.held = 0;
        }
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for chunk in &mut self.chunks {
            chunk.write(&mut group)?;
        }
        group.close().map(drop)
    }
}

/// The values of a column in a row group. Absent ones are in the levels only.
struct Chunk {
    values: Values,
    /// For each row (each pair, where there are some) how much of it is defined; empty for what is always there.
    definitions: Option<Vec<i16>>,
    /// For each pair, whether it goes on with its row's.
    repetitions: Option<Vec<i16>>,
    /// The level of what is there itself; that of a pair is one higher.
    there: i16,
}

enum Values {
    Text(Vec<ByteArray>),
    Number(Vec<i64>),
    Real(Vec<f64>),
    Flag(Vec<bool>),
    Pairs(Vec<ByteArray>, Vec<ByteArray>),
}

impl Chunk {
    fn new(column: &Column) -> Self {
        let is_pairs = column.kind == Kind::Pairs;
        let values = match column.kind {
            Kind::Text => Values::Text(vec![]),
            Kind::Time | Kind::Whole => Values::Number(vec![]),
            Kind::Real => Values::Real(vec![]),
            Kind::Flag => Values::Flag(vec![]),
            Kind::Pairs => Values::Pairs(vec![], vec![]),
        };
        Self {
            values,
            definitions: (column.optional || is_pairs).then(Vec::new),
            repetitions: is_pairs.then(Vec::new),
            there: i16::from(column.optional),
        }
    }

    /// Answers with what it takes, about; `None` for what cannot be in the column.
    fn add(&mut self, cell: &Cell<'_>) -> Option<usize> {
        let mut level = |definition, repetition| {
            if let Some(levels) = &mut self.definitions {
                levels.push(definition);
            }
            if let Some(levels) = &mut self.repetitions {
                levels.push(repetition);
            }
        };
        let there = self.there;
        let text = |text: &str| ByteArray::from(text);
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        match (&mut self.values, cell) {
            (_, Cell::Null) if there == 1 => level(0, 0),
            (Values::Text(values), Cell::Text(value)) => {
                values.push(text(value));
                level(there, 0);
                return Some(value.len() + size_of::<ByteArray>());
            }
            (Values::Number(values), Cell::Time(at)) => {
                values.push(number(at.0));
                level(there, 0);
            }
            (Values::Number(values), Cell::Whole(value)) => {
                values.push(number(*value));
                level(there, 0);
            }
            (Values::Real(values), Cell::Real(value)) => {
                values.push(*value);
                level(there, 0);
            }
            (Values::Flag(values), Cell::Flag(value)) => {
                values.push(*value);
                level(there, 0);
            }
            (Values::Pairs(keys, values), Cell::Pairs(pairs)) => {
                if pairs.is_empty() {
                    level(there, 0);
                }
                for (nth, (key, value)) in pairs.iter().enumerate() {
                    keys.push(text(key));
                    values.push(text(value));
                    level(there + 1, i16::from(nth > 0));
                }
                return Some(pairs.iter().map(|(k, v)| k.len() + v.len() + 2 * size_of::<ByteArray>()).sum());
            }
            _ => return None,
        }
        Some(size_of::<i64>())
    }

    /// Writes the values to the next column, or two, and forgets them.
    fn write(&mut self, group: &mut SerializedRowGroupWriter<'_, Vec<u8>>) -> Result<(), ParquetError> {
        let (definitions, repetitions) = (self.definitions.as_deref(), self.repetitions.as_deref());
        macro_rules! write {
            ($type:ty, $values:expr) => {{
                let more = || ParquetError::General("there are more columns than the schema has".to_owned());
                let mut writer = group.next_column()?.ok_or_else(more)?;
                writer.typed::<$type>().write_batch($values, definitions, repetitions)?;
                writer.close()?;
                $values.clear();
            }};
        }
        match &mut self.values {
            Values::Text(values) => write!(ByteArrayType, values),
            Values::Number(values) => write!(Int64Type, values),
            Values::Real(values) => write!(DoubleType, values),
            Values::Flag(values) => write!(BoolType, values),
            Values::Pairs(keys, values) => {
                write!(ByteArrayType, keys);
                write!(ByteArrayType, values);
            }
        }
        for levels in [&mut self.definitions, &mut self.repetitions].into_iter().flatten() {
            levels.clear();
        }
        Ok(())
    }
}
