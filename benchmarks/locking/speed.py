"""What a lock costs that nobody else wants: in time against two PINGs of the same client, in trips and in commands."""

import asyncio
from collections.abc import Mapping
from statistics import median
from time import perf_counter_ns
from typing import NamedTuple

from benchmarks.locking.locker import AsyncLocker, Locker
from benchmarks.server import Watch, Work

COUNTED = 50


class Free(NamedTuple):
    """Taking a free lock and giving it back, divided by two PINGs; one of these in us; what the server did."""

    ratio: float
    ping_us: float
    work: Work


def in_threads(lockers: Mapping[str, Locker], urls: Mapping[str, str], turns: int) -> dict[str, Free]:
    """All lockers in turn, so that what the machine does meanwhile meets all alike."""
    taken: dict[str, list[tuple[int, int]]] = {name: [] for name in lockers}
    for turn in range(turns + 20):
        for name, locker in lockers.items():
            begin = perf_counter_ns()
            locker.acquire(f"free {turn % 50}")()
            between = perf_counter_ns()
            locker.ping()
            locker.ping()
            taken[name].append((between - begin, perf_counter_ns() - between))
    found: dict[str, Free] = {}
    for name, locker in lockers.items():
        with Watch(urls[name]) as watch:
            before = watch.count()
            for turn in range(COUNTED):
                locker.acquire(f"free {turn % 50}")()
            found[name] = _free(taken[name][20:], watch.work(before, COUNTED))
    return found


async def in_tasks(lockers: Mapping[str, AsyncLocker], urls: Mapping[str, str], turns: int) -> dict[str, Free]:
    """The same on one loop."""
    taken: dict[str, list[tuple[int, int]]] = {name: [] for name in lockers}
    for turn in range(turns + 20):
        for name, locker in lockers.items():
            begin = perf_counter_ns()
            await (await locker.acquire(f"free {turn % 50}"))()
            between = perf_counter_ns()
            _ = await locker.ping()
            _ = await locker.ping()
            taken[name].append((between - begin, perf_counter_ns() - between))
            await asyncio.sleep(0)
    found: dict[str, Free] = {}
    for name, locker in lockers.items():
        with Watch(urls[name]) as watch:
            before = watch.count()
            for turn in range(COUNTED):
                await (await locker.acquire(f"free {turn % 50}"))()
            found[name] = _free(taken[name][20:], watch.work(before, COUNTED))
    return found


def _free(taken: list[tuple[int, int]], work: Work) -> Free:
    pings = median(pings for _, pings in taken)
    return Free(median(lock for lock, _ in taken) / pings, pings / 2000, work)
