"""The data cache, used by code of both colours in one shape."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import redis

from redis_mw import AsyncRedisMW, Cache, Event, RedisMW, Settings, replace

FOR_EVER = 60.0
"""Seconds; only a broken test waits as long."""


class Client:
    """``mw.cache`` of one colour. ``client.get(...)`` waits for what ``client.start("get", ...)`` begins."""

    mw: Any

    def start(self, method: str, *args: Any, **kwargs: Any) -> Future[Any]:
        return self.begin(getattr(self.mw.cache, method), *args, **kwargs)

    def begin(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def loader(self, work: Callable[[], Any]) -> Callable[[], Any]:
        """Something to load with, which may take its time, as code of this colour would write it."""
        return work

    def run(self, flow: Any) -> Any:
        return self.begin(self.mw.driver.run, flow).result(FOR_EVER)

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self.start(method, *args, **kwargs).result(FOR_EVER)


class OnThreads(Client):
    def __init__(self, settings: Settings) -> None:
        self.mw = RedisMW(settings)
        self._threads = ThreadPoolExecutor(128)

    def begin(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        return self._threads.submit(function, *args, **kwargs)

    def close(self) -> None:
        self.mw.close()
        self._threads.shutdown()


class OnLoop(Client):
    def __init__(self, settings: Settings) -> None:
        self.mw = AsyncRedisMW(settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def begin(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        async def awaited() -> Any:
            return await function(*args, **kwargs)

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop)

    def loader(self, work: Callable[[], Any]) -> Callable[[], Any]:
        async def load() -> Any:
            return await asyncio.to_thread(work)

        return load

    def close(self) -> None:
        self.begin(self.mw.aclose).result(FOR_EVER)
        self.begin(self._loop.shutdown_default_executor).result(FOR_EVER)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


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


@pytest.fixture
def heard() -> list[Event]:
    """The events of the test, in order."""
    return []


@pytest.fixture
def kept(redis_mw_settings: Settings) -> Iterator["redis.Redis[Any]"]:
    """What the server keeps; nothing of it for ever."""
    with redis.Redis.from_url(redis_mw_settings.url_of("cache")) as client:
        yield client
        for key in client.scan_iter(f"{redis_mw_settings.prefix}:*", count=1000):
            assert client.pttl(key) != -1, key


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
