//! Writing files so that they survive a kill and a power cut: a temporary file, fsync, rename, fsync of the directory.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// Where files are written before they get their names; on the same file system, so that the rename is atomic.
const TEMPORARY: &str = "tmp";

/// A temporary file this old belongs to a process that was killed.
const LEFT_OVER: Duration = Duration::from_hours(24);

/// Remember at most this many directories, a few days' worth.
const REMEMBERED: usize = 4096;

/// Writes files below one directory.
pub(super) struct Files {
    root: PathBuf,
    /// Directories whose entries in their parents are on disk, as far as this process has seen to it.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Files {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), durable: Mutex::default() }
    }

    /// Writes a file whole, replacing one of that name. `path` lies below the root.
    pub(super) fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let directory = path.parent().unwrap_or(&self.root);
        self.ensure(directory)?;
        let temporaries = self.root.join(TEMPORARY);
        self.ensure(&temporaries)?;
        let temporary = temporaries.join(format!("{:032x}", fastrand::u128(..)));
        let written = write_new(&temporary, bytes)
            .and_then(|()| fs::rename(&temporary, path))
            .and_then(|()| sync_directory(directory));
        if written.is_err()
            && let Err(error) = fs::remove_file(&temporary)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "a temporary payload file could not be removed; it is removed at a start tomorrow");
        }
        written
    }

    /// Creates a directory with its parents up to the root, and makes that durable once per process.
    fn ensure(&self, directory: &Path) -> io::Result<()> {
        if directory == self.root || self.durable().contains(directory) {
            return Ok(());
        }
        let parent = directory.parent().unwrap_or(&self.root);
        self.ensure(parent)?;
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => sync_directory(parent)?,
        }
        let mut durable = self.durable();
        if durable.len() >= REMEMBERED {
            durable.clear();
        }
        durable.insert(directory.to_owned());
        Ok(())
    }

    fn durable(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what killed processes left half written.
    pub(super) fn tidy(&self, now: Timestamp) -> io::Result<()> {
        let temporaries = self.root.join(TEMPORARY);
        self.ensure(&temporaries)?;
        for entry in fs::read_dir(temporaries)? {
            let entry = entry?;
            // Another process may tidy at the same time.
            let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) else { continue };
            let since_epoch = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            if now.since(Timestamp(0) + since_epoch) > LEFT_OVER {
                remove_if_there(&entry.path())?;
            }
        }
        Ok(())
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_whole_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        let path = dir.path().join("a/b/c.json");
        files.write(&path, b"one").unwrap();
        files.write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path().join(TEMPORARY)).unwrap().count(), 0);
        assert_eq!(fs::read_dir(dir.path().join("a/b")).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        // A file cannot be renamed onto a directory.
        fs::create_dir_all(dir.path().join("taken/by-a-directory")).unwrap();
        assert!(files.write(&dir.path().join("taken"), b"x").is_err());
        assert_eq!(fs::read_dir(dir.path().join(TEMPORARY)).unwrap().count(), 0);
    }

    #[test]
    fn left_overs_of_killed_processes_go_after_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        files.tidy(Timestamp(0)).unwrap();
        let left = dir.path().join(TEMPORARY).join("left");
        let file = File::create(&left).unwrap();
        let written = Timestamp(1_795_252_123_456);
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_millis(written.0)).unwrap();
        files.tidy(written + LEFT_OVER).unwrap();
        assert!(left.exists());
        files.tidy(written + LEFT_OVER + Duration::from_secs(1)).unwrap();
        assert!(!left.exists());
    }
}
