"""Figures from what was seen on the wire and what the simulator counted. Pure."""

import math
from dataclasses import asdict, dataclass


@dataclass
class Figures:
    """What the table shows of one contestant."""

    name: str
    versions: str
    requests: int
    utilisation: float
    throttled: int
    calls: int
    makespan_s: float
    bound_s: float
    urgent_p50_s: float
    urgent_p99_s: float
    urgent: int
    cpu_s: float
    lost: int
    twice: int
    peak_in_flight: int
    settled_tokens: int

    @property
    def stretch(self):
        return self.makespan_s / self.bound_s

    @property
    def throttled_share(self):
        return self.throttled / self.calls if self.calls else 0.0

    @property
    def cpu_per_1000(self):
        return self.cpu_s * 1_000 / self.requests

    def as_json(self):
        derived = {name: getattr(self, name) for name in ("stretch", "throttled_share", "cpu_per_1000")}
        return {**asdict(self), **derived}


def percentile(values, share):
    """Nearest rank: the smallest value that at least this share of the values does not exceed. NaN of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def bound(settled_tokens, free_at_start, served, call_seconds, quota, workers):
    """No order of the calls could be done sooner, seconds: all tokens must come out of the quota, all requests too, and
    the calls must fit through the workers."""
    return max(
        (settled_tokens - free_at_start) / (quota["tpm"] / 60),
        served / (quota["rpm"] / 60) - 60,
        call_seconds / workers,
    )


def waits(trace, calls, started, priority):
    """From the arrival of a request to the start of its first successful call, seconds."""
    first = {}
    for call in calls:
        if call.status == 200:
            first[call.name] = min(call.began, first.get(call.name, math.inf))
    asked = (one for one in trace if one["priority"] == priority and one["id"] in first)
    return [first[one["id"]] - started - one["at"] for one in asked]


def figures(name, versions, trace, calls, started, stats, free_at_start, cpu_s, quota, workers):
    """`started`: when the trace's time 0 was; `stats`: `/_sim/stats` at the end."""
    good = [call for call in calls if call.status == 200]
    answered = {call.name for call in good}
    makespan = max((call.ended for call in good), default=started) - started
    total = stats["total"]
    urgent = waits(trace, calls, started, "urgent")
    settled = total["tokens"]["settled"]
    call_seconds = sum(call.ended - call.began for call in good)
    utilisation = max(model["used"]["tpm"] for model in stats["models"].values())
    least = bound(settled, free_at_start, len(answered), call_seconds, quota, workers)
    return Figures(
        name=name,
        versions=versions,
        requests=len(trace),
        utilisation=utilisation,
        throttled=total["throttled"],
        calls=total["calls"],
        makespan_s=makespan,
        bound_s=least,
        urgent_p50_s=percentile(urgent, 0.5),
        urgent_p99_s=percentile(urgent, 0.99),
        urgent=len(urgent),
        cpu_s=cpu_s,
        lost=len(trace) - len(answered),
        twice=len(good) - len(answered),
        peak_in_flight=total["in_flight_peak"],
        settled_tokens=settled,
    )
