//! One object a line. Every line has every column, so that readers who look at the first lines only know all of them.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::export::columns;
use crate::ports::ReportRow;
use crate::ports::reports::Cell;

struct Line<'a>(&'a ReportRow);

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let cells = self.0.cells();
        let mut map = serializer.serialize_map(None)?;
        for (at, column) in columns() {
            map.serialize_key(column.name)?;
            match cells.get(at) {
                None | Some(Cell::Null) => map.serialize_value(&())?,
                Some(Cell::Text(text)) => map.serialize_value(text)?,
                Some(Cell::Time(time)) => map.serialize_value(time)?,
                Some(Cell::Whole(number)) => map.serialize_value(number)?,
                Some(Cell::Real(number)) => map.serialize_value(number)?,
                Some(Cell::Flag(yes)) => map.serialize_value(yes)?,
                Some(Cell::Pairs(pairs)) => map.serialize_value(pairs)?,
            }
        }
        map.end()
    }
}

pub(super) fn add(file: &mut Vec<u8>, row: &ReportRow) -> Result<(), String> {
    serde_json::to_writer(&mut *file, &Line(row)).map_err(|error| error.to_string())?;
    file.push(b'\n');
    Ok(())
}
