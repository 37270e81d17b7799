"""All that is measured, one kind of figure after the other, each of all contenders in turn or at the same time."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple, TypeVar

from benchmarks.caching.cold import Cold, cold
from benchmarks.caching.contender import Contender
from benchmarks.caching.contenders import beside
from benchmarks.caching.drops import Dropped, dropped
from benchmarks.caching.hot import TAKES_S, TTL_S, Hot, hot
from benchmarks.caching.killed import killed
from benchmarks.caching.pages import Served, served
from benchmarks.caching.silent import Silent, silent
from benchmarks.caching.trips import Trips, trips
from benchmarks.caching.worker import working
from benchmarks.server import Watch

T = TypeVar("T", Cold, Hot)

PROCESSES = 4
TTL_LONG_S = 60
TAGGED = 50_000


class Extent(NamedTuple):
    """How much is done; a figure of the quick run moves more from run to run."""

    rounds: int
    origin_s: float
    """What the origin takes for a cold key."""
    hot_s: float
    pages_rounds: int
    pages_s: float
    within_s: float
    """How long somebody is waited for whose Redis is silent, or whose leader is dead."""


FULL = Extent(3, 1.0, 4.0, 5, 1.0, 30.0)
QUICK = Extent(1, 0.5, 2.5, 3, 0.5, 5.0)


class Figures(NamedTuple):
    """All that was measured, by contender."""

    trips: Mapping[str, Trips]
    cold: Mapping[str, Cold]
    hot: Mapping[str, Hot]
    killed: Mapping[str, float]
    silent: Mapping[str, Silent]
    pages: Mapping[str, Served]
    drops: Mapping[str, Dropped]
    within_s: float


def measured(rows: Mapping[str, Contender], urls: Sequence[str], extent: Extent) -> Figures:
    """Each contender on a server of its own; there are as many more as ``beside`` has."""
    on = {name: (row, url) for (name, row), url in zip(rows.items(), urls, strict=False)}
    with _told("round trips and cold keys"):
        counted: dict[str, Trips] = {}
        colds: dict[str, list[Cold]] = {name: [] for name in on}
        for _ in range(extent.rounds):
            for name, (row, url) in on.items():
                _empty(url)
                with working([(row, url)] * PROCESSES, 0, TTL_LONG_S) as workers:
                    for worker in workers:
                        worker.ask("each", ["/warm", "/warm"])
                    counted[name] = trips(workers[0], url)
                    colds[name].append(cold(workers, url, extent.origin_s))
    with _told("hot keys"):
        hots: dict[str, list[Hot]] = {name: [] for name in on}
        for _ in range(extent.rounds):
            for name, (row, url) in on.items():
                _empty(url)
                with working([(row, url)] * PROCESSES, TAKES_S, TTL_S) as workers:
                    hots[name].append(hot(workers, extent.hot_s))
    with _told("killed processes"):
        survived = killed(on, TTL_LONG_S, extent.within_s)
    with _told("a silent Redis"):
        heard = silent(on, TTL_LONG_S, extent.within_s)
    with _told("pages"):
        # WSGI has a server of another kind: theirs would be compared, and not the caches.
        apps = {name: (row.app, url) for name, (row, url) in on.items() if row.kind != "wsgi"}
        apps.update((name, (app, url)) for (name, app), url in zip(beside().items(), urls[len(on) :], strict=True))
        pages = served(apps, extent.pages_rounds, extent.pages_s)
    with _told("tags"):
        drops = {name: dropped(row, url, TAGGED) for name, (row, url) in on.items() if row.drop is not None}
    return Figures(
        counted,
        {name: over_rounds(each) for name, each in colds.items()},
        {name: over_rounds(each) for name, each in hots.items()},
        survived,
        heard,
        pages,
        drops,
        extent.within_s,
    )


def _empty(url: str) -> None:
    """What the round before has left would be found by the next one."""
    with Watch(url) as watch:
        watch.empty()


def over_rounds(rounds: Sequence[T]) -> T:
    """The median of each figure."""
    return type(rounds[0])(*(median(figures) for figures in zip(*rounds, strict=True)))


@contextmanager
def _told(what: str) -> Iterator[None]:
    begin = time.monotonic()
    print(f"{what} ...", end=" ", file=sys.stderr, flush=True)
    yield
    print(f"{time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
