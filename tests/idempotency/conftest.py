"""Idempotency without a framework: flows run on a real server by each driver."""

import asyncio
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

import pytest
import redis

from redis_mw import Settings
from redis_mw.engine.aio import AsyncDriver
from redis_mw.engine.sync import SyncDriver
from redis_mw.events import Events
from redis_mw.flows import Flow

T = TypeVar("T")


class Run(Protocol):
    def __call__(self, flow: Flow[T], /) -> T: ...


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
def client(redis_mw_url: str) -> Iterator["redis.Redis[Any]"]:
    with redis.Redis.from_url(redis_mw_url) as connected:
        yield connected
