"""Tags on other servers than what hangs on them, as in a cluster, where no script can read both.

Their versions are read beside the entry, in the same round trip where it is thought right which they are, and are
compared here. What is made is stored with the versions that its tags had when that began: a tag that was dropped
meanwhile has another one, so what hangs on it is never used. Nothing else is needed to have the drop win.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from redis_mw.caching.leases import Claim
from redis_mw.caching.room import Room
from redis_mw.caching.tags import VERSION
from redis_mw.flows import Command, Failure, Flow, send

Worth: TypeAlias = Literal["good", "soft", "gone"]
Known: TypeAlias = "dict[str, bytes | None]"

NEVER = bytes(VERSION)
"""A version that no tag ever has."""
AFTER_MS = 1000
"""How much longer than what hangs on them tags live."""
SKEW_US = 1_000_000
"""By so much the clocks of two servers may differ: what was dropped a little before may have been dropped after."""


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


def kept_versions(data: bytes, start: int, number: int) -> dict[str, bytes]:
    """The tags that stand in an entry from there on, and the versions that they had."""
    size = 32 + VERSION
    each = [data[at : at + size] for at in range(start, start + number * size, size)]
    return {part[:32].decode("ascii", "replace"): part[32:] for part in each if len(part) == size}


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
