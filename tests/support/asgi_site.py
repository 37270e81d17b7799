"""A Starlette application that is asked on one event loop, by as many as like."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from starlette.applications import Starlette

from redis_mw import AsyncRedisMW, Settings
from redis_mw_starlette import RedisMiddleware


class Site:
    """Asks with ``get`` and ``post``; a ``key`` is sent as the request's idempotency key."""

    def __init__(self, app: Starlette, mw: AsyncRedisMW) -> None:
        self.app = app
        self.mw = mw
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://site")

    async def get(self, path: str, **given: Any) -> httpx2.Response:
        return await self.http.get(path, **given)

    async def post(self, path: str, key: str | None = None, **given: Any) -> httpx2.Response:
        fields = {"Idempotency-Key": key} if key is not None else {}
        return await self.http.post(path, **{**given, "headers": {**fields, **given.get("headers", {})}})


@asynccontextmanager
async def open_site(app: Starlette, settings: Settings, **arguments: Any) -> AsyncGenerator[Site]:
    """The application with redis-mw around its routes; when it is left, its background work is over."""
    async with AsyncRedisMW(settings) as mw:
        app.add_middleware(RedisMiddleware, mw=mw, **arguments)
        site = Site(app, mw)
        # Nothing here takes as long: only a broken test would wait for ever.
        async with asyncio.timeout(60), site.http:
            yield site
