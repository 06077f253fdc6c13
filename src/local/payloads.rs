//! Payloads as files: `results/` for people to look into, `payloads/` for the rest, `buckets/` for what producers
//! point to. A file appears under its name only when it is whole and on disk.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::files::Files;
use super::foreign;
use crate::clock::Clock;
use crate::ports::payloads::{Fetched, ForeignObject};
use crate::ports::{Payloads, PortError, PortResult, PutKind};
use crate::request::{PayloadRef, RequestId};

/// The local bucket of uploads; the directory is made with the first of them.
const UPLOADS: &str = "smoother";

/// Files read or written at the same time. More would only make threads wait for the same disk.
const CONCURRENCY: usize = 16;

/// The payload directories.
pub(super) struct LocalPayloads {
    /// Absolute; payload references are paths below it.
    root: PathBuf,
    files: Arc<Files>,
    clock: Clock,
    permits: Arc<Semaphore>,
}

impl LocalPayloads {
    pub(super) fn new(root: PathBuf, clock: Clock) -> Self {
        let files = Arc::new(Files::new(&root));
        Self { root, files, clock, permits: Arc::new(Semaphore::new(CONCURRENCY)) }
    }

    /// Runs blocking file work, a bounded number at a time.
    async fn blocking<T: Send + 'static>(
        &self,
        what: impl Fn() -> String,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> PortResult<T> {
        let permit =
            Arc::clone(&self.permits).acquire_owned().await.map_err(|error| PortError::transient(what(), error))?;
        let worked = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        let result = worked.await.map_err(|error| PortError::transient(what(), error))?;
        result.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => PortError::permanent(what(), error),
            _ => PortError::transient(what(), error),
        })
    }
}

#[async_trait]
impl Payloads for LocalPayloads {
    async fn put(&self, kind: PutKind, id: &RequestId, discriminator: &str, bytes: Bytes) -> PortResult<PayloadRef> {
        let what = || format!("store a payload of {id} under {}", self.root.display());
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if discriminator.len() > 64 || !discriminator.bytes().all(fits) {
            return Err(PortError::permanent(what(), "the discriminator is not up to 64 characters of a-z 0-9 -"));
        }
        let payload = PayloadRef(relative_path(kind, &self.clock.now().day(), id, discriminator));
        let (files, path) = (Arc::clone(&self.files), self.root.join(&payload.0));
        self.blocking(what, move || files.write(&path, &bytes)).await?;
        Ok(payload)
    }

    async fn get(&self, payload: &PayloadRef) -> PortResult<Option<Bytes>> {
        let what = || format!("read {} under {}", payload.0, self.root.display());
        if !foreign::is_plain(&payload.0) {
            return Err(PortError::permanent(what(), "this is no payload reference of this directory"));
        }
        let path = self.root.join(&payload.0);
        self.blocking(what, move || match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(Bytes::from(bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn fetch_foreign(&self, object: &ForeignObject, limit: u64) -> PortResult<Fetched> {
        let what = || format!("read an object from {}", self.root.join(foreign::BUCKETS).display());
        let (buckets, object) = (self.root.join(foreign::BUCKETS), object.clone());
        self.blocking(what, move || foreign::fetch(&buckets, &object, limit)).await
    }

    fn location(&self, payload: &PayloadRef) -> (String, String) {
        let upload = payload.0.strip_prefix(foreign::BUCKETS).and_then(|path| path.strip_prefix('/')?.split_once('/'));
        match upload {
            Some((bucket, key)) => (bucket.to_owned(), key.to_owned()),
            None => (self.root.display().to_string(), payload.0.clone()),
        }
    }

    fn upload_bucket(&self) -> &str {
        UPLOADS
    }
}

/// `results/2026-11-21/c4/<id>.<discriminator>.json`. The two hex digits spread a day's files over 256 directories.
/// No component can be `.` or `..`: an id never stands alone in one.
fn relative_path(kind: PutKind, day: &str, id: &RequestId, discriminator: &str) -> String {
    let prefix = match kind {
        PutKind::Result => kind.prefix().to_owned(),
        PutKind::Request | PutKind::Rejected => format!("payloads/{}", kind.prefix()),
        PutKind::Upload => format!("{}/{UPLOADS}/{}", foreign::BUCKETS, kind.prefix()),
    };
    let spread = Sha256::digest(id.as_str()).first().copied().unwrap_or_default();
    // What was rejected need not be JSON.
    let extension = if kind == PutKind::Rejected { "txt" } else { "json" };
    format!("{prefix}/{day}/{spread:02x}/{id}.{discriminator}.{extension}")
}

#[cfg(test)]
#[path = "payloads_tests.rs"]
mod tests;
