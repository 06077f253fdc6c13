//! The adapter against a server that answers from a script: the wire in both directions, and the error table.

use super::*;
use crate::aws::clients::emulator_config;
use crate::aws::test_server::{Canned, Server};
use crate::request::{ModelId, Usage};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

fn bedrock(url: &str, attempt_timeout: Duration) -> Bedrock {
    let config = emulator_config("http://127.0.0.1:1", "us-east-1").unwrap();
    Bedrock::connect(&config, Settings { attempt_timeout, endpoint: Some(url.to_owned()) }).unwrap()
}

fn call(operation: Operation, model: &str, body: &[u8]) -> Call {
    let model_id = ModelId::new(model).unwrap();
    let lane = Lane::new("default", "us-east-1", &model_id);
    Call { lane, model_id, operation, body: Bytes::copy_from_slice(body) }
}

async fn one(answer: Canned, operation: Operation) -> (Result<Answer, CallError>, Server) {
    let server = Server::saying(vec![answer]).await;
    let model = bedrock(&server.url, Duration::from_secs(20));
    (model.call(call(operation, "us.amazon.nova-lite-v1:0", b"{\"messages\":[]}")).await, server)
}

fn error(status: u16, name: &'static str, body: &Value) -> Canned {
    let mut headers = vec![("content-type", "application/json".to_owned())];
    if !name.is_empty() {
        headers.push(("x-amzn-errortype", format!("{name}:http://internal.amazon.com/coral/")));
    }
    (status, headers, body.to_string().into_bytes())
}

fn ok(body: &[u8]) -> Canned {
    (200, vec![("content-type", "application/json".to_owned())], body.to_vec())
}

#[tokio::test]
async fn converse_passes_the_json_untouched_both_ways() {
    let sent =
        br#"{ "messages":[{"role":"user","content":[{"text":"h\u00e9"},{"hologram":{"depth":3}}]}],"zzz":1.0e2 }"#;
    let came = br#"{"output":{"message":{"role":"assistant","content":[{"hologram":{"x":[1]}},{"text":"ok"}]}},
        "stopReason":"end_turn","usage":{"inputTokens":11,"outputTokens":5,"totalTokens":16,"cacheWriteInputTokens":2},"metrics":{"latencyMs":4},"unheard":true}"#;
    let server = Server::saying(vec![ok(came)]).await;
    let model = bedrock(&server.url, Duration::from_secs(20));
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123";
    let answer = model.call(call(Operation::Converse, arn, sent)).await.unwrap();
    assert_eq!(answer.body, &came[..]);
    let usage = Usage { input_tokens: 11, output_tokens: 5, cache_write_input_tokens: 2, ..Usage::default() };
    assert_eq!(answer.usage, Some(usage));

    let script = server.script();
    let asked = &script.asked[0];
    assert_eq!(asked.body, &sent[..]);
    let encoded = arn.replace(':', "%3A").replace('/', "%2F");
    assert_eq!(asked.path, format!("/model/{encoded}/converse"));
    assert_eq!(asked.headers["content-length"], sent.len().to_string().as_str());
    assert!(asked.headers["authorization"].to_str().unwrap().contains("/us-east-1/bedrock/aws4_request"));
}

#[tokio::test]
async fn a_converse_answer_that_the_sdk_cannot_read_is_still_the_answer() {
    let came = br#"{"output":{"message":{"role":"assistant","content":"not a list"}},"usage":{"inputTokens":1,"outputTokens":2}}"#;
    let (answer, _server) = one(ok(came), Operation::Converse).await;
    let answer = answer.unwrap();
    assert_eq!(answer.body, &came[..]);
    assert_eq!(answer.usage.map(|u| u.output_tokens), Some(2));

    let (cut_off, _server) = one(ok(br#"{"output":{"mess"#), Operation::Converse).await;
    assert_eq!(cut_off.unwrap_err().class, CallErrorClass::Transport);
}

#[tokio::test]
async fn invoke_takes_usage_from_headers_or_body() {
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("x-amzn-bedrock-input-token-count", "21".to_owned()),
        ("x-amzn-bedrock-output-token-count", "7".to_owned()),
    ];
    let (answer, server) = one((200, headers, b"{\"any\": 1}".to_vec()), Operation::Invoke).await;
    let answer = answer.unwrap();
    assert_eq!(answer.body, &b"{\"any\": 1}"[..]);
    assert_eq!(answer.usage, Some(Usage { input_tokens: 21, output_tokens: 7, ..Usage::default() }));
    let asked = server.script().asked[0].clone();
    assert_eq!(
        (asked.path.as_str(), &asked.body[..]),
        ("/model/us.amazon.nova-lite-v1%3A0/invoke", &b"{\"messages\":[]}"[..])
    );

    let (titan, _server) = one(ok(br#"{"embedding":[0.5],"inputTextTokenCount":4}"#), Operation::Invoke).await;
    assert_eq!(titan.unwrap().usage.map(|u| u.input_tokens), Some(4));
}

#[tokio::test]
async fn every_row_of_the_error_table() {
    use CallErrorClass as Class;
    let said = |message: &str| json!({ "message": message });
    let rows: Vec<(u16, &str, Value, Class)> = vec![
        (
            429,
            "ThrottlingException",
            said("Too many requests, please wait before trying again."),
            Class::ThrottledRequests,
        ),
        (429, "ThrottlingException", said("Too many tokens, please wait before trying again."), Class::ThrottledTokens),
        (
            429,
            "ThrottlingException",
            said("Too many tokens per day, please wait before trying again."),
            Class::ThrottledDay,
        ),
        (
            429,
            "ThrottlingException",
            said("Too many tokens per day for all models of this account, please wait before trying again."),
            Class::ThrottledAccountDay,
        ),
        (429, "ThrottlingException", said("Rate exceeded"), Class::ThrottledRequests),
        (429, "ModelNotReadyException", said("The model is loading."), Class::NotReady),
        (503, "ServiceUnavailableException", said("Too many connections"), Class::Unavailable),
        (500, "InternalServerException", said("Oops"), Class::Server),
        (408, "ModelTimeoutException", said("Too long"), Class::ModelTimeout),
        (424, "ModelErrorException", json!({"message": "m", "originalStatusCode": 429}), Class::Server),
        (424, "ModelErrorException", json!({"message": "m", "originalStatusCode": 503}), Class::Server),
        (424, "ModelErrorException", json!({"message": "m", "originalStatusCode": 400}), Class::Final),
        (424, "ModelErrorException", said("m"), Class::Final),
        (400, "ValidationException", said("on-demand throughput isn't supported"), Class::Final),
        (400, "ServiceQuotaExceededException", said("limit"), Class::Final),
        (403, "AccessDeniedException", said("no access to the model"), Class::Final),
        (
            403,
            "AccessDeniedException",
            said("Your subscription is in progress, try again after 15 minutes"),
            Class::NotReady,
        ),
        (404, "ResourceNotFoundException", said("no such model"), Class::Final),
        (403, "UnrecognizedClientException", said("The security token is invalid"), Class::Final),
        (
            529,
            "",
            json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
            Class::Unavailable,
        ),
        (529, "", json!({}), Class::Unavailable),
        (429, "", json!({}), Class::ThrottledRequests),
        (502, "", json!("<html>"), Class::Server),
        (400, "", json!({}), Class::Final),
    ];
    for operation in [Operation::Converse, Operation::Invoke] {
        for (status, name, body, class) in &rows {
            let (result, server) = one(error(*status, name, body), operation).await;
            let failed = result.unwrap_err();
            assert_eq!(failed.class, *class, "{status} {name} {body} became {failed:?}");
            if !name.is_empty() {
                assert_eq!(failed.kind, *name);
                assert_eq!(failed.message, body["message"]);
            }
            assert_eq!(server.script().asked.len(), 1, "{name} was retried by the SDK");
        }
    }
}

#[tokio::test]
async fn an_error_names_itself_in_whatever_form() {
    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let (result, _server) = one(error(529, "", &overloaded), Operation::Invoke).await;
    let failed = result.unwrap_err();
    assert_eq!((failed.kind.as_str(), failed.message.as_str()), ("overloaded_error", "Overloaded"));
    let (result, _server) = one((502, vec![], b"<html>secret</html>".to_vec()), Operation::Converse).await;
    let failed = result.unwrap_err();
    assert_eq!((failed.class, failed.kind.as_str()), (CallErrorClass::Server, "Http502"));
    assert!(!failed.to_string().contains("secret"), "{failed}");
}

#[tokio::test]
async fn the_servers_retry_after_is_passed_on() {
    let mut throttled = error(429, "ThrottlingException", &json!({"message": "Too many tokens"}));
    throttled.1.push(("retry-after", "12".to_owned()));
    let (result, _server) = one(throttled, Operation::Converse).await;
    assert_eq!(result.unwrap_err().retry_after, Some(Duration::from_secs(12)));
}

#[tokio::test]
async fn silence_and_refused_connections_are_transport_errors() {
    let silent = Server::saying(vec![]).await;
    let model = bedrock(&silent.url, Duration::from_millis(200));
    let timed_out = model.call(call(Operation::Converse, "m", b"{}")).await.unwrap_err();
    assert_eq!((timed_out.class, timed_out.kind.as_str()), (CallErrorClass::Transport, failure::TRANSPORT));

    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", unused.local_addr().unwrap());
    drop(unused);
    let model = bedrock(&url, Duration::from_secs(5));
    let refused = model.call(call(Operation::Invoke, "m", b"{}")).await.unwrap_err();
    assert_eq!((refused.class, refused.kind.as_str()), (CallErrorClass::Transport, failure::TRANSPORT));
}

#[tokio::test]
async fn a_connection_that_breaks_midway_is_a_transport_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut server = JoinSet::new();
    server.spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        assert!(socket.read(&mut request).await.unwrap() > 0);
        let half = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"output\":";
        socket.write_all(half).await.unwrap();
    });
    let model = bedrock(&url, Duration::from_secs(5));
    let broken = model.call(call(Operation::Converse, "m", b"{}")).await.unwrap_err();
    assert_eq!(broken.class, CallErrorClass::Transport, "{broken:?}");
}

#[tokio::test]
async fn dropping_a_call_closes_its_connection() {
    use tokio::io::AsyncReadExt;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let model = bedrock(&url, Duration::from_secs(20));
    let request_arrives = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        assert_ne!(socket.read(&mut [0; 16]).await.unwrap(), 0);
        socket
    };
    let mut socket = tokio::select! {
        _ = model.call(call(Operation::Converse, "m", b"{}")) => panic!("nobody answers"),
        socket = request_arrives => socket,
    };
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut rest)).await.unwrap().unwrap();
}

#[tokio::test]
async fn lanes_that_name_no_known_account_are_refused_without_a_call() {
    let server = Server::saying(vec![]).await;
    let model = bedrock(&server.url, Duration::from_secs(1));
    let mut other = call(Operation::Converse, "m", b"{}");
    other.lane = Lane::new("payments", "us-east-1", &other.model_id);
    let refused = model.call(other).await.unwrap_err();
    assert_eq!((refused.class, refused.kind.as_str()), (CallErrorClass::Final, "UnknownAccount"));
    assert!(server.script().asked.is_empty());
}

#[tokio::test]
async fn endpoints_must_be_urls_and_loopback_ones_need_no_credentials() {
    let config = SdkConfig::builder().behavior_version(super::super::clients::behavior_version()).build();
    for bad in ["", "localhost:8080", "not a url"] {
        let settings = Settings { endpoint: Some(bad.to_owned()), ..Settings::default() };
        assert!(Bedrock::connect(&config, settings).is_err(), "{bad:?}");
    }
    for (endpoint, expected) in [("http://[::1]:9", true), ("http://localhost:9", true), ("http://10.0.0.1:9", false)] {
        let settings = Settings { endpoint: Some(endpoint.to_owned()), ..Settings::default() };
        let model = Bedrock::connect(&config, settings).unwrap();
        assert_eq!(model.config.credentials_provider().is_some(), expected, "{endpoint}");
    }
}
