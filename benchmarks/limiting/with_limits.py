"""limits, which Flask-Limiter and slowapi are built on: a strategy over a storage, one ``hit`` per limit."""

from collections.abc import Sequence

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage as AsyncRedisStorage
from limits.aio.strategies import STRATEGIES as ASYNC_STRATEGIES
from limits.storage import RedisStorage
from limits.strategies import STRATEGIES

from benchmarks.limiting.limiter import Quota


class LimitsLimiter:
    degraded = 0

    def __init__(self, strategy: str, url: str, quotas: Sequence[Quota]) -> None:
        storage = RedisStorage(url)
        self._client = storage.storage
        self._strategy = STRATEGIES[strategy](storage)
        self._items = [RateLimitItemPerSecond(quota.count, quota.period) for quota in quotas]

    def hit(self, key: str) -> bool:
        allowed = True
        for item in self._items:
            allowed &= self._strategy.hit(item, key)
        return allowed

    def ping(self) -> object:
        return self._client.ping()

    def close(self) -> None:
        self._client.close()


class AsyncLimitsLimiter:
    degraded = 0

    def __init__(self, strategy: str, url: str, quotas: Sequence[Quota]) -> None:
        storage = AsyncRedisStorage(f"async+{url}", implementation="redispy")
        self._client = storage.bridge.get_connection()
        self._strategy = ASYNC_STRATEGIES[strategy](storage)
        self._items = [RateLimitItemPerSecond(quota.count, quota.period) for quota in quotas]

    async def hit(self, key: str) -> bool:
        allowed = True
        for item in self._items:
            allowed &= await self._strategy.hit(item, key)
        return allowed

    async def incr(self, key: str) -> object:
        return await self._client.incr(key)

    async def aclose(self) -> None:
        await self._client.aclose()
