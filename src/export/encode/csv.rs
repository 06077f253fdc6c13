//! RFC 4180 with a header. Values are written as they are: what a producer sent is not changed for the sake of spreadsheets.

use std::io::Write;

use crate::export::columns;
use crate::ports::ReportRow;
use crate::ports::reports::Cell;

const END: &[u8] = b"\r\n";

pub(super) fn header() -> Vec<u8> {
    let names: Vec<&str> = columns().map(|(_, column)| column.name).collect();
    [names.join(",").as_bytes(), END].concat()
}

pub(super) fn add(file: &mut Vec<u8>, row: &ReportRow) -> Result<(), String> {
    let cells = row.cells();
    for (nth, (at, _)) in columns().enumerate() {
        if nth > 0 {
            file.push(b',');
        }
        write(file, cells.get(at).unwrap_or(&Cell::Null)).map_err(|error| error.to_string())?;
    }
    file.extend_from_slice(END);
    Ok(())
}

fn write(file: &mut Vec<u8>, cell: &Cell<'_>) -> std::io::Result<()> {
    match cell {
        Cell::Null => Ok(()),
        Cell::Text(text) => {
            quote(file, text);
            Ok(())
        }
        Cell::Time(at) => write!(file, "{at}"),
        Cell::Whole(number) => write!(file, "{number}"),
        Cell::Real(number) => write!(file, "{number}"),
        Cell::Flag(yes) => write!(file, "{yes}"),
        Cell::Pairs(pairs) => {
            quote(file, &serde_json::to_string(pairs)?);
            Ok(())
        }
    }
}

/// An empty text is quoted: nothing at all is an absent value.
fn quote(file: &mut Vec<u8>, text: &str) {
    if !text.is_empty() && !text.contains([',', '"', '\r', '\n']) && text.trim() == text {
        file.extend_from_slice(text.as_bytes());
        return;
    }
    file.push(b'"');
    file.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    file.push(b'"');
}
