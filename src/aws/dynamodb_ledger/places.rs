//! Where a row stands in the index: list and shard make the partition key, sort and id the sort key.

use sha2::{Digest, Sha256};

use crate::ports::ledger::{Work, WorkList};
use crate::ports::{PortError, PortResult};
use crate::request::{Flow, RequestId, Status};

/// Longest flow that is spelled out in an index key. DynamoDB's keys end at 2,048 bytes; an ARN may fill that alone.
const MAX_FLOW: usize = 512;
/// Longest `sort`, as the port promises.
const MAX_SORT: usize = 64;
/// Between sort and id in a sort key: before every printable character, so that keys compare as their sorts do, also when one
/// is the beginning of another.
const SEPARATOR: char = '\t';
/// What follows the separator.
const AFTER_SEPARATOR: char = '\n';

/// A row's keys in the index.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// `<list>#<shard>`.
    pub list: String,
    /// `<sort>` tab `<request id>`.
    pub sort: String,
}

/// How work lists are cut into shards, so that no partition of the index gets hot.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    shards: u32,
}

impl Places {
    /// At least one shard.
    pub fn new(shards: u32) -> Self {
        Self { shards: shards.max(1) }
    }

    /// The keys of a row with `status` in `work`.
    ///
    /// # Errors
    /// Permanent, when the place cannot be: a final row has none, all others have one; `sort` is at most 64 printable ASCII
    /// characters.
    pub fn of(self, what: &str, id: &RequestId, status: Status, work: Option<&Work>) -> PortResult<Option<Place>> {
        let Some(work) = work else {
            return if status.is_terminal() {
                Ok(None)
            } else {
                Err(PortError::permanent(what, format!("a {status} row must stand in a work list")))
            };
        };
        if status.is_terminal() {
            return Err(PortError::permanent(what, format!("a {status} row must not stand in a work list")));
        }
        let fits = work.sort.len() <= MAX_SORT && work.sort.bytes().all(|b| (b' '..=b'~').contains(&b));
        if !fits {
            let why = format!("sort key {:?}: expected at most {MAX_SORT} printable ASCII characters", work.sort);
            return Err(PortError::permanent(what, why));
        }
        Ok(Some(Place { list: key(&work.list, self.shard(id)), sort: sort_key(&work.sort, id) }))
    }

    /// The partition keys of all shards of a list.
    pub fn keys(self, list: &WorkList) -> Vec<String> {
        (0..self.shards).map(|shard| key(list, shard)).collect()
    }

    fn shard(self, id: &RequestId) -> u32 {
        let hash = Sha256::digest(id.as_str().as_bytes());
        let first = hash.iter().take(4).fold(0u32, |n, byte| (n << 8) | u32::from(*byte));
        first % self.shards
    }
}

fn key(list: &WorkList, shard: u32) -> String {
    format!("{}{shard}", key_prefix(list))
}

/// What the partition keys of all shards of a list begin with, however many shards there are.
pub fn key_prefix(list: &WorkList) -> String {
    match list {
        WorkList::Ready(flow) => format!("ready#{}#", flow_key(flow)),
        WorkList::Deferred => "deferred#".to_owned(),
        WorkList::Held => "held#".to_owned(),
        WorkList::Decided => "decided#".to_owned(),
    }
}

/// A flow's name in keys. Neither lanes nor tenants contain spaces.
pub fn flow_key(flow: &Flow) -> String {
    let class = if flow.urgent { "urgent" } else { "usual" };
    let name = format!("{} {} {class} {}", flow.lane, flow.tenant, flow.use_case.as_deref().unwrap_or_default());
    if name.len() <= MAX_FLOW {
        return name;
    }
    let hash = Sha256::digest(name.as_bytes());
    hash.iter().fold("sha256:".to_owned(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// The sort key of a row that stands at `sort`.
pub fn sort_key(sort: &str, id: &RequestId) -> String {
    format!("{sort}{SEPARATOR}{id}")
}

/// The `sort` in a sort key.
pub fn sort_of(sort_key: &str) -> Option<&str> {
    sort_key.split_once(SEPARATOR).map(|(sort, _)| sort)
}

/// What lies right behind the sort key of this row: nothing lies between.
pub fn lower_bound(sort: &str, id: &RequestId) -> String {
    format!("{}\0", sort_key(sort, id))
}

/// What lies after all sort keys of `sort` and before those of all greater sorts.
pub fn upper_bound(sort: &str) -> String {
    format!("{sort}{AFTER_SEPARATOR}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Lane, ModelId, Tenant};
    use proptest::prelude::*;

    fn id(text: &str) -> RequestId {
        RequestId::new(text).unwrap()
    }

    proptest! {
        #[test]
        fn sort_keys_compare_as_their_sorts(a in "[ -~]{0,6}", b in "[ -~]{0,6}", x in "[A-Za-z0-9._:-]{1,5}", y in "[A-Za-z0-9._:-]{1,5}") {
            let (ka, kb) = (sort_key(&a, &id(&x)), sort_key(&b, &id(&y)));
            prop_assert_eq!(ka.cmp(&kb), a.cmp(&b).then(x.cmp(&y)));
            prop_assert_eq!(sort_of(&ka), Some(a.as_str()));
            prop_assert_eq!(ka <= upper_bound(&b), a <= b);
            prop_assert_eq!(kb >= lower_bound(&a, &id(&x)), kb > ka);
        }

        #[test]
        fn a_row_stands_in_one_of_the_keys_of_its_list(name in "[a-z0-9]{1,12}", shards in 1u32..9) {
            let places = Places::new(shards);
            let work = Work { list: WorkList::Held, sort: "1".to_owned() };
            let place = places.of("t", &id(&name), Status::Queued, Some(&work)).unwrap().unwrap();
            prop_assert!(places.keys(&WorkList::Held).contains(&place.list));
            prop_assert!(place.list.starts_with(&key_prefix(&WorkList::Held)));
        }
    }

    #[test]
    fn rows_spread_over_the_shards() {
        let places = Places::new(4);
        let mut hits = [0u32; 4];
        for n in 0..4000 {
            hits[places.shard(&id(&format!("r-{n}"))) as usize] += 1;
        }
        assert!(hits.iter().all(|h| (850..1150).contains(h)), "{hits:?}");
    }

    #[test]
    fn long_lanes_fit_a_key_and_stay_apart() {
        let long = |end: &str| {
            let model = ModelId::new("m".repeat(2000) + end).unwrap();
            let lane = Lane::new("default", "us-east-1", &model);
            key(&WorkList::Ready(Flow { lane, tenant: Tenant::default(), urgent: false, use_case: None }), 0)
        };
        assert!(long("a").len() < 1024);
        assert_ne!(long("a"), long("b"));
    }

    #[test]
    fn a_place_and_a_final_status_exclude_each_other() {
        let places = Places::new(4);
        let work = Work { list: WorkList::Deferred, sort: "1".to_owned() };
        assert_eq!(places.of("t", &id("a"), Status::Failed, None).unwrap(), None);
        assert!(places.of("t", &id("a"), Status::Failed, Some(&work)).is_err());
        assert!(places.of("t", &id("a"), Status::Running, None).is_err());
        for bad in ["a\tb", "é", &"x".repeat(65)] {
            let work = Work { list: WorkList::Deferred, sort: bad.to_owned() };
            assert!(places.of("t", &id("a"), Status::Received, Some(&work)).is_err(), "{bad:?}");
        }
    }
}
