"""The bucket of request and result bodies."""

from aws_cdk import Aws, Duration, RemovalPolicy, aws_kms as kms, aws_s3 as s3
from constructs import Construct

from .notes import acknowledge
from .policies import tls_only
from .settings import Settings

BODIES = ("requests/", "results/", "rejected/", "uploads/")
EXPORTS = "exports/"
RESULTS = "athena/"
"""Of Athena's queries."""
_RESULTS_DAYS = 7


class Payloads(Construct):
    def __init__(self, scope: Construct, id: str, settings: Settings, key: kms.IKey, removal: RemovalPolicy) -> None:
        super().__init__(scope, id)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            bucket_name=f"{settings.name}-bedrock-calls-{Aws.ACCOUNT_ID}",
            encryption=s3.BucketEncryption.KMS,
            encryption_key=key,
            bucket_key_enabled=True,
            versioned=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            lifecycle_rules=[
                # Bodies go with the rows that name them; what else is here, exports above all, stays.
                *(
                    s3.LifecycleRule(id=f"retention-{prefix[:-1]}", prefix=prefix, expiration=Duration.days(days))
                    for prefix, days in {**dict.fromkeys(BODIES, settings.retention_days), RESULTS: _RESULTS_DAYS}.items()
                ),
                s3.LifecycleRule(
                    id="versions",
                    noncurrent_version_expiration=Duration.days(1),
                    abort_incomplete_multipart_upload_after=Duration.days(1),
                ),
                # S3 takes this only in a rule without a number of days.
                s3.LifecycleRule(id="delete-markers", expired_object_delete_marker=True),
            ],
            removal_policy=removal,
        )
        self.bucket.add_to_resource_policy(tls_only("s3:*", self.bucket.bucket_arn, self.bucket.arn_for_objects("*")))
        acknowledge(
            self.bucket,
            {
                "S1": "CloudTrail data events tell who reads bodies, where an account wants that; access logs need a "
                "bucket of their own."
            },
        )
