//! `ports::payloads`.

use std::collections::HashSet;

use bytes::Bytes;
use smoother::ports::payloads::{Fetched, ForeignObject};
use smoother::ports::{Payloads, PutKind};
use smoother::request::{PayloadRef, RequestId};

use crate::Fixture;
use crate::support::{id, unique};

const KINDS: [PutKind; 4] = [PutKind::Request, PutKind::Result, PutKind::Rejected, PutKind::Upload];

async fn round_trip(payloads: &dyn Payloads, kind: PutKind, id: &RequestId, bytes: Bytes) {
    let payload = payloads.put(kind, id, "d0", bytes.clone()).await.unwrap();
    // Not assert_eq: nobody wants to read ten megabytes.
    assert!(payloads.get(&payload).await.unwrap() == Some(bytes), "{kind:?} of {id} came back changed");
}

pub async fn bytes_come_back_as_they_went(fixture: &Fixture) {
    let payloads = &*fixture.ports.payloads;
    let every_byte: Vec<u8> = (0..=255).collect();
    let json = format!("{{\"text\":\"{}\"}}\r\n", "Ünïcödé 漢字 🦀 ".repeat(15_000));
    assert!(json.len() > 300_000);
    for kind in KINDS {
        for bytes in [Bytes::new(), Bytes::from(every_byte.clone()), Bytes::from(json.clone())] {
            round_trip(payloads, kind, &id("payload"), bytes).await;
        }
    }
}

pub async fn ten_megabytes_come_back_as_they_went(fixture: &Fixture) {
    let bytes: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(10 * 1024 * 1024).collect();
    round_trip(&*fixture.ports.payloads, PutKind::Result, &id("large"), Bytes::from(bytes)).await;
}

pub async fn payloads_are_kept_apart(fixture: &Fixture) {
    let payloads = &*fixture.ports.payloads;
    let ids = [id("a"), id("b")];
    let mut stored = Vec::new();
    for id in &ids {
        for kind in KINDS {
            for discriminator in ["c1", "c2", &"f".repeat(64)] {
                let bytes = Bytes::from(format!("{id} {kind:?} {discriminator}"));
                stored.push((payloads.put(kind, id, discriminator, bytes.clone()).await.unwrap(), bytes));
            }
        }
    }
    assert_eq!(stored.iter().map(|(payload, _)| payload).collect::<HashSet<_>>().len(), 24);
    for (payload, bytes) in stored {
        assert_eq!(payloads.get(&payload).await.unwrap(), Some(bytes));
    }
}

pub async fn storing_again_is_harmless(fixture: &Fixture) {
    let (payloads, id) = (&*fixture.ports.payloads, id("again"));
    let put = || payloads.put(PutKind::Request, &id, "hash", Bytes::from_static(b"same"));
    let (first, second) = (put().await.unwrap(), put().await.unwrap());
    for payload in [first, second] {
        assert_eq!(payloads.get(&payload).await.unwrap().unwrap(), "same");
    }
}

pub async fn what_is_gone_is_none(fixture: &Fixture) {
    let payloads = &*fixture.ports.payloads;
    let there = payloads.put(PutKind::Result, &id("x"), "here", Bytes::from_static(b"x")).await.unwrap();
    assert!(there.0.contains("here"), "{there:?}");
    let gone = PayloadRef(there.0.replace("here", "gone"));
    assert_eq!(payloads.get(&gone).await.unwrap(), None);
}

pub async fn odd_ids_are_safe(fixture: &Fixture) {
    let payloads = &*fixture.ports.payloads;
    let mut ids: Vec<_> = [".", "..", "...", ":", "-", "a:b", "_"].map(|id| RequestId::new(id).unwrap()).into();
    ids.push(RequestId::new("x".repeat(128)).unwrap());
    for id in ids {
        for kind in KINDS {
            round_trip(payloads, kind, &id, Bytes::from(format!("{id} {}", unique("")))).await;
        }
    }
}

pub async fn many_are_stored_at_once(fixture: &Fixture) {
    let payloads = &*fixture.ports.payloads;
    let stored = (0..64).map(|n| async move {
        let bytes = Bytes::from(n.to_string().repeat(1_000));
        round_trip(payloads, PutKind::Result, &id("many"), bytes).await;
    });
    futures_util::future::join_all(stored).await;
}

pub async fn a_location_names_the_object(fixture: &Fixture) {
    let (payloads, id) = (&*fixture.ports.payloads, id("located"));
    for kind in KINDS {
        let payload = payloads.put(kind, &id, "d0", Bytes::from_static(b"x")).await.unwrap();
        let (bucket, key) = payloads.location(&payload);
        assert!(!bucket.is_empty());
        assert!(key.contains(kind.prefix()) && key.contains(id.as_str()), "{key}");
    }
}

pub async fn foreign_objects_are_read(fixture: &Fixture) {
    let payloads = &*fixture.ports.payloads;
    for key in [unique("plain"), format!("{}/deep er/ü 漢+%20.json", unique("folder"))] {
        let bytes = Bytes::from((0..=255).collect::<Vec<u8>>());
        let bucket = (fixture.plant)(key.clone(), bytes.clone()).await;
        let fetched = payloads.fetch_foreign(&ForeignObject { bucket, key }, 256).await.unwrap();
        assert_eq!(fetched, Fetched::Bytes(bytes));
    }
}

pub async fn foreign_objects_beyond_the_limit_are_not_read(fixture: &Fixture) {
    let key = unique("large");
    let bucket = (fixture.plant)(key.clone(), Bytes::from(vec![b'x'; 1_001])).await;
    let object = ForeignObject { bucket, key };
    let fetched = fixture.ports.payloads.fetch_foreign(&object, 1_000).await.unwrap();
    assert_eq!(fetched, Fetched::TooLarge(1_001));
}

pub async fn missing_foreign_objects_are_told_from_faults(fixture: &Fixture) {
    let key = unique("there");
    let bucket = (fixture.plant)(key.clone(), Bytes::from_static(b"x")).await;
    for object in [ForeignObject { bucket, key: unique("none") }, ForeignObject { bucket: unique("none"), key }] {
        let fetched = fixture.ports.payloads.fetch_foreign(&object, 1_000).await.unwrap();
        assert_eq!(fetched, Fetched::Missing, "{object:?}");
    }
}
