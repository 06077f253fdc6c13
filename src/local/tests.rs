use bytes::Bytes;

use super::*;
use crate::ports::{Outgoing, PutKind};
use crate::request::RequestId;

async fn open_default(dir: &Path) -> Local {
    open(dir, Settings::default(), Clock::system()).await.unwrap()
}

fn message(body: &str) -> Vec<Outgoing> {
    vec![Outgoing { body: body.to_owned(), ..Outgoing::default() }]
}

#[tokio::test]
async fn the_directory_is_made_with_all_that_belongs_in_it() {
    let parent = tempfile::tempdir().unwrap();
    let local = open_default(&parent.path().join("new/dir")).await;
    assert!(local.dir.is_absolute());
    for name in ["smoother.db", "results", "payloads", "buckets"] {
        assert!(local.dir.join(name).exists(), "{name}");
    }
    let Ports { input, hold, dead, results, .. } = &local.ports;
    assert_eq!([input.name(), hold.name(), dead.name(), results.name()], [INPUT, HOLD, HOLD_DEAD, RESULTS]);
}

#[tokio::test]
async fn reopening_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let id = RequestId::new("a").unwrap();
    let payload = {
        let local = open_default(dir.path()).await;
        local.ports.input.send(message("kept")).await.remove(0).unwrap();
        assert!(local.ports.registers.write("lease", 0, "{}".to_owned()).await.unwrap());
        local.ports.payloads.put(PutKind::Request, &id, "d", Bytes::from_static(b"body")).await.unwrap()
    };
    let local = open_default(dir.path()).await;
    let received = local.ports.input.receive(10, Duration::ZERO).await.unwrap();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].body, "kept");
    assert_eq!(local.ports.registers.read("lease").await.unwrap().unwrap().version, 1);
    assert_eq!(local.ports.payloads.get(&payload).await.unwrap().unwrap(), "body");
}

#[tokio::test]
async fn two_processes_share_a_queue_without_sharing_a_message() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = tokio::join!(open_default(dir.path()), open_default(dir.path()));
    let messages = |n: usize| (0..n).flat_map(|n| message(&n.to_string())).collect::<Vec<_>>();
    for result in one.ports.input.send(messages(100)).await {
        result.unwrap();
    }
    let drain = async |local: &Local| {
        let mut bodies = Vec::new();
        loop {
            let received = local.ports.input.receive(7, Duration::ZERO).await.unwrap();
            if received.is_empty() {
                return bodies;
            }
            let receipts = received.iter().map(|delivery| delivery.receipt.clone()).collect();
            local.ports.input.delete(receipts).await;
            bodies.extend(received.into_iter().map(|delivery| delivery.body));
        }
    };
    let (mut all, others) = tokio::join!(drain(&one), drain(&two));
    all.extend(others);
    all.sort_by_key(|body| body.parse::<usize>().unwrap());
    assert_eq!(all, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_may_open_a_new_directory_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let path = dir.path().join("new");
        opening.spawn(async move { open(&path, Settings::default(), Clock::system()).await.map(drop) });
    }
    for result in opening.join_all().await {
        result.unwrap();
    }
}

#[tokio::test]
async fn a_directory_of_a_newer_smoother_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_default(dir.path()).await);
    let file = rusqlite::Connection::open(dir.path().join("smoother.db")).unwrap();
    file.pragma_update(None, "user_version", 7).unwrap();
    let error = open(dir.path(), Settings::default(), Clock::system()).await.map(drop).unwrap_err();
    assert!(!error.retryable);
    let known = format!("schema version 7, this smoother knows versions up to {}", schema::VERSION);
    assert!(error.to_string().contains(&known), "{error}");
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let error = open(&file.join("below"), Settings::default(), Clock::system()).await.map(drop).unwrap_err();
    assert!(!error.retryable && error.to_string().contains("file/below"), "{error}");
}
