"""``request.session.clear()``: how Starlette applications log out, so it ends the session, not just its values."""

from collections.abc import AsyncIterator, Callable

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from redis_mw import SessionClosed


async def who(request: Request) -> Response:
    session = request.scope["session"]
    return JSONResponse({"user": session.user_id, "values": session})


async def anew(request: Request) -> Response:
    request.session.clear()
    request.session["b"] = 2
    return JSONResponse(request.session)


def id_of(client: TestClient) -> str:
    return client.cookies["session"].partition(".")[0]


def test_it_ends_the_session_and_takes_the_cookie_back(client: TestClient, stored: Callable[[], list[str]]) -> None:
    _ = client.post("/login/42")
    header = client.post("/clear").headers["set-cookie"]
    assert header.startswith("session=;") and "Max-Age=0" in header
    assert stored() == []


def test_who_kept_a_copy_of_the_cookie_has_nothing(client: TestClient) -> None:
    _ = client.post("/put", json={"a": 1})
    thief = TestClient(client.app, cookies=client.cookies)
    _ = client.post("/clear")
    assert thief.get("/show").json() == {}


def test_what_is_written_after_it_begins_a_session_without_the_user_under_a_new_id(
    client_of: Callable[..., TestClient], stored: Callable[[], list[str]]
) -> None:
    client = client_of(Route("/who", who), Route("/anew", anew))
    _ = client.post("/login/42")
    thief = TestClient(client.app, cookies=client.cookies)
    before = id_of(client)
    assert client.get("/anew").json() == {"b": 2}
    assert id_of(client) != before and len(stored()) == 1
    assert client.get("/who").json() == {"user": None, "values": {"b": 2}}
    assert thief.get("/who").json() == {"user": None, "values": {}}


def test_a_visitor_who_has_no_session_gets_no_cookie_by_it(client: TestClient, stored: Callable[[], list[str]]) -> None:
    answer = client.post("/clear")
    assert answer.json() == {} and "set-cookie" not in answer.headers and stored() == []


def test_in_a_stream_that_does_not_save_it_is_an_error_and_not_lost_in_silence(
    client_of: Callable[..., TestClient],
) -> None:
    async def stream(request: Request) -> Response:
        async def body() -> AsyncIterator[str]:
            yield "one"
            request.session.clear()

        return StreamingResponse(body())

    client = client_of(Route("/", stream))
    _ = client.post("/put", json={"a": 1})
    with pytest.raises(SessionClosed, match="not saved"):
        _ = client.get("/")


def test_in_a_websocket_it_ends_the_session_and_nothing_can_begin_a_new_one(
    client_of: Callable[..., TestClient], stored: Callable[[], list[str]]
) -> None:
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        websocket.session.clear()
        with pytest.raises(SessionClosed, match="a new session"):
            websocket.session["b"] = 2
        await websocket.session.save()  # type: ignore[attr-defined]
        await websocket.send_json(websocket.session)

    client = client_of(WebSocketRoute("/talk", talk))
    _ = client.post("/login/42")
    with client.websocket_connect("/talk") as websocket:
        assert websocket.receive_json() == {}
        assert stored() == []


def test_before_accept_the_cookie_is_taken_back_with_it(client_of: Callable[..., TestClient]) -> None:
    async def leave(websocket: WebSocket) -> None:
        websocket.session.clear()
        await websocket.accept()

    client = client_of(WebSocketRoute("/leave", leave))
    _ = client.post("/login/42")
    with client.websocket_connect("/leave") as websocket:
        cookie = dict(websocket.extra_headers or ())[b"set-cookie"]
    assert cookie.startswith(b"session=;")
    assert client.get("/show").json() == {}
