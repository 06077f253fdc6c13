//! `ports::reports`.

use smoother::ports::reports::Slice;
use smoother::ports::{ReportRow, Reports};
use smoother::request::Status;

use crate::Fixture;
use crate::support::{full_row, id, lane, outcome, row};

/// A day that no other case uses.
fn day() -> String {
    format!("{:04}-{:02}-{:02}", fastrand::u16(1970..9999), fastrand::u8(1..=12), fastrand::u8(1..=28))
}

fn report(day: &str, key: &str) -> ReportRow {
    let mut row = row(id("report"), &lane());
    row.status = Status::Succeeded;
    row.outcome = Some(outcome(1_795_252_123_999));
    ReportRow { day: day.to_owned(), finished_key: key.to_owned(), ..ReportRow::of(&row).unwrap() }
}

async fn put(reports: &dyn Reports, rows: Vec<ReportRow>) {
    let count = rows.len();
    let results = reports.put(rows).await;
    assert_eq!(results.len(), count);
    for result in results {
        result.unwrap();
    }
}

async fn keys(reports: &dyn Reports, day: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let page = reports.page(Slice { day, after, before: None }, limit).await.unwrap();
    page.into_iter().map(|row| row.finished_key).collect()
}

pub async fn a_row_comes_back_whole(fixture: &Fixture) {
    let (reports, day) = (&*fixture.ports.reports, day());
    let mut full = ReportRow::of(&full_row(id("full"), &lane())).unwrap();
    full.day.clone_from(&day);
    "1".clone_into(&mut full.finished_key);
    let mut bare = report(&day, "2");
    bare.model_id = String::new();
    bare.latency_ms = None;
    bare.cost_usd = None;
    bare.input_tokens = None;
    bare.output_tokens = None;
    bare.cache_read_tokens = None;
    bare.cache_write_tokens = None;
    let mut missed = full.clone();
    "3".clone_into(&mut missed.finished_key);
    missed.deadline_met = Some(true);
    let rows = vec![full, bare, missed];
    put(reports, rows.clone()).await;
    assert_eq!(reports.page(Slice::of(&day), 10).await.unwrap(), rows);
}

pub async fn a_repeat_overwrites_itself(fixture: &Fixture) {
    let (reports, day) = (&*fixture.ports.reports, day());
    let first = report(&day, "1");
    let second = ReportRow { tenant: "another".to_owned(), use_case: Some("x".to_owned()), ..first.clone() };
    let third = ReportRow { latency_ms: None, use_case: None, ..second.clone() };
    for row in [first, second, third] {
        put(reports, vec![row.clone()]).await;
        assert_eq!(reports.page(Slice::of(&day), 10).await.unwrap(), [row]);
    }
}

pub async fn a_repeat_within_one_call_overwrites_itself(fixture: &Fixture) {
    let (reports, day) = (&*fixture.ports.reports, day());
    let twin = report(&day, "1");
    put(reports, vec![twin.clone(), report(&day, "2"), twin.clone()]).await;
    assert_eq!(reports.page(Slice::of(&day), 1).await.unwrap(), [twin]);
    assert_eq!(keys(reports, &day, None, 10).await, ["1", "2"]);
}

pub async fn a_day_is_paged_in_order(fixture: &Fixture) {
    let (reports, day) = (&*fixture.ports.reports, day());
    let all: Vec<String> = (0..1_100).map(|n| format!("2026-11-21T09:08:43.{n:04}Z#id:{n}")).collect();
    let mut shuffled = all.clone();
    fastrand::shuffle(&mut shuffled);
    put(reports, shuffled.iter().map(|key| report(&day, key)).collect()).await;
    assert_eq!(keys(reports, &day, None, 7).await, all[..7]);
    assert_eq!(keys(reports, &day, Some(&all[6]), 7).await, all[7..14]);
    assert_eq!(keys(reports, &day, None, 5_000).await, all);
    assert_eq!(keys(reports, &day, Some(&all[49]), 5_000).await, all[50..]);
    assert!(keys(reports, &day, Some(&all[1_099]), 7).await.is_empty());
    // A page may start after a key that is not there.
    assert_eq!(keys(reports, &day, Some("2026-11-21T09:08:43.0002"), 1).await, all[2..3]);
}

pub async fn a_slice_ends_before_its_bounds(fixture: &Fixture) {
    let (reports, day) = (&*fixture.ports.reports, day());
    put(reports, (1..=5).map(|n| report(&day, &n.to_string())).collect()).await;
    let slices = [
        (Slice::of(&day).before("3"), &["1", "2"][..]),
        (Slice::of(&day).after("1").before("5"), &["2", "3", "4"]),
        (Slice::of(&day).after("05").before("49"), &["1", "2", "3", "4"]),
        (Slice::of(&day).after("3").before("3"), &[]),
        (Slice::of(&day).after("4").before("2"), &[]),
    ];
    for (slice, expected) in slices {
        let page = reports.page(slice, 10).await.unwrap();
        assert_eq!(page.iter().map(|row| row.finished_key.as_str()).collect::<Vec<_>>(), expected, "{slice:?}");
    }
    assert_eq!(reports.page(Slice::of(&day).after("1").before("5"), 2).await.unwrap().len(), 2);
}

pub async fn days_are_kept_apart(fixture: &Fixture) {
    let (reports, one, other) = (&*fixture.ports.reports, day(), day());
    put(reports, vec![report(&one, "1"), report(&other, "1"), report(&other, "2")]).await;
    assert_eq!(keys(reports, &one, None, 10).await, ["1"]);
    assert_eq!(keys(reports, &other, None, 10).await, ["1", "2"]);
    assert!(keys(reports, "1969-12-31", None, 10).await.is_empty());
}

pub async fn a_batch_answers_each(fixture: &Fixture) {
    let (reports, day) = (&*fixture.ports.reports, day());
    put(reports, (0..130).map(|n| report(&day, &format!("{n:03}"))).collect()).await;
    assert_eq!(keys(reports, &day, None, 200).await.len(), 130);
    put(reports, vec![]).await;
}
