"""The session of a WebSocket: loaded at the handshake, written before accept or when asked, watched for its end."""

import threading
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from redis_mw import AsyncRedisMW, SessionClosed, Sessions, SessionUnavailable, Settings, current, replace
from redis_mw.events import Event
from redis_mw.testing import count_round_trips, outage
from redis_mw_starlette import origin


async def greet(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json(websocket.session)
    await websocket.close()


async def remember(websocket: WebSocket) -> None:
    websocket.session["before"] = 1
    await websocket.accept()
    websocket.session["after"] = 2
    await websocket.session.save()
    await websocket.send_json(websocket.session)
    await websocket.close()


async def forget(websocket: WebSocket) -> None:
    await websocket.accept()
    websocket.session["unsaved"] = 1
    await websocket.close()


async def watch(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json({"watching": True})
    async for _ in websocket.session.revoked():
        await websocket.close(4401)
        return
    await websocket.close(4000)


SOCKETS = [
    WebSocketRoute("/greet", greet),
    WebSocketRoute("/remember", remember),
    WebSocketRoute("/forget", forget),
    WebSocketRoute("/watch", watch),
]


def headers_of(websocket: Any) -> dict[bytes, bytes]:
    return dict(websocket.extra_headers or ())


def test_the_session_is_loaded_at_the_handshake_in_one_trip(client_of: Callable[..., TestClient]) -> None:
    client = client_of(*SOCKETS)
    _ = client.post("/put", json={"a": 1})
    with count_round_trips() as trips, client.websocket_connect("/greet") as websocket:
        assert websocket.receive_json() == {"a": 1}
    assert trips.total == 1


def test_without_a_cookie_a_handshake_asks_nothing(client_of: Callable[..., TestClient]) -> None:
    with count_round_trips() as trips, client_of(*SOCKETS).websocket_connect("/greet") as websocket:
        assert websocket.receive_json() == {}
        assert b"set-cookie" not in headers_of(websocket)
    assert trips.total == 0


def test_what_is_written_before_accept_is_stored_and_its_cookie_goes_with_accept(
    client_of: Callable[..., TestClient],
) -> None:
    client = client_of(*SOCKETS)
    with client.websocket_connect("/remember") as websocket:
        assert websocket.receive_json() == {"before": 1, "after": 2}
        cookie = headers_of(websocket)[b"set-cookie"].decode()
    assert cookie.startswith("session=")
    client.cookies["session"] = cookie.partition(";")[0].partition("=")[2]
    assert client.get("/show").json() == {"before": 1, "after": 2}


def test_a_write_after_accept_that_nobody_saves_is_an_error(client_of: Callable[..., TestClient]) -> None:
    client = client_of(*SOCKETS)
    _ = client.post("/put", json={"a": 1})
    with pytest.raises(SessionClosed, match="not saved"):
        with client.websocket_connect("/forget") as websocket:
            _ = websocket.receive()
    assert client.get("/show").json() == {"a": 1}


def test_a_first_write_after_accept_is_an_error_as_no_cookie_can_tell_of_it(
    client_of: Callable[..., TestClient], stored: Callable[[], list[str]]
) -> None:
    with pytest.raises(SessionClosed, match="has started"):
        with client_of(*SOCKETS).websocket_connect("/forget") as websocket:
            _ = websocket.receive()
    assert stored() == []


def test_two_tasks_of_a_websocket_may_save_at_once(client_of: Callable[..., TestClient]) -> None:
    import asyncio

    async def busy(websocket: WebSocket) -> None:
        await websocket.accept()

        async def write(number: int) -> None:
            websocket.session[str(number)] = number
            await websocket.session.save()

        await asyncio.gather(*(write(number) for number in range(20)))
        await websocket.send_json({})

    client = client_of(WebSocketRoute("/busy", busy))
    _ = client.post("/put", json={"a": 1})
    with client.websocket_connect("/busy") as websocket:
        _ = websocket.receive_json()
    assert client.get("/show").json() == {"a": 1, **{str(number): number for number in range(20)}}


ENDS: dict[str, Callable[[TestClient], object]] = {
    "logout": lambda client: client.post("/logout"),
    "an emptied session": lambda client: client.post("/clear"),
    "revocation": lambda client: client.get("/revoke"),
}


async def revoke(request: Request) -> Response:
    count = await current().mw.sessions.revoke_user("42")
    return JSONResponse({"count": count})


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_websocket_is_told_when_its_session_ends(
    client_of: Callable[..., TestClient], end: Callable[[TestClient], object]
) -> None:
    client = client_of(*SOCKETS, Route("/revoke", revoke))
    _ = client.post("/put", json={"a": 1})
    if end is ENDS["revocation"]:
        _ = client.post("/login/42")
    with client.websocket_connect("/watch") as websocket:
        assert websocket.receive_json() == {"watching": True}
        _ = end(client)
        with pytest.raises(WebSocketDisconnect) as closed:
            _ = websocket.receive_json()
    assert closed.value.code == 4401


def test_a_websocket_follows_a_session_that_gets_a_new_id(client_of: Callable[..., TestClient]) -> None:
    client = client_of(*SOCKETS)
    _ = client.post("/put", json={"a": 1})
    with client.websocket_connect("/watch") as websocket:
        assert websocket.receive_json() == {"watching": True}
        _ = client.post("/regenerate")
        _ = client.post("/login/42")
        _ = client.post("/put", json={"b": 2})
        told: list[int] = []

        def listen() -> None:
            try:
                _ = websocket.receive_json()
            except WebSocketDisconnect as closed:
                told.append(closed.code)

        listener = threading.Thread(target=listen)
        listener.start()
        assert client.get("/show").json() == {"a": 1, "b": 2}
        assert told == []
        _ = client.post("/logout")
        listener.join(10)
    assert told == [4401]


def test_a_websocket_is_told_when_its_session_is_idle_for_too_long(
    client_of: Callable[..., TestClient], redis_mw_settings: Settings
) -> None:
    settings = replace(redis_mw_settings, sessions=Sessions(idle=0.5, anonymous_idle=0.5))
    client = client_of(*SOCKETS, settings=settings)
    _ = client.post("/put", json={"a": 1})
    with client.websocket_connect("/watch") as websocket:
        assert websocket.receive_json() == {"watching": True}
        with pytest.raises(WebSocketDisconnect) as closed:
            _ = websocket.receive_json()
    assert closed.value.code == 4401


def test_where_nothing_is_stored_there_is_nothing_to_watch(client_of: Callable[..., TestClient]) -> None:
    with client_of(*SOCKETS).websocket_connect("/watch") as websocket:
        assert websocket.receive_json() == {"watching": True}
        with pytest.raises(WebSocketDisconnect) as closed:
            _ = websocket.receive_json()
    assert closed.value.code == 4000


def test_a_watching_websocket_that_hangs_up_leaves_nothing_running(client_of: Callable[..., TestClient]) -> None:
    import asyncio

    left: list[asyncio.Task[Any]] = []

    async def polite(websocket: WebSocket) -> None:
        await websocket.accept()

        async def kick() -> None:
            async for _ in websocket.session.revoked():
                await websocket.close(4401)

        kicking = asyncio.create_task(kick())
        await websocket.send_json({})
        _ = await websocket.receive()
        kicking.cancel()
        _ = await asyncio.wait({kicking})
        await asyncio.sleep(0.05)
        left.extend(asyncio.all_tasks() - {asyncio.current_task()})

    client = client_of(WebSocketRoute("/", polite))
    _ = client.post("/put", json={"a": 1})
    with client.websocket_connect("/") as websocket:
        _ = websocket.receive_json()
    assert [task for task in left if "redis_mw" in repr(task.get_coro())] == []


ORIGINS = [
    ("ws://testserver", "http://testserver", True),
    ("ws://testserver", "http://testserver:80", True),
    ("ws://testserver", "https://testserver", True),  # a proxy in front ended TLS
    ("ws://testserver:8000", "http://testserver:8000", True),
    ("ws://testserver", "HTTP://TestServer", True),
    ("ws://testserver", "https://listed.example", True),
    ("ws://testserver", None, True),
    ("wss://testserver", "https://testserver", True),
    ("wss://testserver", "https://testserver:443", True),
    ("wss://testserver", "http://testserver", False),
    ("ws://testserver", "http://testserver:8000", False),
    ("ws://testserver:8000", "http://testserver", False),
    ("ws://testserver", "http://evil.example", False),
    ("ws://testserver", "http://testserver.evil.example", False),
    ("ws://testserver", "http://evil.example/testserver", False),
    ("ws://testserver", "http://testserver@evil.example", False),
    ("ws://testserver", "http://listed.example", False),
    ("ws://testserver", "null", False),
    ("ws://testserver", "", False),
    ("ws://testserver", "http://", False),
    ("ws://testserver", "http://testserver:port", False),
    ("ws://testserver", "http://[", False),
    ("ws://testserver", "chrome-extension://testserver", False),
]


@pytest.mark.parametrize(("url", "page", "welcome"), ORIGINS)
def test_a_page_of_another_origin_may_not_use_the_visitors_session(
    client_of: Callable[..., TestClient],
    redis_mw_settings: Settings,
    url: str,
    page: str | None,
    welcome: bool,
) -> None:
    settings = replace(redis_mw_settings, sessions=Sessions(websocket_origins=["https://listed.example"]))
    base_url = url.replace("ws", "http", 1)
    client = client_of(*SOCKETS, settings=settings, base_url=base_url)
    _ = client.post("/put", json={"a": 1})
    headers = {} if page is None else {"origin": page}
    if welcome:
        with client.websocket_connect(f"{url}/greet", headers=headers) as websocket:
            assert websocket.receive_json() == {"a": 1}
        return
    with count_round_trips() as trips, pytest.raises(WebSocketDenialResponse) as refused:
        with client.websocket_connect(f"{url}/greet", headers=headers):
            pass
    assert refused.value.status_code == 403
    assert trips.total == 0


def test_a_refused_page_is_told_of_by_an_event_each_time_and_a_warning_once(
    client_of: Callable[..., TestClient],
    redis_mw_settings: Settings,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(origin, "_refusals", count())
    heard: list[Event] = []
    client = client_of(*SOCKETS, settings=replace(redis_mw_settings, on_event=[heard.append]))
    _ = client.post("/put", json={"a": 1})
    heard.clear()
    for _attempt in range(2):
        with pytest.raises(WebSocketDenialResponse):
            with client.websocket_connect("/greet", headers={"origin": "https://shop.example:8443"}):
                pass
    assert [(event.name, event.outcome) for event in heard] == [("session.rejected", "origin")] * 2
    (warning,) = [record for record in caplog.records if record.name == "redis_mw.sessions"]
    for part in ("'https://shop.example:8443'", "'shop.example'", "'testserver'", "sessions.websocket_origins"):
        assert part in warning.getMessage()


def test_planted_junk_does_not_hide_the_session_nor_its_cookie_from_the_check(
    client_of: Callable[..., TestClient],
) -> None:
    client = client_of(*SOCKETS)
    good = client.post("/put", json={"a": 1}).cookies["session"]
    client.cookies.clear()
    for planted in (f"session=junk; session={good}", f"session=; session={good}", f"session={good}; session=junk"):
        assert client.get("/show", headers={"cookie": planted}).json() == {"a": 1}
        with client.websocket_connect("/greet", headers={"cookie": planted}) as websocket:
            assert websocket.receive_json() == {"a": 1}
        with pytest.raises(WebSocketDenialResponse):
            with client.websocket_connect("/greet", headers={"cookie": planted, "origin": "http://evil.example"}):
                pass


def test_a_foreign_page_without_a_session_cookie_is_none_of_our_business(client_of: Callable[..., TestClient]) -> None:
    client = client_of(*SOCKETS)
    with client.websocket_connect("/greet", headers={"origin": "http://evil.example"}) as websocket:
        assert websocket.receive_json() == {}


def test_a_server_that_cannot_send_a_refusal_closes_before_accept(client_of: Callable[..., TestClient]) -> None:
    client = client_of(*SOCKETS)
    _ = client.post("/put", json={"a": 1})

    async def without_extension(scope: Any, receive: Any, send: Any) -> None:
        await client.app({**scope, "extensions": {}}, receive, send)

    bare = TestClient(without_extension, cookies=client.cookies)
    with pytest.raises(WebSocketDisconnect) as closed:
        with bare.websocket_connect("/greet", headers={"origin": "http://evil.example"}):
            pass
    assert closed.value.code == 1008


def test_a_hook_may_answer_a_handshake_instead(
    client_of: Callable[..., TestClient], redis_mw_settings: Settings
) -> None:
    def hook(websocket: WebSocket, refusal: SessionUnavailable) -> Response:
        assert isinstance(websocket, WebSocket)
        return PlainTextResponse("later", 418)

    async def needs(websocket: WebSocket) -> None:
        _ = websocket.session["a"]

    mw = AsyncRedisMW(redis_mw_settings)
    client = client_of(WebSocketRoute("/needs", needs), mw=mw, on_refuse=hook)
    _ = client.post("/put", json={"a": 1})
    with outage(mw), pytest.raises(WebSocketDenialResponse) as refused:
        with client.websocket_connect("/needs"):
            pass
    assert (refused.value.status_code, refused.value.text) == (418, "later")
    mw.sync.close()


def test_redis_gone_before_accept_is_a_refusal_and_not_a_lost_write(
    client_of: Callable[..., TestClient], redis_mw_settings: Settings
) -> None:
    mw = AsyncRedisMW(redis_mw_settings)

    async def writes(websocket: WebSocket) -> None:
        websocket.session["a"] = 1
        mw.driver.refuse_all = True
        await websocket.accept()
        raise AssertionError("it was not accepted")

    with pytest.raises(WebSocketDenialResponse) as refused:
        with client_of(WebSocketRoute("/writes", writes), mw=mw).websocket_connect("/writes"):
            pass
    assert refused.value.status_code == 503


def test_the_applications_own_headers_of_accept_are_kept(client_of: Callable[..., TestClient]) -> None:
    async def chosen(websocket: WebSocket) -> None:
        websocket.session["a"] = 1
        await websocket.accept(subprotocol="chat", headers=[(b"x-own", b"1")])
        await websocket.close()

    client = client_of(WebSocketRoute("/chosen", chosen))
    with client.websocket_connect("/chosen", subprotocols=["chat"]) as websocket:
        assert websocket.accepted_subprotocol == "chat"
        assert {b"x-own", b"set-cookie"} <= headers_of(websocket).keys()


def test_a_refused_handshake_of_the_application_passes_through(client_of: Callable[..., TestClient]) -> None:
    async def refuses(websocket: WebSocket) -> None:
        websocket.session["tried"] = 1
        await websocket.send_denial_response(PlainTextResponse("no", 404))

    client = client_of(WebSocketRoute("/no", refuses))
    with pytest.raises(WebSocketDenialResponse) as refused:
        with client.websocket_connect("/no"):
            pass
    assert refused.value.status_code == 404
    client.cookies["session"] = refused.value.headers["set-cookie"].partition(";")[0].partition("=")[2]
    assert client.get("/show").json() == {"tried": 1}


def test_a_handshake_that_the_application_closes_cannot_carry_a_cookie(client_of: Callable[..., TestClient]) -> None:
    async def closes(websocket: WebSocket) -> None:
        await websocket.close()
        websocket.session["a"] = 1

    with pytest.raises(SessionClosed):
        with client_of(WebSocketRoute("/no", closes)).websocket_connect("/no"):
            pass
