"""Many who want one lock: how often it changes hands, how long they wait, and who gets it how often."""

import asyncio
import threading
from collections.abc import Sequence
from statistics import median
from time import monotonic, sleep
from typing import NamedTuple

from benchmarks.locking.locker import AsyncLocker, Locker
from benchmarks.server import Watch, Work

WORKERS = 20
SECTION_S, PAUSE_S = 0.002, 0.02


class Fight(NamedTuple):
    """Acquisitions a second, the 50th and 99th percentile of the waits in ms, most by least of a worker, and the work
    of the server for each acquisition.
    """

    rate: float
    p50: float
    p99: float
    unfair: float
    work: Work


def in_threads(locker: Locker, url: str, seconds: float) -> Fight:
    """For so many seconds, by threads of one process."""
    waits: list[list[float]] = [[] for _ in range(WORKERS)]

    def work(mine: list[float], ends: float) -> None:
        while (begin := monotonic()) < ends:
            release = locker.acquire("wanted")
            mine.append(monotonic() - begin)
            sleep(SECTION_S)
            _ = release()
            sleep(PAUSE_S)

    with Watch(url) as watch:
        before, begin = watch.count(), monotonic()
        threads = [threading.Thread(target=work, args=(mine, begin + seconds)) for mine in waits]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return _fight(waits, monotonic() - begin, watch, before)


async def in_tasks(locker: AsyncLocker, url: str, seconds: float) -> Fight:
    """The same by tasks of one loop."""
    waits: list[list[float]] = [[] for _ in range(WORKERS)]

    async def work(mine: list[float], ends: float) -> None:
        while (begin := monotonic()) < ends:
            release = await locker.acquire("wanted")
            mine.append(monotonic() - begin)
            await asyncio.sleep(SECTION_S)
            _ = await release()
            await asyncio.sleep(PAUSE_S)

    with Watch(url) as watch:
        before, begin = watch.count(), monotonic()
        _ = await asyncio.gather(*(work(mine, begin + seconds) for mine in waits))
        return _fight(waits, monotonic() - begin, watch, before)


def over_rounds(rounds: Sequence[Fight]) -> Fight:
    """The median of each figure."""
    rate, p50, p99, unfair = (median(figures) for figures in list(zip(*rounds, strict=True))[:4])
    work = Work(median(each.work.trips for each in rounds), median(each.work.commands for each in rounds))
    return Fight(rate, p50, p99, unfair, work)


def _fight(waits: list[list[float]], took: float, watch: Watch, before: tuple[int, int]) -> Fight:
    every = sorted(wait for mine in waits for wait in mine)
    turns = sorted(len(mine) for mine in waits)
    p50, p99 = (every[int(part * (len(every) - 1))] * 1000 for part in (0.5, 0.99))
    unfair = turns[-1] / turns[0] if turns[0] else float("inf")
    return Fight(len(every) / took, p50, p99, unfair, watch.work(before, len(every)))
