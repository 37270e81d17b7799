"""Visitors of the site under test, over WSGI or ASGI; each request has only the cookies that it is given."""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any

import httpx2
from by_hand import until
from colours import FOR_EVER, Running
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

from redis_mw.testing import count_round_trips
from redis_mw_django import outermost
from redis_mw_django.application import application


class Visiting:
    """``get`` and the others ask and wait, ``begin`` asks in the background; ``trips`` are of the last request."""

    def __init__(self, way: str) -> None:
        self.is_async = way.startswith("asgi")
        self.is_outermost = way.endswith("outermost")
        self.trips = 0
        self.detached = 0
        self._running = Running() if self.is_async else None
        self._threads = ThreadPoolExecutor(64)

    @cached_property
    def app(self) -> Any:
        """Made when it is first asked, so that a test may change the settings before."""
        made: Any = get_asgi_application() if self.is_async else get_wsgi_application()
        return outermost(made) if self.is_outermost else made

    def get(self, path: str, headers: Any = None, **cookies: str) -> httpx2.Response:
        return self.ask("GET", path, headers, **cookies)

    def head(self, path: str, headers: Any = None) -> httpx2.Response:
        return self.ask("HEAD", path, headers)

    def post(self, path: str, headers: Any = None, **cookies: str) -> httpx2.Response:
        return self.ask("POST", path, headers, **cookies)

    def ask(self, method: str, path: str, headers: Any = None, **cookies: str) -> httpx2.Response:
        with count_round_trips() as counted:
            answer = self.begin(method, path, headers, **cookies).result(FOR_EVER)
        self.trips, self.detached = counted.awaited, counted.detached
        return answer

    def begin(self, method: str, path: str, headers: Any = None, **cookies: str) -> Future[httpx2.Response]:
        fields = list((headers or {}).items())
        if cookies:
            fields.append(("Cookie", "; ".join(f"{name}={value}" for name, value in cookies.items())))
        if self._running is not None:
            return self._running.begin(self._asked, method, path, fields)
        return self._threads.submit(self._ask, method, path, fields)

    def do(self, function: Any, *args: Any) -> Any:
        """On the loop that answers."""
        assert self._running is not None
        return self._running.do(function, *args)

    def start(self, function: Any, *args: Any) -> Future[Any]:
        """The same in the background."""
        assert self._running is not None
        return self._running.begin(function, *args)

    def settle(self) -> None:
        """Wait for what goes on behind the visitors' backs."""
        behind: Any = application().behind
        until(lambda: not behind._tasks.here() and not behind._threads.here(), "nothing goes on any more")

    def close(self) -> None:
        self.settle()
        self._threads.shutdown()
        if self._running is not None:
            self._running.do(self._closed)
            self._running.close()

    async def _closed(self) -> None:
        await application().aio.driver.aclose()

    def _ask(self, method: str, path: str, fields: Any) -> httpx2.Response:
        def app(environ: dict[str, Any], start_response: Any) -> Any:
            # As PEP 3333 has it, and this transport has not.
            environ["PATH_INFO"] = environ["PATH_INFO"].encode("utf-8", "surrogateescape").decode("latin-1")
            return self.app(environ, start_response)

        transport = httpx2.WSGITransport(app=app)
        with httpx2.Client(transport=transport, base_url="http://testserver") as client:
            return client.request(method, path, headers=fields)

    async def _asked(self, method: str, path: str, fields: Any) -> httpx2.Response:
        transport = httpx2.ASGITransport(app=self.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return await client.request(method, path, headers=fields)
