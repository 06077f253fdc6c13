//! What the reporting table says of a request's way.

use smoother::models::PRICES_AS_OF;
use smoother::ports::model::CallErrorClass;
use smoother::request::{Operation, Status};
use smoother::shutdown::Stop;

use crate::rig::{MICRO, NOVA, Reply, Rig, START, request};
use crate::seconds;

#[tokio::test(start_paused = true)]
async fn a_row_tells_the_whole_way() {
    let rig = Rig::new().await;
    rig.model.on("hello", &[Reply::Fail(CallErrorClass::ThrottledTokens), Reply::Fail(CallErrorClass::Server)]);
    let mut message = request("r-1", "hello");
    message["batch_id"] = "nightly".into();
    message["deadline"] = (START + seconds(3600)).to_string().into();
    rig.send(&[message]).await;
    rig.run().await;

    let row = rig.report("r-1").await;
    assert_eq!((row.status, row.attempts, row.throttles), (Status::Succeeded, 2, 1));
    assert_eq!((row.model_id.as_str(), row.asked_model_id.as_str(), row.switch.as_deref()), (NOVA, NOVA, None));
    assert_eq!((row.region.as_deref(), row.operation), (Some("us-east-1"), Operation::Converse));
    assert_eq!((row.batch_id.as_deref(), row.worker.as_deref()), (Some("nightly"), Some("w")));
    assert_eq!((row.deadline_met, row.service_tier), (Some(true), None));
    let times = [Some(row.received_at), row.first_queued_at, row.claimed_at, row.first_started_at, row.started_at];
    assert!(times.iter().all(Option::is_some) && times.is_sorted(), "{times:?}");
    assert!(row.first_started_at < row.started_at, "the throttled call was the first");
    assert_eq!(row.finished_at, row.started_at.unwrap() + seconds(1));
    assert_eq!(row.first_queued_at, row.queued_at);
    assert_eq!(Some(row.wait_ms), row.backlog_ms.zip(row.hold_ms).map(|(backlog, hold)| backlog + hold));
    assert_eq!(row.total_ms, row.wait_ms + row.latency_ms.unwrap());
    // 20 tokens in and 10 out; what was throttled or failed took nothing of the quota.
    assert_eq!((row.quota_tokens, row.lane_tokens_per_minute), (Some(30), Some(600_000.0)));
    assert_eq!((row.lane_requests_per_minute, row.price_as_of.as_deref()), (None, Some(PRICES_AS_OF)));
    assert_eq!(row.result_bytes, rig.row("r-1").await.outcome.unwrap().result.map(|stored| stored.bytes));
}

#[tokio::test(start_paused = true)]
async fn a_cost_is_that_of_the_tier_or_unknown() {
    let rig = Rig::new().await;
    for tier in ["default", "flex", "priority"] {
        rig.model.on(tier, &[Reply::InTier(tier)]);
        rig.send(&[request(tier, tier)]).await;
    }
    let half = vec![(format!("models.\"{NOVA}\".flex_price_factor"), "0.5".to_owned())];
    rig.worker_with("w", half, |_| {}).run(Stop::default()).await;
    let near = |found: Option<f64>, expected: f64| found.is_some_and(|found| (found - expected).abs() < 1e-15);
    let row = rig.report("default").await;
    assert!(near(row.cost_usd, 3.6e-6), "{row:?}");
    assert_eq!(row.price_as_of.as_deref(), Some("settings"), "a part of the price is the operator's");
    let row = rig.report("flex").await;
    assert!(near(row.cost_usd, 1.8e-6) && row.service_tier.as_deref() == Some("flex"), "{row:?}");
    let row = rig.report("priority").await;
    assert_eq!((row.cost_usd, row.price_as_of, row.input_tokens), (None, None, Some(20)));
}

#[tokio::test(start_paused = true)]
async fn what_was_never_called_has_no_call_in_its_row() {
    let rig = Rig::new().await;
    let mut refused = request("r-1", "hello");
    refused["model_id"] = "nobody.knows-it".into();
    refused["batch_id"] = "nightly".into();
    let mut late = request("late", "hello");
    late["deadline"] = (START + seconds(1)).to_string().into();
    let mut by_use_case = request("by-use-case", "hello");
    by_use_case.as_object_mut().unwrap().remove("model_id");
    by_use_case["use_case"] = "support".into();
    rig.send(&[refused, late, by_use_case]).await;
    tokio::time::advance(seconds(2)).await;
    rig.run().await;

    let row = rig.report("r-1").await;
    assert_eq!((row.status, row.batch_id.as_deref(), row.region), (Status::Rejected, Some("nightly"), None));
    assert_eq!((row.started_at, row.quota_tokens, row.cost_usd, row.hold_ms), (None, None, None, None));
    assert_eq!(row.asked_model_id, "nobody.knows-it");
    let row = rig.report("late").await;
    assert_eq!((row.status, row.claimed_at, row.quota_tokens), (Status::Rejected, None, None));
    let row = rig.report("by-use-case").await;
    assert_eq!(
        (row.use_case.as_deref(), row.model_id.as_str(), row.asked_model_id.as_str()),
        (Some("support"), MICRO, MICRO)
    );
}
