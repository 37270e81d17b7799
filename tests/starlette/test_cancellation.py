"""A request that is cut at any of its await points, over a slow line, leaves nothing broken.

The n-th run cancels the request at its n-th await point, from the first until a run completes before it gets there:
once the moment it waits, once when the server has done what was asked and its reply is still on the way.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from cutting import cut
from redis import Redis
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from redis_mw import AsyncRedisMW, Settings, replace
from redis_mw.http.request import Request
from redis_mw.layer.cookie import SessionCookie
from redis_mw.layer.layer import Layer
from redis_mw.sessions.room import furnish
from redis_mw_starlette import RedisMiddleware

DELAY = 0.03
MID_REPLY = 1.5 * DELAY
MOST_POINTS = 50


@pytest.fixture
def line(redis_mw_url: str, delaying_proxy: Callable[..., Any]) -> Any:
    """A line to the server on which every byte takes 30 ms."""
    return delaying_proxy(redis_mw_url, delay=DELAY)


async def put(request: StarletteRequest) -> Response:
    request.session.update(await request.json())
    return JSONResponse(request.session)


async def login(request: StarletteRequest) -> Response:
    request.session.login("42")
    request.session["a"] = 1
    return JSONResponse(request.session)


async def logout(request: StarletteRequest) -> Response:
    request.session.logout()
    return JSONResponse(request.session)


async def show(request: StarletteRequest) -> Response:
    return JSONResponse(request.session)


async def begin_anew(request: StarletteRequest) -> Response:
    request.session.logout()
    request.session["a"] = 1
    return JSONResponse(request.session)


ROUTES = [Route(f"/{view.__name__}", view, methods=["POST"]) for view in (put, login, logout, show, begin_anew)]


class Visitor:
    """Asks an application, and keeps the cookie of the answers it gets to see."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.cookie = b""

    async def ask(self, path: str, **values: Any) -> Any:
        sent: list[Any] = []
        body = {"type": "http.request", "body": json.dumps(values).encode(), "more_body": False}

        async def receive() -> Any:
            return body

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"cookie", self.cookie)] if self.cookie else []
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
        await self.app(scope, receive, send)
        for name, value in sent[0]["headers"]:
            if name == b"set-cookie":
                self.cookie = value.partition(b";")[0]
        assert sent[0]["status"] == 200, sent
        return json.loads(sent[1]["body"])


async def background_is_done(own: set[Any]) -> None:
    """Return when no task is left but those that were there before; fail if that takes for ever."""
    for _ in range(200):
        left = asyncio.all_tasks() - own
        if not left:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"tasks were left behind: {left}")


# What the visitor may find afterwards with the cookie it has: what was there, or what was to be.
CASES: dict[str, tuple[str, dict[str, Any], list[dict[str, Any]]]] = {
    "reading": ("/show", {}, [{"a": 0}]),
    "writing": ("/put", {"a": 1}, [{"a": 0}, {"a": 1}]),
    # The old id keeps what it had: what is new belongs to the new id, which the cut visitor never got.
    "logging in": ("/login", {}, [{"a": 0}]),
    "logging out": ("/logout", {}, [{"a": 0}, {}]),
    "beginning anew": ("/begin_anew", {}, [{"a": 0}, {}]),
}


@pytest.mark.parametrize("after", [0.0, MID_REPLY], ids=["as it waits", "with the reply on its way"])
@pytest.mark.parametrize(("path", "values", "outcomes"), CASES.values(), ids=CASES)
def test_a_request_cut_anywhere_leaves_the_old_session_or_the_new_one_and_nothing_broken(
    redis_mw_settings: Settings,
    line: Any,
    path: str,
    values: dict[str, Any],
    outcomes: list[dict[str, Any]],
    after: float,
) -> None:
    async def main() -> int:
        settings = replace(redis_mw_settings, url=line.url)
        async with AsyncRedisMW(settings) as mw:
            app = RedisMiddleware(Starlette(routes=ROUTES), mw=mw)
            bystander = Visitor(app)
            _ = await bystander.ask("/put", mine="untouched")
            own = asyncio.all_tasks()
            cut_short = 0
            for point in range(MOST_POINTS):
                visitor = Visitor(app)
                _ = await visitor.ask("/login")
                _ = await visitor.ask("/put", a=0)
                beside = asyncio.create_task(bystander.ask("/show"))
                reached = True
                task = asyncio.create_task(cut(visitor.ask(path, **values), point, after))
                try:
                    reached = await task
                except asyncio.CancelledError:
                    cut_short += 1
                assert await beside == {"mine": "untouched"}
                if not reached:
                    return cut_short
                await background_is_done(own)
                assert await visitor.ask("/show") in outcomes
                assert await bystander.ask("/show") == {"mine": "untouched"}
                assert line.connections == 1, "a connection was given up"
        raise AssertionError("it never came to its end")

    assert asyncio.run(main()) >= (1 if path == "/show" else 2)  # open and commit wait at least once each


@pytest.mark.parametrize("after", [0.0, MID_REPLY], ids=["as it waits", "with the reply on its way"])
def test_a_finish_cut_anywhere_leaves_the_new_session_in_its_users_list_and_nothing_broken(
    redis_mw_settings: Settings, line: Any, after: float
) -> None:
    """No request waits for ``finish``; what cuts it is a driver that is closed, or a loop that ends."""

    async def main() -> int:
        settings = replace(redis_mw_settings, url=line.url)
        assert settings.sessions is not None
        async with AsyncRedisMW(settings) as mw:
            room = furnish(settings, settings.sessions, [settings.secret], mw.events)
            layer = Layer(settings, room, SessionCookie(name="session"))
            await mw.ping()
            own, pinged, cut_short = asyncio.all_tasks(), line.connections, 0
            for point in range(MOST_POINTS):
                user = f"user-{point}"
                first = layer.begin(Request("GET", "/"))
                first.visit.login(user)
                cookie = (await mw.driver.run(layer.commit(first, {"a": 1}))).set_cookie
                second = layer.begin(Request("GET", "/"), cookie.value)
                _ = await mw.driver.run(layer.open(second, eager=True))
                second.visit.regenerate()
                _ = await mw.driver.run(layer.commit(second, second.visit.initial))
                reached = True
                task = asyncio.create_task(cut(mw.driver.run(layer.finish(second)), point, after))
                try:
                    reached = await task
                except asyncio.CancelledError:
                    cut_short += 1
                await background_is_done(own)
                listed = [info.handle for info in await mw.sessions.of_user(user)]
                assert listed == [second.visit.handle]
                assert line.connections == pinged + 1, "a connection was given up"
                if not reached:
                    return cut_short
        raise AssertionError("it never came to its end")

    assert asyncio.run(main()) >= 1


@pytest.mark.parametrize("after", [0.0, MID_REPLY], ids=["as it connects", "in the middle of connecting"])
def test_a_first_request_cut_while_it_connects_leaves_a_connection_for_the_next(
    redis_mw_settings: Settings, line: Any, after: float
) -> None:
    async def main() -> None:
        settings = replace(redis_mw_settings, url=line.url)
        for point in range(MOST_POINTS):
            async with AsyncRedisMW(settings) as mw:
                own = asyncio.all_tasks()
                visitor = Visitor(RedisMiddleware(Starlette(routes=ROUTES), mw=mw))
                task = asyncio.create_task(cut(visitor.ask("/put", a=1), point, after))
                try:
                    if not await task:
                        return
                except asyncio.CancelledError:
                    pass
                await background_is_done(own)
                assert await visitor.ask("/put", a=2) == {"a": 2}
                assert await visitor.ask("/show") == {"a": 2}
        raise AssertionError("it never came to its end")

    asyncio.run(main())


def test_a_hundred_requests_cut_at_once_do_not_mix_up_anybodys_replies(redis_mw_settings: Settings, line: Any) -> None:
    async def main() -> None:
        settings = replace(redis_mw_settings, url=line.url)
        async with AsyncRedisMW(settings) as mw:
            app = RedisMiddleware(Starlette(routes=ROUTES), mw=mw)
            visitors = [Visitor(app) for _ in range(100)]
            _ = await asyncio.gather(*(visitor.ask("/put", n=n) for n, visitor in enumerate(visitors)))
            own = asyncio.all_tasks()
            tasks = [asyncio.create_task(visitor.ask("/put", seen=1)) for visitor in visitors]
            for n, task in enumerate(tasks):
                if n % 2:
                    _ = asyncio.get_running_loop().call_later(n / 1000, task.cancel)
            _ = await asyncio.gather(*tasks, return_exceptions=True)
            await background_is_done(own)
            shown = await asyncio.gather(*(visitor.ask("/show") for visitor in visitors))
            for n, session in enumerate(shown):
                assert session in ({"n": n, "seen": 1}, {"n": n}) and (n % 2 or "seen" in session)
            assert line.connections == 1

    asyncio.run(main())


def test_a_watcher_that_is_cut_leaves_no_subscription_to_anybody(
    redis_mw_settings: Settings, server: Any, app_of: Callable[..., Starlette]
) -> None:
    async def impatient(websocket: WebSocket) -> None:
        await websocket.accept()
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(websocket.session.revoked()), 0.05)
        await websocket.close(4000)

    settings = replace(redis_mw_settings, url=server.url)
    app = app_of(WebSocketRoute("/", impatient), settings=settings)
    with Redis.from_url(server.url) as redis, TestClient(app) as client:
        _ = client.post("/put", json={"a": 1})
        with client.websocket_connect("/") as websocket, pytest.raises(WebSocketDisconnect):
            _ = websocket.receive_json()
        assert client.get("/show").json() == {"a": 1}
        assert redis.pubsub_channels() == []
