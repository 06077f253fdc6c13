//! Payloads on S3: one object each, under a key that is never written twice with other bytes.
//!
//! The worker's role needs `s3:ListBucket` besides reading and writing: without it S3 answers a missing object with
//! access denied, which is then an error and not [`None`].

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumAlgorithm;
use bytes::{Bytes, BytesMut};

use super::errors::{causes, clip, code_of, port_error};
use crate::clock::{Clock, Timestamp};
use crate::ports::payloads::{Fetched, ForeignObject};
use crate::ports::{Payloads, PortError, PortResult, PutKind};
use crate::request::{PayloadRef, RequestId};

/// Codes that say: no such object, no such bucket, or a name that no bucket or object can have.
const MISSING: &[&str] = &["NoSuchKey", "NoSuchBucket", "InvalidBucketName", "KeyTooLongError", "NotFound"];

/// Codes that say: it is there, but not for us. Moved Regions and archived objects are for the sender to mend too.
const DENIED: &[&str] = &[
    "AccessDenied",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "InvalidObjectState",
    "KMS.DisabledException",
    "PermanentRedirect",
];

/// The payload bucket.
#[derive(Clone, Debug)]
pub struct S3Payloads {
    client: Client,
    bucket: String,
    clock: Clock,
}

impl S3Payloads {
    /// The payloads in `bucket`; keys carry the day of `clock`.
    #[must_use]
    pub fn new(client: Client, bucket: &str, clock: Clock) -> Self {
        Self { client, bucket: bucket.to_owned(), clock }
    }
}

/// `requests/2026/11/21/<id>/<discriminator>.json`.
fn key(kind: PutKind, at: Timestamp, id: &RequestId, discriminator: &str) -> String {
    let day = at.day().replace('-', "/");
    // A path segment of dots alone would be taken for a step up or none by some tools.
    let id = if matches!(id.as_str(), "." | "..") { format!("{id}~") } else { id.as_str().to_owned() };
    format!("{}/{day}/{id}/{discriminator}.json", kind.prefix())
}

/// Reads a body of at most `limit` bytes; the length it reached when it goes on beyond that.
async fn collect(mut body: ByteStream, limit: u64) -> Result<Result<Bytes, u64>, String> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk.map_err(|e| causes(&e))?);
        let length = bytes.len() as u64;
        if length > limit {
            return Ok(Err(length));
        }
    }
    Ok(Ok(bytes.freeze()))
}

/// What a failed read of a foreign object means for the message that pointed to it, if it is the pointer's fault.
fn fault_of_pointer(code: Option<&str>, message: &str, status: Option<u16>) -> Option<Fetched> {
    match (code, status) {
        (Some(code), _) if MISSING.contains(&code) => Some(Fetched::Missing),
        (Some(code), _) if DENIED.contains(&code) => Some(Fetched::Denied(clip(&format!("{code}: {message}")))),
        (None, Some(404)) => Some(Fetched::Missing),
        (None, Some(403)) => Some(Fetched::Denied("access denied".to_owned())),
        _ => None,
    }
}

#[async_trait]
impl Payloads for S3Payloads {
    async fn put(&self, kind: PutKind, id: &RequestId, discriminator: &str, bytes: Bytes) -> PortResult<PayloadRef> {
        let key = key(kind, self.clock.now(), id, discriminator);
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(&key)
            .content_type("application/json")
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .body(ByteStream::from(bytes))
            .send()
            .await
            .map_err(|e| port_error(format!("s3 put {key} into {}", self.bucket), &e))?;
        Ok(PayloadRef(key))
    }

    async fn get(&self, payload: &PayloadRef) -> PortResult<Option<Bytes>> {
        let what = format!("s3 get {} from {}", payload.0, self.bucket);
        match self.client.get_object().bucket(&self.bucket).key(&payload.0).send().await {
            Ok(object) => match collect(object.body, u64::MAX).await {
                Ok(Ok(bytes)) => Ok(Some(bytes)),
                Ok(Err(_)) => Err(PortError::permanent(what, "the object has no end")),
                Err(why) => Err(PortError::transient(what, why)),
            },
            Err(SdkError::ServiceError(e)) if matches!(e.err(), GetObjectError::NoSuchKey(_)) => Ok(None),
            Err(e) => Err(port_error(what, &e)),
        }
    }

    /// One request: the length comes with the headers, and a body that is too long is not read.
    async fn fetch_foreign(&self, object: &ForeignObject, limit: u64) -> PortResult<Fetched> {
        let what = format!("s3 get {} from {}", clip(&object.key), clip(&object.bucket));
        if object.bucket.is_empty() || object.key.is_empty() {
            return Ok(Fetched::Missing);
        }
        let got = match self.client.get_object().bucket(&object.bucket).key(&object.key).send().await {
            Ok(got) => got,
            // No request could be made of such a name.
            Err(e @ SdkError::ConstructionFailure(_)) => return Ok(Fetched::Denied(causes(&e))),
            Err(e) => {
                let status = e.raw_response().map(|raw| raw.status().as_u16());
                let message = e.as_service_error().and_then(|e| e.meta().message()).unwrap_or("no message");
                return fault_of_pointer(code_of(&e), message, status).map_or_else(|| Err(port_error(what, &e)), Ok);
            }
        };
        let length = got.content_length.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        if length > limit {
            return Ok(Fetched::TooLarge(length));
        }
        match collect(got.body, limit).await {
            Ok(Ok(bytes)) => Ok(Fetched::Bytes(bytes)),
            Ok(Err(length)) => Ok(Fetched::TooLarge(length)),
            Err(why) => Err(PortError::transient(what, why)),
        }
    }

    fn location(&self, payload: &PayloadRef) -> (String, String) {
        (self.bucket.clone(), payload.0.clone())
    }

    fn upload_bucket(&self) -> &str {
        &self.bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_kind_day_request_and_discriminator() {
        let at = Timestamp(1_795_252_123_456);
        let id = RequestId::new("order:7").unwrap();
        assert_eq!(key(PutKind::Result, at, &id, "c1"), "results/2026/11/21/order:7/c1.json");
        let dots = RequestId::new("..").unwrap();
        assert_eq!(key(PutKind::Request, at, &dots, "0f"), "requests/2026/11/21/..~/0f.json");
    }

    #[test]
    fn only_the_pointers_own_faults_are_its_senders() {
        assert_eq!(fault_of_pointer(Some("NoSuchBucket"), "", Some(404)), Some(Fetched::Missing));
        assert!(matches!(fault_of_pointer(Some("AccessDenied"), "no", Some(403)), Some(Fetched::Denied(_))));
        for (code, status) in
            [("SlowDown", 503), ("ExpiredToken", 400), ("InvalidAccessKeyId", 403), ("InternalError", 500)]
        {
            assert_eq!(fault_of_pointer(Some(code), "", Some(status)), None, "{code}");
        }
    }
}
