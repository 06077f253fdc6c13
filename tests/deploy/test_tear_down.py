"""The end of a deployment: nothing to do twice, what must not go is protected, and nothing is left. Last of the suite."""

import pytest
from botocore.exceptions import ClientError

from rig.places import client
from stack.cdk import STAGING
from stack.inventory import inventory
from stack.lacks import DRIFT, LACKS
from stack.variables import NAME, SOURCE_BUCKET


def test_deploying_again_changes_nothing(deployed):
    if deployed.kind == "cdk":
        assert deployed.stack.changes(deployed.variables, LACKS["cdk"]) == []
        other = {**deployed.variables, "retention_days": 21}
        changed = {change["ResourceChange"]["LogicalResourceId"] for change in deployed.stack.changes(other, LACKS["cdk"])}
        assert "PayloadsBucket" in changed and "TablesRequests" not in changed
        return
    plan = deployed.stack.plan(deployed.variables)
    changes = [change for change in plan["resource_changes"] if change["change"]["actions"] != ["no-op"]]
    drift = {}
    for change in changes:
        assert change["change"]["actions"] == ["update"], change["address"]
        before, after = change["change"]["before"], change["change"]["after"]
        names = {name for name in after if after[name] != before.get(name)}
        drift.setdefault(change["type"], set()).update(names)
    assert drift == {kind: set(names) for kind, (names, _) in DRIFT.items()}


def test_what_must_not_go_is_protected(deployed, worked):
    for output in ("requests_table_name", "reporting_table_name"):
        with pytest.raises(ClientError):
            deployed.cloud.dynamodb.delete_table(TableName=deployed.outputs[output])
    if deployed.kind == "cdk":
        kept = {"AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::KMS::Key", "AWS::Logs::LogGroup"}
        template = deployed.raw["template"]["Resources"].values()
        retained = {resource["Type"] for resource in template if resource.get("DeletionPolicy") == "Retain"}
        assert kept <= retained


def empty(cloud, bucket):
    """Every version of every object."""
    for page in cloud.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        versions = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        for version in versions:
            cloud.s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])


def test_nothing_is_left(deployed, worked):
    unprotected = {**deployed.variables, "deletion_protection": False}
    deployed.stack.deploy(unprotected, *([LACKS["cdk"]] if deployed.kind == "cdk" else []))
    table = deployed.cloud.dynamodb.describe_table(TableName=f"{NAME}-requests")["Table"]
    assert not table["DeletionProtectionEnabled"]
    empty(deployed.cloud, deployed.outputs["bedrock_calls_bucket_name"])
    deployed.stack.destroy(unprotected)
    # What the run and the way of deploying made themselves.
    sqs = client("sqs", deployed.emulator)
    sqs.delete_queue(QueueUrl=worked.on_call)
    for bucket in (SOURCE_BUCKET, *([STAGING] if deployed.kind == "cdk" else [])):
        empty(deployed.cloud, bucket)
        deployed.cloud.s3.delete_bucket(Bucket=bucket)
    left = {(kind, identity) for kind, identity in inventory(deployed.cloud) - deployed.before}
    left = {(kind, identity) for kind, identity in left if not (kind == "subscription" and f"{NAME}-on-call" in identity[2])}
    assert left == set()
