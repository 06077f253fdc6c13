"""Stopping in order, working side by side, and roles apart."""

import json
import time

import pytest
from rig import NOVA, converse, quota, stopping, until, worker


def messages(count):
    return [
        {"request_id": f"s-{n:03}", "model_id": NOVA, "converse": converse(f"s-{n:03}", f"Item {n}")} for n in range(count)
    ]


@pytest.fixture
def bedrock(simulate):
    latency = {"base_ms": 400.0, "tokens_per_second": 1e6, "sigma": 0.2}
    return simulate(models={NOVA: {"rpm": 30_000, "tpm": 30_000_000, "latency": latency}})


def start(tmp_path, name, place, bedrock, *flags, **settings):
    return worker(tmp_path, name, place, bedrock, *quota(NOVA, 30_000, 30_000_000), *flags, **settings)


def finished(place):
    return sum(row["status"] == "SUCCEEDED" for row in place.rows().values())


@pytest.mark.parametrize("kind", ["local", "aws"])
def test_sigterm_loses_nothing_and_is_quick(kind, request, bedrock, tmp_path):
    place = request.getfixturevalue(kind)
    send = place.submit if kind == "local" else lambda ms: place.send([(json.dumps(m), None) for m in ms])
    send(messages(150))
    first = start(tmp_path, "first", place, bedrock)
    with stopping(first):
        until("30 calls are made", lambda: sum(bedrock.calls().values()) >= 30, 60)
        asked = time.monotonic()
        first.terminate()
        assert first.wait(25) == 0, first.tail()
        took = time.monotonic() - asked
    assert took < 10, f"it took {took:.1f} s to stop"
    calls = sum(bedrock.calls().values())
    assert bedrock.in_flight() == 0
    assert calls == finished(place), "calls that were in flight were not finished"
    assert calls < 150

    second = start(tmp_path, "second", place, bedrock, "--until-idle")
    with stopping(second):
        assert second.wait(90) == 0, second.tail()
    assert finished(place) == 150
    assert sum(bedrock.calls().values()) == 150, "something was called twice"
    assert len({r["request_id"] for r, _ in place.results()}) == 150


def test_two_workers_share_the_work(aws, bedrock, tmp_path):
    aws.send([(json.dumps(m), None) for m in messages(200)])
    workers = [start(tmp_path, f"worker-{n}", aws, bedrock, "--until-idle") for n in range(2)]
    with stopping(*workers):
        for process in workers:
            assert process.wait(120) == 0, process.tail()
    assert finished(aws) == 200
    assert sum(bedrock.calls().values()) == 200
    done = [process.log.read_text().count("request finished") for process in workers]
    assert min(done) >= 20, f"the work was not shared: {done}"


def test_roles_apart(local, bedrock, tmp_path):
    local.submit(messages(100))
    workers = [start(tmp_path, role, local, bedrock, "--role", role) for role in ("ingest", "plan", "call")]
    with stopping(*workers):
        until("all are finished", lambda: finished(local) == 100, 60)
        for process in workers:
            process.terminate()
        assert [process.wait(20) for process in workers] == [0, 0, 0]
    assert sum(bedrock.calls().values()) == 100
