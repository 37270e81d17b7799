"""A key that everybody wants, and whose lifetime ends again and again."""

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.caching.worker import Worker, at_once

CLIENTS = 8
TTL_S = 1
TAKES_S = 0.15
SLOW_S = 0.1


class Hot(NamedTuple):
    """Origin calls at the end of a lifetime, and by how many a cache that blocks would need at least; the share of
    requests that were slow, the 99th percentile in ms, and how many failed.
    """

    per_expiry: float
    of_least: float
    slow: float
    p99_ms: float
    failed: int


def hot(workers: list[Worker], seconds: float) -> Hot:
    """By workers of one contender; the key is there when they begin."""
    for worker in workers:
        worker.ask("takes", TAKES_S)
    workers[0].ask("each", ["/hot"])
    for worker in workers:
        worker.ask("calls")
    heard = at_once(workers, "load", "/hot", CLIENTS, seconds)
    replies = sorted(reply for each in heard for reply in each)
    calls = [call for worker in workers for call in worker.ask("calls")]
    slow = sum(reply.took > SLOW_S for reply in replies) / len(replies)
    p99 = replies[int(0.99 * (len(replies) - 1))].took
    failed = sum(reply.status != 200 for reply in replies)
    return Hot(per_expiry(calls, TTL_S), len(calls) / least(seconds), slow, p99 * 1000, failed)


def per_expiry(calls: Sequence[float], ttl: float) -> float:
    """Calls by the number of lifetimes that they ended: a call within half a lifetime of the first belongs to its."""
    ends, first = 0, float("-inf")
    for call in sorted(calls):
        if call > first + ttl / 2:
            ends, first = ends + 1, call
    return len(calls) / ends if ends else 0.0


def least(seconds: float) -> float:
    """How often a cache must call that makes everybody wait for one call."""
    return seconds / (TTL_S + TAKES_S)
