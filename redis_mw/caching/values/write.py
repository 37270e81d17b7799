"""The flows that change what is stored: ``fill`` under a claim, ``put`` in any case, ``drop`` values and tags.

What could not be dropped because Redis is away is dropped when it is back, before anything is read here.
"""

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from redis_mw.caching.apart import NEVER, holding
from redis_mw.caching.apart import dropped as dropped_since
from redis_mw.caching.leases import Claim
from redis_mw.caching.lifetimes import Lifetime
from redis_mw.caching.room import Room
from redis_mw.caching.values import apart
from redis_mw.caching.values.ask import Ask
from redis_mw.caching.values.commands import NONE_READ, Stored
from redis_mw.caching.values.entry import CHUNK, CHUNKED, CHUNKS, LARGEST, Packed, squeezed
from redis_mw.caching.values.look import give_up
from redis_mw.errors import ValueTooLarge
from redis_mw.flows import Command, Failure, Flow, send

AFTER_MS = 1000
"""How much longer than their list chunks live."""


class Piece(msgspec.Struct, frozen=True):
    """Something to be stored under a key, and the chunks that go before it."""

    name: str
    stored: Stored
    chunks: bytes = b""
    id: str = ""


def piece(
    room: Room,
    key: str,
    name: str,
    packed: Packed,
    lifetime: Lifetime,
    tags: tuple[str, ...] = (),
    copies: int = 1,
    cost_us: int = 0,
) -> Piece:
    """What is stored of a value; ``ValueTooLarge`` if it is larger than the settings allow."""
    length = len(packed.data)
    if length > (LARGEST if room.chunks else room.max_value):
        raise ValueTooLarge(key, length, LARGEST if room.chunks else room.max_value)
    flags, body = squeezed(packed, room.compress_from)
    chunks, id = b"", ""
    if length > room.max_value and len(body) > CHUNK:
        chunks, id = body, secrets.token_hex(8)
        flags, body = flags | CHUNKED, CHUNKS.pack(id.encode(), -(-len(body) // CHUNK))
    return Piece(name, Stored(flags, length, body, lifetime, cost_us, copies, tags), chunks, id)


def fill(room: Room, claim: Claim, piece: Piece) -> Flow[bool | None]:
    """Store what was made; False if it was dropped meanwhile, None if nobody knows. The claim ends."""
    room.memory.leases.drop(claim)
    try:
        stored = (yield from _stored(room, [piece], claim))[0]
    except GeneratorExit:
        raise
    except BaseException:
        yield from give_up(room, claim)
        raise
    room.tell("cache.store", piece.name, outcome={True: "", False: "dropped meanwhile", None: "away"}[stored])
    return stored


def put(room: Room, pieces: Sequence[Piece]) -> Flow[bool]:
    """Store values whatever is there: one round trip for all. False: Redis is away.

    Then what is there now is dropped as soon as it is back: it is of before.
    """
    return all((yield from put_each(room, pieces)))


def put_each(room: Room, pieces: Sequence[Piece]) -> Flow[list[bool]]:
    """The same, and which of them are stored."""
    stored = yield from _stored(room, pieces, None)
    for each, was in zip(pieces, stored, strict=True):
        if was:
            room.tell("cache.store", each.name)
        else:
            room.memory.pending.add(("value", each.name), *_drops(room, each.name, each.stored.copies))
    return [was is True for was in stored]


def drop(room: Room, names: Sequence[str], copies: int = 1) -> Flow[bool]:
    """Forget values, and what is being made: one round trip, two if there are copies nobody knew of.

    False: Redis is away, and will hear of it when it is back.
    """
    if not names:
        return True
    room.changes(names)
    commands = [_drops(room, name, copies) for name in names]
    replies = yield from room.memory.pending.asked(*[command for each in commands for command in each])
    more: list[Command[Any]] = []
    heard = True
    for place, name in enumerate(names):
        said = replies[place * copies : (place + 1) * copies]
        if any(isinstance(reply, Failure) for reply in said):
            room.memory.pending.add(("value", name), *commands[place])
            heard = False
            continue
        room.tell("cache.purge", name)
        more += [room.commands.drop(name, copy) for copy in range(copies, said[0][1])]
    if more:
        heard = not any(isinstance(reply, Failure) for reply in (yield from send(*more))) and heard
    return heard


def drop_tags(room: Room, tags: Sequence[str], *, soft: bool) -> Flow[bool]:
    """Forget what hangs on tags, or make it stale: one command for each, in one round trip.

    False: Redis is away, and will hear of it when it is back.
    """
    if not tags:
        return True
    room.memory.forget_pages(tags=tags)
    commands = [(room.commands.tags.soften if soft else room.commands.tags.drop)(tag, room.seed()) for tag in tags]
    replies = yield from room.memory.pending.asked(*commands)
    room.forgot(tags=tags)
    heard = True
    for tag, command, reply in zip(tags, commands, replies, strict=True):
        if isinstance(reply, Failure):
            room.memory.pending.add(("soft" if soft else "tag", tag), command)
            heard = False
        else:
            room.tell("cache.purge", tag, outcome="soft" if soft else "tag")
    return heard


def made(room: Room, ask: Ask, packed: Packed, cost_us: int) -> Piece | None:
    """What is stored of what was made for a question; None: nothing."""
    kept = ask.lasting(packed, room.luck())
    if kept is None:
        return None
    return piece(room, ask.key, ask.name, packed, kept, ask.tags, ask.copies, cost_us)


def _stored(room: Room, pieces: Sequence[Piece], claim: Claim | None) -> Flow[list[bool | None]]:
    """For each whether it is stored; None where nobody knows. Chunks go first, in a trip of their own."""
    yield from store_chunks(room, pieces)
    room.changes(each.name for each in pieces)
    # In a cluster the tags live elsewhere: without a claim their versions are read first, else compared beside.
    lasts = apart.lasts([each.stored for each in pieces]) if room.apart else {}
    read = (yield from apart.versions(room, lasts)) if lasts and claim is None else NONE_READ
    had = dict(zip(lasts, claim.versions, strict=True)) if lasts and claim is not None else {}
    commands = [
        room.commands.store(each.name, each.stored, copy, claim=claim, versions=read, seed=room.seed())
        for each in pieces
        for copy in range(each.stored.copies)
    ]
    replies = list((yield from room.memory.pending.asked(*commands, *holding(room, lasts if had else {}))))
    dropped = dropped_since(had.values(), replies[len(commands) :])
    outcomes: list[bool | None] = []
    useless: list[Command[Any]] = []
    for each in pieces:
        said, replies = replies[: each.stored.copies], replies[each.stored.copies :]
        away = any(isinstance(reply, Failure) for reply in said) or any(
            NEVER in (read.get(tag), had.get(tag)) for tag in each.stored.tags
        )
        outcomes.append(None if away else all(said) and not dropped)
        if lasts:
            room.memory.hangs.note(each.name, each.stored.tags)
        if dropped:  # it can be used as stale only, where the drop was a soft one, and not at all after others
            useless += _drops(room, each.name, each.stored.copies)
        if each.id and outcomes[-1] is False:
            number = -(-len(each.chunks) // CHUNK)
            useless += [
                room.commands.drop_chunks(each.name, copy, each.id, number) for copy in range(each.stored.copies)
            ]
    _ = yield from send(*useless)
    return outcomes


def store_chunks(room: Room, pieces: Sequence[Piece]) -> Flow[None]:
    """What a list of chunks names is there before the list is."""
    for each in pieces:
        if each.id:
            ms = -(-(each.stored.lifetime.ttl_us + each.stored.lifetime.stale_us) // 1000) + AFTER_MS
            for copy in range(each.stored.copies):
                _ = yield from send(*room.commands.store_chunks(each.name, copy, each.id, each.chunks, ms))


def _drops(room: Room, name: str, copies: int) -> list[Command[Any]]:
    return [room.commands.drop(name, copy) for copy in range(copies)]
