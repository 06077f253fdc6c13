"""The worker's service, and how many of it run."""

from aws_cdk import aws_applicationautoscaling as autoscaling, aws_ecs as ecs
from constructs import Construct

from .network import to_aws, to_collector
from .policies import Grants
from .tasks import DRAIN_GRACE, Fargate, Task


class Worker(Construct):
    def __init__(
        self, scope: Construct, id: str, fargate: Fargate, grants: Grants, environment: dict[str, str]
    ) -> None:
        super().__init__(scope, id)
        settings = fargate.settings
        health = ecs.CfnTaskDefinition.HealthCheckProperty(
            command=["CMD", "/usr/local/bin/smoother", "health"], interval=30, timeout=5, retries=3, start_period=30
        )
        environment = environment | {"SMOOTHER_DRAIN_GRACE": DRAIN_GRACE, "SMOOTHER_HEALTH_LISTEN": "127.0.0.1:8080"}
        webhook = settings.alert_webhook_secret_arn
        task = Task(
            self,
            "Task",
            fargate,
            "worker",
            ["run"],
            grants.worker(),
            environment,
            health_check=health,
            secrets={"SMOOTHER_ALERT_WEBHOOK_URL": webhook} if webhook else None,
        )
        self.security_group = fargate.network.security_group(
            self,
            "SecurityGroup",
            "worker",
            f"Workers of {settings.name}: no ingress, HTTPS out",
            [to_aws(), *to_collector(settings.otlp_endpoint)],
        )
        # With autoscaling the number is not the template's, which would set it back with every deployment.
        replicas = None if settings.autoscaling else settings.min_replicas
        self.service = fargate.service(self, task, self.security_group, replicas)
        if settings.autoscaling:
            self._scale(fargate)

    def _scale(self, fargate: Fargate) -> None:
        """By backlog: not by processor, which calls do not use, and not by queues, which are kept short."""
        settings = fargate.settings
        target = autoscaling.CfnScalableTarget(
            self,
            "Replicas",
            service_namespace="ecs",
            scalable_dimension="ecs:service:DesiredCount",
            resource_id=f"service/{fargate.cluster.ref}/{self.service.attr_name}",
            min_capacity=settings.min_replicas,
            max_capacity=settings.max_replicas,
        )
        query = autoscaling.CfnScalingPolicy.TargetTrackingMetricDataQueryProperty

        def own(id: str, label: str, metric: str, stat: str) -> query:
            return query(
                id=id,
                label=label,
                metric_stat=autoscaling.CfnScalingPolicy.TargetTrackingMetricStatProperty(
                    metric=autoscaling.CfnScalingPolicy.TargetTrackingMetricProperty(
                        namespace=settings.metrics_namespace, metric_name=metric
                    ),
                    stat=stat,
                ),
                return_data=False,
            )

        autoscaling.CfnScalingPolicy(
            self,
            "BacklogPerReplica",
            policy_name=f"{settings.name}-backlog-per-replica",
            policy_type="TargetTrackingScaling",
            scaling_target_id=target.ref,
            target_tracking_scaling_policy_configuration=autoscaling.CfnScalingPolicy.TargetTrackingScalingPolicyConfigurationProperty(
                target_value=settings.backlog_per_replica,
                scale_out_cooldown=60,
                scale_in_cooldown=300,
                customized_metric_specification=autoscaling.CfnScalingPolicy.CustomizedMetricSpecificationProperty(
                    metrics=[
                        own("backlog", "Requests waiting", "Backlog", "Maximum"),
                        # Each worker counts itself once a minute, the period of these queries.
                        own("replicas", "Workers alive", "WorkersAlive", "Sum"),
                        # A minute without workers has no data, so the divisor is never 0.
                        query(
                            id="per_replica",
                            label="Requests waiting per worker",
                            expression="FILL(backlog, 0) / FILL(replicas, 1)",
                            return_data=True,
                        ),
                    ]
                ),
            ),
        )
