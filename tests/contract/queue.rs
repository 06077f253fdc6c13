//! `ports::queue`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use smoother::ports::{Delivery, Depth, Outgoing, Queue};
use tokio::time::Instant;

use crate::support::{PATIENCE, eventually};
use crate::{Fixture, HOLD_VISIBILITY};

const SECOND: Duration = Duration::from_secs(1);

fn message(body: impl Into<String>) -> Outgoing {
    Outgoing { body: body.into(), attributes: BTreeMap::new() }
}

async fn send(queue: &dyn Queue, messages: Vec<Outgoing>) {
    let count = messages.len();
    let results = queue.send(messages).await;
    assert_eq!(results.len(), count);
    for result in results {
        result.unwrap();
    }
}

/// Receives until there are `count` messages.
async fn collect(queue: &dyn Queue, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    let until = Instant::now() + PATIENCE;
    while all.len() < count {
        assert!(Instant::now() < until, "only {} of {count} messages came", all.len());
        all.extend(queue.receive(count - all.len(), SECOND).await.unwrap());
    }
    all
}

async fn next(queue: &dyn Queue) -> Delivery {
    collect(queue, 1).await.remove(0)
}

async fn nothing_comes(queue: &dyn Queue, wait: Duration) {
    let received = queue.receive(10, wait).await.unwrap();
    assert!(received.is_empty(), "{} came", received.len());
}

async fn delete(queue: &dyn Queue, delivery: &Delivery) {
    queue.delete(vec![delivery.receipt.clone()]).await.remove(0).unwrap();
}

async fn extend(queue: &dyn Queue, delivery: &Delivery, after: Duration) {
    queue.extend(vec![delivery.receipt.clone()], after).await.remove(0).unwrap();
}

pub async fn a_message_comes_as_it_was_sent(fixture: &Fixture) {
    let queue = &*fixture.ports.input;
    let attributes = [("status", "SUCCEEDED"), ("Tenant.name-1", "Ünïcödé 漢字 🦀 'quoted\"")];
    let sent = Outgoing {
        body: "{\"a\": \"'\\\"\\u0000`\\\\\",\r\n\t\"b\": \"Ünïcödé 漢字 🦀\", \"c\": \"<&amp;]]>\", \"d\": \" \u{7f}\u{85}\"}".to_owned(),
        attributes: attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    };
    send(queue, vec![sent.clone()]).await;
    let received = next(queue).await;
    assert_eq!((received.body, received.attributes), (sent.body, sent.attributes));
    assert_eq!(received.receive_count, 1);
    assert!(!received.message_id.is_empty() && !received.receipt.is_empty());
}

pub async fn empty_attributes_are_left_out(fixture: &Fixture) {
    let queue = &*fixture.ports.results;
    let attributes: BTreeMap<_, _> = [("full", "x"), ("empty", "")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
    send(queue, vec![Outgoing { body: "x".to_owned(), attributes }]).await;
    assert_eq!(next(queue).await.attributes, BTreeMap::from([("full".to_owned(), "x".to_owned())]));
}

pub async fn a_batch_of_any_size_is_sent_received_and_deleted(fixture: &Fixture) {
    let queue = &*fixture.ports.input;
    let bodies: BTreeSet<String> = (0..25).map(|n| format!("message {n}")).collect();
    send(queue, bodies.iter().map(message).collect()).await;
    let received = collect(queue, 25).await;
    assert_eq!(received.iter().map(|delivery| delivery.body.clone()).collect::<BTreeSet<_>>(), bodies);
    assert_eq!(received.iter().map(|delivery| &delivery.message_id).collect::<BTreeSet<_>>().len(), 25);
    let deleted = queue.delete(received.into_iter().map(|delivery| delivery.receipt).collect()).await;
    assert_eq!(deleted.len(), 25);
    for result in deleted {
        result.unwrap();
    }
    eventually("an empty queue", async || (queue.depth().await.unwrap() == Depth::default()).then_some(())).await;
}

pub async fn large_bodies_are_carried(fixture: &Fixture) {
    let queue = &*fixture.ports.results;
    let large = "0123456789".repeat(90 * 1024);
    // More together than one call of any service takes.
    let mut sent: Vec<String> = (0..12).map(|n| format!("{n}").repeat(100 * 1024)).collect();
    sent.push(large);
    send(queue, sent.iter().map(message).collect()).await;
    let received: BTreeSet<String> = collect(queue, 13).await.into_iter().map(|delivery| delivery.body).collect();
    assert!(received == sent.into_iter().collect::<BTreeSet<_>>());
}

pub async fn an_item_that_cannot_be_sent_does_not_abandon_the_rest(fixture: &Fixture) {
    let queue = &*fixture.ports.input;
    let mut messages: Vec<Outgoing> = (0..12).map(|n| message(n.to_string())).collect();
    messages[5].body = "x".repeat(1024 * 1024 + 1);
    let results = queue.send(messages).await;
    for (n, result) in results.iter().enumerate() {
        match result {
            Ok(()) => assert_ne!(n, 5, "a message beyond 1 MiB was taken"),
            Err(error) => assert!(n == 5 && !error.retryable, "{n}: {error}"),
        }
    }
    assert_eq!(results.len(), 12);
    collect(queue, 11).await;
    nothing_comes(queue, Duration::ZERO).await;
}

pub async fn nothing_to_do_is_done(fixture: &Fixture) {
    let queue = &*fixture.ports.input;
    assert!(queue.send(vec![]).await.is_empty());
    assert!(queue.delete(vec![]).await.is_empty());
    assert!(queue.extend(vec![], SECOND).await.is_empty());
    send(queue, vec![message("x")]).await;
    assert!(queue.receive(0, Duration::ZERO).await.unwrap().is_empty());
    assert_eq!(next(queue).await.receive_count, 1);
}

pub async fn no_more_than_asked_for_is_received(fixture: &Fixture) {
    let queue = &*fixture.ports.input;
    send(queue, (0..15).map(|n| message(n.to_string())).collect()).await;
    let mut seen = 0;
    while seen < 15 {
        let received = queue.receive(2, SECOND).await.unwrap().len();
        assert!(received <= 2, "{received}");
        seen += received;
    }
}

pub async fn a_receive_waits_for_the_first_message(fixture: &Fixture) {
    let queue = &*fixture.ports.input;
    let begun = Instant::now();
    let (received, ()) = tokio::join!(queue.receive(10, Duration::from_secs(20)), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        send(queue, vec![message("x")]).await;
    });
    assert_eq!(received.unwrap().len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

pub async fn a_receive_gives_up_after_the_wait(fixture: &Fixture) {
    let begun = Instant::now();
    nothing_comes(&*fixture.ports.input, SECOND).await;
    let took = begun.elapsed();
    assert!((SECOND * 9 / 10..SECOND * 10).contains(&took), "{took:?}");
}

pub async fn a_received_message_is_invisible_to_others(fixture: &Fixture) {
    let queue = &*fixture.ports.input;
    send(queue, vec![message("x")]).await;
    next(queue).await;
    nothing_comes(queue, SECOND).await;
}

pub async fn a_message_that_is_not_deleted_comes_again(fixture: &Fixture) {
    let queue = &*fixture.ports.hold;
    let attributes = BTreeMap::from([("ticket".to_owned(), "7".to_owned())]);
    send(queue, vec![Outgoing { body: "x".to_owned(), attributes }]).await;
    let first = next(queue).await;
    let second = next(queue).await;
    assert_eq!((first.receive_count, second.receive_count), (1, 2));
    assert_ne!(first.receipt, second.receipt);
    assert_eq!((first.message_id, first.body, first.attributes), (second.message_id, second.body, second.attributes));
}

pub async fn a_deleted_message_does_not_come_again(fixture: &Fixture) {
    let queue = &*fixture.ports.hold;
    send(queue, vec![message("x")]).await;
    let delivery = next(queue).await;
    delete(queue, &delivery).await;
    nothing_comes(queue, HOLD_VISIBILITY + SECOND).await;
}

pub async fn what_is_gone_already_counts_as_deleted(fixture: &Fixture) {
    let queue = &*fixture.ports.input;
    send(queue, vec![message("x")]).await;
    let delivery = next(queue).await;
    delete(queue, &delivery).await;
    delete(queue, &delivery).await;
}

pub async fn an_outdated_receipt_changes_nothing(fixture: &Fixture) {
    let queue = &*fixture.ports.hold;
    send(queue, vec![message("x")]).await;
    let outdated = next(queue).await;
    let current = next(queue).await;
    extend(queue, &current, Duration::from_mins(1)).await;
    // Whether a service answers these with an error is its own business.
    drop(queue.extend(vec![outdated.receipt.clone()], Duration::ZERO).await);
    drop(queue.delete(vec![outdated.receipt]).await);
    nothing_comes(queue, SECOND).await;
    extend(queue, &current, Duration::ZERO).await;
    let again = next(queue).await;
    assert_eq!((again.body.as_str(), again.receive_count), ("x", 3));
}

pub async fn an_extension_keeps_a_message_invisible(fixture: &Fixture) {
    let queue = &*fixture.ports.hold;
    send(queue, vec![message("x")]).await;
    let delivery = next(queue).await;
    extend(queue, &delivery, Duration::from_mins(1)).await;
    nothing_comes(queue, HOLD_VISIBILITY + SECOND).await;
    delete(queue, &delivery).await;
}

pub async fn extending_by_zero_hands_back_at_once(fixture: &Fixture) {
    let queue = &*fixture.ports.input;
    send(queue, (0..25).map(|n| message(n.to_string())).collect()).await;
    let first = collect(queue, 25).await;
    let results = queue.extend(first.into_iter().map(|delivery| delivery.receipt).collect(), Duration::ZERO).await;
    assert_eq!(results.len(), 25);
    for result in results {
        result.unwrap();
    }
    // All within the visibility timeout of 60 s, so none came back by itself.
    for delivery in collect(queue, 25).await {
        assert_eq!(delivery.receive_count, 2);
    }
}

pub async fn poison_ends_in_the_dead_letter_queue(fixture: &Fixture) {
    let (hold, dead) = (&*fixture.ports.hold, &*fixture.ports.dead);
    let attributes = BTreeMap::from([("ticket".to_owned(), "7".to_owned())]);
    send(hold, vec![Outgoing { body: "poison".to_owned(), attributes: attributes.clone() }]).await;
    for receive_count in 1..=3 {
        let delivery = next(hold).await;
        assert_eq!(delivery.receive_count, receive_count);
        extend(hold, &delivery, Duration::ZERO).await;
    }
    let buried = eventually("the message in the dead-letter queue", async || {
        nothing_comes(hold, Duration::ZERO).await;
        dead.receive(1, Duration::ZERO).await.unwrap().pop()
    })
    .await;
    assert_eq!((buried.body.as_str(), &buried.attributes), ("poison", &attributes));
    delete(dead, &buried).await;
}

pub async fn depth_tells_visible_from_in_flight(fixture: &Fixture) {
    let queue = &*fixture.ports.input;
    let reaches = async |visible, in_flight| {
        let wanted = Depth { visible, in_flight };
        eventually(&format!("{wanted:?}"), async || (queue.depth().await.unwrap() == wanted).then_some(())).await;
    };
    reaches(0, 0).await;
    send(queue, (0..12).map(|n| message(n.to_string())).collect()).await;
    reaches(12, 0).await;
    let held = collect(queue, 5).await;
    reaches(7, 5).await;
    delete(queue, &held[0]).await;
    extend(queue, &held[1], Duration::ZERO).await;
    reaches(8, 3).await;
}
