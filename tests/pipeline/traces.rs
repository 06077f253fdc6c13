//! One trace a request, whoever works on it: who its spans are, how they hang together, and what they never tell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use smoother::ports::model::CallErrorClass;
use smoother::ports::{Delivery, Outgoing, PortError, PortResult, Span, SpanKind, SpanValue, Spans};
use smoother::request::{Status, TRACEPARENT, TraceContext};
use smoother::shutdown::Stop;

use crate::rig::{NOVA, Reply, Rig, START, request};
use crate::seconds;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Keeps every span.
#[derive(Default)]
struct Sink(Mutex<Vec<Span>>);

#[async_trait]
impl Spans for Sink {
    async fn export(&self, spans: Vec<Span>) -> PortResult<()> {
        self.0.lock().unwrap().extend(spans);
        Ok(())
    }
}

impl Sink {
    /// The spans of a request, in order of their beginning.
    fn of(&self, id: &str) -> Vec<Span> {
        let all = self.0.lock().unwrap();
        let mut spans: Vec<Span> =
            all.iter().filter(|s| says(s, "smoother.request_id") == Some(id.into())).cloned().collect();
        spans.sort_by_key(|span| (span.start, span.end));
        spans
    }
}

fn says(span: &Span, name: &str) -> Option<SpanValue> {
    span.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name).collect()
}

/// Seconds after the start.
fn times(span: &Span) -> (f64, f64) {
    (span.start.since(START).as_secs_f64(), span.end.since(START).as_secs_f64())
}

async fn send(rig: &Rig, message: &Value, traceparent: &str) {
    let attributes = BTreeMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let outgoing = Outgoing { body: message.to_string(), attributes };
    rig.local.ports.input.send(vec![outgoing]).await.remove(0).unwrap();
}

async fn run(rig: &Rig, sink: &Arc<Sink>, ratio: f64) {
    rig.worker("w", |_| {}).with_traces(Some(Arc::clone(sink) as _), ratio).run(Stop::default()).await;
}

/// The results by request id, with their attributes.
async fn results(rig: &Rig) -> BTreeMap<String, Delivery> {
    let deliveries = rig.local.ports.results.receive(100, Duration::ZERO).await.unwrap();
    deliveries.into_iter().map(|d| (d.attributes["request_id"].clone(), d)).collect()
}

fn context_of(delivery: &Delivery) -> Option<TraceContext> {
    delivery.attributes.get(TRACEPARENT).and_then(|text| TraceContext::parse(text))
}

#[tokio::test(start_paused = true)]
async fn a_request_is_one_trace_from_its_message_to_its_result() {
    use SpanKind::{Client, Consumer, Internal, Producer};
    let (rig, sink) = (Rig::new().await, Arc::<Sink>::default());
    rig.model.on("twice", &[Reply::Fail(CallErrorClass::ThrottledTokens), Reply::After(seconds(2))]);
    send(&rig, &request("r", "twice"), PARENT).await;
    run(&rig, &sink, 0.0).await;

    let spans = sink.of("r");
    let expected =
        ["smoother.ingest", "smoother.wait", "smoother.call", "smoother.wait", "smoother.call", "smoother.record"];
    assert_eq!(names(&spans), expected, "{spans:#?}");
    assert!(spans.iter().all(|span| span.context.trace_hex() == TRACE && span.context.sampled));
    let ids: BTreeSet<u64> = spans.iter().map(|span| span.context.span_id).collect();
    assert_eq!(ids.len(), 6, "each has an id of its own");
    assert_eq!(spans[0].parent, Some(0x00f0_67aa_0ba9_02b7), "ingest is the producer's child");
    assert!(spans[1..].iter().all(|span| span.parent == Some(spans[0].context.span_id)), "all else is ingest's");
    let kinds: Vec<SpanKind> = spans.iter().map(|span| span.kind).collect();
    assert_eq!(kinds, [Consumer, Internal, Client, Internal, Client, Producer]);

    // Without a gap: a wait ends where a call starts, and the next one begins where it ended.
    let row = rig.row("r").await;
    assert_eq!(spans[1].start, row.request.received_at);
    for pair in spans[1..5].windows(2) {
        assert_eq!(pair[0].end, pair[1].start, "{pair:#?}");
    }
    let (called, answered) = times(&spans[4]);
    assert!((answered - called - 2.0).abs() < 0.01, "the second call took two seconds");
    assert_eq!(spans[4].start, row.started_at.unwrap());
    assert!(spans[5].end >= row.outcome.as_ref().unwrap().finished_at && spans[5].start >= spans[4].end);
    let (SpanValue::Whole(backlog), SpanValue::Whole(hold)) =
        (says(&spans[1], "smoother.backlog_ms").unwrap(), says(&spans[1], "smoother.hold_ms").unwrap())
    else {
        panic!("{spans:#?}")
    };
    assert_eq!(u128::from(backlog + hold), spans[1].end.since(spans[1].start).as_millis());

    let of = |n: usize, name: &str| says(&spans[n], name);
    assert_eq!(of(2, "error.type"), None, "an error is the span's own");
    assert_eq!(spans[2].error.as_deref(), Some("ThrottledTokensException"));
    assert_eq!(of(2, "smoother.throttled"), Some(SpanValue::Flag(true)));
    assert_eq!(of(2, "gen_ai.usage.input_tokens"), None);
    assert_eq!((of(2, "smoother.attempt"), of(4, "smoother.attempt")), (Some(1_u64.into()), Some(2_u64.into())));
    for (name, value) in [
        ("gen_ai.provider.name", "aws.bedrock".into()),
        ("gen_ai.operation.name", "chat".into()),
        ("gen_ai.request.model", NOVA.into()),
        ("gen_ai.usage.input_tokens", 20_u64.into()),
        ("gen_ai.usage.output_tokens", 10_u64.into()),
        ("smoother.tenant", "default".into()),
        ("smoother.worker", "w".into()),
    ] {
        assert_eq!(of(4, name), Some(value), "{name}");
    }
    assert_eq!(of(5, "smoother.status"), Some("SUCCEEDED".into()));
    let result = &results(&rig).await["r"];
    assert_eq!(context_of(result), Some(spans[5].context), "the consumer goes on from the record span");
}

#[tokio::test(start_paused = true)]
async fn another_worker_goes_on_with_the_trace() {
    let (rig, sink) = (Rig::new().await, Arc::<Sink>::default());
    rig.model.on("hangs", &[Reply::Hang]);
    send(&rig, &request("r", "hangs"), PARENT).await;
    let victim = rig.worker("victim", |_| {}).with_traces(Some(Arc::clone(&sink) as _), 0.0);
    assert!(tokio::time::timeout(seconds(30), victim.run(Stop::default())).await.is_err());
    assert_eq!(rig.row("r").await.status, Status::Running);
    assert_eq!(names(&sink.of("r")), ["smoother.ingest", "smoother.wait"], "the call that hangs has not ended");
    tokio::time::sleep(seconds(61)).await;
    run(&rig, &sink, 0.0).await;

    let spans = sink.of("r");
    assert!(spans.iter().all(|span| span.context.trace_hex() == TRACE));
    let ingest = spans.iter().find(|span| span.name == "smoother.ingest").unwrap();
    let by =
        |worker: &str| spans.iter().filter(|s| says(s, "smoother.worker") == Some(worker.into())).collect::<Vec<_>>();
    assert_eq!(by("victim").len(), 2);
    let rest = by("w");
    let expected = BTreeSet::from(["smoother.wait", "smoother.call", "smoother.record"]);
    assert_eq!(rest.iter().map(|span| span.name).collect::<BTreeSet<_>>(), expected);
    assert!(rest.iter().all(|span| span.parent == Some(ingest.context.span_id)));
    let wait = rest.iter().find(|span| span.name == "smoother.wait").unwrap();
    assert_eq!(says(wait, "smoother.lost_claims"), Some(1_u64.into()));
    assert_eq!(wait.start, rig.row("r").await.request.received_at, "it tells the whole wait");
}

#[tokio::test(start_paused = true)]
async fn what_is_deferred_waits_again_from_then_on() {
    let (rig, sink) = (Rig::new().await, Arc::<Sink>::default());
    rig.model.on("day", &[Reply::Fail(CallErrorClass::ThrottledDay)]);
    send(&rig, &request("r", "day"), PARENT).await;
    run(&rig, &sink, 0.0).await;
    let spans = sink.of("r");
    let waits: Vec<&Span> = spans.iter().filter(|span| span.name == "smoother.wait").collect();
    let [first, second] = waits.as_slice() else { panic!("{spans:#?}") };
    let note = rig.row("r").await.notes[0].at;
    assert_eq!((second.start, second.start >= first.end), (note, true));
    assert!(second.end.since(second.start) >= seconds(60));
}

#[tokio::test(start_paused = true)]
async fn contexts_are_honoured_and_malformed_ones_pass_unnoticed() {
    let (rig, sink) = (Rig::new().await, Arc::<Sink>::default());
    let unrecorded = PARENT.replace("-01", "-00");
    for (id, traceparent) in
        [("unrecorded", unrecorded.as_str()), ("malformed", "00-XYZ"), ("endless", &"0".repeat(9999))]
    {
        send(&rig, &request(id, id), traceparent).await;
    }
    rig.send(&[request("none", "none")]).await;
    run(&rig, &sink, 0.0).await;
    assert!(sink.0.lock().unwrap().is_empty(), "none of them is recorded");
    let results = results(&rig).await;
    assert!(results.values().all(|result| result.attributes["status"] == "SUCCEEDED"));
    assert_eq!(results["unrecorded"].attributes[TRACEPARENT], unrecorded, "the consumer learns of the decision");
    assert!(["malformed", "endless", "none"].iter().all(|id| !results[*id].attributes.contains_key(TRACEPARENT)));

    // A worker that records nothing itself passes contexts on.
    send(&rig, &request("off", "off"), PARENT).await;
    rig.run().await;
    assert_eq!(self::results(&rig).await["off"].attributes[TRACEPARENT], PARENT);
    assert_eq!(rig.row("off").await.request.trace.as_deref(), Some(PARENT));

    rig.send(&[request("new", "new")]).await;
    run(&rig, &sink, 1.0).await;
    let spans = sink.of("new");
    assert_eq!(names(&spans), ["smoother.ingest", "smoother.wait", "smoother.call", "smoother.record"]);
    assert_eq!(spans[0].parent, None, "a new trace has no parent");
    assert_eq!(context_of(&self::results(&rig).await["new"]), Some(spans[3].context));
}

#[tokio::test(start_paused = true)]
async fn every_end_is_told_and_no_end_tells_what_was_asked() {
    let (rig, sink) = (Rig::new().await, Arc::<Sink>::default());
    let marked = |what: &str| format!("{what} xyzzy-marker");
    rig.model.on(&marked("throttled"), &[Reply::Fail(CallErrorClass::ThrottledRequests)]);
    rig.model.on(&marked("failed"), &[Reply::Fail(CallErrorClass::Final)]);
    rig.model.on(&marked("slow"), &[const { Reply::After(Duration::from_secs(100)) }; 4]);
    for id in ["fine", "throttled", "failed"] {
        rig.send(&[request(id, &marked(id))]).await;
    }
    let mut rejected = request("rejected", &marked("rejected"));
    rejected["prioritee"] = json!("xyzzy-marker");
    let mut conflict = request("fine", &marked("another"));
    conflict["metadata"] = json!({"note": "xyzzy-marker"});
    rig.send(&[rejected, conflict]).await;
    let slow: Vec<_> = (0..4).map(|n| request(&format!("slow-{n}"), &marked("slow"))).collect();
    rig.send(&slow).await;
    let mut late = request("late", &marked("late"));
    late["deadline"] = json!((START + seconds(40)).to_string());
    let sender = async {
        tokio::time::sleep(seconds(20)).await;
        rig.send(&[late]).await;
    };
    tokio::join!(run(&rig, &sink, 1.0), sender);

    for (id, status, error, expected) in [
        ("fine", "SUCCEEDED", None, "ingest wait call record"),
        ("throttled", "SUCCEEDED", None, "ingest wait call wait call record"),
        ("failed", "FAILED", Some("FinalException"), "ingest wait call record"),
        ("late", "EXPIRED", Some("DeadlinePassed"), "ingest wait record"),
        ("rejected", "REJECTED", Some("InvalidMessage"), "ingest record"),
    ] {
        let spans = sink.of(id);
        let short: Vec<&str> = names(&spans).iter().map(|name| name.strip_prefix("smoother.").unwrap()).collect();
        assert_eq!(short.join(" "), expected, "{id}");
        let record = spans.last().unwrap();
        assert_eq!((says(record, "smoother.status"), record.error.as_deref()), (Some(status.into()), error), "{id}");
        assert!(spans.iter().all(|span| span.end >= span.start));
    }
    let all = sink.0.lock().unwrap();
    assert!(all.iter().any(|span| span.error.as_deref() == Some("IdConflict")));
    assert!(!format!("{all:?}").contains("xyzzy"), "what was asked is in no span");
}

/// Never there.
struct Down;

#[async_trait]
impl Spans for Down {
    async fn export(&self, _: Vec<Span>) -> PortResult<()> {
        Err(PortError::transient("export", "connection refused"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_is_down_costs_no_request_and_no_time() {
    let rig = Rig::new().await;
    let messages: Vec<_> = (0..100).map(|n| request(&format!("r-{n}"), "x")).collect();
    rig.send(&messages).await;
    let began = tokio::time::Instant::now();
    rig.run().await;
    let without = began.elapsed();
    let messages: Vec<_> = (100..200).map(|n| request(&format!("r-{n}"), "x")).collect();
    rig.send(&messages).await;
    let began = tokio::time::Instant::now();
    let worker = rig.worker("w", |_| {}).with_traces(Some(Arc::new(Down)), 1.0);
    let observer = worker.observer();
    worker.run(Stop::default()).await;
    let with = began.elapsed();
    assert!(with <= without + seconds(6), "{with:?} instead of {without:?}");
    assert_eq!(results(&rig).await.len(), 100);
    let page = observer.exposition();
    let dropped = page.lines().find_map(|line| line.strip_prefix("smoother_spans_dropped_total ")).unwrap();
    assert_eq!(dropped, "400", "each of them is counted");
}
