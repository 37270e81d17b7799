"""Many who want what is not there: one makes it, in one process and over several; and nobody waits for ever."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import loading
import pytest
from by_hand import soon, until
from cutting import cut
from kept import listeners as listening

from redis_mw import AsyncRedisMW, Event, RedisMW, Settings, replace
from redis_mw.caching.tags import name_of
from redis_mw.testing import count_round_trips

FOR_EVER = 60.0
Make = Callable[..., Any]


def listeners(client: Any, kept: Any, key: str = "a") -> int:
    return listening(kept, client.mw.cache.room.commands.channel(name_of(key)))


# In one process.


def test_a_hundred_at_once_are_one_load(client: Any, kept: Any, make_load: Any) -> None:
    load = make_load([1, 2], held=True)
    with count_round_trips() as trips:
        asking = [client.start("get_or_set", "a", client.loader(load), ttl=60) for _ in range(100)]
        load.wait()
        until(lambda: trips.awaited >= 1, "somebody has looked")
        time.sleep(0.2)  # in which anybody else would begin
        load.gate.set()
        values = [each.result(FOR_EVER) for each in asking]
    assert load.calls == 1 and values == [[1, 2]] * 100
    assert len({id(value) for value in values}) == 100, "nobody shares an object"
    # A look each, the store; and a thread may be told that another one is at it before that one could say so here:
    # it then looks twice more.
    assert trips.total <= 103 and trips.commands.count("EVALSHA") == trips.total


def test_those_who_come_while_it_is_made_ask_redis_nothing(client: Any, kept: Any, make_load: Any) -> None:
    load = make_load(held=True)
    first = client.start("get_or_set", "a", client.loader(load), ttl=60)
    load.wait()
    with count_round_trips() as trips:
        others = [client.start("get_or_set", "a", client.loader(load), ttl=60) for _ in range(20)]
        time.sleep(0.1)
        assert trips.awaited == 0
        load.gate.set()
        assert [each.result(FOR_EVER) for each in (first, *others)] == ["made"] * 21
    assert load.calls == 1


def test_an_error_of_the_load_reaches_all_who_wait_and_the_next_one_loads(
    client: Any, kept: Any, make_load: Any
) -> None:
    load = make_load(LookupError("no row"), held=True)
    asking = [client.start("get_or_set", "a", client.loader(load), ttl=60) for _ in range(5)]
    load.wait()
    time.sleep(0.1)
    load.gate.set()
    for each in asking:
        with pytest.raises(LookupError, match="no row"):
            each.result(FOR_EVER)
    # A thread may have been told that another one is at it before that one could say so here: it then tries itself.
    assert load.calls <= 2
    load.value, calls = "better", load.calls
    assert client.get_or_set("a", client.loader(load), ttl=60) == "better"
    assert load.calls == calls + 1


def test_a_load_that_takes_too_long_is_joined_by_another_one_up_to_the_cap(
    make: Make, kept: Any, make_load: Any
) -> None:
    client = make(wait=0.1, origin_cap=3)
    load = make_load(held=True)
    asking = [client.start("get_or_set", "a", client.loader(load), ttl=60) for _ in range(10)]
    for _ in range(3):
        load.wait()
    time.sleep(0.5)
    assert load.calls == 3, "no more than the cap"
    load.gate.set()
    assert [each.result(FOR_EVER) for each in asking] == ["made"] * 10
    assert load.calls == 3
    assert client.get("a") == "made"


def test_followers_are_shielded_from_the_cancellation_of_the_one_who_leads(
    redis_mw_settings: Settings, kept: Any
) -> None:
    async def main() -> None:
        gate, calls = asyncio.Event(), 0

        async def load() -> str:
            nonlocal calls
            calls += 1
            _ = await gate.wait()
            return "made"

        async with AsyncRedisMW(redis_mw_settings) as mw:
            leader = asyncio.create_task(mw.cache.get_or_set("a", load, ttl=60))
            await soon(lambda: calls, "it loads")
            followers = [asyncio.create_task(mw.cache.get_or_set("a", load, ttl=60)) for _ in range(5)]
            await asyncio.sleep(0.05)
            _ = leader.cancel()
            _ = followers[0].cancel()
            await asyncio.sleep(0.05)
            assert leader.cancelled() and followers[0].cancelled()
            gate.set()
            assert await asyncio.gather(*followers[1:]) == ["made"] * 4
            assert calls == 1 and await mw.cache.get("a") == "made"

    asyncio.run(main())


def test_one_who_is_cancelled_with_nobody_behind_him_still_has_it_stored(
    redis_mw_settings: Settings, kept: Any
) -> None:
    async def main() -> None:
        began, gate = asyncio.Event(), asyncio.Event()

        async def load() -> str:
            began.set()
            _ = await gate.wait()
            return "made"

        async with AsyncRedisMW(redis_mw_settings) as mw:
            task = asyncio.create_task(mw.cache.get_or_set("a", load, ttl=60))
            _ = await began.wait()
            _ = task.cancel()
            await asyncio.sleep(0)
            gate.set()
        async with AsyncRedisMW(redis_mw_settings) as mw:
            assert await mw.cache.get("a") == "made"

    asyncio.run(main())


@pytest.mark.one_server
def test_a_look_that_is_cancelled_leaves_no_lease(redis_mw_settings: Settings, delaying_proxy: Any, kept: Any) -> None:
    proxy = delaying_proxy(redis_mw_settings.url_of("cache"), delay=0.03)

    async def main() -> None:
        async with AsyncRedisMW(replace(redis_mw_settings, url=proxy.url)) as mw:
            await mw.ping()
            assert await mw.cache.get("warm") is None
            room = mw.cache.room
            own = asyncio.all_tasks()
            for number, after in enumerate((0.0, 0.02, 0.045)):
                key = f"a{number}"
                task = asyncio.create_task(cut(mw.cache.get_or_set(key, lambda: 1, ttl=60), 0, after))
                _ = await asyncio.wait({task})
                assert task.cancelled()
                await soon(lambda own=own: not asyncio.all_tasks() - own, "nothing is under way")
                assert not kept.exists(room.commands.key(name_of(key), part="l"))

    asyncio.run(main())


def test_a_thread_that_is_interrupted_takes_nobody_along(redis_mw_settings: Settings, kept: Any) -> None:
    class Interrupted(BaseException):
        pass

    began, gate, calls = threading.Event(), threading.Event(), []

    def load() -> str:
        calls.append(1)
        if len(calls) == 1:
            began.set()
            assert gate.wait(FOR_EVER)
            raise Interrupted
        return "made"

    with RedisMW(redis_mw_settings) as mw:
        got: list[Any] = []

        def lead() -> None:
            try:
                mw.cache.get_or_set("a", load, ttl=60)
            except Interrupted:
                got.append("interrupted")

        leader = threading.Thread(target=lead)
        leader.start()
        assert began.wait(FOR_EVER)
        follower = threading.Thread(target=lambda: got.append(mw.cache.get_or_set("a", load, ttl=60)))
        follower.start()
        time.sleep(0.1)
        gate.set()
        leader.join()
        follower.join()
        assert sorted(got) == ["interrupted", "made"] and len(calls) == 2


# Two clients are two processes: they share nothing but the server.


def test_one_who_waits_for_another_process_sleeps_and_asks_three_times(
    make: Make, kept: Any, make_load: Any, heard: list[Event]
) -> None:
    one, other = make(), make()
    load = make_load(held=True)
    first = one.start("get_or_set", "a", one.loader(load), ttl=60)
    load.wait()
    with count_round_trips() as trips:
        others = [other.start("get_or_set", "a", other.loader(load), ttl=60) for _ in range(1)]
        until(lambda: listeners(one, kept) == 1 and trips.awaited >= 2, "it sleeps")
        time.sleep(0.2)
        assert trips.awaited == 2, "nobody polls"
        others += [other.start("get_or_set", "a", other.loader(load), ttl=60) for _ in range(20)]
        time.sleep(0.1)
        load.gate.set()
        assert [each.result(FOR_EVER) for each in (first, *others)] == ["made"] * 22
    assert load.calls == 1
    assert trips.awaited <= 4  # three, and the one store
    assert [event.outcome for event in heard if event.name == "cache.hit"] == ["waited"]
    until(lambda: listeners(one, kept) == 0, "the channel is left")


def test_one_whose_load_fails_wakes_another_process_which_loads(make: Make, kept: Any, make_load: Any) -> None:
    one, other = make(), make()
    failing, load = make_load(LookupError(), held=True), make_load()
    first = one.start("get_or_set", "a", one.loader(failing), ttl=60)
    failing.wait()
    second = other.start("get_or_set", "a", other.loader(load), ttl=60)
    until(lambda: listeners(one, kept) == 1, "it sleeps")
    failing.gate.set()
    assert second.result(FOR_EVER) == "made"
    with pytest.raises(LookupError):
        first.result(FOR_EVER)


def test_a_wait_has_an_end_and_then_the_load_runs_and_stores_nothing(make: Make, kept: Any, make_load: Any) -> None:
    one, other = make(), make(wait=0.3)
    slow, load = make_load("slow", held=True), make_load("own")
    first = one.start("get_or_set", "a", one.loader(slow), ttl=60)
    slow.wait()
    began = time.monotonic()
    assert other.get_or_set("a", other.loader(load), ttl=60) == "own"
    assert time.monotonic() - began >= 0.3
    assert other.get("a", default="nothing") == "nothing"
    slow.gate.set()
    assert first.result(FOR_EVER) == "slow" and other.get("a") == "slow"


def test_a_lease_is_renewed_while_its_owner_is_at_work(make: Make, kept: Any, make_load: Any) -> None:
    one, other = make(), make(wait=0)
    load = make_load(held=True)
    first = one.start("get_or_set", "a", one.loader(load), ttl=60)
    load.wait()
    time.sleep(3)  # longer than the lease
    assert kept.exists(one.mw.cache.room.commands.key(name_of("a"), part="l"))
    load.gate.set()
    assert first.result(FOR_EVER) == "made" and other.get("a") == "made"


# Over processes.


@pytest.fixture
def spawn(redis_mw_settings: Settings) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts a process of ``loading``, which says ``ready`` and then waits for a line."""
    started: list[subprocess.Popen[str]] = []

    def spawn(colour: str, many: int, seconds: float) -> "subprocess.Popen[str]":
        words = [json.dumps(redis_mw_settings.url), redis_mw_settings.prefix, colour, str(many), str(seconds)]
        command = [sys.executable, str(Path(loading.__file__)), *words]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        started.append(subprocess.Popen(command, env=env, **pipes))
        return started[-1]

    yield spawn
    for process in started:
        process.kill()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
        _ = process.wait()


@pytest.mark.parametrize("colours", [["aio"] * 4, ["sync"] * 4])
def test_a_hundred_over_four_processes_are_one_load(spawn: Any, kept: Any, colours: list[str]) -> None:
    processes = [spawn(colour, 25, 0.5) for colour in colours]
    for process in processes:
        assert process.stdout.readline().strip() == "ready"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [json.loads(process.stdout.readline()) for process in processes]
    assert sum(each["loads"] for each in said) == 1
    assert len({value for each in said for value in each["values"]}) == 1
    # Each of those who ask at the same time looks once; for all of them one waits, and looks twice more. One stores.
    assert all(each["commands"] <= 25 + 3 for each in said)


@pytest.mark.parametrize("colour", ["aio", "sync"])
def test_one_who_is_killed_is_replaced_at_the_end_of_the_lease(
    make: Make, spawn: Any, kept: Any, make_load: Any, colour: str
) -> None:
    client = make()
    process = spawn(colour, 1, 600)
    assert process.stdout.readline().strip() == "ready"
    process.stdin.write("go\n")
    process.stdin.flush()
    at = client.mw.cache.room.commands.key(name_of("a"), part="l")
    until(lambda: kept.exists(at), "it loads")
    load = make_load("next")
    waiting = client.start("get_or_set", "a", client.loader(load), ttl=60)
    until(lambda: listeners(client, kept) == 1, "it sleeps")
    process.send_signal(signal.SIGKILL)
    _ = process.wait()
    began = time.monotonic()
    assert waiting.result(FOR_EVER) == "next"
    assert time.monotonic() - began < 10, "two seconds is what it should take"
    assert client.get("a") == "next", "it had the lease"
