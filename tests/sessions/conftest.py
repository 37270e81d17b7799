"""Sessions without a framework: flows run by hand on a real server, once by each driver."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import pytest

from redis_mw.engine.aio import AsyncDriver
from redis_mw.engine.sync import SyncDriver
from redis_mw.events import Event, Events
from redis_mw.flows import Flow
from redis_mw.sessions.room import Room, furnish
from redis_mw.sessions.visit import Visit
from redis_mw.settings import Sessions, Settings, replace

T = TypeVar("T")
SECRET = "a secret of the tests, long enough"


class Run(Protocol):
    def __call__(self, flow: Flow[T], /) -> T: ...


@pytest.fixture
def heard() -> list[Event]:
    """The events of the test, in order."""
    return []


@pytest.fixture(params=["threads", "asyncio"])
def run(request: pytest.FixtureRequest, redis_mw_settings: Settings) -> Iterator[Run]:
    """Runs a flow to its end; every test that asks for this is run by both drivers."""
    if request.param == "threads":
        driver = SyncDriver(redis_mw_settings, Events((), lambda: 0.0))
        yield driver.run
        driver.close()
        return
    with asyncio.Runner() as runner:
        aio = AsyncDriver(redis_mw_settings, Events((), lambda: 0.0))
        yield lambda flow: runner.run(aio.run(flow))
        runner.run(aio.aclose())


@pytest.fixture
def make_room(redis_mw_settings: Settings, heard: list[Event]) -> Callable[..., Room]:
    """Makes a room of the test's own prefix; keyword arguments are those of ``Sessions``."""

    def make(*, lifetime_us: int | None = None, user_of: Any = None, **sessions: Any) -> Room:
        settings = replace(redis_mw_settings, sessions=Sessions(**{"patience": 10.0, **sessions}))
        assert settings.sessions is not None
        events = Events([heard.append], lambda: 0.0)
        return furnish(settings, settings.sessions, [SECRET], events, lifetime_us=lifetime_us, user_of=user_of)

    return make


@pytest.fixture
def room(make_room: Callable[..., Room]) -> Room:
    return make_room()


@pytest.fixture
def visit(run: Run, room: Room) -> Callable[..., Visit]:
    """Begins a visit by id (or None) and loads it."""

    def begin(id: str | None = None, in_room: Room | None = None, **more: Any) -> Visit:
        visit = Visit(in_room or room, id, **more)
        run(visit.load())
        return visit

    return begin
