//! `report` over the reporting port: what it says is the same on every set of adapters.

use std::sync::Arc;
use std::time::Duration;

use smoother::clock::Timestamp;
use smoother::report::scan::PAGE;
use smoother::report::{Aggregate, Dimension, Filter, Origin, Period, Question, Report, Scan};

use crate::Fixture;
use crate::finished::Traffic;

/// An hour that no other case uses, so that tables may be shared.
fn hours() -> Timestamp {
    let day = format!("{:04}-{:02}-{:02}", fastrand::u16(1980..2020), fastrand::u8(1..=12), fastrand::u8(1..=25));
    Timestamp::parse(&format!("{day}T22:30:00Z")).unwrap()
}

async fn read(fixture: &Fixture, question: Question) -> (Report, usize) {
    let mut aggregate = Aggregate::new(question.clone());
    let mut scan = Scan::new(Arc::clone(&fixture.ports.reports), question.period);
    let mut rows = 0;
    while let Some(page) = scan.next().await.unwrap() {
        for row in &page.rows {
            aggregate.add(row);
        }
        aggregate.complete(page.complete_until);
        rows += page.rows.len();
    }
    (aggregate.finish(origin()), rows)
}

fn origin() -> Origin {
    Origin { place: String::new(), generated_at: Timestamp(0), version: "" }
}

pub async fn what_was_put_is_summed_up_and_nothing_else(fixture: &Fixture) {
    let since = hours();
    // Over midnight, with more than a page in an hour, and something on both sides of the period.
    let length = Duration::from_hours(4);
    let rows: Vec<_> = Traffic::new(3, since, length, 4 * PAGE as u64 + 500).collect();
    for done in fixture.ports.reports.put(rows.clone()).await {
        done.unwrap();
    }
    let period = Period { since: since + Duration::from_mins(17), until: since + Duration::from_mins(203) };
    for by in [vec![Dimension::Tenant, Dimension::Model], vec![Dimension::Hour], vec![Dimension::Priority]] {
        let question = Question { period, by, filter: Filter::default(), top: None, series: true };
        let mut expected = Aggregate::new(question.clone());
        let inside: Vec<_> =
            rows.iter().filter(|row| row.finished_at >= period.since && row.finished_at < period.until).collect();
        for row in &inside {
            expected.add(row);
        }
        let (report, read) = read(fixture, question).await;
        assert_eq!(read, inside.len());
        let expected = expected.finish(origin());
        assert_eq!(serde_json::to_value(&report).unwrap(), serde_json::to_value(&expected).unwrap());
        // Pages come in any order, so that only what is told can be compared.
        let (series, expected) = (report.series.as_ref().unwrap(), expected.series.as_ref().unwrap());
        assert_eq!(series.points, expected.points);
        assert_eq!(series.lanes(), expected.lanes());
        assert_eq!(series.models.dearest(3), expected.models.dearest(3));
        assert_eq!(series.tenants.dearest(3), expected.tenants.dearest(3));
        assert_eq!(series.errors(2), expected.errors(2));
        assert_eq!(report.total.requests, report.groups.iter().map(|group| group.figures.requests).sum::<u64>());
    }
}

pub async fn where_nothing_is_nothing_is_reported(fixture: &Fixture) {
    let since = hours();
    let period = Period { since, until: since + Duration::from_hours(3) };
    let question = Question { period, by: vec![Dimension::Hour], filter: Filter::default(), top: None, series: false };
    let (report, rows) = read(fixture, question).await;
    assert_eq!((rows, report.total.requests), (0, 0));
    assert_eq!(
        report.groups.iter().map(smoother::report::Group::name).collect::<Vec<_>>().len(),
        4,
        "empty hours are shown"
    );
}
