use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::report::{Figures, Filter, Group, Period, Quantiles};
use crate::request::Status;

const SINCE: Timestamp = Timestamp(1_741_600_800_000);

fn question(by: &[Dimension]) -> Question {
    let period = Period { since: SINCE, until: SINCE + Duration::from_hours(3) };
    Question { period, by: by.to_vec(), filter: Filter::default(), top: None, series: true }
}

fn report(question: Question, rows: &[ReportRow]) -> Report {
    let mut aggregate = Aggregate::new(question);
    for row in rows {
        aggregate.add(row);
    }
    aggregate.finish(Origin { place: String::new(), generated_at: SINCE, version: "" })
}

/// A request that finished so many seconds after the beginning.
fn row(second: u64, tenant: &str) -> ReportRow {
    let finished_at = SINCE + Duration::from_secs(second);
    ReportRow { finished_at, started_at: Some(finished_at), tenant: tenant.to_owned(), ..ReportRow::example() }
}

fn text(name: &str) -> String {
    name.to_owned()
}

fn told(groups: &[Group]) -> Vec<(Vec<Option<String>>, Option<u64>, u64)> {
    let values = |group: &'_ Group| group.key.iter().map(|(_, value)| value.clone()).collect();
    groups.iter().map(|group| (values(group), group.others, group.figures.requests)).collect()
}

prop_compose! {
    fn rows()(rows in prop::collection::vec(
        (0_u64..10_800, 0_usize..4, 0_usize..5, 0_u64..90_000, prop::option::of(0_u32..500), 0_u32..3), 0..300,
    )) -> Vec<ReportRow> {
        rows.into_iter()
            .map(|(second, tenant, status, wait_ms, cents, throttles)| ReportRow {
                status: Status::ALL[3 + status],
                wait_ms,
                cost_usd: cents.map(|cents| f64::from(cents) / 100.0),
                throttles,
                priority_class: ["urgent", "high", "normal", "bulk"][tenant].to_owned(),
                deadline_met: (wait_ms % 3 == 0).then_some(wait_ms % 2 == 0),
                quota_tokens: Some(wait_ms),
                lane_tokens_per_minute: Some(100_000.0),
                ..row(second, ["a", "b", "c", "d"][tenant])
            })
            .collect()
    }
}

fn exact(values: &[u64], share: f64) -> u64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
    let rank = (share * values.len() as f64).ceil() as usize;
    values[rank.max(1) - 1]
}

fn check(figures: &Figures, rows: &[&ReportRow]) -> Result<(), TestCaseError> {
    let count = |status: Status| rows.iter().filter(|row| row.status == status).count() as u64;
    for (status, n) in figures.by_status() {
        prop_assert_eq!(n, count(status), "{}", status);
    }
    prop_assert_eq!(figures.requests, rows.len() as u64);
    let cost: f64 = rows.iter().filter_map(|row| row.cost_usd).sum();
    let priced = rows.iter().filter(|row| row.cost_usd.is_some()).count() as u64;
    prop_assert_eq!(figures.unpriced, rows.len() as u64 - priced, "every one of these was answered");
    prop_assert!(figures.cost_usd.is_none() == (priced == 0 && !rows.is_empty()));
    prop_assert!((figures.cost_usd.unwrap_or(0.0) - cost).abs() < 1e-6);
    prop_assert_eq!(figures.throttles, rows.iter().map(|row| u64::from(row.throttles)).sum::<u64>());
    prop_assert_eq!(figures.calls, figures.throttles + rows.len() as u64);
    prop_assert_eq!(figures.deadlines_met, rows.iter().filter(|row| row.deadline_met == Some(true)).count() as u64);
    let waits: Vec<u64> = rows.iter().filter(|row| row.status != Status::Rejected).map(|row| row.wait_ms).collect();
    prop_assert_eq!(figures.wait_ms.as_ref().map_or(0, Quantiles::count), waits.len() as u64);
    for share in [0.5, 0.95, 0.99].into_iter().filter(|_| !waits.is_empty()) {
        let (found, exact) = (figures.wait_ms.as_ref().map_or(0, |wait| wait.at(share)), exact(&waits, share));
        prop_assert!(found.abs_diff(exact) as f64 <= exact as f64 * 0.01, "{} for {}", found, exact);
    }
    let mut minutes: BTreeMap<u64, u64> = BTreeMap::new();
    for row in rows {
        *minutes.entry(row.started_at.unwrap_or(SINCE).0 / 60_000).or_default() += row.quota_tokens.unwrap_or(0);
    }
    if let Some(quota) = &figures.quota {
        let used = |tokens: u64| tokens as f64 / 100_000.0;
        let share = quota.tokens.clone().expect("it is limited");
        prop_assert_eq!(quota.active_minutes, minutes.len() as u64);
        let mean = minutes.values().map(|tokens| used(*tokens)).sum::<f64>() / minutes.len() as f64;
        prop_assert!((share.mean - mean).abs() < 1e-5);
        prop_assert!((share.max - minutes.values().map(|tokens| used(*tokens)).fold(0.0, f64::max)).abs() < 1e-5);
        prop_assert!(share.p95 <= share.max);
    } else {
        prop_assert!(minutes.is_empty());
    }
    Ok(())
}

proptest! {
    #[test]
    fn groups_and_total_are_what_counting_by_hand_gives(rows in rows()) {
        for by in [Dimension::Tenant, Dimension::Priority, Dimension::Hour] {
            let report = report(question(&[by]), &rows);
            check(&report.total, &rows.iter().collect::<Vec<_>>())?;
            let name = |row: &ReportRow| match by {
                Dimension::Tenant => row.tenant.clone(),
                Dimension::Priority => row.priority_class.clone(),
                _ => format!("{}:00:00Z", row.finished_at.to_string().chars().take(13).collect::<String>()),
            };
            for group in &report.groups {
                let mine: Vec<&ReportRow> = rows.iter().filter(|row| Some(name(row)) == group.key[0].1).collect();
                check(&group.figures, &mine)?;
            }
            prop_assert_eq!(report.groups.iter().map(|g| g.figures.requests).sum::<u64>(), rows.len() as u64);
            let series = report.series.as_ref().expect("asked for");
            prop_assert_eq!(series.points.iter().flat_map(|p| p.statuses).sum::<u64>(), rows.len() as u64);
        }
    }

    #[test]
    fn what_is_not_among_the_top_is_summed_up(rows in rows(), top in 1_usize..4) {
        let all = report(question(&[Dimension::Tenant]), &rows);
        let cut = report(Question { top: Some(top), ..question(&[Dimension::Tenant]) }, &rows);
        let kept = all.groups.len().min(top);
        prop_assert_eq!(&cut.groups[..kept], &all.groups[..kept]);
        let rest: u64 = all.groups[kept..].iter().map(|group| group.figures.requests).sum();
        prop_assert_eq!(cut.groups.get(kept).map_or(0, |group| group.figures.requests), rest);
        prop_assert_eq!(cut.groups.get(kept).and_then(|group| group.others), (all.groups.len() > kept).then_some((all.groups.len() - kept) as u64));
        prop_assert_eq!(cut.total, all.total);
    }
}

#[test]
fn groups_are_in_the_order_that_people_read_them() {
    let cost = |tenant: &str, status, cost: f64| ReportRow { cost_usd: Some(cost), status, ..row(60, tenant) };
    let rows = [
        cost("cheap", Status::Succeeded, 1.0),
        cost("dear", Status::Failed, 2.0),
        cost("dear", Status::Succeeded, 7.0),
        cost("many", Status::Succeeded, 0.5),
        cost("many", Status::Succeeded, 0.5),
    ];
    let report_by = |by: &[Dimension]| report(question(by), &rows);
    assert_eq!(
        told(&report_by(&[Dimension::Tenant, Dimension::Status]).groups),
        [
            (vec![Some(text("dear")), Some(text("SUCCEEDED"))], None, 1),
            (vec![Some(text("dear")), Some(text("FAILED"))], None, 1),
            (vec![Some(text("many")), Some(text("SUCCEEDED"))], None, 2),
            (vec![Some(text("cheap")), Some(text("SUCCEEDED"))], None, 1),
        ]
    );
    let hours = report_by(&[Dimension::Hour, Dimension::Tenant]);
    assert_eq!(
        told(&hours.groups),
        [
            (vec![Some(text("2025-03-10T10:00:00Z")), Some(text("dear"))], None, 2),
            (vec![Some(text("2025-03-10T10:00:00Z")), Some(text("many"))], None, 2),
            (vec![Some(text("2025-03-10T10:00:00Z")), Some(text("cheap"))], None, 1),
            (vec![Some(text("2025-03-10T11:00:00Z")), None], None, 0),
            (vec![Some(text("2025-03-10T12:00:00Z")), None], None, 0),
        ]
    );
    assert_eq!(hours.groups[3].name(), "–");
}

#[test]
fn groups_beyond_the_most_are_others_and_come_last() {
    let rows: Vec<ReportRow> = (0..MOST_GROUPS as u64 + 30).map(|n| row(n % 60, &format!("tenant-{n}"))).collect();
    let report = report(question(&[Dimension::Tenant]), &rows);
    assert_eq!(report.groups.len(), MOST_GROUPS + 1);
    let last = report.groups.last().unwrap();
    assert_eq!((last.others, last.figures.requests, last.name().as_str()), (Some(0), 30, "others"));
}

#[test]
fn a_filter_that_leaves_nothing_gives_a_hint() {
    let filter = Filter { tenants: vec!["acne".to_owned()], ..Filter::default() };
    let report = report(Question { filter, ..question(&[Dimension::Tenant]) }, &[row(1, "acme")]);
    assert_eq!((report.total.requests, report.left_out, report.groups.len()), (0, 1, 0));
    assert!(report.hint.unwrap().contains("did you mean \"acme\"?"));
}
