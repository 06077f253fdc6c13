"""What tasks may do: statements with exact actions and resources, each named by a Sid."""

import re
from dataclasses import dataclass
from typing import Any

from aws_cdk import (
    Aws,
    aws_dynamodb as dynamodb,
    aws_iam as iam,
    aws_kms as kms,
    aws_s3 as s3,
    aws_sns as sns,
    aws_sqs as sqs,
)
from constructs import Construct

from .notes import acknowledge_wildcards
from .settings import Settings

_PROFILE_PREFIX = re.compile(r"^(us|eu|apac|jp|au|in|us-gov|global)\.")


def allow(
    sid: str,
    actions: list[str],
    resources: list[str],
    conditions: dict[str, Any] | None = None,
    principal: iam.IPrincipal | None = None,
) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        sid=sid,
        actions=actions,
        resources=resources,
        conditions=conditions,
        principals=[principal] if principal else None,
    )


def tls_only(action: str, *resources: str) -> iam.PolicyStatement:
    """Of a resource's own policy: `action` is refused to everybody who does not encrypt the way there."""
    return iam.PolicyStatement(
        sid="TlsOnly",
        effect=iam.Effect.DENY,
        principals=[iam.StarPrincipal()],
        actions=[action],
        resources=list(resources),
        conditions={"Bool": {"aws:SecureTransport": "false"}},
    )


def role(
    scope: Construct, id: str, name: str, description: str, service: str, statements: list[iam.PolicyStatement]
) -> iam.Role:
    """A role that `service` assumes for this account only, with one inline policy of the role's name."""
    made = iam.Role(
        scope,
        id,
        role_name=name,
        description=description,
        assumed_by=iam.ServicePrincipal(service, conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}),
        inline_policies={name: iam.PolicyDocument(statements=statements)},
    )
    acknowledge_wildcards(made, statements)
    return made


def model_arns(settings: Settings) -> list[str]:
    """The inference profile and the foundation model of each allowed id or pattern; ARNs as they are.

    A profile of a geography calls the model in any of its Regions, so models are allowed in all.
    """
    arns = []
    for model in settings.allowed_models:
        if model.startswith("arn:"):
            arns.append(model)
            continue
        foundation = _PROFILE_PREFIX.sub("", model)
        arns.append(
            f"arn:{settings.partition}:bedrock:{settings.aws_region}:{Aws.ACCOUNT_ID}:inference-profile/{model}"
        )
        arns.append(f"arn:{settings.partition}:bedrock:*::foundation-model/{foundation}")
    return list(dict.fromkeys(arns))


@dataclass(frozen=True)
class Grants:
    """Statements on the resources that all parts share."""

    settings: Settings
    key: kms.IKey
    requests: dynamodb.Table
    reporting: dynamodb.Table
    index: str
    bucket: s3.IBucket
    topic: sns.ITopic
    input: sqs.IQueue
    hold: sqs.IQueue
    hold_dlq: sqs.IQueue
    results: sqs.IQueue

    def worker(self) -> list[iam.PolicyStatement]:
        receive = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]
        return [
            allow("Input", receive, [self.input.queue_arn]),
            allow("Hold", [*receive, "sqs:SendMessage"], [self.hold.queue_arn]),
            # SQS moves most messages there by itself; a request that was lost in an earlier pass is buried by the worker.
            allow("DeadLetters", [*receive, "sqs:SendMessage", "sqs:GetQueueAttributes"], [self.hold_dlq.queue_arn]),
            allow("Results", ["sqs:SendMessage"], [self.results.queue_arn]),
            *self._requests(),
            *self._bodies(),
            *self._sources(),
            self._key(),
            allow("Alarms", ["sns:Publish"], [self.topic.topic_arn]),
            *self._measurements(),
            self._models(["bedrock:InvokeModel"]),
        ]

    def gateway(self) -> list[iam.PolicyStatement]:
        return [
            allow("Input", ["sqs:SendMessage"], [self.input.queue_arn]),
            *self._requests(),
            *self._bodies(),
            self._key(),
            *self._measurements(),
            self._models(["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"]),
        ]

    def discovery(self) -> list[iam.PolicyStatement]:
        roles = self.settings.discovery_role_arns
        return [
            allow("Discover", ["bedrock:ListFoundationModels", "bedrock:ListInferenceProfiles"], ["*"]),
            self._quotas(),
            *([allow("Accounts", ["sts:AssumeRole"], roles)] if roles else []),
            allow("Catalog", ["s3:GetObject", "s3:PutObject"], [self.bucket.arn_for_objects("models/*")]),
            self._key(),
            self._metrics(),
        ]

    def export(self) -> list[iam.PolicyStatement]:
        write = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
        return [
            allow("Reports", ["dynamodb:Query"], [self.reporting.table_arn]),
            allow("Exports", write, [self.bucket.arn_for_objects("exports/*")]),
            self._listing("exports/*"),
            self._key(),
        ]

    def analyst(self, catalog: list[str], workgroup: str) -> list[iam.PolicyStatement]:
        """What somebody needs who asks the reporting table, the exports, and Athena; `catalog` are the ARNs of Glue's."""
        settings, ask = self.settings, ["DescribeTable", "GetItem", "Query", "PartiQLSelect"]
        results = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
        at = f"arn:{settings.partition}:athena:{settings.aws_region}:{Aws.ACCOUNT_ID}"
        query = ["BatchGetQueryExecution", "GetQueryExecution", "GetQueryResults", "GetWorkGroup"]
        query += ["ListQueryExecutions", "StartQueryExecution", "StopQueryExecution"]
        browse = ["GetDatabase", "GetDataCatalog", "GetTableMetadata", "ListDatabases", "ListTableMetadata"]
        return [
            allow("Reports", [f"dynamodb:{action}" for action in ask], [self.reporting.table_arn]),
            # PartiQL without a day would read, and pay for, the whole table.
            iam.PolicyStatement(
                sid="NoFullScans",
                effect=iam.Effect.DENY,
                actions=["dynamodb:PartiQLSelect"],
                resources=[self.reporting.table_arn],
                conditions={"Bool": {"dynamodb:FullTableScan": "true"}},
            ),
            allow("Exports", ["s3:GetObject"], [self.bucket.arn_for_objects("exports/*")]),
            allow("Results", results, [self.bucket.arn_for_objects("athena/*")]),
            self._listing("exports/*", "athena/*"),
            allow("Bucket", ["s3:GetBucketLocation"], [self.bucket.bucket_arn]),
            allow("Catalog", ["glue:GetDatabase", "glue:GetTable", "glue:GetTables", "glue:GetPartitions"], catalog),
            allow("Queries", [f"athena:{action}" for action in query], [f"{at}:workgroup/{workgroup}"]),
            # What the console asks for before it shows anything.
            allow("Console", ["athena:ListDataCatalogs", "athena:ListWorkGroups"], ["*"]),
            allow("ConsoleCatalog", [f"athena:{action}" for action in browse], [f"{at}:datacatalog/AwsDataCatalog"]),
            self._key("s3"),
        ]

    def _listing(self, *prefixes: str) -> iam.PolicyStatement:
        below = {"StringLike": {"s3:prefix": list(prefixes)}}
        return allow("ListExports", ["s3:ListBucket"], [self.bucket.bucket_arn], below)

    def _key(self, *services: str) -> iam.PolicyStatement:
        via = [f"{service}.{self.settings.aws_region}.amazonaws.com" for service in services or ("s3", "sns")]
        return allow(
            "Key", ["kms:Decrypt", "kms:GenerateDataKey"], [self.key.key_arn], {"StringEquals": {"kms:ViaService": via}}
        )

    def _requests(self) -> list[iam.PolicyStatement]:
        items = ["GetItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem"]
        return [
            allow("Requests", [f"dynamodb:{action}" for action in items], [self.requests.table_arn]),
            allow("Backlog", ["dynamodb:Query"], [f"{self.requests.table_arn}/index/{self.index}"]),
            allow("Reports", ["dynamodb:BatchWriteItem", "dynamodb:PutItem"], [self.reporting.table_arn]),
        ]

    def _bodies(self) -> list[iam.PolicyStatement]:
        return [
            allow("Bodies", ["s3:GetObject", "s3:PutObject"], [self.bucket.arn_for_objects("*")]),
            # Without it S3 answers 403 for an object that is not there.
            allow("MissingBodies", ["s3:ListBucket"], [self.bucket.bucket_arn]),
        ]

    def _sources(self) -> list[iam.PolicyStatement]:
        objects = [f"arn:{self.settings.partition}:s3:::{bucket}/*" for bucket in self.settings.allowed_source_buckets]
        return [allow("Sources", ["s3:GetObject"], objects)] if objects else []

    def _measurements(self) -> list[iam.PolicyStatement]:
        usage = [allow("UsageFeed", ["cloudwatch:GetMetricData"], ["*"])] if self.settings.usage_feed else []
        return [self._metrics(), *usage, self._quotas()]

    def _metrics(self) -> iam.PolicyStatement:
        own = {"StringEquals": {"cloudwatch:namespace": self.settings.metrics_namespace}}
        return allow("Metrics", ["cloudwatch:PutMetricData"], ["*"], own)

    def _quotas(self) -> iam.PolicyStatement:
        return allow("Quotas", ["servicequotas:ListServiceQuotas", "servicequotas:ListAWSDefaultServiceQuotas"], ["*"])

    def _models(self, actions: list[str]) -> iam.PolicyStatement:
        return allow("Models", actions, model_arns(self.settings))
