//! The charts, each with its figures as a table.

use std::fmt::Write;

use super::bars::{Bar, Range, bars, ranges};
use super::chart::{Line, Subject, against, durations, stacked};
use super::text::{escape, stretch, table};
use crate::cli::format::{thousands, whole};
use crate::cli::report::summary::{self, lane_name};
use crate::cli::report::units::{compact, cost, ms, percent};
use crate::pipeline::spend::Usd;
use crate::report::{Buckets, LaneSeries, Quantiles, Report, Series, Slice, Split};
use crate::request::{Priority, Status};

/// Lanes that have charts; the others are in the table by lane.
const LANES: usize = 6;
/// Parts of a stack that are told apart.
const PARTS: usize = 7;
/// Bars of a chart.
const BARS: usize = 10;
const CLASSES: [&str; 8] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"];

/// A chart in its frame: caption, legend, picture, figures.
struct Figure<'a> {
    title: &'a str,
    caption: String,
    legend: Vec<(&'a str, String)>,
    picture: String,
    figures: String,
}

impl Figure<'_> {
    fn write(&self, page: &mut String) {
        // Writing to a String does not fail, here and below.
        _ = write!(page, "<figure><figcaption><h3>{}</h3>", escape(self.title));
        if !self.caption.is_empty() {
            _ = write!(page, "<p>{}</p>", escape(&self.caption));
        }
        page.push_str("</figcaption>\n");
        if !self.legend.is_empty() {
            page.push_str("<ul class=\"legend\">");
            for (class, name) in &self.legend {
                _ = write!(page, "<li>{}<span>{}</span></li>", swatch(class), escape(name));
            }
            page.push_str("</ul>\n");
        }
        page.push_str(&self.picture);
        if !self.figures.is_empty() {
            _ = writeln!(
                page,
                "<details><summary>Figures</summary><div class=\"scroll\" tabindex=\"0\">{}</div></details>",
                self.figures
            );
        }
        page.push_str("</figure>\n");
    }
}

fn swatch(class: &str) -> String {
    let drawn = match class {
        "p50" | "p95" | "p99" | "peak" => format!("<path class=\"line {class}\" d=\"M0 5H16\"/>"),
        "limit" => "<path class=\"limit\" d=\"M0 5H16\"/>".to_owned(),
        class => format!("<rect class=\"{class}\" width=\"16\" height=\"10\" rx=\"2\"/>"),
    };
    format!("<svg viewBox=\"0 0 16 10\" aria-hidden=\"true\">{drawn}</svg>")
}

fn empty(text: &str) -> String {
    format!("<p class=\"empty\">{}</p>\n", escape(text))
}

fn heading(page: &mut String, title: &str, lead: &str) {
    _ = writeln!(page, "<h2>{}</h2>\n<p class=\"lead\">{}</p>\n<div class=\"grid\">", escape(title), escape(lead));
}

fn number(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts, never negative")]
    let rounded = value.round() as u64;
    if value > 0.0 && value < 10.0 && (value - value.round()).abs() > 0.05 {
        format!("{value:.1}")
    } else {
        compact(rounded)
    }
}

fn dollars(value: f64) -> String {
    match value {
        v if v <= 0.0 => "$0".to_owned(),
        v if v >= 10_000.0 => format!("${}", number(v)),
        v if v >= 10.0 => format!("${v:.0}"),
        v if v >= 0.1 => format!("${v:.2}"),
        v if v >= 0.001 => format!("${v:.4}"),
        v => format!("${v:.6}"),
    }
}

fn duration(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "milliseconds that were whole")]
    let whole = value as u64;
    ms(whole)
}

/// Rows of a table over time, without those of which nothing is known.
fn over_time(caption: &str, buckets: Buckets, lines: &[Line], unit: fn(f64) -> String) -> String {
    let mut page = String::new();
    let mut headings = vec!["time (UTC)"];
    headings.extend(lines.iter().map(|line| line.name.as_str()));
    let rows = (0..buckets.count()).filter_map(|bucket| {
        let cells: Vec<Option<f64>> = lines.iter().map(|line| line.values.get(bucket).copied().flatten()).collect();
        let said = cells.iter().flatten().any(|value| *value > 0.0);
        let cells = cells.into_iter().map(|cell| cell.map_or_else(String::new, unit));
        said.then(|| [stretch(buckets.part(bucket))].into_iter().chain(cells).collect())
    });
    table(&mut page, caption, &headings, rows);
    page
}

fn legend<'a>(lines: &[Line]) -> Vec<(&'a str, String)> {
    lines.iter().map(|line| (line.class, line.name.clone())).collect()
}

/// What of a stack shows anything, as a figure.
fn stack(
    page: &mut String,
    (title, caption): (&str, &str),
    buckets: Buckets,
    lines: Vec<Line>,
    nothing: &str,
    unit: fn(f64) -> String,
) {
    let lines: Vec<Line> = lines.into_iter().filter(Line::shows).collect();
    let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
    let about = Subject { title, description: format!("Columns over time: {}", names.join(", ")), buckets, unit };
    let (picture, figures) = if lines.is_empty() {
        (empty(nothing), String::new())
    } else {
        let mut picture = String::new();
        stacked(&mut picture, &about, &lines);
        (picture, over_time(title, buckets, &lines, unit))
    };
    Figure { title, caption: caption.to_owned(), legend: legend(&lines), picture, figures }.write(page);
}

/// Tokens and requests a minute of each lane, against its quota.
pub fn throughput(page: &mut String, report: &Report, series: &Series) {
    let lanes = series.lanes();
    let place = common_place(&lanes);
    let lead = "What the calls of each lane drew on its quota, by when they started: the average a minute as an area, the busiest minute as a thin line, the quota dashed.";
    let place_said = place.map(|place| format!(" All lanes are in {}.", region_of(place))).unwrap_or_default();
    heading(page, "Throughput against quota", &format!("{lead}{place_said}"));
    if lanes.is_empty() {
        page.push_str(&empty("No call started in this period."));
    }
    for lane in lanes.iter().take(LANES) {
        for (at, what) in ["tokens", "requests"].into_iter().enumerate() {
            let name = match place {
                Some(_) => lane.lane.splitn(3, ':').nth(2).unwrap_or_default().to_owned(),
                None => lane_name(&lane.lane),
            };
            let title = format!("{name}: {what}/min");
            lane_chart(page, (report, series.buckets), lane, &title, (at, what));
        }
    }
    page.push_str("</div>\n");
    if lanes.len() > LANES {
        _ = writeln!(
            page,
            "<p class=\"lead\">{} more lanes have less: smoother report --by lane</p>",
            lanes.len() - LANES
        );
    }
}

/// What stands before the model in the names of all lanes, if that is the same.
fn common_place<'a>(lanes: &[&'a LaneSeries]) -> Option<&'a str> {
    let place = |lane: &&'a LaneSeries| lane.lane.match_indices(':').nth(1).and_then(|(at, _)| lane.lane.get(..at));
    let first = lanes.first().and_then(place)?;
    lanes.iter().all(|lane| place(lane) == Some(first)).then_some(first)
}

fn region_of(place: &str) -> String {
    match place.split_once(':') {
        Some(("default", region)) => region.to_owned(),
        Some((account, region)) => format!("{region} of {account}"),
        None => place.to_owned(),
    }
}

fn lane_chart(
    page: &mut String,
    (report, buckets): (&Report, Buckets),
    lane: &LaneSeries,
    title: &str,
    (at, what): (usize, &str),
) {
    let points =
        |value: &dyn Fn(usize) -> Option<f64>| -> Vec<Option<f64>> { (0..buckets.count()).map(value).collect() };
    let minutes = |bucket: usize| (buckets.part(bucket).length().as_secs_f64() / 60.0).max(1.0);
    let used = |bucket: usize| {
        let point = lane.points.get(&bucket)?;
        let sum = if at == 0 { point.tokens } else { point.calls };
        Some(sum as f64 / minutes(bucket))
    };
    let used = Line { name: format!("{what}/min"), class: if at == 0 { "s0" } else { "s2" }, values: points(&used) };
    let peak = |bucket: usize| lane.points.get(&bucket).map(|point| point.peak[at] as f64);
    let peak = Line { name: "busiest minute".to_owned(), class: "peak", values: points(&peak) };
    let peak = (buckets.width().as_secs() > 60).then_some(peak);
    let limit = |bucket: usize| lane.points.get(&bucket).and_then(|point| point.limits[at]);
    let limit = Line { name: "quota".to_owned(), class: "limit", values: points(&limit) };
    let told = report.lanes.iter().find(|told| told.lane == lane.lane);
    let share = told.and_then(|told| if at == 0 { told.tokens.as_ref() } else { told.requests.as_ref() });
    let caption = share
        .map_or_else(|| format!("{what}/min are not limited, or it is not known"), |share| summary::share(what, share));
    let about = Subject { title, description: caption.clone(), buckets, unit: number };
    let mut picture = String::new();
    against(&mut picture, &about, &used, peak.as_ref(), &limit);
    let limited = limit.shows();
    let lines: Vec<Line> = [Some(used), peak, limited.then_some(limit)].into_iter().flatten().collect();
    let figures = over_time(title, buckets, &lines, whole);
    Figure { title, caption, legend: legend(&lines), picture, figures }.write(page);
}

/// Requests by how they ended, and by error.
pub fn requests(page: &mut String, report: &Report, series: &Series) {
    heading(page, "Requests and errors", "By when they finished.");
    let looks = [
        (Status::Succeeded, "ok"),
        (Status::Failed, "bad"),
        (Status::Rejected, "warn"),
        (Status::Cancelled, "sx"),
        (Status::Expired, "s3"),
    ];
    let lines = looks.iter().enumerate().map(|(at, (status, class))| {
        let values = series.points.iter().map(move |point| point.statuses[at] as f64);
        Line::new(status.as_str().to_lowercase(), class, values)
    });
    let buckets = series.buckets;
    stack(
        page,
        ("Requests by status", &summary::requests(&report.total)),
        buckets,
        lines.collect(),
        "No request finished in this period.",
        number,
    );
    let errors = series.errors(PARTS).into_iter().zip(CLASSES).map(|((name, over), class)| {
        let values = (0..buckets.count()).map(|bucket| over.get(&bucket).copied().unwrap_or(0) as f64);
        let class = if name == "(others)" { "sx" } else { class };
        Line::new(name, class, values.collect::<Vec<_>>())
    });
    let caption = summary::errors(&report.total, 3);
    stack(page, ("Errors by type", &caption), buckets, errors.collect(), "No request ended with an error.", number);
    page.push_str("</div>\n");
}

/// Waits by priority, latencies by model, both over time.
pub fn times(page: &mut String, report: &Report, series: &Series) {
    heading(
        page,
        "Waits and latency",
        "A wait is from received to the start of the last call; latency is that call's. Scales are logarithmic.",
    );
    let waits = Priority::CLASSES.into_iter().zip(&series.waits).zip(CLASSES);
    let waits = waits.map(|((name, times), class)| (name.to_owned(), times, class));
    range_figure(page, "Waits by priority", waits.collect(), "No request waited.");
    let points = |of: fn(&crate::report::Point) -> &Quantiles| {
        let lines = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)].map(|(name, share)| {
            let values = series.points.iter().map(|point| of(point).known().map(|times| times.at(share) as f64));
            Line { name: name.to_owned(), class: name, values: values.collect() }
        });
        Vec::from(lines)
    };
    lines_figure(page, "Waits over time", series.buckets, &points(|point| &point.wait), report.total.wait_ms.as_ref());
    let latencies = series.latencies();
    let shown = latencies.iter().zip(CLASSES).map(|((name, times), class)| (name.clone(), *times, class));
    range_figure(page, "Latency by model", shown.collect(), "No call was answered.");
    lines_figure(
        page,
        "Latency over time",
        series.buckets,
        &points(|point| &point.latency),
        report.total.latency_ms.as_ref(),
    );
    page.push_str("</div>\n");
}

fn three(times: &Quantiles) -> String {
    [0.5, 0.95, 0.99].map(|share| ms(times.at(share))).join(" / ")
}

fn range_figure(page: &mut String, title: &str, all: Vec<(String, &Quantiles, &'static str)>, nothing: &str) {
    let shown: Vec<Range<'_>> = all
        .into_iter()
        .filter(|(_, times, _)| times.known().is_some())
        .map(|(name, times, class)| Range { name, class, times, shown: three(times) })
        .collect();
    let (picture, figures) = if shown.is_empty() {
        (empty(nothing), String::new())
    } else {
        let (mut picture, mut figures) = (String::new(), String::new());
        ranges(&mut picture, title, "From p50 to p99 with a mark at p95, on a logarithmic scale.", &shown);
        let rows = shown.iter().map(|range| {
            let times = [0.5, 0.95, 0.99, 1.0].map(|share| ms(range.times.at(share)));
            [range.name.clone(), thousands(range.times.count())].into_iter().chain(times).collect()
        });
        table(&mut figures, title, &["", "requests", "p50", "p95", "p99", "longest"], rows);
        (picture, figures)
    };
    let caption = if shown.is_empty() { "" } else { "p50 (circle) / p95 (mark) / p99 (end)" };
    Figure { title, caption: caption.to_owned(), legend: Vec::new(), picture, figures }.write(page);
}

fn lines_figure(page: &mut String, title: &str, buckets: Buckets, lines: &[Line], total: Option<&Quantiles>) {
    let Some(total) = total else {
        let nothing = empty("There is nothing to show for this period.");
        Figure { title, caption: String::new(), legend: Vec::new(), picture: nothing, figures: String::new() }
            .write(page);
        return;
    };
    let about = Subject {
        title,
        description: format!("p50, p95 and p99 over time; in all {}", three(total)),
        buckets,
        unit: duration,
    };
    let mut picture = String::new();
    durations(&mut picture, &about, lines);
    let caption = format!("In all p50 / p95 / p99: {}, longest {}", three(total), ms(total.at(1.0)));
    let figures = over_time(title, buckets, lines, duration);
    Figure { title, caption, legend: legend(lines), picture, figures }.write(page);
}

/// Costs by model and by tenant, over time and in all.
pub fn costs(page: &mut String, report: &Report, series: &Series) {
    let unknown = match report.total.unpriced {
        0 => String::new(),
        n => format!(" {} of unknown price are not in it.", crate::cli::report::units::answers(n)),
    };
    heading(page, "Cost", &format!("Sums of the known costs, by when the requests finished.{unknown}"));
    for (what, split) in [("model", &series.models), ("tenant", &series.tenants)] {
        let parts = split.dearest(PARTS);
        let lines = parts.iter().zip(CLASSES).map(|(part, class)| {
            let values =
                (0..series.buckets.count()).map(|at| part.over.get(&at).copied().unwrap_or_default().dollars());
            Line::new(name(part), if part.name.is_none() { "sx" } else { class }, values.collect::<Vec<_>>())
        });
        let title = format!("Cost by {what} over time");
        let nothing = "No cost is known of this period.";
        stack(page, (&title, ""), series.buckets, lines.collect(), nothing, dollars);
        bar_figure(page, what, split, &parts);
    }
    page.push_str("</div>\n");
}

fn name(part: &Slice) -> String {
    part.name.clone().unwrap_or_else(|| "others".to_owned())
}

fn bar_figure(page: &mut String, what: &str, split: &Split, parts: &[Slice]) {
    let title = format!("Cost by {what}");
    let all = split.dearest(BARS);
    let sum: Usd = all.iter().map(|part| part.cost).sum();
    let look = |part: &Slice| {
        let place = parts.iter().position(|one| one.name == part.name && part.name.is_some());
        place.and_then(|at| CLASSES.get(at).copied()).unwrap_or("sx")
    };
    let shown: Vec<Bar> = all
        .iter()
        .map(|part| {
            let known = (part.cost > Usd::default() || part.unpriced == 0).then(|| part.cost.dollars());
            let share = if sum > Usd::default() {
                format!(" · {}", percent(part.cost.dollars() / sum.dollars()))
            } else {
                String::new()
            };
            let shown =
                format!("{}{}", cost(known, part.unpriced), if known.is_some() { share } else { String::new() });
            Bar { name: name(part), class: look(part), value: part.cost.dollars(), shown }
        })
        .collect();
    let (picture, figures) = if shown.is_empty() {
        (empty("No request finished in this period."), String::new())
    } else {
        let (mut picture, mut figures) = (String::new(), String::new());
        bars(&mut picture, &title, "Bars from the dearest to the cheapest.", &shown);
        let rows = all.iter().zip(&shown).map(|(part, bar)| {
            vec![bar.name.clone(), thousands(part.requests), bar.shown.clone(), thousands(part.unpriced)]
        });
        table(&mut figures, &title, &[what, "requests", "known cost", "answers of unknown price"], rows);
        (picture, figures)
    };
    Figure { title: &title, caption: String::new(), legend: Vec::new(), picture, figures }.write(page);
}

/// Throttled calls, and deadlines.
pub fn throttles(page: &mut String, report: &Report, series: &Series) {
    heading(page, "Throttles and deadlines", "By when the requests finished.");
    let throttled = series.points.iter().map(|point| point.throttles as f64);
    stack(
        page,
        ("Throttled calls", &summary::throttled(&report.total)),
        series.buckets,
        vec![Line::new("throttled calls", "bad", throttled)],
        "Bedrock throttled no call.",
        number,
    );
    let met = series.points.iter().map(|point| point.deadlines_met as f64);
    let missed = series.points.iter().map(|point| point.deadlines_missed as f64);
    let caption = if report.total.deadlines > 0 { summary::deadlines(&report.total) } else { String::new() };
    stack(
        page,
        ("Deadlines", &caption),
        series.buckets,
        vec![Line::new("met", "ok", met), Line::new("missed", "bad", missed)],
        "No request had a deadline.",
        number,
    );
    page.push_str("</div>\n");
}
