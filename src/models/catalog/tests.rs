//! The table is whole, and ids of every form find their data.

use super::*;
use crate::clock::Timestamp;
use crate::config::Sources;
use crate::models::QuotaOrigin;
use crate::request::{Lane, PayloadRef, Priority, RequestId, Tenant, Usage};

const NOVA: &str = "us.amazon.nova-lite-v1:0";

fn catalog(overrides: &[(&str, &str)]) -> Catalog {
    let overrides = overrides.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Catalog::new(&Config::load(&Sources { overrides, ..Sources::default() }).unwrap().config)
}

fn ask(catalog: &Catalog, id: &str) -> Result<ModelSpec, Failure> {
    catalog.resolve(&Target::Model(ModelId::new(id).unwrap()))
}

fn spec(id: &str) -> ModelSpec {
    ask(&catalog(&[]), id).expect(id)
}

/// A thousand tokens of each kind, in dollars.
fn price(id: &str) -> Option<f64> {
    let usage = Usage {
        input_tokens: 1000,
        output_tokens: 1000,
        cache_read_input_tokens: 1000,
        cache_write_input_tokens: 1000,
    };
    spec(id).prices.expect(id).cost(&usage, None)
}

#[test]
fn the_table_is_whole() {
    let csv = include_str!("../catalog.csv");
    assert_eq!(TABLE.len(), csv.lines().count() - 1, "no id is twice");
    for (id, entry) in TABLE.iter() {
        let vendor = bare_id(id).split_once('.').map(|(vendor, _)| vendor);
        assert!(vendor.is_some_and(|v| !v.is_empty()) && !id.contains('@'), "{id} is no Bedrock id");
        assert!(ModelId::new(*id).is_ok());
        assert!(entry.prices.is_some() || id.contains("twelvelabs."), "{id} has no price");
        assert!(
            entry.embeds || entry.max_output_tokens.is_some() || id.contains("pegasus"),
            "{id} has no output limit"
        );
    }
}

#[test]
fn costs_are_those_of_the_price_list() {
    // Dollars per million of input, output, cache read and cache write, added up by hand; writing is charged as input where no price is listed.
    for (id, sum) in [
        ("amazon.nova-micro-v1:0", 0.035 + 0.14 + 0.008_75 + 0.035),
        ("amazon.nova-lite-v1:0", 0.06 + 0.24 + 0.015 + 0.06),
        ("amazon.nova-pro-v1:0", 0.8 + 3.2 + 0.2 + 0.8),
        ("anthropic.claude-3-5-haiku-20241022-v1:0", 0.8 + 4.0 + 0.08 + 1.0),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", 1.0 + 5.0 + 0.1 + 1.25),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", 3.0 + 15.0 + 0.3 + 3.75),
        ("anthropic.claude-sonnet-5", 2.0 + 10.0 + 0.2 + 2.5),
        ("anthropic.claude-opus-4-1-20250805-v1:0", 15.0 + 75.0 + 1.5 + 18.75),
        ("anthropic.claude-opus-5-5", 4.0 + 20.0 + 0.2 + 5.0),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", 1.1 * 7.35),
        ("global.anthropic.claude-haiku-4-5-20251001-v1:0", 7.35),
    ] {
        let (found, expected) = (price(id).expect(id), sum / 1000.0);
        assert!((found - expected).abs() < 1e-6, "{id}: {found} for {expected}");
    }
    assert_eq!(price("meta.llama3-3-70b-instruct-v1:0"), None, "nobody knows what it costs to read from its cache");
    let titan = spec("amazon.titan-embed-text-v2:0").prices.unwrap();
    assert!((titan.cost(&Usage { input_tokens: 1_000_000, ..Usage::default() }, None).unwrap() - 0.02).abs() < 1e-12);
}

#[test]
fn tiers_cost_what_the_price_list_says() {
    let usage = Usage { input_tokens: 1_000_000, output_tokens: 1_000_000, ..Usage::default() };
    let cost = |id: &str, tier| spec(id).prices.unwrap().cost(&usage, tier);
    let near = |found: Option<f64>, expected: f64| found.is_some_and(|found| (found - expected).abs() < 1e-9);
    assert!(near(cost("amazon.nova-pro-v1:0", Some("default")), 4.0));
    assert!(near(cost("amazon.nova-pro-v1:0", Some("flex")), 0.4 + 1.6));
    assert!(near(cost("amazon.nova-pro-v1:0", Some("priority")), 1.4 + 5.6));
    assert_eq!(cost("anthropic.claude-haiku-4-5-20251001-v1:0", Some("flex")), None);
}

#[test]
fn the_day_of_the_prices_is_that_of_the_table() {
    assert!(include_str!("../catalog.md").contains(&format!("As of {PRICES_AS_OF},")));
    assert_eq!(spec("amazon.nova-pro-v1:0").prices.unwrap().as_of.to_string(), PRICES_AS_OF);
}

#[test]
fn an_unknown_price_is_none() {
    assert_eq!(spec("twelvelabs.marengo-embed-3-0-v1:0").prices, None);
    let catalog = catalog(&[("models.my.model.tokens_per_minute", "5")]);
    assert_eq!(ask(&catalog, "my.model").unwrap().prices, None);
}

#[test]
fn profiles_without_a_row_take_their_models() {
    for (profile, factor) in [
        ("in.anthropic.claude-sonnet-4-5-20250929-v1:0", 1.1),
        ("us-gov.anthropic.claude-opus-4-6-v1", 1.1),
        ("apac.anthropic.claude-opus-4-1-20250805-v1:0", 1.0),
        ("global.anthropic.claude-3-5-haiku-20241022-v1:0", 1.0),
        ("jp.amazon.nova-lite-v1:0", 1.0),
    ] {
        assert!(!TABLE.contains_key(profile), "{profile} has a row by now");
        let bare = bare_id(profile);
        assert!((price(profile).unwrap() - factor * price(bare).unwrap()).abs() < 1e-9, "{profile}");
        assert_eq!(spec(profile).max_output_tokens, spec(bare).max_output_tokens);
        assert_eq!(spec(profile).quota_id.as_str(), profile, "a profile has a quota of its own");
    }
}

#[test]
fn output_burns_quota_by_family() {
    for (id, expected) in [
        ("anthropic.claude-opus-4-8", 15.0),
        ("us.anthropic.claude-opus-5-5", 10.0),
        ("global.anthropic.claude-sonnet-5", 10.0),
        ("anthropic.claude-opus-5", 10.0),
        ("anthropic.claude-haiku-5-5", 10.0),
        ("anthropic.claude-opus-4-7", 5.0),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", 5.0),
        ("anthropic.claude-3-5-haiku-20241022-v1:0", 5.0),
        ("anthropic.claude-v2:1", 5.0),
        ("amazon.nova-lite-v1:0", 1.0),
        ("us.meta.llama3-3-70b-instruct-v1:0", 1.0),
    ] {
        assert!((spec(id).burndown - expected).abs() < 1e-12, "{id}");
    }
    let configured = catalog(&[("models.anthropic.claude-opus-5.burndown", "7.5")]);
    assert!((ask(&configured, "anthropic.claude-opus-5").unwrap().burndown - 7.5).abs() < 1e-12);
}

#[test]
fn quotas_are_assumed_until_they_are_configured() {
    let small = QuotaSettings {
        requests_per_minute: Some(60.0),
        tokens_per_minute: 100_000.0,
        tokens_per_day: None,
        origin: QuotaOrigin::Assumed,
    };
    assert_eq!(spec(NOVA).quota, small);
    let path = |field: &str| format!("models.\"{NOVA}\".{field}");
    let tokens = catalog(&[(&path("tokens_per_minute"), "5000"), (&path("tokens_per_day"), "70000")]);
    let expected = QuotaSettings {
        requests_per_minute: None,
        tokens_per_minute: 5000.0,
        tokens_per_day: Some(70_000.0),
        origin: QuotaOrigin::Configured,
    };
    assert_eq!(ask(&tokens, NOVA).unwrap().quota, expected);
    let requests = catalog(&[(&path("requests_per_minute"), "7")]);
    assert_eq!(ask(&requests, NOVA).unwrap().quota, QuotaSettings { requests_per_minute: Some(7.0), ..small });
    let bare = bare_id(NOVA);
    assert_eq!(
        ask(&tokens, bare).unwrap().quota.origin,
        QuotaOrigin::Assumed,
        "the quota of a profile is not that of its model"
    );
}

#[test]
fn arns_are_their_models() {
    let profile = format!("arn:aws:bedrock:us-east-1:123456789012:inference-profile/{NOVA}");
    let catalog =
        catalog(&[(&format!("models.\"{NOVA}\".tokens_per_minute"), "5000"), ("allowed_models", "us.amazon.*")]);
    let by_arn = ask(&catalog, &profile).unwrap();
    assert_eq!(by_arn.id.as_str(), profile);
    assert_eq!(ModelSpec { id: by_arn.quota_id.clone(), ..by_arn }, ask(&catalog, NOVA).unwrap());

    let foundation = spec("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0");
    assert_eq!(foundation.quota_id.as_str(), "amazon.nova-lite-v1:0");
    assert_eq!(foundation.prices, spec("amazon.nova-lite-v1:0").prices);
}

#[test]
fn application_profiles_must_be_configured() {
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3";
    let failure = ask(&catalog(&[]), arn).unwrap_err();
    assert_eq!(failure.kind, "UnknownModel");
    assert!(failure.message.contains(&format!("[models.\"{arn}\"]")), "{}", failure.message);
    let configured = catalog(&[(&format!("models.\"{arn}\".max_output_tokens"), "1000")]);
    let spec = ask(&configured, arn).unwrap();
    assert_eq!((spec.max_output_tokens, spec.quota_id.as_str()), (1000, arn));
}

#[test]
fn an_unknown_model_is_told_the_nearest() {
    let failure = ask(&catalog(&[]), "us.amazon.nova-light-v1:0").unwrap_err();
    assert_eq!(
        (failure.kind.as_str(), failure.field.as_deref(), failure.retryable),
        ("UnknownModel", Some("model_id"), false)
    );
    assert!(
        failure.message.starts_with(
            "unknown model \"us.amazon.nova-light-v1:0\"; the nearest known are us.amazon.nova-lite-v1:0, "
        )
    );
    assert_eq!(failure.message.matches(", ").count(), 2, "{}", failure.message);
    let narrow = ask(&catalog(&[("allowed_models", "amazon.titan-*")]), "us.amazon.nova-light-v1:0").unwrap_err();
    assert!(!narrow.message.contains("nova-lite"), "what may not be asked for is not suggested: {}", narrow.message);
}

#[test]
fn a_model_that_is_not_allowed_is_told_what_is() {
    let failure = ask(&catalog(&[("allowed_models", "amazon.*,us.amazon.*")]), "anthropic.claude-opus-5").unwrap_err();
    assert_eq!((failure.kind.as_str(), failure.field.as_deref()), ("ModelNotAllowed", Some("model_id")));
    assert!(failure.message.ends_with("allowed are amazon.*, us.amazon.*"), "{}", failure.message);
}

#[test]
fn use_cases_lead_to_their_models() {
    let catalog = catalog(&[("use_cases.summaries.model", NOVA), ("use_cases.broken.model", "no.such-model")]);
    let ask = |name: &str| catalog.resolve(&Target::UseCase(name.to_owned()));
    assert_eq!(ask("summaries").unwrap().id.as_str(), NOVA);
    let unknown = ask("sumaries").unwrap_err();
    assert_eq!((unknown.kind.as_str(), unknown.field.as_deref()), ("UnknownUseCase", Some("use_case")));
    assert_eq!(unknown.message, "unknown use case \"sumaries\"; known are broken, summaries");
    let broken = ask("broken").unwrap_err();
    assert_eq!((broken.kind.as_str(), broken.field.as_deref()), ("UnknownModel", Some("use_case")));
    assert!(broken.message.starts_with("use case \"broken\": unknown model \"no.such-model\""), "{}", broken.message);
}

#[test]
fn a_stand_in_serves_what_it_can_and_what_it_was_named_for() {
    let (pro, micro) = ("amazon.nova-pro-v1:0", "amazon.nova-micro-v1:0");
    let request = |model: &str, use_case: Option<&str>, most: u64| Request {
        model_id: ModelId::new(model).unwrap(),
        downgraded_from: None,
        batch_id: None,
        trace: None,
        use_case: use_case.map(str::to_owned),
        estimate: Estimate { input_tokens: 100, max_output_tokens: most },
        id: RequestId::new("r").unwrap(),
        content_hash: String::new(),
        message_id: String::new(),
        lane: Lane::none(),
        tenant: Tenant::default(),
        priority: Priority::NORMAL,
        deadline: None,
        metadata: BTreeMap::new(),
        operation: Operation::Converse,
        body: PayloadRef(String::new()),
        rank: String::new(),
        received_at: Timestamp(0),
    };
    let settings = [
        ("models.amazon.nova-pro-v1:0.downgrade_to", "amazon.nova-lite-v1:0"),
        ("use_cases.talk.model", pro),
        ("use_cases.talk.downgrade_to", micro),
        ("use_cases.plain.model", pro),
        ("models.amazon.nova-lite-v1:0.tokens_per_minute", "5000"),
    ];
    let catalog = catalog(&settings);
    let stand_in = |request: &Request| catalog.downgrade(request).map(|spec| spec.id.as_str().to_owned());
    let lite = Some("amazon.nova-lite-v1:0".to_owned());
    assert_eq!(stand_in(&request(pro, None, 1_000)), lite);
    assert_eq!(stand_in(&request(pro, Some("plain"), 1_000)), lite);
    assert_eq!(stand_in(&request(pro, Some("talk"), 1_000)).as_deref(), Some(micro), "the use case's comes first");
    assert_eq!(stand_in(&request(micro, Some("talk"), 1_000)), None, "it stands in already");
    assert_eq!(stand_in(&request("amazon.nova-lite-v1:0", None, 1_000)), None, "nothing is named");
    assert_eq!(stand_in(&request(pro, Some("talk"), 10_001)), None, "its answers are not as long");
    assert_eq!(stand_in(&request(pro, None, 5_000)), None, "its quota never admits it");
    let native = Request { operation: Operation::Invoke, ..request(pro, None, 1_000) };
    assert_eq!(stand_in(&native), None);
}

#[test]
fn embeddings_reserve_no_output() {
    assert_eq!(spec("amazon.titan-embed-text-v2:0").max_output_tokens, 0);
    assert_eq!(spec("cohere.embed-english-v3").max_output_tokens, 0);
    assert_eq!(spec("twelvelabs.pegasus-1-2-v1:0").max_output_tokens, USUAL_MAX_OUTPUT);
}

const LISTED: &str = "Cross-region model inference tokens per minute for Amazon Nova Lite";

fn listed(rows: &[(&str, f64)]) -> Vec<QuotaRow> {
    rows.iter().map(|(name, value)| QuotaRow { name: (*name).to_owned(), value: *value }).collect()
}

#[test]
fn what_is_configured_wins_over_what_is_listed_and_that_over_what_is_assumed() {
    let requests = "Cross-region model inference requests per minute for Amazon Nova Lite";
    let day = "Model invocation max tokens per day for Amazon Nova Lite (doubled for cross-region calls)";
    let rows = listed(&[(LISTED, 4000.0), (requests, 20.0), (day, 100.0)]);
    let all_listed = QuotaSettings {
        requests_per_minute: Some(20.0),
        tokens_per_minute: 4000.0,
        tokens_per_day: Some(200.0),
        origin: QuotaOrigin::ServiceQuotas,
    };
    let path = |field: &str| format!("models.\"{NOVA}\".{field}");
    for (set, expected) in [
        (vec![], all_listed),
        (
            vec![(path("tokens_per_minute"), "5000")],
            QuotaSettings { tokens_per_minute: 5000.0, origin: QuotaOrigin::Configured, ..all_listed },
        ),
        (vec![(path("requests_per_minute"), "7")], QuotaSettings { requests_per_minute: Some(7.0), ..all_listed }),
        (vec![(path("tokens_per_day"), "9")], QuotaSettings { tokens_per_day: Some(9.0), ..all_listed }),
    ] {
        let set: Vec<(&str, &str)> = set.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let catalog = catalog(&set);
        drop(catalog.set_service_quotas(&rows));
        assert_eq!(ask(&catalog, NOVA).unwrap().quota, expected, "{set:?}");
        let arn = format!("arn:aws:bedrock:us-east-1:123456789012:inference-profile/{NOVA}");
        assert_eq!(ask(&catalog, &arn).unwrap().quota, expected, "an ARN and its id are one");
        assert_eq!(ask(&catalog, bare_id(NOVA)).unwrap().quota.origin, QuotaOrigin::Assumed);
    }
}

#[test]
fn requests_are_not_limited_where_only_tokens_are_listed() {
    let catalog = catalog(&[]);
    drop(catalog.set_service_quotas(&listed(&[(LISTED, 4000.0)])));
    assert_eq!(ask(&catalog, NOVA).unwrap().quota.requests_per_minute, None);
}

#[test]
fn a_new_list_applies_at_once_and_tells_what_it_changed() {
    let catalog = catalog(&[("models.anthropic.claude-opus-5.tokens_per_minute", "5000")]);
    let other = catalog.clone();
    let assumed = ask(&catalog, NOVA).unwrap().quota;
    let mut changes = catalog.set_service_quotas(&listed(&[(LISTED, 4000.0)]));
    let change = changes.pop().unwrap();
    assert!(changes.is_empty(), "{changes:?}");
    assert_eq!((change.model.as_str(), change.before), (NOVA, assumed));
    assert_eq!(change.after, ask(&other, NOVA).unwrap().quota, "clones share it");
    assert_eq!(catalog.set_service_quotas(&listed(&[(LISTED, 4000.0)])), []);
    let raised = catalog.set_service_quotas(&listed(&[(LISTED, 8000.0)]));
    assert!((raised[0].after.tokens_per_minute - 8000.0).abs() < 1e-9);
    assert_eq!(catalog.set_service_quotas(&[])[0].after, assumed, "what is listed no more is assumed again");
}

#[test]
fn each_value_tells_where_it_is_from() {
    let catalog = catalog(&[(&format!("models.\"{NOVA}\".requests_per_minute"), "7")]);
    drop(catalog.set_service_quotas(&listed(&[(LISTED, 4000.0), ("Cross-Model Max Tokens Per Day", 5e6)])));
    let quotas = catalog.quotas(&ModelId::new(NOVA).unwrap());
    assert_eq!(quotas.requests_per_minute.unwrap().origin, QuotaOrigin::Configured);
    assert_eq!(quotas.tokens_per_minute.quota_name.as_deref(), Some(LISTED));
    assert_eq!(quotas.tokens_per_day, None);
    assert!((catalog.account_tokens_per_day().unwrap().value - 5e6).abs() < 1e-9);
    assert!(catalog.models().len() > 300 && catalog.in_use() == [ModelId::new(NOVA).unwrap()]);
}
