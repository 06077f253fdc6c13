//! Pages of requests in every place.

use std::time::Duration;

use super::super::ahead::{Ahead, Other};
use super::super::overview::Crew;
use super::super::overview::fixture::{LANE, NOW, members};
use super::super::request::{Event, Stored};
use super::super::waits::explain;
use super::*;
use crate::clock::Timestamp;
use crate::pipeline::lifecycle;
use crate::pipeline::rank::Ranker;
use crate::request::{
    Estimate, Failure, Lane, ModelId, Note, Operation, PayloadRef, Priority, Request, RequestId, Row, Status, Tenant,
    Usage,
};

fn at(seconds_ago: u64) -> Timestamp {
    NOW - Duration::from_secs(seconds_ago)
}

fn row(status: Status) -> Row {
    let model = ModelId::new("amazon.nova-lite-v1:0").unwrap();
    let lane = Lane::new("default", "us-east-1", &model);
    assert_eq!(lane.as_str(), LANE);
    let request = Request {
        id: RequestId::new("order-7").unwrap(),
        content_hash: String::new(),
        message_id: "m".to_owned(),
        model_id: model,
        downgraded_from: None,
        batch_id: None,
        trace: None,
        use_case: None,
        lane,
        tenant: Tenant::default(),
        priority: Priority::NORMAL,
        deadline: None,
        metadata: [("team".to_owned(), "search".to_owned())].into(),
        operation: Operation::Converse,
        body: PayloadRef(String::new()),
        estimate: Estimate::default(),
        rank: Ranker::default().rank(Priority::NORMAL, None, Duration::from_secs(5), at(90)),
        received_at: at(90),
    };
    let (row, _) = lifecycle::admit(request);
    Row { status, ..row }
}

fn crew() -> Crew {
    Crew::of(&members(), Some("worker-1".to_owned()), NOW)
}

fn shown(row: &Row, crew: &Crew, ahead: &Ahead) -> String {
    let mut story = Story::of(row, NOW);
    story.waits = Some(explain(row, crew, ahead, NOW));
    page(&story, true, Paint::none())
}

#[test]
fn a_request_in_the_backlog_says_who_goes_first_and_when_it_should_run() {
    let other = |requests, weight| Other { requests, more: requests == 1_000, weight };
    let others = [(Tenant::new("b").unwrap(), other(1_000, 2.0)), (Tenant::new("c").unwrap(), other(50, 1.0))].into();
    let ahead = Ahead { own: 100, urgent: 3, others, weight: 1.0, held: 50, ..Ahead::default() };
    assert_eq!(
        shown(&row(Status::Received), &crew(), &ahead),
        "\
order-7  RECEIVED

  Model      amazon.nova-lite-v1:0
  Tenant     default, priority normal
  Metadata   team=search

2026-11-21 UTC
  09:07:13.456               received

Where it stands
  - in the backlog behind 100 requests of its tenant in its lane
  - 3 urgent requests of other tenants go first; its lane is shared with b, c; tenant default has
    25% of it (weight 1)
  - 20 requests of its lane stand in the hold queue, which goes first
  - ranked as due at 2026-11-21 10:07:13 UTC by its priority, normal; of its tenant, what is urgent
    or due earlier goes first
  - its lane is paused for 4.0 s after throttling

  Should run in about 9 m 23 s (373 before it, 40 calls start a minute), unless something more
             urgent comes
"
    );
}

#[test]
fn what_cannot_be_known_is_not_guessed() {
    let more =
        shown(&row(Status::Received), &crew(), &Ahead { own: 1000, own_more: true, weight: 1.0, ..Ahead::default() });
    assert!(more.contains("behind more than 1,000 requests"), "{more}");
    assert!(more.contains("Should run unknown"), "{more}");
    let nobody = Crew::of(&members()[..1], Some("worker-3".to_owned()), NOW);
    let idle = shown(&row(Status::Received), &nobody, &Ahead { own: 1, weight: 1.0, ..Ahead::default() });
    for words in [
        "no worker that calls Bedrock is alive: start one with smoother run",
        "nobody plans, so nothing leaves the backlog: no worker has that role",
        "Should run unknown",
    ] {
        assert!(idle.contains(words), "{idle}");
    }
}

#[test]
fn a_request_in_the_hold_queue_needs_no_planner() {
    let mut queued = row(Status::Queued);
    queued.queued_at = Some(at(30));
    let unplanned = Crew { planner: None, ..crew() };
    let page = shown(&queued, &unplanned, &Ahead { held: 30, ..Ahead::default() });
    assert!(page.contains("  09:08:13.456  + 1 m 00 s   queued"), "{page}");
    assert!(page.contains("- in the hold queue, next of its lane"), "{page}");
    assert!(page.contains("Should run in about 4.0 s"), "{page}");
    assert!(!page.contains("nobody plans"), "{page}");
}

#[test]
fn a_deferral_says_until_when_and_why() {
    let mut deferred = row(Status::Received);
    deferred.updated_at = at(3);
    deferred.not_before = Some(NOW + Duration::from_secs(57));
    deferred.notes.push(Note { at: at(3), what: "ThrottlingException: Too many tokens per day".to_owned() });
    let page = shown(&deferred, &crew(), &Ahead::default());
    assert!(
        page.contains(
            "- deferred until 2026-11-21 09:09:40 UTC (in 57.0 s), because: ThrottlingException: Too many\n    tokens per day"
        ),
        "{page}"
    );
    deferred.notes.clear();
    let page = shown(&deferred, &crew(), &Ahead::default());
    assert!(page.contains("because: its lane was paused"), "{page}");
}

#[test]
fn a_running_request_names_its_worker_and_whether_it_lives() {
    let mut running = row(Status::Running);
    (running.worker, running.updated_at, running.claims) = (Some("worker-1".to_owned()), at(12), 2);
    let page = shown(&running, &crew(), &Ahead::default());
    assert!(page.contains("- with worker worker-1 for 12.0 s\n  - 1 worker before it ended without a word"), "{page}");
    assert!(page.contains("Should run it is being called"), "{page}");
    running.worker = Some("worker-3".to_owned());
    let page = shown(&running, &crew(), &Ahead::default());
    assert!(page.contains("that worker shows no sign of life"), "{page}");
}

#[test]
fn an_end_shows_its_cost_its_error_and_where_the_result_lies() {
    let mut story = Story::of(&row(Status::Succeeded), NOW);
    story.trace_id = Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned());
    story.timeline =
        vec![Event { at: at(90), what: "received".to_owned() }, Event { at: at(86), what: "succeeded".to_owned() }];
    story.outcome = Some(End {
        finished_at: at(86),
        usage: Some(Usage { input_tokens: 1204, output_tokens: 350, cache_read_input_tokens: 9, ..Usage::default() }),
        latency_ms: Some(3_950),
        cost_usd: Some(0.000_35),
        price_as_of: Some("2026-11-21".to_owned()),
        service_tier: None,
        error: Some(Failure {
            kind: "ValidationException".to_owned(),
            message: "no\u{1b}[2J".to_owned(),
            retryable: false,
            field: Some("inferenceConfig.maxTokens".to_owned()),
        }),
        result: Some(Stored {
            bucket: "/data".to_owned(),
            key: "results/a.json".to_owned(),
            bytes: 1_234,
            preview: Some("{\"output\":\n1}".to_owned()),
        }),
    });
    assert_eq!(
        page(&story, true, Paint::none()),
        "\
order-7  SUCCEEDED

  Model      amazon.nova-lite-v1:0
  Tenant     default, priority normal
  Metadata   team=search
  Trace      4bf92f3577b34da6a3ce929d0e0e4736

2026-11-21 UTC
  09:07:13.456               received
  09:07:17.456     + 4.0 s   succeeded

Outcome
  Error      ValidationException
  Field      inferenceConfig.maxTokens
  Why        no [2J
  Again      would fail again as it is
  Last call  4.0 s
  Tokens     1,204 in, 350 out, 9 read from the cache
  Cost       $0.000350, by prices of 2026-11-21
  Result     /data/results/a.json
             1,234 bytes
  Begins     {\"output\": 1}
"
    );
    assert!(page(&story, false, Paint::none()).contains("s3:///data/results/a.json"));
}

#[test]
fn a_timeline_is_in_order_whatever_the_detours() {
    let mut row = row(Status::Received);
    row.worker = Some("worker-1".to_owned());
    (row.attempts, row.throttles) = (1, 2);
    (row.started_at, row.queued_at) = (Some(at(50)), Some(at(20)));
    (row.first_started_at, row.first_queued_at) = (Some(at(70)), Some(at(80)));
    row.notes.push(Note { at: at(40), what: "ServiceUnavailableException: busy".to_owned() });
    let told: Vec<String> = Story::of(&row, NOW).timeline.into_iter().map(|event| event.what).collect();
    let first = ["received", "queued for the first time", "call 1 started"];
    assert_eq!(told[..3], first);
    assert_eq!(told[3..], ["call 3 started at worker-1", "ServiceUnavailableException: busy", "queued"]);
}
