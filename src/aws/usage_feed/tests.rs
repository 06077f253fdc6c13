//! The real client against the simulator, and what becomes of answers that are not as hoped.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::aws::bedrock::{Bedrock, Settings};
use crate::aws::clients::emulator_config;
use crate::aws::test_server::Server;
use crate::clock::Clock;
use crate::ports::{Call, Model};
use crate::request::{ModelId, Operation};
use crate::simulator::{self, Simulator};

const NOVA: &str = "amazon.nova-lite-v1:0";
/// 40 s into a minute.
const START: Timestamp = Timestamp(1_795_252_120_000);

fn lane(model: &str) -> Lane {
    Lane::new("default", "us-east-1", &ModelId::new(model).unwrap())
}

async fn simulator(clock: &Clock) -> Simulator {
    let settings = json!({"latency_scale": 0, "models": {NOVA: {"background": [], "tpm": 1_000_000}}});
    let settings = simulator::Settings::default().patched(settings).unwrap();
    simulator::start_with_clock(settings, "127.0.0.1:0".parse().unwrap(), clock.clone()).await.unwrap()
}

/// Lets time pass at once. What goes over sockets needs time that runs.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

/// Calls the model; answers the tokens that it counts.
async fn call(url: &str) -> f64 {
    let config = emulator_config("http://127.0.0.1:1", "us-east-1").unwrap();
    let settings = Settings { endpoint: Some(url.to_owned()), ..Settings::default() };
    let body = json!({"messages": [{"role": "user", "content": [{"text": "How late is it?"}]}]});
    let call = Call {
        lane: lane(NOVA),
        model_id: ModelId::new(NOVA).unwrap(),
        operation: Operation::Converse,
        body: body.to_string().into(),
    };
    let usage = Bedrock::connect(&config, settings).unwrap().call(call).await.unwrap().usage.unwrap();
    (usage.input_tokens + usage.output_tokens) as f64
}

#[tokio::test]
async fn minutes_come_from_cloudwatch_once_they_are_there() {
    let clock = Clock::anchored(START);
    let simulator = simulator(&clock).await;
    let config = emulator_config("http://127.0.0.1:1", "us-east-1").unwrap();
    let feed = CloudWatchUsage::new(&config, Some(&simulator.url()));
    let first = Minute::of(START);
    let minutes = first.back(3)..first.back(0).next().next();
    let (used_first, used_more) = (call(&simulator.url()).await, call(&simulator.url()).await);
    pass(30).await;
    let used_second = call(&simulator.url()).await;

    let lanes = [lane("us.amazon.nova-pro-v1:0"), lane(NOVA)];
    // The first minute ended less than 75 s ago.
    pass(60).await;
    assert_eq!(feed.tokens(&lanes, minutes.clone()).await.unwrap(), MinuteTokens::new());
    pass(6).await;
    let known = feed.tokens(&lanes, minutes.clone()).await.unwrap();
    assert_eq!(known, [(lane(NOVA), [(first, used_first + used_more)].into())].into());
    pass(60).await;
    let known = feed.tokens(&lanes, minutes).await.unwrap();
    let both = [(first, used_first + used_more), (first.next(), used_second)];
    assert_eq!(known, [(lane(NOVA), both.into())].into(), "idle models and minutes are unknown, not zero");
    let later = feed.tokens(&lanes, first.next()..first.next().next()).await.unwrap();
    assert_eq!(later[&lane(NOVA)].len(), 1);
}

#[tokio::test]
async fn many_lanes_are_asked_for_in_several_calls_and_foreign_ones_not_at_all() {
    let clock = Clock::anchored(START);
    let simulator = simulator(&clock).await;
    let config = emulator_config(&simulator.url(), "us-east-1").unwrap();
    let feed = CloudWatchUsage::new(&config, None);
    let used = call(&simulator.url()).await;
    pass(120).await;
    let mut lanes: Vec<Lane> = (0..=MAX_QUERIES).map(|n| lane(&format!("model-{n}"))).collect();
    lanes.push(lane(NOVA));
    let minutes = Minute::of(START)..Minute::of(START).next();
    let known = feed.tokens(&lanes, minutes.clone()).await.unwrap();
    assert_eq!(known, [(lane(NOVA), [(minutes.start, used)].into())].into());

    let model = ModelId::new(NOVA).unwrap();
    let foreign = [Lane::new("default", "eu-west-1", &model), Lane::new("payments", "us-east-1", &model)];
    assert_eq!(feed.tokens(&foreign, minutes).await.unwrap(), MinuteTokens::new());
}

#[tokio::test]
async fn a_refusal_says_why() {
    let error = |status: u16, code: &str| {
        let mut body = aws_smithy_cbor::Encoder::new(Vec::new());
        body.map(2).str("__type").str(code).str("message").str("not yours to read");
        let protocol = ("smithy-protocol", "rpc-v2-cbor".to_owned());
        (status, vec![("content-type", "application/cbor".to_owned()), protocol], body.into_writer())
    };
    let server = Server::saying(vec![error(403, "com.amazonaws.cloudwatch#AccessDenied")]).await;
    let feed = CloudWatchUsage::new(&emulator_config(&server.url, "us-east-1").unwrap(), None);
    let failed = feed.tokens(&[lane(NOVA)], Minute(5)..Minute(6)).await.unwrap_err();
    assert!(!failed.retryable && failed.why.starts_with("AccessDenied: not yours to read"), "{failed}");
    assert_eq!(server.script().asked[0].path, "/service/GraniteServiceVersion20100801/operation/GetMetricData");
}

#[test]
fn data_that_make_no_sense_are_none() {
    let at = |minute: i64| DateTime::from_secs(minute * 60);
    let result = MetricDataResult::builder()
        .set_timestamps(Some(vec![at(6), at(5), at(4), at(-1), at(5)]))
        .set_values(Some(vec![f64::NAN, 7.0, 9.0, 1.0]))
        .build();
    let mut found = BTreeMap::new();
    note(&result, &(Minute(5)..Minute(7)), &mut found);
    assert_eq!(found, [(Minute(5), 7.0)].into());
}
