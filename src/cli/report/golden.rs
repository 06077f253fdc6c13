//! Reports of made-up requests, compared with what is in tests/data/report. `UPDATE_DOCS=1` writes them anew.

#[path = "../../../tests/support/finished.rs"]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "made-up figures")]
mod finished;

use std::path::PathBuf;
use std::time::Duration;

use self::finished::Traffic;
use super::table::{Width, table};
use super::{csv, html, markdown};
use crate::cli::status::paint::Paint;
use crate::clock::Timestamp;
use crate::ports::ReportRow;
use crate::report::{Aggregate, Dimension, Filter, Origin, Period, Question, Report};
use crate::request::Status;

const HOSTILE: &str = "<script>alert('tenant')</script>";

fn period(hours: u64) -> Period {
    let since = Timestamp::parse("2025-03-10T06:00:00Z").unwrap();
    Period { since, until: since + Duration::from_hours(hours) }
}

fn rows() -> Vec<ReportRow> {
    let period = period(30);
    let mut rows: Vec<ReportRow> = Traffic::new(7, period.since, period.length(), 3_000).collect();
    // As no tenant may be called, should a table hold one nevertheless.
    let odd = rows.iter_mut().filter(|row| row.tenant == "legal");
    for row in odd {
        HOSTILE.clone_into(&mut row.tenant);
    }
    rows.sort_by(|a, b| a.finished_key.cmp(&b.finished_key));
    rows
}

fn report_of(rows: &[ReportRow], question: Question) -> Report {
    let asked = question.period;
    let mut aggregate = Aggregate::new(question);
    let inside = |row: &&ReportRow| row.finished_at >= asked.since && row.finished_at < asked.until;
    for row in rows.iter().filter(inside) {
        aggregate.add(row);
    }
    aggregate.finish(Origin {
        place: "./data".to_owned(),
        generated_at: Timestamp::parse("2025-03-11T09:08:43Z").unwrap(),
        version: "0.0.0",
    })
}

fn question(by: &[Dimension]) -> Question {
    Question { period: period(24), by: by.to_vec(), filter: Filter::default(), top: None, series: true }
}

fn reports() -> Vec<(&'static str, Report)> {
    let rows = rows();
    let failed = Filter { statuses: vec![Status::Failed], ..Filter::default() };
    let nobody = Filter { tenants: vec!["cheekout".to_owned()], ..Filter::default() };
    vec![
        ("model", report_of(&rows, question(&[Dimension::Model]))),
        ("hour", report_of(&rows, question(&[Dimension::Hour]))),
        ("priority", report_of(&rows, question(&[Dimension::Priority]))),
        (
            "tenant-status-top",
            report_of(&rows, Question { top: Some(2), ..question(&[Dimension::Tenant, Dimension::Status]) }),
        ),
        ("failed-error", report_of(&rows, Question { filter: failed, ..question(&[Dimension::Error]) })),
        ("no-match", report_of(&rows, Question { filter: nobody, ..question(&[Dimension::Model]) })),
        ("empty", report_of(&[], question(&[Dimension::Day]))),
    ]
}

fn compare(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/report").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{name} is not as kept; look at it after UPDATE_DOCS=1 cargo test --lib report::golden");
}

#[test]
fn reports_read_as_kept() {
    for (name, report) in reports() {
        compare(&format!("{name}.txt"), &table(&report, Width::pipe(), Paint::none()));
        compare(&format!("{name}-terminal.txt"), &table(&report, Width::terminal(100), Paint::none()));
        compare(&format!("{name}.csv"), &csv::csv(&report));
        compare(&format!("{name}.md"), &markdown::markdown(&report));
        compare(&format!("{name}.json"), &format!("{}\n", serde_json::to_string_pretty(&report).unwrap()));
    }
    let until = period(24).since + Duration::from_mins(330);
    let short = Period { since: until - Duration::from_mins(40), until };
    let page = html::page(&report_of(&rows(), Question { period: short, ..question(&[Dimension::Model]) }));
    compare("model.html", &page);
    compare("empty.html", &html::page(&report_of(&[], question(&[Dimension::Day]))));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for columns in [60, 80, 100, 140, 200] {
        for (name, report) in reports() {
            for line in table(&report, Width::terminal(columns), Paint::none()).lines().skip(2) {
                assert!(line.chars().count() <= columns, "{name} at {columns}: {line:?}");
            }
        }
    }
}

/// Whether tags are closed in order, attributes quoted, and nothing but the five entities used.
fn well_formed(page: &str) {
    let mut open: Vec<String> = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap();
    while let Some((text, tag)) = rest.split_once('<') {
        assert!(!text.contains('>') || open.last().is_some_and(|tag| tag == "style"), "a stray > in {text:?}");
        for entity in text.split('&').skip(1) {
            let name = entity.split(';').next().unwrap();
            assert!(["amp", "lt", "gt", "quot", "#39"].contains(&name), "{name:?} is no entity");
        }
        let (tag, after) = tag.split_once('>').unwrap();
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
        } else {
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            let name = tag.split([' ', '/']).next().unwrap();
            assert!(!["script", "link", "img", "iframe", "object", "image", "use"].contains(&name), "<{name}>");
            if !tag.ends_with('/') {
                open.push(name.to_owned());
            }
        }
    }
    assert!(open.is_empty(), "{open:?} are not closed");
}

#[test]
fn a_page_is_well_formed_loads_nothing_and_runs_nothing() {
    for (name, report) in reports() {
        let page = html::page(&report);
        well_formed(&page);
        for tag in page.split('<').skip(1).filter_map(|tag| tag.split('>').next()) {
            for attribute in tag.split_whitespace().skip(1).filter_map(|part| part.split_once('=')) {
                let (attribute, value) = attribute;
                assert!(
                    !attribute.starts_with("on") && !["href", "src", "xlink:href", "style"].contains(&attribute),
                    "{tag}"
                );
                assert!(!value.contains("url(") && !value.contains("//"), "{name}: {tag}");
            }
        }
        let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
        assert!(!style.contains("url(") && !style.contains("@import"), "{name}");
    }
    let page = html::page(&reports()[0].1);
    assert!(page.contains("&lt;script&gt;alert(&#39;tenant&#39;)&lt;/script&gt;"));
}

#[test]
fn a_page_of_any_length_of_time_has_its_charts() {
    let rows = rows();
    for (hours, buckets) in [(1, 60), (6, 72), (24, 96), (24 * 7, 168), (24 * 90, 91)] {
        let asked = Period { until: period(24).until, since: period(24).until - Duration::from_hours(hours) };
        let report = report_of(&rows, Question { period: asked, ..question(&[Dimension::Day]) });
        let series = report.series.as_ref().unwrap();
        assert_eq!(series.points.len(), buckets, "{hours} h");
        let page = html::page(&report);
        well_formed(&page);
        assert!(page.matches("<svg viewBox=\"0 0 520").count() >= 10, "{hours} h");
    }
}
