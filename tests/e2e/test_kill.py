"""kill -9 of the worker, five times mid-run: nothing lost, nothing finished twice, few calls made again."""

import json

import pytest
from rig import NOVA, converse, quota, stopping, until, worker

REQUESTS = 300
FAST = {"hold_visibility": "4s", "input_visibility": "4s", "retry_base": "200ms", "max_concurrent_executions": 20}


def messages():
    return [
        {
            "request_id": f"k-{n:03}",
            "model_id": NOVA,
            "priority": ["urgent", "normal", "bulk"][n % 3],
            "converse": converse(f"k-{n:03}", f"Item {n}"),
        }
        for n in range(REQUESTS)
    ]


@pytest.mark.parametrize("kind", ["local", "aws"])
def test_killed_five_times(kind, request, simulate, tmp_path):
    place = request.getfixturevalue(kind)
    # Half a second a call and 20 at a time: about eight seconds of work.
    model = {"rpm": 30_000, "tpm": 30_000_000, "latency": {"base_ms": 500.0, "tokens_per_second": 1e6, "sigma": 0.2}}
    bedrock = simulate(models={NOVA: model})
    if kind == "local":
        assert place.submit(messages())["submitted"] == REQUESTS
    else:
        place.send([(json.dumps(m), None) for m in messages()])

    def start(life, *flags):
        return worker(tmp_path, f"worker-{life}", place, bedrock, *quota(NOVA, 30_000, 30_000_000), *flags, **FAST)

    at_risk = 0
    for life in range(5):
        served = sum(bedrock.calls().values())
        victim = start(life)
        with stopping(victim):
            target = served + 25
            until(f"life {life} makes 25 calls", lambda: sum(bedrock.calls().values()) >= target, 90)
            in_flight = bedrock.in_flight()
            answered = sum(bedrock.calls().values())
            victim.kill()
        finished = sum(row["status"] == "SUCCEEDED" for row in place.rows().values())
        # In flight at Bedrock, or answered and not yet recorded.
        at_risk += in_flight + max(0, answered - finished)
        assert at_risk <= (life + 1) * 2 * FAST["max_concurrent_executions"]

    last = start("last", "--until-idle")
    with stopping(last):
        assert last.wait(180) == 0, last.tail()

    ids = {m["request_id"] for m in messages()}
    rows = place.rows()
    assert set(rows) == ids
    assert {row["status"] for row in rows.values()} == {"SUCCEEDED"}
    assert place.reports() == dict.fromkeys(ids, 1)
    results = {}
    for result, _ in place.results():
        results.setdefault(result["request_id"], []).append(result)
    assert set(results) == ids
    assert {r["status"] for rs in results.values() for r in rs} == {"SUCCEEDED"}
    calls = bedrock.calls()
    assert set(calls) >= ids
    extra = sum(calls[i] for i in ids) - REQUESTS
    print(f"{kind}: {extra} calls made again, {at_risk} were in flight at the five kills")
    assert extra <= at_risk
