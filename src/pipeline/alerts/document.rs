//! `docs/alerts.md`: its words are in `document.md`, the tables come from the code.

use std::fmt::Write as _;

use super::rules::in_words;
use crate::ports::alerts::Kind;

/// The page.
#[must_use]
pub fn document() -> String {
    let mut kinds = String::from("| kind | severity | tells of | told | over when |\n|---|---|---|---|---|\n");
    for kind in Kind::ALL {
        let [severity, told, over] = in_words(*kind);
        let name = kind.as_str();
        // Writing to a String does not fail.
        _ = match kind {
            Kind::Test => writeln!(kinds, "| `{name}` | {severity} | {} | {told} | {over} |", kind.about()),
            _ => writeln!(kinds, "| [`{name}`](runbook.md#{name}) | {severity} | {} | {told} | {over} |", kind.about()),
        };
    }
    include_str!("document.md").replace("{{kinds}}\n", &kinds)
}
