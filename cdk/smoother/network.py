"""A VPC with two public subnets, or an existing one, and the security groups."""

import ipaddress
from itertools import islice
from urllib.parse import urlsplit

from aws_cdk import CfnTag, Fn, aws_ec2 as ec2
from constructs import Construct, IDependable

from .notes import acknowledge
from .settings import Settings


class Network(Construct):
    """`ready` is what must be there before a task can reach anything."""

    def __init__(self, scope: Construct, id: str, settings: Settings) -> None:
        super().__init__(scope, id)
        self._settings = settings
        self.ready: list[IDependable] = []
        if settings.vpc_id:
            self.vpc_id, self.subnet_ids = settings.vpc_id, settings.subnet_ids
        else:
            self.vpc_id, self.subnet_ids = self._vpc()

    def security_group(
        self,
        scope: Construct,
        id: str,
        name: str,
        description: str,
        egress: list[ec2.CfnSecurityGroup.EgressProperty],
        ingress: list[ec2.CfnSecurityGroup.IngressProperty] | None = None,
    ) -> ec2.CfnSecurityGroup:
        name = f"{self._settings.name}-{name}"
        return ec2.CfnSecurityGroup(
            scope,
            id,
            group_name=name,
            group_description=description,
            vpc_id=self.vpc_id,
            security_group_ingress=ingress,
            security_group_egress=egress,
            tags=[CfnTag(key="Name", value=name)],
        )

    def _vpc(self) -> tuple[str, list[str]]:
        name, region = self._settings.name, self._settings.aws_region
        vpc = ec2.CfnVPC(
            self,
            "Vpc",
            cidr_block=self._settings.vpc_cidr,
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags=[CfnTag(key="Name", value=name)],
        )
        acknowledge(
            vpc,
            {
                "VPC7": "Tasks take no connections and only open their own to AWS; flow logs of that would cost more "
                "than they tell."
            },
        )
        gateway = ec2.CfnInternetGateway(self, "InternetGateway", tags=[CfnTag(key="Name", value=name)])
        attachment = ec2.CfnVPCGatewayAttachment(
            self,
            "InternetGatewayAttachment",
            vpc_id=vpc.attr_vpc_id,
            internet_gateway_id=gateway.attr_internet_gateway_id,
        )
        routes = ec2.CfnRouteTable(
            self, "RouteTable", vpc_id=vpc.attr_vpc_id, tags=[CfnTag(key="Name", value=f"{name}-public")]
        )
        out = ec2.CfnRoute(
            self,
            "InternetRoute",
            route_table_id=routes.attr_route_table_id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=gateway.attr_internet_gateway_id,
        )
        out.add_resource_dependency(attachment)
        self.ready.append(out)

        subnets = []
        for number, cidr in enumerate(subnet_cidrs(self._settings.vpc_cidr), 1):
            subnet = ec2.CfnSubnet(
                self,
                f"PublicSubnet{number}",
                vpc_id=vpc.attr_vpc_id,
                cidr_block=cidr,
                availability_zone=Fn.select(number - 1, Fn.get_azs()),
                map_public_ip_on_launch=False,
                tags=[CfnTag(key="Name", value=f"{name}-public-{number}")],
            )
            self.ready.append(
                ec2.CfnSubnetRouteTableAssociation(
                    self,
                    f"PublicSubnet{number}Routes",
                    subnet_id=subnet.attr_subnet_id,
                    route_table_id=routes.attr_route_table_id,
                )
            )
            subnets.append(subnet.attr_subnet_id)

        for service in ("s3", "dynamodb"):
            ec2.CfnVPCEndpoint(
                self,
                f"{service.title()}Endpoint",
                vpc_id=vpc.attr_vpc_id,
                service_name=f"com.amazonaws.{region}.{service}",
                vpc_endpoint_type="Gateway",
                route_table_ids=[routes.attr_route_table_id],
                tags=[CfnTag(key="Name", value=f"{name}-{service}")],
            )
        return vpc.attr_vpc_id, subnets


def to_aws() -> ec2.CfnSecurityGroup.EgressProperty:
    """Everything a task calls speaks HTTPS. The VPC's resolver needs no rule."""
    return ec2.CfnSecurityGroup.EgressProperty(
        ip_protocol="tcp", from_port=443, to_port=443, cidr_ip="0.0.0.0/0", description="AWS endpoints"
    )


def to_collector(endpoint: str) -> list[ec2.CfnSecurityGroup.EgressProperty]:
    """The way to the collector of traces, where there is one that HTTPS does not reach anyway."""
    url = urlsplit(endpoint)
    port = url.port or (443 if url.scheme in ("", "https") else 80)
    if port == 443:
        return []
    return [
        ec2.CfnSecurityGroup.EgressProperty(
            ip_protocol="tcp",
            from_port=port,
            to_port=port,
            cidr_ip="0.0.0.0/0",
            description="The collector of traces",
        )
    ]


def subnet_cidrs(vpc_cidr: str) -> list[str]:
    """Two subnets, a sixteenth of the network each: room for more beside them."""
    network = ipaddress.IPv4Network(vpc_cidr)
    return [str(subnet) for subnet in islice(network.subnets(prefixlen_diff=4), 2)]
