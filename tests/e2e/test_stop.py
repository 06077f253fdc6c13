"""Stopping in order, working side by side, and working apart."""

import json
import signal
from collections import Counter

import pytest

from rig.places import FINAL
from rig.traffic import good, simulated, worker_settings
from rig.waiting import wait_for

QUICK = ["--set", "plan_interval=200ms"]
CONCURRENT = 8


@pytest.fixture(params=["embedded", "aws"])
def place(request):
    return request.getfixturevalue("local" if request.param == "embedded" else "aws")()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "smoother.toml"
    path.write_text(worker_settings(max_concurrent_executions=CONCURRENT, queue_depth_threshold=30))
    return path


def send(place, count):
    goods = [m for m in (good(n) for n in range(count * 2)) if m.kind in ("plain", "tool", "image")][:count]
    place.send([message.text for message in goods])
    return {message.name for message in goods}


def check_each_once(place, simulator, names):
    """Every request has one end, one report, one result, and was called once."""
    rows, reports, worked = place.rows(), Counter(place.report_ids()), simulator.worked()
    results = Counter(result["request_id"] for result, _ in place.take_results(wait=1))
    assert {name: row["status"] for name, row in rows.items()} == dict.fromkeys(names, "SUCCEEDED")
    once = dict.fromkeys(names, 1)
    assert reports == once and results == once
    assert worked == once, {name: count for name, count in worked.items() if count != 1}
    assert not any(place.depths().values()), place.depths()


def finished_by(process):
    lines = [json.loads(line) for line in process.log().splitlines() if "request finished" in line]
    return {line["request_id"] for line in lines if line["message"] == "request finished"}


def test_sigterm_finishes_what_is_in_flight(place, config, bedrock, worker):
    simulator = bedrock(simulated(1, base_ms=700, tokens_per_second=1000))
    names = send(place, 120)
    first = worker(place, simulator, "--config", config, *QUICK)
    wait_for("calls in flight", lambda: place.finished() >= 20 and simulator.in_flight() >= 4, 60, 0.1, [first])
    first.signal(signal.SIGTERM)
    # The calls take about a second; the grace period is 25.
    assert first.ended(15) == 0, "a stop in order ends with 0"
    stats = simulator.stats()["total"]
    assert stats["in_flight"] == 0 and stats["abandoned"] == 0, "a call in flight was not waited for"
    done = {name for name, row in place.rows().items() if row["status"] in FINAL}
    assert 20 <= len(done) < len(names)
    assert set(simulator.worked()) == done, "an answer was not recorded"

    # What was handed back can be had at once, without waiting for a visibility timeout of 60 s.
    second = worker(place, simulator, "--config", config, *QUICK, "--until-idle")
    assert second.ended(45) == 0
    check_each_once(place, simulator, names)


def test_a_second_signal_leaves_at_once(local, config, bedrock, worker):
    place = local()
    simulator = bedrock(simulated(1, base_ms=30_000))
    send(place, 20)
    process = worker(place, simulator, "--config", config, *QUICK)
    wait_for("calls in flight", lambda: simulator.in_flight() >= 4, 30, 0.1, [process])
    process.signal(signal.SIGTERM)
    wait_for("the stop to begin", lambda: "finishing what is in flight" in process.log(), 5)
    process.signal(signal.SIGINT)
    assert process.ended(5) == 0
    assert place.finished() == 0
    simulator.change(latency_scale=0)
    again = worker(place, simulator, "--config", config, *QUICK, "--until-idle")
    assert again.ended(30) == 0
    assert {row["status"] for row in place.rows().values()} == {"SUCCEEDED"}


def test_two_workers_share_the_work(place, config, bedrock, worker):
    simulator = bedrock(simulated(1, base_ms=200, tokens_per_second=1000))
    names = send(place, 200)
    both = [worker(place, simulator, "--config", config, *QUICK, "--until-idle") for _ in range(2)]
    for process in both:
        assert process.ended(90) == 0
    one, other = map(finished_by, both)
    assert not one & other and one | other == names
    assert min(len(one), len(other)) >= 40, f"the work was shared {len(one)} to {len(other)}"
    # The budget is the fleet's, not each worker's; while they learn of each other it may be exceeded.
    assert simulator.stats()["total"]["in_flight_peak"] <= 2 * CONCURRENT
    check_each_once(place, simulator, names)


def test_roles_in_three_processes(place, config, bedrock, worker):
    simulator = bedrock(simulated(0.3))
    names = send(place, 80)
    roles = {
        role: worker(place, simulator, "--config", config, *QUICK, "--role", role, name=role)
        for role in ("ingest", "plan", "call")
    }
    wait_for("all to be finished", lambda: place.finished() == len(names), 60, 0.2, roles.values())
    for process in roles.values():
        process.signal(signal.SIGTERM)
    for process in roles.values():
        assert process.ended(15) == 0
    assert finished_by(roles["call"]) == names and not finished_by(roles["ingest"]) | finished_by(roles["plan"])
    check_each_once(place, simulator, names)
