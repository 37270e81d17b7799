"""What is the async driver's own about watching: the loop it lives on. The rest is in ``test_watching``."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import pytest
import uvloop
from by_hand import soon

from redis_mw.engine.aio import AsyncDriver
from redis_mw.events import Events
from redis_mw.settings import Settings

OnLoop = Callable[..., None]
CACHE = ("c:",)

both_loops = pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


class Switch:
    """Whether it is told what is changed."""

    on = False

    def begin(self) -> None:
        self.on = True

    def changed(self, keys: Sequence[str] | None) -> None:
        pass

    def end(self) -> None:
        self.on = False


def driver_for(server: Any) -> AsyncDriver:
    return AsyncDriver(Settings(url=server.url), Events((), lambda: 0.0))


@both_loops
def test_a_loop_that_ends_ends_who_watches_although_nobody_closes_the_driver(server: Any, new_loop: Any) -> None:
    driver, switch = driver_for(server), Switch()

    async def main() -> None:
        driver.watch("cache", CACHE, switch)
        await soon(lambda: switch.on, "it is told")

    for _ in range(2):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
            assert switch.on
        assert not switch.on


@both_loops
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_after_a_loop_that_was_closed_over_its_head_nothing_is_believed(server: Any, new_loop: Any) -> None:
    """It did not end what ran on it, so nobody was told anything."""
    driver, switch = driver_for(server), Switch()

    async def main() -> None:
        driver.watch("cache", CACHE, switch)
        await soon(lambda: switch.on, "it is told")

    loop = new_loop()
    loop.run_until_complete(main())
    loop.close()
    assert switch.on

    async def again() -> None:
        driver.watch("cache", CACHE, switch)
        assert not switch.on
        await soon(lambda: switch.on, "it is told again")
        await driver.aclose()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(again())
    assert not switch.on
    _ = gc.collect()


def test_a_driver_that_nobody_has_any_more_ends_who_watches(server: Any, on_loop: OnLoop) -> None:
    switch = Switch()

    async def main() -> None:
        driver = driver_for(server)
        gone = weakref.ref(driver)
        driver.watch("cache", CACHE, switch)
        await soon(lambda: switch.on, "it is told")
        del driver
        _ = gc.collect()
        assert gone() is None
        await soon(lambda: not switch.on, "it is ended")
        await soon(lambda: len(asyncio.all_tasks()) == 1, "no task is left")

    on_loop(main)


def test_what_goes_on_for_ever_keeps_nothing_of_who_began_it(server: Any, on_loop: OnLoop) -> None:
    class Request:
        pass

    current: ContextVar[Request] = ContextVar("current")

    async def main() -> None:
        driver, switch = driver_for(server), Switch()

        async def handle() -> "weakref.ref[Request]":
            request = Request()
            _ = current.set(request)
            driver.watch("cache", CACHE, switch)
            return weakref.ref(request)

        request = await asyncio.create_task(handle())
        await soon(lambda: switch.on, "it is told")
        _ = gc.collect()
        assert request() is None
        await driver.aclose()

    on_loop(main)
