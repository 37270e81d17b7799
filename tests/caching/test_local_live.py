"""What a process holds itself while others write, readers fill and connections die, through both drivers."""

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import redis
from colours import FOR_EVER, Colour, Loop, Threads

from redis_mw import Settings
from redis_mw.caching.local import Local
from redis_mw.errors import RedisUnavailable
from redis_mw.flows import Command, Flow, one

PAGE = "c:page"
WRITES = 1500
CUT_EVERY = 500


class Heard:
    """A ``Local`` and what must be true of it: nothing older than ``floor`` is read from it."""

    def __init__(self) -> None:
        self.local: Local[int] = Local(1 << 20, age_s=60.0)
        self.written = 0
        """The last write that has returned."""
        self.floor = 0
        """The last one of which this was told, or that had returned when it began."""
        self.hits = 0
        self.begun = 0
        self.wrong: list[tuple[int, int]] = []

    @property
    def on(self) -> bool:
        return self.local.on

    def begin(self) -> None:
        floor = self.written
        self.local.begin()
        self.floor = max(self.floor, floor)
        self.begun += 1

    def changed(self, keys: Sequence[str] | None) -> None:
        self.local.changed(keys)
        for key in keys or ():
            if key != PAGE:
                self.floor = max(self.floor, int(key.removeprefix("c:")))

    def end(self) -> None:
        self.local.end()

    def look(self) -> int | None:
        """The value, if it is held; it is judged by what was known before."""
        floor = self.floor
        value = self.local.get(PAGE)
        if value is not None:
            self.hits += 1
            if value < floor:
                self.wrong.append((value, floor))
        return value

    def fill(self, bulk: bool) -> Flow[None]:
        """Read it from Redis, and keep it."""
        mark = self.local.mark()
        value = yield from one(Command(("GET", PAGE), int, role="cache", patience_us=5_000_000, bulk=bulk))
        if isinstance(value, int):
            _ = self.local.keep(mark, PAGE, value, 10, (PAGE,))
        else:
            assert isinstance(value, RedisUnavailable)


@pytest.fixture(params=[Threads, Loop])
def colour(request: pytest.FixtureRequest, server: Any) -> Iterator[Colour]:
    made: Colour = request.param(Settings(url=server.url))
    yield made
    made.close()


def test_what_is_read_is_never_of_before_what_was_heard(colour: Colour, server: Any) -> None:
    heard, driver, stop = Heard(), colour.mw.driver, threading.Event()

    def reading(bulk: bool) -> None:
        driver.watch("cache", ("c:",), heard)
        while not stop.is_set():
            if heard.look() is None:
                driver.run(heard.fill(bulk))

    async def reading_on_a_loop(bulk: bool) -> None:
        driver.watch("cache", ("c:",), heard)
        while not stop.is_set():
            # Others run while this one waits; where the value is held it would never wait.
            if heard.look() is None:
                await driver.run(heard.fill(bulk))
            else:
                await driver.run(one(Command(("PING",), bool, role="cache", patience_us=5_000_000)))

    def wait_for(number: int) -> None:
        end = time.monotonic() + FOR_EVER
        while heard.begun < number or not heard.local.on:
            assert time.monotonic() < end, "nobody listens"
            time.sleep(0.005)

    with redis.Redis(port=server.port) as writer:
        assert writer.set(PAGE, 0)
        readers = [colour.begin(reading if isinstance(colour, Threads) else reading_on_a_loop, n > 1) for n in range(4)]
        wait_for(1)
        for number in range(1, WRITES + 1):
            assert writer.mset({PAGE: number, f"c:{number}": ""})
            heard.written = number
            if number % CUT_EVERY == CUT_EVERY // 2:
                begun = heard.begun
                for client in writer.client_list():
                    if "B" in client["flags"]:
                        assert writer.client_kill_filter(_id=client["id"]) == 1
                wait_for(begun + 1)
        end = time.monotonic() + FOR_EVER
        while heard.look() != WRITES:
            assert time.monotonic() < end, "the last is never held"
            time.sleep(0.005)
        stop.set()
        for reader in readers:
            reader.result(FOR_EVER)
    assert heard.wrong == []
    assert heard.hits > WRITES / 10 and heard.begun == 1 + WRITES // CUT_EVERY


def test_an_outage_leaves_what_was_held_for_those_who_can_do_with_it(colour: Colour, server: Any) -> None:
    heard, driver = Heard(), colour.mw.driver

    def watch() -> None:
        driver.watch("cache", ("c:",), heard.local)

    async def watch_on_the_loop() -> None:
        watch()

    def until(condition: Any) -> None:
        end = time.monotonic() + FOR_EVER
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.005)

    with redis.Redis(port=server.port) as writer:
        assert writer.set(PAGE, 7)
        colour.do(watch if isinstance(colour, Threads) else watch_on_the_loop)
        until(lambda: heard.local.on)
        colour.run(heard.fill(bulk=False))
        assert heard.local.get(PAGE) == 7
        server.kill()
        until(lambda: not heard.local.on)
        assert (heard.local.get(PAGE), heard.local.last(PAGE)) == (None, 7)
        server.start()
        until(lambda: heard.local.on)
        assert heard.local.last(PAGE) is None
