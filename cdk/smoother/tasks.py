"""Hardened Fargate tasks of the one image: cluster, log groups, roles, task definitions, services."""

from aws_cdk import (
    Aws,
    RemovalPolicy,
    aws_ec2 as ec2,
    aws_ecs as ecs,
    aws_iam as iam,
    aws_kms as kms,
    aws_logs as logs,
)
from constructs import Construct

from .network import Network
from .notes import acknowledge
from .policies import allow, role
from .settings import Settings

TASKS_SERVICE = "ecs-tasks.amazonaws.com"
NOBODY = "65532:65532"
"""The user of the image."""
STOP_TIMEOUT_SECONDS = 120
"""Fargate's most."""
DRAIN_GRACE = "100s"
"""Shorter, so that a task gives back what it could not finish."""


class Fargate(Construct):
    """The cluster, and what it needs to start tasks: a log group for each of `parts`, the execution role, which may read the
    secrets of these ARNs."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        settings: Settings,
        network: Network,
        key: kms.IKey,
        parts: list[str],
        secrets: list[str],
        removal: RemovalPolicy,
    ) -> None:
        super().__init__(scope, id)
        self.settings = settings
        self.network = network
        self.cluster = ecs.CfnCluster(
            self,
            "Cluster",
            cluster_name=settings.name,
            cluster_settings=[ecs.CfnCluster.ClusterSettingsProperty(name="containerInsights", value="enabled")],
        )
        self.log_groups = {part: self._log_group(part, key, removal) for part in parts}
        self.execution_role = role(
            self,
            "ExecutionRole",
            f"{settings.name}-execution",
            f"ECS starts the tasks of {settings.name} with it",
            TASKS_SERVICE,
            self._starting(key, secrets),
        )

    def service(
        self,
        scope: Construct,
        task: "Task",
        security_group: ec2.CfnSecurityGroup,
        replicas: int | None,
        load_balancer: ecs.CfnService.LoadBalancerProperty | None = None,
    ) -> ecs.CfnService:
        """Keeps `replicas` of the task running, or as many as autoscaling says; when a new version does not start, goes back to the last that did."""
        service = ecs.CfnService(
            scope,
            "Service",
            service_name=task.family,
            cluster=self.cluster.ref,
            task_definition=task.definition.ref,
            launch_type="FARGATE",
            desired_count=replicas,
            deployment_configuration=ecs.CfnService.DeploymentConfigurationProperty(
                deployment_circuit_breaker=ecs.CfnService.DeploymentCircuitBreakerProperty(enable=True, rollback=True),
                minimum_healthy_percent=100,
                maximum_percent=200,
            ),
            network_configuration=ecs.CfnService.NetworkConfigurationProperty(
                awsvpc_configuration=ecs.CfnService.AwsVpcConfigurationProperty(
                    subnets=self.network.subnet_ids,
                    security_groups=[security_group.attr_group_id],
                    assign_public_ip="ENABLED" if self.settings.assign_public_ip else "DISABLED",
                )
            ),
            load_balancers=[load_balancer] if load_balancer else None,
            health_check_grace_period_seconds=60 if load_balancer else None,
            enable_execute_command=False,
            propagate_tags="SERVICE",
        )
        service.node.add_dependency(*self.network.ready)
        return service

    def _log_group(self, part: str, key: kms.IKey, removal: RemovalPolicy) -> logs.CfnLogGroup:
        group = logs.CfnLogGroup(
            self,
            f"{part.title()}Logs",
            log_group_name=f"/{self.settings.name}/{part}",
            retention_in_days=self.settings.log_retention_days,
            kms_key_id=key.key_arn,
        )
        group.apply_removal_policy(removal)
        return group

    def _starting(self, key: kms.IKey, secrets: list[str]) -> list[iam.PolicyStatement]:
        at = f"{self.settings.aws_region}:{Aws.ACCOUNT_ID}"
        pull = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"]
        statements = [
            allow("Login", ["ecr:GetAuthorizationToken"], ["*"]),
            allow("Image", pull, [f"arn:{self.settings.partition}:ecr:{at}:repository/*"]),
            allow(
                "Logs",
                ["logs:CreateLogStream", "logs:PutLogEvents"],
                [group.attr_arn for group in self.log_groups.values()],
            ),
        ]
        if secrets:
            via = {"StringEquals": {"kms:ViaService": f"secretsmanager.{self.settings.aws_region}.amazonaws.com"}}
            statements += [
                allow("Secrets", ["secretsmanager:GetSecretValue"], secrets),
                allow("SecretsKey", ["kms:Decrypt"], [key.key_arn], via),
            ]
        return statements


class Task(Construct):
    """A task definition of one container, its role, and what both are called: `{name}-{part}`."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        fargate: Fargate,
        part: str,
        command: list[str],
        statements: list[iam.PolicyStatement],
        environment: dict[str, str],
        health_check: ecs.CfnTaskDefinition.HealthCheckProperty | None = None,
        port: int | None = None,
        secrets: dict[str, str] | None = None,
    ) -> None:
        """`secrets` are ARNs of secrets by the variable that shows them to the container."""
        super().__init__(scope, id)
        settings = fargate.settings
        self.family = f"{settings.name}-{part}"
        self.role = role(
            self, "Role", self.family, f"The code of {self.family} runs with it", TASKS_SERVICE, statements
        )
        container = ecs.CfnTaskDefinition
        self.definition = ecs.CfnTaskDefinition(
            self,
            "Definition",
            family=self.family,
            requires_compatibilities=["FARGATE"],
            network_mode="awsvpc",
            cpu=str(settings.cpu),
            memory=str(settings.memory),
            runtime_platform=container.RuntimePlatformProperty(
                cpu_architecture=settings.cpu_architecture, operating_system_family="LINUX"
            ),
            execution_role_arn=fargate.execution_role.role_arn,
            task_role_arn=self.role.role_arn,
            container_definitions=[
                container.ContainerDefinitionProperty(
                    name=part,
                    image=settings.image,
                    command=command,
                    essential=True,
                    user=NOBODY,
                    readonly_root_filesystem=True,
                    linux_parameters=container.LinuxParametersProperty(
                        capabilities=container.KernelCapabilitiesProperty(drop=["ALL"]), init_process_enabled=False
                    ),
                    stop_timeout=STOP_TIMEOUT_SECONDS,
                    health_check=health_check,
                    port_mappings=[container.PortMappingProperty(container_port=port, host_port=port, protocol="tcp")]
                    if port
                    else None,
                    environment=[
                        container.KeyValuePairProperty(name=name, value=value)
                        for name, value in sorted(environment.items())
                    ],
                    secrets=[
                        container.SecretProperty(name=name, value_from=arn) for name, arn in sorted(secrets.items())
                    ]
                    if secrets
                    else None,
                    log_configuration=container.LogConfigurationProperty(
                        log_driver="awslogs",
                        options={
                            "awslogs-group": fargate.log_groups[part].ref,
                            "awslogs-region": settings.aws_region,
                            "awslogs-stream-prefix": part,
                            "mode": "non-blocking",
                            "max-buffer-size": "4m",
                        },
                    ),
                )
            ],
        )
        acknowledge(
            self.definition,
            {"ECS2": "The environment holds names, addresses and limits; secrets come from Secrets Manager."},
        )
