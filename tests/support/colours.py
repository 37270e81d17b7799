"""A face of either colour, driven from a test in one shape: whatever is begun is a future."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from redis_mw import AsyncRedisMW, RedisMW, Settings

FOR_EVER = 60.0
"""Seconds; only a broken test waits as long."""


class Colour:
    """``begin`` starts what ``mw`` is asked in the background, ``do`` waits for it."""

    mw: Any

    def begin(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def do(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self.begin(function, *args, **kwargs).result(FOR_EVER)

    def run(self, flow: Any) -> Any:
        return self.do(self.mw.driver.run, flow)


class Threads(Colour):
    """``RedisMW`` on a pool of threads."""

    def __init__(self, settings: Settings) -> None:
        self.mw = RedisMW(settings)
        self._threads = ThreadPoolExecutor(128)

    def begin(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        return self._threads.submit(function, *args, **kwargs)

    def close(self) -> None:
        self.mw.close()
        self._threads.shutdown()


class Running:
    """An event loop on a thread of its own: ``begin`` starts what is awaited there, ``do`` waits for it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def begin(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        async def awaited() -> Any:
            return await function(*args, **kwargs)

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop)

    def do(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self.begin(function, *args, **kwargs).result(FOR_EVER)

    def close(self) -> None:
        self.do(self._loop.shutdown_default_executor)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Loop(Colour):
    """``AsyncRedisMW`` on an event loop of its own."""

    def __init__(self, settings: Settings) -> None:
        self.mw = AsyncRedisMW(settings)
        self._running = Running()

    def begin(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        return self._running.begin(function, *args, **kwargs)

    def close(self) -> None:
        self.do(self.mw.aclose)
        self._running.close()
