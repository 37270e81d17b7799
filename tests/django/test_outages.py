"""Redis away, under Django: 503 for who needs the session, service for who does not, and the cookie stays."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from by_hand import until
from django.test import AsyncClient, Client

from redis_mw.engine.embedded import start_embedded
from redis_mw.errors import SessionUnavailable
from redis_mw.settings import Settings, replace
from redis_mw.testing import outage
from redis_mw_django import amw, mw
from redis_mw_django.sessions import SessionStore


@pytest.fixture
def client() -> Client:
    client = Client()
    _ = client.get("/write/?x=1")
    return client


@pytest.mark.parametrize(
    "path", ["/read/", "/write/?x=2", "/flush/", "/unbind/", "/bind/?user=7", "/aread/", "/awrite/?x=2"]
)
def test_who_needs_the_session_gets_a_503_and_keeps_the_cookie(client: Client, path: str) -> None:
    with outage(mw):
        response = client.get(path)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert response.headers["Content-Type"] == "application/problem+json"
    assert dict(response.cookies) == {}
    assert client.get("/read/").json() == {"x": "1"}


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/aread/", "/awrite/?x=2", "/aflush/"])
async def test_the_async_client_gets_the_same_503(path: str) -> None:
    client = AsyncClient()
    _ = await client.get("/awrite/?x=1")
    with outage(amw):
        response = await client.get(path)
    assert (response.status_code, dict(response.cookies)) == (503, {})
    assert (await client.get("/aread/")).json() == {"x": "1"}


def test_who_does_not_need_it_is_served(client: Client) -> None:
    with outage(mw):
        response = client.get("/untouched/")
    assert (response.status_code, dict(response.cookies)) == (200, {})


def test_an_outage_between_reading_and_saving_is_a_503_too(client: Client, hooks: dict[str, Any]) -> None:
    away = outage(mw)
    hooks["between"] = lambda request: away.__enter__()
    try:
        response = client.get("/write/?x=2")
    finally:
        away.__exit__(None, None, None)
    assert (response.status_code, dict(response.cookies)) == (503, {})
    hooks.clear()
    assert client.get("/read/").json() == {"x": "1"}


def test_a_middleware_of_djangos_that_meets_the_outage_gives_a_503_and_no_crash(client: Client, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.csrf.CsrfViewMiddleware"]
    settings.CSRF_USE_SESSIONS = True
    other = Client()  # a client loads the middleware once
    other.cookies["sessionid"] = client.cookies["sessionid"].value
    with outage(mw):  # a client raises what Django took for a crash
        assert other.get("/untouched/").status_code == 503


def test_a_view_may_answer_for_itself(client: Client) -> None:
    with outage(mw):
        response = client.get("/caught/")
    assert (response.status_code, response.content, dict(response.cookies)) == (200, b"no session today", {})


def test_the_users_handler_is_asked_first(client: Client, settings: Any) -> None:
    settings.REDIS_MW_HANDLER = "site_of_tests.refused"
    with outage(mw):
        response = client.get("/read/")
    assert (response.status_code, response.content) == (503, b"come back in 1 s")


def test_what_the_direct_face_raises_is_a_503_unless_the_view_handles_it(settings: Any) -> None:
    client = Client()
    with outage(mw):
        response = client.get("/listing/")
        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
        assert response.headers["Content-Type"] == "application/problem+json"
        assert dict(response.cookies) == {}
        settings.REDIS_MW_HANDLER = "site_of_tests.refused"
        assert client.get("/listing/").content == b"come back in 1 s"
    assert client.get("/read/").json() == {}


@pytest.mark.asyncio
async def test_the_async_direct_face_is_answered_for_alike() -> None:
    client = AsyncClient()
    with outage(amw):
        response = await client.get("/alisting/")
    assert (response.status_code, dict(response.cookies)) == (503, {})


def test_without_the_middleware_the_error_reaches_django(client: Client, settings: Any) -> None:
    settings.MIDDLEWARE = settings.MIDDLEWARE[1:]
    with outage(mw), pytest.raises(SessionUnavailable):
        _ = Client(headers={"cookie": "sessionid=AAAABBBBBBBBBBBB"}).get("/read/")


def test_an_anonymous_outage_reads_empty_writes_nothing_and_keeps_the_cookie(
    settings: Any, redis_mw_settings: Settings
) -> None:
    assert redis_mw_settings.sessions is not None
    anonymous = replace(redis_mw_settings.sessions, on_outage="anonymous")
    settings.REDIS_MW = replace(redis_mw_settings, sessions=anonymous)
    client = Client()
    _ = client.get("/write/?x=1")
    with outage(mw):
        response = client.get("/about/")
        assert (response.json()["unavailable"], dict(response.cookies)) == (True, {})
        assert client.get("/write/?x=2").status_code == 503
    assert client.get("/read/").json() == {"x": "1"}


def test_a_path_that_requires_its_session_is_refused_before_the_view(
    settings: Any, redis_mw_settings: Settings
) -> None:
    rules: Any = [{"path": "/untouched/", "session": "require"}]
    settings.REDIS_MW = replace(redis_mw_settings, rules=rules)
    client = Client()
    _ = client.get("/write/?x=1")
    assert client.get("/untouched/").status_code == 200
    with outage(mw):
        assert client.get("/untouched/").status_code == 503


@pytest.fixture
def own_server(settings: Any, redis_mw_settings: Settings) -> Iterator[Any]:
    """A server that may be stopped, in the settings."""
    server = start_embedded()
    assert redis_mw_settings.sessions is not None
    hasty = replace(redis_mw_settings.sessions, patience=0.2)
    settings.REDIS_MW = replace(redis_mw_settings, url=server.url, sessions=hasty)
    yield server
    server.stop()


def started() -> Client:
    """A browser with a session, however long the machine stood still while it got it."""
    client = Client()
    until(lambda: client.get("/write/?x=1").status_code == 200, "a session can be stored")
    return client


def test_a_killed_server_is_an_outage_and_another_session_is_not_begun(own_server: Any) -> None:
    client = started()
    own_server.stop()
    for path in ("/read/", "/write/?x=2"):
        response = client.get(path)
        assert (response.status_code, dict(response.cookies)) == (503, {})
    assert client.get("/untouched/").status_code == 200
    with pytest.raises(SessionUnavailable):
        SessionStore().save()


def test_a_frozen_server_is_an_outage_until_it_thaws(own_server: Any) -> None:
    client = started()
    os.kill(own_server.pid, signal.SIGSTOP)
    try:
        response = client.get("/read/")
    finally:
        os.kill(own_server.pid, signal.SIGCONT)
    assert (response.status_code, dict(response.cookies)) == (503, {})
    mw.ping()
