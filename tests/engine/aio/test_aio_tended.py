"""What goes on in the background belongs to one loop: it ends with it, and the next loop begins its own."""

import asyncio
import contextvars
import gc
import time
import weakref
from collections.abc import Callable
from typing import Any

from redis_mw.engine.aio import AsyncDriver
from redis_mw.engine.embedded import EmbeddedServer
from redis_mw.events import Events
from redis_mw.flows import Command, Flow, Wait, one
from redis_mw.settings import Settings

OnLoop = Callable[..., None]


def driver_to(url: str) -> AsyncDriver:
    return AsyncDriver(Settings(url=url), Events([], time.time))


def test_every_loop_tends_and_hears_for_itself_and_nothing_stays_when_it_ends(
    on_loop: OnLoop, server: EmbeddedServer
) -> None:
    driver = driver_to(server.url)
    story: list[str] = []

    def flow() -> Flow[None]:
        story.append("begun")
        try:
            _ = yield Wait((), 3600.0)
        finally:
            story.append("ended")

    async def main() -> None:
        heard = asyncio.Event()
        driver.tend("k", flow)
        driver.hear("default", "news", heard.set)
        async with asyncio.timeout(20):
            _ = await heard.wait()
            heard.clear()
            publish: Command[Any] = Command(("PUBLISH", "news", "x"), int)
            assert await driver.run(one(publish)) == 1
            _ = await heard.wait()
        assert story[-1] == "begun"
        await driver.aclose()

    on_loop(main)
    on_loop(main)
    assert story == ["begun", "ended"] * 2


def test_nobody_needs_to_close_the_driver(server: EmbeddedServer) -> None:
    driver = driver_to(server.url)
    story: list[str] = []

    def flow() -> Flow[None]:
        story.append("begun")
        try:
            _ = yield Wait((), 3600.0)
        finally:
            story.append("ended")

    async def main() -> None:
        driver.tend("k", flow)
        await asyncio.sleep(0)

    with asyncio.Runner() as runner:
        runner.run(main())
    assert story == ["begun", "ended"]


class Request:
    """Something that may be dropped when it has been answered."""


def test_what_goes_on_has_not_the_context_of_whoever_asked_for_it_and_does_not_keep_it(
    on_loop: OnLoop, server: EmbeddedServer
) -> None:
    request: contextvars.ContextVar[Request | None] = contextvars.ContextVar("request", default=None)
    asking: list[weakref.ref[Request]] = []
    seen: list[Request | None] = []

    def flow() -> Flow[None]:
        seen.append(request.get())
        _ = yield Wait((), 3600.0)

    async def main() -> None:
        heard = asyncio.Event()

        def hears() -> None:
            seen.append(request.get())
            heard.set()

        def tend() -> None:
            _ = request.set(asked := Request())
            asking.append(weakref.ref(asked))
            driver.tend("k", flow)

        def hear() -> None:
            _ = request.set(Request())
            driver.hear("default", "news", hears)

        async with driver_to(server.url) as driver:
            contextvars.copy_context().run(tend)
            _ = gc.collect()
            assert asking[0]() is None
            contextvars.copy_context().run(hear)
            async with asyncio.timeout(20):
                _ = await heard.wait()
        assert seen == [None, None]

    on_loop(main)
