//! Whole submits into a directory.

use std::io::Write;
use std::time::Duration;

use super::*;
use crate::cli::place::open_local;
use crate::clock::Clock;
use crate::config::Config;
use crate::ports::Delivery;
use crate::request::pointer;

struct Rig {
    dir: tempfile::TempDir,
    place: Place,
}

async fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let place = open_local(dir.path().join("data"), Config::default(), Clock::system()).await.unwrap();
    Rig { dir, place }
}

fn checker(place: &Place) -> Checker {
    Checker::new(Catalog::new(&place.config), place.config.message_limits(), place.clock.clone())
}

impl Rig {
    fn write(&self, text: &str) -> (File, u64) {
        let path = self.dir.path().join("in.jsonl");
        File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        lines::open(&path).unwrap()
    }

    /// Judges, and sends when all is well or `skip_invalid`; what was told, the report, what is on the queue.
    async fn submit(&self, text: &str, skip_invalid: bool) -> (Vec<String>, Report, Vec<Delivery>) {
        let (file, length) = self.write(text);
        let mut submit = Submit::new(checker(&self.place), "in.jsonl", file, length);
        let mut told = Vec::new();
        let mut tell = |line: &str| told.push(line.to_owned());
        let judged = submit.judge(&mut tell).unwrap();
        let mut report = Report { invalid: judged.invalid, repeated: judged.repeated, ..Report::default() };
        if judged.invalid == 0 || skip_invalid {
            assert_eq!(submit.send(&self.place, &judged, &mut report, &mut tell).await.unwrap(), None);
        }
        let queued = self.place.ports.input.receive(10_000, Duration::ZERO).await.unwrap();
        (told, report, queued)
    }
}

fn message(id: &str, text: &str) -> String {
    format!(
        r#"{{"request_id":"{id}","model_id":"amazon.nova-lite-v1:0","converse":{{"messages":[{{"role":"user","content":[{{"text":"{text}"}}]}}],"inferenceConfig":{{"maxTokens":50}}}}}}"#
    )
}

#[tokio::test]
async fn a_trace_is_passed_on_and_a_malformed_one_is_told() {
    let context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let rig = rig().await;
    // One that fits into the queue only without its attribute is uploaded.
    let long = (1 << 20) - message("long", "").len() - 10;
    let text = format!("{}\n{}\n", message("a", "x"), message("long", &"x".repeat(long)));
    let (file, length) = rig.write(&text);
    let trace = Some(traceparent(context).unwrap());
    let mut submit = Submit { trace, ..Submit::new(checker(&rig.place), "in.jsonl", file, length) };
    let judged = submit.judge(&mut |_| {}).unwrap();
    let mut report = Report::default();
    assert_eq!(submit.send(&rig.place, &judged, &mut report, &mut |_| {}).await.unwrap(), None);
    let queued = rig.place.ports.input.receive(10, Duration::ZERO).await.unwrap();
    assert_eq!((queued.len(), report.failed), (2, 0));
    assert!(queued.iter().all(|delivery| delivery.attributes["traceparent"] == context));
    assert!(queued.iter().any(|delivery| delivery.body.contains("s3Key")));
    assert!(traceparent("00-0-0-0").unwrap_err().contains("W3C traceparent"));
}

#[tokio::test]
async fn every_fault_is_told_with_its_line_and_nothing_is_sent() {
    let rig = rig().await;
    let text = format!(
        "{}\n\n{}\nnot json\n{}\n{}\n",
        message("a", "Hi"),
        message("b", "Hi").replace("\"converse\"", "\"priority\":11,\"tenant\":\"x y\",\"converse\""),
        message("a", "something else"),
        message("c", "Hi").replace("nova-lite", "nova-light"),
    );
    let (told, report, queued) = rig.submit(&text, false).await;
    assert_eq!(
        told[..4],
        [
            "in.jsonl line 3: priority: found 11; expected urgent, high, normal, low, bulk or a number from 0 (first) to 9 (last)",
            "in.jsonl line 3: tenant: found \"x y\"; expected 1 to 128 characters of A-Z a-z 0-9 . _ : -",
            "in.jsonl line 4: message: not JSON: expected ident at column 2",
            "in.jsonl line 5: request_id: \"a\" is the id of another request in line 1; each request needs an id of its own",
        ]
    );
    assert!(told[4].starts_with("in.jsonl line 6: model_id: unknown model \"amazon.nova-light-v1:0\""), "{told:?}");
    assert_eq!((told.len(), report.invalid, report.submitted, queued.len()), (5, 4, 0, 0));

    let (_, report, queued) = rig.submit(&text, true).await;
    assert_eq!((report.invalid, report.submitted), (4, 1));
    assert_eq!(queued.len(), 1);
    assert_eq!(queued[0].body, message("a", "Hi"));
}

#[tokio::test]
async fn all_of_a_long_file_arrives_once_and_unchanged() {
    let rig = rig().await;
    let mut text = String::new();
    for n in 0..450 {
        text.push_str(&message(&format!("r{n}"), "Hi"));
        text.push_str(if n % 2 == 0 { "\r\n" } else { "\n" });
    }
    // Said twice, and without an id.
    text.push_str(&message("r7", "Hi"));
    text.push('\n');
    text.push_str(&message("x", "Hi").replace("\"request_id\":\"x\",", "\"priority\":\"urgent\","));
    let (told, report, queued) = rig.submit(&text, false).await;
    assert_eq!(told, Vec::<String>::new());
    assert_eq!((report.submitted, report.repeated, report.without_request_id), (451, 1, 1));
    assert_eq!(report.by_priority, [("normal", 450), ("urgent", 1)].into());
    assert_eq!(report.by_model, [("amazon.nova-lite-v1:0".to_owned(), 451)].into());
    let bodies: Vec<String> = queued.into_iter().map(|d| d.body).collect();
    assert_eq!(bodies.len(), 451);
    assert!((0..450).all(|n| bodies[n] == message(&format!("r{n}"), "Hi")));
}

#[tokio::test]
async fn what_is_too_long_for_the_queue_is_uploaded_and_pointed_to() {
    let rig = rig().await;
    let long = message("long", &"word ".repeat(300_000));
    // Nova Lite's quota is assumed here, and what is assumed refuses nothing.
    let (told, report, queued) = rig.submit(&format!("{}\n{long}\n", message("a", "\u{ffff}")), false).await;
    assert_eq!((told.len(), report.submitted), (0, 2), "{told:?}");
    assert!(queued[0].body.contains(r"\uffff"), "SQS takes no noncharacters");
    assert!(queued[1].body.len() < 1000);
    let limits = rig.place.config.message_limits();
    let pointer = pointer::detect(&queued[1].body, &queued[1].attributes, &limits).unwrap().unwrap();
    assert_eq!(pointer.size, Some(long.len() as u64));
    assert!(pointer.object.key.starts_with("uploads/"), "{:?}", pointer.object);
    assert_eq!(pointer.object.bucket, rig.place.ports.payloads.upload_bucket());
    let fetched = rig.place.ports.payloads.fetch_foreign(&pointer.object, limits.message_bytes).await.unwrap();
    assert!(matches!(fetched, crate::ports::payloads::Fetched::Bytes(bytes) if bytes == long));
}

#[tokio::test]
async fn json_over_several_lines_is_told_how_to_become_lines() {
    let rig = rig().await;
    let (file, length) = rig.write("{\n  \"request_id\": \"a\"\n}\n");
    let judged =
        Submit::new(checker(&rig.place), "in.json", file, length).judge(&mut |fault| panic!("{fault}")).unwrap();
    let verdict = judged.verdict("in.json");
    assert!(verdict.contains("jq -c . in.json"), "{verdict}");
}

/// A queue that takes nothing.
struct Broken;

#[async_trait::async_trait]
impl crate::ports::Queue for Broken {
    async fn receive(&self, _: usize, _: Duration) -> crate::ports::PortResult<Vec<Delivery>> {
        Ok(vec![])
    }
    async fn send(&self, messages: Vec<crate::ports::Outgoing>) -> Vec<crate::ports::PortResult<()>> {
        let refuse = |message: crate::ports::Outgoing| {
            if message.body.contains("fine") {
                Ok(())
            } else {
                Err(crate::ports::PortError::permanent("sqs send to input", "no"))
            }
        };
        messages.into_iter().map(refuse).collect()
    }
    async fn delete(&self, _: Vec<String>) -> Vec<crate::ports::PortResult<()>> {
        vec![]
    }
    async fn extend(&self, _: Vec<String>, _: Duration) -> Vec<crate::ports::PortResult<()>> {
        vec![]
    }
    async fn depth(&self) -> crate::ports::PortResult<crate::ports::queue::Depth> {
        Ok(crate::ports::queue::Depth::default())
    }
    fn name(&self) -> &'static str {
        "input"
    }
}

#[tokio::test]
async fn what_fails_is_told_by_line_and_a_dead_queue_stops_it() {
    let mut rig = rig().await;
    rig.place.ports.input = std::sync::Arc::new(Broken);
    let text = format!("{}\n{}\n", message("fine", "Hi"), message("bad", "Hi"));
    let (told, report, _) = rig.submit(&text, false).await;
    assert_eq!(told, ["in.jsonl line 2: not sent: sqs send to input: no"]);
    assert_eq!((report.submitted, report.failed), (1, 1));

    let (file, length) = rig.write(&format!("{}\n{}\n", message("bad", "Hi"), message("bad2", "Hi")));
    let mut submit = Submit::new(checker(&rig.place), "in.jsonl", file, length);
    let judged = submit.judge(&mut |_| {}).unwrap();
    let mut report = Report::default();
    let why = submit.send(&rig.place, &judged, &mut report, &mut |_| {}).await.unwrap().unwrap();
    assert!(
        why.starts_with("stopped at line 1 of in.jsonl: sqs send to input: no\n0 sent before, 2 not sent."),
        "{why}"
    );
}
