"""How pages are looked at and stored where tags live on other servers (see ``caching.apart``).

Replicas are read from where the settings allow that.
"""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec

from redis_mw.caching import apart
from redis_mw.caching.apart import AFTER_MS, SKEW_US, beside, holding
from redis_mw.caching.leases import Claim
from redis_mw.caching.pages.commands import Looked, Question, lasts_ms, names_of
from redis_mw.caching.pages.page import HEAD, LAYOUT, Page
from redis_mw.caching.room import Room
from redis_mw.flows import Command, Failure, Flow, send


def looked(room: Room, question: Question, owner: str, *, listen: bool) -> Flow[Looked | Failure]:
    """What the script would say that could read the tags as well; see ``apart.looked``."""

    def asking(stored_us: int | None) -> Command[Looked]:
        ask = question
        if stored_us is not None:
            ask = msgspec.structs.replace(question, unlike_us=stored_us, misses=True)
        return room.pages.look(ask, owner, listen=listen)

    name, tags, misses = question.name, question.tags, question.misses
    replicas = not listen and not question.anyhow and room.asks_replicas(name)
    if replicas:
        read = yield from _read(room, question, leads=bool(owner))
        if read is not None:
            return read
    return (yield from apart.looked(room, name, tags, asking, leads=bool(owner), misses=misses, in_vain=replicas))


def _read(room: Room, question: Question, *, leads: bool) -> Flow[Looked | None]:
    """What can be used as it stands at a replica; None: ask where leases are."""
    (fields, now_us), known = yield from beside(room, question.name, question.tags, *room.pages.read(question))
    if isinstance(fields, Failure) or isinstance(now_us, Failure):
        return None
    names, meta, body = (*cast("list[Any]", fields), b"")[:3]
    varies_by = None if names is None else names_of(names.decode("latin-1"))
    if varies_by is not None and varies_by != question.names:
        return Looked("varies", now_us, names=varies_by, behind=True)
    if varies_by is None or meta is None or body is None:
        return None if leads else Looked("nothing", now_us, names=varies_by, behind=True)
    if len(meta) < HEAD.size or meta[0] != LAYOUT:
        return None
    _, _, _, _, stored_us, _, fresh_us, stale_us, error_us, cost_us, _ = HEAD.unpack_from(meta)
    last_us = max(fresh_us, stale_us, error_us)
    what = apart.Read(stored_us, fresh_us, last_us, cost_us).what(now_us, question.haste, leads=leads)
    if what is None or stored_us == question.unlike_us:
        return None
    found = Looked(what, now_us, 0, meta, body, varies_by, behind=True)
    return (yield from apart.read(room, question.name, found, known, leads=leads))


def at_first(claim: Claim, page: Page) -> dict[str, bytes]:
    """The tags of a page of which it is known what version they had when it began to be made, and which."""
    had = {**claim.others, **dict(zip(page.tags, claim.versions, strict=False))}
    return {tag: had[tag] for tag in page.tags if tag in had}


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
