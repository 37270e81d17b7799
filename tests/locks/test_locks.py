"""What locks do for whoever takes them, on a real server, in both colours."""

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from by_hand import until

from redis_mw import (
    AsyncRedisMW,
    Event,
    LockTimeout,
    NotOwner,
    QueueFull,
    RedisMW,
    RedisMWError,
    Refused,
    Settings,
    SettingsError,
    replace,
)
from redis_mw.faces.locks import AsyncLease, AsyncLock, AsyncLocks, SyncLease, SyncLock, SyncLocks
from redis_mw.testing import count_round_trips

Make = Callable[..., Any]

PATIENT = 50
"""Seconds to wait for what comes at once unless something is broken."""


# One lock.


def test_a_free_lock_is_taken_and_given_back_in_a_round_trip_each(client: Any, kept: Any) -> None:
    client.acquire("warm").release()
    with count_round_trips() as trips:
        taken = client.acquire("order:1")
        assert (trips.awaited, trips.detached) == (1, 0)
        assert list(kept.holders("order:1")) == [taken.lease.hold.ask.token]
        taken.release()
    assert (trips.awaited, trips.detached) == (2, 0)
    assert kept.nothing()
    assert taken.lease.names == ("order:1",) and taken.lease.fence > 0
    assert not (taken.lease.lost or taken.lease.shared or taken.lease.degraded)


def test_each_lease_has_a_fence_above_all_before_it(client: Any, kept: Any) -> None:
    fences: list[int] = []
    for turn in range(30):
        taken = client.acquire("a", "b") if turn % 3 else client.acquire("a", shared=turn % 2 == 0)
        fences.append(taken.lease.fence)
        taken.release()
        if turn == 10:
            kept.client.delete(kept.key("a", "f"))  # as when a server that took over had not heard of them
    assert fences == sorted(set(fences)) and fences[-1] < 2**53


def test_a_held_lock_is_waited_for_until_it_is_given_back(client: Any, kept: Any, heard: list[Event]) -> None:
    first = client.acquire("a")
    waits = client.acquiring("a", wait=PATIENT)
    until(lambda: kept.listeners() == 1, "it waits")
    first.release()
    second = waits.result(PATIENT)
    assert second.lease.fence > first.lease.fence
    assert kept.ends("a") - kept.now() > 20, "it was handed over for its ttl"
    second.release()
    assert kept.nothing()
    assert [event.name for event in heard] == ["lock.acquired", "lock.waited"]
    assert heard[1].seconds > 0 and heard[1].detail == {"locks": 1, "shared": False}


def test_who_waits_in_vain_is_told_so_and_has_left_the_queue(client: Any, kept: Any, heard: list[Event]) -> None:
    holder = client.acquire("order:1", "b")
    with pytest.raises(LockTimeout, match="order:1") as caught:
        client.acquire("order:1", wait=0.2)
    assert isinstance(caught.value, Refused) and caught.value.names == ("order:1",)
    assert (caught.value.status, caught.value.retry_after) == (409, 1)
    assert caught.value.problem == {"title": "Conflict", "detail": "Another request is at work on this."}
    assert kept.waiters("order:1") == 0 and len(kept.holders("order:1")) == 1
    assert [(event.name, event.outcome) for event in heard[1:]] == [("lock.timeout", "waited")]
    assert heard[1].seconds >= 0.2
    holder.release()


def test_who_does_not_wait_is_refused_in_one_trip_and_never_queued(client: Any, kept: Any, heard: list[Event]) -> None:
    holder = client.acquire("a")
    with count_round_trips() as trips, pytest.raises(LockTimeout):
        client.acquire("a", wait=0)
    assert trips.total == 1 and kept.waiters("a") == 0
    assert heard[-1].outcome == "busy"
    holder.release()


def test_only_so_many_wait_for_one_lock(make: Make, kept: Any, heard: list[Event]) -> None:
    client = make(queue=2, wait=PATIENT)
    holder = client.acquire("a")
    waiting = [client.acquiring("a") for _ in range(2)]
    until(lambda: kept.listeners() == 2, "two wait")
    with pytest.raises(QueueFull, match="a, b") as caught:
        client.acquire("b", "a")
    assert isinstance(caught.value, Refused)
    assert (caught.value.status, caught.value.retry_after, caught.value.names) == (429, 1, ("a", "b"))
    assert heard[-1].outcome == "queue_full" and kept.waiters("b") == 0
    client.acquire("b").release()
    holder.release()
    for _ in range(2):
        until(lambda: any(each.done() for each in waiting), "one is next")
        done = next(each for each in waiting if each.done())
        waiting.remove(done)
        done.result().release()


def test_without_a_queue_nobody_waits(make: Make) -> None:
    client = make(queue=0)
    client.acquire("a")
    with pytest.raises(QueueFull):
        client.acquire("a")


def test_who_comes_first_is_served_first(client: Any, kept: Any) -> None:
    holder = client.acquire("a")
    waiting: list[Any] = []
    for number in range(6):
        waiting.append(client.acquiring("a", wait=PATIENT))
        until(lambda number=number: kept.listeners() == number + 1, "it waits")  # type: ignore[misc]
    holder.release()
    for number, each in enumerate(waiting):
        taken = each.result(PATIENT)
        assert not any(later.done() for later in waiting[number + 1 :])
        taken.release()


def test_a_contended_lock_costs_each_at_most_four_trips_and_is_nobodys_in_the_end(client: Any, kept: Any) -> None:
    client.acquire("warm").release()
    inside: list[int] = []
    fences: list[int] = []

    def section(lease: Any) -> None:
        inside.append(1)
        assert len(inside) == 1, "two are inside"
        fences.append(lease.fence)
        _ = inside.pop()

    def block() -> None:
        client.inside(client.mw.locks.lock("a", wait=PATIENT), section)

    with count_round_trips() as trips, ThreadPoolExecutor(20) as threads:
        for done in [threads.submit(block) for _ in range(20)]:
            done.result(PATIENT)
    assert trips.total <= 4 * 20
    assert len(fences) == 20 and fences == sorted(set(fences))
    assert kept.nothing()


# Readers.


def test_readers_hold_a_lock_together_and_a_writer_waits_for_all_of_them(client: Any, kept: Any) -> None:
    readers = [client.acquire("a", shared=True) for _ in range(3)]
    assert all(reader.lease.shared for reader in readers) and len(kept.holders("a")) == 3
    writer = client.acquiring("a", wait=PATIENT)
    until(lambda: kept.listeners() == 1, "the writer waits")
    for reader in readers:
        assert not writer.done()
        reader.release()
    taken = writer.result(PATIENT)
    assert taken.lease.fence > max(reader.lease.fence for reader in readers)
    taken.release()


def test_a_writer_who_waits_is_not_passed_by_readers_who_then_come_all_at_once(client: Any, kept: Any) -> None:
    reader = client.acquire("a", shared=True)
    writer = client.acquiring("a", wait=PATIENT)
    until(lambda: kept.listeners() == 1, "the writer waits")
    later = [client.acquiring("a", shared=True, wait=PATIENT) for _ in range(3)]
    until(lambda: kept.listeners() == 4, "they wait behind the writer")
    with pytest.raises(LockTimeout):
        client.acquire("a", shared=True, wait=0)
    reader.release()
    writer.result(PATIENT).release()
    for each in later:
        until(each.done, "all read together")
    assert len(kept.holders("a")) == 3
    for each in later:
        each.result().release()
    assert kept.nothing()


# Several locks.


def test_several_locks_are_taken_all_at_once_or_not_at_all(client: Any, kept: Any) -> None:
    holder = client.acquire("b")
    with pytest.raises(LockTimeout) as caught:
        client.acquire("c", "b", "a", wait=0)
    assert caught.value.names == ("a", "b", "c")
    assert kept.holders("a") == kept.holders("c") == {}
    both = client.acquiring("b", "a", wait=PATIENT)
    until(lambda: kept.listeners() == 1, "it waits")
    assert kept.holders("a") == {}
    holder.release()
    taken = both.result(PATIENT)
    assert taken.lease.names == ("a", "b")
    assert kept.holders("a").keys() == kept.holders("b").keys() == {taken.lease.hold.ask.token}
    with count_round_trips() as trips:
        taken.release()
    assert trips.total == 1 and kept.nothing()


def test_a_name_that_is_written_twice_is_one_lock(client: Any) -> None:
    taken = client.acquire("a", "a")
    assert taken.lease.names == ("a",)
    taken.release()


def test_locks_taken_in_any_order_by_many_never_wait_for_each_other_for_ever(client: Any, kept: Any) -> None:
    inside: set[str] = set()

    def block(names: tuple[str, ...]) -> None:
        def section(_: object) -> None:
            assert not inside & set(names)
            inside.update(names)
            inside.difference_update(names)

        for _ in range(5):
            client.inside(client.mw.locks.lock(*names, wait=PATIENT), section)

    pairs = list(permutations("abc", 2)) * 2
    with ThreadPoolExecutor(len(pairs)) as threads:
        for done in [threads.submit(block, pair) for pair in pairs]:
            done.result(PATIENT)
    assert kept.nothing()


# Giving back.


def test_what_is_not_held_cannot_be_given_back(client: Any, kept: Any) -> None:
    holder = client.acquire("a")
    stranger = client.mw.locks.lock("a")
    with pytest.raises(NotOwner, match="a") as caught:
        client.do(stranger.release)
    assert isinstance(caught.value, RedisMWError) and not isinstance(caught.value, Refused)
    assert caught.value.names == ("a",) and len(kept.holders("a")) == 1
    holder.release()
    with pytest.raises(NotOwner):
        holder.release()


def test_one_lock_may_be_used_by_many_at_the_same_time(client: Any, kept: Any) -> None:
    lock = client.mw.locks.lock("a", wait=PATIENT)
    inside: list[int] = []

    def section(_: object) -> None:
        inside.append(1)
        assert len(inside) == 1
        _ = inside.pop()

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(client.inside, lock, section) for _ in range(24)]:
            done.result(PATIENT)
    assert kept.nothing()


def test_an_error_inside_a_block_gives_the_lock_back(client: Any, kept: Any) -> None:
    def fails(_: object) -> None:
        raise LookupError("its own trouble")

    with pytest.raises(LookupError):
        client.inside(client.mw.locks.lock("a"), fails)
    assert kept.nothing()


# Names and numbers.


@pytest.mark.parametrize("name", ["{}", "a|b,c", "\r\n\0", "\udcff", "é" * 100_000, "x:h", " "])
def test_a_name_may_be_any_text(client: Any, kept: Any, name: str) -> None:
    taken = client.acquire(name, "b")
    with pytest.raises(LockTimeout):
        client.acquire(name, wait=0)
    waits = client.acquiring("b", name, wait=PATIENT)
    until(lambda: kept.listeners("b") == 1, "it waits")
    taken.release()
    waits.result(PATIENT).release()
    assert kept.nothing()
    assert all(len(key) < 150 for key in kept.client.scan_iter(f"{kept.prefix}:*"))


@pytest.mark.parametrize(
    ("names", "how", "error"),
    [
        ((), {}, ValueError),
        (("",), {}, ValueError),
        ((1001,), {}, TypeError),
        ((b"a",), {}, TypeError),
        ((["a"],), {}, TypeError),
        (("a",), {"ttl": 0}, ValueError),
        (("a",), {"ttl": -1}, ValueError),
        (("a",), {"ttl": 0.0001}, ValueError),
        (("a",), {"ttl": float("nan")}, ValueError),
        (("a",), {"ttl": "30"}, TypeError),
        (("a",), {"wait": -0.1}, ValueError),
        (("a",), {"wait": float("inf")}, ValueError),
        (("a",), {"max_hold": 0}, ValueError),
    ],
)
def test_what_cannot_be_meant_is_an_error_at_once(
    client: Any, names: tuple[Any, ...], how: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        client.mw.locks.lock(*names, **how)


def test_a_lease_is_never_longer_than_it_may_be_held(client: Any, kept: Any) -> None:
    client.acquire("a", ttl=timedelta(hours=1), max_hold=timedelta(minutes=1))
    assert 0 < kept.ends("a") - kept.now() <= 60


# The faces.


@pytest.mark.parametrize(("sync", "aio"), [(SyncLocks, AsyncLocks), (SyncLock, AsyncLock), (SyncLease, AsyncLease)])
def test_both_colours_have_the_same_methods_with_the_same_arguments(sync: type, aio: type) -> None:
    twins = {"__enter__": "__aenter__", "__exit__": "__aexit__"}
    one = {name: method for name, method in vars(sync).items() if inspect.isfunction(method)}
    other = {name: method for name, method in vars(aio).items() if inspect.isfunction(method)}
    assert {twins.get(name, name) for name in one} == set(other)
    for name, method in one.items():
        twin = other[twins.get(name, name)]
        assert list(inspect.signature(method).parameters) == list(inspect.signature(twin).parameters)
        assert name in ("__init__", "lock") or inspect.iscoroutinefunction(twin)


def test_an_event_says_nothing_of_which_lock(client: Any, heard: list[Event]) -> None:
    client.acquire("secret-name").release()
    with pytest.raises(NotOwner):
        client.do(client.mw.locks.lock("secret-name").release)
    assert heard and all("secret" not in repr(event) for event in heard)


def test_locks_that_are_turned_off_say_so(redis_mw_settings: Settings) -> None:
    off = replace(redis_mw_settings, locks=None)
    with RedisMW(off) as mw, pytest.raises(SettingsError, match="turned off"):
        _ = mw.locks
    with pytest.raises(SettingsError, match="turned off"):
        _ = AsyncRedisMW(off).locks
