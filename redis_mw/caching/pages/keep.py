"""The flows that change what is stored: ``keep`` a page under a claim, ``give_up`` making it, ``purge`` URLs.

What could not be purged because Redis is away is purged when it is back, before anything is read here.
"""

import secrets
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from redis_mw.caching.apart import NEVER, dropped, holding
from redis_mw.caching.leases import Claim, given_back
from redis_mw.caching.pages import apart
from redis_mw.caching.pages.commands import Storing, lasts_ms
from redis_mw.caching.pages.entry import keyed_tag
from redis_mw.caching.pages.look import Found
from redis_mw.caching.pages.names import Url
from redis_mw.caching.pages.page import Packed, Page
from redis_mw.caching.room import USELESS_US, Room
from redis_mw.caching.rules.vary import together, variant
from redis_mw.caching.values.entry import CHUNK, CHUNKS
from redis_mw.flows import Failure, Flow, one, send
from redis_mw.http.request import Headers

AFTER_MS = 1000
"""How much longer than what names them chunks live."""

Kept: TypeAlias = Literal["stored", "dropped", "full", "away"]


def keep(
    room: Room,
    found: Found,
    claim: Claim,
    page: Page,
    packed: Packed,
    varies_by: Sequence[str],
    headers: Headers,
    *,
    keeps_us: int | None = None,
) -> Flow[Kept]:
    """Store what was made under the claim, which ends; "dropped": it was dropped meanwhile, "full": too many variants.

    ``varies_by`` are the names that the response says; the URL varies by all that its responses ever said. With
    ``keeps_us`` the body of the page that was stored then stays. The first of the page's tags are those that the claim
    knows the versions of.
    """
    room.memory.page_leases.drop(claim)
    names = together(found.names or (), varies_by)
    name, chosen = found.question.name, variant(headers, names)
    room.changes((name,))
    try:
        outcome = yield from _kept(
            room, claim, Storing(name, found.names, names, chosen, room.variants, page, packed, keeps_us=keeps_us)
        )
    except GeneratorExit:
        raise
    except BaseException:
        yield from give_up(room, claim)
        raise
    if outcome == "stored":
        room.memory.vary.note(name, names)
    room.tell("cache.store", name, outcome="" if outcome == "stored" else outcome)
    return outcome


def give_up(room: Room, claim: Claim, *, useless: bool = False) -> Flow[None]:
    """Nothing was made, or it is not to be kept: whoever waits may make it.

    ``useless``: such a response cannot be stored, so for a while nobody waits for one.
    """
    room.memory.page_leases.drop(claim)
    yield from given_back(room.pages.release(claim, useless_us=USELESS_US if useless else 0))


def purge(room: Room, urls: Sequence[Url]) -> Flow[bool]:
    """Forget all pages of these URLs, and have nothing stored that is being made of them: one round trip.

    False: Redis is away, and will hear of it when it is back.
    """
    names = tuple(dict.fromkeys(url.name for url in urls))
    room.changes(names)
    tags = tuple(dict.fromkeys(keyed_tag(url) for url in urls))
    commands = [*map(room.pages.purge, names), *(room.commands.tags.drop(tag, room.seed()) for tag in tags)]
    room.memory.forget_pages(names, tags)
    replies = yield from room.memory.pending.asked(*commands)
    room.forgot(names, tags)
    heard = True
    for what, name, command, reply in zip(
        ("page",) * len(names) + ("tag",) * len(tags), (*names, *tags), commands, replies, strict=True
    ):
        if isinstance(reply, Failure):
            room.memory.pending.add((what, name), command)
            heard = False
        elif what == "page":
            room.tell("cache.purge", name)
    return heard


def _kept(room: Room, claim: Claim, storing: Storing) -> Flow[Kept]:
    page = storing.page
    if room.apart:
        return (yield from _kept_apart(room, claim, storing))
    versions = (*claim.versions, *(b"" for _ in page.tags[len(claim.versions) :]))
    storing = yield from _ready(room, claim, storing, versions)
    kept = yield from one(room.pages.store(claim, storing, seed=room.seed() if page.tags else b""))
    return "away" if isinstance(kept, Failure) else kept


def _kept_apart(room: Room, claim: Claim, storing: Storing) -> Flow[Kept]:
    """The same where tags live on other servers: a round trip more for those of which nothing was known."""
    page = storing.page
    had = apart.at_first(claim, page)
    now = yield from apart.now(room, claim, page, [tag for tag in page.tags if tag not in had])
    if now is None:
        _ = yield from one(room.pages.release(claim))
        return "dropped"
    versions = tuple(had.get(tag) or now[tag] for tag in page.tags)
    storing = yield from _ready(room, claim, storing, versions)
    replies: Any = yield from send(room.pages.store(claim, storing), *holding(room, apart.lasts(page, had)))
    kept: Kept | Failure = replies[0]
    if isinstance(kept, Failure) or NEVER in had.values():  # stored, but nobody can use it, nor what was there
        return "away"
    room.memory.hangs.note(storing.name, page.tags)
    return "dropped" if dropped(had.values(), replies[1:]) else kept


def _ready(room: Room, claim: Claim, storing: Storing, versions: tuple[bytes, ...]) -> Flow[Storing]:
    """With the versions of its tags, and with the names of its chunks, which are stored before."""
    chunks = yield from _chunked(room, claim, storing.name, storing.page, storing.packed)
    return msgspec.structs.replace(storing, versions=versions, chunks=chunks)


def _chunked(room: Room, claim: Claim, name: str, page: Page, packed: Packed) -> Flow[bytes]:
    """Store a body that is larger than the settings allow for one, in parts, and give what names them."""
    body = packed.body
    if body is None or page.length <= room.max_body or len(body) <= CHUNK:
        return b""
    id, number = secrets.token_hex(8), -(-len(body) // CHUNK)
    ms = lasts_ms(page) + AFTER_MS
    for each in range(number):
        part = body[each * CHUNK : (each + 1) * CHUNK]
        _ = yield from send(room.pages.keep_chunk(claim, name, id, each, part, ms))
    return CHUNKS.pack(id.encode(), number)
