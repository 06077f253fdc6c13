"""The template as cfn-lint and cdk-nag see it."""

import json

import pytest
from aws_cdk import App, Validations, aws_s3 as s3
from cdk_nag import AwsSolutionsChecks
from cfnlint import ManualArgs
from cfnlint.api import lint
from deployment import CERTIFICATE, DISCOVERY, EXISTING, GATEWAY, context, deployed

from smoother.settings import read
from smoother.stack import Smoother

EVERYTHING = GATEWAY | CERTIFICATE | DISCOVERY | {"allowed_source_buckets": ["big-one"], "usage_feed": True}
DEPLOYMENTS = {
    "smallest": {"autoscaling": False, "deletion_protection": False},
    "shipped": {},
    "everything": EVERYTHING,
    "existing network": EVERYTHING | EXISTING,
    "another Region": EVERYTHING | {"aws_region": "eu-west-1", "certificate_arn": ""},
    "open": GATEWAY | {"gateway_cidrs": ["0.0.0.0/0"], "allowed_models": ["*"]},
}


@pytest.mark.parametrize("given", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_cfn_lint_finds_nothing(given):
    assert findings(deployed(**given).template, given.get("aws_region", "us-east-1")) == []


def findings(template, region="us-east-1"):
    found = lint(json.dumps(template), config=ManualArgs(regions=[region]))
    return [f"{match.rule.id} {match.path}: {match.message}" for match in found]


def test_cfn_lint_would_find_something():
    (found,) = findings({"Resources": {"Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueNam": "x"}}}})
    assert "QueueNam" in found


def check(given, add=None):
    """Raises with the findings that are not acknowledged."""
    values = context(**given)
    app = App(context=values)
    stack = Smoother(app, read(values))
    if add:
        add(stack)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    app.synth()


@pytest.mark.parametrize("given", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_cdk_nag_finds_nothing_that_is_not_acknowledged(given):
    check(given)


def test_cdk_nag_would_find_something():
    with pytest.raises(RuntimeError, match="ValidationFailed"):
        check({}, lambda stack: s3.Bucket(stack, "Careless"))
