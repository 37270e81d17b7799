"""Idempotency without a framework: flows run on a real server by each driver, and attempts made easily."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import pytest
import redis
from attempts import SENDER, begun_by

from redis_mw import Idempotency, Idempotent, Settings, replace
from redis_mw.engine.aio import AsyncDriver
from redis_mw.engine.sync import SyncDriver
from redis_mw.events import Event, Events
from redis_mw.flows import Flow
from redis_mw.http.request import Fields, Request
from redis_mw.idempotency.attempt import Attempt
from redis_mw.idempotency.room import Room

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
    """Makes a room of the test's own prefix; keyword arguments are those of ``Idempotency``."""

    def make(**more: Any) -> Room:
        settings = replace(redis_mw_settings, idempotency=Idempotency(**{"patience": 10, **more}))
        assert settings.idempotency is not None
        return Room(settings, settings.idempotency, Events([heard.append], lambda: 0.0), secret=SECRET)

    return make


@pytest.fixture
def room(make_room: Callable[..., Room]) -> Room:
    return make_room()


@pytest.fixture
def client(redis_mw_url: str) -> Iterator["redis.Redis[Any]"]:
    with redis.Redis.from_url(redis_mw_url) as connected:
        yield connected


def request_of(key: str | None = "a-key", method: str = "POST", path: str = "/pay", **headers: str) -> Request:
    pairs = [("Idempotency-Key", key)] if key is not None else []
    pairs += [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request(method, path, headers=Fields(tuple(pairs)), client="192.0.2.7")


@pytest.fixture
def attempt(room: Room) -> Callable[..., Attempt]:
    """Begins an attempt: ``attempt("key", body=b"...")``; ``wait`` and what else a policy has, by name."""

    def make(key: str = "a-key", body: bytes = b"1", in_room: Room | None = None, **policy: Any) -> Attempt:
        own = in_room or room
        begun = begun_by(SENDER, own, own.entry(Idempotent(**policy), "here"), request_of(key))
        assert isinstance(begun, Attempt)
        assert begun.read(body)
        return begun

    return make
