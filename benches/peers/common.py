"""What all contestants share: how they are started, and how requests reach them in the order of priority and arrival.

compare.py starts a contestant as a process of its own with the arguments below. It gets ready, says so in a line of
JSON on stdout ({"versions": …}), waits for a line on stdin (the time that is the trace's 0), works the trace off, and
ends with another line of JSON ({"failed": {error: times}}). Time and processor time count from the line on stdin on."""

import argparse
import asyncio
import collections
import heapq
import importlib.metadata
import itertools
import json
import os
import sys
import threading
import time

import workload

parser = argparse.ArgumentParser()
parser.add_argument("--trace", required=True)
parser.add_argument("--endpoint", required=True)
parser.add_argument("--model", required=True)
parser.add_argument("--workers", type=int, required=True)
parser.add_argument("--rpm", type=int, required=True)
parser.add_argument("--tpm", type=int, required=True)
parser.add_argument("--scratch", required=True)
parser.add_argument("--smoother", required=True)


def begin():
    """(arguments, trace)."""
    arguments = parser.parse_args()
    return arguments, workload.read(arguments.trace)


def version(package):
    return f"{package} {importlib.metadata.version(package)}"


def ready(versions):
    """Waits for the start; returns the time that is the trace's 0."""
    print(json.dumps({"versions": versions}), flush=True)
    return float(sys.stdin.readline())


def finish(failed):
    print(json.dumps({"failed": dict(collections.Counter(failed))}), flush=True)
    sys.stdout.flush()
    # Nothing is left to do, and a client library's threads are not waited for.
    os._exit(0)


class Feed:
    """The requests that have arrived and are not taken, the urgent ones first. For threads."""

    def __init__(self, trace, started):
        self.ranked = []
        self.order = itertools.count()
        self.open = len(trace)
        self.changed = threading.Condition()
        threading.Thread(target=self._arrive, args=(trace, started), daemon=True).start()

    def _arrive(self, trace, started):
        for one in trace:
            delay = started + one["at"] - time.time()
            if delay > 0:
                time.sleep(delay)
            self.back(one)

    def back(self, one):
        """A request arrives, or comes back to be tried again."""
        with self.changed:
            heapq.heappush(self.ranked, (one["priority"] != "urgent", one["at"], next(self.order), one))
            self.changed.notify()

    def take(self):
        """The next request; none when all are done."""
        with self.changed:
            while not self.ranked and self.open:
                self.changed.wait()
            return heapq.heappop(self.ranked)[-1] if self.ranked else None

    def done(self):
        with self.changed:
            self.open -= 1
            if not self.open:
                self.changed.notify_all()


class AsyncFeed:
    """The same for coroutines. `finished` is set when all are done."""

    def __init__(self, trace, started):
        self.queue = asyncio.PriorityQueue()
        self.order = itertools.count()
        self.open = len(trace)
        self.finished = asyncio.Event()
        if not trace:
            self.finished.set()
        self.arriving = asyncio.ensure_future(self._arrive(trace, started))

    async def _arrive(self, trace, started):
        for one in trace:
            await asyncio.sleep(max(0, started + one["at"] - time.time()))
            self.back(one)

    def back(self, one):
        self.queue.put_nowait((one["priority"] != "urgent", one["at"], next(self.order), one))

    async def take(self):
        return (await self.queue.get())[-1]

    def done(self):
        self.open -= 1
        if not self.open:
            self.finished.set()


def lanes(trace, workers, urgent_workers):
    """[(requests, workers)]: urgent requests with workers of their own, and the rest; one lane of all without any."""
    if not urgent_workers:
        return [(trace, workers)]
    urgent = [one for one in trace if one["priority"] == "urgent"]
    others = [one for one in trace if one["priority"] != "urgent"]
    return [(others, workers - urgent_workers), (urgent, urgent_workers)]
