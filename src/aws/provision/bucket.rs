//! The payload bucket: private, encrypted, versioned, TLS only; bodies are deleted when the rows that name them are.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{BuildError, SdkError};
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketLocationConstraint, BucketVersioningStatus,
    CreateBucketConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
    NoncurrentVersionExpiration, PublicAccessBlockConfiguration, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule, VersioningConfiguration,
};
use serde_json::json;

use super::tolerate;
use crate::aws::errors::port_error;
use crate::aws::schema;
use crate::ports::{PortError, PortResult};

/// Creates or completes the bucket `name` in `region`, whose objects are kept for so many days.
pub async fn create(client: &Client, name: &str, region: &str, retention_days: u32) -> PortResult<()> {
    let what = format!("s3 create bucket {name}");
    // us-east-1 is S3's default and may not be named.
    let location = (region != "us-east-1").then(|| {
        CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::from(region)).build()
    });
    match client.create_bucket().bucket(name).set_create_bucket_configuration(location).send().await {
        Ok(_) => {}
        Err(SdkError::ServiceError(e)) if e.err().is_bucket_already_owned_by_you() => {}
        Err(e) => return Err(port_error(what, &e)),
    }
    tolerate(block_public_access(client, name).await);
    tolerate(encrypt(client, name).await);
    tolerate(require_tls(client, name).await);
    tolerate(version(client, name).await);
    tolerate(expire(client, name, retention_days).await);
    Ok(())
}

async fn block_public_access(client: &Client, name: &str) -> PortResult<()> {
    let block = PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(true)
        .block_public_policy(true)
        .restrict_public_buckets(true)
        .build();
    let call = client.put_public_access_block().bucket(name).public_access_block_configuration(block);
    call.send().await.map(drop).map_err(|e| port_error(format!("s3 block public access to {name}"), &e))
}

async fn encrypt(client: &Client, name: &str) -> PortResult<()> {
    let what = format!("s3 set default encryption of {name}");
    let configuration = || {
        let default = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::Aes256).build()?;
        let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(default).build();
        ServerSideEncryptionConfiguration::builder().rules(rule).build()
    };
    let configuration = configuration().map_err(|e: BuildError| PortError::permanent(&what, e))?;
    let call = client.put_bucket_encryption().bucket(name).server_side_encryption_configuration(configuration);
    call.send().await.map(drop).map_err(|e| port_error(what, &e))
}

async fn require_tls(client: &Client, name: &str) -> PortResult<()> {
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [format!("arn:aws:s3:::{name}"), format!("arn:aws:s3:::{name}/*")],
            "Condition": { "Bool": { "aws:SecureTransport": "false" } },
        }],
    });
    let call = client.put_bucket_policy().bucket(name).policy(policy.to_string());
    call.send().await.map(drop).map_err(|e| port_error(format!("s3 require TLS of {name}"), &e))
}

async fn version(client: &Client, name: &str) -> PortResult<()> {
    let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let call = client.put_bucket_versioning().bucket(name).versioning_configuration(on);
    call.send().await.map(drop).map_err(|e| port_error(format!("s3 switch versions on in {name}"), &e))
}

/// Bodies, by their prefixes: without its row one is of no use to anybody. What else is in the bucket, exports above all, stays.
/// What was deleted or overwritten is kept for a day more. The markers that then are left of it need a rule of their own, since
/// one that counts days cannot name them.
async fn expire(client: &Client, name: &str, days: u32) -> PortResult<()> {
    let what = format!("s3 set the lifecycle of {name}");
    let rule = |id: &str, prefix: &str| {
        let filter = LifecycleRuleFilter::builder().prefix(prefix).build();
        LifecycleRule::builder().id(id).status(ExpirationStatus::Enabled).filter(filter)
    };
    let configuration = || {
        let old = LifecycleExpiration::builder().days(i32::try_from(days).unwrap_or(i32::MAX)).build();
        let mut rules = Vec::new();
        for prefix in schema::BODIES {
            let id = format!("retention-{}", prefix.trim_end_matches('/'));
            rules.push(rule(&id, prefix).expiration(old.clone()).build()?);
        }
        let replaced = NoncurrentVersionExpiration::builder().noncurrent_days(1).build();
        let abandoned = AbortIncompleteMultipartUpload::builder().days_after_initiation(1).build();
        let versions = rule("versions", "").noncurrent_version_expiration(replaced);
        rules.push(versions.abort_incomplete_multipart_upload(abandoned).build()?);
        let markers = LifecycleExpiration::builder().expired_object_delete_marker(true).build();
        rules.push(rule("delete-markers", "").expiration(markers).build()?);
        BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build()
    };
    let configuration = configuration().map_err(|e: BuildError| PortError::permanent(&what, e))?;
    let call = client.put_bucket_lifecycle_configuration().bucket(name).lifecycle_configuration(configuration);
    call.send().await.map(drop).map_err(|e| port_error(what, &e))
}
