"""A login that ``max_sessions`` refuses is a 409: nothing is stored, and no cookie is sent."""

from typing import Any

import pytest
from by_hand import until
from django.test import AsyncClient, Client
from redis import Redis

from redis_mw.errors import SessionLimitReached
from redis_mw.settings import Settings, replace
from redis_mw_django import mw
from redis_mw_django.application import application
from redis_mw_django.sessions import SessionStore

PATHS = ["/bind/?user=7", "/abind/?user=7", "/bind_and_save/?user=7", "/abind_and_save/?user=7"]
"""Saved by Django's own middleware after the view, and in the view."""


@pytest.fixture(autouse=True)
def _seven_has_a_session(_on_the_test_server: None, settings: Any, redis_mw_settings: Settings) -> None:
    assert redis_mw_settings.sessions is not None
    strict = replace(redis_mw_settings.sessions, max_sessions=1, on_max="refuse")
    settings.REDIS_MW = replace(redis_mw_settings, sessions=strict)
    assert Client().get("/bind/?user=7").status_code == 200


def refused(response: Any) -> bool:
    assert (response.status_code, response.headers["Content-Type"]) == (409, "application/problem+json")
    assert response.json()["title"] == "Conflict"
    assert "Retry-After" not in response.headers
    return dict(response.cookies) == {} and len(mw.sessions.of_user(7)) == 1


@pytest.mark.parametrize("path", PATHS)
def test_one_session_too_many_is_a_conflict(path: str) -> None:
    assert refused(Client().get(path))


@pytest.mark.asyncio
@pytest.mark.parametrize("path", PATHS)
async def test_one_session_too_many_is_a_conflict_under_asgi(path: str) -> None:
    assert refused(await AsyncClient().get(path))


def test_a_visitor_whose_login_is_refused_keeps_the_session_of_before() -> None:
    client = Client()
    _ = client.get("/write/?x=1")
    assert refused(client.get("/bind/?user=7"))
    assert client.get("/read/").json() == {"x": "1"}
    assert client.get("/about/").json()["user_id"] is None


def test_whoever_was_logged_out_unread_may_log_in_again_at_once(settings: Any) -> None:
    client = Client()
    for path in ("/bind/?user=8", "/flush/", "/bind/?user=8"):
        assert client.get(path).status_code == 200
    key = client.cookies["sessionid"].value.partition(".")[0]
    SessionStore().delete(key)
    assert Client().get("/bind/?user=8").status_code == 200


@pytest.mark.parametrize("how", ["flush", "delete"])
def test_ending_an_unread_session_takes_it_off_the_users_index_in_the_background(how: str) -> None:
    session = SessionStore()
    session.login("8")
    session.save()
    ending = SessionStore(session.session_key)
    ending.flush() if how == "flush" else ending.delete()
    assert isinstance(application().settings.url, str)
    with Redis.from_url(application().settings.url) as server:
        index = application().room.store.commands.index_key("8")
        until(lambda: not server.exists(index), "the index is empty")


def test_a_browser_gets_it_as_text() -> None:
    response = Client().get("/bind/?user=7", headers={"accept": "text/html"})
    assert (response.status_code, response.headers["Content-Type"]) == (409, "text/plain; charset=utf-8")


@pytest.mark.parametrize("path", PATHS)
def test_the_users_handler_is_asked_first(settings: Any, path: str) -> None:
    settings.REDIS_MW_HANDLER = "site_of_tests.refused"
    response = Client().get(path)
    assert (response.status_code, response.content, dict(response.cookies)) == (409, b"come back as one of 1", {})


def test_an_error_page_whose_session_would_be_saved_goes_out_either_way(settings: Any) -> None:
    settings.REDIS_MW = replace(settings.REDIS_MW, sessions=replace(settings.REDIS_MW.sessions, save_on_5xx=True))
    response = Client().get("/bind_and_fail/?user=7")
    assert (response.status_code, response.content, dict(response.cookies)) == (500, b"an error page", {})


def test_outside_of_a_request_the_error_is_raised() -> None:
    session = SessionStore()
    session.login("7")
    with pytest.raises(SessionLimitReached):
        session.save()
