"""How values are looked at and stored where tags live on other servers (see ``caching.apart``).

Replicas are read from where the settings allow that.
"""

from collections.abc import Mapping, Sequence

import msgspec

from redis_mw.caching.apart import AFTER_MS, NEVER, Known, at_first, beside, completed, holding, kept_versions, worth
from redis_mw.caching.room import Room
from redis_mw.caching.values.ask import Ask
from redis_mw.caching.values.commands import Looked, Stored
from redis_mw.caching.values.entry import HEAD, LAYOUT
from redis_mw.flows import Failure, Flow, one

TRIES = 3
"""How often another entry may be stored while one is looked at."""


class Look(msgspec.Struct, frozen=True):
    """One look at a copy: who would make it, how hastily, and which entry is not to be used; see ``Commands.look``."""

    copy: int = 0
    owner: str = ""
    haste: float | None = None
    unlike: int | None = None
    listen: bool = False


def looked(room: Room, ask: Ask, look: Look) -> Flow[Looked | Failure]:
    """What the script would say that could read the tags as well.

    One round trip where the tags are thought right and either all is good or the lease was wanted by the time alone;
    else up to three.
    """
    replicas = not look.listen and room.asks_replicas(ask.name)
    if replicas:
        read = yield from _read(room, ask, look)
        if read is not None:
            return read
    command = room.commands.look(
        *(ask.name, look.copy), owner=look.owner, haste=look.haste, but_stored_us=look.unlike, listen=look.listen
    )
    found: Looked | Failure
    (found,), known = yield from beside(room, ask.name, ask.tags, command, draws=bool(look.owner))
    if replicas and isinstance(found, Looked) and found.what == "fresh" and not found.is_leased:
        room.changes((ask.name,))  # it was asked in vain, and would be again
    for _ in range(TRIES):
        if isinstance(found, Failure):
            return found
        judged, known = yield from _judged(room, ask, found, known)
        if judged is found or not look.owner or found.is_leased:
            return _claimed(judged, ask.tags, known)
        # By its time alone it was fresh, so there was no lease for whoever makes it anew.
        again = room.commands.look(ask.name, look.copy, owner=look.owner, but_stored_us=_stored_us(found.data))
        found = yield from one(again)
        if not isinstance(found, Failure) and found.what in ("nothing", "damaged"):
            judged = msgspec.structs.replace(judged, claim=found.claim, left_us=found.left_us)
            return _claimed(judged, ask.tags, known)
    return found


def _read(room: Room, ask: Ask, look: Look) -> Flow[Looked | None]:
    """What can be used as it stands at a replica; None: ask where leases are."""
    (data, now_us), known = yield from beside(room, ask.name, ask.tags, *room.commands.read(ask.name, look.copy))
    if isinstance(data, Failure) or isinstance(now_us, Failure):
        return None
    if data is None:
        return None if look.owner else Looked("nothing")
    if len(data) < HEAD.size or data[0] != LAYOUT or _stored_us(data) == look.unlike:
        return None
    _, _, _, _, stored_us, fresh_us, stale_us, cost_us, _ = HEAD.unpack_from(data)
    early = (
        look.haste is not None
        and now_us + cost_us * look.haste >= fresh_us
        and 5 * (fresh_us - now_us) <= fresh_us - stored_us
    )
    if now_us >= (stale_us if not look.owner else fresh_us) or (look.owner and early):
        return None
    found = Looked("fresh" if now_us < fresh_us else "stale", data)
    judged, _ = yield from _judged(room, ask, found, known)
    return judged if judged is found or (not look.owner and judged.what == "stale") else None


def _claimed(found: Looked, tags: Sequence[str], known: Known) -> Looked:
    return msgspec.structs.replace(found, claim=at_first(found.claim, tags, known))


def _judged(room: Room, ask: Ask, found: Looked, known: Known) -> Flow[tuple[Looked, Known]]:
    """What was found, with what its tags make of it; the same if nothing."""
    if found.what not in ("fresh", "stale"):
        return found, known
    kept = kept_versions(found.data, HEAD.size, found.data[2])
    known = yield from completed(room, ask.name, kept, known)
    match worth(kept, known)[0]:
        case "gone":
            return msgspec.structs.replace(found, what="nothing", data=b""), known
        case "soft" if found.what == "fresh":
            return msgspec.structs.replace(found, what="stale"), known
        case _:
            return found, known


def _stored_us(data: bytes) -> int:
    return int.from_bytes(data[4:12], "big")


def versions(room: Room, lasting: Mapping[str, int]) -> Flow[dict[str, bytes]]:
    """Of tags, each drawn if it has none, and lasting for so many ms: one round trip. ``NEVER`` where that failed."""
    replies = yield from room.memory.pending.asked(*holding(room, lasting))
    return {tag: NEVER if isinstance(each, Failure) else each[0] for tag, each in zip(lasting, replies, strict=True)}


def lasts(stored: Sequence[Stored]) -> dict[str, int]:
    """For how many ms the tags of what is stored live, so that they outlive it."""
    tags: dict[str, int] = {}
    for each in stored:
        ms = -(-(each.lifetime.ttl_us + each.lifetime.stale_us) // 1000) + AFTER_MS
        tags.update((tag, max(ms, tags.get(tag, 0))) for tag in each.tags)
    return tags
