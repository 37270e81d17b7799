"""Flows that go on in the background as long as they find something to do: on threads, on asyncio, on uvloop."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from by_hand import command, until

from redis_mw.errors import RedisUnavailable
from redis_mw.flows import Flow, Wait, one

EngineOf = Callable[..., Any]

HOUR = 3600.0


class Sleepers:
    """Makes flows that sleep until somebody publishes on their channel; ``story`` tells what became of them."""

    def __init__(self, channel: str = "bell") -> None:
        self.story: list[str] = []
        self._channel = channel

    def __call__(self) -> Flow[None]:
        self.story.append("made")
        return self._sleeping()

    def _sleeping(self) -> Flow[None]:
        try:
            _ = yield from one(command("INCR", f"asleep:{self._channel}", wakes=(self._channel,)))
            _ = yield Wait((self._channel,), HOUR)
            self.story.append("woken")
        finally:
            self.story.append("ended")


def asleep(valkey: Any, channel: str = "bell") -> int:
    """How many flows have gone to sleep at this channel so far."""
    return int(valkey.say("INCRBY", f"asleep:{channel}", "0")[1:])


def test_a_flow_is_tended_once_per_key_at_a_time_and_anew_when_it_has_ended(valkey: Any, engine_of: EngineOf) -> None:
    engine = engine_of(valkey.url)
    locks, slots = Sleepers(), Sleepers("gong")
    for _ in range(5):
        engine.tend("locks", locks)
    engine.tend("slots", slots)
    until(lambda: asleep(valkey) == asleep(valkey, "gong") == 1, "both sleep")
    engine.tend("locks", locks)
    assert locks.story == slots.story == ["made"]
    _ = valkey.say("PUBLISH", "bell", "now")
    until(lambda: locks.story == ["made", "woken", "ended"], "one ends")
    engine.tend("locks", locks)
    until(lambda: asleep(valkey) == 2, "another one sleeps")
    assert slots.story == ["made"]


def test_what_was_asked_for_while_a_flow_slept_it_has_seen_and_none_follows(valkey: Any, engine_of: EngineOf) -> None:
    engine = engine_of(valkey.url)
    locks, after = Sleepers(), Sleepers()
    engine.tend("locks", locks)
    until(lambda: asleep(valkey) == 1, "it sleeps")
    engine.tend("locks", after)
    _ = valkey.say("PUBLISH", "bell", "now")
    until(lambda: locks.story == ["made", "woken", "ended"], "it ends")
    engine.close()
    assert after.story == []


def test_nothing_is_left_undone_though_runs_end_while_others_put_down_more(valkey: Any, engine_of: EngineOf) -> None:
    engine = engine_of(valkey.url)
    to_do: set[int] = set()
    done: list[int] = []
    under_way: list[int] = []

    def tending() -> Flow[None]:
        under_way.append(1)
        assert len(under_way) == 1
        while to_do:
            done.append(to_do.pop())
            _ = yield Wait((), 0.0)
        _ = under_way.pop()

    def ask(thread: int) -> None:
        for number in range(100):
            to_do.add(thread * 100 + number)
            engine.tend("all", tending)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ask, range(4)))
    until(lambda: sorted(done) == list(range(400)), "all is done")


def test_a_plain_sleep_ends_by_itself(shared_valkey: Any, engine_of: EngineOf) -> None:
    replies: list[Any] = []

    def flow() -> Flow[None]:
        replies.append((yield Wait((), 0.01)))

    engine_of(shared_valkey.url).tend("k", flow)
    until(lambda: replies == [None], "it goes on")


def test_an_error_is_logged_and_the_next_one_is_tended_as_if_nothing_had_been(
    valkey: Any, engine_of: EngineOf, caplog: pytest.LogCaptureFixture
) -> None:
    def failing() -> Flow[None]:
        _ = yield from one(command("PING"))
        raise LookupError("a bug")

    def not_even_made() -> Flow[None]:
        raise LookupError("an early bug")

    engine = engine_of(valkey.url)
    locks = Sleepers()
    for flow, bug in ((failing, "a bug"), (not_even_made, "an early bug")):
        engine.tend("locks", flow)
        until(lambda bug=bug: bug in caplog.text, "it is logged")  # type: ignore[misc]
    engine.tend("locks", locks)
    until(lambda: asleep(valkey) == 1, "it sleeps")
    assert caplog.text.count("a tended flow failed") == 2


def test_its_trips_are_nobodys(valkey: Any, engine_of: EngineOf, seen: list[Any]) -> None:
    engine = engine_of(valkey.url)
    engine.tend("k", lambda: one(command("SET", "tended", "x")))
    until(lambda: valkey.say("EXISTS", "tended") == b":1\r\n", "it has run")
    assert [detached for _, _, detached in seen] == [True]


def test_it_takes_no_place_of_a_detached_flow(
    valkey: Any, engine_of: EngineOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis_mw.engine.aio.driver.MOST_TASKS", 1)
    monkeypatch.setattr("redis_mw.engine.sync.background.THREADS", 1)
    engine = engine_of(valkey.url)
    for key in range(3):
        engine.tend(key, Sleepers())
    until(lambda: asleep(valkey) == 3, "all sleep")
    engine.detach(one(command("SET", "detached", "x")), within=10)
    until(lambda: valkey.say("EXISTS", "detached") == b":1\r\n", "it has run")


# The end.


def test_a_flow_that_sleeps_for_an_hour_is_ended_at_once_and_not_resumed(valkey: Any, engine_of: EngineOf) -> None:
    engine = engine_of(valkey.url)
    locks, ended = Sleepers(), threading.Event()

    def plain() -> Flow[None]:
        try:
            _ = yield Wait((), HOUR)
        finally:
            ended.set()

    engine.tend("locks", locks)
    engine.tend("plain", plain)
    until(lambda: asleep(valkey) == 1, "it sleeps")
    began = time.monotonic()
    engine.close()
    assert time.monotonic() - began < 4, "the end waited for it as for a detached flow"
    until(lambda: locks.story == ["made", "ended"] and ended.is_set(), "both are closed")


def test_a_flow_that_awaits_a_reply_is_not_waited_for_either(valkey: Any, engine_of: EngineOf) -> None:
    story: list[str] = []

    def flow() -> Flow[None]:
        try:
            _ = yield from one(command("BLPOP", "gate", 60, patience=60))
            story.append("went on")
        finally:
            story.append("ended")

    engine = engine_of(valkey.url)
    engine.tend("k", flow)
    until(lambda: b"blocked_clients:1" in valkey.say("INFO", "clients"), "its batch is under way")
    engine.close()
    _ = valkey.say("LPUSH", "gate", "x")
    until(lambda: story == ["ended"], "it is closed, where it stood")


def test_a_flow_that_would_undo_something_at_the_end_is_told_that_it_cannot(
    valkey: Any, engine_of: EngineOf, seen: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    begun = threading.Event()

    def flow() -> Flow[None]:
        begun.set()
        try:
            _ = yield Wait((), HOUR)
        finally:
            _ = yield from one(command("DEL", "k"))

    engine = engine_of(valkey.url)
    engine.tend("k", flow)
    assert begun.wait(20)
    engine.close()
    until(lambda: "GeneratorExit" in caplog.text, "it is logged")
    assert seen == []


def test_a_closed_driver_tends_nothing(valkey: Any, engine_of: EngineOf) -> None:
    used, unused = engine_of(valkey.url), engine_of(valkey.url)
    assert used.run(one(command("PING"))) == b"PONG"
    locks = Sleepers()
    for engine in (used, unused):
        engine.close()
        engine.tend("locks", locks)
        assert isinstance(engine.run(one(command("PING"))), RedisUnavailable)
    assert locks.story == []
