"""redis-mw itself, as an application has it."""

from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse
from starlette.routing import Route

from benchmarks.caching.contender import App, Drop, Origin
from redis_mw import AsyncRedisMW, Cache, Settings, cached
from redis_mw_starlette import RedisMiddleware

SECRET = "a secret that is long enough to sign cookies"
AT_ONCE = 500
TAGGED = "a value"


def shop(url: str, origin: Origin, ttl: int, cache: Cache | None = None) -> App:
    """Default settings, with a stale window."""

    @cached(ttl=ttl, stale=10 * ttl)
    async def page(_: Any) -> HTMLResponse:
        return HTMLResponse(await origin.make())

    settings = Settings(url=url, secret=SECRET, cache=cache or Cache())
    return Starlette(routes=[Route("/{name}", page)], middleware=[Middleware(RedisMiddleware, settings=settings)])


def without_l1(url: str, origin: Origin, ttl: int) -> App:
    """Every hit asks Redis."""
    return shop(url, origin, ttl, Cache(l1_bytes=0))


def bare(_: str, origin: Origin, __: int) -> App:
    """The same handler with no cache."""

    async def page(_: Any) -> HTMLResponse:
        return HTMLResponse(await origin.make())

    return Starlette(routes=[Route("/{name}", page)])


def ready(_: str, origin: Origin, __: int) -> App:
    """The same handler where there is nothing to render any more: the least that Starlette takes."""
    body: list[bytes] = []

    async def page(_: Any) -> HTMLResponse:
        if not body:
            body.append((await origin.make()).encode())
        return HTMLResponse(body[0])

    return Starlette(routes=[Route("/{name}", page)])


def tag(url: str) -> Drop:
    # Patient while it stores: what is measured is not what a busy machine does to a batch of hundreds.
    mw = AsyncRedisMW(Settings(url=url, patience=10))

    async def fill(number: int) -> None:
        for start in range(0, number, AT_ONCE):
            values = {f"product {each}": TAGGED for each in range(start, min(start + AT_ONCE, number))}
            await mw.cache.set_many(values, ttl=600, tags=["products"])

    async def drop() -> object:
        return await mw.cache.drop_tag("products")

    return Drop(fill, drop, mw.aclose)
