"""A login that ``max_sessions`` refuses is answered with 409: nothing is stored, and no cookie is sent."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket

from redis_mw import SessionLimitReached, Sessions, Settings, replace
from redis_mw.errors import Refusal

Full = Callable[..., TestClient]


@pytest.fixture
def full(client_of: Callable[..., TestClient], redis_mw_settings: Settings) -> Full:
    """As ``client_of``; the only session that the user 42 may have is another visitor's."""

    def make(*routes: Any, **arguments: Any) -> TestClient:
        client = client_of(*routes, settings=settings, **arguments)
        assert TestClient(client.app).post("/login/42").status_code == 200
        return client

    settings = replace(redis_mw_settings, sessions=Sessions(max_sessions=1, on_max="refuse"))
    return make


def test_one_session_too_many_is_a_conflict(full: Full, stored: Callable[[], list[str]]) -> None:
    client = full()
    before = stored()
    answer = client.post("/login/42")
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert (answer.json()["status"], answer.json()["title"]) == (409, "Conflict")
    assert not {"set-cookie", "retry-after"} & set(answer.headers)
    assert stored() == before


def test_a_browser_gets_it_as_text_and_keeps_the_session_of_before(full: Full) -> None:
    client = full()
    _ = client.post("/put", json={"a": 1})
    answer = client.post("/login/42", headers={"accept": "text/html"})
    assert answer.status_code == 409 and answer.text.startswith("409 Conflict")
    assert "set-cookie" not in answer.headers
    assert client.get("/show").json() == {"a": 1}


def test_the_hook_may_answer_or_leave_it(full: Full) -> None:
    def say(request: Request, refusal: Refusal) -> Response | None:
        assert isinstance(refusal, SessionLimitReached)
        return PlainTextResponse(f"{refusal.limit} {refusal.status}", 403) if "say" in request.query_params else None

    client = full(on_refuse=say)
    answer = client.post("/login/42?say")
    assert (answer.status_code, answer.text) == (403, "1 409")
    assert "set-cookie" not in answer.headers
    assert client.post("/login/42").status_code == 409


def test_a_handler_that_saves_by_itself_may_answer_for_it(full: Full, stored: Callable[[], list[str]]) -> None:
    async def careful(request: Request) -> Response:
        request.session.login("42")
        try:
            await request.session.save()
        except SessionLimitReached as error:
            request.session.clear()
            return JSONResponse({"limit": error.limit}, 403)
        raise AssertionError("there is a session already")

    client = full(Route("/careful", careful))
    before = stored()
    answer = client.get("/careful")
    assert (answer.status_code, answer.json()) == (403, {"limit": 1})
    assert "set-cookie" not in answer.headers and stored() == before


def test_a_handshake_that_logs_in_is_refused_alike(full: Full) -> None:
    async def enter(websocket: WebSocket) -> None:
        websocket.session.login("42")  # type: ignore[attr-defined]
        await websocket.accept()

    client = full(WebSocketRoute("/enter", enter))
    with pytest.raises(WebSocketDenialResponse) as refused:
        with client.websocket_connect("/enter"):
            pass
    assert refused.value.status_code == 409 and "set-cookie" not in refused.value.headers
