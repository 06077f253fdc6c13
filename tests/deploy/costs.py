"""What running smoother costs, from counted calls: `python tests/deploy/costs.py` writes docs/costs.md and README's table.

A real worker answers 1,000 requests on the emulator and is idle for a while; the proxy counts what it calls. Calls that are
made by the clock are those of the idle worker; only the others are priced by the request.
"""

import json
import math
import os
import re
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path[:0] = [str(HERE.parent), str(HERE)]

# Takes the machine's proxies and AWS configuration away.
import rig.fixtures
from rig.places import AwsPlace
from rig.processes import Processes
from rig.services import Simulator, start_emulator
from rig.waiting import wait_for
from rig.wire import Wire

MODEL = "us.amazon.nova-lite-v1:0"
REQUESTS, INPUT_BYTES, OUTPUT_TOKENS = 1000, 2000, 250
IDLE_SECONDS = 120
MILLION, HOURS, MINUTES = 1_000_000, 730, 43_800
SIMULATED = f"""
latency_scale = 0.05
[models."{MODEL}"]
rpm = 600_000
tpm = 10_000_000_000
mean_output_tokens = {OUTPUT_TOKENS}
output_sigma = 0.0
"""
# What the default deployment has that costs by the month: (what, how many, price, remark).
DEFAULTS = [
    ("Fargate, ½ ARM vCPU", 0.5 * HOURS, "fargate_vcpu", "one worker, day and night"),
    ("Fargate, 1 GB", 1.0 * HOURS, "fargate_gb", ""),
    ("Public IPv4 address", 1.0 * HOURS, "ipv4", "of the worker's task; without one, a NAT gateway or endpoints cost more"),
    # 730 tasks a month of the default size, a minute each, which is the least that is billed.
    ("Exports, ½ ARM vCPU", 0.5 * HOURS / 60, "fargate_vcpu", "a minute every hour; with export_schedule only"),
    ("Exports, 1 GB", HOURS / 60, "fargate_gb", ""),
    ("Exports, address", HOURS / 60, "ipv4", ""),
    ("Exports, objects", 15 * HOURS, "s3_put", "some 15 listings and writes an hour"),
    ("KMS key", 1, "kms_key", ""),
    ("Alarms on metrics", 9, "alarm_metric", "7 of one metric, 1 of two"),
    ("Metrics Insights alarms", 3, "insights_alarm_metric", "with one model in use; one more metric each per model"),
    ("Dashboard", 1, "dashboard", "an account's first three are free"),
    ("Container Insights", 25, "container_insights_metric", "8 of the cluster, 11 of the service, 6 of the task"),
]


@dataclass
class Counted:
    """Billing units by (operation, price): per request and per minute of idleness. Calls likewise by operation."""

    requests: int
    idle_seconds: float
    calls: dict = field(default_factory=dict)
    idle_calls: dict = field(default_factory=dict)
    units: dict = field(default_factory=dict)
    idle_units: dict = field(default_factory=dict)
    row_bytes: float = 0
    body_bytes: float = 0
    log_bytes: float = 0
    idle_log_bytes: float = 0
    metrics: int = 0


def size(value):
    """Bytes of a DynamoDB attribute value."""
    [(kind, inner)] = value.items()
    match kind:
        case "S":
            return len(inner.encode())
        case "N":
            return len(inner) // 2 + 2
        case "M":
            return 3 + sum(len(name) + size(item) + 1 for name, item in inner.items())
        case "L":
            return 3 + sum(size(item) + 1 for item in inner)
    return 1


def item_size(item):
    return sum(len(name.encode()) + size(value) for name, value in item.items())


class Meter:
    """Calls → what is billed. `sizes` has the items of the requests table as they end, by id."""

    def __init__(self, sizes):
        self.sizes = sizes

    def units(self, record):
        service, operation = record.call.service, record.call.operation
        if service == "sqs":
            amount = max(len(record.body), record.received)
            return [("sqs_request", max(1, math.ceil(amount / 65_536)))]
        if service == "s3":
            return [("s3_put" if operation == "PutObject" else "s3_get", 1)]
        if service == "dynamodb":
            return self.table(operation, record)
        prices = {"PutMetricData": "metrics_put", "GetMetricData": "metrics_get", "Publish": "sns_publish"}
        return [(prices[operation], 1)] if operation in prices else []

    def table(self, operation, record):
        asked = record.call.parameters
        match operation:
            case "PutItem":
                item = asked["Item"]
                units = math.ceil(item_size(item) / 1024)
                # A register that is written again stays where it is in the index.
                index = 1 if "work_list" in item and not item["request_id"]["S"].startswith("register#") else 0
                return [("dynamodb_write", units + index)]
            case "UpdateItem":
                # Billed as large as the row becomes, which is a little too much.
                whole = self.sizes.get(asked["Key"]["request_id"]["S"], 1024)
                return [("dynamodb_write", math.ceil(whole / 1024) + index_writes(asked))]
            case "DeleteItem":
                return [("dynamodb_write", 1)]
            case "BatchWriteItem":
                puts = [put["PutRequest"]["Item"] for rows in asked["RequestItems"].values() for put in rows]
                return [("dynamodb_write", sum(math.ceil(item_size(item) / 1024) for item in puts))]
            case "GetItem":
                return [("dynamodb_read", max(1, math.ceil(record.received / 4096)))]
            case "BatchGetItem":
                return [("dynamodb_read", sum(len(part["Keys"]) for part in asked["RequestItems"].values()))]
            case "Query":
                return [("dynamodb_read", 0.5 * max(1, math.ceil(record.received / 4096)))]
        return []


def index_writes(asked):
    """An entry of the index that moves is deleted and written; one that goes, or comes, is one write."""
    names = asked.get("ExpressionAttributeNames", {})
    places = {"work_list", "work_sort"} | {short for short, name in names.items() if name in ("work_list", "work_sort")}
    expression = asked.get("UpdateExpression", "")
    changed, _, removed = expression.partition("REMOVE")
    words = lambda text: set(re.findall(r"[#\w]+", text))
    if words(changed) & places:
        return 2
    return 1 if words(removed) & places else 0


def measure(binary, directory, count=REQUESTS, idle=IDLE_SECONDS):
    processes = Processes(directory)
    wire = None
    try:
        emulator = start_emulator(processes)
        place = AwsPlace(binary, processes, emulator)
        wire = Wire(emulator, Simulator(processes, binary, SIMULATED).url)
        env = {**place.env, "AWS_ENDPOINT_URL": wire.url, "SMOOTHER_BEDROCK_ENDPOINT": wire.url}
        worker = processes.start("worker", [binary, "run", "--set", "allowed_models=*"], env)
        wait_for("the worker to settle", lambda: len(wire.calls) > 20, 30, alive=[worker])
        time.sleep(5)
        return watch(place, wire, worker, count, idle)
    finally:
        processes.stop()
        if wire:
            wire.stop()


def watch(place, wire, worker, count, idle):
    text = "x" * INPUT_BYTES
    body = {"messages": [{"role": "user", "content": [{"text": text}]}], "inferenceConfig": {"maxTokens": 400}}
    messages = [json.dumps({"request_id": f"r-{n}", "model_id": MODEL, "converse": body}) for n in range(count)]
    log = lambda: worker.log_path.stat().st_size
    first, started, log_before = len(wire.calls), time.monotonic(), log()
    place.send(messages)
    wait_for("every answer", lambda: place.finished() >= count, 300, 1, [worker])
    taken = place.take_results(wait=1)
    assert len({result["request_id"] for result, _ in taken}) == count
    time.sleep(3)
    busy, log_between = time.monotonic() - started, log()
    middle = len(wire.calls)
    time.sleep(idle)
    last = len(wire.calls)
    sizes = {item["request_id"]["S"]: item_size(item) for item in place.scan("requests_table")}
    rows = [amount for name, amount in sizes.items() if name.startswith("r-")]
    counted = Counted(count, idle)
    counted.row_bytes = sum(rows) / len(rows) + sum(map(item_size, place.scan("reporting_table"))) / count
    counted.metrics = len(place.cloudwatch.list_metrics(Namespace="Smoother")["Metrics"])
    counted.idle_log_bytes = (log() - log_between) / idle * 60
    counted.log_bytes = max(0, log_between - log_before - counted.idle_log_bytes * busy / 60) / count
    bodies = [record for record in wire.calls[first:middle] if record.call.name == "s3:PutObject"]
    counted.body_bytes = sum(len(record.body) for record in bodies) / count
    fill(counted, Meter(sizes), wire.calls[first:middle], wire.calls[middle:last], busy)
    return counted


def fill(counted, meter, busy_calls, idle_calls, busy):
    def add(records):
        calls, units = defaultdict(float), defaultdict(float)
        for record in records:
            calls[record.call.name] += 1
            for price, amount in meter.units(record):
                units[record.call.name, price] += amount
        return calls, units

    calls, units = add(busy_calls)
    idle_calls, idle_units = add(idle_calls)
    per_minute = 60 / counted.idle_seconds
    counted.idle_calls = {name: amount * per_minute for name, amount in idle_calls.items()}
    counted.idle_units = {what: amount * per_minute for what, amount in idle_units.items()}

    def by_request(busy_amounts, idle_amounts):
        left = {what: amount - idle_amounts.get(what, 0) * busy / 60 for what, amount in busy_amounts.items()}
        # What is left of a call by the clock is chance.
        return {what: amount / counted.requests for what, amount in left.items() if amount / counted.requests >= 0.01}

    counted.calls = by_request(calls, counted.idle_calls)
    made = by_request(units, counted.idle_units)
    counted.units = {what: amount for what, amount in made.items() if what[0] in counted.calls}


def prices():
    return json.loads((HERE / "prices.json").read_text())


def cost(price, amount):
    entry = prices()["prices"][price]
    return amount * entry["usd"] / entry["per"]


def mark(price):
    return "" if prices()["prices"][price]["sure"] else " †"


def usd(amount):
    return f"{amount:,.2f}" if amount >= 0.005 or amount == 0 else "< 0.01"


def per_million(counted, retention=30):
    """[(service, what, calls per request, USD per million requests, remark)]"""
    rows = []
    for (name, price), units in sorted(counted.units.items()):
        service, operation = name.split(":")
        remark = f"{units:.2f} {'write' if price == 'dynamodb_write' else 'read'} units a request" if service == "dynamodb" else ""
        rows.append((service, operation, counted.calls.get(name, 0), cost(price, units * MILLION), remark))
    for name in sorted(set(counted.calls) - {name for name, _ in counted.units}):
        service, operation = name.split(":")
        if service != "bedrock":
            rows.append((service, operation, counted.calls[name], 0.0, "not billed"))
    gigabytes = counted.row_bytes * MILLION / 1e9
    kept = f"{retention} days"
    rows.append(("dynamodb", "rows kept", None, cost("dynamodb_storage", gigabytes) + cost("dynamodb_recovery", gigabytes), f"{counted.row_bytes:,.0f} B, {kept}"))
    rows.append(("s3", "bodies kept", None, cost("s3_storage", counted.body_bytes * MILLION / 1e9), f"{counted.body_bytes:,.0f} B, {kept}"))
    rows.append(("logs", "taken in", None, cost("logs", counted.log_bytes * MILLION / 1e9), f"{counted.log_bytes:,.0f} B"))
    # A producer sends ten at once, a consumer takes and deletes ten at once.
    rows.append(("sqs", "producers and consumers", 0.3, cost("sqs_request", 0.3 * MILLION), "in batches of ten; not the worker's"))
    return rows


def idle_month(counted):
    """[(what, amount, USD a month, remark)]"""
    rows = [(what + mark(price), "", cost(price, amount), remark) for what, amount, price, remark in DEFAULTS]
    for (name, price), units in sorted(counted.idle_units.items()):
        rows.append((name, f"{counted.idle_calls[name]:.1f} a minute", cost(price, units * MINUTES), ""))
    rows.append(("Custom metrics", f"{counted.metrics}", cost("metric", counted.metrics), "with one lane; about 14 more per lane"))
    rows.append(("Logs", f"{counted.idle_log_bytes:,.0f} B a minute", cost("logs", counted.idle_log_bytes * MINUTES / 1e9), ""))
    return rows


def by_service(rows):
    sums = defaultdict(float)
    for service, _, _, amount, _ in rows:
        sums[service] += amount
    return sums


NAMES = {"s3": "S3", "dynamodb": "DynamoDB", "sqs": "SQS", "logs": "Logs", "sns": "SNS", "cloudwatch": "CloudWatch"}


def document(counted, day):
    requests, month = per_million(counted), idle_month(counted)
    date = prices()["date"]
    lines = [
        "# What running smoother costs",
        "",
        f"Bedrock itself not included. Counted on {day} with the real worker: {counted.requests:,} requests of {INPUT_BYTES:,} bytes"
        f" in and {OUTPUT_TOKENS} tokens (about 1 KB) out, and {counted.idle_seconds:.0f} idle seconds, behind a proxy that counts"
        f" the calls. Priced with us-east-1's list prices of {date} (`tests/deploy/prices.json`), without free tiers.",
        "† marks what we are not sure of. `python tests/deploy/costs.py` writes this page.",
        "",
        "## A million requests",
        "",
        "Calls that the worker makes by the clock are below, with the idle month.",
        "",
        "| Service | Operation | Calls a request | USD | |",
        "|---|---|---:|---:|---|",
    ]
    for service, what, calls, amount, remark in requests:
        shown = "" if calls is None else f"{calls:.3f}"
        lines.append(f"| {NAMES.get(service, service)} | {what} | {shown} | {usd(amount)} | {remark} |")
    total = sum(amount for _, _, _, amount, _ in requests)
    lines += [f"| **Together** | | | **{usd(total)}** | |", "", "## An idle month", ""]
    lines += [
        "One worker of the default size and nothing to do. Each further worker costs its Fargate, address and calls again.",
        "",
        "| Part | Amount | USD | |",
        "|---|---|---:|---|",
    ]
    lines += [f"| {what} | {amount} | {usd(money)} | {remark} |" for what, amount, money, remark in month]
    idle = sum(money for _, _, money, _ in month)
    lines += [f"| **Together** | | **{usd(idle)}** | |", ""]
    lines += [
        f"The gateway adds a load balancer for USD {usd(cost('load_balancer', 1))}, a secret for USD {usd(cost('secret', 1))} and"
        " two tasks.",
        "",
    ]
    return "\n".join(lines)


def table(counted):
    """README's: a line per service, and the idle month."""
    requests, month = per_million(counted), idle_month(counted)
    lines = ["| | USD |", "|---|---:|"]
    for service, amount in sorted(by_service(requests).items(), key=lambda pair: -pair[1]):
        lines.append(f"| a million requests: {NAMES.get(service, service)} | {usd(amount)} |")
    lines.append(f"| **a million requests** (2 KB in, 1 KB out, Bedrock not included) | **{usd(sum(r[3] for r in requests))}** |")
    lines.append(f"| **an idle month** (one worker, the default deployment) | **{usd(sum(r[2] for r in month))}** |")
    return "\n".join(lines)


def write(counted, day):
    (REPOSITORY / "docs" / "costs.md").write_text(document(counted, day))
    (HERE / "calls.json").write_text(json.dumps({"date": day, "calls_per_request": rounded(counted.calls)}, indent=1) + "\n")
    readme = REPOSITORY / "README.md"
    text = readme.read_text()
    block = re.compile(r"(<!-- costs:begin -->\n).*?(<!-- costs:end -->)", re.DOTALL)
    if block.search(text):
        readme.write_text(block.sub(lambda found: f"{found[1]}{table(counted)}\n{found[2]}", text))
    else:
        print("README.md has no <!-- costs:begin --> … <!-- costs:end -->; its table would be:\n")
        print(table(counted))


def rounded(calls):
    return {name: round(amount, 3) for name, amount in sorted(calls.items())}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        result = measure(Path(os.environ["SMOOTHER_BIN"]).resolve(), Path(scratch))
    write(result, datetime.now().date().isoformat())
