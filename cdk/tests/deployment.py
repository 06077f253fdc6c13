"""Synthesised templates to look at, each made once per context."""

import functools
import json
from pathlib import Path
from typing import Any

from aws_cdk import App, assertions

from smoother.settings import read
from smoother.stack import Smoother

HERE = Path(__file__).parents[1]
SHIPPED = json.loads((HERE / "cdk.json").read_text())["context"]
REQUIRED = {
    "notification_email": "oncall@example.com",
    "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/smoother:1.0.0",
}
GATEWAY = {"gateway_enabled": True, "gateway_cidrs": ["198.51.100.0/24", "203.0.113.7/32"]}
CERTIFICATE = {"certificate_arn": "arn:aws:acm:us-east-1:123456789012:certificate/0a1b"}
DISCOVERY = {"discovery_schedule": "rate(1 day)", "discovery_role_arns": ["arn:aws:iam::210987654321:role/models"]}
EXISTING = {"vpc_id": "vpc-0123456789abcdef0", "subnet_ids": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]}


def context(**given: Any) -> dict[str, Any]:
    """The shipped context with what it leaves open, and `given`."""
    return SHIPPED | REQUIRED | given


def stack(**given: Any) -> Smoother:
    values = context(**given)
    return Smoother(App(context=values), read(values))


class Deployed:
    """A template, with its resources by type and name."""

    def __init__(self, template: dict[str, Any]) -> None:
        self.template = template
        self.resources = template["Resources"]

    def all(self, kind: str) -> dict[str, dict[str, Any]]:
        """The resources of a type such as SQS::Queue by logical id."""
        return {id: found for id, found in self.resources.items() if found["Type"] == f"AWS::{kind}"}

    def one(self, kind: str, **named: Any) -> dict[str, Any]:
        """The properties of the one resource of the type that has these."""
        matching = [
            properties
            for found in self.all(kind).values()
            if (properties := found.get("Properties", {})).items() >= named.items()
        ]
        assert len(matching) == 1, f"{len(matching)} {kind} with {named}"
        return matching[0]

    def id(self, kind: str, **named: Any) -> str:
        properties = self.one(kind, **named)
        return next(id for id, found in self.all(kind).items() if found["Properties"] is properties)

    def arn(self, kind: str, **named: Any) -> dict[str, Any]:
        return {"Fn::GetAtt": [self.id(kind, **named), "Arn"]}

    def statements(self, role: str) -> dict[str, dict[str, Any]]:
        """The statements of the one policy of a role, by Sid; actions and resources as lists."""
        (policy,) = self.one("IAM::Role", RoleName=role)["Policies"]
        assert policy["PolicyName"] == role
        return {s["Sid"]: s | {k: as_list(s[k]) for k in ("Action", "Resource")} for s in _statements(policy)}

    def outputs(self) -> dict[str, Any]:
        return {name: output["Value"] for name, output in self.template["Outputs"].items()}

    def container(self, part: str) -> dict[str, Any]:
        (container,) = self.one("ECS::TaskDefinition", Family=f"smoother-{part}")["ContainerDefinitions"]
        return container

    def environment(self, part: str) -> dict[str, Any]:
        return {entry["Name"]: entry["Value"] for entry in self.container(part)["Environment"]}


def deployed(**given: Any) -> Deployed:
    return _deployed(json.dumps(given, sort_keys=True))


@functools.cache
def _deployed(given: str) -> Deployed:
    return Deployed(assertions.Template.from_stack(stack(**json.loads(given))).to_json())


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _statements(policy: dict[str, Any]) -> list[dict[str, Any]]:
    return policy["PolicyDocument"]["Statement"]


def joined(*parts: Any) -> dict[str, Any]:
    return {"Fn::Join": ["", list(parts)]}


ACCOUNT = {"Ref": "AWS::AccountId"}
