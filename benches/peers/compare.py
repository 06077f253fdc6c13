"""Runs the contestants one after the other, each against a fresh simulated Bedrock, and prints the table."""

import argparse
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import measure
import table
import workload
from tap import Tap

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
CONTESTANTS = ("boto3_standard", "boto3_adaptive", "litellm_router", "async_batch", "smoother")
MODEL = "us.amazon.nova-lite-v1:0"
QUOTA = {"rpm": 500, "tpm": 300_000, "mean_output_tokens": 400}
WORKERS = 30
# Mean latency about 6 s; the quota's bucket holds a minute's worth.
SIMULATED = f"""
[models."{MODEL}"]
rpm = {QUOTA["rpm"]}
tpm = {QUOTA["tpm"]}
refill = "bucket"
burst = 1.0
burndown = 1.0
mean_output_tokens = {QUOTA["mean_output_tokens"]}.0
latency.base_ms = 800.0
latency.tokens_per_second = 65.0
latency.sigma = 0.35
"""
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Simulator:
    """`smoother simulate-bedrock`."""

    def __init__(self, binary, scratch, seed):
        settings = scratch / "bedrock.toml"
        settings.write_text(SIMULATED)
        command = [binary, "simulate-bedrock", "--listen", "127.0.0.1:0", "--settings", settings, "--seed", str(seed)]
        with open(scratch / "bedrock.log", "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=environment(scratch)
            )
        self.url = self.process.stdout.readline().decode().strip()
        if not self.url.startswith("http"):
            raise SystemExit(f"the simulator does not start, see {scratch / 'bedrock.log'}")
        self.port = int(self.url.rsplit(":", 1)[1])

    def http(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"}, method=method)
        try:
            with OPENER.open(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def stats(self):
        return self.http("GET", "/_sim/stats")[1]

    def drain(self):
        """Uses up the tokens that an idle account has saved, in no time, and forgets it. Returns what is left."""
        self.http("POST", "/_sim/settings", {"latency_scale": 0})
        size = 30_000
        while size >= 500:
            body = {
                "messages": [{"role": "user", "content": [{"text": "x" * 4 * size}]}],
                "inferenceConfig": {"maxTokens": 1},
            }
            status, _ = self.http("POST", f"/model/{MODEL}/converse", body)
            size = size if status == 200 else size // 2
        self.http("POST", "/_sim/settings", {"latency_scale": 1})
        self.http("POST", "/_sim/reset")

    def free_tokens(self):
        return self.stats()["models"][MODEL]["free"]["tpm"] * QUOTA["tpm"]

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


def environment(scratch):
    """Nothing of the machine's AWS configuration, proxies or settings."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "HOME": str(scratch),
        "AWS_ACCESS_KEY_ID": "simulated",
        "AWS_SECRET_ACCESS_KEY": "simulated",
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def cpu_so_far(pid):
    """Seconds of processor time of a process and of those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def line_of(process, seconds):
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(seconds):
            return None
    return process.stdout.readline()


def compete(name, trace_path, options, scratch):
    trace = workload.read(trace_path)
    simulator = Simulator(options.smoother, scratch, options.seed)
    tap = Tap("127.0.0.1", simulator.port)
    arguments = {
        "trace": trace_path,
        "endpoint": tap.url,
        "model": MODEL,
        "workers": WORKERS,
        "rpm": QUOTA["rpm"],
        "tpm": QUOTA["tpm"],
        "scratch": scratch,
        "smoother": options.smoother,
    }
    command = [sys.executable, HERE / f"{name}.py", *(f"--{key}={value}" for key, value in arguments.items())]
    log = open(scratch / "contestant.log", "wb")
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment(scratch),
        cwd=scratch,
        start_new_session=True,
    )
    try:
        first = line_of(process, 120)
        if not first:
            raise SystemExit(f"{name} does not get ready, see {scratch / 'contestant.log'}")
        versions = json.loads(first)["versions"]
        if not options.full_bucket:
            simulator.drain()
        free = simulator.free_tokens()
        idle = cpu_so_far(process.pid)
        started = time.time()
        process.stdin.write(f"{started}\n".encode())
        process.stdin.flush()
        last = line_of(process, options.limit * 60)
        if last is None:
            print(f"{name}: not done after {options.limit:g} minutes, see {scratch}", file=sys.stderr)
            os.killpg(process.pid, 9)
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
        cpu = usage.ru_utime + usage.ru_stime - idle
        failed = json.loads(last)["failed"] if last else {f"gave up, see {scratch / 'contestant.log'}": 1}
        for error, times in failed.items():
            print(f"{name}: {times} × {error}", file=sys.stderr)
        return measure.figures(name, versions, trace, tap.calls, started, simulator.stats(), free, cpu, QUOTA, WORKERS)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
        tap.stop()
        simulator.stop()
        log.close()


def find_smoother():
    target = Path(os.environ.get("CARGO_TARGET_DIR") or Path.home() / ".cache/smoother/target")
    for path in (target / "release/smoother", REPO / "target/release/smoother"):
        if path.is_file():
            return path
    return None


def parse():
    parser = argparse.ArgumentParser(prog="benches/peers/run", description=__doc__)
    parser.add_argument("--requests", type=int, default=500, help="length of the trace (500: about 3 minutes each)")
    parser.add_argument("--quick", action="store_true", help="40 requests: to see that it works, not to compare")
    parser.add_argument("--only", metavar="NAME", action="append", choices=CONTESTANTS, help="may be repeated")
    parser.add_argument("--smoother", type=Path, default=find_smoother(), help="the binary (default: a release build)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--full-bucket", action="store_true", help="the quota starts with a minute's worth saved")
    parser.add_argument("--limit", type=float, default=20, metavar="MINUTES", help="none may take longer")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--update-readme", action="store_true", help="put the table into the README of the repository")
    options = parser.parse_args()
    if options.smoother is None or not options.smoother.is_file():
        parser.error("no smoother binary; build one with cargo build --release, or name it with --smoother")
    options.smoother = options.smoother.resolve()
    if options.quick:
        options.requests = 40
    if options.update_readme and (options.quick or options.only):
        parser.error("--update-readme is for a whole run, not with --quick or --only")
    return options


def main():
    options = parse()
    scratch = Path(tempfile.mkdtemp(prefix="peers-"))
    trace_path = scratch / "trace.jsonl"
    workload.write(workload.make(options.requests, options.seed, QUOTA), trace_path)
    results = []
    for name in options.only or CONTESTANTS:
        place = scratch / name
        place.mkdir()
        print(f"{name} …", file=sys.stderr, flush=True)
        got = compete(name, trace_path, options, place)
        results.append(got)
        print(f"  {json.dumps(got.as_json())}", file=sys.stderr, flush=True)
    print(table.markdown(results) if options.markdown else table.aligned(results))
    if options.json:
        options.json.write_text(json.dumps([one.as_json() for one in results], indent=2) + "\n")
    if options.update_readme:
        table.update_readme(REPO / "README.md", table.markdown(results))
    if any(one.lost for one in results):
        print(f"requests were lost; logs are in {scratch}", file=sys.stderr)
        return 1
    shutil.rmtree(scratch)
    return 0


if __name__ == "__main__":
    sys.exit(main())
