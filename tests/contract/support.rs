//! Names, rows and patience.

use std::collections::BTreeMap;
use std::time::Duration;

use smoother::clock::Timestamp;
use smoother::ports::{Ledger, Transition, Work, WorkItem, WorkList};
use smoother::request::{
    Estimate, Failure, Flow, Lane, Metadata, ModelId, Note, Operation, Outcome, PayloadRef, Priority, QuotaUse,
    Request, RequestId, Row, Status, StoredResult, Tenant, Usage,
};
use tokio::time::Instant;

/// Longer than anything takes that is going to happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again until `probe` answers. For what a service does in its own time; panics when it never does.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(Instant::now() < until, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A name that no other case uses.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{:016x}", fastrand::u64(..))
}

/// An id that no other case uses.
pub fn id(prefix: &str) -> RequestId {
    RequestId::new(unique(prefix)).unwrap()
}

/// A lane that no other case uses.
pub fn lane() -> Lane {
    Lane::new(&unique("account"), "us-east-1", &ModelId::new("us.amazon.nova-lite-v1:0").unwrap())
}

/// Pairs that tend to break: not ASCII, empty, quotes, line ends, what means something to a database.
pub fn odd_metadata() -> Metadata {
    let pairs = [
        ("empty", ""),
        ("unicode", "Ünïcödé 漢字 🦀 \u{1F469}\u{200D}\u{1F680}"),
        ("quotes", r#"'"`\ %s ${x} {{y}} ; DROP TABLE requests; --"#),
        ("lines", "one\ntwo\r\n\tthree"),
        ("ключ", "#attr :value"),
        ("number", "007"),
    ];
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// A plain row, newly received.
pub fn row(id: RequestId, lane: &Lane) -> Row {
    let request = Request {
        id,
        content_hash: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
        message_id: "m-1".to_owned(),
        model_id: ModelId::new("us.amazon.nova-lite-v1:0").unwrap(),
        downgraded_from: None,
        batch_id: None,
        trace: None,
        use_case: None,
        lane: lane.clone(),
        tenant: Tenant::default(),
        priority: Priority::NORMAL,
        deadline: None,
        metadata: BTreeMap::new(),
        operation: Operation::Converse,
        body: PayloadRef("requests/somewhere.json".to_owned()),
        estimate: Estimate { input_tokens: 1_200, max_output_tokens: 512 },
        rank: "1#01795252123456#01J".to_owned(),
        received_at: Timestamp(1_795_252_123_456),
    };
    Row::new(request, Status::Received, Timestamp(1_795_252_123_456))
}

/// A finished row in which every field is set, to values that tend to break.
pub fn full_row(id: RequestId, lane: &Lane) -> Row {
    let mut row = row(id, lane);
    let request = &mut row.request;
    request.use_case = Some("summaries of “reports”".to_owned());
    request.tenant = Tenant::new("team:a_b.c-d").unwrap();
    request.priority = Priority::URGENT;
    request.deadline = Some(Timestamp(1_795_252_999_999));
    request.metadata = odd_metadata();
    request.operation = Operation::Invoke;
    request.estimate = Estimate { input_tokens: 9_007_199_254_740_993, max_output_tokens: 0 };
    row.status = Status::Failed;
    row.attempts = 3;
    row.throttles = 1_000_000;
    row.claims = 4;
    row.ticket = Some("ticket ü".to_owned());
    row.claim = Some("claim".to_owned());
    row.worker = Some("worker".to_owned());
    row.queued_at = Some(Timestamp(1_795_252_123_457));
    row.first_queued_at = Some(Timestamp(1_795_252_123_400));
    row.claimed_at = Some(Timestamp(1_795_252_123_458));
    row.started_at = Some(Timestamp(1_795_252_123_458));
    row.first_started_at = Some(Timestamp(1_795_252_123_410));
    row.not_before = Some(Timestamp(1_795_252_123_459));
    row.notes = vec![note(1, "deferred: “too many tokens”"), note(2, "")];
    row.outcome = Some(Outcome {
        finished_at: Timestamp(1_795_252_123_999),
        usage: Some(Usage {
            input_tokens: 1,
            output_tokens: 2,
            cache_read_input_tokens: 3,
            cache_write_input_tokens: 4,
        }),
        latency_ms: Some(1_234),
        cost_usd: Some(0.000_012_34),
        service_tier: Some("flex".to_owned()),
        price_as_of: Some("2026-11-21".to_owned()),
        quota: Some(QuotaUse { tokens: 7_000, requests_per_minute: Some(0.5), tokens_per_minute: Some(2e6) }),
        result: Some(StoredResult { payload: PayloadRef("results/x.json".to_owned()), bytes: 300_000 }),
        error: Some(Failure {
            kind: "ValidationException".to_owned(),
            message: "line one\nline two".repeat(500),
            retryable: false,
            field: Some("inferenceConfig.maxTokens".to_owned()),
        }),
    });
    row
}

/// How a plain request ends.
pub fn outcome(at: u64) -> Outcome {
    let usage = Usage { input_tokens: 10, output_tokens: 20, ..Usage::default() };
    let finished_at = Timestamp(at);
    Outcome { usage: Some(usage), latency_ms: Some(5), cost_usd: Some(0.25), ..Outcome::at(finished_at) }
}

/// A note.
pub fn note(at: u64, what: &str) -> Note {
    Note { at: Timestamp(at), what: what.to_owned() }
}

/// The flow of plain rows of a lane.
pub fn flow(lane: &Lane) -> Flow {
    Flow { lane: lane.clone(), tenant: Tenant::default(), urgent: false, use_case: None }
}

/// A place in the list of a lane's plain rows.
pub fn ready(lane: &Lane, sort: &str) -> Work {
    Work { list: WorkList::Ready(flow(lane)), sort: sort.to_owned() }
}

/// A place in the list of what is waited for.
pub fn held(at: u64) -> Work {
    Work { list: WorkList::Held, sort: Work::time_key(Timestamp(at)) }
}

/// A transition without guards and without further changes.
pub fn transition(id: &RequestId, from: &'static [Status], to: Status, work: Option<Work>) -> Transition {
    Transition {
        id: id.clone(),
        from,
        if_ticket: None,
        if_claim: None,
        if_work: None,
        if_updated_at: None,
        to,
        at: Timestamp(1_795_252_200_000),
        work,
        set: smoother::ports::ledger::Patch::default(),
    }
}

/// Inserts a new row and answers with it.
pub async fn inserted(ledger: &dyn Ledger, lane: &Lane, work: Work) -> Row {
    let row = row(id("row"), lane);
    let results = ledger.insert(vec![(row.clone(), Some(work))]).await;
    assert!(matches!(results.as_slice(), [Ok(smoother::ports::Inserted::New)]), "{results:?}");
    row
}

/// The keys of a list, in its order.
pub fn sorts(items: &[WorkItem]) -> Vec<&str> {
    items.iter().map(|item| item.sort.as_str()).collect()
}
