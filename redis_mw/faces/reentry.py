"""Locks that a request holds already: its code has them at once, and they are given back by whoever took them first.

What a request holds it holds for all of its code. What code took itself is its own: two tasks of one request that lock
the same thing exclude each other, and only what runs inside the block is let pass.
"""

from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from redis_mw.locks.ask import Wanted, without
from redis_mw.locks.hold import Hold
from redis_mw.locks.room import Room
from redis_mw.policy.current import CURRENT

_taken: ContextVar[tuple[Any, tuple[tuple[Room, Hold], ...]] | None] = ContextVar("redis_mw.faces.reentry.taken")
"""What the code that runs here took in which request."""


def lacking(room: Room, wanted: Wanted) -> tuple[Wanted | None, tuple[Hold, ...]]:
    """What of these locks is not held by the request being answered, None for nothing; and the holds of the rest."""
    held: set[str] = set()
    outer: list[Hold] = []
    for hold in _holds(room):
        own = hold.ask.wanted
        if (not own.shared or wanted.shared) and not held.issuperset({*own.names}.intersection(wanted.names)):
            held.update(own.names)
            outer.append(hold)
    return without(wanted, held), tuple(outer)


def note(room: Room, hold: Hold) -> None:
    """Remember what was taken, for what runs inside; only where a request is answered."""
    request = _request()
    if request is not None:
        _ = _taken.set((request, (*_taken_in(request), (room, hold))))


def forget(hold: Hold) -> None:
    """It is given back."""
    request = _request()
    if request is not None:
        left = tuple(each for each in _taken_in(request) if each[1] is not hold)
        _ = _taken.set((request, left) if left else None)  # nothing holds the request in a thread that goes on


def _holds(room: Room) -> Iterator[Hold]:
    request = _request()
    if request is None:
        return
    found = [(turn.room, turn.hold) for turn in request.turns if turn.hold is not None]
    for where, hold in (*found, *_taken_in(request)):
        if where is room and not hold.released and not hold.over:
            yield hold


def _request() -> Any:
    """The exchange of the request being answered, None outside of one."""
    context = CURRENT.get(None)
    return context.locks.exchange if context is not None and context.locks is not None else None


def _taken_in(request: Any) -> tuple[tuple[Room, Hold], ...]:
    found = _taken.get(None)
    return found[1] if found is not None and found[0] is request else ()
