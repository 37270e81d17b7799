"""The flows that find a value: ``look`` once, ``wait`` while another process makes it, ``give_up`` making it.

They end with a ``Found``, whatever happens: a Redis that is away is a miss, and so is what cannot be read. One that is
interrupted gives the lease back that it may have taken.
"""

from typing import Any

import msgspec

from redis_mw.caching.leases import Claim, given_back
from redis_mw.caching.lifetimes import haste
from redis_mw.caching.room import Room
from redis_mw.caching.values import apart
from redis_mw.caching.values.apart import Look
from redis_mw.caching.values.ask import Ask
from redis_mw.caching.values.commands import Looked
from redis_mw.caching.values.entry import Entry, Packed, opened
from redis_mw.caching.values.reading import Damaged
from redis_mw.flows import Failure, Flow, Wait, one, send

TRIES = 3
"""How often something else that cannot be read may have been stored meanwhile."""
ROUNDING_S = 0.001


class Found(msgspec.Struct, frozen=True):
    """What there is: a ``packed`` value if any, read as ``value``. With a ``claim`` it is ours to make it (anew).

    ``busy_us`` is how long another's lease lasts if nobody renews it; ``cost_us`` what it cost to make it last.
    """

    packed: Packed | None = None
    value: Any = None
    stale: bool = False
    claim: Claim | None = None
    busy_us: int | None = None
    cost_us: int = 0


def look(room: Room, ask: Ask) -> Flow[Found]:
    """Ask once: one round trip, two where a copy is missing or a value comes in chunks."""
    if ask.copies > 1:
        copy = int(room.luck() * ask.copies)
        if copy:
            found = yield from _look(room, ask, copy, "")
            if found.packed is not None and not found.stale:
                return _told(room, ask, found)
    return _told(room, ask, (yield from _leased(room, ask)))


def peek(room: Room, ask: Ask) -> Flow[Found]:
    """Only what is fresh, and nothing is to be made."""
    found = yield from _look(room, ask, 0, "")
    return _told(room, ask, Found() if found.stale else found)


def wait(room: Room, ask: Ask) -> Flow[Found]:
    """Wait until another one has made it, has given up, or is dead; as long as the settings say.

    Sleeps until the end of the lease is announced, and looks by itself when it must be over.
    """
    left = room.wait_s
    while True:
        found = yield from _leased(room, ask, listen=True)
        if found.busy_us is None or found.packed is not None:
            if found.packed is not None:
                room.tell("cache.hit", ask.name, outcome="waited", seconds=room.wait_s - left)
            return found
        sleep = min(left, found.busy_us / 1e6 + ROUNDING_S)
        woken = (yield Wait((room.commands.channel(ask.name),), sleep)) if sleep > 0 else None
        left -= sleep if woken is None else woken.after
        if woken is None and left <= 0:
            return found


def give_up(room: Room, claim: Claim) -> Flow[None]:
    """Nothing was made, or is not to be kept: whoever waits may make it."""
    room.memory.leases.drop(claim)
    yield from given_back(*[room.commands.leases.release(key, claim.owner) for key in claim.keys])


def _leased(room: Room, ask: Ask, *, listen: bool = False) -> Flow[Found]:
    """Look, and take the lease where something is to be made and nobody does."""
    owner = room.memory.new_owner()
    try:
        found = yield from _look(room, ask, 0, owner, listen)
        if found.claim is not None and ask.copies > 1:
            found = msgspec.structs.replace(found, claim=(yield from _marked(room, ask, found.claim)))
    except GeneratorExit:  # closed where it stands: nothing can be sent any more
        raise
    except BaseException:
        _ = yield from one(room.commands.leases.release(room.commands.key(ask.name, 0, "l"), owner))
        raise
    if found.claim is not None:
        room.memory.leases.hold(found.claim)
    return found


def _marked(room: Room, ask: Ask, claim: Claim) -> Flow[Claim]:
    """The same lease on every copy, so that nothing is stored in one after it was dropped there."""
    keys = tuple(room.commands.key(ask.name, copy, "l") for copy in range(ask.copies))
    _ = yield from send(*[room.commands.leases.mark(key, claim) for key in keys[1:]])
    return msgspec.structs.replace(claim, keys=keys)


def _look(room: Room, ask: Ask, copy: int, owner: str, listen: bool = False) -> Flow[Found]:
    unlike: int | None = None
    hurry = haste(room.luck()) if ask.early and owner else None
    for _ in range(TRIES):
        looked: Looked | Failure
        looked = yield from _looked(room, ask, Look(copy, owner, hurry, unlike, listen))
        if isinstance(looked, Failure):
            return Found()
        if looked.what == "damaged" and unlike is None:
            room.tell("cache.damaged", ask.name)
        if looked.what in ("nothing", "damaged"):
            return Found(claim=looked.claim, busy_us=looked.left_us)
        try:
            entry = opened(looked.data)
            packed = entry.packed((yield from _gathered(room, ask, copy, entry)))
            value = ask.read(packed)
        except Damaged as damage:
            room.tell("cache.damaged", ask.name, outcome=str(damage)[:80])
            if looked.claim is not None or not owner:
                return Found(claim=looked.claim)
            unlike = looked.stored_us
        else:
            stale = looked.what == "stale"
            return Found(packed, value, stale, looked.claim, looked.left_us, entry.cost_us)
    return Found()


def _looked(room: Room, ask: Ask, look: Look) -> Flow[Looked | Failure]:
    if room.apart:
        return (yield from apart.looked(room, ask, look))
    command = room.commands.look(
        ask.name,
        look.copy,
        owner=look.owner,
        tags=ask.tags,
        haste=look.haste,
        but_stored_us=look.unlike,
        seed=room.seed() if look.owner and ask.tags else b"",
        listen=look.listen,
    )
    found: tuple[Looked | Failure] = yield from room.memory.pending.asked(command)
    return found[0]


def _gathered(room: Room, ask: Ask, copy: int, entry: Entry) -> Flow[bytes | None]:
    """The body of an entry in chunks."""
    if not entry.is_chunked:
        return None
    id, number = entry.chunks()
    chunks = yield from one(room.commands.chunks(ask.name, copy, id, number))
    if isinstance(chunks, Failure):
        raise Damaged("the chunks did not come")
    if any(chunk is None for chunk in chunks):
        raise Damaged("a chunk is missing")
    return b"".join(chunk for chunk in chunks if chunk is not None)


def _told(room: Room, ask: Ask, found: Found) -> Found:
    if room.events:
        if found.packed is None:
            room.tell("cache.miss", ask.name)
        else:
            room.tell("cache.stale" if found.stale else "cache.hit", ask.name)
    return found
