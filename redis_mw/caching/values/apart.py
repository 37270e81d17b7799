"""How values are looked at and stored where tags live on other servers (see ``caching.apart``).

Replicas are read from where the settings allow that.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from redis_mw.caching import apart
from redis_mw.caching.apart import AFTER_MS, NEVER, beside, holding
from redis_mw.caching.room import Room
from redis_mw.caching.values.ask import Ask
from redis_mw.caching.values.commands import Looked, Stored
from redis_mw.caching.values.entry import HEAD, LAYOUT
from redis_mw.flows import Command, Failure, Flow


class Look(msgspec.Struct, frozen=True):
    """One look at a copy: who would make it, how hastily, and which entry is not to be used; see ``Commands.look``."""

    copy: int = 0
    owner: str = ""
    haste: float | None = None
    unlike: int | None = None
    listen: bool = False


def looked(room: Room, ask: Ask, look: Look) -> Flow[Looked | Failure]:
    """What the script would say that could read the tags as well; see ``apart.looked``."""

    def asking(stored_us: int | None) -> Command[Looked]:
        unlike = look.unlike if stored_us is None else stored_us
        options: Any = {"owner": look.owner, "haste": look.haste, "but_stored_us": unlike, "listen": look.listen}
        return room.commands.look(ask.name, look.copy, **options)

    replicas = not look.listen and room.asks_replicas(ask.name)
    if replicas:
        read = yield from _read(room, ask, look)
        if read is not None:
            return read
    return (yield from apart.looked(room, ask.name, ask.tags, asking, leads=bool(look.owner), in_vain=replicas))


def _read(room: Room, ask: Ask, look: Look) -> Flow[Looked | None]:
    """What can be used as it stands at a replica; None: ask where leases are."""
    (data, now_us), known = yield from beside(room, ask.name, ask.tags, *room.commands.read(ask.name, look.copy))
    if isinstance(data, Failure) or isinstance(now_us, Failure):
        return None
    leads = bool(look.owner)
    if data is None:
        return None if leads else Looked("nothing")
    if len(data) < HEAD.size or data[0] != LAYOUT:
        return None
    _, _, _, _, stored_us, fresh_us, stale_us, cost_us, _ = HEAD.unpack_from(data)
    what = apart.Read(stored_us, fresh_us, stale_us, cost_us).what(now_us, look.haste, leads=leads)
    if what is None or stored_us == look.unlike:
        return None
    return (yield from apart.read(room, ask.name, Looked(what, data), known, leads=leads))


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
