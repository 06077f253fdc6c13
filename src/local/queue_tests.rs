use super::*;
use crate::clock::Timestamp;
use crate::ports::PortError;

struct Rig {
    _dir: tempfile::TempDir,
    queue: LocalQueue,
    /// The same queue as another process has it.
    elsewhere: LocalQueue,
    dead: LocalQueue,
}

const SETTINGS: QueueSettings =
    QueueSettings { name: "q", visibility: Duration::from_mins(1), redrive: Some((2, "dead")) };

async fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("smoother.db");
    let clock = Clock::anchored(Timestamp(1_795_252_123_456));
    let database = || Database::open(&path).unwrap();
    let first = database();
    let dead = QueueSettings { name: "dead", visibility: Duration::from_mins(1), redrive: None };
    let dead = LocalQueue::open(first.clone(), clock.clone(), dead, None).await.unwrap();
    let queue = LocalQueue::open(first, clock.clone(), SETTINGS, Some(dead.arrivals())).await.unwrap();
    let elsewhere = LocalQueue::open(database(), clock, SETTINGS, None).await.unwrap();
    Rig { _dir: dir, queue, elsewhere, dead }
}

fn messages(bodies: &[&str]) -> Vec<Outgoing> {
    bodies.iter().map(|body| Outgoing { body: (*body).to_owned(), ..Outgoing::default() }).collect()
}

async fn send(queue: &LocalQueue, bodies: &[&str]) {
    for result in queue.send(messages(bodies)).await {
        result.unwrap();
    }
}

async fn bodies(queue: &LocalQueue, wait: Duration) -> Vec<String> {
    queue.receive(100, wait).await.unwrap().into_iter().map(|delivery| delivery.body).collect()
}

#[tokio::test(start_paused = true)]
async fn messages_come_in_the_order_they_were_sent() {
    let rig = rig().await;
    let sent: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    send(&rig.queue, &sent.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(bodies(&rig.queue, Duration::ZERO).await, sent);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_receive_wakes_at_once_for_a_send_here_and_soon_for_one_elsewhere() {
    let rig = rig().await;
    for (sender, patience) in [(&rig.queue, Duration::ZERO), (&rig.elsewhere, POLL)] {
        let begun = Instant::now();
        let sent_at = Duration::from_millis(4_910);
        let (received, ()) = tokio::join!(bodies(&rig.queue, Duration::from_secs(20)), async {
            tokio::time::sleep(sent_at).await;
            send(sender, &["x"]).await;
        });
        assert_eq!(received, ["x"]);
        let took = begun.elapsed();
        assert!((sent_at..=sent_at + patience).contains(&took), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_receive_gives_up_in_time() {
    let rig = rig().await;
    let begun = Instant::now();
    assert!(bodies(&rig.queue, Duration::from_millis(1_234)).await.is_empty());
    assert_eq!(begun.elapsed(), Duration::from_millis(1_234));
}

#[tokio::test(start_paused = true)]
async fn redriven_messages_wake_those_who_watch_the_dead_letter_queue() {
    let rig = rig().await;
    send(&rig.queue, &["poison"]).await;
    let watch = rig.dead.receive(1, Duration::from_mins(5));
    let receives = async {
        for _ in 0..2 {
            assert_eq!(bodies(&rig.queue, Duration::from_secs(70)).await, ["poison"]);
        }
        assert!(bodies(&rig.queue, Duration::from_secs(70)).await.is_empty());
    };
    let (dead, ()) = tokio::join!(watch, receives);
    assert_eq!(dead.unwrap()[0].body, "poison");
    assert_eq!(rig.queue.depth().await.unwrap(), Depth::default());
    assert_eq!(rig.dead.depth().await.unwrap(), Depth { visible: 0, in_flight: 1 });
}

#[tokio::test(start_paused = true)]
async fn poison_in_front_does_not_keep_a_receive_from_filling_up() {
    let rig = rig().await;
    send(&rig.queue, &["poison"; 10]).await;
    for _ in 0..2 {
        assert_eq!(bodies(&rig.queue, Duration::ZERO).await.len(), 10);
        tokio::time::advance(Duration::from_secs(61)).await;
    }
    send(&rig.queue, &["good"; 10]).await;
    assert_eq!(bodies(&rig.queue, Duration::ZERO).await, ["good"; 10]);
    assert_eq!(rig.dead.depth().await.unwrap().visible, 10);
}

#[tokio::test(start_paused = true)]
async fn what_sqs_would_refuse_is_refused_alone() {
    let rig = rig().await;
    let mut sent = messages(&["good", &"x".repeat(MAX_BYTES), &"x".repeat(MAX_BYTES + 1), "attributes"]);
    sent[3].attributes = (0..11).map(|n| (format!("a{n}"), "v".to_owned())).collect();
    let results: Vec<Result<(), PortError>> = rig.queue.send(sent).await;
    assert!(results[0].is_ok() && results[1].is_ok());
    assert!(results[2].as_ref().is_err_and(|error| !error.retryable && error.why.contains("1048577 bytes")));
    assert!(results[3].as_ref().is_err_and(|error| !error.retryable && error.why.contains("11 attributes")));
    assert_eq!(rig.queue.depth().await.unwrap(), Depth { visible: 2, in_flight: 0 });
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_comes_too_late_changes_nothing() {
    let rig = rig().await;
    send(&rig.queue, &["x"]).await;
    let receipt = rig.queue.receive(1, Duration::ZERO).await.unwrap().remove(0).receipt;
    tokio::time::advance(Duration::from_mins(1)).await;
    rig.queue.extend(vec![receipt], Duration::from_mins(1)).await.remove(0).unwrap();
    assert_eq!(bodies(&rig.queue, Duration::ZERO).await, ["x"]);
}

#[tokio::test(start_paused = true)]
async fn depth_is_exact_through_every_kind_of_change() {
    let rig = rig().await;
    let depth = || async { rig.queue.depth().await.unwrap() };
    send(&rig.queue, &["a", "b", "c", "d"]).await;
    let held = rig.queue.receive(3, Duration::ZERO).await.unwrap();
    assert_eq!(depth().await, Depth { visible: 1, in_flight: 3 });
    rig.queue.delete(vec![held[0].receipt.clone(), held[0].receipt.clone()]).await;
    rig.queue.extend(vec![held[1].receipt.clone()], Duration::ZERO).await;
    assert_eq!(depth().await, Depth { visible: 2, in_flight: 1 });
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(depth().await, Depth { visible: 3, in_flight: 0 });
}

#[tokio::test]
async fn no_query_walks_the_whole_queue() {
    let rig = rig().await;
    let plans = rig.queue.database.read("plans", |connection| {
        let queries = [
            "SELECT seq, message_id, receives FROM messages WHERE queue = 'q' AND visible_at <= 5
             ORDER BY visible_at, seq LIMIT 10",
            "SELECT 1 FROM messages WHERE queue = 'q' AND visible_at <= 5",
            "SELECT count(*) FROM messages WHERE queue = 'q' AND visible_at > 5",
        ];
        let plan = |query: &&str| {
            let explain = format!("EXPLAIN QUERY PLAN {query}");
            connection.query_row(&explain, [], |row| row.get::<_, String>("detail")).unwrap()
        };
        Ok(queries.iter().map(plan).collect::<Vec<_>>())
    });
    for plan in plans.await.unwrap() {
        assert!(
            plan.starts_with("SEARCH") && plan.contains("messages_by_visibility (queue=? AND visible_at"),
            "{plan}"
        );
    }
}
