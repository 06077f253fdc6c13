//! Exports into a directory: a temporary file, fsync, rename, fsync of the directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::clock::Timestamp;
use crate::export::target::{Draft, ExportTarget, Found};
use crate::ports::{PortError, PortResult};

/// Where files are written before they get their names; on the same file system, and passed over by readers of folders.
const TEMPORARY: &str = "_smoother/tmp";
/// A temporary file this old belongs to an export that was killed.
const LEFT_OVER: Duration = Duration::from_hours(24);

/// A directory for exports.
pub struct ExportDir {
    name: String,
    root: PathBuf,
}

impl ExportDir {
    /// The directory `dir`, created as needed. Removes what exports left half written that were killed a day before `now`.
    ///
    /// # Errors
    /// When it cannot be created or written.
    pub async fn open(dir: PathBuf, now: Timestamp) -> PortResult<Self> {
        let name = dir.display().to_string();
        let root = dir.clone();
        blocking(format!("export to {name}"), move || {
            let temporary = root.join(TEMPORARY);
            fs::create_dir_all(&temporary)?;
            tidy(&temporary, now)
        })
        .await?;
        Ok(Self { name, root: dir })
    }
}

fn tidy(temporary: &Path, now: Timestamp) -> io::Result<()> {
    for entry in fs::read_dir(temporary)? {
        let entry = entry?;
        // Another export may finish or tidy at the same time.
        let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) else { continue };
        let since_epoch = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        if now.since(Timestamp(0) + since_epoch) > LEFT_OVER {
            if_there(fs::remove_file(entry.path()))?;
        }
    }
    Ok(())
}

#[async_trait]
impl ExportTarget for ExportDir {
    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, path: &str) -> PortResult<Option<Bytes>> {
        let file = self.root.join(path);
        blocking(format!("read {}", file.display()), move || Ok(if_there(fs::read(file))?.map(Bytes::from))).await
    }

    async fn list(&self, folder: &str) -> PortResult<Vec<Found>> {
        let folder = self.root.join(folder);
        blocking(format!("list {}", folder.display()), move || {
            let mut found = Vec::new();
            for entry in if_there(fs::read_dir(folder))?.into_iter().flatten() {
                let entry = entry?;
                if let Some(metadata) = if_there(entry.metadata())?.filter(fs::Metadata::is_file) {
                    found.push(Found { name: entry.file_name().to_string_lossy().into_owned(), tag: tag(&metadata)? });
                }
            }
            Ok(found)
        })
        .await
    }

    async fn begin(&self, path: &str) -> PortResult<Box<dyn Draft>> {
        let path = self.root.join(path);
        let temporary = self.root.join(TEMPORARY).join(format!("{:032x}", fastrand::u128(..)));
        let what = format!("write {}", path.display());
        let (file, temporary) = blocking(what.clone(), move || {
            let file = File::create_new(&temporary)?;
            Ok((file, Temporary(temporary)))
        })
        .await?;
        Ok(Box::new(DirDraft { what, path, file, temporary }))
    }
}

/// A temporary file's path; what still has this name when it is dropped is removed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = if_there(fs::remove_file(&self.0)) {
            tracing::warn!(%error, path = %self.0.display(), "a temporary file could not be removed; an export tomorrow does");
        }
    }
}

struct DirDraft {
    what: String,
    path: PathBuf,
    file: File,
    temporary: Temporary,
}

#[async_trait]
impl Draft for DirDraft {
    async fn write(&mut self, bytes: Bytes) -> PortResult<()> {
        let mut file = self.file.try_clone().map_err(|error| port_error(self.what.clone(), error))?;
        blocking(self.what.clone(), move || file.write_all(&bytes)).await
    }

    async fn finish(self: Box<Self>) -> PortResult<String> {
        let Self { what, path, file, temporary } = *self;
        blocking(what, move || {
            file.sync_all()?;
            let folder = path.parent().unwrap_or(Path::new("."));
            if !folder.is_dir() {
                fs::create_dir_all(folder)?;
                sync_directory(folder.parent().unwrap_or(folder))?;
            }
            fs::rename(&temporary.0, &path)?;
            sync_directory(folder)?;
            tag(&file.metadata()?)
        })
        .await
    }

    async fn discard(self: Box<Self>) {}
}

/// By which file it is, when it was written, and how long it is: each file here is a new one.
fn tag(metadata: &fs::Metadata) -> io::Result<String> {
    let written = metadata.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(format!("{}-{}-{}", metadata.ino(), written.as_nanos(), metadata.len()))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

async fn blocking<T: Send + 'static>(
    what: String,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> PortResult<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| port_error(what, error)),
        Err(error) => Err(PortError::transient(what, error)),
    }
}

fn port_error(what: String, error: io::Error) -> PortError {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; choose a directory that you may write to"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "; a file is in the way, choose another directory"
        }
        io::ErrorKind::StorageFull => "; make room, and export again: it goes on from there",
        _ => return PortError::transient(what, error),
    };
    PortError::permanent(what, format!("{error}{advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::target::write;

    #[tokio::test]
    async fn left_overs_of_killed_exports_go_after_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp(1_795_252_123_456);
        ExportDir::open(dir.path().to_owned(), now).await.unwrap();
        let left = dir.path().join(TEMPORARY).join("left");
        File::create(&left).unwrap().set_modified(std::time::UNIX_EPOCH + Duration::from_millis(now.0)).unwrap();
        ExportDir::open(dir.path().to_owned(), now + LEFT_OVER).await.unwrap();
        assert!(left.exists());
        ExportDir::open(dir.path().to_owned(), now + LEFT_OVER + Duration::from_secs(1)).await.unwrap();
        assert!(!left.exists());
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let error = ExportDir::open(file.clone(), Timestamp(0)).await.err().unwrap();
        let told = error.to_string();
        assert!(told.contains(&file.display().to_string()) && told.contains("in the way"), "{told}");
    }

    #[tokio::test]
    async fn an_unfinished_file_is_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let target = ExportDir::open(dir.path().to_owned(), Timestamp(0)).await.unwrap();
        let before = write(&target, "day=x/part", b"one".to_vec()).await.unwrap();
        let mut draft = target.begin("day=x/part").await.unwrap();
        draft.write(Bytes::from_static(b"two")).await.unwrap();
        assert_eq!(target.list("day=x").await.unwrap(), [Found { name: "part".to_owned(), tag: before }]);
        drop(draft);
        assert_eq!(fs::read_dir(dir.path().join(TEMPORARY)).unwrap().count(), 0);
    }
}
