"""throttled-py: a ``Throttled`` per limit over one store."""

from collections.abc import Sequence
from datetime import timedelta

from throttled import RedisStore, Throttled, per_duration
from throttled.asyncio import RedisStore as AsyncRedisStore
from throttled.asyncio import Throttled as AsyncThrottled

from benchmarks.limiting.limiter import Quota


class ThrottledLimiter:
    degraded = 0

    def __init__(self, using: str, url: str, quotas: Sequence[Quota]) -> None:
        store = RedisStore(server=url)
        self._client = store._backend.get_client()  # it takes no client, and a PING is to go through the same one
        self._limits = [
            Throttled(
                using=using,
                quota=per_duration(timedelta(seconds=quota.period), quota.count),
                store=store,
                key_prefix=f"l{place}",
            )
            for place, quota in enumerate(quotas)
        ]

    def hit(self, key: str) -> bool:
        limited = False
        for limit in self._limits:
            limited |= limit.limit(key).limited
        return not limited

    def ping(self) -> object:
        return self._client.ping()

    def close(self) -> None:
        self._client.close()


class AsyncThrottledLimiter:
    degraded = 0

    def __init__(self, using: str, url: str, quotas: Sequence[Quota]) -> None:
        store = AsyncRedisStore(server=url)
        self._client = store._backend.get_client()
        self._limits = [
            AsyncThrottled(
                using=using,
                quota=per_duration(timedelta(seconds=quota.period), quota.count),
                store=store,
                key_prefix=f"l{place}",
            )
            for place, quota in enumerate(quotas)
        ]

    async def hit(self, key: str) -> bool:
        limited = False
        for limit in self._limits:
            limited |= (await limit.limit(key)).limited
        return not limited

    async def incr(self, key: str) -> object:
        return await self._client.incr(key)

    async def aclose(self) -> None:
        await self._client.aclose()
