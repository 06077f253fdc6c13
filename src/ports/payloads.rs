//! Request and result bodies: bytes in, the same bytes out.

use async_trait::async_trait;
use bytes::Bytes;

use super::PortResult;
use crate::request::{PayloadRef, RequestId};

/// What a payload is, which decides where it lies and how long it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PutKind {
    /// The model request body of an admitted request.
    Request,
    /// The model's answer.
    Result,
    /// A message that was refused, as it came.
    Rejected,
    /// A message too long for the queue, for a pointer to it to be sent instead.
    Upload,
}

impl PutKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Request, Self::Result, Self::Rejected, Self::Upload];

    /// The folder or key prefix: `requests`, `results`, `rejected`, `uploads`.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Request => "requests",
            Self::Result => "results",
            Self::Rejected => "rejected",
            Self::Upload => "uploads",
        }
    }
}

/// An object elsewhere that a producer pointed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignObject {
    /// Its bucket; locally the name of a directory.
    pub bucket: String,
    /// Its key.
    pub key: String,
}

/// Answer to [`Payloads::fetch_foreign`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The object's bytes.
    Bytes(Bytes),
    /// There is no such object, or no such bucket.
    Missing,
    /// It is longer than the limit: this many bytes.
    TooLarge(u64),
    /// It may not be read; says why.
    Denied(String),
}

/// The payload store. Objects are written once under a name of their own and never changed.
#[async_trait]
pub trait Payloads: Send + Sync {
    /// Stores `bytes` durably; returns only when they would survive a kill. `discriminator` (≤ 64 of `[a-z0-9-]`) keeps
    /// several payloads of one request apart: the content hash of a request body, the claim of a result.
    async fn put(&self, kind: PutKind, id: &RequestId, discriminator: &str, bytes: Bytes) -> PortResult<PayloadRef>;

    /// The bytes, or `None` when they are gone.
    async fn get(&self, payload: &PayloadRef) -> PortResult<Option<Bytes>>;

    /// Reads an object that a message points to, at most `limit` bytes. Whether the bucket is allowed is ingest's to decide before.
    async fn fetch_foreign(&self, object: &ForeignObject, limit: u64) -> PortResult<Fetched>;

    /// Where others find the payload: bucket and key; locally the directory and the path below it, but for uploads
    /// the local bucket that messages point to.
    fn location(&self, payload: &PayloadRef) -> (String, String);

    /// The bucket of [`PutKind::Upload`], where their keys begin with `uploads/`: messages may point there.
    fn upload_bucket(&self) -> &str;
}
