"""`smoother report`: an analyst asks what a day was like, on AWS and in a directory."""

import csv
import io
import json
import re
from xml.etree import ElementTree

import pytest

from rig.traffic import DENIED, NOVA, ask, simulated, worker_settings

TENANTS = {"checkout": 12, "research": 7, "odd": 3}
UNANSWERED = 2
REPORTED = ("requests", "succeeded", "failed", "cost_usd", "unpriced", "input_tokens", "calls", "wait_ms", "quota")


@pytest.fixture(params=["embedded", "aws"])
def place(request):
    return request.getfixturevalue("local" if request.param == "embedded" else "aws")()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "smoother.toml"
    path.write_text(worker_settings())
    return path


def messages():
    """Of three tenants; to two the model is denied."""
    sent = []
    for tenant, count in TENANTS.items():
        for n in range(count):
            message = {"request_id": f"{len(sent):03}", "model_id": NOVA, "converse": ask("Hello", f"{len(sent):03}")}
            message |= {"batch_id": "nightly"} if n % 2 else {"priority": "urgent"}
            message |= {"metadata": {"note": "<script>alert(1)</script>"}}
            message |= {"tenant": tenant}
            sent.append(message)
    for n in range(UNANSWERED):
        sent.append({"request_id": f"denied-{n}", "model_id": DENIED, "converse": ask("Hello", "x"), "tenant": "odd"})
    return sent


@pytest.fixture
def report(place, config, bedrock, worker, smoother):
    """Reports of what was run: report(*flags) → its output."""
    place.send([json.dumps(message) for message in messages()])
    assert worker(place, bedrock(simulated()), "--config", config, "--until-idle").ended(90) == 0
    # On AWS an analyst need not know more than the table, nor be allowed more than reading it.
    env = place.env
    if not place.flags:
        keep = ("AWS_", "SMOOTHER_AWS_REGION", "SMOOTHER_REPORTING_TABLE", "PATH", "HOME")
        env = {name: value for name, value in place.env.items() if name.startswith(keep)}
        assert "SMOOTHER_INPUT_QUEUE_URL" not in env

    return lambda *flags, code=0: smoother("report", *place.flags, *flags, env=env, code=code)


def test_a_day_is_summed_up(report, tmp_path):
    sent = sum(TENANTS.values())
    told = json.loads(report("--json").out())
    assert told["by"] == ["model"] and told["filters"] == {}
    total = told["total"]
    assert all(name in total for name in REPORTED)
    assert (total["requests"], total["succeeded"], total["failed"]) == (sent + UNANSWERED, sent, UNANSWERED)
    assert total["error_rate"] == pytest.approx(UNANSWERED / (sent + UNANSWERED))
    assert total["cost_usd"] > 0 and total["unpriced"] == 0 and total["calls"] >= sent
    assert total["wait_ms"]["count"] == sent + UNANSWERED and total["latency_ms"]["count"] >= sent
    assert total["errors"] == [{"error_type": "AccessDeniedException", "requests": UNANSWERED}]
    assert total["quota"]["calls"] == sent and total["quota"]["lane"].endswith("amazon.nova-lite-v1:0")
    assert 0 < total["quota"]["requests"]["mean"] <= 1.01
    models = {group["key"]["model"]: group["requests"] for group in told["groups"]}
    assert models == {NOVA: sent, DENIED: UNANSWERED}

    by_tenant = json.loads(report("--by", "tenant", "--since", "1h", "--format", "json").out())
    counts = {group["key"]["tenant"]: group["succeeded"] for group in by_tenant["groups"]}
    assert counts == TENANTS
    for name in ("requests", "succeeded", "calls", "output_tokens"):
        assert total[name] == sum(group[name] for group in by_tenant["groups"]), name
    assert total["cost_usd"] == pytest.approx(sum(group["cost_usd"] for group in by_tenant["groups"]))

    hours = json.loads(report("--by", "hour", "--since", "24h", "--json").out())["groups"]
    assert len(hours) in (24, 25) and [hour["key"]["hour"] for hour in hours] == sorted(hour["key"]["hour"] for hour in hours)
    assert sum(hour["requests"] for hour in hours) == sent + UNANSWERED and hours[0]["requests"] == 0

    lines = list(csv.DictReader(io.StringIO(report("--by", "tenant,priority", "--batch", "nightly", "--format", "csv").out())))
    assert [line["row"] for line in lines][-1] == "total" and {line["row"] for line in lines[:-1]} == {"group"}
    assert sum(int(line["requests"]) for line in lines[:-1]) == int(lines[-1]["requests"]) == 6 + 3 + 1
    assert {line["priority"] for line in lines[:-1]} == {"normal"}

    table = report("--by", "status").out()
    assert re.search(rf"^succeeded +{sent} ", table, re.M) and "\x1b" not in table
    assert "| model |" in report("--format", "md").out()


def test_the_page_stands_alone(report, tmp_path):
    page = tmp_path / "report.html"
    ended = report("--html", page, "--by", "tenant")
    assert "A page with charts is in" in ended.log()
    text = page.read_text()
    document = ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>"))
    svgs = list(document.iter("svg"))
    charts = [svg for svg in svgs if svg.get("role") == "img"]
    assert len(charts) >= 8 and all(svg.find("title").text and svg.find("desc").text for svg in charts)
    assert not {element.tag for element in document.iter()} & {"script", "link", "img", "iframe", "object", "use", "image"}
    for element in document.iter():
        for name, value in element.attrib.items():
            assert not name.startswith("on") and name not in ("href", "src") and "//" not in value, (element.tag, name)
    assert "url(" not in text and "@import" not in text


def test_what_is_not_there_is_said(report):
    told = report("--tenant", "chekout").out()
    assert "did you mean \"checkout\"" in told and "24 do not" in told
    assert json.loads(report("--until", "2h", "--json").out())["groups"] == []
    assert "No request finished" in report("--until", "2h").out()
    assert "the period is empty" in report("--since", "1h", "--until", "2h", code=1).log()
    assert "expected a UTC date" in report("--since", "whenever", code=2).log()


def test_a_place_without_reports_says_what_is_needed(smoother, tmp_path):
    assert "reporting_table" in smoother("report", code=1).log()
    assert "nothing of smoother's is in" in smoother("report", "--local", tmp_path / "empty", code=1).log()
