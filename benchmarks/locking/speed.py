"""What a lock costs that nobody else wants: in time against two PINGs of the same client, in trips and in commands."""

import asyncio
from collections.abc import Mapping
from statistics import median
from time import perf_counter_ns
from typing import NamedTuple

from benchmarks.locking.locker import AsyncLocker, Locker
from benchmarks.server import Watch, Work

COUNTED = 50
UNTIMED = 20


class Free(NamedTuple):
    """Taking a free lock and giving it back, divided by two PINGs; one of these in us; what the server did."""

    ratio: float
    ping_us: float
    work: Work


class Times:
    """What each turn of one locker took, in nanoseconds."""

    def __init__(self) -> None:
        self.locks: list[int] = []
        self.pings: list[int] = []

    def free(self, work: Work) -> Free:
        locks, pings = median(self.locks[UNTIMED:]), median(self.pings[UNTIMED:])
        return Free(locks / pings, pings / 2000, work)


def in_threads(lockers: Mapping[str, Locker], urls: Mapping[str, str], turns: int) -> dict[str, Free]:
    """All lockers in turn, so that what the machine does meanwhile meets all alike.

    Each wakes its server by a PING first, or whatever is timed first would pay for that; and is it the lock in one
    turn, it is the PINGs in the next.
    """
    times = {name: Times() for name in lockers}
    for turn in range(turns + UNTIMED):
        for name, locker in lockers.items():
            locker.ping()
            for timed in (times[name].locks, times[name].pings)[:: 1 if turn % 2 else -1]:
                begin = perf_counter_ns()
                if timed is times[name].locks:
                    locker.acquire(f"free {turn % 50}")()
                else:
                    locker.ping()
                    locker.ping()
                timed.append(perf_counter_ns() - begin)
    found: dict[str, Free] = {}
    for name, locker in lockers.items():
        with Watch(urls[name]) as watch:
            before = watch.count()
            for turn in range(COUNTED):
                locker.acquire(f"free {turn % 50}")()
            found[name] = times[name].free(watch.work(before, COUNTED))
    return found


async def in_tasks(lockers: Mapping[str, AsyncLocker], urls: Mapping[str, str], turns: int) -> dict[str, Free]:
    """The same on one loop."""
    times = {name: Times() for name in lockers}
    for turn in range(turns + UNTIMED):
        for name, locker in lockers.items():
            _ = await locker.ping()
            for timed in (times[name].locks, times[name].pings)[:: 1 if turn % 2 else -1]:
                begin = perf_counter_ns()
                if timed is times[name].locks:
                    _ = await (await locker.acquire(f"free {turn % 50}"))()
                else:
                    _ = await locker.ping()
                    _ = await locker.ping()
                timed.append(perf_counter_ns() - begin)
            await asyncio.sleep(0)
    found: dict[str, Free] = {}
    for name, locker in lockers.items():
        with Watch(urls[name]) as watch:
            before = watch.count()
            for turn in range(COUNTED):
                _ = await (await locker.acquire(f"free {turn % 50}"))()
            found[name] = times[name].free(watch.work(before, COUNTED))
    return found
