//! Where exports go: a directory or a bucket.

use async_trait::async_trait;
use bytes::Bytes;

use crate::ports::PortResult;

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name without its folder.
    pub name: String,
    /// Another one whenever its content has changed.
    pub tag: String,
}

/// A place for files. Paths are relative, `/` between their parts.
#[async_trait]
pub trait ExportTarget: Send + Sync {
    /// As its user wrote it: `./analytics`, `s3://bucket/exports`.
    fn name(&self) -> &str;

    /// A small file as a whole; `None` when there is none.
    async fn read(&self, path: &str) -> PortResult<Option<Bytes>>;

    /// The files directly in a folder; none when there is no such folder.
    async fn list(&self, folder: &str) -> PortResult<Vec<Found>>;

    /// Begins a file. Nobody sees it before it is finished, and one that is there stays as it is until then.
    async fn begin(&self, path: &str) -> PortResult<Box<dyn Draft>>;
}

/// A file that is being written. One that is neither finished nor thrown away is never seen, and is cleared away in a day.
#[async_trait]
pub trait Draft: Send {
    /// Appends.
    async fn write(&mut self, bytes: Bytes) -> PortResult<()>;

    /// Puts the file in place, whole, instead of one that is there; answers with its tag. It is durable then.
    async fn finish(self: Box<Self>) -> PortResult<String>;

    /// Throws it away.
    async fn discard(self: Box<Self>);
}

/// Writes a small file as a whole.
///
/// # Errors
/// As the target's.
pub async fn write(target: &dyn ExportTarget, path: &str, bytes: Vec<u8>) -> PortResult<String> {
    let mut draft = target.begin(path).await?;
    draft.write(Bytes::from(bytes)).await?;
    draft.finish().await
}
