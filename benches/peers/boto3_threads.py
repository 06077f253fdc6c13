"""boto3 as people use it: a pool of threads that call Converse, and a queue that gives urgent requests out first. What
boto3 gives up (its attempts, or its retry quota, run out) goes back into the queue, and the thread pauses a second.

Tried, each with 250 requests (quota used / throttled calls / makespan ÷ bound / longest wait of an urgent one):
  standard, max_attempts 3        88 % / 72 % / 1.14 / 0.6 s    the best of standard
  standard, max_attempts 7        86 % / 68 % / 1.16 / 0.7 s
  standard, max_attempts 20       87 % / 64 % / 1.15 / 1.7 s
  standard, max_attempts 100      84 % / 67 % / 1.20 / 0.5 s
  adaptive, max_attempts 7        80 % / 14 % / 1.25 / 32 s
  adaptive, max_attempts 20       89 % / 19 % / 1.13 / 6 s      18 s with 500 requests
    6 threads for urgent ones     81 % / 18 % / 1.24 / 8 s
    10 threads for urgent ones    85 % / 12 % / 1.18 / 3 s      the best of adaptive
  adaptive, max_attempts 100      88 % / 19 % / 1.15 / 13 s"""

import random
import threading
import time

import boto3
import common
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from workload import converse_body


def run(mode, max_attempts, urgent_workers=0):
    arguments, trace = common.begin()
    config = Config(
        retries={"mode": mode, "max_attempts": max_attempts},
        max_pool_connections=arguments.workers,
        read_timeout=900,
    )
    # One client for all threads: adaptive mode paces what goes through one client.
    client = boto3.client("bedrock-runtime", endpoint_url=arguments.endpoint, region_name="us-east-1", config=config)
    started = common.ready(f"{common.version('boto3')} {mode}, {arguments.workers} threads")
    failed = []

    def work(feed):
        while (one := feed.take()) is not None:
            try:
                client.converse(modelId=arguments.model, **converse_body(one))
            except (ClientError, BotoCoreError) as error:
                if "ThrottlingException" not in str(error):
                    failed.append(str(error)[:200])
                time.sleep(random.uniform(0.5, 1.5))
                feed.back(one)
            else:
                feed.done()

    threads = []
    for requests, workers in common.lanes(trace, arguments.workers, urgent_workers):
        feed = common.Feed(requests, started)
        threads += [threading.Thread(target=work, args=(feed,)) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    common.finish(failed)
