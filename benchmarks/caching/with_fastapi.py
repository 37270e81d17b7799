"""What caches the routes of FastAPI, each as its own documentation has it."""

from typing import Any

import redis.asyncio
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse
from fastapi_cache import FastAPICache
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.coder import PickleCoder
from fastapi_cache.decorator import cache
from redis_fastapi import FastAPIRedis, get_settings
from redis_fastapi import cache as sdk_cache
from redis_fastapi.cache_backend import CacheBackend

from benchmarks.caching.contender import App, Drop, Origin

AT_ONCE = 1000


def fastapi_cache2(url: str, origin: Origin, ttl: int) -> App:
    FastAPICache.reset()
    FastAPICache.init(RedisBackend(redis.asyncio.from_url(url)), prefix="cached")
    app = FastAPI()

    async def page(name: str) -> Any:
        return HTMLResponse(await origin.make())

    _ = app.get("/{name}", response_class=HTMLResponse)(cache(expire=ttl, coder=PickleCoder)(page))
    return app


def fastapi_redis_sdk(url: str, origin: Origin, ttl: int) -> App:
    get_settings().url = url
    app = FastAPI()
    FastAPIRedis(app).lifespan().caching()

    @app.get("/{name}", dependencies=[Depends(sdk_cache(ttl=ttl))], response_class=HTMLResponse)
    async def page(name: str) -> Any:
        return HTMLResponse(await origin.make())

    return app


def bare(_: str, origin: Origin, __: int) -> App:
    """FastAPI with no cache."""
    app = FastAPI()

    @app.get("/{name}", response_class=HTMLResponse)
    async def page(name: str) -> Any:
        return HTMLResponse(await origin.make())

    return app


def namespace(url: str) -> Drop:
    """``FastAPICache.clear``: KEYS in a script."""
    client = redis.asyncio.from_url(url)
    backend = RedisBackend(client)

    async def fill(number: int) -> None:
        await _plant(client, "products:{}", number)

    async def drop() -> object:
        return await backend.clear("products")

    return Drop(fill, drop, client.aclose)


def group(url: str) -> Drop:
    """``CacheBackend.delete_group``: SCAN in a script."""
    client = redis.asyncio.from_url(url)
    backend = CacheBackend(client, eviction_group="products")

    async def fill(number: int) -> None:
        await backend.set("product", "a value", ttl=600)
        (key,) = [each async for each in client.scan_iter("*products*")]
        await _plant(client, f"{key.decode()} {{}}".replace("{products}", "{{products}}"), number)

    async def drop() -> object:
        return await backend.delete_group()

    return Drop(fill, drop, client.aclose)


async def _plant(client: Any, key: str, number: int) -> None:
    """Store what these libraries find by the beginning of its key."""
    for start in range(0, number, AT_ONCE):
        async with client.pipeline(transaction=False) as batch:
            for each in range(start, min(start + AT_ONCE, number)):
                batch.set(key.format(each), "a value", ex=600)
            await batch.execute()
