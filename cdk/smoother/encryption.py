"""The key of all that may hold prompts or say what happened: bucket, topic, log groups, secret."""

from aws_cdk import Aws, Duration, RemovalPolicy, aws_iam as iam, aws_kms as kms
from constructs import Construct

from .policies import allow
from .settings import Settings


class Encryption(Construct):
    """Tables have AWS's own key, as they hold no prompts; queues SQS's: producers need no permission for a key then."""

    def __init__(self, scope: Construct, id: str, settings: Settings, removal: RemovalPolicy) -> None:
        super().__init__(scope, id)
        logs = f"arn:{settings.partition}:logs:{settings.aws_region}:{Aws.ACCOUNT_ID}:log-group:/{settings.name}/*"
        self.key = kms.Key(
            self,
            "Key",
            alias=f"alias/{settings.name}",
            description=f"{settings.name}: bodies, alarms, logs and secrets",
            enable_key_rotation=True,
            pending_window=Duration.days(30 if settings.deletion_protection else 7),
            removal_policy=removal,
            policy=iam.PolicyDocument(
                statements=[
                    allow("Account", ["kms:*"], ["*"], principal=iam.AccountRootPrincipal()),
                    allow(
                        "Alarms",
                        ["kms:Decrypt", "kms:GenerateDataKey*"],
                        ["*"],
                        {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
                        principal=iam.ServicePrincipal("cloudwatch.amazonaws.com"),
                    ),
                    allow(
                        "Logs",
                        ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"],
                        ["*"],
                        {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logs}},
                        principal=iam.ServicePrincipal(f"logs.{settings.aws_region}.amazonaws.com"),
                    ),
                ]
            ),
        )
