"""What caches functions, or any ASGI application, each as its own documentation has it, under Starlette."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import aiocache
import redis.asyncio
from aiocache.serializers import JsonSerializer
from cachefence import CacheFence
from cashews import Cache
from hishel import AsyncRedisStorage
from hishel.asgi import ASGICacheMiddleware
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from benchmarks.caching.contender import App, Drop, Origin

AT_ONCE = 200
LOCK_S = 10
"""How long a lock lives whose holder has died, where that has to be said."""


def hishel(url: str, origin: Origin, ttl: int) -> App:
    async def page(_: Any) -> HTMLResponse:
        return HTMLResponse(await origin.make(), headers={"Cache-Control": f"max-age={ttl}"})

    storage = AsyncRedisStorage(redis.asyncio.from_url(url))
    app: App = ASGICacheMiddleware(Starlette(routes=[Route("/{name}", page)]), storage=storage)
    return app


def cashews(url: str, origin: Origin, ttl: int) -> App:
    return _cashews(url, origin, lambda cache: cache(ttl=ttl, key="{name}"))


def cashews_lock(url: str, origin: Origin, ttl: int) -> App:
    return _cashews(url, origin, lambda cache: cache(ttl=ttl, key="{name}", lock=True))


def cashews_early(url: str, origin: Origin, ttl: int) -> App:
    return _cashews(url, origin, lambda cache: cache.early(ttl=ttl, early_ttl=ttl / 2, key="{name}"))


def _cashews(url: str, origin: Origin, way: Callable[[Any], Any]) -> App:
    cache: Any = Cache()
    cache.setup(url)

    async def made(name: str) -> str:
        return await origin.make()

    return _served(way(cache)(made))


def aiocache_cached(url: str, origin: Origin, ttl: int) -> App:
    return _aiocache(url, origin, partial(aiocache.cached, ttl=ttl))


def aiocache_stampede(url: str, origin: Origin, ttl: int) -> App:
    return _aiocache(url, origin, partial(aiocache.cached_stampede, ttl=ttl))


def _aiocache(url: str, origin: Origin, way: Callable[..., Any]) -> App:
    at = urlsplit(url)

    async def made(name: str) -> str:
        return await origin.make()

    cached = way(
        key_builder=lambda _, name: name,
        cache=aiocache.Cache.REDIS,
        serializer=JsonSerializer(),
        endpoint=at.hostname,
        port=at.port,
    )
    return _served(cached(made))


def cachefence(url: str, origin: Origin, ttl: int) -> App:
    cache: Any = CacheFence(redis.asyncio.from_url(url), lock_timeout=LOCK_S)

    async def made(name: str) -> str:
        body: str = await cache.get_or_set(key=name, ttl=ttl, recompute=origin.make)
        return body

    return _served(made)


def _served(made: Callable[[str], Awaitable[str]]) -> App:
    async def page(request: Any) -> HTMLResponse:
        return HTMLResponse(await made(request.path_params["name"]))

    return Starlette(routes=[Route("/{name}", page)])


def tag(url: str) -> Drop:
    """cashews keeps the members of a tag in a set."""
    cache: Any = Cache()
    cache.setup(url)

    async def fill(number: int) -> None:
        for start in range(0, number, AT_ONCE):
            sets = [
                cache.set(f"product {each}", "a value", expire=600, tags=["products"])
                for each in range(start, min(start + AT_ONCE, number))
            ]
            await asyncio.gather(*sets)

    async def drop() -> object:
        return await cache.delete_tags("products")

    return Drop(fill, drop, cache.close)
