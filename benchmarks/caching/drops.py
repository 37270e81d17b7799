"""All entries of one tag are dropped, and others want to be served meanwhile."""

import asyncio
import threading
from time import perf_counter
from typing import NamedTuple

import redis

from benchmarks.caching.contender import Contender


class Dropped(NamedTuple):
    """How long that takes in ms, and the longest that another client waits for a PING meanwhile."""

    took_ms: float
    others_ms: float


def dropped(row: Contender, url: str, number: int) -> Dropped:
    """Of so many entries; for a contender that has such tags."""
    assert row.drop is not None
    way = row.drop(url)

    async def drop() -> Dropped:
        await way.fill(number)
        with _Other(url) as other:
            begin = perf_counter()
            _ = await way.drop()
            took = perf_counter() - begin
        _ = await way.close()
        return Dropped(took * 1000, other.longest * 1000)

    return asyncio.run(drop())


class _Other:
    """Another client, who asks all the time."""

    def __init__(self, url: str) -> None:
        self.longest = 0.0
        self._client = redis.Redis.from_url(url)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "_Other":
        _ = self._client.ping()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()

    def _ask(self) -> None:
        over = False
        while not over:
            over = self._over.is_set()
            begin = perf_counter()
            _ = self._client.ping()
            self.longest = max(self.longest, perf_counter() - begin)
