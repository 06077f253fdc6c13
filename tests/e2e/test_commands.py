"""`submit`, `status`, `results` and `demo`: a person's way through the product, on AWS and in a directory."""

import json

import pytest

from rig.traffic import NOVA, PRIORITIES, ask, simulated, worker_settings

REQUESTS = 40


@pytest.fixture(params=["embedded", "aws"])
def place(request):
    return request.getfixturevalue("local" if request.param == "embedded" else "aws")()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "smoother.toml"
    path.write_text(worker_settings())
    return path


def message(n):
    """A message as a person would write it."""
    name = f"doc-{n:02}"
    body = ask(f"A secret of document {n}.", name)
    return {"request_id": name, "model_id": NOVA, "priority": PRIORITIES[n % 10], "converse": body}


def lines(path, messages):
    path.write_text("".join(json.dumps(m) + "\n" for m in messages))
    return path


def test_from_a_file_to_a_file(place, config, bedrock, worker, smoother, tmp_path):
    def command(*arguments, code=0):
        return smoother(*arguments, *place.flags, "--config", config, env=place.env, code=code)

    # One bad line: nothing is sent, and the line, the field and the reason are told.
    good = [message(n) for n in range(REQUESTS)]
    spoilt = [*good[:3], {**message(90), "priority": 11}, *good[3:]]
    refused = command("submit", lines(tmp_path / "spoilt.jsonl", spoilt), code=1)
    assert "spoilt.jsonl line 4: priority" in refused.log() and "nothing was sent" in refused.log() and "found 11" in refused.log()
    assert json.loads(command("status", "--json").out())["queues"]["input"]["visible"] == 0

    sent = json.loads(command("submit", lines(tmp_path / "good.jsonl", good), "--json").out())
    assert sent["submitted"] == REQUESTS and sent["invalid"] == sent["failed"] == 0
    assert json.loads(command("status", "--json").out())["queues"]["input"]["visible"] == REQUESTS

    simulator = bedrock(simulated())
    ended = worker(place, simulator, "--config", config, "--until-idle")
    assert ended.ended(60) == 0
    assert "secret" not in ended.log(), "a prompt reached the log"

    overview = json.loads(command("status", "--json").out())
    # DynamoDB counts only what is open: counting the rest would be a scan.
    assert overview["requests"].get("SUCCEEDED") in (REQUESTS, None)
    assert sum(overview["requests"].values()) == overview["requests"].get("SUCCEEDED", 0)
    assert overview["queues"]["input"]["visible"] == overview["queues"]["hold"]["visible"] == 0
    assert overview["queues"]["results"]["visible"] == REQUESTS

    story = json.loads(command("status", "doc-07", "--json").out())
    assert (story["request_id"], story["status"], story["attempts"]) == ("doc-07", "SUCCEEDED", 1)
    assert len(story["timeline"]) >= 3 and story["outcome"]["cost_usd"] > 0
    shown = command("status", "doc-07")
    assert "SUCCEEDED" in shown.out() and "secret" not in shown.out()
    assert "nobody" in command("status", "nobody", code=1).log()

    out = tmp_path / "results.jsonl"
    command("results", "--out", out, "--wait", "1s")
    results = {result["request_id"]: result for result in map(json.loads, out.read_text().splitlines())}
    assert set(results) == {m["request_id"] for m in good}
    for result in results.values():
        assert result["status"] == "SUCCEEDED" and result["result"]["output"]["message"]["content"][0]["text"]
    assert command("results", "--wait", "1s").out() == "", "results come once"


def test_status_tells_why_a_request_waits(local, smoother, config):
    place = local()
    place.send([json.dumps(message(n)) for n in range(3)])
    # Nobody works yet: the request is still on the queue, so there is nothing to tell of it.
    told = smoother("status", "doc-00", *place.flags, "--config", config, code=1)
    assert "doc-00" in told.log()
    overview = smoother("status", *place.flags, "--config", config).out()
    assert "input" in overview and "3" in overview


def test_results_inlines_what_was_too_long_for_the_queue(place, config, bedrock, worker, smoother):
    place.send([json.dumps(message(0))])
    simulator = bedrock(simulated())
    assert worker(place, simulator, "--until-idle", "--set", "inline_result_limit=10B").ended(60) == 0
    (line,) = smoother("results", "--wait", "1s", *place.flags, env=place.env).out().splitlines()
    assert json.loads(line)["result"]["output"]["message"]["content"][0]["text"]


def test_the_demo(smoother, tmp_path):
    ended = smoother("demo", "--json", "--dir", tmp_path / "demo", seconds=90)
    summary = json.loads(ended.out())
    keys = {"requests", "bedrock_calls", "throttled_calls", "quota", "wait_ms", "tokens", "cost_usd", "elapsed_s", "results_dir"}
    assert keys <= set(summary)
    requests = summary["requests"]
    ends = ("succeeded", "failed", "rejected", "expired", "cancelled")
    assert requests["submitted"] == 300 == sum(requests[end] for end in ends)
    assert requests["succeeded"] > 270 and requests["rejected"] > 5
    assert summary["throttled_calls"] == 0
    assert summary["bedrock_calls"] >= requests["succeeded"]
    assert summary["elapsed_s"] < 60
    for lane, used in summary["quota"].items():
        assert 0 < used["rpm_used"] <= 1.02 and 0 < used["tpm_used"] <= 1.02, lane
    for wait in summary["wait_ms"].values():
        assert wait["p50"] <= wait["p99"]
    assert summary["wait_ms"]["urgent"]["p99"] < summary["wait_ms"]["bulk"]["p50"]
    assert summary["cost_usd"] > 0
    assert len(list((tmp_path / "demo" / "results").rglob("*.json"))) == requests["succeeded"]
