//! Which budget says what.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::Sources;
use crate::request::RequestId;

const NOON: &str = "2026-11-21T12:00:00Z";

fn now() -> Timestamp {
    Timestamp::parse(NOON).unwrap()
}

fn tenant(name: &str) -> Tenant {
    Tenant::new(name).unwrap()
}

fn budgets(settings: &[(&str, &str)], spent: &[(&str, f64)]) -> Budgets {
    let overrides = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let config = Config::load(&Sources { overrides, ..Sources::default() }).unwrap().config;
    let mut budgets = Budgets::new(Limits::of(&config));
    let mut account = Account::default();
    for (tenant, usd) in spent {
        account.add(tenant, Usd::of(*usd), now());
    }
    budgets.set_spent(account);
    budgets
}

fn reserved(estimates: &[(&str, f64)]) -> Reserved {
    let mut reserved = Reserved::default();
    for (n, (name, usd)) in estimates.iter().enumerate() {
        reserved.add(RequestId::new(format!("r{n}")).unwrap(), tenant(name), *usd);
    }
    reserved
}

/// The verdict in a word or two.
fn said(budgets: &Budgets, name: &str, usd: f64, cheaper: Option<f64>, under_way: &[(&str, f64)]) -> String {
    let tenant = tenant(name);
    match budgets.verdict(&Ask { tenant: &tenant, usd: Some(usd), cheaper }, &reserved(under_way), now()) {
        Verdict::Go => "go".to_owned(),
        Verdict::Downgrade => "downgrade".to_owned(),
        Verdict::Wait { until, which } => format!("{which} until {}", until.day()),
        Verdict::Refuse(failure) => format!("{}{}", failure.kind, if failure.retryable { "" } else { " for ever" }),
    }
}

#[test]
fn blocking_is_what_was_spent_and_not_what_is_under_way_or_too_large() {
    let settings = [("usd_per_day", "100"), ("tenants.a.usd_per_day", "10"), ("tenants.a.usd_per_month", "10")];
    let rejecting = [&settings[..], &[("budget_policy", "reject")]].concat();
    let a = tenant("a");
    for (spent, usd, expected) in [
        (9.0, 1.0, &[][..]),
        (9.5, 1.0, &["the day's budget of tenant a", "the month's budget of tenant a"]),
        (9.5, 0.5, &[]),
        (9.5, 11.0, &[]),
    ] {
        for settings in [&settings[..], &rejecting] {
            let blocking =
                budgets(settings, &[("a", spent)]).blocking(&Ask { tenant: &a, usd: Some(usd), cheaper: None }, now());
            let names: Vec<String> = blocking.iter().map(|(which, _)| which.to_string()).collect();
            assert_eq!(names, expected, "{spent} {usd}");
            assert!(blocking.iter().all(|(_, renews)| *renews > now()));
        }
    }
}

#[test]
fn each_of_the_four_budgets_bounds_and_the_one_that_renews_last_counts() {
    let settings = [
        ("usd_per_day", "100"),
        ("usd_per_month", "1000"),
        ("tenants.a.usd_per_day", "10"),
        ("tenants.a.usd_per_month", "50"),
    ];
    for (spent, under_way, expected) in [
        (&[][..], &[][..], "go"),
        (&[("a", 9.0)], &[], "go"),
        (&[("a", 9.0)], &[("a", 0.5)], "the day's budget of tenant a until 2026-11-22"),
        (&[("a", 49.5)], &[], "the month's budget of tenant a until 2026-12-01"),
        (&[("b", 99.5)], &[], "the day's budget of all tenants until 2026-11-22"),
        (&[("b", 98.5)], &[("c", 1.0)], "the day's budget of all tenants until 2026-11-22"),
        (&[("b", 999.5)], &[], "the month's budget of all tenants until 2026-12-01"),
        (&[("b", 98.0)], &[], "go"),
    ] {
        assert_eq!(said(&budgets(&settings, spent), "a", 1.0, None, under_way), expected, "{spent:?} {under_way:?}");
    }
    let month_only = budgets(&settings, &[("a", 49.5)]);
    assert_eq!(said(&month_only, "b", 1.0, None, &[]), "go", "others are not bounded by it");
    let tomorrow = now() + Duration::from_hours(24);
    let a = tenant("a");
    let ask = Ask { tenant: &a, usd: Some(1.0), cheaper: None };
    let spent = budgets(&settings, &[("a", 9.5)]);
    assert!(matches!(spent.verdict(&ask, &Reserved::default(), now()), Verdict::Wait { .. }));
    assert_eq!(spent.verdict(&ask, &Reserved::default(), tomorrow), Verdict::Go, "it renewed");
}

#[test]
fn the_policy_of_the_budget_that_is_hit_counts() {
    let settings = [("usd_per_day", "100"), ("tenants.a.usd_per_day", "10"), ("tenants.a.budget_policy", "reject")];
    assert_eq!(said(&budgets(&settings, &[("a", 9.5)]), "a", 1.0, None, &[]), "BudgetExceeded");
    assert_eq!(
        said(&budgets(&settings, &[("b", 99.5)]), "a", 1.0, None, &[]),
        "the day's budget of all tenants until 2026-11-22"
    );
    assert_eq!(said(&budgets(&settings, &[("a", 9.5), ("b", 90.0)]), "a", 1.0, None, &[]), "BudgetExceeded");
    assert_eq!(said(&budgets(&settings, &[]), "a", 10.5, None, &[]), "BudgetExceeded for ever");
    assert_eq!(said(&budgets(&[("usd_per_day", "1")], &[]), "a", 2.0, None, &[]), "BudgetExceeded for ever");

    let a = tenant("a");
    let ask = Ask { tenant: &a, usd: Some(1.0), cheaper: None };
    let refused = budgets(&settings, &[("a", 9.25)]).verdict(&ask, &reserved(&[("a", 0.125)]), now());
    let Verdict::Refuse(failure) = refused else { panic!("{refused:?}") };
    assert_eq!(
        failure.message,
        "the day's budget of tenant a is $10.00 and has no room: $9.25 spent, $0.1250 expected of requests under way, $1.00 expected of this one; it renews at 2026-11-22T00:00:00.000Z"
    );
    let unpriced = Ask { usd: None, ..ask };
    assert_eq!(budgets(&settings, &[("a", 9.999)]).verdict(&unpriced, &Reserved::default(), now()), Verdict::Go);
    let spent = budgets(&settings, &[("a", 10.0)]).verdict(&unpriced, &Reserved::default(), now());
    assert!(matches!(spent, Verdict::Refuse(_)), "a spent budget stops what nobody can count");
}

#[test]
fn downgrading_begins_before_the_budget_is_spent_and_ends_with_it() {
    let settings = [("tenants.a.usd_per_day", "10"), ("tenants.a.budget_policy", "downgrade")];
    for (spent, cheaper, expected) in [
        (6.5, Some(0.1), "go"),
        (7.5, Some(0.1), "downgrade"),
        (7.5, None, "go"),
        (9.5, Some(0.1), "downgrade"),
        (9.5, None, "the day's budget of tenant a until 2026-11-22"),
        (9.95, Some(0.1), "the day's budget of tenant a until 2026-11-22"),
    ] {
        assert_eq!(said(&budgets(&settings, &[("a", spent)]), "a", 1.0, cheaper, &[]), expected, "{spent} {cheaper:?}");
    }
    assert_eq!(
        said(&budgets(&settings, &[]), "a", 11.0, Some(1.0), &[]),
        "downgrade",
        "what never fits, where it does"
    );
    let late = [settings[0], settings[1], ("budget_downgrade_from", "1")];
    assert_eq!(said(&budgets(&late, &[("a", 8.5)]), "a", 1.0, Some(0.1), &[]), "go");
    assert_eq!(said(&budgets(&late, &[("a", 9.5)]), "a", 1.0, Some(0.1), &[]), "downgrade");
}

#[test]
fn it_is_told_how_budgets_stand() {
    let settings = [("usd_per_month", "100"), ("tenants.a.usd_per_day", "10")];
    let standing = budgets(&settings, &[("a", 4.0), ("b", 1.0)]).standing(&reserved(&[("a", 1.0)]), now());
    assert_eq!(
        serde_json::to_value(&standing).unwrap(),
        serde_json::json!([
            {"tenant": null, "period": "month", "policy": "delay", "limit_usd": 100.0, "spent_usd": 5.0, "reserved_usd": 1.0,
             "share": 0.06, "renews_at": "2026-12-01T00:00:00.000Z"},
            {"tenant": "a", "period": "day", "policy": "delay", "limit_usd": 10.0, "spent_usd": 4.0, "reserved_usd": 1.0,
             "share": 0.5, "renews_at": "2026-11-22T00:00:00.000Z"},
        ])
    );
    assert!(Budgets::new(Limits::of(&Config::default())).is_empty());
}

proptest! {
    #[test]
    fn more_is_never_judged_milder(
        policies in prop::array::uniform2(prop::sample::select(vec!["delay", "reject", "downgrade"])),
        from in 0.0_f64..=1.0,
        limits in prop::array::uniform4(0.01_f64..20.0),
        spent in 0.0_f64..20.0,
        under_way in 0.0_f64..20.0,
        usd in 0.0_f64..5.0,
        cheaper in prop::option::of(0.0_f64..=1.0),
        more in prop::array::uniform3(0.0_f64..10.0),
    ) {
        let [day, month, own_day, own_month] = limits.map(|limit| limit.to_string());
        let from = from.to_string();
        let settings = [
            ("budget_policy", policies[0]),
            ("tenants.a.budget_policy", policies[1]),
            ("budget_downgrade_from", from.as_str()),
            ("usd_per_day", &day),
            ("usd_per_month", &month),
            ("tenants.a.usd_per_day", &own_day),
            ("tenants.a.usd_per_month", &own_month),
        ];
        let a = tenant("a");
        let judge = |spent: f64, under_way: f64, usd: f64| {
            // A share of the price, so that a dearer request is dearer on both models.
            let ask = Ask { tenant: &a, usd: Some(usd), cheaper: cheaper.map(|share| usd * share) };
            budgets(&settings, &[("a", spent)]).verdict(&ask, &reserved(&[("a", under_way)]), now())
        };
        let before = judge(spent, under_way, usd);
        for after in [
            judge(spent + more[0], under_way, usd),
            judge(spent, under_way + more[1], usd),
            judge(spent, under_way, usd + more[2]),
            judge(spent + more[0], under_way + more[1], usd + more[2]),
        ] {
            prop_assert!(after.strictness() >= before.strictness(), "{before:?} became {after:?}");
        }
    }
}
