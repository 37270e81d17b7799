"""Locks without a framework, taken by code of both colours in one shape."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, NamedTuple

import pytest
import redis
from colours import FOR_EVER, Colour, Loop, Threads

from redis_mw import Event, Lease, Locks, Settings, replace
from redis_mw.keys import digest


class Taken(NamedTuple):
    """Locks that are held, and how to give them back."""

    client: "Client"
    lock: Any
    lease: Lease

    def release(self) -> None:
        self.client.do(self.lock.release)

    def extend(self, ttl: float) -> None:
        self.client.do(self.lease.extend, ttl)


class Client(Colour):
    """``mw.locks`` of one colour."""

    def inside(self, lock: Any, body: Callable[[Lease], object]) -> None:
        """A ``with`` block."""
        raise NotImplementedError

    def acquire(self, *names: str, **how: Any) -> Taken:
        return self.acquiring(*names, **how).result(FOR_EVER)

    def acquiring(self, *names: str, **how: Any) -> Future[Taken]:
        lock = self.mw.locks.lock(*names, **how)
        taken: Future[Taken] = Future()

        def done(lease: Future[Lease]) -> None:
            if (error := lease.exception()) is not None:
                taken.set_exception(error)
            else:
                taken.set_result(Taken(self, lock, lease.result()))

        self.begin(lock.acquire).add_done_callback(done)
        return taken


class OnThreads(Threads, Client):
    def inside(self, lock: Any, body: Callable[[Lease], object]) -> None:
        def block() -> None:
            with lock as lease:
                body(lease)

        self.do(block)


class OnLoop(Loop, Client):
    def inside(self, lock: Any, body: Callable[[Lease], object]) -> None:
        async def block() -> None:
            async with lock as lease:
                await asyncio.to_thread(body, lease)

        self.do(block)


class Kept:
    """What the server keeps of locks."""

    def __init__(self, settings: Settings) -> None:
        self.client = redis.Redis.from_url(settings.url_of("locks"), decode_responses=True)
        self.prefix = settings.prefix

    def key(self, name: str, part: str) -> str:
        return f"{self.prefix}:k1:{{{digest(name)}}}:{part}"

    def now(self) -> float:
        seconds, us = self.client.time()
        return seconds + us / 1e6

    def holders(self, name: str) -> dict[str, float]:
        """Who holds a lock, and until when by the server's clock, in seconds."""
        found = self.client.zrange(self.key(name, "h"), 0, -1, withscores=True)
        return {token: ends / 1e6 for token, ends in found if ends / 1e6 > self.now()}

    def ends(self, name: str) -> float:
        """When the last of its leases ends by the server's clock; 0 if nobody holds it."""
        return max(self.holders(name).values(), default=0.0)

    def waiters(self, name: str) -> int:
        return self.client.zcard(self.key(name, "q"))

    def listeners(self, *names: str) -> int:
        """How many wait (for these locks, or for "a") and would hear."""
        waits = [entry for name in names or ("a",) for entry in self.client.zrange(self.key(name, "q"), 0, -1)]
        channels = {f"{self.prefix}:k1:w:{entry[1:].partition('|')[0].rpartition('.')[0]}" for entry in waits}
        return sum(heard > 0 for _, heard in self.client.pubsub_numsub(*channels)) if channels else 0

    def scripts_run(self) -> int:
        """How many scripts the server has run so far."""
        stats = self.client.info("commandstats")
        return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval"))

    def lives_for_ever(self) -> list[str]:
        return [key for key in self.client.scan_iter(f"{self.prefix}:*") if self.client.pttl(key) == -1]

    def free(self, name: str) -> bool:
        """Whether nobody holds a lock and nobody waits for it; who held it and is over may still be remembered."""
        return not self.holders(name) and not self.waiters(name)

    def nothing(self) -> bool:
        """Whether nobody holds anything and nobody waits."""
        keys = list(self.client.scan_iter(f"{self.prefix}:k1:*"))
        return all(key.endswith(":f") for key in keys)


@pytest.fixture
def heard() -> list[Event]:
    """The events of the test, in order."""
    return []


@pytest.fixture
def kept(redis_mw_settings: Settings) -> Iterator[Kept]:
    kept = Kept(redis_mw_settings)
    yield kept
    assert kept.lives_for_ever() == []
    kept.client.close()


@pytest.fixture(params=["threads", "asyncio"])
def make(
    request: pytest.FixtureRequest, redis_mw_settings: Settings, heard: list[Event]
) -> Iterator[Callable[..., Client]]:
    """Makes clients of one colour, ``make(url=..., **locks)``; every test that asks for this is run with both."""
    made: list[Client] = []

    def make(url: str | None = None, **locks: Any) -> Client:
        settings = replace(redis_mw_settings, locks=Locks(**{"patience": 10, **locks}), on_event=[heard.append])
        settings = replace(settings, url=url) if url is not None else settings
        made.append(OnThreads(settings) if request.param == "threads" else OnLoop(settings))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(make: Callable[..., Client]) -> Client:
    return make()
