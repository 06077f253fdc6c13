"""Findings of cdk-nag that are meant to be, with the reason, noted where they arise. Nothing of it is deployed."""

from typing import Any

from aws_cdk import Acknowledgment, Stack, Validations, aws_iam as iam
from constructs import Construct

_NO_RESOURCES = "The service knows no resources for these actions."
_WHY_WILDCARDS = {
    "Login": _NO_RESOURCES,
    "Metrics": _NO_RESOURCES + " The condition allows one namespace.",
    "UsageFeed": _NO_RESOURCES,
    "Quotas": _NO_RESOURCES,
    "Discover": _NO_RESOURCES,
    "Image": "The image may be in any repository of the account: its address is a setting.",
    "Bodies": "Bodies are named by the ids of requests, in a bucket that holds nothing else.",
    "Catalog": "Models are named by their ids, below one prefix.",
    "Exports": "Files are named by days and hours, below one prefix.",
    "Results": "Athena names the results of queries, below one prefix.",
    "Console": _NO_RESOURCES,
    "Sources": "Producers name the objects; the buckets are a setting.",
    "Models": "The setting allowed_models has patterns, and profiles of a geography lead to models in any of its "
    "Regions.",
    "Run": "Every revision of one task definition, so that a new one needs no new policy first.",
}
"""By the Sid of the statement."""


def acknowledge(construct: Construct, reasons: dict[str, str]) -> None:
    """`reasons` by the rule of the AwsSolutions pack, such as S1."""
    notes = [Acknowledgment(id=f"AwsSolutions-{rule}", reason=reason) for rule, reason in reasons.items()]
    Validations.of(construct).acknowledge(*notes)


def acknowledge_wildcards(role: iam.Role | iam.ManagedPolicy, statements: list[iam.PolicyStatement]) -> None:
    """Only those of statements known here: a wildcard in another one stays a finding."""
    for statement in statements:
        resolved = Stack.of(role).resolve(statement.to_statement_json())
        resources = resolved["Resource"] if isinstance(resolved["Resource"], list) else [resolved["Resource"]]
        for resource in map(_as_cdk_nag_writes, resources):
            if "*" in resource and (reason := _WHY_WILDCARDS.get(resolved["Sid"])):
                acknowledge(role, {f"IAM5[Resource::{resource}]": reason})


def _as_cdk_nag_writes(value: Any) -> str:
    match value:
        case str():
            return value
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
        case {"Fn::Join": [between, parts]}:
            return between.join(map(_as_cdk_nag_writes, parts))
    raise ValueError(f"an ARN made in a way not foreseen here: {value}")
