"""Where a worker works: on (emulated) AWS, or in a directory. Both are seen from outside, as their users see them."""

import json
import shlex
import sqlite3
import uuid
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

REGION = "us-east-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
FINAL = {"SUCCEEDED", "FAILED", "REJECTED", "CANCELLED", "EXPIRED"}


def chunks(items, size):
    return [items[at : at + size] for at in range(0, len(items), size)]


def client(service, endpoint):
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(max_pool_connections=20, retries={"max_attempts": 3}, s3={"addressing_style": "path"}),
    )


class Aws:
    """Queues, tables, a bucket and a topic on AWS; boto3 is the producer and the consumer.

    `outputs` has their names and URLs, under the names of the settings; `env` is a worker's environment.
    """

    flags = ()

    def __init__(self, emulator, prefix, outputs, env):
        self.emulator, self.prefix, self.outputs, self.env = emulator, prefix, outputs, env
        for service in ("sqs", "dynamodb", "s3", "sns", "cloudwatch"):
            setattr(self, service, client(service, emulator))

    def send(self, messages):
        """Sends texts, or (text, attributes); answers with their SQS message ids in order."""

        def send(batch):
            entries = []
            for at, message in enumerate(batch):
                body, attributes = message if isinstance(message, tuple) else (message, {})
                typed = {
                    name: {"DataType": "Number" if value.isdigit() else "String", "StringValue": value}
                    for name, value in attributes.items()
                }
                entries.append({"Id": str(at), "MessageBody": body, "MessageAttributes": typed})
            sent = self.sqs.send_message_batch(QueueUrl=self.outputs["input_queue_url"], Entries=entries)
            assert not sent.get("Failed"), sent["Failed"]
            return [entry["MessageId"] for entry in sorted(sent["Successful"], key=lambda entry: int(entry["Id"]))]

        def size(message):
            return len((message[0] if isinstance(message, tuple) else message).encode())

        # A batch may have 1 MiB, as a message may.
        batches, room = [], 0
        for message in messages:
            if not batches or len(batches[-1]) == 10 or room < size(message):
                batches.append([])
                room = 1_000_000
            batches[-1].append(message)
            room -= size(message)
        with ThreadPoolExecutor(4) as pool:
            return [message_id for ids in pool.map(send, batches) for message_id in ids]

    def take_results(self, wait=0):
        """Receives and deletes what is on the results queue now: [(message, attributes)]."""
        return self.take(self.outputs["results_queue_url"], wait)

    def take(self, url, wait=0):
        taken = []
        while True:
            received = self.sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=wait,
                MessageAttributeNames=["All"],
            ).get("Messages", [])
            if not received:
                return taken
            entries = [{"Id": str(at), "ReceiptHandle": m["ReceiptHandle"]} for at, m in enumerate(received)]
            deleted = self.sqs.delete_message_batch(QueueUrl=url, Entries=entries)
            assert not deleted.get("Failed"), deleted["Failed"]
            for message in received:
                attributes = {k: v["StringValue"] for k, v in message.get("MessageAttributes", {}).items()}
                taken.append((json.loads(message["Body"]), attributes))

    def scan(self, table):
        items, start = [], {}
        while True:
            page = self.dynamodb.scan(TableName=self.outputs[table], ConsistentRead=True, **start)
            items += page["Items"]
            if "LastEvaluatedKey" not in page:
                return items
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def rows(self):
        """request id → {status, outcome, request} of every request there is."""
        rows = {}
        for item in self.scan("requests_table"):
            request_id = item["request_id"]["S"]
            # Lanes, leases and the like have ids that no request can have.
            if "#" not in request_id:
                outcome = item.get("outcome", {}).get("S")
                rows[request_id] = {
                    "status": item["status"]["S"],
                    "attempts": int(item["attempts"]["N"]),
                    "request": json.loads(item["request"]["S"]),
                    "outcome": json.loads(outcome) if outcome else None,
                }
        return rows

    def finished(self):
        """How many requests have come to their end."""
        return sum(row["status"] in FINAL for row in self.rows().values())

    def report_ids(self):
        """The request ids of all report rows, with repetitions."""
        return [item["request_id"]["S"] for item in self.scan("reporting_table")]

    def depths(self):
        """Messages in each queue, visible or not."""
        names = ("input_queue_url", "input_dlq_url", "hold_queue_url", "dlq_url")
        kinds = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        depths = {}
        for name in names:
            attributes = self.sqs.get_queue_attributes(QueueUrl=self.outputs[name], AttributeNames=list(kinds))
            depths[name.removesuffix("_queue_url").removesuffix("_url")] = sum(
                int(attributes["Attributes"][kind]) for kind in kinds
            )
        return depths

    def payload(self, key):
        return self.s3.get_object(Bucket=self.outputs["bucket"], Key=key)["Body"].read()


class AwsPlace(Aws):
    """What `smoother init` made under a prefix of its own."""

    def __init__(self, binary, processes, emulator):
        prefix = f"t{uuid.uuid4().hex[:10]}"
        base = {"AWS_ENDPOINT_URL": emulator, **CREDENTIALS}
        init = [binary, "init", "--prefix", prefix]
        made = processes.start("init", [*init, "--env"], base)
        assert made.ended(60) == 0, made.log()
        assignments = [shlex.split(line) for line in made.out().splitlines()]
        assert all(words[0] == "export" and len(words) == 2 for words in assignments), made.out()
        env = {**base, **dict(words[1].split("=", 1) for words in assignments)}
        again = processes.start("init", [*init, "--json"], base)
        assert again.ended(60) == 0, again.log()
        super().__init__(emulator, prefix, json.loads(again.out()), env)


class LocalPlace:
    """A directory; its database is only read."""

    def __init__(self, binary, processes, directory):
        self.binary, self.processes, self.directory = binary, processes, directory
        self.env = dict(CREDENTIALS)
        self.flags = ["--local", directory]
        self.seen = set()

    def database(self):
        return sqlite3.connect(f"file:{self.directory}/smoother.db?mode=ro", uri=True, timeout=30)

    def query(self, sql, *values):
        database = self.database()
        try:
            return database.execute(sql, values).fetchall()
        finally:
            database.close()

    def rows(self):
        columns = "request_id, status, attempts, request, outcome"
        return {
            request_id: {
                "status": status,
                "attempts": attempts,
                "request": json.loads(request),
                "outcome": json.loads(outcome) if outcome else None,
            }
            for request_id, status, attempts, request, outcome in self.query(f"SELECT {columns} FROM requests")
        }

    def finished(self):
        marks = ", ".join("?" * len(FINAL))
        return self.query(f"SELECT count(*) FROM requests WHERE status IN ({marks})", *sorted(FINAL))[0][0]

    def report_ids(self):
        return [request_id for (request_id,) in self.query("SELECT request_id FROM reports")]

    def depths(self):
        names = {"input": "input", "input_dlq": "input-dlq", "hold": "hold-next-batch", "dlq": "hold-next-batch-dlq"}
        counts = dict(self.query("SELECT queue, count(*) FROM messages GROUP BY queue"))
        return {short: counts.get(name, 0) for short, name in names.items()}

    def take_results(self, wait=0):
        """What has been put on the results queue since the last look."""
        rows = self.query(
            "SELECT m.seq, b.body, b.attributes FROM messages m JOIN bodies b USING (seq) WHERE queue = 'results'"
        )
        fresh = [row for row in rows if row[0] not in self.seen]
        self.seen.update(row[0] for row in fresh)
        return [(json.loads(body), json.loads(attributes)) for _, body, attributes in fresh]

    def payload(self, key):
        return (self.directory / key).read_bytes()

    def send(self, messages):
        """Sends messages with `smoother submit`."""
        lines = self.processes.directory / "requests.jsonl"
        lines.write_text("".join(f"{message}\n" for message in messages))
        sent = self.processes.start("submit", [self.binary, "submit", lines, "--json", *self.flags], self.env)
        assert sent.ended(60) == 0, sent.log()
        assert json.loads(sent.out())["submitted"] == len(messages), sent.out()
