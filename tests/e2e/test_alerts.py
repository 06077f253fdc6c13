"""What on-call gets to hear, with the real binary: by SNS, by a webhook, in a file; and the runbook's commands."""

import json
import shlex
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rig.services import free_port
from rig.traffic import DENIED, HAIKU, NOVA, ask, simulated, worker_settings
from rig.waiting import wait_for

RUNBOOK = Path(__file__).resolve().parents[2] / "docs" / "runbook.md"
QUICK = ["--set", "hold_visibility=2s", "--set", "input_visibility=2s", "--set", "plan_interval=200ms"]
# What shows and what only says what it would do: these can be run against anything.
LOOKS = ("status", "alerts", "dlq list", "dlq show", "quotas", "check-config", "audit", "health", "pause", "resume")
PROMPT = "A secret that nobody may read in an alert."


class Webhook:
    """A receiver that remembers, or refuses while it is told to."""

    def __init__(self):
        self.posts, self.refuses = [], False
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if not webhook.refuses:
                    webhook.posts.append((self.path, self.headers["content-type"], json.loads(body)))
                self.send_response(503 if webhook.refuses else 200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/s3cret"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def alerts(self, kind=None):
        return [alert for _, _, alert in self.posts if kind in (None, alert["kind"])]

    def states(self, kind):
        return [alert["state"] for alert in self.alerts(kind)]


@pytest.fixture
def webhook():
    webhook = Webhook()
    yield webhook
    webhook.server.shutdown()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "smoother.toml"
    path.write_text(worker_settings(max_concurrent_executions=8, queue_depth_threshold=20, retry_base="50ms"))
    return path


def message(name, model=NOVA, **more):
    return json.dumps({"request_id": name, "model_id": model, "converse": ask(PROMPT, name), **more})


def faults(simulator, model, **probabilities):
    simulator.change(models={model: {"faults": probabilities}})


def subscribe(place):
    """A queue that gets what on-call's programs get."""
    url = place.sqs.create_queue(QueueName=f"{place.prefix}-on-call")["QueueUrl"]
    arn = place.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    place.sns.subscribe(TopicArn=place.outputs["alarm_topic_arn"], Protocol="sqs", Endpoint=arn)
    return url


def complete(alert):
    """One that on-call can act on."""
    assert alert["schema_version"] == 1 and alert["key"].startswith(alert["kind"])
    assert alert["subject"].isascii() and len(alert["subject"]) <= 100
    assert alert["impact"] in alert["text"] and "\nNumbers\n" in alert["text"]
    assert alert["runbook"].endswith(f"#{alert['kind']}")
    if alert["state"] != "recovered":
        assert any("run" in step for step in alert["look"]) and alert["fix"], alert
    assert "secret" not in json.dumps(alert), "the prompt, or the webhook's URL, is in an alert"


def test_a_storm_denied_access_and_throttles_by_sns_and_webhook(aws, bedrock, worker, smoother, webhook, config):
    place = aws()
    place.env["SMOOTHER_ALERT_WEBHOOK_URL"] = webhook.url
    on_call = subscribe(place)

    def command(*arguments, code=0):
        return smoother(*arguments, "--config", config, env=place.env, code=code)

    # The channels, before anything is the matter.
    tested = json.loads(command("alerts", "test", "--json").out())["channels"]
    assert [(channel["channel"].split()[0], channel["delivered"]) for channel in tested] == [("sns", True), ("webhook", True)]
    webhook.refuses = True
    failed = command("alerts", "test", code=1).out()
    assert "NOT delivered to webhook http://127.0.0.1: " in failed and "delivered to sns" in failed
    webhook.refuses = False
    for text in (failed, command("check-config").out(), command("check-config", "--json").out()):
        assert "s3cret" not in text

    simulator = bedrock(simulated(0.05))
    faults(simulator, HAIKU, internal_500=1.0)
    process = worker(place, simulator, "--config", config, "--set", "max_attempts=2")
    # Fifty requests, a hundred calls, all of which fail.
    place.send([message(f"storm-{n}", HAIKU) for n in range(50)])
    wait_for("the storm to be told", lambda: webhook.states("error-rate") == ["firing"], 60, 0.2, [process])
    place.send([message(f"denied-{n}", DENIED) for n in range(3)])
    wait_for("denied access to be told", lambda: webhook.states("access-denied") == ["firing"], 30, 0.2, [process])
    [denied] = webhook.alerts("access-denied")
    assert denied["severity"] == "critical" and "bedrock:InvokeModel" in denied["text"]
    assert f"smoother status {denied['numbers']['latest_request']['value']}" in denied["text"]

    open_now = json.loads(command("alerts", "--json").out())["alerts"]
    assert [(alert["kind"], alert["severity"]) for alert in open_now] == [
        ("error-rate", "critical"),
        ("access-denied", "critical"),
    ], "the worst first, then the oldest"
    assert denied["key"] in command("alerts").out() and "access denied" in command("status").out()
    assert "Fix" in command("alerts", "show", denied["key"]).out()
    command("alerts", "show", "nothing", code=1)

    # Bedrock throttles all of a sudden, although there is no quota in the way: everything at once is one alert.
    faults(simulator, NOVA, throttle=1.0)
    place.send([message(f"throttled-{n}") for n in range(30)])
    wait_for("throttling to be told", lambda: webhook.states("throttled") == ["firing"], 90, 0.2, [process])
    faults(simulator, NOVA, throttle=0.0)

    # It ends: access at once with the first answer, the storm when it was quiet for two minutes.
    faults(simulator, DENIED, access_denied_403=0.0)
    faults(simulator, HAIKU, internal_500=0.0)
    place.send([message("allowed", DENIED), message("calm", HAIKU)])
    wait_for(
        "access to be told", lambda: webhook.states("access-denied") == ["firing", "recovered"], 90, 0.5, [process]
    )
    wait_for("the end of the storm", lambda: webhook.states("error-rate") == ["firing", "recovered"], 240, 1, [process])
    over = webhook.alerts("error-rate")[-1]
    assert over["severity"] == "info" and over["count"] == 100, over["text"]
    assert over["numbers"]["requests_failed"]["value"] == 50
    wait_for("the requests to end", lambda: place.finished() == 85, 60, 0.5, [process])
    process.stop()

    # Both channels had the same, once each; the topic's attributes serve filters.
    received = place.take(on_call, wait=1)
    by_sns = [json.loads(envelope["Message"]) for envelope, _ in received]
    told = [(alert["kind"], alert["state"]) for alert in by_sns if alert["kind"] != "test"]
    by_webhook = [(alert["kind"], alert["state"]) for alert in webhook.alerts() if alert["kind"] != "test"]
    assert sorted(told) == sorted(by_webhook) and len(set(told)) == len(told), (told, by_webhook)
    for envelope, _ in received:
        attributes = {name: value["Value"] for name, value in envelope["MessageAttributes"].items()}
        alert = json.loads(envelope["Message"])
        assert attributes == {name: alert[name] for name in ("severity", "kind", "state", "key")}
        assert envelope["Subject"] == alert["subject"]
    for alert in by_sns + webhook.alerts():
        if alert["kind"] != "test":
            complete(alert)
    assert {(path, kind) for path, kind, _ in webhook.posts} == {("/services/s3cret", "application/json")}
    assert "s3cret" not in process.log()


def test_a_topic_that_fails_stops_nothing(aws, bedrock, worker, webhook, config):
    place = aws()
    simulator = bedrock(simulated(0.05))
    place.env |= {
        "SMOOTHER_ALERT_WEBHOOK_URL": webhook.url,
        "SMOOTHER_ALARM_TOPIC_ARN": f"{place.outputs['alarm_topic_arn']}-that-is-gone",
    }
    webhook.refuses = True
    process = worker(place, simulator, "--config", config)
    place.send([message(f"denied-{n}", DENIED) for n in range(3)] + [message(f"fine-{n}") for n in range(200)])
    wait_for("all to end", lambda: place.finished() == 203, 60, 0.2, [process])
    log = wait_for("the failure in the log", lambda: "could not be delivered" in process.log() and process.log(), 30)
    assert "that-is-gone" in log
    # The other channel works again, and gets what it missed.
    webhook.refuses = False
    wait_for("the alert after all", lambda: webhook.states("access-denied") == ["firing"], 60, 0.2, [process])
    process.signal(15)
    assert process.ended(30) == 0, "the end waits for the topic for a while, and not for ever"
    assert "never delivered" in process.log()


def runbook_commands():
    inside, commands = False, []
    for line in RUNBOOK.read_text().splitlines():
        if line.startswith("```"):
            inside = line == "```sh"
        elif inside:
            commands.append(line)
    return commands


def test_from_poison_to_the_runbook(local, bedrock, worker, smoother, webhook, config):
    place = local()
    place.env["SMOOTHER_ALERT_WEBHOOK_URL"] = webhook.url
    # Calls take so long that every worker is killed while it makes one.
    slow = bedrock(simulated(1, base_ms=60_000))
    place.send([message("order-4711", tenant="acme")])
    for life in range(3):
        process = worker(place, slow, "--config", config, *QUICK)
        wait_for(f"the call of life {life + 1}", lambda: slow.in_flight() > 0, 60, 0.1, [process])
        process.kill()
        wait_for("Bedrock to notice", lambda: slow.in_flight() == 0, 60)
    quick = bedrock(simulated(1, base_ms=50))
    listen = f"127.0.0.1:{free_port()}"
    last = worker(place, quick, "--config", config, *QUICK, "--set", f"health_listen={listen}")
    for kind in ("poison", "dead-letters", "worker-lost"):
        wait_for(f"{kind} to be told", lambda: webhook.states(kind)[:1] == ["firing"], 90, 0.5, [last])
    lines = [json.loads(line) for line in (place.directory / "alerts.jsonl").read_text().splitlines()]
    assert {(alert["kind"], alert["state"]) for alert in lines} >= {("poison", "firing"), ("dead-letters", "firing")}
    for alert in lines:
        complete(alert)

    # The commands of the runbook and of the alerts, as they are written.
    runbook = [f"{command} --local {place.directory}" for command in runbook_commands()]
    steps = [step["run"] for alert in lines for step in alert["look"] + alert["fix"] if "run" in step]
    tried = 0
    for line in [*runbook, *(step for step in steps if step.startswith("smoother "))]:
        words = shlex.split(line)[1:]
        name = " ".join(words)
        if not (name.startswith(LOOKS) or "--dry-run" in words or name.startswith("alerts test")):
            continue
        if words[0] in ("quotas", "check-config", "health"):
            # They are about settings or a worker, not about requests.
            words = [word for word in words if word not in ("--local", str(place.directory))]
        env = {**place.env, "SMOOTHER_HEALTH_LISTEN": listen, "SMOOTHER_QUOTA_SOURCE": "settings"}
        answer = smoother(*words, "--config", config, env=env)
        assert answer.out() or words[0] == "health", line
        assert "secret" not in answer.out(), line
        tried += 1
    assert tried > 50, tried

    # The operator sends it again, and all is well.
    fix = next(step for step in steps if "dlq redrive order-4711" in step)
    smoother(*shlex.split(fix)[1:], "--config", config, env=place.env)
    wait_for("its answer", lambda: place.rows()["order-4711"]["status"] == "SUCCEEDED", 60, 0.2, [last])
    wait_for(
        "the queue to be told empty", lambda: webhook.states("dead-letters") == ["firing", "recovered"], 90, 0.5, [last]
    )
