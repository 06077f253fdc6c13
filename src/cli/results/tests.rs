//! Whole drains of a directory's results queue.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::cli::place::open_local;
use crate::clock::Clock;
use crate::config::Config;
use crate::ports::{Outgoing, PutKind};
use crate::request::RequestId;

/// What was written, up to a number of lines; then the reader has left.
#[derive(Clone, Default)]
struct Reader {
    text: Arc<Mutex<Vec<u8>>>,
    leaves_after: Option<usize>,
}

impl Reader {
    fn sink(&self) -> Sink {
        Sink::Stream(Box::new(self.clone()))
    }

    fn lines(&self) -> Vec<Value> {
        let text = self.text.lock().unwrap();
        std::str::from_utf8(&text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = self.text.lock().unwrap();
        let lines = text.split(|b| *b == b'\n').count() - 1;
        if self.leaves_after.is_some_and(|most| lines >= most) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        text.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn place(dir: &tempfile::TempDir) -> Place {
    open_local(dir.path().to_owned(), Config::default(), Clock::system()).await.unwrap()
}

async fn put(place: &Place, message: &Value) {
    let outgoing = Outgoing { body: message.to_string(), ..Outgoing::default() };
    for sent in place.ports.results.send(vec![outgoing]).await {
        sent.unwrap();
    }
}

fn small(id: &str) -> Value {
    json!({ "request_id": id, "status": "SUCCEEDED", "result": { "text": id } })
}

async fn stored(place: &Place, id: &str, bytes: &'static [u8]) -> Value {
    let request = RequestId::new(id).unwrap();
    let payload = place.ports.payloads.put(PutKind::Result, &request, "c1", Bytes::from_static(bytes)).await.unwrap();
    let (bucket, key) = place.ports.payloads.location(&payload);
    json!({ "request_id": id, "status": "SUCCEEDED", "result_s3": { "bucket": bucket, "key": key } })
}

async fn drain(place: &Place, sink: Sink, max: Option<u64>) -> (End, drain::Totals) {
    let mut drain = Drain::new(&place.ports, sink);
    let end = drain_all(&mut drain, &*place.ports.results, Some(Duration::ZERO), max).await.unwrap();
    (end, drain.totals)
}

async fn left(place: &Place) -> (u64, u64) {
    let depth = place.ports.results.depth().await.unwrap();
    (depth.visible, depth.in_flight)
}

#[tokio::test]
async fn bodies_are_inlined_and_repeats_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(&dir).await;
    put(&place, &small("a")).await;
    put(&place, &stored(&place, "b", b"{\"n\": 1.10,\n\"t\": \"x\"}").await).await;
    put(&place, &small("a")).await;
    put(&place, &stored(&place, "c", b"no json").await).await;
    let gone = stored(&place, "d", b"{}").await;
    std::fs::remove_file(dir.path().join(gone["result_s3"]["key"].as_str().unwrap())).unwrap();
    put(&place, &gone).await;
    put(&place, &json!({ "something": "else" })).await;

    let reader = Reader::default();
    let (end, totals) = drain(&place, reader.sink(), None).await;
    assert_eq!(end, End::Empty);
    let lines = reader.lines();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0], small("a"));
    assert_eq!(lines[1], json!({ "request_id": "b", "status": "SUCCEEDED", "result": { "n": 1.10, "t": "x" } }));
    assert!(String::from_utf8_lossy(&reader.text.lock().unwrap()).contains(r#""result":{"n": 1.10, "t": "x"},"#));
    assert_eq!(lines[2]["result_not_json"], true);
    assert_eq!((&lines[3]["result_missing"], &lines[3]["result_s3"]), (&json!(true), &gone["result_s3"]));
    assert_eq!((totals.written, totals.repeated, totals.missing, totals.left), (4, 1, 1, 1));
    assert_eq!(
        totals.closing(),
        "4 results: 4 succeeded; 1 repeated and dropped; 1 with a result body that is gone (result_missing); 1 left on the queue"
    );
    assert_eq!(left(&place).await, (0, 1), "only what is no result stays");
}

#[tokio::test]
async fn a_file_gets_no_more_than_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(&dir).await;
    for n in 0..5 {
        put(&place, &small(&n.to_string())).await;
    }
    let out = dir.path().join("out.jsonl");
    let (end, totals) = drain(&place, Sink::append(&out).unwrap(), Some(2)).await;
    assert_eq!((end, totals.written), (End::Enough, 2));
    assert_eq!(left(&place).await, (3, 0));
    drain(&place, Sink::append(&out).unwrap(), None).await;
    assert_eq!(std::fs::read_to_string(&out).unwrap().lines().count(), 5);
}

#[tokio::test]
async fn what_nobody_reads_stays_on_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(&dir).await;
    for n in 0..5 {
        put(&place, &small(&n.to_string())).await;
    }
    let reader = Reader { leaves_after: Some(2), ..Reader::default() };
    let (end, totals) = drain(&place, reader.sink(), None).await;
    assert_eq!((end, totals.written), (End::Closed, 2));
    assert_eq!(left(&place).await, (3, 0), "handed back at once");
}
