"""What visitors and handlers see while Redis is away."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from by_hand import until
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket

from redis_mw import AsyncRedisMW, RedisUnavailable, Rule, Sessions, SessionUnavailable, Settings, replace
from redis_mw.testing import count_round_trips, outage
from redis_mw_starlette import RedisMiddleware


@pytest.fixture
def mw(redis_mw_settings: Settings) -> AsyncRedisMW:
    return AsyncRedisMW(redis_mw_settings)


@pytest.fixture
def known(client_of: Callable[..., TestClient], mw: AsyncRedisMW) -> Iterator[Callable[..., TestClient]]:
    """As ``client_of``, with a session that holds ``{"a": 1}``, and a face that an outage can befall."""

    def make(*routes: Any, **arguments: Any) -> TestClient:
        client = client_of(*routes, **{"mw": mw, **arguments})
        _ = client.post("/put", json={"a": 1})
        return client

    yield make
    if "sync" in mw.__dict__:
        mw.sync.close()


def test_a_request_that_needs_its_session_gets_503_and_its_cookie_stays(
    known: Callable[..., TestClient], mw: AsyncRedisMW
) -> None:
    client = known()
    with outage(mw):
        for answer in (client.get("/show"), client.post("/put", json={"b": 2}), client.post("/logout")):
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == 503
            assert "set-cookie" not in answer.headers
    assert client.get("/show").json() == {"a": 1}


def test_a_browser_gets_the_503_as_text(known: Callable[..., TestClient], mw: AsyncRedisMW) -> None:
    client = known()
    with outage(mw):
        answer = client.get("/show", headers={"accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 503 and answer.headers["content-type"].startswith("text/plain")


def test_a_request_that_leaves_its_session_alone_is_served(known: Callable[..., TestClient], mw: AsyncRedisMW) -> None:
    client = known()
    with outage(mw):
        answer = client.get("/untouched")
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers


def test_a_visitor_without_a_cookie_may_read_and_not_write(
    client_of: Callable[..., TestClient], mw: AsyncRedisMW
) -> None:
    client = client_of(mw=mw)
    with outage(mw):
        assert client.get("/show").json() == {}
        answer = client.post("/put", json={"a": 1})
        assert answer.status_code == 503 and "set-cookie" not in answer.headers
    assert client.post("/put", json={"a": 1}).status_code == 200


USES: dict[str, Callable[[Any], object]] = {
    "mark_accessed": lambda session: session.mark_accessed(),
    "json": lambda session: json.dumps(session),
    "[]": lambda session: session["a"],
    "[]=": lambda session: session.__setitem__("a", 2),
    "del": lambda session: session.__delitem__("a"),
    "in": lambda session: "a" in session,
    "len": lambda session: len(session),
    "bool": lambda session: bool(session),
    "iter": lambda session: list(session),
    "reversed": lambda session: list(reversed(session)),
    "==": lambda session: session == {},
    "!=": lambda session: session != {},
    "|": lambda session: session | {},
    "| from the right": lambda session: {} | session,
    "|=": lambda session: session.__ior__({"a": 2}),
    "**": lambda session: {**session},
    "dict": lambda session: dict(session),
    "get": lambda session: session.get("a"),
    "keys": lambda session: session.keys(),
    "values": lambda session: session.values(),
    "items": lambda session: session.items(),
    "copy": lambda session: session.copy(),
    "pop": lambda session: session.pop("a", None),
    "popitem": lambda session: session.popitem(),
    "clear": lambda session: session.clear(),
    "setdefault": lambda session: session.setdefault("a", 1),
    "update": lambda session: session.update(a=1),
    "login": lambda session: session.login("42"),
    "logout": lambda session: session.logout(),
    "regenerate": lambda session: session.regenerate(),
    "user_id": lambda session: session.user_id,
    "handle": lambda session: session.handle,
    "created": lambda session: session.created,
    "last_seen": lambda session: session.last_seen,
    "fresh": lambda session: session.fresh(60),
    "revoked": lambda session: session.revoked(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_nothing_can_be_done_with_a_session_that_nobody_knows(
    known: Callable[..., TestClient], mw: AsyncRedisMW, use: Callable[[Any], object]
) -> None:
    async def view(request: Request) -> Response:
        session = request.scope["session"]
        with pytest.raises(SessionUnavailable):
            _ = use(session)
        return PlainTextResponse(f"{session.unavailable} {session!r} {session.modified}")

    client = known(Route("/", view))
    with outage(mw):
        assert client.get("/").text == "True <session: unavailable> False"
    assert client.get("/show").json() == {"a": 1}


def test_saving_and_reloading_say_so_too_until_redis_is_back(
    known: Callable[..., TestClient], mw: AsyncRedisMW
) -> None:
    async def view(request: Request) -> Response:
        session = request.scope["session"]
        for attempt in (session.save, session.reload):
            with pytest.raises(SessionUnavailable):
                await attempt()
        mw.driver.refuse_all = False
        await session.reload()
        return JSONResponse(session)

    client = known(Route("/", view))
    with outage(mw):
        assert client.get("/").json() == {"a": 1}


def test_a_handler_may_deal_with_it_itself(known: Callable[..., TestClient], mw: AsyncRedisMW) -> None:
    async def view(request: Request) -> Response:
        try:
            return JSONResponse(request.session)
        except SessionUnavailable:
            return JSONResponse({"guest": True})

    client = known(Route("/", view))
    with outage(mw):
        answer = client.get("/")
    assert answer.json() == {"guest": True}
    assert "set-cookie" not in answer.headers


def test_redis_gone_between_reading_and_writing_is_a_503_and_no_background_task_runs(
    known: Callable[..., TestClient], mw: AsyncRedisMW
) -> None:
    ran: list[str] = []

    async def view(request: Request) -> Response:
        from starlette.background import BackgroundTask

        request.session["a"] = 2
        mw.driver.refuse_all = True
        return JSONResponse({}, background=BackgroundTask(ran.append, "after"))

    client = known(Route("/", view))
    answer = client.get("/")
    assert answer.status_code == 503 and "set-cookie" not in answer.headers
    assert ran == []
    mw.driver.refuse_all = False
    assert client.get("/show").json() == {"a": 1}


def test_an_exception_handler_of_the_application_sees_it(known: Callable[..., TestClient], mw: AsyncRedisMW) -> None:
    async def sorry(request: Request, error: Exception) -> Response:
        return JSONResponse({"sorry": True}, 503)

    client = known()
    client.app.add_exception_handler(SessionUnavailable, sorry)  # type: ignore[attr-defined]
    client.app.middleware_stack = client.app.build_middleware_stack()  # type: ignore[attr-defined]
    with outage(mw):
        assert client.get("/show").json() == {"sorry": True}


def test_a_handler_for_it_does_not_hide_that_the_write_failed(
    known: Callable[..., TestClient], mw: AsyncRedisMW
) -> None:
    async def sorry(request: Request, error: Exception) -> Response:
        return JSONResponse({"sorry": True}, 503)

    async def view(request: Request) -> Response:
        request.session["a"] = 2
        mw.driver.refuse_all = True
        return JSONResponse({})

    client = known(Route("/", view))
    client.app.add_exception_handler(SessionUnavailable, sorry)  # type: ignore[attr-defined]
    client.app.middleware_stack = client.app.build_middleware_stack()  # type: ignore[attr-defined]
    answer = client.get("/")
    assert answer.status_code == 503 and answer.json()["title"] == "Service Unavailable"


def test_a_middleware_between_us_and_the_handler_does_not_hide_it(
    redis_mw_settings: Settings, mw: AsyncRedisMW
) -> None:
    async def dispatch(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        return response

    async def view(request: Request) -> Response:
        request.session["a"] = request.session.get("a", 0) + 1
        if request.method == "PUT":
            mw.driver.refuse_all = True
        return JSONResponse(request.session)

    middleware = [Middleware(RedisMiddleware, mw=mw), Middleware(BaseHTTPMiddleware, dispatch=dispatch)]
    client = TestClient(Starlette(routes=[Route("/", view, methods=["GET", "PUT"])], middleware=middleware))
    assert client.get("/").json() == {"a": 1}
    with outage(mw):
        assert client.get("/").status_code == 503
    assert client.put("/").status_code == 503
    mw.driver.refuse_all = False
    assert client.get("/").json() == {"a": 2}
    mw.sync.close()


def test_an_outage_in_the_middle_of_a_stream_passes_through_as_an_error(
    known: Callable[..., TestClient], mw: AsyncRedisMW
) -> None:
    async def view(request: Request) -> Response:
        async def body() -> Any:
            yield "one"
            request.session["a"] = 2
            mw.driver.refuse_all = True
            await request.session.save()

        return StreamingResponse(body())

    client = known(Route("/", view))
    with pytest.raises(SessionUnavailable):
        _ = client.get("/")
    mw.driver.refuse_all = False


async def listing(request: Request) -> Response:
    request.session["seen"] = 1
    mw: AsyncRedisMW = request.state.redis_mw.mw
    mw.driver.refuse_all = True
    return JSONResponse([info.handle for info in await mw.sessions.of_user(42)])


def test_what_the_direct_face_raises_is_a_503_unless_the_view_handles_it(
    known: Callable[..., TestClient], mw: AsyncRedisMW
) -> None:
    client = known(Route("/list", listing))
    answer = client.get("/list")
    mw.driver.refuse_all = False
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert int(answer.headers["retry-after"]) >= 1 and "set-cookie" not in answer.headers
    assert client.get("/show").json() == {"a": 1}


def test_the_hook_and_the_handlers_of_the_application_see_it_too(
    known: Callable[..., TestClient], mw: AsyncRedisMW
) -> None:
    async def sorry(request: Request, error: Exception) -> Response:
        return JSONResponse({"sorry": True}, 503)

    client = known(Route("/list", listing), on_refuse=sync_hook)
    assert client.get("/list").text == "/list 503 True"
    client.app.add_exception_handler(RedisUnavailable, sorry)  # type: ignore[attr-defined]
    client.app.middleware_stack = client.app.build_middleware_stack()  # type: ignore[attr-defined]
    mw.driver.refuse_all = False
    assert client.get("/list").json() == {"sorry": True}
    mw.driver.refuse_all = False


def test_what_it_raises_in_the_middle_of_a_stream_passes_through(
    known: Callable[..., TestClient], mw: AsyncRedisMW
) -> None:
    async def view(request: Request) -> Response:
        async def body() -> Any:
            yield "one"
            mw.driver.refuse_all = True
            _ = await mw.sessions.of_user(42)

        return StreamingResponse(body())

    client = known(Route("/", view))
    with pytest.raises(RedisUnavailable):
        _ = client.get("/")
    mw.driver.refuse_all = False


def sync_hook(request: Request, refusal: Any) -> Response:
    return PlainTextResponse(f"{request.url.path} {refusal.status} {refusal.retry_after > 0}", 418)


async def async_hook(request: Request, refusal: Any) -> Response:
    return sync_hook(request, refusal)


@pytest.mark.parametrize("hook", [sync_hook, async_hook])
def test_a_hook_may_answer_instead(known: Callable[..., TestClient], mw: AsyncRedisMW, hook: Any) -> None:
    client = known(on_refuse=hook)
    with outage(mw):
        answer = client.get("/show")
    assert (answer.status_code, answer.text) == (418, "/show 503 True")


def test_a_hook_may_leave_it(known: Callable[..., TestClient], mw: AsyncRedisMW) -> None:
    client = known(on_refuse=lambda request, refusal: None)
    with outage(mw):
        assert client.get("/show").status_code == 503


def test_as_an_anonymous_visitor_one_may_look_and_not_touch(
    known: Callable[..., TestClient], redis_mw_settings: Settings
) -> None:
    async def view(request: Request) -> Response:
        assert request.session.unavailable
        with pytest.raises(SessionUnavailable):
            request.session["b"] = 2
        return JSONResponse(request.session)

    mw = AsyncRedisMW(replace(redis_mw_settings, sessions=Sessions(on_outage="anonymous")))
    client = known(Route("/", view), mw=mw)
    with outage(mw):
        answer = client.get("/")
        assert answer.json() == {} and "set-cookie" not in answer.headers
        assert client.post("/put", json={"b": 2}).status_code == 503
    assert client.get("/show").json() == {"a": 1}
    mw.sync.close()


def test_a_path_that_requires_its_session_is_refused_before_the_handler_runs(
    known: Callable[..., TestClient], redis_mw_settings: Settings
) -> None:
    mw = AsyncRedisMW(replace(redis_mw_settings, rules=[Rule("/untouched", session="require")]))
    client = known(mw=mw)
    with outage(mw):
        assert client.get("/untouched").status_code == 503
    assert client.get("/untouched").status_code == 200
    mw.sync.close()


async def talk(websocket: WebSocket) -> None:
    greeting = dict(websocket.session)
    await websocket.accept()
    await websocket.send_json(greeting)


def test_a_websocket_that_needs_its_session_is_refused_with_503(
    known: Callable[..., TestClient], mw: AsyncRedisMW
) -> None:
    client = known(WebSocketRoute("/talk", talk))
    with outage(mw), pytest.raises(WebSocketDenialResponse) as refused:
        with client.websocket_connect("/talk"):
            pass
    assert refused.value.status_code == 503 and refused.value.json()["status"] == 503


@pytest.mark.parametrize("way", ["killed", "frozen"])
def test_a_server_that_is_killed_or_frozen_costs_a_503_and_not_the_session(
    client_of: Callable[..., TestClient], server: Any, redis_mw_settings: Settings, way: str
) -> None:
    settings = replace(redis_mw_settings, url=server.url, sessions=Sessions(patience=0.3))
    client = client_of(settings=settings)
    with client:
        until(lambda: client.post("/put", json={"a": 1}).status_code == 200, "a busy machine is not frozen for ever")
        if way == "killed":
            server.kill()
        else:
            server.freeze()
        try:
            for _ in range(3):
                answer = client.get("/show")
                assert answer.status_code == 503 and "set-cookie" not in answer.headers
            assert client.get("/untouched").status_code == 200
        finally:
            if way == "frozen":
                server.thaw()
        if way == "frozen":
            until(lambda: client.get("/show").json() == {"a": 1}, "the breaker opens the way again in its own time")


def test_a_server_that_was_never_there_lets_the_application_start(
    client_of: Callable[..., TestClient], redis_mw_settings: Settings
) -> None:
    settings = replace(redis_mw_settings, url="redis://127.0.0.1:1")
    with client_of(settings=settings) as client:
        assert client.get("/untouched").status_code == 200
        assert client.post("/put", json={"a": 1}).status_code == 503


def test_junk_cookies_in_an_outage_ask_nothing(client_of: Callable[..., TestClient], mw: AsyncRedisMW) -> None:
    client = client_of(mw=mw)
    with outage(mw), count_round_trips() as trips:
        assert client.get("/show", headers={"cookie": "session=junk"}).json() == {}
    assert trips.total == 0
