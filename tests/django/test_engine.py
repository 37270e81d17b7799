"""The session object by itself: what a save writes, what races do, how lifetimes are told."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.test import Client
from django.utils import timezone
from redis import Redis

from redis_mw.settings import Settings, replace
from redis_mw.testing import count_round_trips
from redis_mw_django.application import application
from redis_mw_django.sessions import SessionStore


def stored(**values: Any) -> SessionStore:
    session = SessionStore()
    session.update(values)
    session.save()
    return session


def again(session: SessionStore) -> SessionStore:
    """The same session in another request."""
    return SessionStore(session.session_key)


def life(session: SessionStore) -> float:
    """Seconds that Redis would keep the session."""
    app = application()
    handle = session.handle
    assert handle is not None
    assert isinstance(app.settings.url, str)
    with Redis.from_url(app.settings.url) as server:
        return int(server.pttl(app.room.store.commands.key(handle))) / 1000


def test_parallel_writers_of_different_keys_both_survive() -> None:
    first = stored(x=1, y=1)
    second, third = again(first), again(first)
    second["x"], third["z"] = 2, 3
    del third["y"]
    second.save()
    third.save()
    assert dict(again(first).items()) == {"x": 2, "z": 3}


def test_many_writers_at_once_lose_nothing() -> None:
    session = stored(x=0)

    def write(number: int) -> None:
        mine = again(session)
        mine[f"n{number}"] = number
        mine.save()

    with ThreadPoolExecutor(8) as pool:
        _ = list(pool.map(write, range(40)))
    assert dict(again(session).items()) == {"x": 0} | {f"n{number}": number for number in range(40)}


def test_a_save_after_a_logout_elsewhere_raises_and_brings_nothing_back() -> None:
    session = stored(x=1)
    late = again(session)
    late["x"] = 2
    again(session).flush()
    with pytest.raises(UpdateError):
        late.save()
    assert late.load() == {}
    assert not SessionStore().exists(session.session_key)


def test_a_request_that_races_a_logout_is_interrupted_and_cannot_undo_it(hooks: dict[str, Any]) -> None:
    client, other = Client(), Client()
    _ = client.get("/write/?x=1")
    other.cookies["sessionid"] = client.cookies["sessionid"].value
    hooks["between"] = lambda request: (hooks.clear(), other.get("/flush/"))
    response = client.get("/write/?x=2")
    assert response.status_code == 400
    assert dict(response.cookies) == {}
    assert client.get("/read/").json() == {}


def test_a_session_that_is_over_is_empty_but_its_cookie_is_left_alone() -> None:
    client, other = Client(), Client()
    _ = client.get("/write/?x=1")
    other.cookies["sessionid"] = client.cookies["sessionid"].value
    _ = other.get("/flush/")
    response = client.get("/read/")
    assert (response.json(), dict(response.cookies)) == ({}, {})
    before = client.cookies["sessionid"].value
    _ = client.get("/write/?y=1")
    assert client.cookies["sessionid"].value != before
    assert client.get("/read/").json() == {"y": "1"}


def test_a_save_that_changes_nothing_makes_no_round_trip() -> None:
    session = again(stored(x=1))
    session["x"] = 1
    with count_round_trips() as counted:
        session.save()
    assert counted.total == 0


def test_values_that_json_has_not_survive() -> None:
    value = {"when": datetime(2026, 1, 2, tzinfo=UTC), "what": (Decimal("1.10"), {1, 2}), "raw": b"\x00"}
    assert again(stored(value=value))["value"] == value


def test_nothing_in_redis_shows_the_key() -> None:
    session = stored(x=1)
    settings = application().settings
    assert isinstance(settings.url, str)
    with Redis.from_url(settings.url) as server:
        keys = list(server.scan_iter(f"{settings.prefix}:*"))
    assert keys
    assert all((session.session_key or "?").encode() not in name for name in keys)


def test_create_stores_at_once_and_must_create_refuses_what_exists() -> None:
    session = SessionStore()
    session.create()
    assert session.modified is True
    assert SessionStore().exists(session.session_key) is True
    with pytest.raises(CreateError):
        again(session).save(must_create=True)


def test_a_clear_that_read_nothing_empties_what_was_stored_and_keeps_the_session() -> None:
    session = stored(x=1)
    cleared = again(session)
    cleared.clear()
    cleared.save()
    assert again(session).load() == {}
    assert SessionStore().exists(session.session_key)


def test_the_lifetimes_are_ours_unless_django_was_told_of_one(settings: Any, redis_mw_settings: Settings) -> None:
    assert 890 < life(stored(x=1)) <= 900
    settings.SESSION_COOKIE_AGE = 100_000
    assert 99_990 < life(stored(x=1)) <= 100_000
    assert redis_mw_settings.sessions is not None
    settings.REDIS_MW = replace(redis_mw_settings, sessions=replace(redis_mw_settings.sessions, idle=60))
    assert 50 < life(stored(x=1)) <= 60


@pytest.mark.parametrize("value", [5000, timedelta(seconds=5000)])
def test_set_expiry_is_the_life_of_this_session(value: Any) -> None:
    session = stored(x=1)
    session.set_expiry(value)
    session.save()
    assert 4990 < life(session) <= 5000
    assert 4990 < again(session).get_expiry_age() <= 5000
    session.set_expiry(None)
    session.save()
    assert life(session) <= 900


def test_a_date_of_expiry_is_kept_however_long_redis_would_keep_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    session = stored(x=1)
    session.set_expiry(timedelta(seconds=100))
    session.save()
    later = timezone.now() + timedelta(seconds=101)
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert again(session).load() == {}
    assert not SessionStore().exists(session.session_key)


def test_a_session_may_end_with_the_browser(settings: Any) -> None:
    client = Client()
    assert client.get("/expiry/?value=0").cookies["sessionid"]["max-age"] == ""
    assert client.get("/expiry/?value=300").cookies["sessionid"]["max-age"] == 300
    settings.SESSION_EXPIRE_AT_BROWSER_CLOSE = True
    assert client.get("/expiry/?value=null").cookies["sessionid"]["max-age"] == ""


def test_a_class_of_the_users_may_have_an_age_of_its_own() -> None:
    class Short(SessionStore):
        def get_session_cookie_age(self) -> int:
            return 77

    session = Short()
    session["x"] = 1
    session.save()
    assert 70 < life(session) <= 77


def test_saving_every_request_renews_the_cookie_for_one_round_trip(settings: Any) -> None:
    client = Client()
    _ = client.get("/write/?x=1")
    settings.SESSION_SAVE_EVERY_REQUEST = True
    with count_round_trips() as counted:
        response = client.get("/untouched/")
    assert counted.awaited == 1
    assert response.cookies["sessionid"]["max-age"] > 0


def test_a_life_that_slides_moves_the_cookies_along(settings: Any, redis_mw_settings: Settings) -> None:
    assert redis_mw_settings.sessions is not None
    always = replace(redis_mw_settings.sessions, touch_after=0)
    settings.REDIS_MW = replace(redis_mw_settings, sessions=always)
    settings.SESSION_COOKIE_AGE = 3000
    client = Client()
    _ = client.get("/write/?x=1")
    assert client.get("/read/").cookies["sessionid"]["max-age"] == 3000


def test_too_many_sessions_of_a_user_push_out_the_oldest(settings: Any, redis_mw_settings: Settings) -> None:
    assert redis_mw_settings.sessions is not None
    few = replace(redis_mw_settings.sessions, max_sessions=2)
    settings.REDIS_MW = replace(redis_mw_settings, sessions=few)
    clients = [Client() for _ in range(3)]
    for client in clients:
        assert client.get("/bind/?user=7").status_code == 200
    assert [client.get("/about/").json()["user_id"] for client in clients] == [None, "7", "7"]


def test_async_methods_work_in_a_loop_that_lives_for_one_call_and_open_no_connection_there() -> None:
    async def use() -> Any:
        session = SessionStore()
        await session.aset("x", 1)
        await session.asave()
        assert not application()._by_loop
        return await SessionStore(session.session_key).aget("x")

    assert async_to_sync(use)() == 1


@pytest.mark.asyncio
async def test_every_async_method_does_what_its_sync_twin_does() -> None:
    session = SessionStore()
    await session.aset_test_cookie()
    assert await session.atest_cookie_worked()
    await session.asave()
    await session.adelete_test_cookie()
    assert session.modified is True
    key = session.session_key
    await session.acycle_key()
    await session.asave()
    assert session.session_key != key
    assert (await session.aexists(key), await session.aexists(session.session_key)) == (False, True)
    other = SessionStore(session.session_key)
    await other.aset("x", 1)
    await other.alogout()
    assert not await session.aexists(session.session_key)
    with pytest.raises(UpdateError):
        await session.aset("y", 1)
        await session.asave()
    await session.acreate()
    await session.alogin(7)
    assert session.user_id == "7"
    key = session.session_key
    await session.asave()
    assert session.session_key == key
    await session.aregenerate()
    assert session.session_key != key
    await session.asave()
    assert (await session.aexists(key), session.user_id) == (False, "7")
    await session.adelete()
    assert not await session.aexists(session.session_key)
    await SessionStore.aclear_expired()
