"""The real worker on a deployment, as the deployed role, with everything that can happen to it happening."""

import json
import signal
from collections import Counter

from rig.places import FINAL
from rig.services import free_port
from rig.traffic import NOVA, POINTERS, ask, bad, by_pointer, denied, pointer_text, simulated, traffic, verbose
from rig.waiting import wait_for
from rig.wire import Wire

from .variables import NAME, SOURCE_BUCKET

# Signs for the worker; whoever uses it is held to the worker's role.
WORKER_KEY = "AKIDOFTHEWORKER00000"
EXPORT_KEY = "AKIDOFTHEEXPORTS0000"
# What a process gets besides the task definition's environment, and why.
ADDED = {
    "AWS_ENDPOINT_URL": "the emulator by way of the proxy, instead of AWS",
    "SMOOTHER_BEDROCK_ENDPOINT": "the simulated Bedrock by way of the proxy",
    "AWS_ACCESS_KEY_ID": "ECS gives a task its role's",
    "AWS_SECRET_ACCESS_KEY": "ECS gives a task its role's",
    "SMOOTHER_HEALTH_LISTEN": "every task has a loopback of its own, the workers here share one",
}
FAULTS = "faults = { throttle = 0.04, internal_500 = 0.04, unavailable_503 = 0.03 }"
# Kinds of bad messages; some others are none with the models that the deployment allows.
BAD = {
    "not JSON",
    "two objects",
    "unknown field",
    "model unheard of",
    "foreign bucket",
    "missing object",
    "oversize object",
    "pointer without key",
}
UNREADABLE = {"__type": "com.amazon.coral.validate#ValidationException", "message": "One of the items cannot be taken."}


def fast(faults="", **more):
    """A simulated Bedrock whose quotas let everything through, and are there to be looked up."""
    settings = simulated(0.05, faults, **more)
    return settings.replace("rpm = 0", "rpm = 60_000").replace("tpm = 0", "tpm = 1_000_000_000")


class Run:
    """What went in and what came out. `wire` has every call, `role` what of it was used."""

    def __init__(self, deployed, binary, processes, simulator):
        self.deployed, self.binary, self.processes, self.simulator = deployed, binary, processes, simulator
        self.place = deployed.place()
        self.wire = Wire(deployed.emulator)
        self.wire.keys = deployed.keys()
        self.role = self.wire.roles[WORKER_KEY] = deployed.role("worker")
        added = {
            "AWS_ENDPOINT_URL": self.wire.url,
            "SMOOTHER_BEDROCK_ENDPOINT": self.wire.url,
            "AWS_ACCESS_KEY_ID": WORKER_KEY,
            "AWS_SECRET_ACCESS_KEY": "test",
            "SMOOTHER_HEALTH_LISTEN": f"127.0.0.1:{free_port()}",
        }
        assert set(added) == set(ADDED)
        self.env = {**self.place.env, **added}
        self.results = []

    def command(self, *arguments, code=0):
        process = self.processes.start(f"{self.deployed.kind}-{arguments[0]}", [self.binary, *arguments], self.env)
        assert process.ended(60) == code, process.log()[-4000:]
        return process

    def worker(self):
        return self.processes.start(f"{self.deployed.kind}-worker", [self.binary, "run"], self.env)

    def go(self):
        self.checked = self.command("check-config").out()
        self.place.s3.create_bucket(Bucket=SOURCE_BUCKET)
        self.place.s3.put_object(Bucket=SOURCE_BUCKET, Key="too-large.json", Body=b" " * 25_000_001)
        self.on_call = self.subscribe()
        self.poison()
        self.work()
        self.look_around()
        self.stop()
        self.export()
        return self

    def subscribe(self):
        """A queue that gets what the subscribed address gets."""
        place = self.place
        url = place.sqs.create_queue(QueueName=f"{NAME}-on-call")["QueueUrl"]
        attributes = place.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        topic = place.outputs["alarm_topic_arn"]
        place.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["QueueArn"])
        return url

    def poison(self):
        """A request that takes three workers down, and one whose body goes missing while nobody works."""
        slow = self.simulator(fast(base_ms=2_000_000))
        self.wire.point_bedrock_to(slow.url)
        messages = [{"request_id": name, "model_id": NOVA, "converse": ask("hi", name)} for name in ("deadly", "bodiless")]
        for life in range(3):
            process = self.worker()
            if life in (0, 2):
                # The second of them is called by the last of these workers only, and so no poison.
                self.place.send([json.dumps(messages[life // 2])])
            wait_for(f"the calls of life {life + 1}", lambda: slow.in_flight() == 1 + life // 2, 90, 0.1, [process])
            process.kill()
            wait_for("Bedrock to notice", lambda: slow.in_flight() == 0, 60)
        body = self.place.rows()["bodiless"]["request"]["body"]
        self.place.s3.delete_object(Bucket=self.place.outputs["bucket"], Key=body)

    def work(self):
        self.bedrock = self.simulator(fast(FAULTS))
        self.wire.point_bedrock_to(self.bedrock.url)
        self.goods = [*traffic(120), *map(verbose, range(2)), *map(denied, range(2))]
        self.bads = [message for message in bad(SOURCE_BUCKET, "too-large.json") if message.kind in BAD]
        foreign = {"request_id": "meta", "model_id": "us.meta.llama3-3-70b-instruct-v1:0", "converse": ask("hi")}
        self.large = [by_pointer(n, SOURCE_BUCKET, 400_000, attribute) for n, attribute in enumerate(POINTERS)]
        for message in self.large:
            bucket, key, text = message.pointer
            self.place.s3.put_object(Bucket=bucket, Key=key, Body=text.encode())
        self.spoilt = 0
        self.wire.spoil = self.spoil_a_batch_of_reports
        self.process = self.worker()
        sent = [*self.goods, *self.bads]
        for message, message_id in zip(sent, self.place.send([(m.text, m.attributes) for m in sent])):
            message.message_id = message_id
        self.place.send([(pointer_text(next(iter(m.attributes)), *m.pointer[:2]), m.attributes) for m in self.large])
        self.place.send([json.dumps(foreign)])
        self.names = {m.name for m in [*sent, *self.large]} | {"deadly", "bodiless", "meta"}
        wait_for("every result", self.all_there, 180, 0.3, [self.process])

    def spoil_a_batch_of_reports(self, record):
        """DynamoDB refuses a whole batch for one item: once, so that the worker has to find out which."""
        if record.call.name != "dynamodb:BatchWriteItem" or self.spoilt:
            return None
        [rows] = record.call.parameters["RequestItems"].values()
        if len(rows) < 2:
            return None
        self.spoilt += 1
        return 400, json.dumps(UNREADABLE).encode(), {"content-type": "application/x-amz-json-1.0"}

    def all_there(self):
        self.results += self.place.take_results()
        return {result["request_id"] for result, _ in self.results} >= self.names

    def look_around(self):
        """What happens by the clock: health, metrics, the use of the account's quotas."""
        self.health = self.command("health", "--ready").out()
        seen = lambda name: any(record.call.name == name for record in self.wire.calls)
        wait_for("metrics", lambda: seen("cloudwatch:PutMetricData"), 90, 1, [self.process])
        wait_for("a look at the use of quotas", lambda: seen("cloudwatch:GetMetricData"), 270, 1, [self.process])

    def stop(self):
        self.process.signal(signal.SIGTERM)
        self.ended = self.process.ended(40)
        self.results += self.place.take_results(wait=1)
        self.rows = self.place.rows()
        self.reports = Counter(self.place.report_ids())
        self.told = self.place.take(self.on_call)
        self.dead = self.place.sqs.receive_message(QueueUrl=self.place.outputs["dlq_url"], WaitTimeSeconds=2)
        self.metrics = self.place.cloudwatch.list_metrics(Namespace=self.env["SMOOTHER_METRICS_NAMESPACE"])["Metrics"]

    def export(self):
        """What the schedule starts, as its own role; then with the current hour too, which holds all that happened here; again."""
        self.export_role = self.wire.roles[EXPORT_KEY] = self.deployed.role("export")
        env = {
            **self.deployed.environment("export"),
            "AWS_ENDPOINT_URL": self.wire.url,
            "AWS_ACCESS_KEY_ID": EXPORT_KEY,
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        command = self.deployed.container("export")["command"]
        now = [word for word in command if word != "--whole-hours"]
        assert len(now) == len(command) - 1
        self.exports = []
        for arguments in (command, now, now):
            process = self.processes.start(f"{self.deployed.kind}-export", [self.binary, *arguments], env)
            assert process.ended(60) == 0, process.log()[-4000:]
            self.exports.append(json.loads(process.out()))

    def open_ends(self):
        return {name for name, row in self.rows.items() if row["status"] not in FINAL}


