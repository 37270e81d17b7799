"""What code asks of the data cache, checked, and completed by the settings."""

from collections.abc import Iterable, Sequence
from typing import Any

from redis_mw.caching.lifetimes import lifetime
from redis_mw.caching.room import Room
from redis_mw.caching.tags import names_of
from redis_mw.caching.values.ask import Ask, counted, getting, making, packed
from redis_mw.caching.values.commands import named
from redis_mw.caching.values.look import Found
from redis_mw.caching.values.write import Piece, piece
from redis_mw.settings import Duration


class Asking:
    """What is asked for, checked and completed by the settings."""

    def __init__(self, room: Room) -> None:
        self.room = room

    def ask(
        self,
        key: str,
        type: Any,
        ttl: Duration,
        tags: Sequence[str],
        negative: Duration,
        stale: Duration,
        early: bool,
        jitter: float | None,
        hot: int,
    ) -> Ask:
        """A question for a value that is made if it is not there."""
        own = self.room.jitter if jitter is None else jitter
        return making(key, type, ttl, tags=tags, negative=negative, stale=stale, early=early, jitter=own, copies=hot)

    def asks(self, keys: Iterable[str], type: Any) -> list[Ask]:
        """Questions for what is there, each once."""
        return [getting(key, type) for key in dict.fromkeys(keys)]

    def piece(self, key: str, value: Any, ttl: Duration | None, tags: Sequence[str], hot: int) -> Piece:
        """What is to be stored of a value."""
        kept = lifetime(ttl).shortened(self.room.jitter, self.room.luck())
        return piece(self.room, key, named(key), packed(value), kept, names_of(tags), counted(hot))


def values(asks: Sequence[Ask], founds: Sequence[Found]) -> dict[str, Any]:
    """What was found, by its key."""
    found = zip(asks, founds, strict=True)
    return {ask.key: each.value for ask, each in found if each.packed is not None}
