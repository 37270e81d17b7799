"""Rate limits, redis-mw beside limits, throttled-py and pyrate-limiter: ``python -m benchmarks.limits``.

A measurement and no test: whatever comes out, it ends with 0 unless something breaks.
"""

import argparse
import asyncio
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from typing import NamedTuple, TypeVar

from benchmarks.limiting.attacks import attack, pace
from benchmarks.limiting.contenders import contenders, versions
from benchmarks.limiting.crowd import PROCESSES, crowd
from benchmarks.limiting.limiter import Contender, Quota
from benchmarks.limiting.memory import memory
from benchmarks.limiting.report import Figures, tables, targets, told
from benchmarks.limiting.speed import Bench, throughput
from benchmarks.rounds import over_rounds
from benchmarks.server import Watch, servers

T = TypeVar("T")

START_WITHIN = 60.0
"""Seconds for all workers to be there."""


class Extent(NamedTuple):
    """How much is done; a figure of the quick run moves more from run to run."""

    rounds: int
    turns: int
    checks: int
    """Per task and round."""
    attacked: Quota
    passes: int
    paced: Quota
    periods: int
    flood: int


FULL = Extent(9, 300, 20, Quota(20, 2), 5, Quota(20, 1), 24, 3000)
QUICK = Extent(3, 150, 10, Quota(20, 1), 2, Quota(20, 1), 10, 500)


def main() -> int:
    asked = _arguments()
    chosen = [row for name, row in contenders().items() if not asked.only or any(part in name for part in asked.only)]
    if not chosen:
        print(f"Nobody is called that; there are: {', '.join(contenders())}", file=sys.stderr)
        return 2
    extent = QUICK if asked.quick else FULL
    with servers(len(chosen)) as urls:
        figures = measured(chosen, urls, extent)
        with Watch(urls[0]) as watch:
            server = watch.version()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"{versions()}; {server}, {python}, {os.cpu_count()} cores{', quick' if asked.quick else ''}\n")
    print(tables(figures, markdown=asked.markdown))
    seen = targets(figures)
    if seen:
        print()
        print(told(seen, markdown=asked.markdown))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute, less exact")
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    parser.add_argument("--only", action="append", metavar="NAME", help="rows whose name holds this; may be repeated")
    return parser.parse_args()


def measured(chosen: Sequence[Contender], urls: Sequence[str], extent: Extent) -> list[Figures]:
    """Everything, one kind of figure after the other, each of all contenders in turn or at the same time."""
    url_of = {row.name: url for row, url in zip(chosen, urls, strict=True)}
    degraded = 0

    with _told("the time of a check"):
        benches = {row.name: Bench(row, url_of[row.name]) for row in chosen}
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in benches}
        for _ in range(extent.rounds):
            for name, bench in benches.items():
                rounds[name].append(bench.time(extent.turns))
        times = {name: over_rounds(each) for name, each in rounds.items()}
    with _told("what the server does for it"):
        trips = {name: bench.trips() for name, bench in benches.items()}
        for bench in benches.values():
            degraded += bench.degraded
            bench.close()
    with _told("the checks of 50 tasks"):
        entries = {row.name: (row, url_of[row.name]) for row in chosen}
        throughputs, more = asyncio.run(throughput(entries, extent.rounds, 50, extent.checks))
        degraded += more

    # Spawned: a process that is forked would share this one's connections and locks.
    number = max(len(chosen), PROCESSES)
    spawning = multiprocessing.get_context("spawn")
    started = (spawning.Barrier(number),)
    with ProcessPoolExecutor(number, mp_context=spawning, initializer=_begin, initargs=started) as workers:
        with _told("crowds"):
            _ = list(workers.map(_together, range(number)))
            admitted = {name: crowd(name, url, workers) for name, url in url_of.items()}
        with _told("attacks"):
            worst = _of_all(workers, url_of, attack, extent.attacked, extent.passes)
        with _told("the long run"):
            paced = _of_all(workers, url_of, pace, extent.paced, extent.periods)
        with _told("memory"):
            kept = _of_all(workers, url_of, memory, extent.flood)

    for name in url_of:
        degraded += admitted[name].degraded + worst[name].degraded + paced[name].degraded
    if degraded:
        print(
            f"{degraded} verdicts were not the server's: this machine was too busy, or something is wrong", flush=True
        )
    return [
        Figures(row, times[n], trips[n], throughputs[n], admitted[n], worst[n], paced[n], kept[n])
        for row in chosen
        for n in (row.name,)
    ]


def _of_all(workers: Executor, url_of: dict[str, str], measure: Callable[..., T], *with_what: object) -> dict[str, T]:
    """The same of every contender at the same time, each in a process of its own and on its own server."""
    running = {name: workers.submit(measure, name, url, *with_what) for name, url in url_of.items()}
    return {name: each.result() for name, each in running.items()}


_started: Barrier | None = None
"""In a worker: where all of them meet."""


def _begin(started: Barrier) -> None:
    global _started
    _started = started
    _ = contenders()


def _together(_: int) -> None:
    """Return once every worker is there, so that what begins now begins at once."""
    if _started is not None:
        _ = _started.wait(START_WITHIN)


@contextmanager
def _told(what: str) -> Iterator[None]:
    begin = time.monotonic()
    print(f"{what} ...", end=" ", file=sys.stderr, flush=True)
    yield
    print(f"{time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
