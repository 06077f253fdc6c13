"""A task that looks for new models on a schedule: it runs and ends."""

from aws_cdk import Aws, aws_ec2 as ec2, aws_iam as iam, aws_scheduler as scheduler
from constructs import Construct

from .policies import Grants, allow, role
from .tasks import TASKS_SERVICE, Fargate, Task


class Discovery(Construct):
    def __init__(
        self,
        scope: Construct,
        id: str,
        fargate: Fargate,
        grants: Grants,
        environment: dict[str, str],
        security_group: ec2.CfnSecurityGroup,
    ) -> None:
        super().__init__(scope, id)
        settings = fargate.settings
        self.task = Task(self, "Task", fargate, "discovery", ["discover"], grants.discovery(), environment)
        start = role(
            self,
            "SchedulerRole",
            f"{settings.name}-scheduler",
            f"EventBridge Scheduler starts {self.task.family} with it",
            "scheduler.amazonaws.com",
            self._starting(fargate),
        )
        schedule = scheduler.CfnSchedule
        made = scheduler.CfnSchedule(
            self,
            "Schedule",
            name=self.task.family,
            description="Looks for new models",
            schedule_expression=settings.discovery_schedule,
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
