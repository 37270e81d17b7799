"""How pages are looked at and stored where tags live on other servers (see ``caching.apart``).

Replicas are read from where the settings allow that.
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec

from redis_mw.caching import apart
from redis_mw.caching.apart import (
    AFTER_MS,
    SKEW_US,
    Known,
    beside,
    completed,
    holding,
    kept_versions,
    worth,
)
from redis_mw.caching.leases import Claim
from redis_mw.caching.pages.commands import Looked, Question, lasts_ms, names_of
from redis_mw.caching.pages.page import HEAD, LAYOUT, Page
from redis_mw.caching.room import Room
from redis_mw.flows import Failure, Flow, one, send

TRIES = 3
"""How often another page may be stored while one is looked at."""


def looked(room: Room, question: Question, owner: str, *, listen: bool) -> Flow[Looked | Failure]:
    """What the script would say that could read the tags as well.

    One round trip where the tags are thought right and either all is good or the lease was wanted by the time alone;
    else up to three.
    """
    replicas = not listen and not question.anyhow and room.asks_replicas(question.name)
    if replicas:
        read = yield from _read(room, question, owner)
        if read is not None:
            return read
    found: Looked | Failure
    command = room.pages.look(question, owner, listen=listen)
    (found,), known = yield from beside(room, question.name, question.tags, command, draws=bool(owner))
    if replicas and isinstance(found, Looked) and found.what in ("fresh", "varies") and not found.is_leased:
        room.changes((question.name,))  # it was asked in vain, and would be again
    for _ in range(TRIES):
        if isinstance(found, Failure):
            return found
        judged, known = yield from _judged(room, question.name, found, known)
        wanted = question.misses or judged.what != "nothing"
        if judged is found or not owner or not wanted or found.is_leased:
            return _claimed(judged, question.tags, known)
        # By its time alone it was fresh, so there was no lease for whoever makes it anew.
        stored_us = int.from_bytes(found.meta[5:13], "big")
        again = msgspec.structs.replace(question, unlike_us=stored_us, misses=True)
        found = yield from one(room.pages.look(again, owner))
        if not isinstance(found, Failure) and found.what in ("nothing", "damaged"):
            judged = msgspec.structs.replace(judged, claim=found.claim, left_us=found.left_us, useless=found.useless)
            return _claimed(judged, question.tags, known)
    return found


def at_first(claim: Claim, page: Page) -> dict[str, bytes]:
    """The tags of a page of which it is known what version they had when it began to be made, and which."""
    had = dict(zip(page.tags, claim.versions, strict=False))
    return had | {tag: claim.others[tag] for tag in page.tags[len(had) :] if tag in claim.others}


def now(room: Room, claim: Claim, page: Page, tags: Sequence[str]) -> Flow[dict[str, bytes] | None]:
    """The versions that others of its tags have, of which that is not known; None: one was dropped since the claim was
    taken, or nobody knows. A round trip, if there are any.
    """
    replies = yield from send(*holding(room, lasts(page, tags), claim.taken_us - SKEW_US))
    if any(isinstance(reply, Failure) or reply[1] for reply in replies):
        return None
    return {tag: reply[0] for tag, reply in zip(tags, replies, strict=True) if not isinstance(reply, Failure)}


def lasts(page: Page, tags: Iterable[str]) -> dict[str, int]:
    """For how many ms each of these tags lives, so that it outlives the page."""
    return dict.fromkeys(tags, lasts_ms(page) + AFTER_MS)


def _read(room: Room, question: Question, owner: str) -> Flow[Looked | None]:
    """What can be used as it stands at a replica; None: ask where leases are."""
    (fields, now_us), known = yield from beside(room, question.name, question.tags, *room.pages.read(question))
    if isinstance(fields, Failure) or isinstance(now_us, Failure):
        return None
    names, meta, body = (*cast("list[Any]", fields), b"")[:3]
    varies_by = None if names is None else names_of(names.decode("latin-1"))
    if varies_by is not None and varies_by != question.names:
        return Looked("varies", now_us, names=varies_by, behind=True)
    if varies_by is None or meta is None or body is None:
        return None if owner else Looked("nothing", now_us, names=varies_by, behind=True)
    if len(meta) < HEAD.size or meta[0] != LAYOUT:
        return None
    _, _, _, _, stored_us, _, fresh_us, stale_us, error_us, cost_us, _ = HEAD.unpack_from(meta)
    hasty = question.haste is not None and now_us + cost_us * question.haste >= fresh_us
    early = hasty and 5 * (fresh_us - now_us) <= fresh_us - stored_us
    if stored_us == question.unlike_us or now_us >= max(fresh_us, stale_us, error_us):
        return None
    if owner and (early or now_us >= fresh_us):
        return None
    found = Looked("fresh" if now_us < fresh_us else "stale", now_us, 0, meta, body, varies_by, behind=True)
    judged, _ = yield from _judged(room, question.name, found, known)
    return judged if judged is found or (not owner and judged.what == "stale") else None


def _claimed(found: Looked, tags: Sequence[str], known: Known) -> Looked:
    return msgspec.structs.replace(found, claim=apart.at_first(found.claim, tags, known))


def _judged(room: Room, name: str, found: Looked, known: Known) -> Flow[tuple[Looked, Known]]:
    """What was found, with what its tags make of it; the same if nothing."""
    if found.what not in ("fresh", "stale"):
        return found, known
    kept = kept_versions(found.meta, HEAD.size, found.meta[4])
    known = yield from completed(room, name, kept, known)
    match worth(kept, known):
        case "gone", _:
            return msgspec.structs.replace(found, what="nothing", meta=b"", body=b""), known
        case "soft", soft_us:
            return msgspec.structs.replace(found, what="stale", soft_us=soft_us), known
        case _:
            return found, known
