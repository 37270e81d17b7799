"""pyrate-limiter, which fastapi-limiter is built on: a ``Limiter`` over a bucket per key, which holds all its rates.

Its background trimming, every ten seconds, is off: it changes no verdict, and comes later than bytes are counted here.
"""

from collections.abc import Sequence
from threading import Lock

import redis
from pyrate_limiter import GCRA, Limiter, Rate, RedisBucket, RedisStateStore, SingleBucketFactory, StateBucket
from redis import asyncio as aioredis

from benchmarks.limiting.limiter import Quota


class PyrateLimiter:
    degraded = 0

    def __init__(self, kind: str, url: str, quotas: Sequence[Quota]) -> None:
        self._kind = kind
        self._client = redis.Redis.from_url(url)
        self._rates = [Rate(quota.count, quota.period * 1000) for quota in quotas]
        self._limiters: dict[str, Limiter] = {}
        self._making = Lock()

    def hit(self, key: str) -> bool:
        limiter = self._limiters.get(key) or self._made(key)
        return bool(limiter.try_acquire(key, blocking=False))

    def _made(self, key: str) -> Limiter:
        with self._making:
            if key not in self._limiters:
                bucket = (
                    RedisBucket.init(self._rates, self._client, key)
                    if self._kind == "log"
                    else StateBucket(self._rates, GCRA(), RedisStateStore(self._client, key))
                )
                self._limiters[key] = Limiter(SingleBucketFactory(bucket, schedule_leak=False))
            return self._limiters[key]

    def ping(self) -> object:
        return self._client.ping()

    def close(self) -> None:
        self._client.close()


class AsyncPyrateLimiter:
    degraded = 0

    def __init__(self, kind: str, url: str, quotas: Sequence[Quota]) -> None:
        self._kind = kind
        self._client = aioredis.Redis.from_url(url)
        self._rates = [Rate(quota.count, quota.period * 1000) for quota in quotas]
        self._limiters: dict[str, Limiter] = {}

    async def hit(self, key: str) -> bool:
        limiter = self._limiters.get(key) or await self._made(key)
        # Not try_acquire_async, which lets one caller in after the other.
        return bool(await limiter.try_acquire(key, blocking=False))

    async def _made(self, key: str) -> Limiter:
        bucket = (
            await RedisBucket.init(self._rates, self._client, key)
            if self._kind == "log"
            else StateBucket(self._rates, GCRA(), RedisStateStore(self._client, key))
        )
        return self._limiters.setdefault(key, Limiter(SingleBucketFactory(bucket, schedule_leak=False)))

    async def incr(self, key: str) -> object:
        return await self._client.incr(key)

    async def aclose(self) -> None:
        await self._client.aclose()
