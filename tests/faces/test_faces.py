"""The direct faces: alike in both colours, and what they answer."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

import redis_mw
from redis_mw import (
    AsyncRedisMW,
    LayerMissing,
    RedisMW,
    RedisUnavailable,
    Sessions,
    Settings,
    SettingsError,
    current,
    replace,
)
from redis_mw.faces.aio import AsyncSessions
from redis_mw.faces.sync import SyncSessions
from redis_mw.sessions.room import furnish
from redis_mw.sessions.visit import Visit
from redis_mw.testing import outage

RENAMED = {"close": "aclose", "__enter__": "__aenter__", "__exit__": "__aexit__"}
CLOSED_PORT = "redis://127.0.0.1:1"


def methods(face: type) -> dict[str, Callable[..., Any]]:
    return {
        name: method
        for name, method in vars(face).items()
        if inspect.isfunction(method) and (not name.startswith("_") or name in RENAMED or name in RENAMED.values())
    }


@pytest.mark.parametrize(("sync", "aio"), [(RedisMW, AsyncRedisMW), (SyncSessions, AsyncSessions)])
def test_the_two_faces_have_the_same_methods_with_the_same_signatures(sync: type, aio: type) -> None:
    one, other = methods(sync), methods(aio)
    assert {RENAMED.get(name, name) for name in one} == set(other)
    for name, method in one.items():
        twin = other[RENAMED.get(name, name)]
        assert inspect.signature(method) == inspect.signature(twin), name
        assert inspect.iscoroutinefunction(twin) and not inspect.iscoroutinefunction(method), name


def test_everything_that_is_public_can_be_imported() -> None:
    assert len(set(redis_mw.__all__)) == len(redis_mw.__all__)  # their order is ruff's business
    assert all(getattr(redis_mw, name).__doc__ for name in redis_mw.__all__)


def test_both_faces_see_and_revoke_the_same_sessions(redis_mw_settings: Settings) -> None:
    with RedisMW(redis_mw_settings) as mw:
        room = furnish(redis_mw_settings, Sessions(), ["s" * 32], mw.events)
        for _ in range(3):
            visit = Visit(room, None)
            visit.login(42)
            assert mw.driver.run(visit.close({"a": 1})).outcome == "created"
        infos = mw.sessions.of_user(42)
        assert len(infos) == 3
        assert mw.sessions.revoke("42", infos[0].handle) is True

        async def elsewhere() -> tuple[int, int, int]:
            async with AsyncRedisMW(redis_mw_settings) as amw:
                await amw.ping()
                seen = len(await amw.sessions.of_user("42"))
                ended = await amw.sessions.revoke_user(42, keep=infos[1].handle)
                return seen, ended, len(amw.sync.sessions.of_user(42))

        assert asyncio.run(elsewhere()) == (2, 1, 1)


def test_an_outage_is_an_error_not_an_empty_list(redis_mw_settings: Settings) -> None:
    with RedisMW(redis_mw_settings) as mw, outage(mw):
        with pytest.raises(RedisUnavailable):
            mw.sessions.of_user(42)
        with pytest.raises(RedisUnavailable):
            mw.sessions.revoke_user(42)

    async def elsewhere() -> None:
        async with AsyncRedisMW(redis_mw_settings) as amw:
            with outage(amw), pytest.raises(RedisUnavailable):
                await amw.sessions.of_user(42)
            assert await amw.sessions.of_user(42) == []

    asyncio.run(elsewhere())


def test_a_server_that_is_not_there_is_an_outage_unless_the_settings_are_eager(redis_mw_settings: Settings) -> None:
    lazy = replace(redis_mw_settings, url=CLOSED_PORT)
    with RedisMW(lazy) as mw, pytest.raises(RedisUnavailable):
        mw.ping()
    with pytest.raises(RedisUnavailable):
        RedisMW(replace(lazy, connect="eager"))

    async def elsewhere() -> None:
        async with AsyncRedisMW(lazy) as amw:
            with pytest.raises(RedisUnavailable):
                await amw.ping()
        with pytest.raises(RedisUnavailable):
            async with AsyncRedisMW(replace(lazy, connect="eager")):
                pass

    asyncio.run(elsewhere())


def test_without_sessions_the_face_says_that_they_are_off(redis_mw_settings: Settings) -> None:
    with RedisMW(replace(redis_mw_settings, sessions=None)) as mw, pytest.raises(SettingsError, match="turned off"):
        _ = mw.sessions


def test_outside_of_a_request_there_is_no_current_one() -> None:
    with pytest.raises(LayerMissing):
        current()


def test_listeners_hear_events_and_one_that_fails_costs_nobody_else_anything(
    redis_mw_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    def broken(event: redis_mw.Event) -> None:
        raise RuntimeError("the listener's own trouble")

    settings = replace(redis_mw_settings, on_event=[broken, lambda event: heard.append(event.name)])
    with RedisMW(settings) as mw:
        room = furnish(settings, Sessions(), ["s" * 32], mw.events)
        assert mw.driver.run(Visit(room, None).close({"a": 1})).outcome == "created"
    assert heard == ["session.created"]
    assert "the listener's own trouble" in caplog.text
