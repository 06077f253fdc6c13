"""What can be said of both deployments without deploying them: form, validity, their own tests, the judgement of linters."""

import json
import shutil

import pytest

from stack.cdk import Cdk
from stack.terraform import PRIVATE
from stack.tools import REPOSITORY, TERRAFORM, cdk_command, cdk_python, run, terraform_init
from stack.variables import DEFAULTS, EVERYTHING, SETTINGS

# Both deployments are made meanwhile, for the tests that follow: that is mostly waiting.
pytestmark = pytest.mark.usefixtures("deployments")
OFFLINE = {"AWS_EC2_METADATA_DISABLED": "true", "CDK_DISABLE_VERSION_CHECK": "1", "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1"}


@pytest.fixture(scope="module")
def terraform(tmp_path_factory):
    """Runs terraform on a copy, so that nothing is left in the checkout: terraform(*arguments)."""
    directory = tmp_path_factory.mktemp("checks") / "terraform"
    shutil.copytree(TERRAFORM, directory, ignore=PRIVATE)
    executable = terraform_init(directory)
    return lambda *arguments: run([executable, *arguments], directory, OFFLINE, 600)


def test_terraform_format(terraform):
    terraform("fmt", "-check", "-recursive", "-diff")


def test_terraform_validates(terraform):
    said = json.loads(terraform("validate", "-json"))
    assert said["valid"] and said["warning_count"] == 0, said["diagnostics"]


def test_terraform_tests(terraform):
    terraform("test", "-no-color")


def test_checkov(tmp_path):
    """Every exception is a comment with its reason, beside what it is about."""
    directory = tmp_path / "terraform"
    shutil.copytree(TERRAFORM, directory, ignore=PRIVATE)
    checkov = cdk_python().parent / "checkov"
    command = [checkov, "-d", directory, "--framework", "terraform", "--skip-download", "--compact", "-o", "json"]
    found = json.loads(run(command, tmp_path, OFFLINE, 300))
    summary = found["summary"]
    assert summary["failed"] == 0 and summary["parsing_errors"] == 0 and summary["passed"] > 100, summary
    reasons = {check["check_result"]["suppress_comment"] for check in found["results"]["skipped_checks"]}
    assert all(len(reason) > 20 for reason in reasons), reasons


def test_the_dockerfile(tmp_path):
    checkov = [cdk_python().parent / "checkov", "-f", REPOSITORY / "Dockerfile", "--framework", "dockerfile", "-o", "json"]
    summary = json.loads(run([*checkov, "--skip-download", "--quiet", "--compact"], tmp_path, OFFLINE, 300))["summary"]
    assert summary["failed"] == 0 and summary["parsing_errors"] == 0 and summary["passed"] > 20, summary


def test_the_scripts():
    scripts = sorted(path for path in (REPOSITORY / "scripts").iterdir() if path.read_bytes().startswith(b"#"))
    assert len(scripts) >= 8
    run([cdk_python().parent / "shellcheck", "--external-sources", "--source-path=SCRIPTDIR", *scripts, ".ci/run"], REPOSITORY, OFFLINE)


def test_cdk_tests(tmp_path):
    """The stack's own tests, cdk-nag among them."""
    env = {**OFFLINE, "PYTHONDONTWRITEBYTECODE": "1"}
    checkout = Cdk(tmp_path, "http://127.0.0.1:1").directory
    run([cdk_python(), "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"], checkout, env, 900)


@pytest.mark.parametrize("variables", [DEFAULTS, EVERYTHING], ids=["defaults", "everything"])
def test_cfn_lint(tmp_path, variables):
    stack = Cdk(tmp_path, "http://127.0.0.1:1", SETTINGS)
    path = tmp_path / "stack.template.json"
    path.write_text(json.dumps(stack.synth(variables)))
    run([cdk_python().parent / "cfn-lint", "--non-zero-exit-code", "informational", path], tmp_path, OFFLINE)


def test_cdk_refuses_what_cannot_be_deployed(tmp_path):
    """All that is wrong at once; what Terraform refuses is in its own tests."""
    stack = Cdk(tmp_path, "http://127.0.0.1:1")
    wrong = {**EVERYTHING, "notification_email": "nobody", "image": "smoother:latest", "average_request_duration": 0}
    values = [part for name, value in wrong.items() for part in ("-c", f"{name}={value}") if name in DEFAULTS or value == 0]
    command = [cdk_command(), "synth", "--quiet", "--app", f"{cdk_python()} app.py", *values]
    with pytest.raises(AssertionError) as refused:
        run(command, stack.directory, OFFLINE)
    for name in ("notification_email", "image", "average_request_duration"):
        assert name in str(refused.value)
