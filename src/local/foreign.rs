//! Objects that producers point to: `buckets/<bucket>/<key>`. Nothing outside of the bucket's directory is ever read,
//! whatever the key says and wherever links lead.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;

use crate::ports::payloads::{Fetched, ForeignObject};

/// The directory whose subdirectories are the buckets.
pub(super) const BUCKETS: &str = "buckets";

/// The system's error for links in a circle, which std does not name yet.
const ELOOP: i32 = if cfg!(target_os = "linux") { 40 } else { 62 };

/// Whether `path` is relative and made of plain names only.
pub(super) fn is_plain(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Reads an object of at most `limit` bytes.
pub(super) fn fetch(buckets: &Path, object: &ForeignObject, limit: u64) -> io::Result<Fetched> {
    if object.bucket.contains('/') || !is_plain(&object.bucket) {
        return Ok(Fetched::Denied("a bucket is the name of a directory, without slashes".to_owned()));
    }
    if !is_plain(&object.key) {
        return Ok(Fetched::Denied("a key is a relative path without empty parts, . or ..".to_owned()));
    }
    match read(buckets, object, limit) {
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => {
                Ok(Fetched::Missing)
            }
            io::ErrorKind::PermissionDenied => Ok(Fetched::Denied("the file may not be read by this user".to_owned())),
            _ if error.raw_os_error() == Some(ELOOP) => Ok(Fetched::Denied("the path is a circle of links".to_owned())),
            _ => Err(error),
        },
        fetched => fetched,
    }
}

fn read(buckets: &Path, object: &ForeignObject, limit: u64) -> io::Result<Fetched> {
    // The bucket itself may be a link: an operator made it, no producer can.
    let bucket = buckets.join(&object.bucket).canonicalize()?;
    let path = bucket.join(&object.key).canonicalize()?;
    if !path.starts_with(&bucket) {
        return Ok(Fetched::Denied("the key leads out of the bucket's directory".to_owned()));
    }
    // Before it is opened: opening a pipe would wait for a writer.
    if !path.metadata()?.is_file() {
        return Ok(Fetched::Missing);
    }
    let file = File::open(&path)?;
    let length = file.metadata()?.len();
    if length > limit {
        return Ok(Fetched::TooLarge(length));
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    let read = bytes.len() as u64;
    Ok(if read > limit { Fetched::TooLarge(read) } else { Fetched::Bytes(Bytes::from(bytes)) })
}
