"""A request that takes three workers down ends as poison in the dead-letter queue; an operator looks and sends it again."""

import json

import pytest

from rig.traffic import NOVA, ask, simulated, worker_settings
from rig.waiting import wait_for

QUICK = ["--set", "hold_visibility=2s", "--set", "input_visibility=2s", "--set", "plan_interval=200ms"]


@pytest.fixture(params=["embedded", "aws"])
def place(request):
    return request.getfixturevalue("local" if request.param == "embedded" else "aws")()


def test_poison_is_looked_at_and_sent_again(place, bedrock, worker, smoother, tmp_path):
    config = tmp_path / "smoother.toml"
    config.write_text(worker_settings(max_concurrent_executions=4, queue_depth_threshold=10))

    def command(*arguments, code=0):
        return smoother(*arguments, *place.flags, "--config", config, env=place.env, code=code)

    # Calls take so long that every worker is killed while it makes one.
    slow = bedrock(simulated(1, base_ms=60_000))
    body = ask("A secret that kills.", "deadly")
    place.send([json.dumps({"request_id": "deadly", "model_id": NOVA, "converse": body})])
    for life in range(3):
        process = worker(place, slow, "--config", config, *QUICK)
        wait_for(f"the call of life {life + 1}", lambda: slow.in_flight() > 0, 60, 0.1, [process])
        process.kill()
        wait_for("Bedrock to notice", lambda: slow.in_flight() == 0, 60)

    # The fourth fails it instead of calling, and its message stays for people.
    quick = bedrock(simulated(1, base_ms=50))
    last = worker(place, quick, "--config", config, *QUICK)
    wait_for("the poison", lambda: place.rows().get("deadly", {}).get("status") == "FAILED", 60, 0.2, [last])

    def letters():
        return json.loads(command("dlq", "list", "--json").out())["letters"]

    wait_for("the dead letter", lambda: bool(letters()), 60, 0.5, [last])
    letter = letters()[0]
    assert (letter["request_id"], letter["status"], letter["error_type"]) == ("deadly", "FAILED", "Poison")
    assert quick.worked() == {}
    shown = command("dlq", "show", "deadly").out()
    assert "Poison" in shown and "secret" not in shown
    assert [result["status"] for result, _ in place.take_results(wait=1)] == ["FAILED"]

    tried = json.loads(command("dlq", "redrive", "deadly", "--dry-run", "--json").out())
    assert place.rows()["deadly"]["status"] == "FAILED", tried
    command("dlq", "redrive", "deadly", "--by", "the operator")
    wait_for("its answer", lambda: place.rows()["deadly"]["status"] == "SUCCEEDED", 60, 0.2, [last])
    assert [result["status"] for result, _ in place.take_results(wait=1)] == ["SUCCEEDED"]
    assert letters() == []
    assert "put back into line by the operator" in command("status", "deadly").out()
    assert "secret" not in last.log()
