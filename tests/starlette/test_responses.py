"""When the session is written, and what goes out before and after."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from redis_mw import (
    CannotEncode,
    LayerMissing,
    Sessions,
    SessionTooLarge,
    Settings,
    current,
    replace,
)
from redis_mw.engine import trips
from redis_mw_starlette import RedisMiddleware

Message = dict[str, Any]


async def conversation(app: Any, *received: Message, **scope: Any) -> list[str]:
    """What is sent, and between it ``redis`` for every trip, in order."""
    seen: list[str] = []
    left = [*received, {"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        return left.pop(0)

    async def send(message: Message) -> None:
        seen.append(message["type"].removeprefix("http.response."))

    stop = trips.observe(lambda *_: seen.append("redis"))
    try:
        full = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [], **scope}
        await app(full, receive, send)
    finally:
        stop()
    return seen


def writing(*messages: Message) -> Callable[..., Awaitable[None]]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["session"]["a"] = 1
        for message in messages:
            await send(message)

    return app


START: Message = {"type": "http.response.start", "status": 200, "headers": []}


@pytest.mark.parametrize(
    ("messages", "order"),
    [
        ([START, {"type": "http.response.body", "body": b"all"}], ["redis", "start", "body"]),
        (
            [
                START,
                {"type": "http.response.body", "body": b"one", "more_body": True},
                {"type": "http.response.body", "body": b"two"},
            ],
            ["redis", "start", "body", "body"],
        ),
        ([START, {"type": "http.response.pathsend", "path": "/x"}], ["redis", "start", "pathsend"]),
        (
            [
                {"type": "http.response.early_hint", "links": []},
                {**START, "trailers": True},
                {"type": "http.response.body", "body": b"one"},
                {"type": "http.response.trailers", "headers": []},
            ],
            ["early_hint", "redis", "start", "body", "trailers"],
        ),
        ([START], ["redis", "start"]),
        ([{"type": "http.response.start", "status": 204}, {"type": "http.response.body"}], ["redis", "start", "body"]),
        ([{**START, "headers": ((b"x", b"y"),)}, {"type": "http.response.body"}], ["redis", "start", "body"]),
    ],
    ids=["one part", "two parts", "a file", "hints and trailers", "no body at all", "no headers", "a tuple of headers"],
)
def test_the_session_is_written_before_anything_of_the_response_is_sent(
    redis_mw_settings: Settings, messages: list[Message], order: list[str]
) -> None:
    app = RedisMiddleware(writing(*messages), redis_mw_settings)
    assert asyncio.run(conversation(app)) == order


def test_the_start_waits_for_the_first_part_of_the_body(client_of: Callable[..., TestClient]) -> None:
    async def stream(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            request.session["made"] = "before the first part"
            yield "one"
            yield "two"

        return StreamingResponse(body())

    client = client_of(Route("/", stream))
    assert client.get("/").text == "onetwo"
    assert client.get("/show").json() == {"made": "before the first part"}


async def write_and_fail(request: Request) -> Response:
    request.session["a"] = 1
    raise HTTPException(int(request.path_params["status"]))


async def write_and_break(request: Request) -> Response:
    request.session["a"] = 1
    raise ZeroDivisionError


@pytest.mark.parametrize(("status", "kept"), [(404, {"a": 1}), (500, {}), (503, {})])
def test_a_server_error_writes_nothing(client_of: Callable[..., TestClient], status: int, kept: dict[str, int]) -> None:
    client = client_of(Route("/fail/{status}", write_and_fail))
    assert client.get(f"/fail/{status}").status_code == status
    assert client.get("/show").json() == kept


def test_a_server_error_writes_if_the_settings_say_so(
    client_of: Callable[..., TestClient], redis_mw_settings: Settings
) -> None:
    settings = replace(redis_mw_settings, sessions=Sessions(save_on_5xx=True))
    client = client_of(Route("/fail/{status}", write_and_fail), settings=settings)
    assert client.get("/fail/500").status_code == 500
    assert client.get("/show").json() == {"a": 1}


def test_an_exception_writes_nothing_and_passes_through(client_of: Callable[..., TestClient]) -> None:
    client = client_of(Route("/", write_and_break))
    with pytest.raises(ZeroDivisionError):
        _ = client.get("/")
    assert client.get("/show").json() == {}


def test_an_exception_after_the_start_was_held_back_is_a_clean_500(redis_mw_settings: Settings) -> None:
    async def half(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        raise ZeroDivisionError

    app = Starlette(middleware=[Middleware(RedisMiddleware, settings=redis_mw_settings)])
    app.mount("/", half)
    assert TestClient(app, raise_server_exceptions=False).get("/").status_code == 500


def test_an_exception_in_a_background_task_leaves_what_was_written(client_of: Callable[..., TestClient]) -> None:
    async def after() -> None:
        raise ZeroDivisionError

    async def view(request: Request) -> Response:
        request.session["a"] = 1
        return JSONResponse({}, background=BackgroundTask(after))

    client = client_of(Route("/", view))
    with pytest.raises(ZeroDivisionError):
        _ = client.get("/")
    assert client.get("/show").json() == {"a": 1}


@pytest.mark.parametrize(
    ("value", "error"), [("x" * 70000, SessionTooLarge), (object(), CannotEncode)], ids=["too large", "not a value"]
)
def test_what_cannot_be_stored_is_an_error_and_no_response(
    client_of: Callable[..., TestClient], value: object, error: type[Exception]
) -> None:
    ran: list[str] = []

    async def view(request: Request) -> Response:
        request.session["value"] = value
        return JSONResponse({}, background=BackgroundTask(ran.append, "after"))

    client = client_of(Route("/", view))
    _ = client.post("/put", json={"a": 1})
    with pytest.raises(error):
        _ = client.get("/")
    assert client.get("/show").json() == {"a": 1}
    assert ran == []


def test_an_application_may_answer_for_what_could_not_be_stored(redis_mw_settings: Settings) -> None:
    async def careful(scope: Any, receive: Any, send: Any) -> None:
        Request(scope).session["value"] = object()
        try:
            await JSONResponse({})(scope, receive, send)
        except CannotEncode:
            Request(scope).session.clear()
            await JSONResponse({"sorry": True}, 409)(scope, receive, send)

    response = TestClient(RedisMiddleware(careful, redis_mw_settings)).get("/")
    assert (response.status_code, response.json()) == (409, {"sorry": True})


def test_an_application_that_goes_on_sending_regardless_gets_the_same_error_again(redis_mw_settings: Settings) -> None:
    async def deaf(scope: Any, receive: Any, send: Any) -> None:
        Request(scope).session["value"] = object()
        await send(START)
        for _ in range(2):
            with pytest.raises(CannotEncode):
                await send({"type": "http.response.body", "body": b"x", "more_body": True})

    with pytest.raises(CannotEncode):
        _ = asyncio.run(conversation(RedisMiddleware(deaf, redis_mw_settings)))


def test_base_http_middleware_inside_changes_nothing(redis_mw_settings: Settings) -> None:
    async def dispatch(request: Request, call_next: Any) -> Response:
        request.session["outer"] = 1
        response: Response = await call_next(request)
        request.session["after"] = request.session["inner"]
        return response

    async def view(request: Request) -> Response:
        request.session["inner"] = 2
        return JSONResponse(current().session)

    middleware = [
        Middleware(RedisMiddleware, settings=redis_mw_settings),
        Middleware(BaseHTTPMiddleware, dispatch=dispatch),
    ]
    client = TestClient(Starlette(routes=[Route("/", view)], middleware=middleware))
    assert client.get("/").json() == {"outer": 1, "inner": 2}
    assert client.get("/").json() == {"outer": 1, "inner": 2, "after": 2}


def test_the_context_is_there_during_the_request_and_gone_after_it(client_of: Callable[..., TestClient]) -> None:
    async def view(request: Request) -> Response:
        context = current()
        assert context is request.state.redis_mw and context.session is request.session
        await context.mw.ping()
        return JSONResponse({})

    def plain(request: Request) -> Response:
        current().mw.sync.ping()
        return JSONResponse({"session": current().session is request.session})

    client = client_of(Route("/", view), Route("/plain", plain))
    assert client.get("/").status_code == 200
    with client:
        assert client.get("/plain").json() == {"session": True}
    with pytest.raises(LayerMissing):
        _ = current()


def test_the_user_can_be_asked_and_is_listed_and_revoked(client_of: Callable[..., TestClient]) -> None:
    async def mine(request: Request) -> Response:
        sessions = await current().mw.sessions.of_user(request.session.user_id)
        return JSONResponse([info.handle == request.session.handle for info in sessions])

    async def revoke(request: Request) -> Response:
        count = await current().mw.sessions.revoke_user("42", keep=request.session.handle)
        return JSONResponse({"count": count})

    routes = [Route("/mine", mine), Route("/revoke", revoke)]
    one, two = client_of(*routes), client_of(*routes)
    _ = one.post("/login/42")
    _ = two.post("/login/42")
    assert sorted(one.get("/mine").json()) == [False, True]
    assert one.get("/revoke").json() == {"count": 1}
    assert one.get("/mine").json() == [True]
    assert two.get("/show").json() == {}
