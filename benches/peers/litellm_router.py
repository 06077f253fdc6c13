"""litellm's Router with the deployment's rpm and tpm, its scheduler for priorities, and 30 tasks, 10 of them for urgent
requests: what waits in the Router holds its task, and an urgent one would wait for a task to come free.

Tried, each with 250 requests (quota used / throttled calls / makespan ÷ bound / longest wait of an urgent one):
  routing simple-shuffle, cooldowns of 2 s, scheduler,
    10 tasks for urgent ones                                 94 % / 12 % / 1.08 / 7 s      the best of all, below
    6 tasks for urgent ones                                  87 % / 17 % / 1.17 / 9 s
    none for urgent ones alone                               90 % / 20 % / 1.13 / 5 s      20 s with 500 requests
    the same, cooldowns of 1 s                               90 % / 25 % / 1.14 / 5 s
    the same, cooldowns of 5 s                               84 % / 13 % / 1.22 / 17 s
    the same, usage-based-routing-v2                         66 % / 21 % / 1.54 / 5 s
  no cooldowns, simple-shuffle, the Router's own retries     76 % / 42 % / 1.36 / 2 s
  no cooldowns, usage-based-routing-v2, its own retries      78 % / 42 % / 1.33 / 7 s
  no cooldowns, usage-based-routing-v2, retries by our queue
    after about 1 s                                          93 % / 69 % / 1.11 / 1 s      twice the processor time
    after about 4 s                                          82 % / 38 % / 1.25 / 0.4 s
  no cooldowns, enforce_model_rate_limits, by our queue      88 % / 69 % / 1.18 / 0.2 s
rpm and tpm, where they are enforced, count calls and finished answers by the minute of the clock; nothing is reserved."""

import asyncio
import os
import random

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # its prices from the package, not from the internet
os.environ["LITELLM_LOG"] = "CRITICAL"

import common  # noqa: E402
import litellm  # noqa: E402
from litellm import Router  # noqa: E402
from litellm.types.router import RouterRateLimitError  # noqa: E402

litellm.suppress_debug_info = True
litellm.telemetry = False

URGENT_WORKERS = 10

arguments, trace = common.begin()
deployment = {
    "model": f"bedrock/converse/{arguments.model}",
    "aws_bedrock_runtime_endpoint": arguments.endpoint,
    "aws_region_name": "us-east-1",
    "rpm": arguments.rpm,
    "tpm": arguments.tpm,
    "timeout": 900,
    "max_retries": 0,
}
router = Router(
    model_list=[{"model_name": "nova", "litellm_params": deployment}],
    routing_strategy="simple-shuffle",
    # After a throttle nobody calls for a while, then the scheduler lets the waiting ones go by priority.
    allowed_fails=0,
    cooldown_time=2,
    polling_interval=0.1,
    # Retries go through the queue, which gives urgent ones out first.
    num_retries=0,
    default_max_parallel_requests=arguments.workers,
    timeout=900,
)
failed = []


async def work(feed):
    while True:
        one = await feed.take()
        try:
            await router.schedule_acompletion(
                model="nova",
                priority=0 if one["priority"] == "urgent" else 1,
                messages=[{"role": "user", "content": one["text"]}],
                max_tokens=one["max_tokens"],
            )
        except Exception as error:
            if not isinstance(error, (litellm.RateLimitError, RouterRateLimitError)):
                failed.append(f"{type(error).__name__}: {error}"[:120])
            await asyncio.sleep(random.uniform(0.5, 1.5))
            feed.back(one)
        else:
            feed.done()


async def main():
    versions = f"{common.version('litellm')} Router"
    started = await asyncio.to_thread(common.ready, versions)
    lanes = [
        (common.AsyncFeed(requests, started), workers)
        for requests, workers in common.lanes(trace, arguments.workers, URGENT_WORKERS)
    ]
    tasks = [asyncio.create_task(work(feed)) for feed, workers in lanes for _ in range(workers)]
    for feed, _ in lanes:
        await feed.finished.wait()
    for task in tasks:
        task.cancel()


asyncio.run(main())
common.finish(failed)
