//! The report for a terminal, or for a pipe that people read.

use std::fmt::Write;
use std::io::IsTerminal;

use crate::cli::format::{WIDTH, clip, gauge, plain, wrap};
use crate::cli::status::paint::{Paint, Tone};
use crate::report::{Group, Report};

use super::columns::{COLUMNS, Column};
use super::summary::{lane, lane_name, lines, nothing, period_of};
use super::units::period;

/// Places of a bar.
const BAR: usize = 8;
/// A name has at least this much room.
const NAME: usize = 20;
/// A gauge and the figures beside it have room on this many columns.
const BESIDE: usize = 90;
/// Lanes in the summary.
const LANES: usize = 6;
const LABEL: usize = 12;

/// How wide lines may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width {
    /// `None`: as wide as they are.
    columns: Option<usize>,
    /// Whether there are bars.
    bars: bool,
}

impl Width {
    /// A terminal's, and no limit in a pipe.
    pub fn of_stdout() -> Self {
        if !std::io::stdout().is_terminal() {
            return Self::pipe();
        }
        let size = console::Term::stdout().size_checked();
        Self::terminal(size.map_or(WIDTH, |(_, columns)| usize::from(columns)))
    }

    /// Of a pipe.
    pub fn pipe() -> Self {
        Self { columns: None, bars: false }
    }

    /// Of a terminal.
    pub fn terminal(columns: usize) -> Self {
        Self { columns: Some(columns.max(60)), bars: true }
    }
}

/// The page.
pub fn table(report: &Report, width: Width, paint: Paint) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    write_page(&mut page, report, width, paint).map(|()| page).unwrap_or_default()
}

fn write_page(page: &mut String, report: &Report, width: Width, paint: Paint) -> std::fmt::Result {
    let columns = width.columns.unwrap_or(usize::MAX);
    let title = paint.paint(Tone::Strong, "smoother report");
    writeln!(page, "{title} · {} · {}", plain(&report.origin.place), period(period_of(report)))?;
    if !report.filters.is_empty() {
        writeln!(page, "only {}", plain(&report.filters.to_string()))?;
    }
    writeln!(page)?;
    if report.total.requests == 0 {
        for said in nothing(report) {
            for line in wrap(&said, columns.min(WIDTH)) {
                writeln!(page, "{line}")?;
            }
        }
        return Ok(());
    }
    for (label, text) in lines(report) {
        let label = paint.paint(Tone::Strong, &format!("{label:<LABEL$}"));
        let room = columns.saturating_sub(LABEL).max(40);
        for (at, line) in wrap(&text, room).iter().enumerate() {
            if at == 0 { writeln!(page, "{label}{line}")? } else { writeln!(page, "{:LABEL$}{line}", "")? }
        }
    }
    lanes(page, report, width, paint)?;
    writeln!(page)?;
    let by: Vec<&str> = report.by.iter().map(|one| one.words()).collect();
    writeln!(page, "{}", paint.paint(Tone::Strong, &format!("By {}", by.join(" and "))))?;
    groups(page, report, width, paint)
}

fn lanes(page: &mut String, report: &Report, width: Width, paint: Paint) -> std::fmt::Result {
    for (at, used) in report.lanes.iter().take(LANES).enumerate() {
        let label = paint.paint(Tone::Strong, &format!("{:<LABEL$}", if at == 0 { "Quota" } else { "" }));
        let name = plain(&lane_name(&used.lane));
        let bar = match used.tighter() {
            Some((_, share)) if width.columns.is_some_and(|columns| columns >= BESIDE) => {
                format!("{} ", paint.paint(tone(share.mean), &gauge(share.mean)))
            }
            _ => String::new(),
        };
        let room = width.columns.map_or(usize::MAX, |columns| columns - LABEL);
        writeln!(page, "{label}{}", clip(&name, room))?;
        let lines = if bar.is_empty() { wrap(&lane(used), room.saturating_sub(2)) } else { vec![lane(used)] };
        for line in lines {
            writeln!(page, "{:LABEL$}  {bar}{line}", "")?;
        }
    }
    if report.lanes.len() > LANES {
        writeln!(page, "{:LABEL$}and {} more lanes (--by lane)", "", report.lanes.len() - LANES)?;
    }
    Ok(())
}

fn tone(share: f64) -> Tone {
    if share > 1.0 { Tone::Warn } else { Tone::Good }
}

/// What fits beside the names: the columns of the lowest ranks.
fn fitting<'a>(columns: Vec<(&'a Column, usize)>, room: Option<usize>) -> Vec<(&'a Column, usize)> {
    let Some(room) = room else { return columns };
    let mut kept = columns;
    let wide = |kept: &[(&'a Column, usize)]| kept.iter().map(|(_, width)| width + 2).sum::<usize>();
    while wide(&kept) > room && kept.len() > 1 {
        let Some(last) = kept.iter().enumerate().max_by_key(|(at, (column, _))| (column.rank, *at)) else { break };
        let last = last.0;
        kept.remove(last);
    }
    kept
}

fn groups(page: &mut String, report: &Report, width: Width, paint: Paint) -> std::fmt::Result {
    let names: Vec<Vec<String>> = names(report);
    let widths = name_widths(report, &names, width);
    let used: usize = widths.iter().map(|width| width + 2).sum();
    let rows = report.groups.iter().map(|group| &group.figures).chain([&report.total]);
    let wanted = COLUMNS.iter().filter(|column| (column.wanted)(report));
    let measured = wanted.map(|column| {
        let cells = rows.clone().map(|figures| (column.cell)(figures).chars().count());
        (column, cells.chain([column.name.chars().count(), column.group.chars().count()]).max().unwrap_or(0))
    });
    let bar = if width.bars { BAR + 1 } else { 0 };
    let room = width.columns.map(|columns| columns.saturating_sub(used + bar));
    let columns = fitting(measured.collect(), room);

    let groups_line: Vec<(&str, usize)> = columns.iter().map(|(column, width)| (column.group, *width)).collect();
    let mut line = headings(&groups_line, used, bar);
    if !line.trim().is_empty() {
        line.truncate(line.trim_end().len());
        writeln!(page, "{}", paint.paint(Tone::Faint, &line))?;
    }
    let mut line = String::new();
    for (dimension, width) in report.by.iter().zip(&widths) {
        write!(line, "{:<width$}  ", dimension.words())?;
    }
    for (at, (column, width)) in columns.iter().enumerate() {
        write!(line, "{:>width$}  ", column.name)?;
        if at == 0 {
            write!(line, "{:bar$}", "")?;
        }
    }
    writeln!(page, "{}", paint.paint(Tone::Faint, line.trim_end()))?;

    let most = report.groups.iter().map(|group| group.figures.requests).max().unwrap_or(0).max(1);
    for (group, names) in report.groups.iter().zip(&names) {
        let share = group.figures.requests as f64 / most as f64;
        let names: Vec<String> =
            names.iter().zip(&widths).map(|(name, width)| pad(&clip(name, *width), *width)).collect();
        row(page, &names.join("  "), group, &columns, (bar > 0).then_some(share), paint)?;
    }
    if report.groups.len() > 1 {
        let total = Group { key: Vec::new(), others: None, figures: report.total.clone() };
        let name = pad("total", used.saturating_sub(2));
        let mut line = String::new();
        row(&mut line, &name, &total, &columns, (bar > 0).then_some(0.0), Paint::none())?;
        writeln!(page, "{}", paint.paint(Tone::Strong, line.trim_end()))?;
    }
    Ok(())
}

/// What each group is called; a first name that is that of the group before is left out.
fn names(report: &Report) -> Vec<Vec<String>> {
    let mut last: Option<&Option<String>> = None;
    let mut all = Vec::with_capacity(report.groups.len());
    for group in &report.groups {
        let mut names: Vec<String> =
            group.key.iter().map(|(dimension, value)| plain(&group.value_name(*dimension, value.as_deref()))).collect();
        if let [(_, first), _] = group.key.as_slice() {
            if last == Some(first) {
                names[0].clear();
            }
            last = Some(first);
        }
        all.push(names);
    }
    all
}

fn name_widths(report: &Report, names: &[Vec<String>], width: Width) -> Vec<usize> {
    let dimensions = report.by.len().max(1);
    let most = width.columns.map_or(usize::MAX, |columns| (columns * 2 / 5 / dimensions).max(NAME));
    let widest = |at: usize| {
        let shown = names.iter().filter_map(|names| names.get(at)).map(|name| name.chars().count());
        let heading = report.by.get(at).map_or(0, |one| one.words().len()).max("total".len());
        shown.max().unwrap_or(0).max(heading).min(most)
    };
    (0..report.by.len()).map(widest).collect()
}

/// The line above the headings: what several columns share, over the first of them.
fn headings(columns: &[(&str, usize)], used: usize, bar: usize) -> String {
    let mut line = " ".repeat(used);
    let mut last = "";
    for (at, (group, width)) in columns.iter().enumerate() {
        let shown = if *group == last { "" } else { group };
        // Writing to a String does not fail.
        _ = write!(line, "{shown:>width$}  ");
        if at == 0 {
            line.push_str(&" ".repeat(bar));
        }
        last = group;
    }
    line
}

fn row(
    page: &mut String,
    name: &str,
    group: &Group,
    columns: &[(&Column, usize)],
    bar: Option<f64>,
    paint: Paint,
) -> std::fmt::Result {
    let mut line = format!("{name}  ");
    for (at, (column, width)) in columns.iter().enumerate() {
        let cell = format!("{:>width$}", (column.cell)(&group.figures));
        let tone = if group.figures.requests == 0 { Some(Tone::Faint) } else { (column.tone)(&group.figures) };
        line.push_str(&tone.map_or(cell.clone(), |tone| paint.paint(tone, &cell)));
        if let (0, Some(share)) = (at, bar) {
            write!(line, " {}", paint.paint(Tone::Busy, &format!("{:<BAR$}", eighths(share))))?;
        }
        line.push_str("  ");
    }
    line.truncate(line.trim_end().len());
    writeln!(page, "{line}")
}

/// A bar in eighths of a place.
fn eighths(share: f64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the width")]
    let eighths = (share.clamp(0.0, 1.0) * (BAR * 8) as f64).ceil() as usize;
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

fn pad(text: &str, width: usize) -> String {
    format!("{text:<width$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!([0.0, 0.001, 0.5, 1.0, 7.0].map(eighths), ["", "▏", "████", "████████", "████████"]);
    }
}
