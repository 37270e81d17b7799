"""What a feature remembers belongs to one process: after a fork it begins anew, once for all threads of the child."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from typing import Any

import pytest

from redis_mw.events import Events
from redis_mw.layer.rooms import rooms_of
from redis_mw.processes import Ids, PerProcess
from redis_mw.settings import Settings


def of_the_lock(room: Any) -> Any:
    _ = room.ask(room.wanted(("x",)))
    return room.memory


@pytest.mark.parametrize(
    ("feature", "remembering"),
    [
        ("limits", lambda room: room.memory),
        ("locks", of_the_lock),
        ("idempotency", lambda room: room.memory),
        ("caching", lambda room: room.memory),
    ],
)
def test_threads_that_find_out_at_once_that_they_are_in_a_child_share_one_memory(
    monkeypatch: pytest.MonkeyPatch, feature: str, remembering: Callable[[Any], Any]
) -> None:
    room: Any = getattr(rooms_of(Settings(), Events((), time.time), "a secret"), feature)
    both, first_is_done, of_parent = Barrier(2), Event(), remembering(room)
    make = getattr(__import__(type(room).__module__, fromlist=["Memory"]), "Memory")  # noqa: B009

    def slow(*arguments: Any) -> Any:
        if both.wait(20) == 0:  # one of them is so slow that the other has asked by then
            assert first_is_done.wait(20)
        return make(*arguments)

    def remembered() -> Any:
        memory = remembering(room)
        first_is_done.set()
        return memory

    monkeypatch.setattr(f"{type(room).__module__}.Memory", slow)
    child = os.getpid() + 1
    monkeypatch.setattr("redis_mw.processes.os.getpid", lambda: child)
    with ThreadPoolExecutor(2) as pool:
        found = [each.result() for each in [pool.submit(remembered) for _ in range(2)]]
    assert found[0] is found[1] is not of_parent


def test_a_process_finds_what_it_made_and_nothing_of_its_parents(monkeypatch: pytest.MonkeyPatch) -> None:
    each: PerProcess[list[int]] = PerProcess(list)
    of_parent = each.here()
    of_parent.append(1)
    assert each.here() is of_parent
    parent = os.getpid()
    monkeypatch.setattr("redis_mw.processes.os.getpid", lambda: parent + 1)
    of_child = each.here()
    assert of_child == [] and each.here() is of_child
    # A number that comes again is another process's: nothing was kept under it.
    monkeypatch.setattr("redis_mw.processes.os.getpid", lambda: parent)
    assert each.here() == []


def test_ids_are_different_also_those_of_others() -> None:
    drawn = [ids.new() for ids in (Ids(), Ids(), Ids(6)) for _ in range(100)]
    assert len(set(drawn)) == 300
