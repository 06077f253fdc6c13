//! The AWS adapters on an emulator of the AWS protocols: `ministack`, one per test process on a free loopback port.
//!
//! Every case gets queues, tables and a bucket of its own, made by `aws::provision` under a prefix of its own.
//! Endpoint and credentials are passed in; nothing is read from the environment but where the emulator is installed.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::types::{BucketVersioningStatus, NoncurrentVersionExpiration};
use aws_sdk_sqs::types::QueueAttributeName;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use smoother::aws::export_bucket::ExportBucket;
use smoother::aws::{self, clients, provision};
use smoother::clock::Clock;
use smoother::ports::Alert;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

use crate::{Fixture, HOLD_VISIBILITY};

const REGION: &str = "eu-central-1";

/// Starts the emulator and stops it when its input ends, that is, when the test process is gone, however it went.
const KEEPER: &str = r#""$0" & child=$!; read -r _; kill "$child"; wait "$child""#;

/// Five ports are tried, each for up to a minute.
const STARTS: u32 = 5;
const POLLS: u32 = 600;
const POLL: Duration = Duration::from_millis(100);

static PREFIXES: AtomicU32 = AtomicU32::new(0);

struct Emulator {
    url: String,
    /// Holds the pipe whose end stops the emulator.
    _keeper: Child,
}

fn executable() -> PathBuf {
    let in_crate = concat!(env!("CARGO_MANIFEST_DIR"), "/.venv");
    let venv = std::env::var_os("SMOOTHER_VENV").unwrap_or_else(|| in_crate.into());
    let path = PathBuf::from(venv).join("bin/ministack");
    assert!(
        path.is_file(),
        "the AWS emulator is missing: there is no {}; run ./scripts/test once, which installs it",
        path.display()
    );
    path
}

/// `None` when it ended by itself: somebody else took the port.
async fn start_on(port: u16) -> Option<Emulator> {
    let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("ministack-{port}.log"));
    let out = std::fs::File::create(&log).unwrap();
    let mut keeper = Command::new("sh")
        .args(["-c", KEEPER])
        .arg(executable())
        .env("BIND_HOST", "127.0.0.1")
        .env("GATEWAY_PORT", port.to_string())
        .env("LOG_LEVEL", "WARNING")
        .stdin(Stdio::piped())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap();
    for _ in 0..POLLS {
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return Some(Emulator { url: format!("http://127.0.0.1:{port}"), _keeper: keeper });
        }
        if keeper.try_wait().unwrap().is_some() {
            return None;
        }
        tokio::time::sleep(POLL).await;
    }
    panic!("the AWS emulator does not answer; its log is {}", log.display());
}

async fn emulator() -> &'static Emulator {
    static EMULATOR: OnceCell<Emulator> = OnceCell::const_new();
    EMULATOR
        .get_or_init(|| async {
            for _ in 0..STARTS {
                let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let port = free.local_addr().unwrap().port();
                drop(free);
                if let Some(emulator) = start_on(port).await {
                    return emulator;
                }
            }
            panic!("the AWS emulator ended at once, {STARTS} times; its logs are in {}", env!("CARGO_TARGET_TMPDIR"));
        })
        .await
}

/// A configuration on the emulator, with connections of its own: each case has its own runtime.
async fn config() -> SdkConfig {
    clients::emulator_config(&emulator().await.url, REGION).unwrap()
}

pub async fn fixture() -> Fixture {
    let config = config().await;
    let prefix = format!("case-{}", PREFIXES.fetch_add(1, Ordering::Relaxed));
    let provisioned = provision::init(&config, &prefix, 30).await.unwrap();
    let clients = clients::Clients::new(&config);
    // The real visibility timeout is longer than a test should wait.
    clients
        .sqs
        .set_queue_attributes()
        .queue_url(&provisioned.hold_queue_url)
        .attributes(QueueAttributeName::VisibilityTimeout, HOLD_VISIBILITY.as_secs().to_string())
        .send()
        .await
        .unwrap();
    let ports = aws::connect_with(&config, &provisioned.settings(REGION), Clock::system()).unwrap();
    let exports = ExportBucket::new(&config, &format!("s3://{}/exports", provisioned.bucket)).unwrap();
    let (s3, bucket) = (clients.s3, provisioned.bucket);
    let plant = move |key: String, bytes: Bytes| -> BoxFuture<'static, String> {
        let (s3, bucket) = (s3.clone(), bucket.clone());
        Box::pin(async move {
            s3.put_object().bucket(&bucket).key(key).body(bytes.into()).send().await.unwrap();
            bucket
        })
    };
    Fixture { ports, exports: Box::new(exports), plant: Box::new(plant), _keep: Box::new(()) }
}

#[tokio::test]
async fn provisioning_again_changes_nothing_and_repairs_what_drifted() {
    let config = config().await;
    let prefix = format!("twice-{}", PREFIXES.fetch_add(1, Ordering::Relaxed));
    let first = provision::init(&config, &prefix, 30).await.unwrap();
    assert_eq!(first.requests_table, format!("{prefix}-requests"));
    assert!(first.bucket.starts_with(&format!("{prefix}-bedrock-calls-")), "{}", first.bucket);
    let sqs = clients::Clients::new(&config).sqs;
    let drift = sqs.set_queue_attributes().queue_url(&first.input_queue_url);
    drift.attributes(QueueAttributeName::VisibilityTimeout, "7").send().await.unwrap();

    assert_eq!(provision::init(&config, &prefix, 30).await.unwrap(), first);

    for (url, receives) in
        [(&first.input_queue_url, Some("5")), (&first.hold_queue_url, Some("3")), (&first.dlq_url, None)]
    {
        let call = sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All);
        let attributes = call.send().await.unwrap().attributes.unwrap();
        assert_eq!(attributes[&QueueAttributeName::VisibilityTimeout], "60");
        assert_eq!(attributes[&QueueAttributeName::MessageRetentionPeriod], "1209600");
        let redrive = attributes.get(&QueueAttributeName::RedrivePolicy);
        let redrive: Option<serde_json::Value> = redrive.map(|policy| serde_json::from_str(policy).unwrap());
        let found = redrive.map(|policy| policy["maxReceiveCount"].to_string().replace('"', ""));
        assert_eq!(found.as_deref(), receives, "{url}");
    }
    let queues = [
        (&first.input_queue_url, None),
        (&first.input_dlq_url, Some(format!("{prefix}-input"))),
        (&first.results_queue_url, None),
        (&first.hold_queue_url, None),
        (&first.dlq_url, Some(format!("{prefix}-hold-next-batch"))),
    ];
    for (url, source) in queues {
        let call = sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All);
        let attributes = call.send().await.unwrap().attributes.unwrap();
        let json = |name: &QueueAttributeName| -> serde_json::Value {
            attributes.get(name).map(|text| serde_json::from_str(text).unwrap()).unwrap_or_default()
        };
        let tls_only = &json(&QueueAttributeName::Policy)["Statement"][0];
        assert_eq!((&tls_only["Effect"], &tls_only["Action"]), (&"Deny".into(), &"sqs:*".into()), "{url}");
        assert_eq!(tls_only["Condition"]["Bool"]["aws:SecureTransport"], "false", "{url}");
        assert_eq!(tls_only["Resource"], attributes[&QueueAttributeName::QueueArn].as_str(), "{url}");
        let allowed = json(&QueueAttributeName::RedriveAllowPolicy)["sourceQueueArns"][0].clone();
        let allowed = allowed.as_str().and_then(|arn| arn.rsplit(':').next()).map(ToOwned::to_owned);
        assert_eq!(allowed, source, "{url}");
    }
    let s3 = clients::Clients::new(&config).s3;
    let lifecycle = s3.get_bucket_lifecycle_configuration().bucket(&first.bucket).send().await.unwrap();
    let [bodies @ .., versions, markers] = lifecycle.rules() else { panic!("no rules: {lifecycle:?}") };
    let expiring: Vec<_> = bodies
        .iter()
        .map(|rule| (rule.filter().unwrap().prefix().unwrap_or_default(), rule.expiration().unwrap().days()))
        .collect();
    let expected = ["requests/", "results/", "rejected/", "uploads/"].map(|prefix| (prefix, Some(30)));
    assert_eq!(expiring, expected, "bodies are deleted with the rows that name them, and nothing else is");
    let noncurrent = versions.noncurrent_version_expiration().and_then(NoncurrentVersionExpiration::noncurrent_days);
    assert_eq!(noncurrent, Some(1), "and are gone a day later");
    assert_eq!(markers.expiration().unwrap().expired_object_delete_marker(), Some(true));
    let versioning = s3.get_bucket_versioning().bucket(&first.bucket).send().await.unwrap();
    assert_eq!(versioning.status().map(BucketVersioningStatus::as_str), Some("Enabled"));
}

#[tokio::test]
async fn a_strangers_table_is_not_taken_over() {
    use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
    let config = config().await;
    let prefix = format!("taken-{}", PREFIXES.fetch_add(1, Ordering::Relaxed));
    let dynamodb = clients::Clients::new(&config).dynamodb;
    dynamodb
        .create_table()
        .table_name(format!("{prefix}-requests"))
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(
            AttributeDefinition::builder()
                .attribute_name("other")
                .attribute_type(ScalarAttributeType::S)
                .build()
                .unwrap(),
        )
        .key_schema(KeySchemaElement::builder().attribute_name("other").key_type(KeyType::Hash).build().unwrap())
        .send()
        .await
        .unwrap();
    let error = provision::init(&config, &prefix, 30).await.unwrap_err();
    assert!(!error.retryable && error.to_string().contains("choose another prefix"), "{error}");
}

#[tokio::test]
async fn an_alert_reaches_the_topics_subscribers() {
    let config = config().await;
    let prefix = format!("alert-{}", PREFIXES.fetch_add(1, Ordering::Relaxed));
    let provisioned = provision::init(&config, &prefix, 30).await.unwrap();
    let clients = clients::Clients::new(&config);
    let queue = &provisioned.results_queue_url;
    let call = clients.sqs.get_queue_attributes().queue_url(queue).attribute_names(QueueAttributeName::QueueArn);
    let arn = call.send().await.unwrap().attributes.unwrap()[&QueueAttributeName::QueueArn].clone();
    let subscribe = clients.sns.subscribe().topic_arn(&provisioned.alarm_topic_arn).protocol("sqs").endpoint(arn);
    subscribe.send().await.unwrap();

    let ports = aws::connect_with(&config, &provisioned.settings(REGION), Clock::system()).unwrap();
    let alert =
        Alert { subject: "Access denied: ünd\nmore".to_owned(), ..crate::outlets::alert("access-denied/lane") };
    ports.alerts[0].publish(&alert).await.unwrap();
    let received = ports.results.receive(1, Duration::from_secs(10)).await.unwrap().remove(0);
    let notification: serde_json::Value = serde_json::from_str(&received.body).unwrap();
    assert_eq!(notification["Subject"], "Access denied: nd more");
    let data: serde_json::Value = serde_json::from_str(notification["Message"].as_str().unwrap()).unwrap();
    assert_eq!((&data["key"], &data["text"]), (&"access-denied/lane".into(), &alert.text().into()));
    for (name, value) in
        [("severity", "critical"), ("kind", "access-denied"), ("state", "firing"), ("key", "access-denied/lane")]
    {
        assert_eq!(notification["MessageAttributes"][name]["Value"], value, "{notification}");
    }
}
