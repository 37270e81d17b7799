"""Renewing: what is held is kept, what is another's is let go, and nothing is renewed for ever."""

from collections.abc import Callable
from typing import Any

import pytest
import redis
from by_hand import until

from redis_mw import Settings
from redis_mw.engine.sync import SyncDriver
from redis_mw.errors import RedisUnavailable
from redis_mw.events import Events
from redis_mw.flows import Batch, Wait
from redis_mw.idempotency.attempt import Attempt
from redis_mw.idempotency.commands import RENEW
from redis_mw.idempotency.leases import AT_ONCE
from redis_mw.idempotency.outcomes import Busy, First
from redis_mw.idempotency.room import Room

Make = Callable[..., Attempt]


def test_nothing_is_tended_where_nothing_is_held(room: Room) -> None:
    assert not room.memory.leases
    with pytest.raises(StopIteration):
        _ = next(room.renewing())


def test_what_is_held_is_renewed_a_third_of_a_lease_apart_until_nothing_is(room: Room) -> None:
    leases = room.memory.leases
    leases.hold("a", "ann")
    leases.hold("b", "bob")
    flow = room.renewing()
    assert next(flow) == Wait((), 10.0)
    asked = flow.send(None)
    assert isinstance(asked, Batch)
    assert [command.script for command in asked.commands] == [RENEW, RENEW]
    assert flow.send([1, 0]) == Wait((), 10.0)  # b is another's now
    asked = flow.send(None)
    assert isinstance(asked, Batch) and len(asked.commands) == 1 and "{a}" in asked.commands[0].keys[0]
    assert flow.send([RedisUnavailable("gone")]) == Wait((), 10.0)  # tried again: it may still be ours
    asked = flow.send(None)
    assert isinstance(asked, Batch) and len(asked.commands) == 1
    leases.drop("a", "ann")
    with pytest.raises(StopIteration):
        _ = flow.send([1])


def test_many_are_renewed_in_batches_of_a_bounded_size(room: Room) -> None:
    for number in range(AT_ONCE + 1):
        room.memory.leases.hold(str(number), "ann")
    flow = room.renewing()
    _ = next(flow)
    sizes: list[int] = []
    effect = flow.send(None)
    while isinstance(effect, Batch):
        sizes.append(len(effect.commands))
        effect = flow.send([1] * len(effect.commands))
    assert sizes == [AT_ONCE, 1]


def test_a_request_that_nobody_ever_ends_keeps_its_key_for_no_longer_than_an_answer_would(
    make_room: Callable[..., Room],
) -> None:
    room = make_room(lease=30, ttl=60)
    room.memory.leases.hold("a", "ann")
    flow = room.renewing()
    renewals = 0
    effect: Any = next(flow)
    with pytest.raises(StopIteration):
        while renewals < 100:
            if isinstance(effect, Batch):
                renewals += 1
                effect = flow.send([1])
            else:
                effect = flow.send(None)
    assert renewals == 6


def test_a_renewed_claim_outlives_its_lease(attempt: Make, run: Callable[..., Any]) -> None:
    first, other, later = attempt(), attempt(), attempt()
    commands = first.room.commands
    commands.now_us = 1_000_000
    run(first.ask())
    flow = first.room.renewing()
    assert isinstance(next(flow), Wait)
    commands.now_us = 21_000_000
    run(one_batch(flow.send(None)))
    commands.now_us = 40_000_000
    run(other.ask())
    assert isinstance(other.outcome, Busy)
    commands.now_us = 51_000_001
    run(later.ask())
    assert later.outcome == First(run=2)
    flow.close()


def test_a_driver_keeps_a_claim_for_as_long_as_its_request_runs(
    make_room: Callable[..., Room], attempt: Make, redis_mw_settings: Settings, client: "redis.Redis[Any]"
) -> None:
    room = make_room(lease=0.3)
    first = attempt(in_room=room)

    def ends() -> Any:
        return client.hget(room.commands.key(first.name), "l")

    with SyncDriver(redis_mw_settings, Events((), lambda: 0.0)) as driver:
        driver.run(first.ask())
        driver.tend("idempotency.leases", room.renewing)
        for _ in range(3):
            before = ends()
            until(lambda before=before: ends() != before, "it is renewed")
        driver.run(first.complete(200, [], b""))
        assert not room.memory.leases


def one_batch(effect: Any) -> Any:
    yield effect


def test_a_forked_child_renews_nothing_of_its_parents(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.memory.leases.hold("a", "ann")
    owner = room.memory.new_owner()
    monkeypatch.setattr("os.getpid", lambda: 1)
    assert not room.memory.leases
    assert room.memory.new_owner()[:16] != owner[:16]
