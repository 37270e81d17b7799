"""The flows behind ``mw.limits``: limits asked by application code, for a client that it names."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from redis_mw.errors import RedisUnavailable
from redis_mw.flows import Command, Failure, Flow, send
from redis_mw.limits.asks import Ask
from redis_mw.limits.caller import Client
from redis_mw.limits.check import Checked, check, known, settle
from redis_mw.limits.entry import Entry
from redis_mw.limits.room import Room
from redis_mw.limits.verdict import Verdict
from redis_mw.policy.caller import Caller
from redis_mw.settings import Duration, Limit, microseconds

Key: TypeAlias = str | int | Sequence[str]
Hit: TypeAlias = "tuple[Limit | str, Key, int]"

REMEMBERED = 4096

AWAY = RedisUnavailable("a limit that is closed in an outage was asked, and Redis is away")


class Question(msgspec.Struct, frozen=True):
    """One limit asked for one client, and what that client is called in the lists."""

    ask: Ask
    names: tuple[str, ...]

    def at(self, cost: int) -> "Question":
        """The same for so many units; ValueError for what could never pass."""
        quota = self.ask.quota
        most = 1 if quota.kind == "c" else quota.burst or quota.amount
        if type(cost) is not int or not 1 <= cost <= most:
            raise ValueError(f"a cost is a whole number from 1 to {most} here, not {cost!r:.80}")
        return self if cost == self.ask.cost else Question(Ask(self.ask.quota, self.ask.key, cost), self.names)


def question(room: Room, limit: Limit | str, key: Key) -> Question:
    """The question for a client that code names; ValueError where the key is not one of this limit's."""
    entry = room.asked_for(limit)
    if entry.dynamic:
        return _named(room, entry, key)
    questions, known = room.memory.questions, (entry, key if isinstance(key, (str, int)) else tuple(key))
    found: Question | None = questions.get(known)
    if found is None:
        if len(questions) >= REMEMBERED:
            questions.clear()
        found = questions[known] = _named(room, entry, key)
    return found


def _named(room: Room, entry: Entry, key: Key) -> Question:
    keys = (str(key),) if isinstance(key, (str, int)) else tuple(map(str, key))
    if len(keys) != len(entry.by):
        raise ValueError(f"the limit at {entry.place} counts by {len(entry.by)} things: give a key of as many")
    return _question(room, entry, room.clients.named(entry.by, keys), None)


def question_of(room: Room, limit: Limit | str, caller: Caller) -> Question:
    """The question for the client that sent a request."""
    entry = room.asked_for(limit)
    return _question(room, entry, room.clients.of(caller, entry.by), caller.native)


def _question(room: Room, entry: Entry, client: Client, native: Any) -> Question:
    quota = entry.quota(native)
    if quota is None:
        raise ValueError(f"the limit at {entry.place} has no rate here")
    return Question(Ask(quota, room.commands.key(client.tag, quota.part), 1), client.names)


def hit(room: Room, questions: Sequence[Question], *, peek: bool = False) -> Flow[list[Verdict] | Failure]:
    """Take from all of these limits, or from none; a verdict each, in their order."""
    asks = [each.ask for each in questions]
    if not asks:
        return []
    if len(asks) > 1 and len({ask.key for ask in asks}) < len(asks):
        raise ValueError("one limit is asked twice for one client: ask once, with a cost of both")
    names = questions[0].names
    if any(each.names is not names for each in questions):
        names = tuple(dict.fromkeys(name for each in questions for name in each.names))
    found = known(room, asks) if not peek else None
    checked = found or (yield from check(room, asks, names, room.memory.new_id(), peek=peek))
    if checked.refused == "closed":
        return AWAY
    return list(checked.verdicts) if checked.verdicts else [_listed(ask, checked) for ask in asks]


def refund(room: Room, verdict: Verdict) -> Flow[None]:
    """Give back what a hit took, once however often this is called; nothing where it took nothing."""
    taken = verdict.taken
    if taken is None:
        return
    if verdict.degraded:
        _ = room.memory.ledger.settle(taken, -taken.cost, room.now_us())
        return
    yield from settle(room, [(taken, -taken.cost)], taken.id)
    room.forget_denials()


def reset(room: Room, limit: Limit | str, key: Key) -> Flow[int | Failure]:
    """Forget what was counted, and every ban, of one client of one limit; all processes ask anew."""
    ask = question(room, limit, key).ask
    room.memory.ledger.forget(ask.key)
    return (yield from _told(room, room.commands.forget(ask.key)))


def ban(room: Room, by: str, key: str, duration: Duration | None) -> Flow[int | Failure]:
    """Refuse a client everywhere a limit is asked, for so long, or until ``unban``."""
    member, until_us = "d" + room.clients.member(by, key), None
    if duration is not None and microseconds(duration) <= 0:
        raise ValueError(f"a ban lasts longer than nothing, not {duration}")
    now = yield from _clock(room)
    if isinstance(now, Failure):
        return now
    if duration is not None:
        until_us = now + microseconds(duration)
    _, listed, _ = yield from send(
        room.commands.weed(now), room.commands.enlist(member, until_us), room.commands.tell()
    )
    room.forget_denials()
    return listed


def allow(room: Room, by: str, key: str) -> Flow[int | Failure]:
    """Never refuse a client, wherever a limit is asked, until ``disallow``."""
    return (yield from _told(room, room.commands.enlist("a" + room.clients.member(by, key), None)))


def delist(room: Room, kind: str, by: str, key: str) -> Flow[int | Failure]:
    """Take a client off the list of the allowed (``a``) or the denied (``d``)."""
    return (yield from _told(room, room.commands.delist(kind + room.clients.member(by, key))))


def _told(room: Room, command: Command[int]) -> Flow[int | Failure]:
    """Do it, and have every process forget its denials."""
    done, _ = yield from send(command, room.commands.tell())
    room.forget_denials()
    return done


def _clock(room: Room) -> Flow[int | Failure]:
    (now,) = yield from send(room.commands.clock())
    return now


def _listed(ask: Ask, checked: Checked) -> Verdict:
    """What a client on the list of the denied is told."""
    return Verdict(
        allowed=False,
        limit=ask.quota.amount,
        name=ask.quota.name,
        remaining=0,
        retry_after=checked.retry_after or 0.0,
        banned=True,
    )
