"""What the tests of the Starlette integration share: applications built in a line, and a look into the store."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.testclient import TestClient

from redis_mw import Settings
from redis_mw_starlette import RedisMiddleware


async def untouched(request: Request) -> Response:
    return PlainTextResponse("nothing to do with sessions")


async def show(request: Request) -> Response:
    return JSONResponse(request.session)


async def put(request: Request) -> Response:
    request.session.update(await request.json())
    return JSONResponse(request.session)


async def clear(request: Request) -> Response:
    request.session.clear()
    return JSONResponse(request.session)


async def login(request: Request) -> Response:
    request.session.login(request.path_params["user"])
    return JSONResponse({"user": request.session.user_id})


async def logout(request: Request) -> Response:
    request.session.logout()
    return JSONResponse(request.session)


async def regenerate(request: Request) -> Response:
    request.session.regenerate()
    return JSONResponse(request.session)


ROUTES: list[BaseRoute] = [
    Route("/untouched", untouched),
    Route("/show", show),
    Route("/put", put, methods=["POST"]),
    Route("/clear", clear, methods=["POST"]),
    Route("/login/{user}", login, methods=["POST"]),
    Route("/logout", logout, methods=["POST"]),
    Route("/regenerate", regenerate, methods=["POST"]),
]


@pytest.fixture
def app_of(redis_mw_settings: Settings) -> Callable[..., Starlette]:
    """``app_of(*routes, **arguments of RedisMiddleware)``: an application with the usual routes and these."""

    def make(*routes: BaseRoute, **arguments: Any) -> Starlette:
        given = {"settings": redis_mw_settings} if "mw" not in arguments else {}
        middleware = [Middleware(RedisMiddleware, **{**given, **arguments})]
        return Starlette(routes=[*routes, *ROUTES], middleware=middleware)

    return make


@pytest.fixture
def client_of(app_of: Callable[..., Starlette]) -> Iterator[Callable[..., TestClient]]:
    """As ``app_of``, with a client around it; ``base_url`` is the client's."""
    clients: list[TestClient] = []

    def make(*routes: BaseRoute, base_url: str = "http://testserver", **arguments: Any) -> TestClient:
        clients.append(TestClient(app_of(*routes, **arguments), base_url=base_url))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(client_of: Callable[..., TestClient]) -> TestClient:
    return client_of()


@pytest.fixture
def stored(redis_mw_settings: Settings) -> Iterator[Callable[[], list[str]]]:
    """The names of the session keys of this test, without users' indexes."""
    with Redis.from_url(str(redis_mw_settings.url), decode_responses=True) as redis:
        yield lambda: [key for key in redis.scan_iter(f"{redis_mw_settings.prefix}:*", 1000) if not key.endswith(":i")]
