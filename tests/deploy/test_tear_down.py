"""The end of a deployment: nothing to do twice, what must not go is protected, and nothing is left. Last of the suite."""

import pytest
from botocore.exceptions import ClientError

from rig.places import client
from parity.cloudformation import Template
from parity.terraform import Plan
from stack.cdk import STAGING, Cdk
from stack.inventory import inventory
from stack.lacks import DRIFT, LACKS
from stack.variables import LITTLE, NAME, SOURCE_BUCKET
from test_parity import compare


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
        retained = {resource["Type"] for resource in template if resource.get("DeletionPolicy", "").startswith("Retain")}
        assert kept <= retained


def empty(cloud, bucket):
    """Every version of every object."""
    for page in cloud.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        versions = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        for version in versions:
            cloud.s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])


def test_switching_everything_off(deployed, worked, tmp_path):
    """From every switch on to none: an update that takes things away, after which both are the same again."""
    deployed.stack.deploy({**deployed.variables, "deletion_protection": False}, *without(deployed))
    deployed.stack.settings_file = ""
    outputs = deployed.stack.deploy({**LITTLE, "autoscaling": deployed.variables["autoscaling"]}, *without(deployed))
    off = {name for name, value in outputs.items() if not value}
    assert off == {"gateway_url", "gateway_service_name", "gateway_admin_secret_arn", "discovery_task_definition_arn"} | {
        "export_task_definition_arn", "analyst_policy_arn", "athena_workgroup_name", "athena_table"
    }
    kinds = {kind for kind, _ in inventory(deployed.cloud) - deployed.before}
    assert not kinds & {"load balancer", "listener", "target group", "schedule"}, kinds
    sids = {statement["Sid"] for statement in deployed.policies(f"{NAME}-worker")[f"{NAME}-worker"]["Statement"]}
    assert "Requests" in sids and not sids & {"Sources", "UsageFeed"}
    table = deployed.cloud.dynamodb.describe_table(TableName=f"{NAME}-requests")["Table"]
    assert not table["DeletionProtectionEnabled"]
    if deployed.kind == "terraform":
        stack = Cdk(tmp_path, deployed.emulator)
        compare(Plan(deployed.stack.plan(LITTLE)), Template(stack.synth(LITTLE)), complete=False)


def without(deployed):
    return [LACKS["cdk"]] if deployed.kind == "cdk" else []


def test_nothing_is_left(deployed, worked):
    empty(deployed.cloud, deployed.outputs["bedrock_calls_bucket_name"])
    deployed.stack.destroy({**LITTLE, "autoscaling": False})
    # What the run and the way of deploying made themselves.
    sqs = client("sqs", deployed.emulator)
    sqs.delete_queue(QueueUrl=worked.on_call)
    for bucket in (SOURCE_BUCKET, *([STAGING] if deployed.kind == "cdk" else [])):
        empty(deployed.cloud, bucket)
        deployed.cloud.s3.delete_bucket(Bucket=bucket)
    left = {(kind, identity) for kind, identity in inventory(deployed.cloud) - deployed.before}
    left = {(kind, identity) for kind, identity in left if not (kind == "subscription" and f"{NAME}-on-call" in identity[2])}
    assert left == set()
