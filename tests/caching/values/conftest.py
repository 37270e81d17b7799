"""The data cache, used by code of both colours in one shape."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from colours import FOR_EVER, Colour, Loop, Threads

from redis_mw import Cache, Event, Settings, replace


class Client(Colour):
    """``mw.cache`` of one colour. ``client.get(...)`` waits for what ``client.start("get", ...)`` begins."""

    def start(self, method: str, *args: Any, **kwargs: Any) -> Future[Any]:
        return self.begin(getattr(self.mw.cache, method), *args, **kwargs)

    def loader(self, work: Callable[[], Any]) -> Callable[[], Any]:
        """Something to load with, which may take its time, as code of this colour would write it."""
        return work

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self.start(method, *args, **kwargs).result(FOR_EVER)


class OnThreads(Threads, Client):
    pass


class OnLoop(Loop, Client):
    def loader(self, work: Callable[[], Any]) -> Callable[[], Any]:
        async def load() -> Any:
            return await asyncio.to_thread(work)

        return load


class Load:
    """Loads that are counted, and end when they are let: ``value`` is what they give, an exception is raised."""

    def __init__(self, value: Any = "made", *, held: bool = False) -> None:
        self.value = value
        self.calls = 0
        self.began = threading.Semaphore(0)
        self.gate = threading.Event()
        if not held:
            self.gate.set()

    def __call__(self) -> Any:
        self.calls += 1
        value = self.value
        self.began.release()
        assert self.gate.wait(FOR_EVER)
        if isinstance(value, Exception):
            raise value
        return value

    def wait(self) -> None:
        """Until one more has begun."""
        assert self.began.acquire(timeout=FOR_EVER)


@pytest.fixture
def make_load() -> type[Load]:
    return Load


@pytest.fixture(params=["threads", "asyncio"])
def make(
    request: pytest.FixtureRequest, redis_mw_settings: Settings, heard: list[Event]
) -> Iterator[Callable[..., Client]]:
    """Makes clients of one colour, ``make(url=..., **cache)``; every test that asks for this is run with both."""
    made: list[Client] = []

    def make(url: str | None = None, patience: float | None = None, **cache: Any) -> Client:
        settings = replace(redis_mw_settings, cache=Cache(**cache), on_event=[heard.append])
        settings = replace(settings, url=url) if url is not None else settings
        settings = replace(settings, patience=patience) if patience is not None else settings
        made.append(OnThreads(settings) if request.param == "threads" else OnLoop(settings))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(make: Callable[..., Client]) -> Client:
    return make()
