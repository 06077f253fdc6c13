"""The services around smoother: the AWS emulator and the simulated Bedrock."""

import json
import os
import socket
import urllib.error
import urllib.request
from pathlib import Path

from .waiting import wait_for

# Loopback only, whatever proxy the machine has.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http(method, url, body=None, seconds=30):
    """(status, body) of a request; an error status is no exception."""
    headers = {"content-type": "application/json"} if body is not None else {}
    request = urllib.request.Request(url, method=method, data=body, headers=headers)
    try:
        with OPENER.open(request, timeout=seconds) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_emulator(processes):
    """The AWS emulator on a free port; answers with its URL."""
    executable = Path(os.environ["SMOOTHER_VENV"]) / "bin" / "ministack"
    assert executable.is_file(), f"there is no {executable}; run scripts/test, which installs it"

    def answers(port):
        try:
            return http("GET", f"http://127.0.0.1:{port}/_ministack/health")[0] == 200
        except OSError:
            return False

    for _ in range(5):
        port = free_port()
        env = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "LOG_LEVEL": "WARNING"}
        process = processes.start("ministack", [executable], env)
        # It ends at once when somebody else was faster to take the port.
        wait_for("the AWS emulator", lambda: not process.running or answers(port), 60)
        if process.running:
            return f"http://127.0.0.1:{port}"
    raise AssertionError("the AWS emulator does not start; see its log")


class Simulator:
    """`smoother simulate-bedrock`, and what it knows."""

    def __init__(self, processes, binary, settings, seed=1):
        path = processes.directory / f"bedrock-{len(processes.all)}.toml"
        path.write_text(settings)
        command = [binary, "simulate-bedrock", "--listen", "127.0.0.1:0", "--settings", path, "--seed", seed]
        self.process = processes.start("bedrock", command)
        line = wait_for("the simulator's URL", lambda: "\n" in self.process.out(), 30, alive=[self.process])
        assert line
        self.url = self.process.out().split("\n")[0]

    def get(self, path):
        status, body = http("GET", f"{self.url}/_sim/{path}")
        assert status == 200, body
        return json.loads(body)

    def stats(self):
        return self.get("stats")

    def in_flight(self):
        return self.stats()["total"]["in_flight"]

    def worked(self):
        """Key → calls whose work was done: those that Bedrock bills."""
        return self.get("calls")

    def came(self):
        """Key → calls of any outcome."""
        return self.get("calls?outcome=any")

    def change(self, **patch):
        status, body = http("POST", f"{self.url}/_sim/settings", json.dumps(patch).encode())
        assert status == 200, body

    def converse(self, model, body):
        """Converse with these very bytes."""
        return http("POST", f"{self.url}/model/{model}/converse", body)
