"""The topic that on-call listens to, the alarms that speak there, and the dashboard."""

import json
from pathlib import Path
from string import Template

from aws_cdk import Aws, aws_cloudwatch as cloudwatch, aws_iam as iam, aws_kms as kms, aws_sns as sns
from constructs import Construct

from .alarms import bedrock_alarms, pipeline_alarms
from .policies import allow, tls_only
from .queues import Queues
from .settings import Settings

DASHBOARD = Path(__file__).parents[2] / "terraform" / "modules" / "monitoring" / "dashboard.json"
"""One file for both deployments."""


class Monitoring(Construct):
    def __init__(self, scope: Construct, id: str, settings: Settings, key: kms.IKey, queues: Queues) -> None:
        super().__init__(scope, id)
        self._settings = settings
        self.topic = self._topic(key)
        for alarm in [*bedrock_alarms(settings), *pipeline_alarms(settings, queues)]:
            alarm.make(self, settings.name, self.topic.topic_arn)
        cloudwatch.CfnDashboard(
            self, "Dashboard", dashboard_name=settings.dashboard_name, dashboard_body=dashboard_body(settings)
        )

    @property
    def dashboard_url(self) -> str:
        region = self._settings.aws_region
        return (
            f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
            f"#dashboards/dashboard/{self._settings.dashboard_name}"
        )

    def _topic(self, key: kms.IKey) -> sns.Topic:
        topic = sns.Topic(self, "Topic", topic_name=f"{self._settings.name}-alarms", master_key=key)
        topic.add_to_resource_policy(tls_only("sns:Publish", topic.topic_arn))
        topic.add_to_resource_policy(
            allow(
                "Alarms",
                ["sns:Publish"],
                [topic.topic_arn],
                {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
                principal=iam.ServicePrincipal("cloudwatch.amazonaws.com"),
            )
        )
        sns.Subscription(
            self,
            "Email",
            topic=topic,
            protocol=sns.SubscriptionProtocol.EMAIL,
            endpoint=self._settings.notification_email,
        )
        return topic


def dashboard_body(settings: Settings) -> str:
    """The dashboard as JSON without blanks.

    Raises:
        FileNotFoundError: when this directory was taken out of the repository.
    """
    if not DASHBOARD.is_file():
        raise FileNotFoundError(f"{DASHBOARD}: missing, and both deployments need it; run cdk in a whole checkout")
    name = settings.name
    text = Template(DASHBOARD.read_text(encoding="utf-8")).substitute(
        name=name,
        region=settings.aws_region,
        input_queue=f"{name}-input",
        input_dlq=f"{name}-input-dlq",
        hold_queue=f"{name}-hold-next-batch",
        hold_dlq=f"{name}-hold-next-batch-dlq",
        results_queue=f"{name}-bedrock-results",
        namespace=settings.metrics_namespace,
    )
    return json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
