"""The real binary as processes, an AWS emulator and a simulated Bedrock, all on free loopback ports."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import boto3
from botocore.config import Config

BINARY = os.environ["SMOOTHER_BIN"]
VENV = Path(os.environ["SMOOTHER_VENV"])
REGION = "us-east-1"
NOVA = "amazon.nova-lite-v1:0"
HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
TITAN = "amazon.titan-embed-text-v2:0"
TERMINAL = {"SUCCEEDED", "FAILED", "REJECTED", "CANCELLED", "EXPIRED"}


def until(what, condition, timeout=60.0, every=0.05):
    """Polls until the condition gives something true."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(every)
    raise AssertionError(f"not within {timeout} s: {what}")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def environment(extra=None):
    """This process's environment without anything that could lead to a real account."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SMOOTHER_"))}
    kept |= {"AWS_EC2_METADATA_DISABLED": "true", "SMOOTHER_LOG": "info"}
    return kept | (extra or {})


class Process:
    """A smoother process with its log in a file."""

    def __init__(self, log_dir, name, args, env=None):
        self.log = Path(log_dir) / f"{name}.log"
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                [BINARY, *args], env=environment(env), stdout=subprocess.PIPE, stderr=log, text=True
            )

    def first_line(self):
        return self.popen.stdout.readline().strip()

    def kill(self):
        """As the kernel's out-of-memory killer would."""
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait(10)

    def terminate(self):
        self.popen.send_signal(signal.SIGTERM)

    def wait(self, timeout):
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            raise AssertionError(f"still running after {timeout} s; its log ends:\n{self.tail()}") from None

    def tail(self, lines=30):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def running(self):
        return self.popen.poll() is None


def run(args, env=None, stdin=None, timeout=120):
    """Runs a command to its end."""
    return subprocess.run(
        [BINARY, *args], env=environment(env), input=stdin, capture_output=True, text=True, timeout=timeout
    )


def toml_value(value):
    if isinstance(value, dict):
        inner = ", ".join(f'"{k}" = {toml_value(v)}' for k, v in value.items())
        return "{ " + inner + " }"
    return json.dumps(value)


class Simulator:
    """A simulated Bedrock."""

    def __init__(self, log_dir, name="simulator", **settings):
        path = Path(log_dir) / f"{name}.toml"
        path.write_text("".join(f"{key} = {toml_value(value)}\n" for key, value in settings.items()))
        args = ["simulate-bedrock", "--listen", "127.0.0.1:0", "--settings", str(path)]
        self.process = Process(log_dir, name, args)
        self.url = self.process.first_line()
        assert self.url.startswith("http"), self.process.tail()

    def get(self, path):
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:
            return json.load(answer)

    def stats(self):
        return self.get("/_sim/stats")

    def calls(self):
        """Calls whose work was done, by request id."""
        return self.get("/_sim/calls")

    def in_flight(self):
        return sum(model["in_flight"] for model in self.stats()["models"].values())


class Aws:
    """Queues, tables and bucket of one test on the emulator."""

    def __init__(self, endpoint, prefix):
        self.env = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
        }
        made = run(["init", "--prefix", prefix, "--json"], self.env)
        assert made.returncode == 0, made.stderr
        self.out = json.loads(made.stdout)
        printed = run(["init", "--prefix", prefix, "--env"], self.env)
        assert printed.returncode == 0, printed.stderr
        for line in printed.stdout.splitlines():
            name, value = line.removeprefix("export ").split("=", 1)
            self.env[name] = value.strip("'")
        config = Config(max_pool_connections=20)
        client = lambda service: boto3.client(
            service,
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=config,
        )
        self.sqs, self.s3, self.sns, self.dynamodb = (client(s) for s in ("sqs", "s3", "sns", "dynamodb"))

    def place(self):
        return []

    def send(self, messages):
        """Sends (body, attributes) pairs as boto3 producers do; answers with the SQS message ids."""
        ids = []
        for start in range(0, len(messages), 10):
            entries = []
            for n, (body, attributes) in enumerate(messages[start : start + 10]):
                entry = {"Id": str(n), "MessageBody": body}
                if attributes:
                    entry["MessageAttributes"] = attributes
                entries.append(entry)
            if sum(len(e["MessageBody"]) for e in entries) > 900_000:
                for entry in entries:
                    entry.pop("Id")
                    ids.append(self.sqs.send_message(QueueUrl=self.out["input_queue_url"], **entry)["MessageId"])
                continue
            answer = self.sqs.send_message_batch(QueueUrl=self.out["input_queue_url"], Entries=entries)
            assert not answer.get("Failed"), answer["Failed"]
            by_entry = {e["Id"]: e["MessageId"] for e in answer["Successful"]}
            ids.extend(by_entry[str(n)] for n in range(len(entries)))
        return ids

    def drain(self, url):
        """Takes all messages of a queue: (body, attributes) pairs."""
        taken = []
        while True:
            answer = self.sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], WaitTimeSeconds=0
            )
            messages = answer.get("Messages", [])
            if not messages:
                return taken
            for m in messages:
                attributes = {k: v["StringValue"] for k, v in m.get("MessageAttributes", {}).items()}
                taken.append((m["Body"], attributes))
            entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
            self.sqs.delete_message_batch(QueueUrl=url, Entries=entries)

    def results(self):
        return [(json.loads(body), attributes) for body, attributes in self.drain(self.out["results_queue_url"])]

    def depth(self, name):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=self.out[f"{name}_url"], AttributeNames=names)
        return sum(int(answer["Attributes"][n]) for n in names)

    def scan(self, table):
        rows, start = [], {}
        while True:
            page = self.dynamodb.scan(TableName=self.out[table], **start)
            rows.extend({k: next(iter(v.values())) for k, v in item.items()} for item in page["Items"])
            if "LastEvaluatedKey" not in page:
                return rows
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def rows(self):
        """Status and whole row by request id."""
        return {row["request_id"]: row for row in self.scan("requests_table") if "#" not in row["request_id"]}

    def reports(self):
        """How many report rows each request id has."""
        return count(row["request_id"] for row in self.scan("reporting_table"))


class Local:
    """A directory of the embedded default."""

    def __init__(self, directory):
        self.dir = Path(directory)
        self.env = {}

    def place(self):
        return ["--local", str(self.dir)]

    def submit(self, messages):
        lines = "".join(json.dumps(m) + "\n" for m in messages)
        sent = run(["submit", "-", *self.place(), "--json"], stdin=lines)
        assert sent.returncode == 0, sent.stderr
        return json.loads(sent.stdout)

    def query(self, sql):
        with sqlite3.connect(f"file:{self.dir}/smoother.db?mode=ro", uri=True, timeout=10) as db:
            return db.execute(sql).fetchall()

    def rows(self):
        return {i: {"status": s} for i, s in self.query("SELECT request_id, status FROM requests")}

    def reports(self):
        return count(i for (i,) in self.query("SELECT request_id FROM reports"))

    def results(self):
        drained = run(["results", *self.place(), "--wait", "1s"])
        assert drained.returncode == 0, drained.stderr
        return [(json.loads(line), {}) for line in drained.stdout.splitlines()]


def count(names):
    counts = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts


def worker(log_dir, name, place, simulator, *args, **settings):
    """Starts `smoother run` on the place."""
    flags = [f for k, v in settings.items() for f in ("--set", f"{k}={v}")]
    command = ["run", *place.place(), "--bedrock-endpoint", simulator.url, *flags, *args]
    return Process(log_dir, name, command, place.env)


def quota(model, rpm, tpm):
    """The flags that tell a worker of a model's quota."""
    return ["--set", f'models."{model}".requests_per_minute={rpm}', "--set", f'models."{model}".tokens_per_minute={tpm}']


def converse(request_id, text="Say hello.", max_tokens=60, **body):
    """A Converse body that the simulator counts under its request id."""
    return {
        "messages": [{"role": "user", "content": [{"text": text}]}],
        "inferenceConfig": {"maxTokens": max_tokens},
        "requestMetadata": {"request_id": request_id},
    } | body


@contextmanager
def stopping(*processes):
    """Ends processes whatever happens."""
    try:
        yield
    finally:
        for process in processes:
            if process.running():
                process.kill()
