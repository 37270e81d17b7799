"""How the arguments of RedisMiddleware, the settings and the environment come together at the start."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from redis_mw import AsyncRedisMW, Cookie, Sessions, Settings, SettingsError, replace
from redis_mw_starlette import RedisMiddleware

SECRET = "a secret of the tests, long enough"


async def nothing(*_: Any) -> None:
    pass


def with_cookie(**cookie: Any) -> Settings:
    return Settings(secret=SECRET, sessions=Sessions(cookie=Cookie(**cookie)))


@pytest.mark.parametrize(
    ("settings", "arguments", "path"),
    [
        (with_cookie(name="one"), {"session_cookie": "two"}, "session_cookie"),
        (with_cookie(path="/one"), {"path": "/two"}, "path"),
        (with_cookie(domain="one.example"), {"domain": "two.example"}, "domain"),
        (with_cookie(same_site="strict"), {"same_site": "lax"}, "same_site"),
        (with_cookie(secure=True), {"https_only": False}, "https_only"),
        (with_cookie(secure=False), {"https_only": True}, "https_only"),
        (with_cookie(secure=True, same_site="none", partitioned=True), {"partitioned": False}, "partitioned"),
        (with_cookie(persistent=False), {"max_age": 60}, "max_age"),
        (Settings(secret=SECRET), {"secret_key": "another secret, which is as long"}, "secret_key"),
        (Settings(secret=SECRET), {"old_secret_keys": ["an older secret, which is as long"]}, "old_secret_keys"),
        (Settings(secret=SECRET), {"secret_key": SECRET, "old_secret_keys": ["an older one"]}, "old_secret_keys"),
        (Settings(), {"old_secret_keys": ["an older secret, which is as long"]}, "old_secret_keys"),
        (Settings(secret=SECRET), {"same_site": "none"}, "https_only"),
        (Settings(secret=SECRET), {"partitioned": True, "same_site": "none"}, "https_only"),
        (Settings(secret=SECRET), {"partitioned": True, "https_only": True}, "sessions.cookie.partitioned"),
        (Settings(secret=SECRET), {"same_site": "sometimes"}, "sessions.cookie.same_site"),
        (Settings(secret=SECRET), {"path": "shop"}, "sessions.cookie.path"),
        (Settings(secret=SECRET), {"session_cookie": "__Host-x"}, "sessions.cookie.secure"),
        (Settings(secret=SECRET), {"max_age": 0}, "max_age"),
        (Settings(secret=SECRET), {"max_age": "3600"}, "max_age"),
        (Settings(secret=SECRET), {"max_age": True}, "max_age"),
        (Settings(), {}, "secret"),
        ("a secret key given by position", {}, "settings"),
    ],
)
def test_what_contradicts_is_an_error_at_the_start(settings: Any, arguments: dict[str, Any], path: str) -> None:
    with pytest.raises(SettingsError) as raised:
        _ = RedisMiddleware(nothing, settings, **arguments)
    assert path in [problem.path for problem in raised.value.problems]


def test_all_that_contradicts_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as raised:
        _ = RedisMiddleware(nothing, with_cookie(name="one", path="/one"), session_cookie="two", path="/two")
    assert [problem.path for problem in raised.value.problems] == ["session_cookie", "path"]


def test_the_same_said_twice_is_no_contradiction() -> None:
    settings = with_cookie(name="one", path="/one", secure=True)
    _ = RedisMiddleware(nothing, settings, session_cookie="one", path="/one", https_only=True, secret_key=SECRET)


def test_what_only_one_of_both_says_holds(client_of: Callable[..., TestClient], redis_mw_settings: Settings) -> None:
    settings = replace(redis_mw_settings, sessions=Sessions(cookie=Cookie(name="shop")))
    header = client_of(settings=settings, same_site="strict").post("/put", json={"a": 1}).headers["set-cookie"]
    assert header.startswith("shop=") and header.endswith("SameSite=Strict")


def test_a_short_key_of_the_frameworks_own_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        _ = RedisMiddleware(nothing, Settings(), secret_key="short")
    assert "secret_key" in caplog.text


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, redis_mw_settings: Settings) -> None:
    from starlette.requests import Request
    from starlette.responses import JSONResponse

    async def view(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        request.session["a"] = request.state.redis_mw.mw.settings.prefix
        await JSONResponse(request.session)(scope, receive, send)

    monkeypatch.setenv("REDIS_MW_URL", str(redis_mw_settings.url))
    monkeypatch.setenv("REDIS_MW_PREFIX", redis_mw_settings.prefix)
    client = TestClient(RedisMiddleware(view, secret_key=SECRET))
    assert client.get("/").json() == {"a": redis_mw_settings.prefix}


def test_a_shared_face_brings_its_settings_and_others_are_an_error() -> None:
    mw = AsyncRedisMW(Settings(secret=SECRET))
    _ = RedisMiddleware(nothing, mw=mw)
    _ = RedisMiddleware(nothing, Settings(secret=SECRET), mw=mw)
    with pytest.raises(SettingsError, match="not those of mw"):
        _ = RedisMiddleware(nothing, Settings(secret=SECRET, prefix="other"), mw=mw)


def test_with_sessions_turned_off_there_is_a_context_and_no_session(redis_mw_settings: Settings) -> None:
    from starlette.requests import Request
    from starlette.responses import JSONResponse

    from redis_mw import current

    async def view(scope: Any, receive: Any, send: Any) -> None:
        assert current() is Request(scope, receive).state.redis_mw
        await JSONResponse({"session": current().session, "in_scope": "session" in scope})(scope, receive, send)

    app = RedisMiddleware(view, replace(redis_mw_settings, sessions=None, secret=""))
    assert TestClient(app).get("/").json() == {"session": None, "in_scope": False}


def test_a_secret_of_starlettes_own_kind_is_taken() -> None:
    from starlette.datastructures import Secret

    _ = RedisMiddleware(nothing, Settings(), secret_key=Secret(SECRET))
