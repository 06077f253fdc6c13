//! The report in Markdown, for a ticket or a chat.

use crate::cli::format::plain;
use crate::report::Report;

use super::columns::{COLUMNS, Column};
use super::summary::{lane, lane_name, lines, nothing, period_of};
use super::units::period;

/// The page.
pub fn markdown(report: &Report) -> String {
    let mut page = format!("**smoother report** · {} · {}\n", text(&report.origin.place), period(period_of(report)));
    if !report.filters.is_empty() {
        page.extend(["Only ", &text(&report.filters.to_string()), "\n"]);
    }
    page.push('\n');
    if report.total.requests == 0 {
        for said in nothing(report) {
            page.extend([&text(&said), "\n"]);
        }
        return page;
    }
    for (label, line) in lines(report) {
        page.extend(["- ", label, ": ", &text(&line), "\n"]);
    }
    for used in &report.lanes {
        page.extend(["- Quota of ", &text(&lane_name(&used.lane)), ": ", &lane(used), "\n"]);
    }
    let columns: Vec<&Column> = COLUMNS.iter().filter(|column| (column.wanted)(report)).collect();
    let names = report.by.iter().map(|one| one.words().to_owned());
    page.push('\n');
    line(&mut page, names.chain(columns.iter().map(|column| column.title())));
    line(&mut page, report.by.iter().map(|_| "---".to_owned()).chain(columns.iter().map(|_| "---:".to_owned())));
    for group in &report.groups {
        let names = group.key.iter().map(|(dimension, value)| text(&group.value_name(*dimension, value.as_deref())));
        line(&mut page, names.chain(columns.iter().map(|column| (column.cell)(&group.figures))));
    }
    if report.groups.len() > 1 {
        let names =
            report.by.iter().enumerate().map(|(at, _)| if at == 0 { "**total**".to_owned() } else { String::new() });
        line(&mut page, names.chain(columns.iter().map(|column| format!("**{}**", (column.cell)(&report.total)))));
    }
    page
}

fn line(page: &mut String, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    page.extend(["| ", &cells.join(" | "), " |\n"]);
}

/// Somebody else's text, which must not be Markdown or HTML.
fn text(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' => {
                safe.push('\\');
                safe.push(c);
            }
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_cell_and_are_only_text() {
        assert_eq!(text("a|b_c <b>*x*</b>\n"), "a\\|b\\_c &lt;b>\\*x\\*&lt;/b> ");
    }
}
