"""What becomes of the session when the request fails: changes are given up, an ending is not."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket

from redis_mw import (
    AsyncRedisMW,
    CannotEncode,
    SessionLimitReached,
    Sessions,
    SessionTooLarge,
    SessionUnavailable,
    Settings,
    replace,
)
from redis_mw.testing import count_round_trips, outage
from redis_mw_starlette import RedisMiddleware

ENDINGS = pytest.mark.parametrize("ending", ["logout", "clear"])


def end(session: Any, ending: str) -> None:
    getattr(session, ending)()
    session["flash"] = "given up"


@pytest.fixture
def mw(redis_mw_settings: Settings) -> Iterator[AsyncRedisMW]:
    face = AsyncRedisMW(redis_mw_settings)
    yield face
    face.sync.close()


async def end_and_fail(request: Request) -> Response:
    end(request.session, request.path_params["ending"])
    raise HTTPException(503)


async def end_and_break(request: Request) -> Response:
    end(request.session, request.path_params["ending"])
    raise ZeroDivisionError


async def end_and_break_in_the_stream(request: Request) -> Response:
    async def body() -> Any:
        yield "one"
        yield "two"
        request.session.logout()
        raise ZeroDivisionError

    return StreamingResponse(body())


ROUTES = [
    Route("/fail/{ending}", end_and_fail),
    Route("/break/{ending}", end_and_break),
    Route("/stream", end_and_break_in_the_stream),
]


@ENDINGS
def test_who_logs_out_in_a_request_that_fails_is_logged_out(
    client_of: Callable[..., TestClient], stored: Callable[[], list[str]], ending: str
) -> None:
    client = client_of(*ROUTES)
    _ = client.post("/put", json={"a": 1})
    with count_round_trips() as trips:
        answer = client.get(f"/fail/{ending}")
    assert (answer.status_code, stored(), trips.awaited) == (503, [], 2)
    assert "Max-Age=0" in answer.headers["set-cookie"] and "session" not in client.cookies


@ENDINGS
def test_who_logs_out_in_a_request_that_raises_is_logged_out(
    client_of: Callable[..., TestClient], stored: Callable[[], list[str]], ending: str
) -> None:
    client = client_of(*ROUTES)
    _ = client.post("/put", json={"a": 1})
    with pytest.raises(ZeroDivisionError):
        _ = client.get(f"/break/{ending}")
    assert stored() == [] and client.get("/show").json() == {}


def test_who_logs_out_in_a_stream_that_raises_is_logged_out(
    client_of: Callable[..., TestClient], stored: Callable[[], list[str]]
) -> None:
    client = client_of(*ROUTES)
    _ = client.post("/put", json={"a": 1})
    with pytest.raises(ZeroDivisionError):
        _ = client.get("/stream")
    assert stored() == []


def test_a_failure_without_an_ending_costs_no_trip(client_of: Callable[..., TestClient]) -> None:
    async def fail(request: Request) -> Response:
        request.session["b"] = 2
        raise HTTPException(503)

    client = client_of(Route("/fail", fail))
    _ = client.post("/put", json={"a": 1})
    with count_round_trips() as trips:
        assert client.get("/fail").status_code == 503
    assert trips.awaited == 1
    assert client.get("/show").json() == {"a": 1}


def test_a_failure_in_an_outage_is_the_failure_that_it_was(mw: AsyncRedisMW) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive, send)
        if request.method == "POST":
            request.session["a"] = 1
            await JSONResponse({})(scope, receive, send)
            return
        request.session.logout()
        with outage(mw):
            await JSONResponse({"broken": True}, 500)(scope, receive, send)

    client = TestClient(RedisMiddleware(app, mw=mw))
    _ = client.post("/")
    answer = client.get("/")
    assert (answer.status_code, answer.json()) == (500, {"broken": True})
    assert "set-cookie" not in answer.headers


# What an application answers for what could not be written


def too_large(session: Any) -> None:
    session["value"] = "x" * 70000


def no_value(session: Any) -> None:
    session["value"] = object()


def one_too_many(session: Any) -> None:
    session.login("42")


FAILURES = pytest.mark.parametrize(
    ("change", "error"),
    [(too_large, SessionTooLarge), (no_value, CannotEncode), (one_too_many, SessionLimitReached)],
)


def guarded(settings: Settings, change: Callable[[Any], None], error: type[Exception], status: int) -> TestClient:
    async def save(request: Request) -> Response:
        change(request.session)
        await request.session.save()
        raise AssertionError("that cannot be saved")

    async def put(request: Request) -> Response:
        request.session["a"] = 1
        return JSONResponse({})

    async def log_in(request: Request) -> Response:
        request.session.login("42")
        return JSONResponse({})

    async def show(request: Request) -> Response:
        return JSONResponse(request.session)

    async def answer(request: Request, failure: Exception) -> Response:
        return JSONResponse({"failed": type(failure).__name__}, status)

    app = Starlette(
        routes=[Route("/save", save), Route("/put", put), Route("/login", log_in), Route("/show", show)],
        middleware=[
            Middleware(RedisMiddleware, settings=replace(settings, sessions=Sessions(max_sessions=1, on_max="refuse")))
        ],
        exception_handlers={error: answer},
    )
    assert TestClient(app).get("/login").status_code == 200
    client = TestClient(app)
    assert client.get("/put").status_code == 200
    return client


@FAILURES
def test_a_handler_of_the_application_answers_for_what_could_not_be_saved(
    redis_mw_settings: Settings, change: Callable[[Any], None], error: type[Exception]
) -> None:
    client = guarded(redis_mw_settings, change, error, 422)
    answer = client.get("/save")
    assert (answer.status_code, answer.json()) == (422, {"failed": error.__name__})
    assert "set-cookie" not in answer.headers
    assert client.get("/show").json() == {"a": 1}


@pytest.mark.parametrize(("change", "error"), [(too_large, SessionTooLarge), (no_value, CannotEncode)])
def test_a_handler_that_calls_it_a_success_fails_again(
    redis_mw_settings: Settings, change: Callable[[Any], None], error: type[Exception]
) -> None:
    client = guarded(redis_mw_settings, change, error, 200)
    with pytest.raises(error):
        _ = client.get("/save")
    assert client.get("/show").json() == {"a": 1}


def test_a_handler_answers_for_an_outage_that_began_after_the_session_was_read(mw: AsyncRedisMW) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope)
        request.session["a"] = 1
        with outage(mw):
            try:
                await JSONResponse({})(scope, receive, send)
            except SessionUnavailable:
                await JSONResponse({"later": True}, 503 if "error" in request.query_params else 200)(
                    scope, receive, send
                )

    client = TestClient(RedisMiddleware(app, mw=mw))
    answer = client.get("/?error")
    assert (answer.status_code, answer.json()) == (503, {"later": True})
    answer = client.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")


def test_what_was_saved_after_a_failure_is_no_failure_any_more(client_of: Callable[..., TestClient]) -> None:
    async def careful(request: Request) -> Response:
        request.session["value"] = object()
        with pytest.raises(CannotEncode):
            await request.session.save()
        del request.session["value"]
        await request.session.save()
        request.session["b"] = 2
        return JSONResponse({}, 404)

    client = client_of(Route("/careful", careful))
    _ = client.post("/put", json={"a": 1})
    assert client.get("/careful").status_code == 404
    assert client.get("/show").json() == {"a": 1, "b": 2}


def test_who_was_logged_out_by_a_login_too_many_is_told_so(redis_mw_settings: Settings) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        session = Request(scope).session
        if scope["path"] == "/switch":
            session.logout()
            session.login("42")
        else:
            session.login(scope["path"])
        await JSONResponse({})(scope, receive, send)

    settings = replace(redis_mw_settings, sessions=Sessions(max_sessions=1, on_max="refuse"))
    wrapped = RedisMiddleware(app, settings)
    client = TestClient(wrapped)
    other = TestClient(RedisMiddleware(app, settings))
    _ = client.get("/me")
    _ = other.get("/switch")
    answer = client.get("/switch")
    assert answer.status_code == 409 and "Max-Age=0" in answer.headers["set-cookie"]


def test_a_handshake_may_be_denied_for_what_could_not_be_saved(client_of: Callable[..., TestClient]) -> None:
    async def enter(websocket: WebSocket) -> None:
        websocket.session["value"] = object()
        try:
            await websocket.session.save()  # type: ignore[attr-defined]
        except CannotEncode:
            await websocket.send_denial_response(JSONResponse({"failed": True}, 422))

    client = client_of(WebSocketRoute("/enter", enter))
    with pytest.raises(WebSocketDenialResponse) as refused:
        with client.websocket_connect("/enter"):
            pass
    assert refused.value.status_code == 422
