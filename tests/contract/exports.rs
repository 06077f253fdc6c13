//! `export::target`.

use bytes::Bytes;
use smoother::export::target::{Found, write};

use crate::Fixture;

const MIB: usize = 1 << 20;

fn noise(length: usize) -> Vec<u8> {
    std::iter::repeat_with(|| fastrand::u8(..)).take(length).collect()
}

pub async fn a_file_appears_when_it_is_finished(fixture: &Fixture) {
    let target = &*fixture.exports;
    assert_eq!(target.read("day=2026-11-21/part-09.csv").await.unwrap(), None);
    assert_eq!(target.list("day=2026-11-21").await.unwrap(), []);
    let mut draft = target.begin("day=2026-11-21/part-09.csv").await.unwrap();
    draft.write(Bytes::from_static(b"one,")).await.unwrap();
    draft.write(Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(target.list("day=2026-11-21").await.unwrap(), []);
    let tag = draft.finish().await.unwrap();
    assert_eq!(target.list("day=2026-11-21").await.unwrap(), [Found { name: "part-09.csv".to_owned(), tag }]);
    assert_eq!(target.read("day=2026-11-21/part-09.csv").await.unwrap().as_deref(), Some(&b"one,two"[..]));
}

pub async fn a_file_replaces_another_and_its_tag_changes(fixture: &Fixture) {
    let target = &*fixture.exports;
    let mut tags = Vec::new();
    for text in ["first", "second", ""] {
        tags.push(write(target, "_smoother/export.json", text.into()).await.unwrap());
        assert_eq!(target.read("_smoother/export.json").await.unwrap(), Some(Bytes::from(text)));
    }
    let listed: Vec<Found> = target.list("_smoother").await.unwrap();
    assert_eq!(listed, [Found { name: "export.json".to_owned(), tag: tags[2].clone() }]);
    assert!(tags[0] != tags[1] && tags[1] != tags[2], "{tags:?}");
}

pub async fn large_files_come_back_as_they_went(fixture: &Fixture) {
    let bytes = noise(35 * MIB + 7);
    let mut draft = fixture.exports.begin("day=2026-11-21/part-00.parquet").await.unwrap();
    for piece in bytes.chunks(3 * MIB) {
        draft.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    let tag = draft.finish().await.unwrap();
    let found = fixture.exports.read("day=2026-11-21/part-00.parquet").await.unwrap();
    // Not assert_eq: nobody wants to read so much.
    assert!(found.as_deref() == Some(&bytes[..]), "it came back changed");
    assert_eq!(fixture.exports.list("day=2026-11-21").await.unwrap()[0].tag, tag);
}

pub async fn what_is_thrown_away_was_never_there(fixture: &Fixture) {
    let target = &*fixture.exports;
    write(target, "day=2026-11-21/part-01.csv", b"kept".to_vec()).await.unwrap();
    for length in [10, 20 * MIB] {
        let mut draft = target.begin("day=2026-11-21/part-01.csv").await.unwrap();
        draft.write(Bytes::from(noise(length))).await.unwrap();
        draft.discard().await;
    }
    assert_eq!(target.read("day=2026-11-21/part-01.csv").await.unwrap().as_deref(), Some(&b"kept"[..]));
    assert_eq!(target.list("day=2026-11-21").await.unwrap().len(), 1);
}

pub async fn a_folder_lists_its_own_files_only(fixture: &Fixture) {
    let target = &*fixture.exports;
    for path in ["day=2026-11-20/a", "day=2026-11-21/b", "day=2026-11-21/deeper/c", "day=2026-11-211/d", "e"] {
        write(target, path, b"x".to_vec()).await.unwrap();
    }
    let names: Vec<String> = target.list("day=2026-11-21").await.unwrap().into_iter().map(|found| found.name).collect();
    assert_eq!(names, ["b"]);
}

pub async fn writers_of_one_file_do_not_mix(fixture: &Fixture) {
    let target = &*fixture.exports;
    let path = "day=2026-11-21/part-02.csv";
    let [mut one, mut two] = [target.begin(path).await.unwrap(), target.begin(path).await.unwrap()];
    for _ in 0..3 {
        one.write(Bytes::from_static(b"1")).await.unwrap();
        two.write(Bytes::from_static(b"2")).await.unwrap();
    }
    let first = one.finish().await.unwrap();
    let last = two.finish().await.unwrap();
    assert_ne!(first, last);
    assert_eq!(target.read(path).await.unwrap().as_deref(), Some(&b"222"[..]));
    assert_eq!(target.list("day=2026-11-21").await.unwrap()[0].tag, last);
}
