"""An application that is asked within its own process, with no HTTP server between."""

import asyncio
import io
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol

from benchmarks.caching.contender import App, Kind

THREADS = 128


class Answer(NamedTuple):
    status: int
    body: bytes


class Site(Protocol):
    async def get(self, path: str) -> Answer: ...


@asynccontextmanager
async def site_of(app: App, kind: Kind) -> AsyncIterator[Site]:
    """The application, started."""
    if kind == "wsgi":
        with ThreadPoolExecutor(THREADS) as threads:
            yield _Wsgi(app, threads)
        return
    async with _started(app):
        yield _Asgi(app)


@asynccontextmanager
async def _started(app: App) -> AsyncIterator[None]:
    """Through its lifespan, as a server would do it."""
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    life = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}}, told.get, heard.put))
    told.put_nowait({"type": "lifespan.startup"})
    starting = asyncio.create_task(heard.get())
    _ = await asyncio.wait([starting, life], return_when=asyncio.FIRST_COMPLETED)
    try:
        yield
    finally:
        told.put_nowait({"type": "lifespan.shutdown"})
        _ = starting.cancel()
        # Who knows no lifespan has raised at once.
        _ = await asyncio.wait([life], timeout=2)
        _ = life.cancel()


class _Asgi:
    def __init__(self, app: App) -> None:
        self._app = app

    async def get(self, path: str) -> Answer:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"shop.example")],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        asked = False
        status, parts = 0, []

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if asked:  # this client never leaves
                await asyncio.get_running_loop().create_future()
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                parts.append(message.get("body", b""))

        await self._app(scope, receive, send)
        return Answer(status, b"".join(parts))


class _Wsgi:
    def __init__(self, app: App, threads: ThreadPoolExecutor) -> None:
        self._app = app
        self._threads = threads

    async def get(self, path: str) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._get, path)

    def _get(self, path: str) -> Answer:
        environ = {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_NAME": "shop.example",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "shop.example",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        statuses: list[str] = []

        def start_response(status: str, _: object, __: object = None) -> object:
            statuses.append(status)
            return lambda _: None

        items = self._app(environ, start_response)
        try:
            body = b"".join(items)
        finally:
            getattr(items, "close", lambda: None)()
        return Answer(int(statuses[-1].split()[0]), body)
