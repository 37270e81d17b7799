"""Tags on other servers than what hangs on them, as in a cluster, where no script can read both.

Their versions are read beside the entry, in the same round trip where it is thought right which they are, and are
compared here. What is made is stored with the versions that its tags had when that began: a tag that was dropped
meanwhile has another one, so what hangs on it is never used. Nothing else is needed to have the drop win.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import msgspec

from redis_mw.caching.leases import Claim
from redis_mw.caching.room import Room
from redis_mw.caching.tags import VERSION
from redis_mw.flows import Command, Failure, Flow, one, send

Worth: TypeAlias = Literal["good", "soft", "gone"]
Known: TypeAlias = "dict[str, bytes | None]"

L = TypeVar("L", bound="Looked")

TRIES = 3
"""How often another entry may be stored while one is looked at."""
NEVER = bytes(VERSION)
"""A version that no tag ever has."""
AFTER_MS = 1000
"""How much longer than what hangs on them tags live."""
SKEW_US = 1_000_000
"""By so much the clocks of two servers may differ: what was dropped a little before may have been dropped after."""


class Looked(Protocol):
    """The reply of a look, of values and pages alike. ``kept`` are the versions that its tags had once."""

    @property
    def what(self) -> str: ...
    @property
    def claim(self) -> Claim | None: ...
    @property
    def is_leased(self) -> bool: ...
    @property
    def kept(self) -> Mapping[str, bytes]: ...
    @property
    def stored_us(self) -> int: ...
    def gone(self: L) -> L: ...
    def softened(self: L, us: int) -> L: ...
    def leased_as(self: L, other: L) -> L: ...
    def taken_by(self: L, claim: Claim | None) -> L: ...


def worth(kept: Mapping[str, bytes], known: Mapping[str, bytes | None]) -> tuple[Worth, int]:
    """What something is worth whose tags had these versions once, and when it became stale before its time, or 0.

    A tag of which nothing is known may have been dropped.
    """
    soft: list[int] = []
    for tag, version in kept.items():
        current = known.get(tag)
        if current is None or current[:12] != version[:12]:
            return "gone", 0
        if current != version:
            soft.append(int.from_bytes(current[12:20], "big"))
    return ("soft", max(1, min(soft))) if soft else ("good", 0)


def beside(
    room: Room, name: str, tags: Sequence[str], *commands: Command[Any], draws: bool = False
) -> Flow[tuple[Sequence[Any], Known]]:
    """Send commands, and read the tags that what they ask for is thought to hang on: one round trip.

    ``draws``: those of ``tags`` that have no version are given one, as something may be made for them.
    """
    thought = tuple(tag for tag in room.memory.hangs.get(name) or () if tag not in tags)
    asks: list[Command[Any]] = (
        holding(room, dict.fromkeys(tags, 0)) if draws else list(map(room.commands.tags.read, tags))
    )
    replies = yield from room.memory.pending.asked(*commands, *asks, *map(room.commands.tags.read, thought))
    return replies[: len(commands)], _known((*tags, *thought), replies[len(commands) :])


def completed(room: Room, name: str, kept: Mapping[str, bytes], known: Known) -> Flow[Known]:
    """The same with those tags that it does hang on after all: a trip more, if there are others."""
    missing = tuple(tag for tag in kept if tag not in known)
    if not missing:
        return known
    room.memory.hangs.note(name, tuple(kept))
    return known | _known(missing, (yield from send(*map(room.commands.tags.read, missing))))


def looked(
    room: Room,
    name: str,
    tags: Sequence[str],
    asking: Callable[[int | None], Command[L]],
    *,
    leads: bool,
    misses: bool = True,
    in_vain: bool = False,
) -> Flow[L | Failure]:
    """What a script would say that could read the tags as well; ``asking`` gives the command that does all but that.

    One round trip where the tags are thought right and either all is good or the lease was wanted by the time alone;
    else up to three. ``asking`` is given when an entry was stored that is not to be used. ``leads``: the lease is
    wanted where something is to be made, with ``misses`` also where there is nothing. ``in_vain``: a replica had
    nothing to use.
    """
    found: L | Failure
    (found,), known = yield from beside(room, name, tags, asking(None), draws=leads)
    if in_vain and not isinstance(found, Failure) and found.what in ("fresh", "varies") and not found.is_leased:
        room.changes((name,))  # the replica is behind, and would be asked in vain again
    for _ in range(TRIES):
        if isinstance(found, Failure):
            return found
        judged, known = yield from judged_by(room, name, found, known)
        wanted = leads and (misses or judged.what != "nothing")
        if judged is found or not wanted or found.is_leased:
            return judged.taken_by(at_first(judged.claim, tags, known))
        # By its time alone it was fresh, so there was no lease for whoever makes it anew.
        found = yield from one(asking(found.stored_us))
        if not isinstance(found, Failure) and found.what in ("nothing", "damaged"):
            return judged.leased_as(found).taken_by(at_first(found.claim, tags, known))
    return found


def judged_by(room: Room, name: str, found: L, known: Known) -> Flow[tuple[L, Known]]:
    """What was found, with what its tags make of it, and what is known of these; the same if nothing."""
    if found.what not in ("fresh", "stale"):
        return found, known
    kept = found.kept
    known = yield from completed(room, name, kept, known)
    match worth(kept, known):
        case "gone", _:
            return found.gone(), known
        case "soft", us:
            return found.softened(us), known
        case _:
            return found, known


class Read(msgspec.Struct, frozen=True, gc=False):
    """The times of an entry that stands at a replica, and what it cost to make, in us."""

    stored_us: int
    fresh_us: int
    last_us: int
    cost_us: int

    def what(self, now_us: int, haste: float | None, *, leads: bool) -> Literal["fresh", "stale"] | None:
        """What it is by its time; None: ask where leases are, for one may be wanted, or it is over."""
        hasty = haste is not None and now_us + self.cost_us * haste >= self.fresh_us
        early = hasty and 5 * (self.fresh_us - now_us) <= self.fresh_us - self.stored_us
        if now_us >= self.last_us or (leads and (early or now_us >= self.fresh_us)):
            return None
        return "fresh" if now_us < self.fresh_us else "stale"


def read(room: Room, name: str, found: L, known: Known, *, leads: bool) -> Flow[L | None]:
    """What was read from a replica, if it can be used as it is."""
    judged, _ = yield from judged_by(room, name, found, known)
    return judged if judged is found or (not leads and judged.what == "stale") else None


def at_first(claim: Claim | None, tags: Sequence[str], known: Known) -> Claim | None:
    """The claim with the versions that the tags of what is made under it had when that began."""
    if claim is None:
        return None
    others = {tag: version for tag, version in known.items() if version is not None and tag not in tags}
    return msgspec.structs.replace(claim, versions=tuple(known.get(tag) or NEVER for tag in tags), others=others)


def holding(room: Room, tags: Mapping[str, int], since_us: int | str = "") -> list[Command[tuple[bytes, bool]]]:
    """What reads, draws and keeps alive the versions of tags, each for so many ms; ``since_us`` as in ``hold``."""
    return [room.commands.tags.hold(tag, room.seed(), ms, since_us) for tag, ms in tags.items()]


def dropped(had: Iterable[bytes], held: Iterable[tuple[bytes, bool] | Failure]) -> bool:
    """Whether one of the tags that had these versions was dropped since, as far as ``holding`` them was answered."""
    return any(not isinstance(reply, Failure) and reply[0] != version for reply, version in zip(held, had, strict=True))


def _known(tags: Sequence[str], replies: Sequence[Any]) -> Known:
    known: Known = {}
    for tag, reply in zip(tags, replies, strict=True):
        known[tag] = None if isinstance(reply, Failure) else reply[0] if isinstance(reply, tuple) else reply
    return known
