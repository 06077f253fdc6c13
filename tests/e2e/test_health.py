"""Health checks, as a container runs them: over HTTP, and by the binary itself."""

import signal
import socket
import urllib.error
import urllib.request

from rig.traffic import good, simulated, worker_settings
from rig.waiting import wait_for


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode().strip()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode().strip()
    except OSError:
        return None, ""


def test_health_of_a_worker_from_its_start_to_its_end(local, bedrock, worker, smoother, processes, binary):
    port, place = free_port(), local()
    simulator = bedrock(simulated(1, base_ms=6_000))
    # All that a container has: no file, settings as text.
    settings = worker_settings(max_concurrent_executions=8)
    place.env = {**place.env, "SMOOTHER_SETTINGS": settings, "SMOOTHER_HEALTH_LISTEN": f"127.0.0.1:{port}"}
    asker = {"SMOOTHER_HEALTH_LISTEN": f"127.0.0.1:{port}"}

    nobody = smoother("health", env=asker, code=1, seconds=10)
    assert len(nobody.log().strip().splitlines()) == 1 and "no worker answers" in nobody.log(), nobody.log()

    process = worker(place, simulator)
    wait_for("a worker that is ready", lambda: get(port, "/ready") == (200, "ok"), 20, 0.1, [process])
    assert get(port, "/live") == (200, "ok")
    assert get(port, "/health")[0] == 404
    assert get(port, "/metrics")[0] == 200
    smoother("health", env=asker, seconds=10)
    smoother("health", "--ready", "--url", f"http://127.0.0.1:{port}/", seconds=10)

    # A second one on the same port says so at once.
    second = processes.start("second", [binary, "run", *place.flags, "--bedrock-endpoint", simulator.url], place.env)
    assert second.ended(15) == 1
    assert "health_listen" in second.log() and f"127.0.0.1:{port}" in second.log(), second.log()

    place.send([good(0).text])
    wait_for("a call in flight", lambda: simulator.in_flight() >= 1, 20, 0.1, [process])
    process.signal(signal.SIGTERM)
    wait_for("it to be stopping", lambda: get(port, "/ready") == (503, "stopping"), 2, 0.05, [process])
    assert get(port, "/live") == (200, "ok"), "a worker that drains is alive"
    smoother("health", env=asker, seconds=10)
    stopping = smoother("health", "--ready", env=asker, code=1, seconds=10)
    assert "stopping" in stopping.log()
    assert simulator.in_flight() == 1, "all of this is to be seen while a call is in flight"
    assert process.ended(20) == 0
    assert get(port, "/live") == (None, "")
    assert place.finished() == 1
