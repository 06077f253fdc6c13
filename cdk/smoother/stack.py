"""One stack with everything, wired."""

from aws_cdk import Annotations, CfnElement, CfnOutput, DefaultStackSynthesizer, Environment, RemovalPolicy, Stack, Tags
from constructs import Construct

from . import tables as requests_table
from .analytics import Analytics
from .encryption import Encryption
from .gateway import Gateway, admin_key
from .monitoring import Monitoring
from .network import Network
from .payloads import Payloads
from .policies import Grants
from .queues import Queues
from .scheduled import Scheduled, discovery, export
from .settings import Settings, warnings
from .tables import Tables
from .tasks import Fargate
from .worker import Worker


class Smoother(Stack):
    def __init__(self, scope: Construct, settings: Settings, account: str | None = None) -> None:
        """For `account`; without one, for that of whoever deploys."""
        super().__init__(
            scope,
            settings.name,
            description="smoother: steady, ranked and never throttled calls of Amazon Bedrock",
            env=Environment(account=account, region=settings.aws_region),
            # Without the version rule the template needs no parameter, so that other tools can deploy it too.
            synthesizer=DefaultStackSynthesizer(generate_bootstrap_version_rule=False),
            termination_protection=settings.deletion_protection,
        )
        for key, value in ({"Project": settings.name, "ManagedBy": "cdk"} | settings.tags).items():
            Tags.of(self).add(key, value)
        for word, warning in warnings(settings).items():
            Annotations.of(self).add_warning_v2(f"smoother:{word}", warning)
        # Kept when the stack goes, but not by a first deployment that fails: it would be in the way of the second.
        kept = RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
        removal = kept if settings.deletion_protection else RemovalPolicy.DESTROY

        key = Encryption(self, "Encryption", settings, removal).key
        queues = Queues(self, "Queues", settings)
        tables = Tables(self, "Tables", settings, removal)
        bucket = Payloads(self, "Payloads", settings, key, removal).bucket
        monitoring = Monitoring(self, "Monitoring", settings, key, queues)
        grants = Grants(
            settings=settings,
            key=key,
            requests=tables.requests,
            reporting=tables.reporting,
            index=requests_table.INDEX,
            bucket=bucket,
            topic=monitoring.topic,
            input=queues.input,
            hold=queues.hold,
            hold_dlq=queues.hold_dlq,
            results=queues.results,
        )
        environment = _environment(settings) | {
            "SMOOTHER_INPUT_QUEUE_URL": queues.input.queue_url,
            "SMOOTHER_RESULTS_QUEUE_URL": queues.results.queue_url,
            "SMOOTHER_HOLD_QUEUE_URL": queues.hold.queue_url,
            "SMOOTHER_DLQ_URL": queues.hold_dlq.queue_url,
            "SMOOTHER_REQUESTS_TABLE": tables.requests.table_name,
            "SMOOTHER_REPORTING_TABLE": tables.reporting.table_name,
            "SMOOTHER_BUCKET": bucket.bucket_name,
            "SMOOTHER_ALARM_TOPIC_ARN": monitoring.topic.topic_arn,
        }

        admin = admin_key(self, settings, key) if settings.gateway_enabled else None
        parts = ["worker"] + ["gateway"] * settings.gateway_enabled + ["discovery"] * settings.discovery_enabled
        parts += ["export"] * settings.export_enabled
        network = Network(self, "Network", settings)
        webhook = settings.alert_webhook_secret_arn
        secrets = ([admin.attr_id] if admin else []) + ([webhook] if webhook else [])
        fargate = Fargate(self, "Fargate", settings, network, key, parts, secrets, removal)
        worker = Worker(self, "Worker", fargate, grants, environment)
        gateway = Gateway(self, "Gateway", fargate, grants, environment, admin) if admin else None
        jobs = {
            job.part: Scheduled(self, job.part.title(), fargate, job, environment, worker.security_group)
            for job in (discovery(grants), export(grants))
            if job.schedule
        }
        definitions = {part: job.task.definition.ref for part, job in jobs.items()}
        analytics = Analytics(self, "Analytics", grants) if settings.analytics_enabled else None

        for name, value in {
            "AwsRegion": settings.aws_region,
            "InputQueueUrl": queues.input.queue_url,
            "InputDlqUrl": queues.input_dlq.queue_url,
            "BedrockResultsQueueUrl": queues.results.queue_url,
            "HoldNextBatchQueueUrl": queues.hold.queue_url,
            "HoldNextBatchDlqUrl": queues.hold_dlq.queue_url,
            "RequestsTableName": tables.requests.table_name,
            "ReportingTableName": tables.reporting.table_name,
            "BedrockCallsBucketName": bucket.bucket_name,
            "AlarmTopicArn": monitoring.topic.topic_arn,
            "ClusterName": fargate.cluster.ref,
            "WorkerServiceName": worker.service.attr_name,
            "DashboardUrl": monitoring.dashboard_url,
            "GatewayUrl": gateway.url if gateway else "",
            "GatewayServiceName": gateway.service.attr_name if gateway else "",
            "GatewayAdminSecretArn": admin.attr_id if admin else "",
            "DiscoveryTaskDefinitionArn": definitions.get("discovery", ""),
            "ExportTaskDefinitionArn": definitions.get("export", ""),
            "AnalystPolicyArn": analytics.policy.managed_policy_arn if analytics else "",
            "AthenaWorkgroupName": analytics.workgroup.ref if analytics else "",
            "AthenaTable": analytics.name if analytics else "",
        }.items():
            CfnOutput(self, name, value=value)

    def _allocate_logical_id(self, element: CfnElement) -> str:
        """The path without the usual hash, to be read in a deployment's events. CDK refuses a name made twice."""
        path = element.node.path.split("/")[1:]
        return "".join(part for part in path if part not in ("Resource", "Default"))


def _environment(settings: Settings) -> dict[str, str]:
    """The settings of the worker that are no resources."""
    environment = {
        "SMOOTHER_AWS_REGION": settings.aws_region,
        "SMOOTHER_AVERAGE_REQUEST_DURATION": f"{settings.average_request_duration}s",
        "SMOOTHER_MINUTES_TO_PROCESS": str(settings.minutes_to_process),
        "SMOOTHER_MAX_CONCURRENT_EXECUTIONS": str(settings.max_concurrent_executions),
        "SMOOTHER_ALARM_THRESHOLD": str(settings.alarm_threshold),
        "SMOOTHER_ALARM_EVALUATION_PERIODS": str(settings.alarm_evaluation_periods),
        "SMOOTHER_ALERT_COOLDOWN": f"{settings.alert_cooldown}s",
        "SMOOTHER_DASHBOARD_NAME": settings.dashboard_name,
        "SMOOTHER_QUEUE_DEPTH_THRESHOLD": str(settings.queue_depth_threshold),
        "SMOOTHER_ALLOWED_MODELS": ",".join(settings.allowed_models),
        "SMOOTHER_USAGE_FEED": str(settings.usage_feed).lower(),
        "SMOOTHER_METRICS_NAMESPACE": settings.metrics_namespace,
        "SMOOTHER_RETENTION_DAYS": str(settings.retention_days),
        "SMOOTHER_TRACE_SAMPLE_RATIO": str(settings.trace_sample_ratio),
        "SMOOTHER_REPORT_RETENTION_DAYS": str(settings.report_retention_days),
    }
    if settings.allowed_source_buckets:
        environment["SMOOTHER_ALLOWED_SOURCE_BUCKETS"] = ",".join(settings.allowed_source_buckets)
    if settings.otlp_endpoint:
        environment["SMOOTHER_OTLP_ENDPOINT"] = settings.otlp_endpoint
    if settings.settings_text:
        environment["SMOOTHER_SETTINGS"] = settings.settings_text
    return environment
