//! The same on the AWS adapters: calls of AWS by operation, counted on the wire between the worker and the emulator.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, PutRequest, WriteRequest};
use smoother::aws::{self, clients, provision};
use smoother::clock::Clock;
use smoother::ports::Ports;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

const REGION: &str = "us-east-1";
/// Ends the emulator when its input ends, that is, when the test process is gone, however it went.
const KEEPER: &str = r#""$0" & child=$!; read -r _; kill "$child"; wait "$child""#;
/// What comes before the name of an operation.
const TARGET: &[u8] = b"x-amz-target: ";

/// Calls by operation.
pub type Calls = Arc<Mutex<BTreeMap<String, u64>>>;

/// Ports on an emulator of their own; `counted` go through a relay that counts.
pub struct Aws {
    pub direct: Ports,
    pub counted: Ports,
    pub calls: Calls,
    dynamodb: Client,
    table: String,
    _keeper: Child,
    _relay: JoinSet<()>,
}

impl Aws {
    pub async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let in_crate = concat!(env!("CARGO_MANIFEST_DIR"), "/.venv");
        let venv = std::env::var_os("SMOOTHER_VENV").unwrap_or_else(|| in_crate.into());
        let executable = PathBuf::from(venv).join("bin/ministack");
        assert!(executable.is_file(), "no {}; run ./scripts/test once, which installs it", executable.display());
        let keeper = Command::new("sh")
            .args(["-c", KEEPER])
            .arg(executable)
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("LOG_LEVEL", "ERROR")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut tries = 0;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tries += 1;
            assert!(tries < 600, "the AWS emulator does not answer");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let calls = Calls::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let counted = listener.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        tasks.spawn(relay(listener, port, Arc::clone(&calls)));
        let config = |port| clients::emulator_config(&format!("http://127.0.0.1:{port}"), REGION).unwrap();
        let provisioned = provision::init(&config(port), "backlog", 30).await.unwrap();
        let connect = |port| aws::connect_with(&config(port), &provisioned.settings(REGION), Clock::system()).unwrap();
        let dynamodb = clients::Clients::new(&config(port)).dynamodb;
        let table = provisioned.settings(REGION).requests_table.clone();
        Self {
            direct: connect(port),
            counted: connect(counted),
            calls,
            dynamodb,
            table,
            _keeper: keeper,
            _relay: tasks,
        }
    }
}

impl Aws {
    /// Puts `count` copies of the row `id`, which stands in line, into line behind it: item by item as that one is, in batches as
    /// big as DynamoDB takes them. Through the port they would be inserted one by one, which takes the emulator too long.
    pub async fn copy(&self, id: &str, count: usize) {
        let table = &self.table;
        let key = AttributeValue::S(id.to_owned());
        let row = self.dynamodb.get_item().table_name(table).key("request_id", key).send().await.unwrap().item.unwrap();
        let text = |name: &str| row[name].as_s().unwrap().clone();
        let (list, sort, request) = (text("work_list"), text("work_sort"), text("request"));
        let (list, rank) = (list.rsplit_once('#').unwrap().0, sort.split_once('\t').unwrap().0);
        let copies: Vec<WriteRequest> = (0..count)
            .map(|n| {
                let id = format!("{id}-{n:06}");
                let rank = format!("{}{n:08}", rank.get(..rank.len() - 8).unwrap());
                let request = request.replace(&text("request_id"), &id);
                let mut copy = row.clone();
                for (name, value) in [
                    ("request_id", id.clone()),
                    ("work_list", format!("{list}#{}", n % 4)),
                    ("work_sort", format!("{rank}\t{id}")),
                    ("rank", rank),
                    ("request", request),
                ] {
                    copy.insert(name.to_owned(), AttributeValue::S(value));
                }
                WriteRequest::builder().put_request(PutRequest::builder().set_item(Some(copy)).build().unwrap()).build()
            })
            .collect();
        for batch in copies.chunks(25) {
            let answer = self.dynamodb.batch_write_item().request_items(table, batch.to_vec()).send().await.unwrap();
            assert!(answer.unprocessed_items.is_none_or(|left| left.is_empty()));
        }
    }
}

/// Leads whoever comes to `port`, and counts what passes.
async fn relay(listener: TcpListener, port: u16, calls: Calls) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(pass(client, port, Arc::clone(&calls)));
    }
}

async fn pass(client: TcpStream, port: u16, calls: Calls) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(("127.0.0.1", port)).await.unwrap().into_split();
    let forth = async {
        let (mut text, mut bytes) = (Vec::new(), vec![0; 64 * 1024]);
        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
            text.extend_from_slice(&bytes[..count]);
            count_targets(&mut text, &calls);
            if to_server.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = forth => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}

/// Counts whole target headers in `text` and leaves what may be the beginning of one.
fn count_targets(text: &mut Vec<u8>, calls: &Calls) {
    loop {
        let at = text.windows(TARGET.len()).position(|window| window.eq_ignore_ascii_case(TARGET));
        let Some(at) = at else {
            text.drain(..text.len().saturating_sub(TARGET.len()));
            return;
        };
        text.drain(..at);
        let Some(end) = text.iter().position(|byte| *byte == b'\r') else { return };
        let operation = String::from_utf8_lossy(&text[TARGET.len()..end]).into_owned();
        *calls.lock().unwrap().entry(operation).or_default() += 1;
        text.drain(..end);
    }
}
