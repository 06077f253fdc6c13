//! Exports into a bucket: one PutObject, or for large files a multipart upload that is completed at the end. The bucket's default
//! encryption is used.

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};

use super::clients::Clients;
use super::errors::{causes, port_error};
use crate::export::target::{Draft, ExportTarget, Found};
use crate::ports::{PortError, PortResult};

/// Length of an upload's parts; what is shorter goes as one object.
const PART: usize = 16 << 20;

/// A prefix in a bucket.
#[derive(Clone, Debug)]
pub struct ExportBucket {
    client: Client,
    name: String,
    bucket: String,
    /// With a slash at its end, unless it is empty.
    prefix: String,
}

impl ExportBucket {
    /// The files below `url`, `s3://bucket/prefix`. Makes no call.
    ///
    /// # Errors
    /// When it is no such URL.
    pub fn new(config: &SdkConfig, url: &str) -> PortResult<Self> {
        let (bucket, prefix) = parse(url).ok_or_else(|| {
            PortError::permanent(format!("export to {url}"), "expected s3://bucket or s3://bucket/prefix")
        })?;
        Ok(Self { client: Clients::new(config).s3, name: url.to_owned(), bucket, prefix })
    }

    /// The bucket's name.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What all keys begin with: empty, or with a slash at its end.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    async fn is_there(&self, key: &str) -> PortResult<bool> {
        let what = format!("s3 list {key} in {}", self.bucket);
        let call = self.client.list_objects_v2().bucket(&self.bucket).prefix(key).max_keys(1);
        let listed = call.send().await.map_err(|e| advised(port_error(what, &e)))?;
        // Whatever else begins with it comes after it.
        Ok(listed.contents().first().and_then(|object| object.key()) == Some(key))
    }

    fn key(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }
}

/// Bucket and prefix.
fn parse(url: &str) -> Option<(String, String)> {
    let rest = url.strip_prefix("s3://")?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
    if bucket.len() < 3 || bucket.len() > 63 || !bucket.bytes().all(fits) {
        return None;
    }
    let prefix = prefix.trim_matches('/');
    if prefix.split('/').any(|part| matches!(part, "." | "..")) || prefix.contains("//") {
        return None;
    }
    Some((bucket.to_owned(), if prefix.is_empty() { String::new() } else { format!("{prefix}/") }))
}

/// What to do about a refusal, where that is known.
fn advised(error: PortError) -> PortError {
    let advice = [
        ("NoSuchBucket", "; there is no bucket of this name, make it first or choose another"),
        (
            "AccessDenied",
            "; needed are s3:ListBucket on the bucket, s3:GetObject and s3:PutObject below the prefix, and the use of the bucket's key",
        ),
        ("PermanentRedirect", "; the bucket is in another Region, name it with --set aws_region=…"),
    ];
    let found = advice.iter().find(|(code, _)| error.why.contains(code)).map_or("", |(_, advice)| advice);
    PortError { why: format!("{}{found}", error.why), ..error }
}

#[async_trait]
impl ExportTarget for ExportBucket {
    fn name(&self) -> &str {
        &self.name
    }

    /// Looks first whether it is there: S3 tells a missing object from a forbidden one only to those who may list the whole
    /// bucket.
    async fn read(&self, path: &str) -> PortResult<Option<Bytes>> {
        let key = self.key(path);
        if !self.is_there(&key).await? {
            return Ok(None);
        }
        let what = format!("s3 get {key} from {}", self.bucket);
        match self.client.get_object().bucket(&self.bucket).key(&key).send().await {
            Ok(object) => match object.body.collect().await {
                Ok(body) => Ok(Some(body.into_bytes())),
                Err(error) => Err(PortError::transient(what, causes(&error))),
            },
            Err(SdkError::ServiceError(e)) if matches!(e.err(), GetObjectError::NoSuchKey(_)) => Ok(None),
            Err(e) => Err(advised(port_error(what, &e))),
        }
    }

    async fn list(&self, folder: &str) -> PortResult<Vec<Found>> {
        let prefix = format!("{}/", self.key(folder));
        let what = format!("s3 list {prefix} in {}", self.bucket);
        let call = self.client.list_objects_v2().bucket(&self.bucket).prefix(&prefix).delimiter("/");
        let mut pages = call.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| advised(port_error(&what, &e)))?;
            for object in page.contents.unwrap_or_default() {
                let name = object.key.as_deref().and_then(|key| key.strip_prefix(&prefix)).unwrap_or_default();
                if let (false, Some(tag)) = (name.is_empty(), object.e_tag) {
                    found.push(Found { name: name.to_owned(), tag });
                }
            }
        }
        Ok(found)
    }

    async fn begin(&self, path: &str) -> PortResult<Box<dyn Draft>> {
        let key = self.key(path);
        let what = format!("s3 put {key} into {}", self.bucket);
        let content_type = match path.rsplit('.').next() {
            Some("json") => "application/json",
            Some("jsonl") => "application/x-ndjson",
            Some("csv") => "text/csv; charset=utf-8",
            _ => "application/vnd.apache.parquet",
        };
        let object = Object { client: self.client.clone(), bucket: self.bucket.clone(), key, what, content_type };
        Ok(Box::new(BucketDraft { object, held: BytesMut::new(), upload: None, parts: vec![] }))
    }
}

/// Where a draft goes.
struct Object {
    client: Client,
    bucket: String,
    key: String,
    what: String,
    content_type: &'static str,
}

struct BucketDraft {
    object: Object,
    /// What was not sent yet; less than a part.
    held: BytesMut,
    /// The id of the upload, once there is one.
    upload: Option<String>,
    parts: Vec<CompletedPart>,
}

impl Object {
    async fn put(&self, bytes: Bytes) -> PortResult<Option<String>> {
        let put = self.client.put_object().bucket(&self.bucket).key(&self.key).content_type(self.content_type);
        let put = put.checksum_algorithm(ChecksumAlgorithm::Crc32).body(ByteStream::from(bytes));
        let put = put.send().await.map_err(|e| advised(port_error(&self.what, &e)))?;
        Ok(put.e_tag)
    }

    async fn begin_upload(&self) -> PortResult<String> {
        let call = self.client.create_multipart_upload().bucket(&self.bucket).key(&self.key);
        let call = call.content_type(self.content_type).checksum_algorithm(ChecksumAlgorithm::Crc32);
        let upload = call.send().await.map_err(|e| advised(port_error(&self.what, &e)))?;
        upload.upload_id.ok_or_else(|| PortError::permanent(&self.what, "the upload has no id"))
    }

    async fn upload_part(&self, upload: &str, number: i32, bytes: Bytes) -> PortResult<CompletedPart> {
        let call = self.client.upload_part().bucket(&self.bucket).key(&self.key).upload_id(upload).part_number(number);
        let call = call.checksum_algorithm(ChecksumAlgorithm::Crc32).body(ByteStream::from(bytes));
        let part = call.send().await.map_err(|e| advised(port_error(&self.what, &e)))?;
        let done = CompletedPart::builder().part_number(number).set_e_tag(part.e_tag);
        Ok(done.set_checksum_crc32(part.checksum_crc32).build())
    }

    async fn complete(&self, upload: &str, parts: Vec<CompletedPart>) -> PortResult<Option<String>> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let call = self.client.complete_multipart_upload().bucket(&self.bucket).key(&self.key);
        let call = call.upload_id(upload).multipart_upload(parts);
        Ok(call.send().await.map_err(|e| advised(port_error(&self.what, &e)))?.e_tag)
    }
}

impl BucketDraft {
    async fn send_part(&mut self, bytes: Bytes) -> PortResult<()> {
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => none.insert(self.object.begin_upload().await?),
        };
        let number = i32::try_from(self.parts.len() + 1).unwrap_or(i32::MAX);
        self.parts.push(self.object.upload_part(upload, number, bytes).await?);
        Ok(())
    }
}

#[async_trait]
impl Draft for BucketDraft {
    async fn write(&mut self, bytes: Bytes) -> PortResult<()> {
        self.held.extend_from_slice(&bytes);
        while self.held.len() >= PART {
            let part = self.held.split_to(PART).freeze();
            self.send_part(part).await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> PortResult<String> {
        let rest = self.held.split().freeze();
        let tag = if self.upload.is_some() {
            if !rest.is_empty() {
                self.send_part(rest).await?;
            }
            let parts = std::mem::take(&mut self.parts);
            self.object.complete(self.upload.as_deref().unwrap_or_default(), parts).await?
        } else {
            self.object.put(rest).await?
        };
        tag.ok_or_else(|| PortError::permanent(&self.object.what, "the answer has no ETag"))
    }

    async fn discard(self: Box<Self>) {
        let Some(upload) = &self.upload else { return };
        let Object { client, bucket, key, .. } = &self.object;
        let abort = client.abort_multipart_upload().bucket(bucket).key(key).upload_id(upload);
        if let Err(error) = abort.send().await {
            tracing::warn!(error = causes(&error), key, "an upload could not be aborted; the bucket's lifecycle does");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_bucket_and_prefix() {
        let parsed = |url| parse(url).map(|(bucket, prefix)| format!("{bucket} {prefix}"));
        for (url, expected) in [
            ("s3://acme-data", Some("acme-data ")),
            ("s3://acme-data/", Some("acme-data ")),
            ("s3://acme.data/exports/a", Some("acme.data exports/a/")),
            ("s3://acme-data/exports/", Some("acme-data exports/")),
            ("s3://", None),
            ("s3://ab/x", None),
            ("s3://Acme/x", None),
            ("s3://acme-data/a/../b", None),
            ("s3://acme-data/a//b", None),
            ("https://acme-data.s3.amazonaws.com", None),
        ] {
            assert_eq!(parsed(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let error = advised(PortError::permanent("s3 put a into b", "NoSuchBucket: The bucket does not exist"));
        assert!(error.to_string().ends_with("make it first or choose another"), "{error}");
    }
}
