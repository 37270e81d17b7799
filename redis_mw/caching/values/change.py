"""The flows that change what is there, each at once on the server: ``add``, ``touch``, ``forget``, ``incr``.

``lacking`` asks what ``add`` would find. For values with one copy. Each is one round trip. A Redis that is away
changes nothing, and says so.
"""

from redis_mw.caching.room import Room
from redis_mw.caching.values.commands import Uncounted
from redis_mw.caching.values.entry import CHUNK
from redis_mw.caching.values.write import Piece, store_chunks
from redis_mw.flows import Failure, Flow, send


def add(room: Room, piece: Piece) -> Flow[bool]:
    """Store a value where nothing fresh is; False: there is something, or Redis is away.

    One that comes in chunks sends them first, in a trip of their own.
    """
    yield from store_chunks(room, [piece])
    (added,) = yield from room.memory.pending.asked(room.commands.add(piece.name, piece.stored, seed=room.seed()))
    if added is True:
        room.tell("cache.store", piece.name)
    elif piece.id:
        chunks = -(-len(piece.chunks) // CHUNK)
        _ = yield from send(room.commands.drop_chunks(piece.name, 0, piece.id, chunks))
    return added is True


def lacking(room: Room, name: str) -> Flow[bool]:
    """Whether nothing fresh is there; False too if Redis is away, for then nobody knows."""
    (fresh,) = yield from room.memory.pending.asked(room.commands.touch(name, None))
    return fresh is False


def touch(room: Room, name: str, ttl_us: int | None) -> Flow[bool]:
    """Whether there is something fresh; it lasts for ``ttl_us`` from now on, if that is given."""
    (fresh,) = yield from room.memory.pending.asked(room.commands.touch(name, ttl_us))
    return fresh is True


def forget(room: Room, name: str) -> Flow[bool]:
    """Drop a value; whether it was fresh. If Redis is away it is dropped when it is back."""
    (fresh,) = yield from room.memory.pending.asked(room.commands.touch(name, 0))
    if isinstance(fresh, Failure):
        room.memory.pending.add(("value", name), room.commands.drop(name))
        return False
    room.tell("cache.purge", name)
    return bool(fresh)


def incr(room: Room, name: str, delta: int) -> Flow[int | Uncounted]:
    """Add to an integer, which keeps its time; its new value, or why there is none. ``nothing`` if Redis is away."""
    counted: int | Uncounted | Failure
    (counted,) = yield from room.memory.pending.asked(room.commands.incr(name, delta))
    return "nothing" if isinstance(counted, Failure) else counted
