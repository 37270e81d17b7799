"""Streams are kept as they pass, stored before their end can be seen, and read to it though their client leaves."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from by_hand import soon, until
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import RequestFactory

from redis_mw import Cached, Rule
from redis_mw_django import mw

pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")

BOTH = pytest.mark.parametrize("path", ["/streamed/", "/astreamed/", "/file/"])


def is_hit(answer: Any) -> bool:
    return answer.headers.get("cache-status", "").startswith("redis-mw;hit")


@BOTH
def test_a_stream_is_kept_and_costs_two_trips(visit: Any, pages_site: Any, path: str) -> None:
    first = visit.get(path)
    assert (first.status_code, is_hit(first), visit.trips) == (200, False, 2)
    second = visit.get(path)
    assert (second.content, is_hit(second)) == (first.content, True)
    assert second.headers["content-length"] == str(len(first.content))
    assert len(pages_site.ran) == 1


@pytest.mark.parametrize("path", ["/streamed/?etag", "/astreamed/?etag"])
def test_a_client_that_has_a_streams_copy_gets_304_and_the_rest_is_kept_for_others(
    visit: Any, pages_site: Any, path: str
) -> None:
    answer = visit.get(path, {"If-None-Match": '"of-a-stream"'})
    assert (answer.status_code, answer.content) == (304, b"")
    visit.settle()
    other = visit.get(path)
    assert (other.text, is_hit(other)) == ("one,two,three", True)
    assert len(pages_site.ran) == 1
    if "astreamed" not in path:
        assert pages_site.closed == ["/streamed/"]


def test_a_response_that_is_replaced_is_closed(visit: Any, pages_site: Any, rule: Any) -> None:
    rule(Rule("/bare/", cache=Cached(60, tags=["bare"], stale_if_error=600)))
    first = visit.get("/bare/")
    mw.cache.drop_tag("bare", soft=True)
    closed: list[str] = []

    def fail(request: Any) -> None:
        pages_site.hooks["status"] = 503
        pages_site.hooks["closers"] = [lambda: closed.append(request.path)]

    pages_site.hooks["inside"] = fail
    assert visit.get("/bare/").json() == first.json()
    until(lambda: closed == ["/bare/"], "the failed response is closed")


@pytest.fixture
def environ() -> Iterator[dict[str, Any]]:
    """Of a request that is answered on the thread of the test, whose connections Django leaves alone, as in its own."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield dict(RequestFactory().get("/streamed/").environ)
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.parametrize("visit", ["wsgi", "wsgi outermost"], indirect=True)
def test_a_stream_whose_client_leaves_early_is_read_to_its_end_when_the_server_closes_it(
    visit: Any, pages_site: Any, environ: Any
) -> None:
    body = iter(response := visit.app(environ, lambda *_: None))
    assert next(body) == b"one,"
    response.close()
    assert pages_site.closed == ["/streamed/"]
    answer = visit.get("/streamed/")
    assert (answer.text, is_hit(answer), len(pages_site.ran)) == ("one,two,three", True, 1)


@pytest.mark.parametrize("visit", ["wsgi", "wsgi outermost"], indirect=True)
def test_who_waits_for_a_stream_gets_it_when_its_last_byte_is_on_its_way(
    visit: Any, pages_site: Any, environ: Any
) -> None:
    body = iter(visit.app(environ, lambda *_: None))
    _ = next(body)
    waiting = visit.begin("GET", "/streamed/")
    assert [*body] == [b"two,", b"three"]
    answer = waiting.result(60)
    assert (answer.text, is_hit(answer), len(pages_site.ran)) == ("one,two,three", True, 1)


@pytest.mark.parametrize("visit", ["wsgi", "wsgi outermost"], indirect=True)
def test_a_stream_that_breaks_is_not_kept_and_nobody_waits_for_it(visit: Any, pages_site: Any, environ: Any) -> None:
    def broken(request: Any, part: bytes) -> None:
        if part == b"two,":
            raise OSError("the source has dried up")

    pages_site.hooks["part"] = broken
    response = visit.app(environ, lambda *_: None)
    with pytest.raises(OSError, match="dried up"):
        _ = [*response]
    response.close()
    pages_site.hooks.clear()
    answer = visit.get("/streamed/")
    assert (answer.text, is_hit(answer), len(pages_site.ran)) == ("one,two,three", False, 2)


async def leaves(app: Any, path: str, gone: asyncio.Event, has: asyncio.Event | None = None) -> list[bytes]:
    """A client of an ASGI application that leaves when it is told to, what it had until then."""
    scope = {
        "type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [(b"host", b"testserver")],
        "scheme": "http", "server": ("testserver", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    unsent = [{"type": "http.request", "body": b"", "more_body": False}]
    had: list[bytes] = []

    async def receive() -> Any:
        if unsent:
            return unsent.pop()
        _ = await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message.get("body"):
            had.append(message["body"])
            if has is not None:
                has.set()

    await app(scope, receive, send)
    return had


@pytest.mark.parametrize("visit", ["asgi", "asgi outermost"], indirect=True)
def test_a_stream_on_the_loop_is_read_to_its_end_though_its_client_leaves(visit: Any, pages_site: Any) -> None:
    async def scene() -> list[bytes]:
        gone, has, goes_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def part(request: Any, each: bytes) -> None:
            if each == b"three":
                _ = await goes_on.wait()

        pages_site.hooks["apart"] = part
        client = asyncio.create_task(leaves(visit.app, "/astreamed/", gone, has))
        _ = await has.wait()
        gone.set()
        had = await client
        goes_on.set()
        return had

    assert visit.do(scene) in ([b"one,"], [b"one,", b"two,"])
    visit.settle()
    answer = visit.get("/astreamed/")
    assert (answer.text, is_hit(answer), len(pages_site.ran)) == ("one,two,three", True, 1)


@pytest.mark.parametrize("visit", ["asgi", "asgi outermost"], indirect=True)
@pytest.mark.parametrize("path", ["/aproduct/5/", "/product/5/"])
def test_a_view_that_makes_a_page_for_others_goes_on_though_its_client_leaves(
    visit: Any, pages_site: Any, path: str
) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def inside(request: Any) -> None:
        begun.set()
        assert goes_on.wait(20)

    async def ainside(request: Any) -> None:
        begun.set()
        await soon(goes_on.is_set, "the view may go on")

    pages_site.hooks["ainside" if "aproduct" in path else "inside"] = ainside if "aproduct" in path else inside

    async def scene() -> Any:
        gone = asyncio.Event()
        client = asyncio.create_task(leaves(visit.app, path, gone))
        await soon(begun.is_set, "the view runs")
        gone.set()
        had = await client
        return had

    assert visit.do(scene) == []
    waiting = visit.begin("GET", path)
    goes_on.set()
    answer = waiting.result(60)
    assert (answer.status_code, answer.json()["runs"], len(pages_site.ran)) == (200, 1, 1)


@pytest.mark.parametrize("visit", ["asgi", "asgi outermost"], indirect=True)
def test_a_view_that_makes_nothing_for_others_is_cancelled_with_its_client(visit: Any, pages_site: Any) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def ainside(request: Any) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    pages_site.hooks["ainside"] = ainside

    async def scene() -> None:
        gone = asyncio.Event()
        client = asyncio.create_task(leaves(visit.app, "/abare/", gone))
        await soon(begun.is_set, "the view runs")
        gone.set()
        _ = await client

    visit.do(scene)
    assert cancelled.is_set()
