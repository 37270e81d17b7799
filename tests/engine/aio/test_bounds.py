"""What the async driver holds at most: detached flows, and bytes behind a connection that takes none."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from redis_mw.engine.aio import AsyncDriver
from redis_mw.engine.embedded import EmbeddedServer, start_embedded
from redis_mw.errors import RedisUnavailable
from redis_mw.events import Events
from redis_mw.flows import Argument, Command, Flow, one
from redis_mw.settings import Settings

OnLoop = Callable[..., None]


def command(*words: Argument, patience: float = 60.0) -> Command[Any]:
    return Command(words, lambda reply: reply, patience_us=int(patience * 1_000_000))


def driver_to(url: str, **options: Any) -> AsyncDriver:
    return AsyncDriver(Settings.from_mapping({"url": url, **options}), Events([], time.time))


def test_detached_flows_beyond_the_bound_are_dropped_with_a_word_and_closed(
    on_loop: OnLoop, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("redis_mw.engine.aio.driver.MOST_TASKS", 3)
    story: list[str] = []

    def flow() -> Flow[None]:
        try:
            _ = yield from one(command("PING"))
            story.append("done")
        except GeneratorExit:
            story.append("closed")
            raise

    async def main() -> None:
        driver = driver_to(server.url)
        for _ in range(5):
            begun = flow()
            driver.detach(begun, within=10)
        await driver.aclose()
        driver.detach(flow(), within=1)  # there is room again, and the driver is closed
        await asyncio.sleep(0)

    on_loop(main)
    assert story == ["done"] * 4
    assert caplog.text.count("one more was dropped") == 2


def test_behind_a_connection_that_takes_no_bytes_only_so_many_wait(
    on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis_mw.engine.aio.wire.BACKLOG", 1_000_000)
    running = start_embedded(port=True)
    word = "x" * 400_000

    async def main() -> None:
        driver = driver_to(running.url, sessions={"patience": 60}, patience=60)  # a breaker that looks away
        assert await driver.run(one(command("PING"))) == b"PONG"
        os.kill(running.pid, signal.SIGSTOP)
        stuffing = [asyncio.create_task(driver.run(one(command("ECHO", word)))) for _ in range(50)]
        refused, waiting = await asyncio.wait(stuffing, timeout=0.1)
        assert refused and waiting
        for task in refused:
            reply = task.result()
            assert isinstance(reply, RedisUnavailable) and "takes no commands" in reply.reason
        os.kill(running.pid, signal.SIGCONT)
        for reply in await asyncio.gather(*waiting):
            assert reply == word.encode() or isinstance(reply, RedisUnavailable)
        await driver.aclose()

    try:
        on_loop(main)
    finally:
        os.kill(running.pid, signal.SIGCONT)
        running.stop()
