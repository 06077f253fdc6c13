"""smoother, embedded: the worker, a producer and a consumer on one directory. The producer submits what is there at
the start as one file and every urgent request by a command of its own as it arrives; the consumer takes all results.
All of these processes count. smoother is told the quotas and nothing of the sizes of answers."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import common
from workload import converse_body

arguments, trace = common.begin()
scratch = Path(arguments.scratch)
binary = arguments.smoother
place = ["--local", str(scratch / "data")]
model = f'models."{arguments.model}"'
settings = [
    f"{model}.requests_per_minute={arguments.rpm}",
    f"{model}.tokens_per_minute={arguments.tpm}",
    f"max_concurrent_executions={arguments.workers}",
]
settings = [part for setting in settings for part in ("--set", setting)]


def message(one):
    return json.dumps(
        {
            "request_id": one["id"],
            "model_id": arguments.model,
            "priority": one["priority"],
            "converse": converse_body(one),
        }
    )


def start(name, *command, stdin=subprocess.DEVNULL):
    with open(scratch / f"{name}.out", "ab") as out, open(scratch / f"{name}.log", "ab") as log:
        return subprocess.Popen([binary, *command], stdin=stdin, stdout=out, stderr=log)


def submit(requests):
    path = scratch / f"submit-{requests[0]['id']}.jsonl"
    path.write_text("".join(message(one) + "\n" for one in requests))
    return start("submit", "submit", *place, *settings, str(path))


version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
started = common.ready(f"{version}, {arguments.workers} at once")

worker = start("run", "run", *place, *settings, "--bedrock-endpoint", arguments.endpoint)
first = submit([one for one in trace if one["at"] <= 0])
submits = [first]
first.wait()  # there is something to consume from now
consumer = start(
    "results", "results", *place, "--out", str(scratch / "results.jsonl"), "--max", str(len(trace)), "--wait", "15m"
)
for one in trace:
    if one["at"] > 0:
        time.sleep(max(0, started + one["at"] - time.time()))
        submits.append(submit([one]))

failed = [f"submit ended with {code}" for code in (process.wait() for process in submits) if code]
while consumer.poll() is None:
    if worker.poll() is not None:
        sys.exit(f"smoother run ended with {worker.returncode}, see {scratch / 'run.log'}")
    time.sleep(0.2)
worker.send_signal(signal.SIGTERM)
failed += [f"{name} ended with {code}" for name, code in (("results", consumer.wait()), ("run", worker.wait())) if code]
with open(scratch / "results.jsonl", encoding="utf-8") as results:
    failed += [status for status in (json.loads(line)["status"] for line in results) if status != "SUCCEEDED"]
common.finish(failed)
