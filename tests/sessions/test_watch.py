"""Watching a session: what ends it, what does not, and how long a lost announcement can go unnoticed."""

from collections.abc import Callable
from typing import Any

import pytest

from redis_mw.errors import RedisUnavailable
from redis_mw.flows import Batch, Wait, Woken
from redis_mw.sessions import watch
from redis_mw.sessions.room import Room
from redis_mw.sessions.visit import Visit

NOW = 1_700_000_000_000_000
SECOND = 1_000_000


def live(seen: int = NOW, deadline: int = NOW + 3600 * SECOND, user: str = "", **more: bytes) -> list[Any]:
    meta = f"1|abc|{NOW}|{seen}|{deadline}|0|{user}".encode()
    fields = {b"m": meta, **{name.encode(): value for name, value in more.items()}}
    return [b"old" if more else b"live", str(NOW).encode(), 0, [word for pair in fields.items() for word in pair]]


@pytest.fixture
def name() -> str:
    return "0123abcd" + "f" * 64


def test_it_listens_before_it_looks_and_looks_again_when_woken(room: Room, name: str) -> None:
    flow = watch.ended(room.store, name)
    asked = next(flow)
    assert isinstance(asked, Batch)
    channel = room.store.commands.channel(name)
    assert asked.commands[0].wakes == (channel,)
    assert flow.send([live()]) == Wait((channel,), 30.0)
    assert isinstance(flow.send(Woken(channel, 1.0)), Batch)
    with pytest.raises(StopIteration):
        _ = flow.send([[b"gone"]])


def test_it_looks_again_when_the_session_must_have_ended_by_itself(room: Room, name: str) -> None:
    flow = watch.ended(room.store, name)
    _ = next(flow)
    idle_us = 900 * SECOND
    waiting = flow.send([live(seen=NOW - idle_us + 2 * SECOND)])
    assert isinstance(waiting, Wait) and 2.0 < waiting.seconds < 2.1
    _ = flow.send(None)
    waiting = flow.send([live(deadline=NOW + SECOND)])
    assert isinstance(waiting, Wait) and 1.0 < waiting.seconds < 1.1


def test_it_follows_a_new_id_without_waiting(room: Room, name: str) -> None:
    flow = watch.ended(room.store, name)
    _ = next(flow)
    successor = name[:8] + "e" * 64
    key = room.store.commands.key(successor)
    asked = flow.send([live(n=key.encode())])
    assert isinstance(asked, Batch) and asked.commands[0].keys == (key,)
    assert flow.send([live()]) == Wait((room.store.commands.channel(successor),), 30.0)


def test_an_outage_is_no_end(room: Room, name: str) -> None:
    flow = watch.ended(room.store, name)
    _ = next(flow)
    for _ in range(3):
        assert flow.send([RedisUnavailable("away")]) == Wait((room.store.commands.channel(name),), 1.0)
        assert isinstance(flow.send(None), Batch)


def test_it_ends_with_the_session_on_a_real_server(
    run: Callable[..., Any], room: Room, visit: Callable[..., Visit]
) -> None:
    mine = visit()
    _ = run(mine.close({"a": 1}))
    assert mine.handle is not None
    flow = watch.ended(room.store, mine.handle)
    asked = next(flow)
    assert isinstance(asked, Batch)
    other = visit(mine.id)
    other.logout()
    _ = run(other.close({}))
    assert run(watch.ended(room.store, mine.handle)) is None
    flow.close()
