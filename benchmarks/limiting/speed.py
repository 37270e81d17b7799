"""What a check costs: in time against a plain command of the same client, in round trips and in commands."""

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.limiting.limiter import AsyncLimiter, Contender, Limiter, Quota
from benchmarks.rounds import interleaved, over_rounds
from benchmarks.server import Watch, Work

DAY = 86_400
AMPLE = [Quota(1_000_000, DAY), Quota(1_500_000, 2 * DAY), Quota(2_000_000, 3 * DAY)]
TIGHT = [Quota(3, 3 * DAY), Quota(2, 2 * DAY), Quota(1, DAY)]
"""The third lets one hit through at once, where all of a limit may come at once."""
CLIENTS = 50
COUNTED = 50


class Trips(NamedTuple):
    """What one check asks of the server."""

    one: Work
    three: Work
    refused: Work
    """The first denial, by the third of three limits."""
    again: Work
    """A denial of somebody who was denied before."""


class Bench:
    """One contender, ready to be timed: an open client for each kind of check."""

    def __init__(self, contender: Contender, url: str) -> None:
        self._one = contender.open(url, AMPLE[:1])
        self._three = contender.open(url, AMPLE)
        times = round(1 / contender.burst_of)
        self._tight = contender.open(url, [Quota(quota.count * times, quota.period) for quota in TIGHT])
        self._opened: list[Limiter] = [self._one, self._three, self._tight]
        self._url = url
        self._round = 0
        for _ in range(2):
            for client in range(CLIENTS):
                self._one.hit(f"one {client}")
                self._three.hit(f"three {client}")
            self._tight.hit("again")

    @property
    def degraded(self) -> int:
        return sum(limiter.degraded for limiter in self._opened)

    def time(self, turns: int) -> dict[str, float]:
        """Median times against the client's PING, and that in microseconds."""
        fresh = self._clients_that_are_full(turns)
        taken = interleaved(
            {
                "ping": lambda _: self._one.ping(),
                "one": lambda turn: self._one.hit(f"one {turn % CLIENTS}"),
                "three": lambda turn: self._three.hit(f"three {turn % CLIENTS}"),
                "refused": lambda turn: self._tight.hit(fresh[turn]),
                "again": lambda _: self._tight.hit("again"),
            },
            turns,
        )
        ping = taken.pop("ping")
        return {name: each / ping for name, each in taken.items()} | {"ping_us": ping / 1000}

    def trips(self) -> Trips:
        """Counted by the server."""
        fresh = self._clients_that_are_full(COUNTED)
        with Watch(self._url) as watch:

            def counted(limiter: Limiter, keys: list[str]) -> Work:
                before = watch.count()
                for key in keys:
                    limiter.hit(key)
                return watch.work(before, len(keys))

            return Trips(
                counted(self._one, [f"one {client % CLIENTS}" for client in range(COUNTED)]),
                counted(self._three, [f"three {client % CLIENTS}" for client in range(COUNTED)]),
                counted(self._tight, fresh),
                counted(self._tight, ["again"] * COUNTED),
            )

    def _clients_that_are_full(self, number: int) -> list[str]:
        """Keys whose next check is their first denial."""
        self._round += 1
        fresh = [f"full {self._round} {client}" for client in range(number)]
        for key in fresh:
            if not self._tight.hit(key):
                raise RuntimeError("a limit that nobody used refused its first hit")
        if self._tight.hit("again"):
            raise RuntimeError("a limit that was used up let another hit through")
        return fresh

    def close(self) -> None:
        for limiter in self._opened:
            limiter.close()


async def throughput(
    entries: Mapping[str, tuple[Contender, str]], rounds: int, tasks: int, each: int
) -> tuple[dict[str, float], int]:
    """Checks per second of so many tasks, divided by INCRs per second of the same client."""
    opened: dict[str, AsyncLimiter] = {
        name: contender.open_async(url, AMPLE[:1]) for name, (contender, url) in entries.items()
    }
    try:
        for limiter in opened.values():
            await _checks(limiter, tasks, 2)
            await _incrs(limiter, tasks, 2)
        ratios: list[dict[str, float]] = []
        for turn in range(rounds):
            ratios.append({})
            for name, limiter in opened.items():
                # The first of the two is not always the same, should one leave something behind.
                first, second = (_incrs, _checks) if turn % 2 else (_checks, _incrs)
                a, b = await first(limiter, tasks, each), await second(limiter, tasks, each)
                ratios[-1][name] = a / b if turn % 2 else b / a
        return over_rounds(ratios), sum(limiter.degraded for limiter in opened.values())
    finally:
        for limiter in opened.values():
            await limiter.aclose()


async def _checks(limiter: AsyncLimiter, tasks: int, each: int) -> float:
    """Seconds for ``tasks * each`` checks, a key for each task."""

    async def some(client: int) -> None:
        for _ in range(each):
            _ = await limiter.hit(f"one {client}")

    begin = time.perf_counter()
    _ = await asyncio.gather(*(some(client) for client in range(tasks)))
    return time.perf_counter() - begin


async def _incrs(limiter: AsyncLimiter, tasks: int, each: int) -> float:
    """Seconds for as many INCRs."""

    async def some(client: int) -> None:
        for _ in range(each):
            _ = await limiter.incr(f"plain {client}")

    begin = time.perf_counter()
    _ = await asyncio.gather(*(some(client) for client in range(tasks)))
    return time.perf_counter() - begin
