//! The simulator as the real AWS SDK sees it, over loopback.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking, as tests do")]

use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::retry::RetryConfig;
use aws_sdk_bedrockruntime::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::primitives::Blob;
use aws_sdk_bedrockruntime::types::error::ConverseStreamOutputError;
use aws_sdk_bedrockruntime::types::{
    AnyToolChoice, ContentBlock, ContentBlockDelta, ConversationRole, ConverseStreamOutput, ConverseTokensRequest,
    CountTokensInput, InferenceConfiguration, Message, ResponseStream, StopReason, Tool, ToolChoice, ToolConfiguration,
    ToolInputSchema, ToolSpecification,
};
use aws_smithy_types::Document;
use serde_json::{Value, json};
use smoother::simulator::{Settings, Simulator, start, start_with_clock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
const TITAN: &str = "amazon.titan-embed-text-v2:0";

async fn simulator(patch: Value) -> Simulator {
    let settings = Settings { latency_scale: 0.0, ..Settings::default() }.patched(patch).unwrap();
    start(settings, "127.0.0.1:0".parse().unwrap()).await.unwrap()
}

fn client(simulator: &Simulator) -> Client {
    let credentials =
        Credentials::builder().access_key_id("any").secret_access_key("any").provider_name("test").build();
    let config = aws_sdk_bedrockruntime::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials)
        .retry_config(RetryConfig::disabled())
        .endpoint_url(simulator.url())
        .build();
    Client::from_conf(config)
}

fn user(text: &str) -> Message {
    Message::builder().role(ConversationRole::User).content(ContentBlock::Text(text.into())).build().unwrap()
}

fn at_most(tokens: i32) -> InferenceConfiguration {
    InferenceConfiguration::builder().max_tokens(tokens).build()
}

/// A plain HTTP exchange, for what no SDK speaks.
async fn http(simulator: &Simulator, request: &str) -> (String, Value) {
    let mut stream = tokio::net::TcpStream::connect(simulator.addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), serde_json::from_str(body).unwrap())
}

async fn get(simulator: &Simulator, path: &str) -> Value {
    http(simulator, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await.1
}

async fn post(simulator: &Simulator, path: &str, body: &str) -> (String, Value) {
    let length = body.len();
    http(
        simulator,
        &format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"),
    )
    .await
}

#[tokio::test]
async fn converse_answers_and_is_counted() {
    let simulator = simulator(json!({})).await;
    let ask = || {
        client(&simulator)
            .converse()
            .model_id(CLAUDE)
            .messages(user("How was the season?"))
            .inference_config(at_most(50))
            .request_metadata("request_id", "order-7")
    };
    let answer = ask().send().await.unwrap();
    let usage = answer.usage().unwrap();
    assert_eq!(usage.input_tokens(), 9);
    assert_eq!(usage.total_tokens(), 9 + usage.output_tokens());
    let bound = usage.output_tokens() == 50;
    assert_eq!(answer.stop_reason(), &if bound { StopReason::MaxTokens } else { StopReason::EndTurn });
    let text = answer.output().unwrap().as_message().unwrap().content()[0].as_text().unwrap();
    assert_eq!(i32::try_from(text.len().div_ceil(4)).unwrap(), usage.output_tokens());
    ask().send().await.unwrap();

    let seen = simulator.stats();
    assert_eq!((seen.total.served, seen.models[CLAUDE].calls, seen.total.in_flight), (2, 2, 0));
    assert_eq!(simulator.calls()["order-7"], 2);
    assert_eq!(get(&simulator, "/_sim/calls").await, json!({"order-7": 2}));
    simulator.stop().await;
}

#[tokio::test]
async fn a_stream_is_whole_and_settled_when_it_ends() {
    let simulator = simulator(json!({})).await;
    let schema = Document::Object([("type".to_owned(), Document::String("object".into()))].into());
    let tool = ToolSpecification::builder().name("clock").input_schema(ToolInputSchema::Json(schema)).build().unwrap();
    let tools = ToolConfiguration::builder()
        .tools(Tool::ToolSpec(tool))
        .tool_choice(ToolChoice::Any(AnyToolChoice::builder().build()));
    for tools in [None, Some(tools.build().unwrap())] {
        let forced = tools.is_some();
        let call = client(&simulator).converse_stream().model_id(CLAUDE).messages(user("Hello"));
        let mut stream = call.inference_config(at_most(900)).set_tool_config(tools).send().await.unwrap().stream;
        let (mut kinds, mut text, mut output, mut stop) = (Vec::new(), String::new(), 0, None);
        while let Some(event) = stream.recv().await.unwrap() {
            match event {
                ConverseStreamOutput::MessageStart(_) => kinds.push("start"),
                ConverseStreamOutput::ContentBlockStart(start) => {
                    assert_eq!(start.start().unwrap().as_tool_use().unwrap().name(), "clock");
                    kinds.push("block");
                }
                ConverseStreamOutput::ContentBlockDelta(event) => match event.delta().unwrap() {
                    ContentBlockDelta::Text(piece) => text.push_str(piece),
                    ContentBlockDelta::ToolUse(piece) => text.push_str(piece.input()),
                    other => panic!("{other:?}"),
                },
                ConverseStreamOutput::ContentBlockStop(_) => kinds.push("end of block"),
                ConverseStreamOutput::MessageStop(event) => stop = Some(event.stop_reason().clone()),
                ConverseStreamOutput::Metadata(event) => output = event.usage().unwrap().output_tokens(),
                other => panic!("{other:?}"),
            }
        }
        if forced {
            assert_eq!(
                (kinds, text.as_str(), stop),
                (vec!["start", "block", "end of block"], "{}", Some(StopReason::ToolUse))
            );
        } else {
            assert_eq!(kinds, ["start", "end of block"]);
            assert_eq!(i32::try_from(text.len().div_ceil(4)).unwrap(), output);
        }
    }
    assert_eq!(simulator.stats().total.served, 2);
    simulator.stop().await;
}

#[tokio::test]
async fn invoke_model_speaks_native_bodies_and_tells_tokens_in_headers() {
    let simulator = simulator(json!({})).await;
    let body = json!({"inputText": "abcdefgh", "dimensions": 256}).to_string();
    let answer = client(&simulator).invoke_model().model_id(TITAN).body(Blob::new(body)).send().await.unwrap();
    let answer: Value = serde_json::from_slice(answer.body().as_ref()).unwrap();
    assert_eq!(answer["embedding"].as_array().unwrap().len(), 256);
    let body = json!({"inputText": "abcdefgh"}).to_string();
    let (head, answer) = post(&simulator, "/model/amazon.titan-embed-text-v2%3A0/invoke", &body).await;
    assert!(head.contains("x-amzn-bedrock-input-token-count: 2"), "{head}");
    assert!(head.contains("x-amzn-requestid: "), "{head}");
    assert_eq!(answer["inputTextTokenCount"], 2);
    let path = "/model/amazon.titan-embed-text-v2%3A0/invoke-with-response-stream";
    assert!(post(&simulator, path, &body).await.1["message"].as_str().unwrap().contains("unsupported for streaming"));

    let body = json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 40, "messages": [{"role": "user", "content": "Hi"}]});
    let call = client(&simulator).invoke_model_with_response_stream().model_id(CLAUDE);
    let mut stream = call.body(Blob::new(body.to_string())).send().await.unwrap().body;
    let mut events = Vec::new();
    while let Some(ResponseStream::Chunk(chunk)) = stream.recv().await.unwrap() {
        events.push(serde_json::from_slice::<Value>(chunk.bytes().unwrap().as_ref()).unwrap());
    }
    assert_eq!(events[0]["type"], "message_start");
    let last = events.last().unwrap();
    assert_eq!(
        (&last["type"], &last["amazon-bedrock-invocationMetrics"]["inputTokenCount"]),
        (&json!("message_stop"), &json!(5))
    );
    simulator.stop().await;
}

#[tokio::test]
async fn an_empty_quota_throttles_by_its_name() {
    let simulator =
        simulator(json!({"retry_after_s": 3, "models": {CLAUDE: {"rpm": 1}, "us.amazon.nova-pro-v1:0": {"tpm": 100}}}))
            .await;
    let ask = |model| {
        client(&simulator).converse().model_id(model).messages(user("Hi")).inference_config(at_most(200)).send()
    };
    ask(CLAUDE).await.unwrap();
    for (model, message) in [(CLAUDE, "Too many requests"), ("us.amazon.nova-pro-v1:0", "Too many tokens")] {
        let error = ask(model).await.unwrap_err();
        assert_eq!(error.raw_response().unwrap().headers().get("retry-after"), Some("3"));
        let error = error.into_service_error();
        assert!(error.is_throttling_exception(), "{error:?}");
        assert!(error.message().unwrap().starts_with(message), "{error:?}");
    }
    let seen = simulator.stats();
    assert_eq!((seen.models[CLAUDE].throttled.rpm, seen.models["us.amazon.nova-pro-v1:0"].throttled.tpm), (1, 1));
    simulator.stop().await;
}

#[tokio::test]
async fn faults_are_what_the_sdk_takes_them_for() {
    let simulator = simulator(json!({"stall_s": 0.05})).await;
    let client = client(&simulator);
    for (fault, status, code) in [
        ("throttle", 429, Some("ThrottlingException")),
        ("not_ready", 429, Some("ModelNotReadyException")),
        ("internal_500", 500, Some("InternalServerException")),
        ("unavailable_503", 503, Some("ServiceUnavailableException")),
        ("model_error_424", 424, Some("ModelErrorException")),
        ("timeout_408", 408, Some("ModelTimeoutException")),
        ("validation_400", 400, Some("ValidationException")),
        ("access_denied_403", 403, Some("AccessDeniedException")),
        ("overloaded_529", 529, None),
    ] {
        simulator.change(json!({"models": {CLAUDE: {"faults": {fault: 1}}}})).unwrap();
        let error = client.converse().model_id(CLAUDE).messages(user("Hi")).send().await.unwrap_err();
        assert_eq!(error.raw_response().unwrap().status().as_u16(), status, "{fault}");
        assert_eq!(error.code(), code, "{fault}");
        simulator.change(json!({"models": {CLAUDE: {"faults": {fault: 0}}}})).unwrap();
    }
    for fault in ["drop", "stall"] {
        simulator.change(json!({"models": {CLAUDE: {"faults": {fault: 1}}}})).unwrap();
        let error = client.converse().model_id(CLAUDE).messages(user("Hi")).send().await.unwrap_err();
        match (fault, &error) {
            ("drop", SdkError::DispatchFailure(_)) | ("stall", SdkError::ResponseError(_)) => {}
            other => panic!("{other:?}"),
        }
        simulator.change(json!({"models": {CLAUDE: {"faults": {fault: 0}}}})).unwrap();
    }
    client.converse().model_id(CLAUDE).messages(user("Hi")).send().await.unwrap();
    let seen = &simulator.stats().models[CLAUDE];
    assert_eq!((seen.faulted.len(), seen.served, seen.in_flight, seen.abandoned), (11, 1, 0, 0));
    assert!(seen.faulted.values().all(|count| *count == 1), "{:?}", seen.faulted);
    simulator.stop().await;
}

#[tokio::test]
async fn streams_can_break_in_the_middle() {
    let simulator = simulator(json!({"models": {CLAUDE: {"faults": {"model_error_424": 1}}}})).await;
    let client = client(&simulator);
    let (mut before, mut amid) = (0, 0);
    for n in 0..24 {
        let call = client.converse_stream().model_id(CLAUDE).messages(user(&format!("Hello {n}")));
        match call.inference_config(at_most(900)).send().await {
            Err(error) => {
                assert!(error.into_service_error().is_model_error_exception());
                before += 1;
            }
            Ok(answer) => {
                let mut stream = answer.stream;
                let error = loop {
                    match stream.recv().await {
                        Ok(Some(ConverseStreamOutput::Metadata(_)) | None) => panic!("a broken stream ended well"),
                        Ok(Some(_)) => {}
                        Err(error) => break error.into_service_error(),
                    }
                };
                assert!(matches!(error, ConverseStreamOutputError::ModelStreamErrorException(_)), "{error:?}");
                amid += 1;
            }
        }
    }
    assert!(before > 4 && amid > 4, "{before} before, {amid} amid");
    let seen = &simulator.stats().models[CLAUDE];
    assert_eq!((seen.served, seen.abandoned, seen.in_flight, seen.free.tpm), (0, 0, 0, Some(1.0)));
    simulator.stop().await;
}

#[tokio::test]
async fn wrong_requests_are_refused_with_the_reason() {
    let simulator = simulator(json!({})).await;
    let client = client(&simulator);
    let refused = |model: &'static str, message: Message| {
        let call = client.converse().model_id(model).messages(message).send();
        async move {
            let error = call.await.unwrap_err().into_service_error();
            assert!(error.is_validation_exception(), "{error:?}");
            error.message().unwrap().to_owned()
        }
    };
    assert_eq!(refused("no.such-model", user("Hi")).await, "The provided model identifier is invalid.");
    assert!(refused("anthropic.claude-sonnet-4-5-20250929-v1:0", user("Hi")).await.contains("inference profile"));
    assert!(refused(CLAUDE, user(" ")).await.contains("is blank"));
    assert!(refused(TITAN, user("Hi")).await.contains("doesn't support the model"));
    let arn = format!("arn:aws:bedrock:us-east-1:123456789012:inference-profile/{CLAUDE}");
    client.converse().model_id(arn).messages(user("Hi")).send().await.unwrap();
    let (head, body) = post(&simulator, &format!("/model/{CLAUDE}/converse"), "{").await;
    assert!(head.starts_with("HTTP/1.1 400") && head.contains("x-amzn-errortype: ValidationException"), "{head}");
    assert!(body["message"].as_str().unwrap().contains("not valid JSON"), "{body}");
    let (head, _) = post(&simulator, "/model/x/explode", "{}").await;
    assert!(head.starts_with("HTTP/1.1 404") && head.contains("UnknownOperationException"), "{head}");
    assert_eq!((simulator.stats().unknown_model, simulator.stats().total.rejected), (2, 3));
    simulator.stop().await;
}

#[tokio::test]
async fn tokens_are_counted_without_a_call() {
    let simulator = simulator(json!({})).await;
    let input = CountTokensInput::Converse(ConverseTokensRequest::builder().messages(user("abcdefgh")).build());
    let answer = client(&simulator).count_tokens().model_id(CLAUDE).input(input).send().await.unwrap();
    assert_eq!(answer.input_tokens(), 6);
    let seen = simulator.stats();
    assert_eq!((seen.total.calls, seen.models[CLAUDE].count_tokens), (0, 1));
    simulator.stop().await;
}

#[tokio::test]
async fn a_client_that_goes_away_is_charged() {
    let simulator = simulator(json!({"latency_scale": 1_000})).await;
    let client = client(&simulator);
    let call = client.converse().model_id(CLAUDE).messages(user("Hi")).inference_config(at_most(100)).send();
    let started = async {
        while simulator.stats().total.in_flight == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        result = call => panic!("{result:?}"),
        () = started => {}
    }
    while simulator.stats().total.in_flight > 0 {
        tokio::task::yield_now().await;
    }
    let seen = &simulator.stats().models[CLAUDE];
    assert_eq!((seen.abandoned, seen.served, simulator.calls().len()), (1, 0, 1));
    assert_eq!(seen.tokens.settled, seen.tokens.input + 5 * seen.tokens.output);
    simulator.stop().await;
}

#[tokio::test]
async fn settings_change_and_stats_reset_while_it_runs() {
    let simulator = simulator(json!({})).await;
    let (head, settings) =
        post(&simulator, "/_sim/settings", &json!({"models": {CLAUDE: {"tpm": 5}}}).to_string()).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(settings["models"][CLAUDE]["tpm"], 5);
    let (head, body) = post(&simulator, "/_sim/settings", r#"{"models": {"x": {"speed": 1}}}"#).await;
    assert!(head.starts_with("HTTP/1.1 400") && body["message"].as_str().unwrap().contains("speed"), "{body}");
    client(&simulator).converse().model_id(CLAUDE).messages(user("Hi")).send().await.unwrap_err();
    assert_eq!(get(&simulator, "/_sim/stats").await["models"][CLAUDE]["throttled"]["tpm"], 1);
    assert_eq!(get(&simulator, "/_sim/calls?outcome=any").await.as_object().unwrap().len(), 1);
    assert_eq!(get(&simulator, "/_sim/calls").await, json!({}));
    post(&simulator, "/_sim/reset", "").await;
    assert_eq!(get(&simulator, "/_sim/stats").await["total"]["throttled"], 0);
    assert_eq!(get(&simulator, "/foundation-models").await["modelSummaries"].as_array().unwrap().len(), 6);
    simulator.stop().await;
}

#[tokio::test]
async fn faulty_settings_do_not_start() {
    let mut settings = Settings { latency_scale: -1.0, ..Settings::default() };
    settings.models.get_mut(CLAUDE).unwrap().burst = 0.0;
    let error = start(settings, "127.0.0.1:0".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("latency_scale") && error.to_string().contains("burst"), "{error}");
}

#[tokio::test]
async fn cloudwatch_shows_the_minutes_in_pages() {
    use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat, ScanBy};
    use std::time::Duration;

    // 50 s into a minute.
    let clock = smoother::clock::Clock::anchored(smoother::clock::Timestamp(1_795_252_130_000));
    let settings = Settings { latency_scale: 0.0, metric_delay_s: 0.0, ..Settings::default() };
    let simulator = start_with_clock(settings, "127.0.0.1:0".parse().unwrap(), clock).await.unwrap();
    let mut outputs = Vec::new();
    for _ in 0..3 {
        let converse = client(&simulator).converse().model_id(CLAUDE).messages(user("How was the season?"));
        outputs.push(converse.send().await.unwrap().usage.unwrap());
        tokio::time::pause();
        tokio::time::advance(Duration::from_mins(1)).await;
        tokio::time::resume();
    }

    let credentials = aws_sdk_cloudwatch::config::Credentials::new("any", "any", None, None, "test");
    let config = aws_sdk_cloudwatch::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(credentials)
        .endpoint_url(simulator.url())
        .build();
    let cloudwatch = aws_sdk_cloudwatch::Client::from_conf(config);
    let query = |id: &str, name: &str| {
        let model = Dimension::builder().name("ModelId").value(CLAUDE).build();
        let metric = Metric::builder().namespace("AWS/Bedrock").metric_name(name).dimensions(model).build();
        let stat = MetricStat::builder().metric(metric).period(60).stat("Sum").build();
        MetricDataQuery::builder().id(id).metric_stat(stat).build()
    };
    let mut pages = cloudwatch
        .get_metric_data()
        .metric_data_queries(query("used", "EstimatedTPMQuotaUsage"))
        .metric_data_queries(query("out", "OutputTokenCount"))
        .metric_data_queries(query("calls", "Invocations"))
        .metric_data_queries(query("none", "NoSuchMetric"))
        .start_time(aws_smithy_types::DateTime::from_secs(1_795_252_080))
        .end_time(aws_smithy_types::DateTime::from_secs(1_795_252_080 + 600))
        .scan_by(ScanBy::TimestampAscending)
        .max_datapoints(2)
        .into_paginator()
        .send();
    let mut values = std::collections::BTreeMap::<String, Vec<(i64, f64)>>::new();
    let mut count = 0;
    while let Some(page) = pages.next().await {
        count += 1;
        for result in page.unwrap().metric_data_results() {
            let points =
                result.timestamps().iter().map(aws_smithy_types::DateTime::secs).zip(result.values().iter().copied());
            values.entry(result.id().unwrap().to_owned()).or_default().extend(points);
        }
    }
    assert_eq!(count, 5, "9 data in pages of 2");
    // The output tokens of this model count five times.
    let of = |value: fn(&aws_sdk_bedrockruntime::types::TokenUsage) -> i32| -> Vec<(i64, f64)> {
        outputs.iter().zip(0..).map(|(usage, n)| (1_795_252_080 + 60 * n, f64::from(value(usage)))).collect()
    };
    assert_eq!(values["used"], of(|usage| usage.input_tokens + 5 * usage.output_tokens));
    assert_eq!(values["out"], of(|usage| usage.output_tokens));
    assert_eq!(values["calls"], of(|_| 1));
    assert_eq!(values["none"], []);

    let refused = cloudwatch.get_metric_data().send().await.unwrap_err();
    assert_eq!(refused.code(), Some("MissingParameter"), "{refused:?}");
}
