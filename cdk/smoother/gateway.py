"""The gateway's service behind a load balancer, and the key of its administrators."""

from aws_cdk import (
    aws_ec2 as ec2,
    aws_ecs as ecs,
    aws_elasticloadbalancingv2 as elb,
    aws_kms as kms,
    aws_secretsmanager as secretsmanager,
)
from constructs import Construct

from .network import to_aws
from .notes import acknowledge
from .policies import Grants
from .settings import Settings
from .tasks import DRAIN_GRACE, Fargate, Task

PORT = 8080
IDLE_SECONDS = 900
"""As long as a model call may take before its first byte."""
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"


def admin_key(scope: Construct, settings: Settings, key: kms.IKey) -> secretsmanager.CfnSecret:
    """CloudFormation makes the value up: with an empty secret no gateway starts, and the stack would roll back."""
    secret = secretsmanager.CfnSecret(
        scope,
        "GatewayAdminKey",
        name=f"{settings.name}/gateway-admin-key",
        description=f"Key of the administrator of the gateway of {settings.name}",
        kms_key_id=key.key_arn,
        generate_secret_string=secretsmanager.CfnSecret.GenerateSecretStringProperty(
            password_length=48, exclude_punctuation=True
        ),
    )
    acknowledge(
        secret,
        {"SMG4": "People and programs hold this key: whoever rotates it tells them, and then starts the service anew."},
    )
    return secret


class Gateway(Construct):
    def __init__(
        self,
        scope: Construct,
        id: str,
        fargate: Fargate,
        grants: Grants,
        environment: dict[str, str],
        admin: secretsmanager.CfnSecret,
    ) -> None:
        super().__init__(scope, id)
        self._settings = settings = fargate.settings
        self._network = fargate.network
        task = Task(
            self,
            "Task",
            fargate,
            "gateway",
            ["serve", "--listen", f"0.0.0.0:{PORT}"],
            grants.gateway(),
            environment | {"SMOOTHER_DRAIN_GRACE": DRAIN_GRACE},
            port=PORT,
            secrets={"SMOOTHER_ADMIN_KEY": admin.attr_id},
        )
        tasks_group, balancer_group = self._security_groups()
        self._balancer = self._load_balancer(balancer_group)
        targets = elb.CfnTargetGroup(
            self,
            "Targets",
            name=f"{settings.name}-gateway",
            target_type="ip",
            protocol="HTTP",
            port=PORT,
            vpc_id=self._network.vpc_id,
            health_check_protocol="HTTP",
            health_check_path="/ready",
            matcher=elb.CfnTargetGroup.MatcherProperty(http_code="200"),
            healthy_threshold_count=2,
            unhealthy_threshold_count=2,
        )
        listener = self._listen(targets)
        self.service = fargate.service(
            self,
            task,
            tasks_group,
            settings.gateway_replicas,
            ecs.CfnService.LoadBalancerProperty(
                container_name="gateway", container_port=PORT, target_group_arn=targets.ref
            ),
        )
        self.service.add_resource_dependency(listener)

    @property
    def url(self) -> str:
        return f"{'https' if self._settings.certificate_arn else 'http'}://{self._balancer.attr_dns_name}"

    def _security_groups(self) -> tuple[ec2.CfnSecurityGroup, ec2.CfnSecurityGroup]:
        """Of the tasks and of the load balancer."""
        name = self._settings.name
        ports = [80, 443] if self._settings.certificate_arn else [80]
        tasks = self._network.security_group(
            self, "SecurityGroup", "gateway", f"Tasks of {name}-gateway: from the load balancer, HTTPS out", [to_aws()]
        )
        balancer = self._network.security_group(
            self,
            "BalancerSecurityGroup",
            "gateway-alb",
            f"Load balancer of {name}-gateway: from gateway_cidrs to the gateway",
            ingress=[
                ec2.CfnSecurityGroup.IngressProperty(
                    ip_protocol="tcp", from_port=port, to_port=port, cidr_ip=cidr, description="Clients"
                )
                for cidr in self._settings.gateway_cidrs
                for port in ports
            ],
            egress=[
                ec2.CfnSecurityGroup.EgressProperty(
                    ip_protocol="tcp",
                    from_port=PORT,
                    to_port=PORT,
                    destination_security_group_id=tasks.attr_group_id,
                    description="Gateway",
                )
            ],
        )
        if "0.0.0.0/0" in self._settings.gateway_cidrs:
            acknowledge(
                balancer, {"EC23": "The setting gateway_cidrs opens the gateway to everybody; keys protect it."}
            )
        # A resource of its own, as the two groups refer to each other.
        ec2.CfnSecurityGroupIngress(
            self,
            "FromBalancer",
            group_id=tasks.attr_group_id,
            ip_protocol="tcp",
            from_port=PORT,
            to_port=PORT,
            source_security_group_id=balancer.attr_group_id,
            description="Load balancer",
        )
        return tasks, balancer

    def _load_balancer(self, security_group: ec2.CfnSecurityGroup) -> elb.CfnLoadBalancer:
        attributes = {
            "idle_timeout.timeout_seconds": str(IDLE_SECONDS),
            "routing.http.drop_invalid_header_fields.enabled": "true",
            "deletion_protection.enabled": str(self._settings.deletion_protection).lower(),
        }
        balancer = elb.CfnLoadBalancer(
            self,
            "Balancer",
            name=f"{self._settings.name}-gateway",
            type="application",
            scheme="internet-facing",
            subnets=self._network.subnet_ids,
            security_groups=[security_group.attr_group_id],
            load_balancer_attributes=[
                elb.CfnLoadBalancer.LoadBalancerAttributeProperty(key=key, value=value)
                for key, value in attributes.items()
            ],
        )
        balancer.node.add_dependency(*self._network.ready)
        acknowledge(
            balancer,
            {
                "ELB2": "The gateway records every request in the requests table; access logs need a bucket of their "
                "own."
            },
        )
        return balancer

    def _listen(self, targets: elb.CfnTargetGroup) -> elb.CfnListener:
        """The listener that leads to the targets: HTTPS when there is a certificate, and then HTTP leads there."""
        action = elb.CfnListener.ActionProperty
        forward = action(type="forward", target_group_arn=targets.ref)
        balancer = self._balancer.ref
        if not self._settings.certificate_arn:
            return elb.CfnListener(
                self, "Http", load_balancer_arn=balancer, port=80, protocol="HTTP", default_actions=[forward]
            )
        to_https = elb.CfnListener.RedirectConfigProperty(status_code="HTTP_301", protocol="HTTPS", port="443")
        elb.CfnListener(
            self,
            "Http",
            load_balancer_arn=balancer,
            port=80,
            protocol="HTTP",
            default_actions=[action(type="redirect", redirect_config=to_https)],
        )
        return elb.CfnListener(
            self,
            "Https",
            load_balancer_arn=balancer,
            port=443,
            protocol="HTTPS",
            ssl_policy=TLS_POLICY,
            certificates=[elb.CfnListener.CertificateProperty(certificate_arn=self._settings.certificate_arn)],
            default_actions=[forward],
        )
