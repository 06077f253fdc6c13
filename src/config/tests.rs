//! Loading from all sources, and that the shipped file and page say what the code does.

use super::*;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn flags(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn load(file: &str, variables: &[(&str, &str)], overrides: &[(&str, &str)]) -> Result<Loaded, Faults> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("smoother.toml");
    std::fs::write(&path, file).unwrap();
    Config::load(&Sources { file: Some(path), env: env(variables), overrides: flags(overrides) })
}

/// The faults without the file's path.
fn faults(file: &str, variables: &[(&str, &str)], overrides: &[(&str, &str)]) -> Vec<String> {
    let faults = load(file, variables, overrides).expect_err(file);
    let mut told = Vec::new();
    for mut fault in faults.0 {
        if let Origin::File(path) = &mut fault.origin {
            *path = "FILE".into();
        }
        told.push(fault.to_string());
    }
    told
}

#[test]
fn the_products_contract_is_kept() {
    let config = Config::load(&Sources::default()).unwrap().config;
    assert_eq!(config, Config::default());
    assert_eq!(config.aws_region, "us-east-1");
    assert_eq!(config.notification_email, None);
    assert_eq!(config.average_request_duration, Duration::from_secs(5));
    assert_eq!(config.minutes_to_process, 5);
    assert_eq!(config.processing_window(), Duration::from_mins(5));
    assert_eq!(config.max_concurrent_executions, 30);
    assert_eq!(config.alarm_threshold, 5);
    assert_eq!(config.alarm_evaluation_periods, 1);
    assert_eq!(config.dashboard_name, "bedrock-errors");
    assert_eq!(config.queue_depth_threshold, 100);
    assert_eq!(config.message_limits(), Limits::default());
    assert_eq!(config.allowed_models, ["*"]);
}

/// A value that the setting takes and that is not its default, as it could be written.
fn another<Owner>(setting: &Setting<Owner>) -> String {
    let candidates = [
        "eu-west-1",
        "a@b.example",
        "127.0.0.1:1",
        "https://a.example/1",
        "arn:aws:sns:us-east-1:123456789012:alarms",
        "true",
        "another",
        "a,b",
        "aaa,bbb",
        "7",
        "7s",
        "7000",
        "settings",
        "reject",
        "0.5",
        "a=b",
    ];
    let taken = |text: &&str| setting.kind.read(&Raw::Loose((*text).to_owned())).is_some();
    candidates.into_iter().find(taken).unwrap_or_else(|| panic!("no value for {}", setting.name)).to_owned()
}

#[test]
fn every_setting_reaches_its_field_from_the_environment_and_from_a_flag() {
    for setting in SETTINGS {
        if let Some(default) = setting.default {
            assert!(default_of(setting).is_some(), "{} does not take its own default {default}", setting.name);
        }
        let value = another(setting);
        let name = settings::env_name(setting.name);
        let by_env = Config::load(&Sources { env: env(&[(&name, &value)]), ..Sources::default() }).expect(setting.name);
        let by_flag =
            Config::load(&Sources { overrides: flags(&[(setting.name, &value)]), ..Sources::default() }).unwrap();
        assert_ne!(by_env.config, Config::default(), "{} changes nothing", setting.name);
        assert_eq!(by_env.config, by_flag.config, "{}", setting.name);
        assert_eq!(by_env.origin(setting.name), Some(&Origin::Env(name)));
        assert_eq!(by_flag.origin(setting.name), Some(&Origin::Flag));
    }
    for setting in settings::MODEL_SETTINGS {
        let path = format!("models.\"us.amazon.nova-lite-v1:0\".{}", setting.name);
        let value = if setting.name == "downgrade_to" { "us.amazon.nova-micro-v1:0" } else { "7" };
        let loaded = Config::load(&Sources { overrides: flags(&[(&path, value)]), ..Sources::default() }).unwrap();
        let model = loaded.config.models.values().next().unwrap();
        assert_ne!(model, &ModelSettings::default(), "{} changes nothing", setting.name);
        assert_eq!(loaded.origin(&path), Some(&Origin::Flag));
    }
    for setting in settings::TENANT_SETTINGS {
        let path = format!("tenants.acme.eu.{}", setting.name);
        let loaded =
            Config::load(&Sources { overrides: flags(&[(&path, &another(setting))]), ..Sources::default() }).unwrap();
        let (tenant, set) = loaded.config.tenants.iter().next().unwrap();
        assert_eq!(tenant.as_str(), "acme.eu");
        assert_ne!(set, &TenantSettings::default(), "{} changes nothing", setting.name);
        assert_eq!(loaded.origin(&path), Some(&Origin::Flag));
    }
}

#[test]
fn the_later_source_counts() {
    let file = "alarm_threshold = 2\nminutes_to_process = 2\nmax_attempts = 2";
    let loaded = load(
        file,
        &[("SMOOTHER_MINUTES_TO_PROCESS", "3"), ("SMOOTHER_MAX_ATTEMPTS", "3"), ("SMOOTHER_INDEX_SHARDS", " ")],
        &[("max_attempts", "4"), ("max_attempts", "5")],
    )
    .unwrap();
    let config = &loaded.config;
    assert_eq!((config.alarm_threshold, config.minutes_to_process, config.max_attempts), (2, 3, 5));
    assert_eq!(config.index_shards, 4, "an empty variable is not set");
    assert!(matches!(loaded.origin("alarm_threshold"), Some(Origin::File(_))));
    assert_eq!(loaded.origin("index_shards"), Some(&Origin::Default));
    assert_eq!(loaded.origin("worker_id"), None);
}

#[test]
fn the_region_falls_back_to_the_sdks_variables() {
    let region = |file: &str, variables: &[(&str, &str)]| load(file, variables, &[]).unwrap().config.aws_region;
    let sdk = [("AWS_DEFAULT_REGION", "eu-west-1"), ("AWS_REGION", "eu-west-2")];
    assert_eq!(region("", &sdk[..1]), "eu-west-1");
    assert_eq!(region("", &sdk), "eu-west-2");
    assert_eq!(region("aws_region = 'eu-west-3'", &sdk), "eu-west-3");
    assert_eq!(region("", &[sdk[1], ("SMOOTHER_AWS_REGION", "eu-north-1")]), "eu-north-1");
}

#[test]
fn opentelemetrys_variables_count_where_ours_are_not_set_and_are_no_faults() {
    let loaded = |file: &str, variables: &[(&str, &str)]| load(file, variables, &[]).unwrap();
    let theirs = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel:4318"), ("OTEL_EXPORTER_OTLP_HEADERS", "k=hunter2")];
    let taken = loaded("", &theirs);
    assert_eq!(taken.config.otlp_endpoint.as_deref(), Some("http://otel:4318"));
    assert_eq!(taken.config.otlp_headers.as_ref().map(Secret::reveal), Some("k=hunter2"));
    for shown in [taken.to_table(), taken.to_json(), format!("{:?}", taken.config)] {
        assert!(!shown.contains("hunter2") && shown.contains("(hidden)"), "{shown}");
    }
    let ours = loaded("otlp_endpoint = 'http://ours:4318'", &theirs);
    assert_eq!(ours.config.otlp_endpoint.as_deref(), Some("http://ours:4318"));
    let ours = loaded("", &[theirs[0], ("SMOOTHER_OTLP_ENDPOINT", "http://ours:4318")]);
    assert_eq!(ours.config.otlp_endpoint.as_deref(), Some("http://ours:4318"));
    for (variables, why) in [
        (vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "otel:4317")], "does not fit otlp_endpoint"),
        (vec![theirs[0], ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "is grpc"),
    ] {
        let ignored = loaded("", &variables);
        assert_eq!(ignored.config.otlp_endpoint, None);
        assert!(ignored.warnings.iter().any(|warning| warning.contains(why)), "{:?}", ignored.warnings);
    }
    let told = faults("otlp_headers = 'hunter2'", &[], &[]).join("\n");
    assert!(told.contains("otlp_headers") && !told.contains("hunter2"), "{told}");
}

#[test]
fn models_and_use_cases_are_tables() {
    let file = r#"
        [models."us.amazon.nova-lite-v1:0"]
        tokens_per_minute = 200_000
        burndown = 1.5
        [models."arn:aws:bedrock:us-east-1:1:application-inference-profile/x"]
        [use_cases.summaries]
        model = "us.amazon.nova-lite-v1:0"
    "#;
    let set = [
        ("models.us.amazon.nova-lite-v1:0.requests_per_minute", "500"),
        ("models.\"us.amazon.nova-lite-v1:0\".burndown", "2"),
        ("use_cases.translations.model", "amazon.nova-micro-v1:0"),
    ];
    let config = load(file, &[], &set).unwrap().config;
    let lite = &config.models[&crate::request::ModelId::new("us.amazon.nova-lite-v1:0").unwrap()];
    let expected = ModelSettings {
        requests_per_minute: Some(500.0),
        tokens_per_minute: Some(200_000.0),
        burndown: Some(2.0),
        ..ModelSettings::default()
    };
    assert_eq!(lite, &expected);
    assert_eq!(config.models.len(), 2, "a model may be declared without any setting");
    assert_eq!(config.use_cases["summaries"].model, "us.amazon.nova-lite-v1:0");
    assert_eq!(config.use_cases["translations"].model, "amazon.nova-micro-v1:0");
}

#[test]
fn tenants_have_defaults_and_what_is_set() {
    let file = r"
        usd_per_month = 1000
        [tenants.acme]
        weight = 4
        usd_per_day = 12.5
        budget_policy = 'reject'
        [tenants.'team:7']
    ";
    let config = load(file, &[], &[("tenants.acme.weight", "2"), ("tenants.other.max_in_flight", "3")]).unwrap().config;
    let tenant = |name: &str| config.tenant(&Tenant::new(name).unwrap());
    let acme = TenantSettings {
        weight: 2.0,
        usd_per_day: Some(12.5),
        budget_policy: Some(BudgetPolicy::Reject),
        ..TenantSettings::default()
    };
    assert_eq!(tenant("acme"), acme);
    assert_eq!(config.tenants.len(), 3, "a tenant may be named without any setting");
    assert_eq!((tenant("other").max_in_flight, tenant("other").weight), (Some(3), 1.0));
    assert_eq!(tenant("nobody"), TenantSettings::default());
    assert_eq!(config.budgets(), ["usd_per_month", "tenants.acme.usd_per_day"]);
    let told = faults(
        "tenants = 1\n",
        &[],
        &[("tenants.a b.weight", "1"), ("tenants.a.weigth", "1"), ("tenants.a.weight", "0")],
    );
    assert_eq!(
        told,
        [
            "tenants = 1 (FILE): expected tables: [tenants.\"…\"]",
            "tenants.a b.weight (command line): no name of a tenant; expected 1 to 128 characters of A-Z a-z 0-9 . _ : -",
            "tenants.a.weigth (command line): unknown setting; did you mean weight?",
            "tenants.a.weight = 0 (command line): expected a number from 0.01 to 1000",
        ]
    );
}

#[test]
fn a_stand_in_must_be_known_allowed_priced_and_cheaper() {
    let (lite, micro, pro) = ("amazon.nova-lite-v1:0", "amazon.nova-micro-v1:0", "amazon.nova-pro-v1:0");
    let fine = [
        ("models.amazon.nova-lite-v1:0.downgrade_to", micro),
        ("use_cases.a.model", pro),
        ("use_cases.a.downgrade_to", lite),
    ];
    assert!(load("", &[], &fine).is_ok());
    let told = |from: &str, to: &str, more: &[(&str, &str)]| {
        let setting = format!("models.{from}.downgrade_to");
        faults("", &[], &[&[(setting.as_str(), to)], more].concat())
    };
    for (from, to, more, reason) in [
        (
            lite,
            "amazon.nova-mikro-v1:0",
            &[][..],
            "unknown model \"amazon.nova-mikro-v1:0\"; the nearest known are amazon.nova-micro-v1:0",
        ),
        (lite, micro, &[("allowed_models", "*lite*")], "may not be asked for here; allowed are *lite*"),
        (
            lite,
            pro,
            &[],
            "not cheaper than amazon.nova-lite-v1:0 by both prices: $0.8 and $3.2 per million tokens of input and output, against $0.06 and $0.24",
        ),
        (lite, lite, &[], "not cheaper than amazon.nova-lite-v1:0"),
        (micro, lite, &[("models.amazon.nova-lite-v1:0.input_usd_per_mtok", "0.01")], "not cheaper"),
        ("own", micro, &[], "the price of own is not known"),
        (
            lite,
            "own",
            &[("models.own.burndown", "1")],
            "set input_usd_per_mtok and output_usd_per_mtok under [models.\"own\"]",
        ),
        (pro, "amazon.titan-embed-text-v2:0", &[], "makes embeddings, amazon.nova-pro-v1:0 makes text"),
        ("amazon.titan-embed-text-v2:0", "amazon.titan-embed-text-v1", &[], "those of another model do not compare"),
    ] {
        let told = told(from, to, more);
        assert!(told[0].contains(".downgrade_to = ") && told[0].contains(reason), "{from} {to}: {told:#?}");
    }
    let two = faults(
        "",
        &[],
        &[("use_cases.a.model", "own"), ("use_cases.a.downgrade_to", "x"), ("models.own.downgrade_to", "y")],
    );
    assert_eq!(two.len(), 2, "{two:#?}");
    assert!(two[1].starts_with("use_cases.a.downgrade_to = x (command line): unknown model"), "{two:#?}");
}

#[test]
fn what_no_budget_can_count_is_a_warning() {
    let warnings = |set: &[(&str, &str)]| load("", &[], set).unwrap().warnings;
    let unpriced = [("models.own.burndown", "1"), ("models.amazon.nova-lite-v1:0.burndown", "1")];
    assert_eq!(warnings(&unpriced), Vec::<String>::new());
    let told = warnings(&[&unpriced[..], &[("usd_per_day", "5"), ("tenants.a.usd_per_day", "1")]].concat());
    assert_eq!(
        told,
        [
            "models.\"own\": the price is not known, so what it costs counts toward no budget (usd_per_day and others); set input_usd_per_mtok and output_usd_per_mtok"
        ]
    );
    let idle = warnings(&[("tenants.a.usd_per_day", "5"), ("tenants.a.budget_policy", "downgrade")]);
    assert!(idle[0].starts_with("budget_policy downgrade: no model and no use case has a downgrade_to"), "{idle:?}");
}

#[test]
fn every_fault_of_every_source_is_told_at_once() {
    let file = r#"
        max_atempts = 3
        alarm_threshold = "5"
        retry_base = "10m"
        call_timeout = "forever"
        models = 3
        [use_cases.empty]
        [use_cases.other]
        modell = "m"
    "#;
    let told = faults(
        file,
        &[("SMOOTHER_INPUT_POLLERS", "0"), ("SMOOTHER_QUEUE_DEPTH_TRESHOLD", "5")],
        &[("colour", "red"), ("models.\"m\".burn_down", "1")],
    );
    let expected = [
        "alarm_threshold = \"5\" (FILE): expected a whole number from 1 to 4294967295",
        "call_timeout = \"forever\" (FILE): expected a duration from 1s to 2h, such as 90s, 5m or 500ms",
        "max_atempts (FILE): unknown setting; did you mean max_attempts?",
        "models = 3 (FILE): expected tables: [models.\"…\"]",
        "use_cases.other.modell (FILE): unknown setting; did you mean model?",
        "input_pollers = 0 (SMOOTHER_INPUT_POLLERS): expected a whole number from 1 to 64",
        "queue_depth_treshold (SMOOTHER_QUEUE_DEPTH_TRESHOLD): unknown setting; did you mean SMOOTHER_QUEUE_DEPTH_THRESHOLD?",
        "models.\"m\".burn_down (command line): unknown setting; did you mean burndown?",
        "retry_base = 10m (FILE): longer than retry_cap, which is 5m",
        "use_cases.empty.model = nothing: expected the model that serves the use case",
        "use_cases.other.model = nothing: expected the model that serves the use case",
    ];
    for line in expected {
        assert!(told.iter().any(|t| t == line), "missing: {line}\nfound: {told:#?}");
    }
    assert!(told.iter().any(|t| t.starts_with("colour (command line): unknown setting; expected one of aws_region, ")));
    assert_eq!(told.len(), expected.len() + 1, "{told:#?}");
}

#[test]
fn contradictions_are_faults() {
    let same = "https://sqs.example/1/q";
    assert_eq!(
        faults("", &[("SMOOTHER_INPUT_QUEUE_URL", same), ("SMOOTHER_DLQ_URL", same)], &[]),
        [format!("dlq_url = {same} (SMOOTHER_DLQ_URL): the same as input_queue_url; each needs its own")]
    );
    assert_eq!(
        faults("", &[], &[("allowed_models", "amazon.*"), ("use_cases.a.model", "m")]),
        ["use_cases.a.model = m (command line): not covered by allowed_models, which is [amazon.*]"]
    );
    assert_eq!(
        faults("", &[], &[("models.m.max_concurrent", "31")]),
        ["models.\"m\".max_concurrent = 31 (command line): more than max_concurrent_executions, which is 30"]
    );
}

#[test]
fn files_that_cannot_be_read_are_told() {
    assert!(faults("a = 1\nb = = 2", &[], &[])[0].starts_with("configuration file (FILE): line 2 is no TOML: "));
    let missing = Sources { file: Some("no/such/file.toml".into()), ..Sources::default() };
    let told = Config::load(&missing).unwrap_err().to_string();
    assert!(told.contains("no/such/file.toml") && told.contains("cannot be read"), "{told}");
}

#[test]
fn the_settings_text_counts_as_a_file_does() {
    let load = |text: &str, variables: &[(&str, &str)]| {
        let variables = [&[("SMOOTHER_SETTINGS", text)], variables].concat();
        Config::load(&Sources { env: env(&variables), ..Sources::default() })
    };
    let text = "aws_region = 'eu-west-3'\nmax_attempts = 2\ninput_pollers = 3\n[models.m]\nburndown = 5\n";
    let loaded = load(text, &[("SMOOTHER_MAX_ATTEMPTS", "4"), ("AWS_REGION", "eu-west-1")]).unwrap();
    let config = &loaded.config;
    assert_eq!((config.max_attempts, config.input_pollers, config.aws_region.as_str()), (4, 3, "eu-west-3"));
    let written = Origin::Env("SMOOTHER_SETTINGS".to_owned());
    for setting in ["aws_region", "input_pollers", "models.\"m\".burndown"] {
        assert_eq!(loaded.origin(setting), Some(&written), "{setting}");
    }
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(load(" \n", &[]).unwrap().config, Config::default(), "an empty variable is not set");

    let told = load("max_attempts = 0\nmax_atempts = 3", &[]).unwrap_err().to_string();
    assert!(told.contains("max_attempts = 0 (SMOOTHER_SETTINGS): expected a whole number from 1 to 100"), "{told}");
    assert!(told.contains("max_atempts (SMOOTHER_SETTINGS): unknown setting; did you mean max_attempts?"), "{told}");
    let told = load("a = 1\nb = = 2", &[]).unwrap_err().to_string();
    assert!(told.contains("settings text (SMOOTHER_SETTINGS): line 2 is no TOML: "), "{told}");
}

#[test]
fn a_settings_file_and_a_settings_text_are_one_too_many() {
    let told = faults("max_attempts = 2", &[("SMOOTHER_SETTINGS", "input_pollers = 0")], &[]);
    let both =
        told.iter().find(|t| t.starts_with("settings text (SMOOTHER_SETTINGS): set although there is a settings file"));
    assert!(both.is_some_and(|t| t.ends_with("smoother.toml; unset one of them")), "{told:#?}");
    assert!(told.iter().any(|t| t.starts_with("input_pollers = 0 (SMOOTHER_SETTINGS)")), "{told:#?}");
    assert_eq!(told.len(), 2);
}

#[test]
fn strangers_in_the_environment_are_only_mentioned() {
    let variables = [
        ("SMOOTHER_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ("SMOOTHER_LOG", "debug"),
        ("SMOOTHER_OPERATOR", "anna"),
        ("HOME", "/"),
    ];
    let loaded = load("", &variables, &[]).unwrap();
    assert_eq!(loaded.warnings, ["SMOOTHER_PORT_80_TCP is no setting and is ignored"]);
}

#[test]
fn values_of_unknown_settings_are_not_repeated() {
    let told = faults("aws_secret_access_key = 'hunter2'", &[("SMOOTHER_INPUT_QUEUE_URLS", "hunter2")], &[]).join("\n");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn an_aws_worker_is_told_all_that_it_lacks() {
    let mut config = Config::default();
    let missing = config.require_aws().unwrap_err();
    assert_eq!(missing.0.len(), 8);
    assert!(missing.to_string().contains("Set SMOOTHER_INPUT_QUEUE_URL"), "{missing}");
    let name = || Some("name".to_owned());
    config.input_queue_url = name();
    config.results_queue_url = name();
    config.hold_queue_url = name();
    config.dlq_url = name();
    config.requests_table = name();
    config.bucket = name();
    config.alarm_topic_arn = name();
    assert_eq!(config.require_aws().unwrap_err().0[0].setting, "reporting_table");
    config.reporting_table = name();
    assert!(config.require_aws().is_ok());
}

#[test]
fn patterns_cover_models() {
    for (pattern, model, covered) in [
        ("*", "anything", true),
        ("amazon.*", "amazon.nova-lite-v1:0", true),
        ("amazon.*", "us.amazon.nova-lite-v1:0", false),
        ("*.amazon.*-v1:0", "us.amazon.nova-lite-v1:0", true),
        ("us.*.nova*lite*", "us.amazon.nova-lite-v1:0", true),
        ("exact", "exact", true),
        ("exact", "exactly", false),
        ("a*a", "a", false),
        ("a*b*c", "abc", true),
        ("a*b*c", "acb", false),
    ] {
        assert_eq!(glob(pattern, model), covered, "{pattern} {model}");
    }
}

#[test]
fn what_counts_is_shown_with_its_origin() {
    let loaded =
        load("call_timeout = 90", &[("SMOOTHER_ALLOWED_MODELS", "a,b")], &[("models.m.burndown", "5")]).unwrap();
    let table = loaded.to_table();
    let row = |name: &str| {
        let line = table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in\n{table}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("allowed_models "), "allowed_models a,b SMOOTHER_ALLOWED_MODELS");
    assert_eq!(row("max_message_size "), "max_message_size 25MB default");
    assert_eq!(row("worker_id "), "worker_id - not set");
    assert_eq!(row("models."), "models.\"m\".burndown 5 command line");
    assert!(row("call_timeout ").starts_with("call_timeout 90s ") && row("call_timeout ").ends_with("smoother.toml"));

    let json: serde_json::Value = serde_json::from_str(&loaded.to_json()).unwrap();
    assert_eq!(json["settings"]["allowed_models"]["value"], serde_json::json!(["a", "b"]));
    assert_eq!(json["settings"]["max_attempts"], serde_json::json!({"value": 6, "origin": "default"}));
    assert_eq!(json["settings"]["worker_id"]["value"], serde_json::Value::Null);
}

#[test]
fn the_example_file_loads_with_and_without_its_comments() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = std::fs::read_to_string(root.join("smoother.example.toml")).unwrap();
    load(&example, &[], &[]).expect("the example as it is shipped");

    let full: String = example.split_inclusive('\n').map(|line| line.strip_prefix("#: ").unwrap_or(line)).collect();
    let loaded = load(&full, &[], &[]).expect("the example with every setting");
    for setting in SETTINGS {
        let origin = loaded.origin(setting.name);
        assert!(matches!(origin, Some(Origin::File(_))), "{} is missing in the example", setting.name);
        if let (Some(default), Some(shown)) = (default_of(setting), loaded.effective.get(setting.name))
            && setting.default != Some("")
        {
            assert_eq!(shown.value, default, "{}: the example shows another default", setting.name);
        }
    }
    let models = settings::MODEL_SETTINGS.iter().map(|s| s.name);
    for name in models.chain(settings::TENANT_SETTINGS.iter().map(|s| s.name)) {
        assert!(full.contains(&format!("\n{name} = ")), "{name} is missing in the example");
    }
}

#[test]
fn the_page_of_all_settings_is_up_to_date() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, document()).unwrap();
    }
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(
        page == document(),
        "docs/configuration.md is not what the settings say: UPDATE_DOCS=1 cargo test --lib config"
    );
}
