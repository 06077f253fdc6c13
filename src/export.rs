//! Exports of the reporting table: files by UTC hour in folders by day, for whatever analysts read files with.
//!
//! `day=2026-11-21/part-09.parquet` holds what finished in that hour, and is a function of these rows alone. It appears whole and
//! under its name at once, so nobody ever reads half of one; a repeat replaces it only when its rows have changed. What was done
//! is noted in `_smoother/` beside the files, which tools that read folders pass over; the notes only spare work. Without them, or
//! with outdated ones, the same files are written again, so a kill at any point, or two exports at once, neither lose a row nor
//! show one twice.

mod encode;
mod hour;
mod state;
pub mod target;
#[cfg(test)]
mod tests;
mod walk;

pub use self::encode::{Format, parquet_type};
pub use self::hour::Hour;
pub use self::target::ExportTarget;
pub use self::walk::{Export, Progress, Range, Summary};

use crate::ports::ReportRow;
use crate::ports::reports::Column;

/// The column that folders are named by, and that files therefore leave out.
pub const PARTITION: &str = "day";

/// The columns of a file, with their places in [`ReportRow::COLUMNS`].
pub fn columns() -> impl Iterator<Item = (usize, &'static Column)> {
    ReportRow::COLUMNS.iter().enumerate().filter(|(_, column)| column.name != PARTITION)
}
