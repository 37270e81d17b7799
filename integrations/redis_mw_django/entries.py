"""What Django asks of a cache, as flows over the data cache; ``cache`` runs them, on a thread or on the loop.

Keys here are complete: Django's prefix and version stand in them. All entries hang on one tag, that of their
KEY_PREFIX, so clearing forgets one version, however many there are.
"""

from collections.abc import Iterable, Mapping
from math import isnan
from operator import index
from typing import Any

from redis_mw.caching.lifetimes import LONGEST_US, SHORTEST_US, Lifetime
from redis_mw.caching.room import Room
from redis_mw.caching.tags import name_of
from redis_mw.caching.values import change, write
from redis_mw.caching.values.ask import Ask
from redis_mw.caching.values.commands import Uncounted
from redis_mw.caching.values.look import Found, peek
from redis_mw.flows import Flow, together
from redis_mw_django.encoding import Encoding


class Entries:
    """The entries of one KEY_PREFIX. Timeouts are seconds: 0 stores nothing and drops what is there, None
    lasts longest.

    ``room`` is given each time: tests override settings while they hold a cache.
    """

    def __init__(self, encoding: Encoding, key_prefix: str) -> None:
        self._encoding = encoding
        self._tags = (name_of(f"django\0{key_prefix}"),)

    def get(self, room: Room, key: str) -> Flow[Found]:
        return peek(room, Ask(key, named(key), self._encoding.read, tags=self._tags))

    def get_many(self, room: Room, keys: Iterable[str]) -> Flow[dict[str, Any]]:
        keys = list(keys)
        founds = yield from together(*[self.get(room, key) for key in keys])
        return {key: found.value for key, found in zip(keys, founds, strict=True) if found.packed is not None}

    def has(self, room: Room, key: str) -> Flow[bool]:
        return change.touch(room, named(key), None, self._tags)

    def set_many(self, room: Room, values: Mapping[str, Any], timeout: float | None) -> Flow[list[str]]:
        """The keys of what could not be stored. Nothing is if one value cannot be encoded."""
        kept = microseconds(timeout)
        pieces = [self._piece(room, key, value, kept) for key, value in values.items()]
        if not kept:
            return (yield from self._emptied(room, list(values)))
        stored = yield from write.put_each(room, pieces)
        return [key for key, was in zip(values, stored, strict=True) if not was]

    def _emptied(self, room: Room, keys: list[str]) -> Flow[list[str]]:
        return [] if (yield from self.delete_many(room, keys)) else keys

    def add(self, room: Room, key: str, value: Any, timeout: float | None) -> Flow[bool]:
        kept = microseconds(timeout)
        piece = self._piece(room, key, value, kept)
        # A time that is over stores nothing, but says what it would have done, as Django's own backends do.
        return change.add(room, piece) if kept else change.lacking(room, named(key), self._tags)

    def touch(self, room: Room, key: str, timeout: float | None) -> Flow[bool]:
        kept = microseconds(timeout)
        return change.touch(room, named(key), kept, self._tags) if kept else change.forget(room, named(key), self._tags)

    def delete(self, room: Room, key: str) -> Flow[bool]:
        return change.forget(room, named(key), self._tags)

    def delete_many(self, room: Room, keys: Iterable[str]) -> Flow[bool]:
        return write.drop(room, list(map(named, keys)))

    def incr(self, room: Room, key: str, delta: int) -> Flow[int | Uncounted]:
        return change.incr(room, named(key), index(delta), self._tags)

    def move(self, room: Room, key: str, new: str, timeout: float | None) -> Flow[bool]:
        """Have a value under another key; False where there is none."""
        found = yield from self.get(room, key)
        if found.packed is None:
            return False
        kept = microseconds(timeout)
        if kept:
            piece = write.piece(room, new, named(new), found.packed, Lifetime(kept), self._tags)
            _ = yield from together(write.put(room, [piece]), self.delete(room, key))
        else:
            _ = yield from self.delete_many(room, [key, new])
        return True

    def clear(self, room: Room) -> Flow[bool]:
        return write.drop_tags(room, self._tags, soft=False)

    def _piece(self, room: Room, key: str, value: Any, kept_us: int) -> write.Piece:
        # No jitter: who sets a timeout here may mean it, for Django's cache counts and locks, too.
        kept = Lifetime(max(kept_us, SHORTEST_US))
        return write.piece(room, key, named(key), self._encoding.pack(value), kept, self._tags)


def named(key: str) -> str:
    """The name of an entry: never that of a key of ``mw.cache``."""
    return name_of(f"django\0{key}")


def microseconds(timeout: float | None) -> int:
    """A timeout in microseconds: 0 for one that is over, never more than the longest."""
    if timeout is None:
        return LONGEST_US
    if isnan(timeout) or timeout <= 0:
        return 0
    return max(SHORTEST_US, round(min(timeout * 1_000_000, LONGEST_US)))
