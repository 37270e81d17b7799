"""Decorated endpoints, in every way in which Starlette and FastAPI take one: counted once, in the one batch."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Host, Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from redis_mw import LayerMissing, Rule, Settings, current, limited, replace
from redis_mw.testing import count_round_trips
from redis_mw_starlette import Limited, RedisMiddleware

TWO = "2/minute"


def page() -> Any:
    """A fresh endpoint: a decorator leaves its mark on the function itself, too."""

    async def page(request: Request) -> Response:
        return PlainTextResponse("a page")

    return page


def foreign(endpoint: Any) -> Any:
    """A decorator that drops what others wrote on a function."""

    async def wrapper(request: Request) -> Response:
        return await endpoint(request)

    return wrapper


@limited(TWO)
class Decorated(HTTPEndpoint):
    async def get(self, request: Request) -> Response:
        return PlainTextResponse("a page")


class ByMethod(HTTPEndpoint):
    @limited(TWO)
    async def get(self, request: Request) -> Response:
        return PlainTextResponse("a page")

    async def post(self, request: Request) -> Response:
        return PlainTextResponse("a post")


def plain(request: Request) -> Response:
    return PlainTextResponse("from a thread")


async def with_more(more: str, request: Request) -> Response:
    return PlainTextResponse(more)


STARLETTE = {
    "a coroutine": [Route("/x", limited(TWO)(page()))],
    "a function that runs in a thread": [Route("/x", limited(TWO)(plain))],
    "a class": [Route("/x", Decorated)],
    "a method of a class": [Route("/x", ByMethod)],
    "a partial": [Route("/x", partial(limited(TWO)(with_more), "more"))],
    "in a mounted router": [Mount("", routes=[Route("/x", limited(TWO)(page()))])],
    "in a mounted application": [Mount("", app=Starlette(routes=[Route("/x", limited(TWO)(page()))]))],
    "for a host": [Host("testserver", app=Starlette(routes=[Route("/x", limited(TWO)(page()))]))],
}


def fastapi_app(settings: Settings) -> FastAPI:
    app = FastAPI()
    app.add_middleware(RedisMiddleware, settings=settings)
    router = APIRouter(prefix="/included")
    guarded = APIRouter(prefix="/guarded", dependencies=[Limited(TWO)])
    inner = APIRouter(prefix="/inner")

    @app.get("/below")
    @limited(TWO)
    async def below(request: Request) -> str:
        return "below"

    @limited(TWO)
    @app.get("/above")
    async def above() -> str:
        return "above"

    @app.get("/thread/{number}")
    @limited(TWO)
    def thread(number: int) -> int:
        return number

    @app.get("/dependency", dependencies=[Limited(TWO)])
    async def dependency() -> str:
        return "dependency"

    two: Any = Limited(TWO)

    async def deep(_: Any = two) -> str:
        return "deep"

    @app.get("/deep")
    async def deeper(found: str = Depends(deep)) -> str:
        return found

    @router.get("/x")
    @limited(TWO)
    async def included() -> str:
        return "included"

    @guarded.get("/x")
    async def of_router() -> str:
        return "guarded"

    @inner.get("/x")
    @limited(TWO)
    async def nested() -> str:
        return "nested"

    @app.get("/both", dependencies=[Limited(TWO, name="both")])
    @limited(TWO, name="both")
    async def both() -> str:
        return "both"

    router.include_router(inner)
    app.include_router(router)
    app.include_router(guarded)
    return app


FASTAPI = [
    "/below", "/above", "/thread/1", "/dependency", "/deep", "/included/x", "/guarded/x", "/included/inner/x", "/both",
]  # fmt: skip


@pytest.mark.parametrize("way", STARLETTE)
def test_starlettes_ways(client_of: Callable[..., TestClient], way: str) -> None:
    with client_of(*STARLETTE[way]) as client:
        _counted_once(client, "/x")


@pytest.mark.parametrize("path", FASTAPI)
def test_fastapis_ways(redis_mw_settings: Settings, path: str) -> None:
    with TestClient(fastapi_app(redis_mw_settings)) as client:
        _counted_once(client, path)


def _counted_once(client: TestClient, path: str) -> None:
    for left in (1, 0):
        with count_round_trips() as trips:
            answer = client.get(path)
        assert answer.status_code == 200 and f";r={left};" in answer.headers["ratelimit"], answer.headers
        assert answer.headers["ratelimit"].count(";r=") == 1
        assert trips.total == 1
    assert client.get(path).status_code == 429


def test_a_mark_that_nobody_could_see_costs_one_trip_more_and_is_enforced_once(
    client_of: Callable[..., TestClient], redis_mw_settings: Settings
) -> None:
    settings = replace(redis_mw_settings, rules=[Rule("/x", limits=["9/minute"])])
    with client_of(Route("/x", foreign(limited(TWO)(page()))), settings=settings) as client:
        for left in (1, 0):
            with count_round_trips() as trips:
                answer = client.get("/x")
            assert answer.status_code == 200 and trips.awaited == 2
            assert f'"2-per-m";r={left};' in answer.headers["ratelimit"]
        refused = client.get("/x")
        assert refused.status_code == 429 and refused.json()["violated-policies"] == ["2-per-m"]
        assert '"9-per-m";r=6;' in refused.headers["ratelimit"]
    # The late denial gave back what the request had taken before it.
    with client_of(Route("/x", page()), settings=settings) as client:
        assert '"9-per-m";r=6;' in client.get("/x").headers["ratelimit"]


def test_the_other_methods_of_a_class_are_not_limited(client_of: Callable[..., TestClient]) -> None:
    client = client_of(Route("/x", ByMethod))
    assert [client.post("/x").status_code for _ in range(3)] == [200] * 3


def test_views_that_one_function_has_made_are_counted_apart(client_of: Callable[..., TestClient]) -> None:
    client = client_of(Route("/a", limited(TWO)(page())), Route("/b", limited(TWO)(page())))
    assert [client.get(path).status_code for path in ("/a", "/a", "/b", "/b", "/a", "/b")] == [200] * 4 + [429] * 2


def test_each_view_is_counted_apart_and_a_name_counts_together(client_of: Callable[..., TestClient]) -> None:
    apart, shared = limited(TWO), limited(TWO, name="shared")
    one, other, both = page(), plain, page()
    client = client_of(
        Route("/a", apart(one)), Route("/b", apart(other)), Route("/c", shared(both)), Route("/d", shared(page()))
    )
    assert [client.get(path).status_code for path in ("/a", "/a", "/b", "/b", "/a", "/b")] == [200] * 4 + [429] * 2
    assert [client.get(path).status_code for path in ("/c", "/d", "/c", "/d")] == [200, 200, 429, 429]


def test_a_decorated_view_without_a_layer_raises() -> None:
    client = TestClient(Starlette(routes=[Route("/x", limited(TWO)(page()))]))
    with pytest.raises(LayerMissing, match="mount RedisMiddleware"):
        _ = client.get("/x")


def test_a_handshake_is_limited_and_so_are_messages(
    client_of: Callable[..., TestClient], redis_mw_settings: Settings
) -> None:
    @limited("2/minute", name="handshakes")
    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        limiter = current().limits.limiter("3/minute")
        async for _ in socket.iter_text():
            await socket.send_text("yes" if await limiter.hit() else "no")

    with client_of(WebSocketRoute("/talk", talk)) as client:
        for _ in range(2):
            with count_round_trips() as trips, client.websocket_connect("/talk") as socket:
                said = []
                for _ in range(2):
                    socket.send_text("?")
                    said.append(socket.receive_text())
            assert trips.awaited == 3
        assert said == ["yes", "no"]
        with pytest.raises(Exception) as refused, client.websocket_connect("/talk"):
            pass
        assert getattr(refused.value, "status_code", None) == 429 or isinstance(refused.value, WebSocketDisconnect)


def test_an_application_that_the_middleware_wraps_is_read_too(redis_mw_settings: Settings) -> None:
    app = RedisMiddleware(Starlette(routes=[Route("/x", limited(TWO)(page()))]), redis_mw_settings)
    with TestClient(app) as client:
        _counted_once(client, "/x")


def test_a_mounted_middleware_reads_its_own_application(redis_mw_settings: Settings) -> None:
    inner = Starlette(
        routes=[Route("/x", limited(TWO)(page()))], middleware=[Middleware(RedisMiddleware, settings=redis_mw_settings)]
    )
    with TestClient(Starlette(routes=[Mount("/in", inner)])) as client:
        _counted_once(client, "/in/x")
