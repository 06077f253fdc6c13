use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::clock::Timestamp;

fn open() -> (tempfile::TempDir, LocalPayloads) {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::anchored(Timestamp::parse("2026-11-21T09:30:00Z").unwrap());
    let payloads = LocalPayloads::new(dir.path().to_owned(), clock);
    (dir, payloads)
}

fn foreign(bucket: &str, key: &str) -> ForeignObject {
    ForeignObject { bucket: bucket.to_owned(), key: key.to_owned() }
}

#[tokio::test]
async fn files_lie_where_people_find_them() {
    let (dir, payloads) = open();
    let id = RequestId::new("order:7").unwrap();
    let put = |kind| payloads.put(kind, &id, "c1", Bytes::from_static(b"{}"));
    let result = put(PutKind::Result).await.unwrap();
    let (directory, path) = payloads.location(&result);
    let parts: Vec<&str> = path.split('/').collect();
    assert_eq!([parts[0], parts[1], parts[3]], ["results", "2026-11-21", "order:7.c1.json"]);
    assert!(parts[2].len() == 2 && parts.len() == 4, "{path}");
    assert_eq!(fs::read(dir.path().join(&path)).unwrap(), b"{}");
    assert_eq!(directory, dir.path().display().to_string());
    let request = put(PutKind::Request).await.unwrap();
    assert!(request.0.starts_with("payloads/requests/2026-11-21/"), "{request:?}");
    let rejected = put(PutKind::Rejected).await.unwrap();
    assert!(rejected.0.starts_with("payloads/rejected/2026-11-21/"), "{rejected:?}");
    assert!(rejected.0.ends_with("/order:7.c1.txt"), "{rejected:?}");
}

#[tokio::test]
async fn uploads_lie_where_messages_may_point() {
    let (_dir, payloads) = open();
    let id = RequestId::new("order:7").unwrap();
    let upload = payloads.put(PutKind::Upload, &id, "c1", Bytes::from_static(b"{}")).await.unwrap();
    let (bucket, key) = payloads.location(&upload);
    assert_eq!(bucket, payloads.upload_bucket());
    assert!(key.starts_with("uploads/2026-11-21/"), "{key}");
    let fetched = payloads.fetch_foreign(&ForeignObject { bucket, key }, 2).await.unwrap();
    assert_eq!(fetched, Fetched::Bytes(Bytes::from_static(b"{}")));
    assert_eq!(payloads.get(&upload).await.unwrap().unwrap(), "{}");
}

#[tokio::test]
async fn the_oddest_ids_stay_inside() {
    let (_dir, payloads) = open();
    for id in [".", "..", "...", ":", "-rf", &"x".repeat(128)] {
        let id = RequestId::new(id).unwrap();
        let payload = payloads.put(PutKind::Request, &id, &"d".repeat(64), Bytes::from_static(b"x")).await.unwrap();
        assert!(foreign::is_plain(&payload.0), "{payload:?}");
        assert_eq!(payloads.get(&payload).await.unwrap().unwrap(), "x");
    }
}

#[tokio::test]
async fn discriminators_and_references_from_outside_are_refused() {
    let (dir, payloads) = open();
    let id = RequestId::new("a").unwrap();
    for bad in ["A", "a/b", "..", "a.b", &"x".repeat(65)] {
        let error = payloads.put(PutKind::Request, &id, bad, Bytes::new()).await.unwrap_err();
        assert!(!error.retryable, "{bad}");
    }
    fs::write(dir.path().join("smoother.db"), "x").unwrap();
    for bad in ["../x", "/etc/passwd", "results/../smoother.db", ""] {
        assert!(payloads.get(&PayloadRef(bad.to_owned())).await.is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_directory_that_may_not_be_written_is_a_permanent_error() {
    let (dir, payloads) = open();
    // A file where the directory belongs fails for every user, root included.
    fs::write(dir.path().join("results"), "in the way").unwrap();
    let id = RequestId::new("a").unwrap();
    let error = payloads.put(PutKind::Result, &id, "c", Bytes::new()).await.unwrap_err();
    assert!(error.what.contains("store a payload of a"), "{error}");
}

#[tokio::test]
async fn foreign_objects_are_read_from_their_bucket_only() {
    let (dir, payloads) = open();
    let buckets = dir.path().join("buckets");
    fs::create_dir_all(buckets.join("in/deep")).unwrap();
    fs::write(buckets.join("in/deep/a.json"), "12345").unwrap();
    fs::write(dir.path().join("secret"), "secret").unwrap();
    symlink(dir.path().join("secret"), buckets.join("in/link")).unwrap();
    symlink(dir.path(), buckets.join("in/up")).unwrap();
    symlink("deep/a.json", buckets.join("in/inside")).unwrap();
    symlink("circle", buckets.join("in/circle")).unwrap();

    let fetch = |bucket: &str, key: &str, limit| {
        let object = foreign(bucket, key);
        let payloads = &payloads;
        async move { payloads.fetch_foreign(&object, limit).await.unwrap() }
    };
    let bytes = Fetched::Bytes(Bytes::from_static(b"12345"));
    assert_eq!(fetch("in", "deep/a.json", 5).await, bytes);
    assert_eq!(fetch("in", "inside", 5).await, bytes);
    assert_eq!(fetch("in", "deep/a.json", 4).await, Fetched::TooLarge(5));
    for (bucket, key) in [("in", "none"), ("none", "a"), ("in", "deep"), ("in", "deep/a.json/b")] {
        assert_eq!(fetch(bucket, key, 5).await, Fetched::Missing, "{bucket} {key}");
    }
    for key in ["../../secret", "/etc/passwd", "deep/../../../secret", "link", "up/secret", "circle", "", ".", "a//b"] {
        assert!(matches!(fetch("in", key, 99).await, Fetched::Denied(_)), "{key}");
    }
    for bucket in ["..", ".", "", "in/deep", "/"] {
        assert!(matches!(fetch(bucket, "a.json", 99).await, Fetched::Denied(_)), "{bucket}");
    }
}
