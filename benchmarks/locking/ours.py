"""redis-mw itself, as application code calls it."""

from collections.abc import Awaitable, Callable

from benchmarks.locking.locker import TTL_S, WAIT_S
from redis_mw import AsyncRedisMW, Locks, RedisMW, Settings
from redis_mw.flows import Command, one

PING = Command(("PING",), lambda reply: reply, role="locks")


def _settings(url: str) -> Settings:
    # Patient, as the peers are: what is measured is not what happens on a machine that stands still.
    return Settings(
        url=url, patience=10, connect_within=10, warm_up=10, locks=Locks(ttl=TTL_S, wait=WAIT_S, patience=10)
    )


class OurLocker:
    def __init__(self, url: str) -> None:
        self._mw = RedisMW(_settings(url))
        self._mw.ping()

    def acquire(self, name: str) -> Callable[[], object]:
        lock = self._mw.locks.lock(name)
        _ = lock.acquire()
        return lock.release

    def ping(self) -> object:
        return self._mw.driver.run(one(PING))

    def close(self) -> None:
        self._mw.close()


class OurAsyncLocker:
    def __init__(self, url: str) -> None:
        self._mw = AsyncRedisMW(_settings(url))

    async def acquire(self, name: str) -> Callable[[], Awaitable[object]]:
        lock = self._mw.locks.lock(name)
        _ = await lock.acquire()
        return lock.release

    async def ping(self) -> object:
        return await self._mw.driver.run(one(PING))

    async def aclose(self) -> None:
        await self._mw.aclose()
