"""Quotas that nobody configured come from Service Quotas, here the simulator's."""

import json

from rig.traffic import NOVA, ask
from rig.waiting import wait_for

SIMULATED = f"""
[models."{NOVA}"]
rpm = 1_234
tpm = 567_890
tpd = 98_765_432
"""


def quota(report, model, name):
    (found,) = [entry for entry in report["models"] if entry["model"] == model]
    return found[name]


def test_quotas_tells_what_is_listed_and_what_is_set(bedrock, smoother):
    simulator = bedrock(SIMULATED)
    env = {"SMOOTHER_BEDROCK_ENDPOINT": simulator.url}
    report = json.loads(smoother("quotas", "--json", env=env).out())
    assert report["service_quotas"] == "read"
    assert quota(report, NOVA, "tokens_per_minute") == {
        "value": 567_890,
        "source": "service-quotas",
        "quota_name": "Cross-region model inference tokens per minute for Amazon Nova Lite",
    }
    assert quota(report, NOVA, "tokens_per_day")["value"] == 98_765_432
    assert all(entry["model"] != "amazon.nova-micro-v1:0" for entry in report["models"]), "assumed quotas are not shown"

    # The SDK's own variable, for who keeps Service Quotas elsewhere.
    sdk = {"AWS_ENDPOINT_URL_SERVICE_QUOTAS": simulator.url, "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    assert json.loads(smoother("quotas", "--json", env=sdk).out()) == report

    setting = f'models."{NOVA}".tokens_per_minute=4242'
    report = json.loads(smoother("quotas", "--json", "--model", NOVA, "--set", setting, env=env).out())
    assert quota(report, NOVA, "tokens_per_minute") == {"value": 4242, "source": "setting", "quota_name": None}
    assert quota(report, NOVA, "requests_per_minute")["value"] == 1_234

    page = smoother("quotas", env=env).out()
    assert "567,890" in page and "listed" in page and len(max(page.splitlines(), key=len)) <= 100
    everything = json.loads(smoother("quotas", "--json", "--all", "--set", "quota_source=settings", env=env).out())
    assert everything["service_quotas"] == "off" and len(everything["models"]) > 200
    assert {entry["tokens_per_minute"]["source"] for entry in everything["models"]} == {"assumed"}


def test_quotas_without_service_quotas_says_so(smoother):
    # Nobody listens there.
    failed = smoother("quotas", env={"SMOOTHER_BEDROCK_ENDPOINT": "http://127.0.0.1:9"}, code=1)
    assert "service quotas" in failed.log()


def test_a_worker_works_under_the_listed_quota(local, bedrock, worker, smoother):
    place = local()
    simulator = bedrock(SIMULATED)
    running = worker(place, simulator)
    place.send([json.dumps({"request_id": f"q-{n}", "model_id": NOVA, "converse": ask("hi", f"q-{n}")}) for n in range(3)])

    def lane():
        overview = json.loads(smoother("status", "--json", *place.flags).out())
        return overview["lanes"][0] if overview["lanes"] else None

    wait_for("the lane", lambda: lane() is not None, 30)
    assert (lane()["requests_per_minute"], lane()["tokens_per_minute"]) == (1_234, 567_890)
    assert "is not known" not in running.log()
