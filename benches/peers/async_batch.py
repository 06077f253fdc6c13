"""async-batch-llm's LLMCallPool around boto3 in 30 threads, with its limits of requests and tokens a minute.

The estimator says what Bedrock reserves, exactly; async-batch-llm settles it by the answer's usage, as Bedrock does. Its
gate lets requests through in the order they came to it, so urgent ones get workers of their own: the fewer the others
are, the fewer stand before an urgent one.

Tried, each with 250 requests (quota used / throttled calls / makespan ÷ bound / longest wait of an urgent one):
  burst of 5 s, 10 of 30 workers for urgent ones, cooldown 0.3 s   87 % / 3 % / 1.15 / 6 s    the best of all, below
  burst of 5 s, 8 of 30, cooldown 1 s                              87 % / 3 % / 1.16 / 8 s
  burst of 5 s, 12 of 30, cooldown 1 s (0.3 s)                     85 % / 3 % / 1.19 (1.18) / 5 s (4 s)
  burst of 10 s, 8 of 30, cooldown 1 s                             87 % / 7 % / 1.15 / 7 s
  burst of 8 s, 14 of 30, cooldown 0.3 s                           81 % / 6 % / 1.24 / 6 s
  burst of 2 s, 12 of 30, cooldown 1 s                             83 % / 2 % / 1.24 / 6 s
  burst of 2 s, 10 of 30, cooldown 1 s, 98 % of the quota          85 % / 2 % / 1.22 / 7 s
Its defaults (a full minute's burst, cooldowns of five minutes, slow starts) were not run."""

import asyncio
import concurrent.futures

import boto3
import common
from async_batch_llm import CallableStrategy, CallOutcome, LLMCallPool, ProcessorConfig, TokenEstimate
from async_batch_llm.core.config import RateLimitConfig, RetryConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from workload import converse_body

URGENT_WORKERS = 10

arguments, trace = common.begin()
by_name = {one["id"]: one for one in trace}
threads = concurrent.futures.ThreadPoolExecutor(arguments.workers)
client = boto3.client(
    "bedrock-runtime",
    endpoint_url=arguments.endpoint,
    region_name="us-east-1",
    config=Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=arguments.workers,
        read_timeout=900,
    ),
)
failed = []


class Throttled(Exception):
    """What async-batch-llm takes for a throttle."""

    status_code = 429


def call(one):
    try:
        return client.converse(modelId=arguments.model, **converse_body(one))["usage"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ThrottlingException":
            raise Throttled("429") from error
        raise


async def invoke(prompt, *, attempt, timeout, state):
    usage = await asyncio.get_running_loop().run_in_executor(threads, call, by_name[prompt])
    tokens = {"input_tokens": usage["inputTokens"], "output_tokens": usage["outputTokens"]}
    return CallOutcome("", token_usage=tokens)


def estimate(prompt, *, strategy, attempt, state):
    one = by_name[prompt]
    return TokenEstimate(one["input_tokens"], one["max_tokens"])


config = ProcessorConfig(
    concurrency=arguments.workers,
    max_requests_per_minute=arguments.rpm,
    max_tokens_per_minute=arguments.tpm,
    token_estimator=estimate,
    quota_burst_seconds=5,
    attempt_timeout=900,
    retry=RetryConfig(max_attempts=5, max_rate_limit_retries=1_000),
    rate_limit=RateLimitConfig(
        cooldown_seconds=0.3, backoff_multiplier=1.5, max_cooldown_seconds=10, slow_start_items=0
    ),
)


async def work(feed, pool):
    while True:
        one = await feed.take()
        result = await pool.submit_result(one["id"])
        if result.success:
            feed.done()
        else:
            failed.append(str(result.error)[:120])
            feed.back(one)


async def main():
    started = await asyncio.to_thread(common.ready, f"{common.version('async-batch-llm')} LLMCallPool")
    async with LLMCallPool(CallableStrategy(invoke), config=config) as pool:
        lanes = [
            (common.AsyncFeed(requests, started), workers)
            for requests, workers in common.lanes(trace, arguments.workers, URGENT_WORKERS)
        ]
        tasks = [asyncio.create_task(work(feed, pool)) for feed, workers in lanes for _ in range(workers)]
        for feed, _ in lanes:
            await feed.finished.wait()
        for task in tasks:
            task.cancel()


asyncio.run(main())
common.finish(failed)
