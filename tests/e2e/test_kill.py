"""kill -9 of the worker, five times: nothing is lost, nothing ends twice, and Bedrock is hardly called in vain.

What a kill may cost: a request whose call had begun and whose end was not in the ledger yet is called again. So the
bound on extra calls is counted at each kill, when the worker is dead: the calls that Bedrock still had in flight just
before (`/_sim/stats`), and those it had answered whose requests were not final in the ledger.
"""

from collections import Counter

import pytest

from rig.places import FINAL
from rig.traffic import good, simulated, worker_settings
from rig.waiting import wait_for

REQUESTS = 240
KILLS = 5
# Calls in flight at most.
CONCURRENT = 8
QUICK = ["--set", "hold_visibility=5s", "--set", "input_visibility=5s", "--set", "plan_interval=200ms"]


@pytest.fixture(params=["embedded", "aws"])
def place(request):
    return request.getfixturevalue("local" if request.param == "embedded" else "aws")()


def test_five_kills(place, bedrock, worker, tmp_path):
    simulator = bedrock(simulated(1, base_ms=250, tokens_per_second=1000))
    config = tmp_path / "smoother.toml"
    config.write_text(worker_settings(max_concurrent_executions=CONCURRENT, queue_depth_threshold=30))
    goods = [m for m in (good(n) for n in range(REQUESTS * 2)) if m.kind in ("plain", "tool", "image")][:REQUESTS]
    place.send([message.text for message in goods])
    names = {message.name for message in goods}

    results, exposed, called = [], [], Counter()
    finished, in_flight = 0, 0
    for life in range(KILLS):
        process = worker(place, simulator, "--config", config, *QUICK)
        goal = finished + 25
        wait_for(f"{goal} finished requests in life {life + 1}", lambda: place.finished() >= goal, 60, 0.1, [process])
        in_flight += simulator.in_flight()
        process.kill()
        wait_for("Bedrock to notice", lambda: simulator.in_flight() == 0)
        rows = place.rows()
        final = {name for name, row in rows.items() if row["status"] in FINAL}
        begun = Counter(simulator.came()) - called
        called += begun
        exposed.append(set(begun) - final)
        finished = len(final)
        results += place.take_results()
    assert finished < REQUESTS, "the kills came too late to disturb anything"
    assert any(exposed), "no kill hit a call"

    last = worker(place, simulator, "--config", config, *QUICK, "--until-idle")
    assert last.ended(120) == 0
    results += place.take_results(wait=1)

    rows, reports, worked = place.rows(), Counter(place.report_ids()), simulator.worked()
    assert set(rows) == set(reports) == {result["request_id"] for result, _ in results} == names
    assert set(reports.values()) == {1}, [name for name, count in reports.items() if count > 1]
    assert place.depths()["input"] == place.depths()["hold"] == 0
    exposures = Counter(name for names in exposed for name in names)
    for name, row in rows.items():
        if row["status"] == "FAILED" and exposures[name] >= 3:
            # It was being called at three of the kills, which is indistinguishable from having caused them.
            assert row["outcome"]["error"]["type"] == "Poison", row
        else:
            assert row["status"] == "SUCCEEDED", row
        assert worked[name] <= 1 + exposures[name], f"{name} was called {worked[name]} times"
    statuses = {}
    for result, _ in results:
        statuses.setdefault(result["request_id"], set()).add(result["status"])
    assert all(len(different) == 1 for different in statuses.values()), "a request came back with two different ends"

    extra = sum(worked.values()) - REQUESTS
    answered = sum(exposures.values()) - in_flight
    print(f"{extra} extra calls; at the kills {in_flight} in flight, {answered} answered but not recorded")
    assert extra <= sum(exposures.values())
    # A call and the recording of its answer are all that may be under way.
    assert all(len(names) <= 2 * CONCURRENT for names in exposed), exposed
