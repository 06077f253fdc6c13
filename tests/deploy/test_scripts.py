"""What an operator runs, as an operator runs it: scripts/deploy, settings, smoke, cleanup, on an emulator of their own."""

import json
import os
import shlex
import shutil
import subprocess

import pytest

from rig.processes import PLAIN, Processes
from rig.services import Simulator, start_emulator
from rig.traffic import simulated
from rig.waiting import wait_for
from stack.cdk import PRIVATE as CDK_PRIVATE
from stack.cdk import Cdk, trimmed
from stack.deployed import Cloud
from stack.inventory import inventory
from stack.jobs import Job
from stack.lacks import LACKS
from stack.terraform import PRIVATE as TERRAFORM_PRIVATE
from stack.tools import CDK, REPOSITORY, TERRAFORM, cdk_command, cdk_python
from stack.variables import DEFAULTS

NAME = "smoother"
BUCKET = f"{NAME}-bedrock-calls-000000000000"


class Operator:
    """Somebody with a checkout, credentials, and the AWS command line."""

    def __init__(self, kind, directory, binary, processes):
        self.kind, self.directory, self.binary, self.processes = kind, directory, binary, processes
        self.emulator = start_emulator(processes)
        self.checkout = directory / "checkout"
        shutil.copytree(REPOSITORY / "scripts", self.checkout / "scripts")
        shutil.copytree(TERRAFORM, self.checkout / "terraform", ignore=TERRAFORM_PRIVATE)
        shutil.copytree(CDK, self.checkout / "cdk", ignore=CDK_PRIVATE)
        (self.checkout / "cdk/node_modules").symlink_to(cdk_command().parents[1])
        tools = cdk_python().parent
        self.env = {
            **PLAIN,
            "PATH": f"{tools}:{PLAIN['PATH']}",
            "HOME": str(directory),
            "AWS_ENDPOINT_URL": self.emulator,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            "SMOOTHER_CDK_VENV": str(tools.parent),
            "CDK_DISABLE_VERSION_CHECK": "1",
            **{name: os.environ[name] for name in ("TF_PLUGIN_DIR",) if name in os.environ},
        }
        self.arguments = self.terraform_arguments() if kind == "terraform" else self.cdk_arguments()

    def terraform_arguments(self):
        variables = json.dumps({**DEFAULTS, "autoscaling": False})
        (self.checkout / "terraform/terraform.tfvars.json").write_text(variables)
        return []

    def cdk_arguments(self):
        """The template without what the emulator cannot be given. Made once, so it is never protected against deletion."""
        stack = Cdk(self.directory / "synth", self.emulator)
        template = stack.synth({**DEFAULTS, "autoscaling": False, "deletion_protection": False}, "out")
        out = stack.directory / "out"
        (out / f"{NAME}.template.json").write_text(json.dumps(trimmed(template, LACKS["cdk"])))
        return ["--app", str(out)]

    def run(self, script, *arguments, code=0, seconds=500):
        command = [self.checkout / "scripts" / script, self.kind, *arguments]
        done = subprocess.run(
            command, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds
        )
        told = f"scripts/{script} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        assert done.returncode == code, told
        return done

    def go(self):
        cloud = Cloud(self.emulator)
        before = inventory(cloud)
        self.unasked = self.run("deploy", *self.arguments, code=1)
        self.untouched = inventory(cloud) == before
        self.deployed = self.run("deploy", "--yes", *self.arguments)
        self.settings = self.run("settings").stdout
        exports = [shlex.split(line) for line in self.settings.splitlines()]
        self.exported = dict(words[1].split("=", 1) for words in exports)
        bedrock = Simulator(self.processes, self.binary, simulated())
        endpoints = {"AWS_ENDPOINT_URL": self.emulator, "SMOOTHER_BEDROCK_ENDPOINT": bedrock.url}
        keys = {name: self.env[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        self.nobody_works = self.run("smoke", "--seconds", "2", code=1)
        worker = self.processes.start("worker", [self.binary, "run"], {**self.exported, **endpoints, **keys})
        wait_for("the worker", lambda: "smoother works" in worker.log(), 60, alive=[worker])
        self.smoke = self.run("smoke")
        self.refused = self.run("smoke", "--model", "us.nobody.model-1", code=1)
        worker.stop()
        self.unconfirmed = self.run("cleanup", *self.arguments, code=1)
        self.misnamed = self.run("cleanup", "--yes", "smoother", *self.arguments, code=1)
        self.still_there = cloud.s3.list_object_versions(Bucket=BUCKET)["Versions"]
        self.cleaned = self.run("cleanup", "--yes", BUCKET, *self.arguments)
        self.left = {(kind, str(identity)) for kind, identity in inventory(cloud) - before}
        return self


@pytest.fixture(scope="session")
def operators(binary, tmp_path_factory):
    """Both at work at the same time, since most of it is waiting."""
    jobs, all_processes = {}, []
    for kind in ("terraform", "cdk"):
        directory = tmp_path_factory.mktemp(f"operator-{kind}")
        all_processes.append(Processes(directory))
        jobs[kind] = Job(lambda *given: Operator(*given).go(), kind, directory, binary, all_processes[-1])
    yield jobs
    for processes in all_processes:
        processes.stop()


@pytest.fixture(params=["terraform", "cdk"])
def operator(request, operators):
    return operators[request.param].result()


def test_nothing_is_changed_unasked(operator):
    assert "--yes" in operator.unasked.stderr and operator.untouched
    assert BUCKET in operator.unconfirmed.stderr and "nothing was changed" in operator.misnamed.stderr
    assert operator.still_there


def test_deploying_says_what_to_do_next(operator):
    for said in ("confirm the subscription", "dashboard: https://", f"scripts/settings {operator.kind}"):
        assert said in operator.deployed.stderr, operator.deployed.stderr


def test_settings_are_a_worker_s(operator):
    assert len(operator.exported) == 9 and all(operator.exported.values())
    assert operator.exported["SMOOTHER_BUCKET"] == BUCKET


def test_a_request_goes_through_and_back(operator):
    result = json.loads(operator.smoke.stdout)
    assert result["status"] == "SUCCEEDED" and result["request_id"].startswith("smoke-")
    assert "succeeded after" in operator.smoke.stderr


def test_what_fails_is_told_with_where_to_look(operator):
    assert "is a worker running?" in operator.nobody_works.stderr and f"{NAME}-worker" in operator.nobody_works.stderr
    assert json.loads(operator.refused.stdout)["error"]["type"] == "UnknownModel"
    assert "ended as REJECTED" in operator.refused.stderr


def test_cleaning_up_leaves_nothing_but_the_tools_own(operator):
    assert "versions deleted" in operator.cleaned.stderr
    # The CDK's bootstrap is the account's, not smoother's.
    assert not {(kind, identity) for kind, identity in operator.left if NAME in identity}, operator.left
