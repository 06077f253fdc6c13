import json
import subprocess

import pytest

from rig.processes import Processes
from rig.services import Simulator, start_emulator
from rig.wire import Wire
from stack.cdk import Cdk
from stack.deployed import Cloud, Deployed
from stack.inventory import inventory
from stack.jobs import Job
from stack.lacks import LACKS
from stack.run import Run
from stack.terraform import Terraform
from stack.variables import EVERYTHING, NAME, SETTINGS

pytest_plugins = ["rig.fixtures"]


@pytest.fixture
def wire(emulator):
    wire = Wire(emulator)
    yield wire
    wire.stop()


def deploy(kind, directory, emulator):
    """Everything the emulator can take, of every switch."""
    before = inventory(Cloud(emulator))
    if kind == "terraform":
        stack = Terraform(directory, emulator, SETTINGS)
        variables = {**EVERYTHING, "autoscaling": False}
        outputs = stack.deploy(variables)
        raw = {"state": stack.state(), "plan": stack.plan(EVERYTHING)}
    else:
        stack, variables = Cdk(directory, emulator, SETTINGS), EVERYTHING
        outputs = stack.deploy(variables, LACKS["cdk"])
        raw = {"template": stack.template, "physical": stack.physical()}
    return Deployed(kind, stack, emulator, variables, outputs, before, raw)


@pytest.fixture(scope="session")
def deployments(session_processes, tmp_path_factory, binary):
    """Both deployments, each on an emulator of its own, made side by side; and a worker's run on each right after."""
    jobs, runs = {}, {}

    def run(kind, directory, processes):
        deployed = jobs[kind].result()
        return Run(deployed, binary, processes, lambda settings: Simulator(processes, binary, settings)).go()

    all_processes = []
    for kind in ("terraform", "cdk"):
        directory = tmp_path_factory.mktemp(kind)
        emulator = start_emulator(session_processes)
        jobs[kind] = Job(deploy, kind, directory, emulator)
        all_processes.append(Processes(directory))
        runs[kind] = Job(run, kind, directory, all_processes[-1])
    yield jobs, runs
    for processes in all_processes:
        processes.stop()


@pytest.fixture(scope="session", params=["terraform", "cdk"])
def deployed(request, deployments):
    return deployments[0][request.param].result()


@pytest.fixture(scope="session")
def worked(deployed, deployments):
    """The run of a worker on the deployment."""
    return deployments[1][deployed.kind].result()


@pytest.fixture(scope="session")
def schema(binary):
    """What the code says a deployment must provide."""
    said = subprocess.run([binary, "schema", "--prefix", NAME], capture_output=True, check=True, timeout=30)
    return json.loads(said.stdout)
