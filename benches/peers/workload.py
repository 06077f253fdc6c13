"""The trace that every contestant works off: who asks what, how much, and when."""

import json
import math
import random

URGENT_SHARE = 0.05
CHARACTERS_PER_TOKEN = 4
# What the simulator adds to a prompt of one message.
TOKENS_PER_MESSAGE = 4

# name: share, (median, sigma, least, most) of the input tokens, maxTokens
KINDS = {
    "chat": (0.6, (400, 0.6, 50, 4_000), 512),
    "extract": (0.3, (1_500, 0.6, 200, 12_000), 1_024),
    "report": (0.1, (6_000, 0.5, 1_000, 30_000), 4_096),
}
WORDS = (
    "order invoice summary because customer value change result market season detail question method quality".split()
)


def make(requests, seed, quota):
    """Requests in the order of their arrival. All come at 0 but the urgent ones, which are chats and come at random
    over the first 85 % of the time that the quota needs for everything."""
    rng = random.Random(seed)
    urgent = round(requests * URGENT_SHARE)
    trace = [request(rng, number, pick(rng), "normal") for number in range(requests - urgent)]
    span = 0.85 * 60 * sum(one["input_tokens"] + quota["mean_output_tokens"] for one in trace) / quota["tpm"]
    for number in range(requests - urgent, requests):
        trace.append({**request(rng, number, "chat", "urgent"), "at": round(rng.uniform(0.02, 1) * span, 3)})
    return sorted(trace, key=lambda one: one["at"])


def pick(rng):
    return rng.choices(list(KINDS), [share for share, _, _ in KINDS.values()])[0]


def request(rng, number, kind, priority):
    _, (median, sigma, least, most), max_tokens = KINDS[kind]
    tokens = int(min(most, max(least, median * math.exp(rng.gauss(0, sigma)))))
    name = f"peer-{number:05}"
    return {
        "id": name,
        "at": 0.0,
        "priority": priority,
        "input_tokens": tokens,
        "max_tokens": max_tokens,
        "text": text(rng, name, (tokens - TOKENS_PER_MESSAGE) * CHARACTERS_PER_TOKEN),
    }


def text(rng, name, length):
    """Words of this length in all, that start with the request's name: so it is known on the wire."""
    words = [f"[{name}]"]
    size = len(words[0])
    while size < length:
        words.append(rng.choice(WORDS))
        size += 1 + len(words[-1])
    return " ".join(words)[:length]


def converse_body(one):
    """The body of a Converse request."""
    return {
        "messages": [{"role": "user", "content": [{"text": one["text"]}]}],
        "inferenceConfig": {"maxTokens": one["max_tokens"]},
    }


def write(trace, path):
    with open(path, "w", encoding="utf-8") as out:
        out.writelines(json.dumps(one) + "\n" for one in trace)


def read(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
