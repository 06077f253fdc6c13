"""Tasks that run on a schedule and end: model discovery, and exports of the reporting table."""

from dataclasses import dataclass

from aws_cdk import Aws, aws_ec2 as ec2, aws_iam as iam, aws_scheduler as scheduler
from constructs import Construct

from .payloads import EXPORTS
from .policies import Grants, allow, role
from .tasks import TASKS_SERVICE, Fargate, Task


@dataclass(frozen=True)
class Job:
    part: str
    description: str
    command: list[str]
    statements: list[iam.PolicyStatement]
    schedule: str


def discovery(grants: Grants) -> Job:
    schedule = grants.settings.discovery_schedule
    return Job("discovery", "Looks for new models", ["discover"], grants.discovery(), schedule)


def export(grants: Grants) -> Job:
    """Of hours that are over only, so that hardly any file is written twice, and no query runs into one that is replaced."""
    to = f"s3://{grants.bucket.bucket_name}/{EXPORTS}"
    command = ["export", "--format", "parquet", "--to", to, "--whole-hours", "--json"]
    schedule = grants.settings.export_schedule
    return Job("export", "Exports the reporting table", command, grants.export(), schedule)


class Scheduled(Construct):
    def __init__(
        self,
        scope: Construct,
        id: str,
        fargate: Fargate,
        job: Job,
        environment: dict[str, str],
        security_group: ec2.CfnSecurityGroup,
    ) -> None:
        super().__init__(scope, id)
        settings = fargate.settings
        self.task = Task(self, "Task", fargate, job.part, job.command, job.statements, environment)
        start = role(
            self,
            "SchedulerRole",
            f"{self.task.family}-scheduler",
            f"EventBridge Scheduler starts {self.task.family} with it",
            "scheduler.amazonaws.com",
            self._starting(fargate),
        )
        schedule = scheduler.CfnSchedule
        made = scheduler.CfnSchedule(
            self,
            "Schedule",
            name=self.task.family,
            description=job.description,
            schedule_expression=job.schedule,
            flexible_time_window=schedule.FlexibleTimeWindowProperty(mode="OFF"),
            target=schedule.TargetProperty(
                arn=fargate.cluster.attr_arn,
                role_arn=start.role_arn,
                ecs_parameters=schedule.EcsParametersProperty(
                    task_definition_arn=self.task.definition.ref,
                    launch_type="FARGATE",
                    task_count=1,
                    network_configuration=schedule.NetworkConfigurationProperty(
                        awsvpc_configuration=schedule.AwsVpcConfigurationProperty(
                            subnets=fargate.network.subnet_ids,
                            security_groups=[security_group.attr_group_id],
                            assign_public_ip="ENABLED" if settings.assign_public_ip else "DISABLED",
                        )
                    ),
                ),
            ),
        )
        made.node.add_dependency(*fargate.network.ready)

    def _starting(self, fargate: Fargate) -> list[iam.PolicyStatement]:
        settings = fargate.settings
        any_revision = (
            f"arn:{settings.partition}:ecs:{settings.aws_region}:{Aws.ACCOUNT_ID}:task-definition/{self.task.family}:*"
        )
        return [
            allow("Run", ["ecs:RunTask"], [any_revision], {"ArnEquals": {"ecs:cluster": fargate.cluster.attr_arn}}),
            allow(
                "PassRoles",
                ["iam:PassRole"],
                [fargate.execution_role.role_arn, self.task.role.role_arn],
                {"StringEquals": {"iam:PassedToService": TASKS_SERVICE}},
            ),
        ]
