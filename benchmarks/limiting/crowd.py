"""Many at once on one key: how many are let through."""

import asyncio
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple

from benchmarks.limiting.contenders import contenders
from benchmarks.limiting.limiter import AsyncLimiter, Quota

TRIES = 600
QUOTA = Quota(100, 86_400)
"""A period long enough that nothing comes back meanwhile."""
THREADS = 20
TASKS = 50
PROCESSES = 4


class Admitted(NamedTuple):
    """How many of the tries were let through, by who tried."""

    threads: int
    tasks: int
    processes: int
    degraded: int


def crowd(name: str, url: str, workers: Executor) -> Admitted:
    """The same number of tries by threads, by tasks and by processes."""
    threads = _by_threads(name, url)
    tasks = asyncio.run(_by_tasks(name, url))
    processes = _by_processes(name, url, workers)
    degraded = threads[1] + tasks[1] + processes[1]
    return Admitted(threads[0], tasks[0], processes[0], degraded)


def _by_threads(name: str, url: str) -> tuple[int, int]:
    limiter = contenders()[name].open(url, [QUOTA])
    try:
        limiter.hit("warm")
        with ThreadPoolExecutor(THREADS) as threads:
            share = TRIES // THREADS
            admitted = threads.map(lambda _: sum(limiter.hit("threads") for _ in range(share)), range(THREADS))
            return sum(admitted), limiter.degraded
    finally:
        limiter.close()


async def _by_tasks(name: str, url: str) -> tuple[int, int]:
    limiter = contenders()[name].open_async(url, [QUOTA])
    try:
        await limiter.hit("warm")
        admitted = await asyncio.gather(*(_some(limiter, TRIES // TASKS) for _ in range(TASKS)))
        return sum(admitted), limiter.degraded
    finally:
        await limiter.aclose()


async def _some(limiter: AsyncLimiter, tries: int) -> int:
    admitted = 0
    for _ in range(tries):
        admitted += await limiter.hit("tasks")
    return admitted


def _by_processes(name: str, url: str, workers: Executor) -> tuple[int, int]:
    # Each waits for the moment when all begin, so none of them does another's part as well.
    begin = time.time() + 0.3
    parts = [workers.submit(_part, name, url, begin, TRIES // PROCESSES) for _ in range(PROCESSES)]
    done = [part.result() for part in parts]
    return sum(admitted for admitted, _ in done), sum(degraded for _, degraded in done)


def _part(name: str, url: str, begin: float, tries: int) -> tuple[int, int]:
    limiter = contenders()[name].open(url, [QUOTA])
    try:
        limiter.hit("warm")
        time.sleep(max(0.0, begin - time.time()))
        return sum(limiter.hit("processes") for _ in range(tries)), limiter.degraded
    finally:
        limiter.close()
