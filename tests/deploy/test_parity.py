"""Terraform and CDK deploy the same: resources, properties, policies, variables, outputs. What differs is on a list."""

import json
import re

import pytest

from parity.cloudformation import Template
from parity.form import Unmapped, differences
from parity.terraform import Plan
from stack.cdk import snake
from stack.terraform import resources
from stack.tools import CDK, TERRAFORM
from stack.variables import NAME

# (kind, name or *, path) → why. Each must be a difference, and every difference must be here.
DIFFERENCES = {
    ("*", "*", "Tags.ManagedBy"): "says which of the two made it",
    ("CloudWatch::Dashboard", "*", "Tags"): "the AWS provider 5.100 cannot tag dashboards",
    ("ECS::Service", "proof-worker", "DesiredCount"): "CloudFormation would set it back with every update; Terraform ignores it",
    ("IAM::ManagedPolicy", "*", "Tags"): "CloudFormation cannot tag managed policies",
    ("Glue::Database", "*", "Tags"): "CloudFormation cannot tag databases of Glue",
    ("SecretsManager::Secret", "*", "GenerateSecretString"): "for Terraform, whose state would hold it, scripts/deploy makes it",
    ("default security group", "default", ""): "CDK would need a function of its own to empty a VPC's default group",
}
# Variables that differ in a default, and why.
DEFAULTS = {
    "notification_email": "Terraform asks for a variable without default; CDK refuses the empty one",
    "image": "Terraform asks for a variable without default; CDK refuses the empty one",
}


@pytest.fixture(scope="session")
def forms(deployments):
    jobs, _ = deployments
    return Plan(jobs["terraform"].result().raw["plan"]), Template(jobs["cdk"].result().raw["template"])


def found(terraform, cdk):
    """Every difference: (kind, name, path) → (Terraform's, CDK's)."""
    one, other = terraform.form(), cdk.form()
    made = {}
    for kind, name in sorted(set(one) | set(other)):
        here, there = one.get((kind, name)), other.get((kind, name))
        short = kind.removeprefix("AWS::")
        if here is None or there is None:
            made[short, name, ""] = ("there" if here else "missing", "there" if there else "missing")
            continue
        made |= {(short, name, path): (a, b) for path, a, b in differences(here, there)}
    return made


def compare(terraform, cdk, complete=True):
    """Fails with every difference that is not on the list; if complete, with every entry of the list that is none."""
    seen = found(terraform, cdk)
    unexplained = {where: what for where, what in seen.items() if not any(explains(entry, where) for entry in DIFFERENCES)}
    assert not unexplained, "\n".join(f"{where}: Terraform {a!r}, CDK {b!r}" for where, (a, b) in unexplained.items())
    stale = [entry for entry in DIFFERENCES if not any(explains(entry, where) for where in seen)]
    assert not complete or not stale, f"these do not differ: {stale}"


def explains(entry, difference):
    return all(wanted in ("*", given) for wanted, given in zip(entry, difference))


def test_resources_and_properties_are_the_same(forms):
    compare(*forms)


def test_a_difference_is_found(forms):
    """The comparison itself, on templates that were tampered with."""
    terraform, cdk = forms
    for tamper in (
        lambda r: r["QueuesInput"]["Properties"].update(VisibilityTimeout=61),
        lambda r: r["WorkerTaskRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"][0].update(Action="sqs:*"),
        lambda r: r.pop("MonitoringNoWorker"),
        lambda r: r["WorkerTaskDefinition"]["Properties"]["ContainerDefinitions"][0]["Environment"].pop(),
    ):
        changed = json.loads(json.dumps(cdk.resources))
        tamper(changed)
        different = found(terraform, Template({"Resources": changed}))
        assert set(different) - set(found(terraform, cdk))


def test_nothing_is_passed_over(forms, deployments):
    """A property or a type that no map knows is an error, on either side."""
    terraform, cdk = forms

    def plan(change):
        raw = json.loads(json.dumps(deployments[0]["terraform"].result().raw["plan"]))
        change(next(r for r in resources(raw["planned_values"]["root_module"]) if r["type"] == "aws_sqs_queue"))
        return Plan(raw)

    assert plan(lambda queue: None).form() == terraform.form()
    with pytest.raises(Unmapped, match="kms_master_key_id"):
        plan(lambda queue: queue["values"].update(kms_master_key_id="alias/other")).form()
    with pytest.raises(Unmapped, match="aws_other"):
        plan(lambda queue: queue.update(type="aws_other"))
    changed = json.loads(json.dumps(cdk.resources))
    changed["QueuesInput"]["Properties"]["KmsMasterKeyId"] = "alias/other"
    assert ("SQS::Queue", f"{NAME}-input", "KmsMasterKeyId") in found(terraform, Template({"Resources": changed}))
    changed["QueuesInput"]["Type"] = "AWS::Other::Thing"
    with pytest.raises(Unmapped):
        Template({"Resources": changed}).form()


def test_outputs_are_the_same(forms):
    terraform, cdk = forms
    theirs = {snake(name): value for name, value in cdk.told().items()}
    ours = terraform.told()
    assert set(ours) == set(theirs)
    for name, value in ours.items():
        shown = re.sub(r"https?://[^/]+/(\d{12})/", r"https://sqs.us-east-1.amazonaws.com/\1/", str(value))
        assert shown == theirs[name], name


def test_variables_are_the_same(forms, deployments):
    """Names, types and defaults. The plan's own configuration has them resolved."""
    configured = deployments[0]["terraform"].result().raw["plan"]["configuration"]["root_module"]["variables"]
    context = json.loads((CDK / "cdk.json").read_text())["context"]
    assert set(configured) == set(context)
    different = {name for name in context if configured[name].get("default", "") != context[name]}
    assert different | {name for name in DEFAULTS if "default" not in configured[name]} == set(DEFAULTS)
    types = dict(re.findall(r'variable "(\w+)" \{\n\s+(?:[^\n]*\n)*?\s+type\s+= ([^\n]+)', (TERRAFORM / "variables.tf").read_text()))
    assert set(types) == set(configured)
    for name, value in context.items():
        written = {str: "string", bool: "bool", int: "number", float: "number", list: "list(string)", dict: "map(string)"}
        assert types[name] == written[type(value)], name
