"""Attempts to get more than a limit through in one period: when to try, and what came of it."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from random import Random
from typing import NamedTuple

from benchmarks.limiting.contenders import contenders
from benchmarks.limiting.limiter import Quota
from benchmarks.limiting.windows import Admission, long_run, most_certain, most_possible

HARD = 5
"""Times the limit, where a client tries without a pause."""
HAMMER = 4
"""Times the limit, where its long-run rate is measured."""


class Worst(NamedTuple):
    """The largest number let through in one period, divided by the limit, and what attack was the first to get it."""

    certain: float
    possible: float
    attack: str
    degraded: int


class Pace(NamedTuple):
    """The long-run rate of what was let through, divided by the limit."""

    rate: float
    degraded: int


def steady(begin: float, end: float, per_period: int) -> list[float]:
    """Tries at an even pace, in periods from the start, as all of these."""
    return [begin + step / per_period for step in range(round((end - begin) * per_period))]


def hammering(count: int, _: Random) -> list[float]:
    return steady(0, 3, HARD * count)


def over_the_edge(count: int, _: Random) -> list[float]:
    """All at the end of a window and on into the next, where windows begin by the clock or with the first hit."""
    return [0.0, *[0.85] * count, *steady(1.0, 2.0, HARD * count)]


def after_the_refill(count: int, _: Random) -> list[float]:
    """Again and again all at once, a little earlier than after one period."""
    return [moment for moment in (0.0, 0.97, 1.94) for _ in range(count + 1)]


def slowly_then_all(count: int, _: Random) -> list[float]:
    """At the pace that is allowed, which keeps a bucket full, and then everything."""
    return [*steady(0, 0.99, count), *[0.99] * count, *steady(1.0, 2.0, HARD * count)]


def at_random(count: int, random: Random) -> list[float]:
    moments: list[float] = []
    moment = 0.0
    while moment < 3:
        moments += [moment] * random.choice((1, 1, count // 4, count))
        moment += random.expovariate(6)
    return moments


ATTACKS: dict[str, Callable[[int, Random], list[float]]] = {
    "hammering": hammering,
    "over the edge": over_the_edge,
    "after the refill": after_the_refill,
    "slowly, then all": slowly_then_all,
    "at random": at_random,
}


def attack(name: str, url: str, quota: Quota, passes: int) -> Worst:
    """All attacks at the same time, each on a key of its own; the first pass begins by the clock, others anywhere."""
    random = Random(quota.count)
    limiter = contenders()[name].open(url, [quota])
    worst = Worst(0.0, 0.0, "", 0)
    try:
        limiter.hit("warm")
        for turn in range(passes):
            tries = [
                (moment * quota.period, f"{kind} {turn}")
                for kind, moments in ATTACKS.items()
                for moment in moments(quota.count, random)
            ]
            _until_the_clock_turns(quota.period, 0.0 if turn == 0 else random.random())
            for key, admissions in _perform(tries, limiter.hit).items():
                certain = most_certain(admissions, quota.period) / quota.count
                possible = most_possible(admissions, quota.period) / quota.count
                if certain > worst.certain:
                    worst = worst._replace(certain=certain, attack=key.removesuffix(f" {turn}"))
                worst = worst._replace(possible=max(possible, worst.possible))
        return worst._replace(degraded=limiter.degraded)
    finally:
        limiter.close()


def pace(name: str, url: str, quota: Quota, periods: int) -> Pace:
    """Hammer one key for so many periods."""
    limiter = contenders()[name].open(url, [quota])
    try:
        limiter.hit("warm")
        tries = [(moment * quota.period, "hammered") for moment in steady(0, periods, HAMMER * quota.count)]
        admitted = _perform(tries, limiter.hit)
        return Pace(long_run(admitted["hammered"], quota.count, quota.period), limiter.degraded)
    finally:
        limiter.close()


def _perform(tries: Iterable[tuple[float, str]], hit: Callable[[str], bool]) -> dict[str, list[Admission]]:
    """Try each key at its moments, in seconds from now, or as soon as the try before is over; what was let through."""
    admitted: dict[str, list[Admission]] = defaultdict(list)
    start = time.monotonic()
    for moment, key in sorted(tries, key=lambda one: one[0]):
        left = start + moment - time.monotonic()
        if left > 0:
            time.sleep(left)
        before = time.monotonic()
        allowed = hit(key)
        after = time.monotonic()
        if allowed:
            admitted[key].append(Admission(before, after))
    return admitted


def _until_the_clock_turns(period: int, plus: float) -> None:
    """Sleep until a window that begins by the clock has begun, and such a part of it is over."""
    now = time.time()
    time.sleep((now // period + 1 + plus) * period - now)
