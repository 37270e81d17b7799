"""The others, each as its own documentation has it, with the same lease and the same wait."""

from collections.abc import Awaitable, Callable

import redis
import redis.asyncio
import redis_lock
from redis_fifo_lock import FifoLock

from benchmarks.locking.locker import TTL_S, WAIT_S


class _OfRedisPy:
    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)

    def ping(self) -> object:
        return self._client.ping()

    def close(self) -> None:
        self._client.close()


class RedisPyLocker(_OfRedisPy):
    """``Redis.lock``: polls."""

    def acquire(self, name: str) -> Callable[[], object]:
        lock = self._client.lock(name, timeout=TTL_S, blocking_timeout=WAIT_S)
        if not lock.acquire():
            raise TimeoutError(name)
        release: Callable[[], object] = lock.release
        return release


class PythonRedisLocker(_OfRedisPy):
    """``python-redis-lock``: BLPOP on one list."""

    def acquire(self, name: str) -> Callable[[], object]:
        lock = redis_lock.Lock(self._client, name, expire=TTL_S)
        if not lock.acquire(timeout=WAIT_S):
            raise TimeoutError(name)
        release: Callable[[], object] = lock.release
        return release


class _OfAsyncRedisPy:
    def __init__(self, url: str) -> None:
        self._client = redis.asyncio.Redis.from_url(url)

    async def ping(self) -> object:
        return await self._client.ping()

    async def aclose(self) -> None:
        await self._client.aclose()


class AsyncRedisPyLocker(_OfAsyncRedisPy):
    """``redis.asyncio.Redis.lock``: polls."""

    async def acquire(self, name: str) -> Callable[[], Awaitable[object]]:
        lock = self._client.lock(name, timeout=TTL_S, blocking_timeout=WAIT_S)
        if not await lock.acquire():
            raise TimeoutError(name)
        return lock.release


class FifoLocker(_OfAsyncRedisPy):
    """``redis-fifo-lock``: a fair queue, BLPOP on a list of each waiter's own."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._locks: dict[str, FifoLock] = {}

    async def acquire(self, name: str) -> Callable[[], Awaitable[object]]:
        if name not in self._locks:
            self._locks[name] = FifoLock(self._client, name, lease_ms=TTL_S * 1000)
        lock = self._locks[name]
        lease = await lock.acquire(timeout=WAIT_S)

        async def release() -> None:
            await lock.release(lease)

        return release
