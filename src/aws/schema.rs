//! Names of tables, keys, indexes and of what `init` creates, in one place: `smoother init` builds from it, `smoother schema`
//! prints it, and Terraform and CDK are checked against that.

use serde::Serialize;

use crate::ports::reports::Kind;

/// Keys, index and reserved ids of the requests table.
pub mod requests {
    /// Partition key, a string: the request id, or a reserved id below (request ids cannot contain `#`).
    pub const KEY: &str = "request_id";
    /// The index of the work lists and of the registers' names.
    pub const INDEX: &str = "work-index";
    /// The index's partition key, a string: `<list>#<shard>`, or [`REGISTERS_LIST`]. Absent from final rows.
    pub const INDEX_KEY: &str = "work_list";
    /// The index's sort key, a string: `<sort>` tab `<request id>`, or a register's name.
    pub const INDEX_SORT: &str = "work_sort";
    /// What the index carries besides the keys (projection INCLUDE). These change only when the row changes its place,
    /// which writes to the index anyway.
    pub const INDEX_INCLUDES: [&str; 8] =
        ["lane", "tenant", "use_case", "priority", "rank", "estimate_input", "estimate_output", "deadline"];
    /// Time to live, epoch seconds; set on final rows only.
    pub const TTL: &str = "expires_at";
    /// Prefix of the reserved ids of the items that remember every flow.
    pub const FLOW_PREFIX: &str = "flow#";
    /// Where those stand in the index, by when a row last entered them.
    pub const FLOWS_LIST: &str = "flows";
    /// Prefix of the reserved ids of registers.
    pub const REGISTER_PREFIX: &str = "register#";
    /// Where registers stand in the index.
    pub const REGISTERS_LIST: &str = "registers";
}

/// Keys of the reporting table. Its other attributes are the columns of [`crate::ports::ReportRow`].
pub mod reporting {
    /// Partition key, a string: the UTC day `2026-11-21`.
    pub const KEY: &str = "day";
    /// Sort key, a string: `<finished_at>#<request_id>`.
    pub const SORT: &str = "finished_key";
    /// Time to live, epoch seconds.
    pub const TTL: &str = "expires_at";
}

/// CloudWatch namespace of all metrics, unless the setting `metrics_namespace` names another.
pub const METRICS_NAMESPACE: &str = "Smoother";

/// Where bodies lie in the bucket; they are deleted when the rows that name them are. The same as [`PutKind::prefix`] says.
///
/// [`PutKind::prefix`]: crate::ports::PutKind::prefix
pub const BODIES: [&str; 4] = ["requests/", "results/", "rejected/", "uploads/"];

/// Where exports of a deployment lie in the bucket.
pub const EXPORTS: &str = "exports/";

/// What a column of the reporting table is to Glue and Athena.
#[must_use]
pub fn glue_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "string",
        Kind::Time => "timestamp",
        Kind::Whole => "bigint",
        Kind::Real => "double",
        Kind::Flag => "boolean",
        Kind::Pairs => "map<string,string>",
    }
}

/// Receives after which the hold queue gives a message up.
const HOLD_MAX_RECEIVES: u32 = 3;
/// Receives after which the input queue gives a message up.
const INPUT_MAX_RECEIVES: u32 = 5;
/// Visibility timeout of all queues, seconds.
const VISIBILITY_SECONDS: u32 = 60;
/// Retention of all queues, seconds: 14 days, SQS's most.
const RETENTION_SECONDS: u32 = 1_209_600;

/// The role of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum KeyKind {
    /// Partition key.
    Hash,
    /// Sort key.
    Range,
}

/// The type of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum KeyType {
    /// A string.
    S,
}

/// A key of a table or an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Key {
    /// The attribute.
    pub name: &'static str,
    /// Its role.
    pub kind: KeyKind,
    /// Its type.
    #[serde(rename = "type")]
    pub key_type: KeyType,
}

const fn key(name: &'static str, kind: KeyKind) -> Key {
    Key { name, kind, key_type: KeyType::S }
}

/// A global secondary index; it carries its keys, the table's keys and what is named (projection INCLUDE).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Index {
    /// Its name.
    pub name: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// What it carries besides keys.
    pub includes: &'static [&'static str],
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its keys.
    pub keys: &'static [Key],
    /// The attribute with its rows' time to live, epoch seconds.
    pub ttl: &'static str,
    /// Its indexes.
    pub indexes: &'static [Index],
}

/// Both tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tables {
    /// Rows, work lists, registers.
    pub requests: Table,
    /// Finished requests for analysts.
    pub reporting: Table,
}

impl Tables {
    /// With these names.
    #[must_use]
    pub fn new(names: &Names) -> Self {
        const REQUESTS: &[Key] = &[key(requests::KEY, KeyKind::Hash)];
        const WORK: &[Index] = &[Index {
            name: requests::INDEX,
            keys: &[key(requests::INDEX_KEY, KeyKind::Hash), key(requests::INDEX_SORT, KeyKind::Range)],
            includes: &requests::INDEX_INCLUDES,
        }];
        const REPORTING: &[Key] = &[key(reporting::KEY, KeyKind::Hash), key(reporting::SORT, KeyKind::Range)];
        let requests = Table { name: names.requests_table.clone(), keys: REQUESTS, ttl: requests::TTL, indexes: WORK };
        let reporting =
            Table { name: names.reporting_table.clone(), keys: REPORTING, ttl: reporting::TTL, indexes: &[] };
        Self { requests, reporting }
    }
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Its visibility timeout.
    pub visibility_seconds: u32,
    /// How long it keeps messages.
    pub retention_seconds: u32,
    /// Where it puts what was received too often, as a field of [`Queues`].
    pub dead_letters: Option<&'static str>,
    /// How often that is.
    pub max_receives: Option<u32>,
}

/// All queues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Queues {
    /// What producers send to.
    pub input: Queue,
    /// Where undecodable deliveries of the input queue end.
    pub input_dlq: Queue,
    /// What consumers receive from.
    pub results: Queue,
    /// What is called next.
    pub hold: Queue,
    /// Where poison hold messages end.
    pub hold_dlq: Queue,
}

impl Queues {
    /// With these names.
    #[must_use]
    pub fn new(names: &Names) -> Self {
        let queue = |name: &str, redrive: Option<(&'static str, u32)>| Queue {
            name: name.to_owned(),
            visibility_seconds: VISIBILITY_SECONDS,
            retention_seconds: RETENTION_SECONDS,
            dead_letters: redrive.map(|(target, _)| target),
            max_receives: redrive.map(|(_, receives)| receives),
        };
        Self {
            input: queue(&names.input_queue, Some(("input_dlq", INPUT_MAX_RECEIVES))),
            input_dlq: queue(&names.input_dlq, None),
            results: queue(&names.results_queue, None),
            hold: queue(&names.hold_queue, Some(("hold_dlq", HOLD_MAX_RECEIVES))),
            hold_dlq: queue(&names.hold_dlq, None),
        }
    }
}

/// The names of everything under one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// What producers send to.
    pub input_queue: String,
    /// Where undecodable deliveries of the input queue end.
    pub input_dlq: String,
    /// What consumers receive from.
    pub results_queue: String,
    /// What is called next.
    pub hold_queue: String,
    /// Where poison hold messages end.
    pub hold_dlq: String,
    /// Rows, work lists, registers.
    pub requests_table: String,
    /// Finished requests for analysts.
    pub reporting_table: String,
    /// On-call's topic.
    pub topic: String,
    bucket_stem: String,
}

impl Names {
    /// The default prefix.
    pub const PREFIX: &str = "smoother";

    /// The names under `prefix`.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self {
            input_queue: format!("{prefix}-input"),
            input_dlq: format!("{prefix}-input-dlq"),
            results_queue: format!("{prefix}-bedrock-results"),
            hold_queue: format!("{prefix}-hold-next-batch"),
            hold_dlq: format!("{prefix}-hold-next-batch-dlq"),
            requests_table: format!("{prefix}-requests"),
            reporting_table: format!("{prefix}-reporting"),
            topic: format!("{prefix}-alarms"),
            bucket_stem: format!("{prefix}-bedrock-calls"),
        }
    }

    /// The payload bucket; bucket names are shared by the whole world, hence the account's number.
    #[must_use]
    pub fn bucket(&self, account_id: &str) -> String {
        format!("{}-{account_id}", self.bucket_stem)
    }
}
