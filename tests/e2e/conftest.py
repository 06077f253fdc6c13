import os
import subprocess
import uuid

import pytest
from rig import VENV, Aws, Local, Simulator, free_port, until


def pytest_configure(config):
    for name in ("SMOOTHER_BIN", "SMOOTHER_VENV"):
        if name not in os.environ:
            raise pytest.UsageError(f"{name} is not set; run ./scripts/test e2e")


@pytest.fixture(scope="session")
def emulator(tmp_path_factory):
    """The URL of an AWS emulator of this session's own."""
    port = free_port()
    log = (tmp_path_factory.mktemp("emulator") / "ministack.log").open("wb")
    env = {"PATH": os.environ["PATH"], "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "HOME": os.environ["HOME"]}
    process = subprocess.Popen([VENV / "bin" / "ministack"], env=env, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"

    def up():
        import urllib.error
        import urllib.request

        try:
            urllib.request.urlopen(url, timeout=1)
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    until("the AWS emulator is up", up, 60)
    yield url
    process.terminate()
    process.wait(10)


@pytest.fixture
def aws(emulator):
    return Aws(emulator, f"e2e-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def local(tmp_path):
    return Local(tmp_path / "data")


@pytest.fixture
def simulate(tmp_path):
    """Starts simulated Bedrocks; ends them with the test."""
    started = []

    def start(**settings):
        simulator = Simulator(tmp_path, f"simulator-{len(started)}", **settings)
        started.append(simulator)
        return simulator

    yield start
    for simulator in started:
        simulator.process.kill()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the ends of all logs of a test that failed."""
    outcome = yield
    report = outcome.get_result()
    directory = item.funcargs.get("tmp_path")
    if report.when == "call" and report.failed and directory:
        for log in sorted(directory.glob("*.log")):
            tail = log.read_text(errors="replace").splitlines()[-25:]
            report.sections.append((log.name, "\n".join(line[:400] for line in tail)))
