"""Metrics of the real binary: what Prometheus is told is well-formed, and says what CloudWatch and the tables say."""

import datetime
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rig.services import free_port, http
from rig.traffic import DENIED, denied, good, simulated, worker_settings
from rig.waiting import wait_for

LABELS = {"lane", "status", "priority", "le"}


@pytest.fixture(params=["embedded", "aws"])
def place(request):
    return request.getfixturevalue("local" if request.param == "embedded" else "aws")()


def scrape(port):
    status, page = http("GET", f"http://127.0.0.1:{port}/metrics")
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(page.decode())}
    assert all(family.documentation and family.type != "unknown" for family in families.values()), families
    return families


def total(families, name, **labels):
    """The sum of a family's plain samples that have these labels."""
    samples = families[name].samples if name in families else []
    plain = [s for s in samples if s.name in (name, f"{name}_total") and labels.items() <= s.labels.items()]
    return sum(sample.value for sample in plain)


def delivered(place):
    """Metric → sum over everything that was delivered."""
    if place.flags:
        rows = place.query("SELECT name, dimensions, sum(sum) FROM metrics GROUP BY name, dimensions")
        sums = Counter()
        for name, dimensions, value in rows:
            sums[name, dimensions] += value
        return {name: value for (name, dimensions), value in sums.items() if dimensions == "{}"}
    now = datetime.datetime.now(datetime.UTC)
    span = dict(StartTime=now - datetime.timedelta(hours=1), EndTime=now + datetime.timedelta(hours=1), Period=7200)
    metrics = place.cloudwatch.list_metrics(Namespace=place.prefix)["Metrics"]
    sums = Counter()
    for metric in metrics:
        # The emulator takes no dimensions for any, and so tells the sum over all of those as well.
        apart = any(other["Dimensions"] for other in metrics if other["MetricName"] == metric["MetricName"])
        if apart == bool(metric["Dimensions"]):
            asked = {"Namespace": place.prefix, "Statistics": ["Sum"], **metric, **span}
            points = place.cloudwatch.get_metric_statistics(**asked)["Datapoints"]
            sums[metric["MetricName"]] += sum(point["Sum"] for point in points)
    return sums


def test_prometheus_and_cloudwatch_tell_the_same(place, bedrock, worker, tmp_path):
    simulator = bedrock(simulated(faults="faults = { throttle = 0.02, internal_500 = 0.1 }"), seed=3)
    config, port = tmp_path / "smoother.toml", free_port()
    config.write_text(worker_settings(retry_base="100ms"))
    goods = [m for m in (good(n) for n in range(100)) if m.kind in ("plain", "tool", "image", "embedding", "native")]
    messages = [*goods[:60], *(denied(n) for n in range(3))]
    place.send([message.text for message in messages])
    if not place.flags:
        # Sums of this test only: all of them share an emulator.
        place.env = {**place.env, "SMOOTHER_METRICS_NAMESPACE": place.prefix}
    place.env = {**place.env, "SMOOTHER_HEALTH_LISTEN": f"127.0.0.1:{port}"}
    process = worker(place, simulator, "--config", config, "--set", "plan_interval=200ms")
    wait_for("all requests' ends", lambda: place.finished() == len(messages), 60, 0.2, [process])
    # The last of them is counted once its result was sent.
    results = len(messages)
    families = wait_for(
        "all ends to be counted",
        lambda: (found := scrape(port)) and total(found, "smoother_requests_finished") >= results and found,
        10,
        0.2,
        [process],
    )
    for family in families.values():
        for sample in family.samples:
            assert set(sample.labels) <= LABELS, sample
    statuses = Counter(row["status"] for row in place.rows().values())
    assert statuses["FAILED"] >= 3
    for status in ("SUCCEEDED", "FAILED", "REJECTED", "CANCELLED", "EXPIRED"):
        assert total(families, "smoother_requests_finished", status=status) == statuses[status], status
    assert total(families, "smoother_requests_admitted") == len(messages)
    assert total(families, "smoother_bedrock_calls") == sum(simulator.came().values())
    refused = [s for s in families["smoother_failed_calls"].samples if s.labels["lane"].endswith(DENIED)]
    assert [sample.value for sample in refused] == [3.0]
    assert total(families, "smoother_workers_alive") == 1
    # Every lane's counters are told together, so that a rate never misses the first.
    lanes = {name: {s.labels["lane"] for s in families[name].samples} for name in ("smoother_bedrock_calls", "smoother_cost_usd")}
    assert lanes["smoother_bedrock_calls"] == lanes["smoother_cost_usd"] and len(lanes["smoother_cost_usd"]) <= 5

    waits = families["smoother_wait_seconds"]
    assert waits.type == "histogram"
    for priority in ("urgent", "high", "normal", "low", "bulk"):
        own = [s for s in waits.samples if s.labels["priority"] == priority]
        buckets = [s.value for s in own if s.name.endswith("_bucket")]
        assert buckets == sorted(buckets) and len(buckets) == 17
        (count,) = [s.value for s in own if s.name.endswith("_count")]
        assert buckets[-1] == count
    counts = sum(s.value for s in waits.samples if s.name.endswith("_count"))
    assert counts == len(messages), "each of them was called"

    process.stop()
    assert process.code == 0, process.log()
    sums = delivered(place)
    for cloudwatch, prometheus in {
        "RequestsFinished": "smoother_requests_finished",
        "RequestsAdmitted": "smoother_requests_admitted",
        "BedrockCalls": "smoother_bedrock_calls",
        "ThrottledCalls": "smoother_throttled_calls",
        "FailedCalls": "smoother_failed_calls",
        "CostUsd": "smoother_cost_usd",
    }.items():
        assert sums[cloudwatch] == pytest.approx(total(families, prometheus)), cloudwatch
