//! Every recorded name leads to its models and to no others.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const NAMES: &str = include_str!("../../../tests/data/service-quota-names.txt");
const PREFIXES: [&str; 9] = ["", "us.", "eu.", "apac.", "jp.", "au.", "in.", "us-gov.", "global."];

/// The recorded names with the foundation models they are for.
fn recorded() -> Vec<(&'static str, Vec<&'static str>)> {
    let lines = NAMES.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split_once('|').unwrap())
        .map(|(name, ids)| (name.trim(), ids.split(' ').filter(|id| !id.is_empty()).collect()))
        .collect()
}

/// Every id there is in the catalogue or in the recorded list, with every prefix.
fn ids() -> BTreeSet<String> {
    let catalog = include_str!("../catalog.csv").lines().skip(1).filter_map(|line| line.split(',').next());
    let bare: BTreeSet<&str> = catalog.map(bare_id).chain(recorded().into_iter().flat_map(|(_, ids)| ids)).collect();
    bare.into_iter().flat_map(|id| PREFIXES.map(|prefix| format!("{prefix}{id}"))).collect()
}

/// Which ids a name is for, going by its first words.
fn reached(name: &str, models: &[&str]) -> BTreeSet<String> {
    let lower = name.to_lowercase();
    let prefixes: Vec<&str> = PREFIXES
        .into_iter()
        .filter(|prefix| match *prefix {
            "" => lower.starts_with("on-demand") || lower.starts_with("model invocation"),
            "global." => lower.starts_with("global cross-region"),
            _ => lower.starts_with("cross-region") || lower.starts_with("model invocation"),
        })
        .collect();
    models.iter().flat_map(|id| prefixes.iter().map(move |prefix| format!("{prefix}{id}"))).collect()
}

fn row(name: &str, value: f64) -> QuotaRow {
    QuotaRow { name: name.to_owned(), value }
}

fn table(rows: &[(&str, f64)]) -> QuotaTable {
    QuotaTable::new(&rows.iter().map(|(name, value)| row(name, *value)).collect::<Vec<_>>())
}

/// The value of a limit.
fn value(limit: Option<&Listed>) -> Option<f64> {
    limit.map(|listed| listed.value)
}

/// Requests, tokens and tokens a day.
fn values(limits: &Limits) -> [Option<f64>; 3] {
    [&limits.requests_per_minute, &limits.tokens_per_minute, &limits.tokens_per_day].map(|limit| value(limit.as_ref()))
}

#[test]
fn the_list_is_long_and_has_no_name_twice() {
    let recorded = recorded();
    let names: BTreeSet<String> = recorded.iter().map(|(name, _)| name.to_lowercase()).collect();
    assert_eq!(names.len(), recorded.len());
    assert!(recorded.len() >= 200, "{} names", recorded.len());
    let of_models = recorded.iter().filter(|(_, ids)| !ids.is_empty()).count();
    assert!(of_models >= 200, "{of_models} names of models");
}

#[test]
fn each_name_alone_matches_its_models_and_nothing_else() {
    // One geography stands for all here, or this would take long.
    let quick = |id: &String| bare_id(id) == id || id.starts_with("us.") || id.starts_with("global.");
    let ids: Vec<String> = ids().into_iter().filter(quick).collect();
    for (name, models) in recorded() {
        let table = table(&[(name, 7.0)]);
        let matched: BTreeSet<String> =
            ids.iter().filter(|id| values(&table.of(id)).iter().any(Option::is_some)).cloned().collect();
        let expected: BTreeSet<String> = reached(name, &models).into_iter().filter(quick).collect();
        assert_eq!(matched, expected, "{name}");
    }
}

#[test]
fn with_all_rows_listed_every_model_gets_its_own() {
    // Every row has a value of its own, so that a wrong row shows.
    let recorded = recorded();
    let rows: Vec<QuotaRow> = recorded.iter().zip(1_u32..).map(|((name, _), n)| row(name, f64::from(n))).collect();
    let table = QuotaTable::new(&rows);
    let mut expected: BTreeMap<String, [Vec<f64>; 3]> = BTreeMap::new();
    for ((name, models), QuotaRow { value, .. }) in recorded.iter().zip(&rows) {
        let lower = name.to_lowercase();
        let measure = if lower.contains("per day") { 2 } else { usize::from(lower.contains("tokens per minute")) };
        for id in reached(name, models) {
            let doubled = lower.contains("doubled") && is_geographic(&id);
            expected.entry(id).or_default()[measure].push(if doubled { value * 2.0 } else { *value });
        }
    }
    assert!(expected.len() > 300, "{} ids have quotas", expected.len());
    for id in ids() {
        let expected = expected.remove(&id).unwrap_or_default();
        let limits = table.of(&id);
        let sole = expected.each_ref().map(|values| if let [value] = values.as_slice() { Some(*value) } else { None });
        assert_eq!(values(&limits), sole, "{id}");
        assert_eq!(limits.faults.len(), expected.iter().filter(|values| values.len() > 1).count(), "{id}");
    }
    assert_eq!(expected.len(), 0);
}

#[test]
fn names_of_every_spelling_are_read() {
    for name in [
        "Cross-region model inference tokens per minute for Anthropic Claude Sonnet 4.5 V1",
        "Cross-Region model inference tokens per minute for Claude Sonnet 4.5",
        "CROSS-REGION  model inference tokens per minute for  anthropic claude sonnet-4.5 v1 ",
        "Cross-Region InvokeModel tokens per minute for Anthropic Claude Sonnet 4.5",
    ] {
        let table = table(&[(name, 5.0)]);
        let limits = table.of("eu.anthropic.claude-sonnet-4-5-20250929-v1:0");
        assert_eq!(values(&limits), [None, Some(5.0), None], "{name}");
        assert_eq!(&*limits.tokens_per_minute.unwrap().name, name);
        for other in [
            "anthropic.claude-sonnet-4-5-20250929-v1:0",
            "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "eu.anthropic.claude-sonnet-4-20250514-v1:0",
            "eu.anthropic.claude-opus-4-5-20251101-v1:0",
            "eu.anthropic.claude-sonnet-5-5",
        ] {
            assert_eq!(table.of(other), Limits::default(), "{other}");
        }
    }
}

#[test]
fn a_provider_that_is_named_must_be_the_models() {
    let table = table(&[
        ("On-demand model inference tokens per minute for Acme Nova Lite", 5.0),
        ("On-demand model inference tokens per minute for Meta Nova Lite", 6.0),
    ]);
    assert_eq!(table.of("amazon.nova-lite-v1:0"), Limits::default());
}

#[test]
fn days_are_doubled_across_regions_where_the_name_says_so() {
    let of = |name: &str, id: &str| value(table(&[(name, 100.0)]).of(id).tokens_per_day.as_ref());
    let doubled = "Model invocation max tokens per day for Amazon Nova Lite (doubled for cross-region calls)";
    assert_eq!(of(doubled, "amazon.nova-lite-v1:0"), Some(100.0));
    assert_eq!(of(doubled, "us.amazon.nova-lite-v1:0"), Some(200.0));
    let plain = "Model invocation max tokens per day for Amazon Nova Lite";
    assert_eq!(of(plain, "us.amazon.nova-lite-v1:0"), Some(100.0));
    assert_eq!(of(plain, "global.amazon.nova-lite-v1:0"), None);
    let global = "Global cross-region model inference tokens per day for Amazon Nova 2 Lite";
    assert_eq!(of(global, "global.amazon.nova-2-lite-v1:0"), Some(100.0));
    assert_eq!(of(global, "us.amazon.nova-2-lite-v1:0"), None);
}

#[test]
fn what_is_not_clear_is_not_guessed() {
    let small = "On-demand model inference tokens per minute for Mistral AI Mistral Small";
    let other = "On-demand model inference tokens per minute for Mistral Small";
    let id = "mistral.mistral-small-2402-v1:0";
    let limits = table(&[(small, 5.0), (other, 6.0)]).of(id);
    assert_eq!(limits.tokens_per_minute, None);
    let [fault] = limits.faults.as_slice() else { panic!("{:?}", limits.faults) };
    assert!(fault.contains(id) && fault.contains(small) && fault.contains(other), "{fault}");
    let same = table(&[(small, 5.0), (other, 5.0)]).of(id);
    assert_eq!((value(same.tokens_per_minute.as_ref()), same.faults.len()), (Some(5.0), 0), "no doubt what it is");
}

#[test]
fn a_quota_of_nothing_is_told_and_not_taken() {
    let limits =
        table(&[("On-demand model inference tokens per minute for Amazon Nova Lite", 0.0)]).of("amazon.nova-lite-v1:0");
    assert_eq!(limits.tokens_per_minute, None);
    assert!(limits.faults[0].contains("lists 0"), "{:?}", limits.faults);
}

#[test]
fn the_accounts_day_is_known() {
    let table = table(&[("Cross-Model Max Tokens Per Day", 150e6)]);
    assert_eq!(value(table.account_tokens_per_day()), Some(150e6));
    assert_eq!(table.of("amazon.nova-lite-v1:0"), Limits::default());
}

#[test]
fn aliases_are_for_models_of_ours() {
    for line in include_str!("../quota_aliases.csv").lines().skip(1) {
        let (_, id) = line.split_once(',').unwrap();
        assert!(include_str!("../catalog.csv").lines().any(|row| row.starts_with(&format!("{id},"))), "{id}");
    }
}
