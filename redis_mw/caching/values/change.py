"""The flows that change what is there, each at once on the server: ``add``, ``touch``, ``forget``, ``incr``.

``lacking`` asks what ``add`` would find. For values with one copy. Each is one round trip; two in a cluster where the
values hang on ``tags``, which must all be named then. A Redis that is away changes nothing, and says so.
"""

from collections.abc import Sequence
from typing import TypeAlias

from redis_mw.caching.apart import AFTER_MS
from redis_mw.caching.room import Room
from redis_mw.caching.values.apart import lasts, versions
from redis_mw.caching.values.commands import NONE_READ, Uncounted
from redis_mw.caching.values.entry import CHUNK
from redis_mw.caching.values.write import Piece, store_chunks
from redis_mw.flows import Failure, Flow, send

Tags: TypeAlias = Sequence[str]


def add(room: Room, piece: Piece) -> Flow[bool]:
    """Store a value where nothing fresh is; False: there is something, or Redis is away.

    One that comes in chunks sends them first, in a trip of their own.
    """
    yield from store_chunks(room, [piece])
    room.changes((piece.name,))
    read = (yield from versions(room, lasts([piece.stored]))) if room.apart else NONE_READ
    command = room.commands.add(piece.name, piece.stored, versions=read, seed=room.seed())
    (added,) = yield from room.memory.pending.asked(command)
    if added is True:
        room.tell("cache.store", piece.name)
    elif piece.id:
        chunks = -(-len(piece.chunks) // CHUNK)
        _ = yield from send(room.commands.drop_chunks(piece.name, 0, piece.id, chunks))
    return added is True


def lacking(room: Room, name: str, tags: Tags = ()) -> Flow[bool]:
    """Whether nothing fresh is there; False too if Redis is away, for then nobody knows."""
    return (yield from _touched(room, name, None, tags)) is False


def touch(room: Room, name: str, ttl_us: int | None, tags: Tags = ()) -> Flow[bool]:
    """Whether there is something fresh; it lasts for ``ttl_us`` from now on, if that is given."""
    return (yield from _touched(room, name, ttl_us, tags)) is True


def forget(room: Room, name: str, tags: Tags = ()) -> Flow[bool]:
    """Drop a value; whether it was fresh. If Redis is away it is dropped when it is back."""
    fresh = yield from _touched(room, name, 0, tags)
    if isinstance(fresh, Failure):
        room.memory.pending.add(("value", name), room.commands.drop(name))
        return False
    room.tell("cache.purge", name)
    return fresh


def incr(room: Room, name: str, delta: int, tags: Tags = ()) -> Flow[int | Uncounted]:
    """Add to an integer, which keeps its time; its new value, or why there is none. ``nothing`` if Redis is away."""
    room.changes((name,))
    read = (yield from versions(room, dict.fromkeys(tags, 0))) if room.apart else NONE_READ
    counted: int | Uncounted | Failure
    (counted,) = yield from room.memory.pending.asked(room.commands.incr(name, delta, read))
    return "nothing" if isinstance(counted, Failure) else counted


def _touched(room: Room, name: str, ttl_us: int | None, tags: Tags) -> Flow[bool | Failure]:
    if ttl_us is not None:
        room.changes((name,))
    ms = (ttl_us or 0) // 1000 + AFTER_MS
    read = (yield from versions(room, dict.fromkeys(tags, ms))) if room.apart else NONE_READ
    fresh: bool | Failure
    (fresh,) = yield from room.memory.pending.asked(room.commands.touch(name, ttl_us, read))
    return fresh
