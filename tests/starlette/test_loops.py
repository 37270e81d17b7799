"""Event loops, start-up and shutdown: one loop for the server's life, or one for every request of a test."""

import asyncio
import gc
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from redis_mw import AsyncRedisMW, RedisUnavailable, Settings, current, replace
from redis_mw_starlette import RedisMiddleware


def test_a_test_client_without_with_runs_every_request_on_a_loop_of_its_own(client: TestClient) -> None:
    for number in range(5):
        _ = client.post("/put", json={str(number): number})
    assert len(client.get("/show").json()) == 5
    gc.collect()  # an unclosed connection would be a warning, and warnings are errors


def test_a_shared_face_survives_that_too(client_of: Callable[..., TestClient], redis_mw_settings: Settings) -> None:
    client = client_of(mw=AsyncRedisMW(redis_mw_settings))
    for number in range(3):
        _ = client.post("/put", json={str(number): number})
    assert len(client.get("/show").json()) == 3
    gc.collect()


def test_requests_beside_an_open_websocket_of_another_loop_are_served(client_of: Callable[..., TestClient]) -> None:
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        _ = await websocket.receive_text()
        await websocket.session.reload()
        await websocket.send_json(websocket.session)

    client = client_of(WebSocketRoute("/echo", echo))
    _ = client.post("/put", json={"a": 1})
    with client.websocket_connect("/echo") as websocket:
        _ = client.post("/put", json={"a": 2})
        websocket.send_text("")
        assert websocket.receive_json() == {"a": 2}


def test_an_application_may_be_started_and_stopped_again_and_again(client: TestClient) -> None:
    for number in range(3):
        with client:
            _ = client.post("/put", json={str(number): number})
    with client:
        assert len(client.get("/show").json()) == 3
    gc.collect()


def test_on_one_loop_too_an_application_that_was_shut_down_may_start_again(
    app_of: Callable[..., Starlette],
) -> None:
    async def life(app: Any) -> int:
        starting = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
        statuses: list[int] = []

        async def receive() -> dict[str, str]:
            message = starting.pop(0)
            if message["type"] == "lifespan.shutdown":
                transport = httpx2.ASGITransport(app=app)
                async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
                    statuses.append((await client.post("/put", json={"a": 1})).status_code)
                    statuses.append((await client.get("/show")).status_code)
            return message

        async def send(message: Any) -> None: ...

        await app({"type": "lifespan", "state": {}}, receive, send)
        return max(statuses)

    async def main() -> None:
        app = app_of()
        assert [await life(app), await life(app)] == [200, 200]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_shutdown_closes_its_own_face_before_the_server_hears_of_it_and_leaves_a_shared_one(
    redis_mw_settings: Settings,
) -> None:
    async def main() -> None:
        shared = AsyncRedisMW(redis_mw_settings)
        for mw in (None, shared):
            faces: list[AsyncRedisMW] = []

            async def view(scope: Any, receive: Any, send: Any, faces: list[AsyncRedisMW] = faces) -> None:
                if scope["type"] == "http":
                    await current().mw.ping()
                    faces.append(current().mw)
                    return
                for word in ("startup", "shutdown"):
                    _ = await receive()
                    await send({"type": f"lifespan.{word}.complete"})

            app = RedisMiddleware(view, redis_mw_settings, mw=mw)

            async def receive(app: Any = app) -> dict[str, str]:
                http = {"type": "http", "method": "GET", "path": "/", "headers": []}
                await app(http, receive, send)
                return {"type": "lifespan.anything"}

            async def send(message: Any, faces: list[AsyncRedisMW] = faces, mw: Any = mw) -> None:
                if message["type"] == "lifespan.shutdown.complete":
                    if mw is None:
                        with pytest.raises(RedisUnavailable):
                            await faces[0].ping()
                    else:
                        await faces[0].ping()

            await app({"type": "lifespan"}, receive, send)
            assert len(faces) == 2
        await shared.aclose()

    asyncio.run(main())


def test_an_eager_application_does_not_start_without_redis(redis_mw_settings: Settings) -> None:
    settings = replace(redis_mw_settings, url="redis://127.0.0.1:1", connect="eager")
    app = Starlette()
    app.add_middleware(RedisMiddleware, settings=settings)
    with pytest.raises(RedisUnavailable), TestClient(app):
        pass


def test_an_eager_application_starts_with_redis(
    client_of: Callable[..., TestClient], redis_mw_settings: Settings
) -> None:
    with client_of(settings=replace(redis_mw_settings, connect="eager")) as client:
        assert client.get("/untouched").status_code == 200


def test_other_scopes_pass_through() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    middleware = RedisMiddleware(app, secret_key="x" * 32)
    asyncio.run(middleware({"type": "cron"}, None, None))  # type: ignore[arg-type]
    assert seen == ["cron"]


def test_under_trio_it_says_so(redis_mw_settings: Settings) -> None:
    """Without trio at hand: what makes trio different here is that no asyncio loop runs."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it was not reached")

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    coroutine: Any = RedisMiddleware(app, redis_mw_settings)(scope, None, None)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="trio"):
        coroutine.send(None)


async def slow_stream(request: Request) -> Response:
    from starlette.responses import StreamingResponse

    async def body() -> Any:
        for number in range(1000):
            request.session["number"] = number
            await request.session.save()
            yield b"x" * 1000
            await asyncio.sleep(0.01)

    return StreamingResponse(body())


async def watch(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json(websocket.session)
    async for _ in websocket.session.revoked():
        await websocket.close(4401)


@contextmanager
def served(app: Any, loop: str) -> Iterator[str]:
    """The application under uvicorn in a thread; its address."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        config = uvicorn.Config(app, loop=loop, log_config=None, lifespan="on", ws="websockets-sansio")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([door],))
        thread.start()
        try:
            yield f"127.0.0.1:{door.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_under_uvicorn_sessions_websockets_and_rude_visitors_go_together(
    app_of: Callable[..., Starlette], loop: str
) -> None:
    app = app_of(Route("/stream", slow_stream), WebSocketRoute("/watch", watch))
    with served(app, loop) as address, httpx2.Client(base_url=f"http://{address}") as client:
        assert client.post("/put", json={"a": 1}).json() == {"a": 1}
        for _ in range(5):
            with client.stream("GET", "/stream") as response:  # hangs up in the middle
                _ = next(response.iter_raw())
        assert client.get("/show").json()["a"] == 1
        cookie = {"Cookie": f"session={client.cookies['session']}"}
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://{address}/watch", additional_headers=cookie, origin="http://evil.example")  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403
        with connect(f"ws://{address}/watch", additional_headers=cookie) as websocket:
            assert '"a":1' in str(websocket.recv(10))
            assert client.post("/logout").status_code == 200
            with pytest.raises(ConnectionClosed) as closed:
                _ = websocket.recv(10)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 4401
        assert client.get("/show").json() == {}


def test_many_visitors_at_once_each_see_their_own_session(app_of: Callable[..., Starlette]) -> None:
    async def visitor(app: Any, number: int) -> None:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
            for step in range(5):
                assert (await client.post("/put", json={f"step{step}": number})).status_code == 200
            assert (await client.get("/show")).json() == {f"step{step}": number for step in range(5)}

    async def main() -> None:
        app = app_of(Route("/json", lambda request: JSONResponse({})))
        _ = await asyncio.gather(*(visitor(app, number) for number in range(50)))

    asyncio.run(main())
