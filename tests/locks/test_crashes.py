"""Whoever holds or waits may vanish at any moment: killed, cancelled, interrupted. The next one gets the lock."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import crashing
import pytest
from by_hand import command, until
from cutting import cut

from redis_mw import AsyncRedisMW, LockTimeout, RedisMW, RedisUnavailable, Settings, replace
from redis_mw.flows import Flow, Wait, one
from redis_mw.locks import acquire as flows
from redis_mw.locks.commands import Waiting
from redis_mw.locks.hold import Hold

PATIENT = 50

Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def spawn(redis_mw_settings: Settings) -> Iterator[Spawn]:
    """Starts a process that takes a lock, and waits until it says ``word``."""
    started: list[subprocess.Popen[str]] = []

    def spawn(name: str, ttl: float, wait: float, word: str) -> "subprocess.Popen[str]":
        arguments = [redis_mw_settings.url_of("locks"), redis_mw_settings.prefix, name, str(ttl), str(wait)]
        command = [sys.executable, str(Path(crashing.__file__)), *arguments]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout is not None
        assert any(line.strip() == word for line in started[-1].stdout)
        return started[-1]

    yield spawn
    for process in started:
        process.kill()
        assert process.stdout is not None
        process.stdout.close()
        _ = process.wait()


# Killed.


def test_a_holder_that_is_killed_is_replaced_at_the_end_of_its_lease(
    client: Any, kept: Any, spawn: Spawn, record_property: Callable[[str, object], None]
) -> None:
    holder = spawn("a", ttl=1.5, wait=0, word="held")
    waits = client.acquiring("a", wait=PATIENT)
    until(lambda: kept.listeners() == 1, "somebody waits")
    holder.send_signal(signal.SIGKILL)
    _ = holder.wait()
    ends = kept.ends("a")
    assert ends > 0
    taken = waits.result(PATIENT)
    late = kept.now() - ends
    record_property("seconds from the end of the lease to the next holder", round(late, 4))
    assert 0 <= late < 2
    taken.release()
    assert kept.nothing()


def test_a_waiter_that_is_killed_costs_the_next_one_a_moment(client: Any, kept: Any, spawn: Spawn) -> None:
    holder = client.acquire("a", ttl=300)
    waiter = spawn("a", ttl=300, wait=300, word="ready")
    until(lambda: kept.waiters("a") == 1 and kept.listeners() == 1, "it waits")
    waiter.send_signal(signal.SIGKILL)
    _ = waiter.wait()
    until(lambda: kept.listeners() == 0, "it is gone")
    waits = client.acquiring("a", wait=PATIENT)
    until(lambda: kept.listeners() == 1, "somebody waits behind it")
    holder.release()
    began = time.monotonic()
    waits.result(PATIENT).release()
    assert time.monotonic() - began < 10, "a second is what it should cost"
    assert kept.nothing()


def test_a_holder_with_a_shorter_lease_than_the_one_before_is_watched_by_those_behind(
    client: Any, kept: Any, spawn: Spawn
) -> None:
    """Who waits was told to look when the first lease ends; the second one ends earlier, and without a word."""
    holder = client.acquire("a", ttl=300)
    second = spawn("a", ttl=1.5, wait=300, word="ready")
    until(lambda: kept.listeners() == 1, "it waits")
    waits = client.acquiring("a", wait=PATIENT)
    until(lambda: kept.listeners() == 2, "somebody waits behind it")
    holder.release()
    assert second.stdout is not None and second.stdout.readline().strip() == "held"
    second.send_signal(signal.SIGKILL)
    waits.result(PATIENT).release()
    assert kept.nothing()


def test_a_reader_who_vanishes_is_not_waited_for_as_long_as_one_who_gave_back(client: Any, kept: Any) -> None:
    reader = client.acquire("a", ttl=300, shared=True)
    short = client.acquire("a", ttl=200, shared=True)
    waits = client.acquiring("a", wait=PATIENT)
    until(lambda: kept.listeners() == 1, "a writer waits")
    client.mw.locks.room.memory.held.drop(short.lease.hold)
    short.extend(1)
    client.mw.locks.room.memory.held.drop(short.lease.hold)
    reader.release()
    waits.result(PATIENT).release()
    assert kept.nothing()


# In the gap between being queued and listening, and between listening and waiting.


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_given_to_one_who_does_not_listen_yet_is_found_when_he_looks(
    client: Any, kept: Any, shared: bool
) -> None:
    room = client.mw.locks.room
    holder = client.acquire("a")
    ask = room.ask(room.wanted(("a",), wait=PATIENT, shared=shared))
    began = room.clock()
    assert isinstance(client.run(flows.take(room, ask)), Waiting)
    holder.release()
    assert 0 < kept.ends("a") - kept.now() <= 1, "it is his for a moment only"
    hold = client.run(flows.wait(room, ask, began))
    assert isinstance(hold, Hold) and kept.ends("a") - kept.now() > 20
    assert client.run(flows.release(room, hold)) is True
    assert kept.nothing()


def test_what_is_said_between_the_last_look_and_the_wait_is_heard(client: Any, kept: Any) -> None:
    """As if the lock were given back in the very moment in which the flow asks to be woken."""
    room = client.mw.locks.room
    holder = client.acquire("a")
    looks: list[object] = []

    def late(flow: Flow[Any]) -> Flow[Any]:
        effect = next(flow)
        while True:
            if isinstance(effect, Wait):
                _ = yield from flows.release(room, holder.lease.hold)
            else:
                looks.append(effect)
            try:
                effect = flow.send((yield effect))
            except StopIteration as end:
                return end.value

    ask = room.ask(room.wanted(("a",), wait=PATIENT))
    hold = client.run(late(flows.lock(room, ask)))
    assert isinstance(hold, Hold) and len(looks) == 2
    assert client.run(flows.release(room, hold)) is True


def test_one_who_missed_what_was_said_finds_it_when_he_hears_again(client: Any, kept: Any) -> None:
    holder = client.acquire("a")
    looked = kept.scripts_run()
    waits = client.acquiring("a", wait=PATIENT)
    until(lambda: kept.scripts_run() >= looked + 2, "it has looked, so it knows that it is heard")
    _ = kept.client.client_kill_filter(_type="pubsub")
    holder.release()
    waits.result(PATIENT).release()
    assert kept.nothing()


def test_one_who_cannot_listen_at_all_is_told_so_and_leaves(make: Any, server: Any) -> None:
    admin = make(url=server.url)
    holder = admin.acquire("a")
    assert admin.run(_say("ACL", "SETUSER", "deaf", "on", ">p", "~*", "+@all", "resetchannels")) == b"OK"
    deaf = make(url=server.url.replace("//", "//deaf:p@"), patience=1)
    deaf.acquire("b").release()
    with pytest.raises(RedisUnavailable, match="heard"):
        deaf.acquire("a", wait=PATIENT)
    holder.release()
    until(lambda: _free(admin), "the queue is left")


# Cancelled.


def attempts(total: float, step: float) -> list[float]:
    return [step * number for number in range(int(total / step))]


def test_a_task_cancelled_at_any_await_leaves_nothing_behind(
    redis_mw_settings: Settings, delaying_proxy: Any, kept: Any
) -> None:
    """Through a slow line, so that each cancellation hits a command under way. Free locks, and locks waited for."""
    proxy = delaying_proxy(redis_mw_settings.url_of("locks"), delay=0.03)

    async def turn(mw: AsyncRedisMW, point: int, after: float, *, held: bool) -> bool:
        holder = mw.sync.locks.lock("a", "b") if held else None
        if holder is not None:
            _ = await asyncio.to_thread(holder.acquire)

        async def section() -> None:
            async with mw.locks.lock("a", "b", wait=PATIENT):
                await asyncio.sleep(0.01)

        async def cutting() -> bool:
            return await cut(section(), point, after)

        work = asyncio.create_task(cutting())
        if holder is not None:
            _ = await asyncio.wait({work}, timeout=0.1)
            await asyncio.to_thread(holder.release)
        try:
            return await work
        except asyncio.CancelledError:
            return True

    async def everywhere() -> None:
        async with AsyncRedisMW(replace(redis_mw_settings, url=proxy.url)) as mw:
            async with mw.locks.lock("warm"):
                pass
            for held in (False, True):
                for after in (0.0, 0.02, 0.045):
                    point = 0
                    while await turn(mw, point, after, held=held):
                        point += 1
                    assert point >= 3
        assert kept.nothing()

    asyncio.run(everywhere())
    assert kept.nothing()


def test_one_cancelled_while_the_lock_is_handed_to_him_hands_it_on(
    redis_mw_settings: Settings, delaying_proxy: Any, kept: Any
) -> None:
    proxy = delaying_proxy(redis_mw_settings.url_of("locks"), delay=0.03)

    async def turns() -> None:
        async with (
            AsyncRedisMW(replace(redis_mw_settings, url=proxy.url)) as slow,
            AsyncRedisMW(redis_mw_settings) as mw,
        ):
            for after in attempts(0.1, 0.01):
                holder = mw.locks.lock("a")
                _ = await holder.acquire()
                first = asyncio.create_task(slow.locks.lock("a", wait=PATIENT).acquire())
                await asyncio.to_thread(until, lambda: kept.waiters("a") == 1, "one waits")
                second = asyncio.create_task(mw.locks.lock("a", wait=PATIENT, ttl=2).acquire())
                await asyncio.to_thread(until, lambda: kept.waiters("a") == 2, "another one waits")
                await holder.release()
                await asyncio.sleep(after)
                if not first.done():
                    _ = first.cancel()
                    _ = await asyncio.wait({first})
                if first.cancelled():
                    _ = await asyncio.wait_for(second, PATIENT)
                else:
                    _ = second.cancel()
                    _ = await asyncio.wait({second})
                del first, second
                kept.client.delete(kept.key("a", "h"))

    asyncio.run(turns())


# Interrupted.


def test_a_thread_that_is_interrupted_leaves_nothing_behind(
    redis_mw_settings: Settings, delaying_proxy: Any, kept: Any
) -> None:
    proxy = delaying_proxy(redis_mw_settings.url_of("locks"), delay=0.03)

    class Interrupted(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with RedisMW(replace(redis_mw_settings, url=proxy.url)) as mw, RedisMW(redis_mw_settings) as other:
            with mw.locks.lock("warm"):
                pass
            for held in (False, True):
                for after in attempts(0.2, 0.02):
                    holder = other.locks.lock("a")
                    if held:
                        _ = holder.acquire()
                    lease = None
                    try:
                        # Not while a command is packed: what a signal handler raises can crash hiredis there.
                        _ = signal.setitimer(signal.ITIMER_REAL, after + 0.011)
                        lease = mw.locks.lock("a", wait=PATIENT, ttl=5).acquire()
                        time.sleep(PATIENT)
                    except Interrupted:
                        pass
                    if held:
                        holder.release()
                    if lease is not None:  # it was not interrupted before it had it
                        _ = mw.driver.run(flows.release(mw.locks.room, lease.hold))
                    # At once, but for a command that was cut off as it left: its undo may overtake it, on another
                    # connection, and then it ends with its lease.
                    until(lambda: kept.free("a"), "what was taken, or waited for, is given back")
    finally:
        _ = signal.setitimer(signal.ITIMER_REAL, 0)
        _ = signal.signal(signal.SIGALRM, before)


def _free(client: Any) -> bool:
    try:
        client.acquire("a", wait=0).release()
    except LockTimeout:
        return False
    return True


def _say(*words: str) -> Any:
    return one(command(*words, role="locks"))
