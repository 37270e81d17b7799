"""FastAPI: the same middleware, and what endpoints can ask for as parameters."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.testclient import TestClient
from starlette.middleware import Middleware

from redis_mw import AsyncRedisMW, LayerMissing, RedisMW, Settings, current, replace
from redis_mw.testing import count_round_trips, outage
from redis_mw_starlette import MW, RedisMiddleware, RequestSession, Session, SyncMW


def shop(**arguments: Any) -> FastAPI:
    app = FastAPI(middleware=[Middleware(RedisMiddleware, **arguments)])
    router = APIRouter(prefix="/shop")

    @app.get("/untouched")
    async def untouched() -> dict[str, bool]:
        return {"untouched": True}

    @app.get("/cart")
    async def cart(session: Session) -> dict[str, Any]:
        assert isinstance(session, RequestSession) and session is current().session
        return session

    @router.post("/cart/{product}")
    async def add(product: str, session: Session, count: int = 1) -> dict[str, Any]:
        session.setdefault("lines", []).append([product, count])
        return {"lines": session["lines"]}

    @router.post("/login/{user}")
    def login(user: str, session: Session, mw: SyncMW) -> dict[str, Any]:
        assert isinstance(mw, RedisMW)
        session.login(user)
        return {"before": len(mw.sessions.of_user(user))}

    @router.get("/mine")
    async def mine(session: Session, mw: MW) -> int:
        assert isinstance(mw, AsyncRedisMW)
        return len(await mw.sessions.of_user(session.user_id))

    @app.websocket("/ws")
    async def ws(websocket: WebSocket, session: Session, mw: MW) -> None:
        await websocket.accept()
        await mw.ping()
        await websocket.send_json(session)
        await websocket.close()

    app.include_router(router)
    return app


def test_a_cart_is_filled_and_read(redis_mw_settings: Settings) -> None:
    with TestClient(shop(settings=redis_mw_settings)) as client:
        assert client.get("/cart").json() == {}
        assert client.post("/shop/cart/tea").json() == {"lines": [["tea", 1]]}
        with count_round_trips() as trips:
            assert client.post("/shop/cart/milk?count=2").json() == {"lines": [["tea", 1], ["milk", 2]]}
        assert (trips.awaited, trips.detached) == (2, 0)
        with count_round_trips() as trips:
            assert client.get("/cart").json() == {"lines": [["tea", 1], ["milk", 2]]}
        assert (trips.awaited, trips.detached) == (1, 0)
        with client.websocket_connect("/ws") as websocket:
            assert websocket.receive_json() == {"lines": [["tea", 1], ["milk", 2]]}


def test_both_faces_are_at_hand(redis_mw_settings: Settings) -> None:
    with TestClient(shop(settings=redis_mw_settings)) as client:
        assert client.post("/shop/login/42").json() == {"before": 0}
        assert client.get("/shop/mine").json() == 1


def test_starlettes_arguments_are_a_drop_in(redis_mw_settings: Settings) -> None:
    app = shop(settings=replace(redis_mw_settings, secret=""), secret_key="x" * 32, max_age=3600)
    with TestClient(app) as client:
        assert "Max-Age=3600" in client.post("/shop/cart/tea").headers["set-cookie"]


def test_an_endpoint_that_asks_for_the_session_in_an_outage_gets_503(redis_mw_settings: Settings) -> None:
    mw = AsyncRedisMW(redis_mw_settings)
    with TestClient(shop(mw=mw)) as client:
        _ = client.post("/shop/cart/tea")
        with outage(mw):
            assert client.get("/cart").status_code == 503
            assert client.get("/untouched").status_code == 200
        assert client.get("/cart").json() == {"lines": [["tea", 1]]}
    mw.sync.close()


def test_without_the_middleware_or_without_sessions_it_says_what_is_missing(redis_mw_settings: Settings) -> None:
    app = FastAPI()

    @app.get("/")
    async def view(session: Session) -> None: ...

    with pytest.raises(LayerMissing):
        _ = TestClient(app).get("/")
    with pytest.raises(LayerMissing):
        _ = TestClient(shop(settings=replace(redis_mw_settings, sessions=None))).get("/cart")


def test_a_dependency_with_yield_may_still_change_the_session(redis_mw_settings: Settings) -> None:
    app = FastAPI(middleware=[Middleware(RedisMiddleware, settings=redis_mw_settings)])

    async def counted(session: Session) -> Any:
        session["visits"] = session.get("visits", 0) + 1
        yield session["visits"]

    @app.get("/")
    async def view(visits: int = Depends(counted)) -> int:
        return visits

    client = TestClient(app)
    assert [client.get("/").json() for _ in range(3)] == [1, 2, 3]


def run_without(module: str, code: str) -> "subprocess.CompletedProcess[str]":
    hide = f"import sys; sys.modules[{module!r}] = None; "
    return subprocess.run([sys.executable, "-c", hide + code], capture_output=True, text=True, check=False)


def test_fastapi_is_needed_only_for_its_parameters() -> None:
    ran = run_without("fastapi", "import redis_mw_starlette as r; print(r.RedisMiddleware.__name__); r.Session")
    assert ran.stdout == "RedisMiddleware\n"
    assert 'pip install "redis-mw[fastapi]"' in ran.stderr


def test_a_missing_starlette_names_the_extra() -> None:
    ran = run_without("starlette", "import redis_mw_starlette")
    assert 'pip install "redis-mw[starlette]"' in ran.stderr


def test_an_unknown_name_is_an_attribute_error(app_of: Callable[..., Any]) -> None:
    import redis_mw_starlette

    with pytest.raises(AttributeError):
        _ = redis_mw_starlette.Nothing
