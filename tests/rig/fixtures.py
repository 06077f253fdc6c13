"""Fixtures of every suite that runs the real binary; a suite's conftest names this module as a plugin."""

import os
from pathlib import Path

import pytest

from .processes import Processes

OURS = ("SMOOTHER_BIN", "SMOOTHER_VENV", "SMOOTHER_TERRAFORM", "SMOOTHER_CDK", "SMOOTHER_CDK_CLI", "SMOOTHER_DEPLOY_VENV")

for name in list(os.environ):
    # Nothing of the machine's configuration may reach boto3 here; processes get an environment of their own.
    if name.upper().endswith("_PROXY") or (name.startswith(("AWS_", "SMOOTHER_")) and name not in OURS):
        del os.environ[name]
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = "/dev/null"

from .places import AwsPlace, LocalPlace
from .services import Simulator, start_emulator

# Lines of each log that are shown when a test fails: what went wrong, and what was last.
TROUBLES, TAIL = 15, 15


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for processes in (item.funcargs.get("session_processes"), item.funcargs.get("processes")):
            for process in processes.all if processes else []:
                state = "running" if process.running else f"ended with {process.code}"
                report.sections.append((f"{process.name} ({state}): {process.log_path}", excerpt(process)))


def excerpt(process):
    lines = process.log_path.read_text(errors="replace").splitlines()
    head, tail = lines[:-TAIL], lines[-TAIL:]
    troubles = [line for line in head if '"WARN"' in line or '"ERROR"' in line or "panicked" in line][-TROUBLES:]
    return "\n".join(line[:400] for line in [*troubles, f"… {len(lines)} lines …", *tail])


@pytest.fixture(scope="session")
def binary():
    path = os.environ.get("SMOOTHER_BIN")
    assert path and Path(path).is_file(), "SMOOTHER_BIN must name the smoother binary; use scripts/test e2e"
    return Path(path).resolve()


@pytest.fixture(scope="session")
def session_processes(tmp_path_factory):
    processes = Processes(tmp_path_factory.mktemp("session"))
    yield processes
    processes.stop()


@pytest.fixture(scope="session")
def emulator(session_processes):
    """URL of the AWS emulator; tests share it and have queues, tables and a bucket of their own."""
    return start_emulator(session_processes)


@pytest.fixture
def processes(tmp_path):
    processes = Processes(tmp_path)
    yield processes
    processes.stop()


@pytest.fixture
def bedrock(binary, processes):
    """Starts simulated Bedrocks: bedrock(settings as TOML, seed)."""
    return lambda settings, seed=1: Simulator(processes, binary, settings, seed)


@pytest.fixture
def aws(binary, processes, emulator):
    """Makes places on AWS."""
    return lambda: AwsPlace(binary, processes, emulator)


@pytest.fixture
def local(binary, processes, tmp_path):
    """Makes a place in a directory."""
    return lambda: LocalPlace(binary, processes, tmp_path / "data")


@pytest.fixture
def smoother(binary, processes):
    """Runs a command to its end: smoother(*arguments, env=…) → the ended process."""

    def run(*arguments, env=None, seconds=60, code=0):
        process = processes.start(str(arguments[0]), [binary, *arguments], env)
        assert process.ended(seconds) == code, f"{arguments} ended with {process.code}:\n{process.log()[-4000:]}"
        return process

    return run


@pytest.fixture
def worker(binary, processes):
    """Starts workers: worker(place, simulator, *more arguments)."""

    def start(place, simulator, *more, name="worker"):
        endpoint = ["--bedrock-endpoint", simulator.url]
        return processes.start(name, [binary, "run", *place.flags, *endpoint, *more], place.env)

    return start
