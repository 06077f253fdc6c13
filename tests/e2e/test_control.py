"""Job control with the real binary: two workers with a backlog, and an operator beside them."""

import json

import pytest

from rig.traffic import NOVA, ask, simulated, worker_settings
from rig.waiting import wait_for

OPEN = {"RECEIVED", "QUEUED", "RUNNING"}


@pytest.fixture(params=["embedded", "aws"])
def place(request):
    return request.getfixturevalue("local" if request.param == "embedded" else "aws")()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "smoother.toml"
    path.write_text(worker_settings(max_concurrent_executions=4, queue_depth_threshold=8))
    return path


@pytest.fixture
def operator(place, config, smoother):
    """Gives an operator's command; answers with what it printed as JSON."""

    def give(*arguments, code=0):
        env = {**place.env, "SMOOTHER_OPERATOR": "ann"}
        return json.loads(smoother(*arguments, "--json", *place.flags, "--config", config, env=env, code=code).out())

    return give


def message(name, tenant, **more):
    return json.dumps({"request_id": name, "model_id": NOVA, "tenant": tenant, "converse": ask(name, name), **more})


def statuses(place, prefix=""):
    return {name: row["status"] for name, row in place.rows().items() if name.startswith(prefix)}


def done(place, prefix):
    return sum(status not in OPEN for status in statuses(place, prefix).values())


def check_each_once(place, expected):
    """Every request has one report and a result, all with that status."""
    rows = statuses(place)
    assert {name: rows[name] for name in expected} == expected
    assert sorted(place.report_ids()) == sorted(expected)
    results = {message["request_id"]: message["status"] for message, _ in place.take_results()}
    assert results == expected


def test_cancel_and_pause_beside_two_workers(place, operator, config, bedrock, worker):
    count = 120
    simulator = bedrock(simulated(1, base_ms=400, tokens_per_second=2000))
    place.send([message(f"{tenant}-{n:03}", tenant) for n in range(count // 2) for tenant in ("acme", "blue")])
    workers = [worker(place, simulator, "--config", config, name=f"worker-{n}") for n in range(2)]
    wait_for("all to be admitted", lambda: len(place.rows()) == count, alive=workers)

    # A tenant is paused: nothing new of it after a few seconds, the other one goes on.
    paused = operator("pause", "--tenant", "acme", "--reason", "incident 7", "--for", "1h")
    assert paused["scope"] == {"kind": "tenant", "name": "acme"} and paused["by"] == "ann"
    wait_for(
        "nothing of acme to be called or next",
        lambda: not {"QUEUED", "RUNNING"} & set(statuses(place, "acme").values()),
        10,
        alive=workers,
    )
    held_back, others = done(place, "acme"), done(place, "blue")
    assert held_back < count // 2
    wait_for("blue to go on", lambda: done(place, "blue") >= min(others + 8, count // 2), alive=workers)
    assert done(place, "acme") == held_back
    (pause,) = operator("status")["pauses"]
    assert (pause["reason"], pause["scope"]["name"]) == ("incident 7", "acme")
    waiting = sorted(name for name, status in statuses(place, "acme").items() if status == "RECEIVED")
    reasons = operator("status", waiting[-1])["waits"]["reasons"]
    assert any("paused: tenant acme by ann" in reason and "incident 7" in reason for reason in reasons), reasons

    # One by name and ten by filter are taken back, although their tenant is paused.
    (answer,) = operator("cancel", waiting[-1], "--reason", "wrong file")["requests"]
    assert answer["outcome"] == "changed"
    assert operator("cancel", "nobody", code=1)["requests"][0]["outcome"] == "unknown"
    would = operator("cancel", "--tenant", "acme", "--dry-run")
    assert would["counts"] == {"changed": len(waiting) - 1} and would["dry_run"]
    wait_for("the first one's end", lambda: statuses(place)[waiting[-1]] == "CANCELLED", 10, alive=workers)
    assert operator("cancel", waiting[-1], code=1)["requests"][0]["status"] == "CANCELLED"

    # It goes on within seconds; what is left of it is cancelled in the middle of the work.
    assert operator("resume", "--tenant", "acme")["still_paused"] == []
    wait_for("acme to go on", lambda: done(place, "acme") > held_back + 1, 10, alive=workers)
    cancelled = operator("cancel", "--tenant", "acme", "--yes")["counts"]
    wait_for("everything to end", lambda: place.finished() == count, 90, alive=workers)
    expected = statuses(place)
    by_cancel = {name for name, status in expected.items() if status == "CANCELLED"}
    assert all(name.startswith("acme") for name in by_cancel) and waiting[-1] in by_cancel
    assert len(by_cancel) >= 1 + cancelled["changed"], cancelled
    assert set(expected.values()) == {"SUCCEEDED", "CANCELLED"}
    wait_for("all to be told", lambda: len(place.report_ids()) == count, 10)
    check_each_once(place, expected)
    assert not by_cancel & set(simulator.came()), "a cancelled request was called"

    events = operator("audit")
    told = [(event["action"], event["operator"]["name"]) for event in events]
    assert told == [(action, "ann") for action in ("pause", "cancel", "cancel", "cancel", "resume", "cancel")]
    assert events[1]["reason"] == "wrong file" and events[1]["outcome"] == {"changed": 1}
    assert events[-1]["target"] == {"matching": "tenant acme"} and events[-1]["outcome"] == cancelled
    # Whose credentials they were, where there are any.
    assert all(("arn" in event["operator"]) == (not place.flags) for event in events)


def test_an_urgent_one_jumps_a_backlog(local, config, bedrock, worker, smoother):
    place = local()

    def command(*arguments, code=0):
        return smoother(*arguments, *place.flags, "--config", config, code=code)

    simulator = bedrock(simulated(1, base_ms=300, tokens_per_second=2000))
    place.send([message(f"r-{n:03}", "acme") for n in range(150)])
    workers = [worker(place, simulator, "--config", config, name=f"worker-{n}") for n in range(2)]
    wait_for("all to be admitted", lambda: len(place.rows()) == 150, alive=workers)
    place.send([message("urgent", "blue", priority="urgent")])
    assert command("reprioritise", "r-149", "--priority", "urgent").out().split() == ["r-149", "priority", "is", "urgent"]
    assert "priority is low" in command("reprioritize", "--of-priority", "normal", "--priority", "low", "--yes").out()
    for name in ("urgent", "r-149"):
        wait_for(f"{name} to end", lambda: statuses(place).get(name) == "SUCCEEDED", 10, alive=workers)
    assert done(place, "r-") < 100, "they waited their turn"

    # A short deadline ranks first; of what is paused it passes.
    assert "everything by" in command("pause", "--all").out()
    def held():
        return {"QUEUED", "RUNNING"} & set(statuses(place).values())

    wait_for("nothing to be called or next", lambda: not held(), 10, alive=workers)
    assert command("deadline", "r-148", "--in", "1s").out().endswith("UTC\n")
    wait_for("its end", lambda: statuses(place)["r-148"] == "EXPIRED", 10, alive=workers)
    assert command("resume", "--all").out().startswith("resumed: everything, after")
    refused = command("deadline", "r-147", "--at", "2020-01-01T00:00:00Z", code=1)
    assert "2020-01-01" in refused.log() and "passed" in refused.log()

    # No filter, no terminal, no name: each is told with what to do.
    for arguments, words in (
        (["cancel"], "--all"),
        (["cancel", "--tenant", "acme"], "--yes"),
        (["cancel", "--tenant", "acme", "--all"], "one or the other"),
        (["resume", "--tenant", "acme"], "not paused"),
    ):
        assert words in command(*arguments, code=1).log(), arguments
    assert "did you mean acme" in command("cancel", "--tenant", "acm", "--yes").out()
    assert command("cancel", "--all", "--yes", "--by", "bob").out().splitlines()[0].endswith("cancelled · everything")
    wait_for("everything to end", lambda: place.finished() == 151, 30, alive=workers)
    table = command("audit").out()
    assert "bob" in table and "normal → urgent" in table and "reprioritise" in table, table
