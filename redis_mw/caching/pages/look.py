"""The flows that find a page: ``look`` once, ``wait`` while another process makes it.

They end with a ``Found``, whatever happens: a Redis that is away is a miss, and so is what cannot be read. One that is
interrupted gives the lease back that it may have taken.
"""

from time import monotonic
from typing import Any

import msgspec

from redis_mw.caching.leases import Claim
from redis_mw.caching.pages import apart
from redis_mw.caching.pages.commands import Looked, Question
from redis_mw.caching.pages.page import Page, opened
from redis_mw.caching.room import Room
from redis_mw.caching.rules.vary import variant
from redis_mw.caching.values.reading import Damaged
from redis_mw.flows import Failure, Flow, Wait, one
from redis_mw.http.lists import is_token
from redis_mw.http.request import Headers

TRIES = 3
"""How often a URL may come to vary by something else, or something unreadable be stored, while we look."""
ROUNDING_S = 0.001


class Found(msgspec.Struct, frozen=True):
    """What there is: a ``page`` if any, and by which ``names`` its URL is known to vary, None if nothing is known.

    With a ``claim`` it is ours to make it (anew); ``busy_us`` is how long another's lease lasts if nobody renews it,
    ``useless`` that what he makes can hardly be used, ``failed`` that he could not make it. ``now_us`` is the server's
    time when ``at`` was ours; None where Redis did not answer. ``stale`` as the server sees it, with its tags.
    """

    question: Question
    page: Page | None = None
    stale: bool = False
    names: tuple[str, ...] | None = None
    claim: Claim | None = None
    busy_us: int | None = None
    useless: bool = False
    now_us: int | None = None
    at: float = 0.0
    failed: bool = False
    behind: bool = False
    """A replica said so, which may be behind: nothing to keep in memory."""

    def time_us(self, at: float) -> int:
        """The server's time when ours was ``at``; only where it was told."""
        return (self.now_us or 0) + int((at - self.at) * 1e6)


def look(room: Room, question: Question, headers: Headers, *, leads: bool, listen: bool = False) -> Flow[Found]:
    """Ask once: one round trip, two where the URL varies otherwise than thought or the body comes in chunks.

    ``leads``: take the lease where something is to be made and nobody does.
    """
    owner = room.memory.new_owner() if leads else ""
    found = yield from _look(room, question, headers, owner, listen)
    if found.claim is not None:
        room.memory.page_leases.hold(found.claim)
    return found


def wait(room: Room, found: Found, headers: Headers, *, within_s: float) -> Flow[Found]:
    """Wait until another one has made it, has given up, or is dead; so many seconds at most.

    Sleeps until it is said that something has changed, and looks by itself when the lease must be over.
    """
    left = within_s
    question = msgspec.structs.replace(found.question, with_body=True)
    while True:
        found = yield from look(room, question, headers, leads=True, listen=True)
        question = found.question
        if found.busy_us is None or found.useless or (found.page is not None and not found.stale):
            return found
        sleep = min(left, found.busy_us / 1e6 + ROUNDING_S)
        woken = (yield Wait((room.pages.channel(question.name),), sleep)) if sleep > 0 else None
        left -= sleep if woken is None else woken.after
        if woken is None and left <= 0:
            return found


def _look(room: Room, question: Question, headers: Headers, owner: str, listen: bool) -> Flow[Found]:
    try:
        for _ in range(TRIES):
            looked = yield from _looked(room, question, owner, listen)
            if isinstance(looked, Failure):
                break
            if looked.what == "varies" and looked.names is not None:
                if not all(map(is_token, looked.names)):
                    room.tell("cache.damaged", question.name, outcome="no names of fields")
                    if owner:
                        _ = yield from one(room.pages.purge(question.name))
                    continue
                room.memory.vary.note(question.name, looked.names)
                question = differently(question, looked.names, headers)
                continue
            found = _found(question, looked)
            if looked.what == "nothing":
                return found
            try:
                if looked.what == "damaged":
                    raise Damaged("no page of ours")
                page: Page = yield from _opened(room, question, looked)
            except Damaged as damage:
                room.tell("cache.damaged", question.name, outcome=str(damage)[:80])
                if looked.claim is not None or looked.left_us is not None or not owner or not looked.meta:
                    return found
                question = msgspec.structs.replace(question, unlike_us=looked.stored_us)
            else:
                if looked.soft_us:
                    page = page.stale_since(looked.soft_us)
                return msgspec.structs.replace(found, page=page, stale=looked.what == "stale")
    except GeneratorExit:  # closed where it stands: nothing can be sent any more
        raise
    except BaseException:
        if owner:  # of the variant that was asked for last
            claim = Claim((room.pages.key(question.name),), owner, 0, (), question.variant)
            _ = yield from one(room.pages.release(claim))
        raise
    return Found(question)


def _looked(room: Room, question: Question, owner: str, listen: bool) -> Flow[Looked | Failure]:
    if room.apart:
        return (yield from apart.looked(room, question, owner, listen=listen))
    seed = room.seed() if owner and question.tags else b""
    found: tuple[Looked | Failure] = yield from room.memory.pending.asked(
        room.pages.look(question, owner, seed=seed, listen=listen)
    )
    return found[0]


def differently(question: Question, names: tuple[str, ...], headers: Headers) -> Question:
    """The question for a URL that varies by these names."""
    return msgspec.structs.replace(question, names=names, variant=variant(headers, names))


def _found(question: Question, looked: Looked) -> Found:
    return Found(
        question,
        names=looked.names,
        claim=looked.claim,
        busy_us=looked.left_us,
        useless=looked.useless,
        now_us=looked.now_us,
        at=monotonic(),
        behind=looked.behind,
    )


def _opened(room: Room, question: Question, looked: Looked) -> Flow[Any]:
    page = opened(looked.meta)
    if not question.with_body:
        return page.page
    body, list = looked.body, page.chunks(looked.body)
    if list is not None:
        chunks = yield from one(room.pages.chunks(question.name, *list))
        if isinstance(chunks, Failure) or any(chunk is None for chunk in chunks):
            raise Damaged("a chunk is missing")
        body = b"".join(chunk for chunk in chunks if chunk is not None)
    return page.whole(body)
