"""The flows over one user's sessions: list them, revoke one, revoke all, keep within the most that are allowed.

The index names sessions before they exist and after they ended; what is true stands in the sessions themselves. So it
never misses a live one, only live ones are counted, and these flows take off what they find to be over: never before
it is.
"""

from collections.abc import Iterable, Sequence

import msgspec

from redis_mw.flows import Command, Failure, Flow, one, send
from redis_mw.sessions.agent import Agent
from redis_mw.sessions.commands import AGENT, Destroyed
from redis_mw.sessions.record import Away, Meta, SessionInfo
from redis_mw.sessions.store import Store, away
from redis_mw.sessions.values import DamagedValue

# A login that runs beside ``revoke_user`` is found at the latest when the index is read again; this bounds how often.
ROUNDS = 8


def of_user(store: Store, user: str) -> Flow[list[SessionInfo] | Away]:
    """A user's live sessions, the most recently used first."""
    names = yield from one(store.commands.names(user))
    if isinstance(names, Failure):
        return away(names)
    found = yield from _look(store, user, names)
    if isinstance(found, Away):
        return found
    if found.over or found.missing:
        _ = yield from one(store.commands.delist(user, found.over, found.missing))
    infos = [_info(store, name, meta, agent) for name, meta, agent in found.live]
    return sorted(infos, key=lambda info: info.last_seen, reverse=True)


def revoke(store: Store, user: str, handle: str) -> Flow[bool | Away]:
    """End one of a user's sessions; False if it is not theirs or is over. A handle from a form ends nobody else's."""
    if not is_handle(handle):
        return False
    ended, _ = yield from send(store.commands.destroy(handle, user=user), store.commands.delist(user, [handle]))
    if isinstance(ended, Failure):
        return away(ended)
    if ended.status == "ended":
        store.events.emit("session.revoked", outcome="revoked", session=handle[8:24])
    return ended.status == "ended"


def revoke_user(store: Store, user: str, *, keep: str | None = None) -> Flow[int | Away]:
    """End all of a user's sessions but ``keep``, those included that begin while this runs; how many were ended."""
    count = 0
    for _ in range(ROUNDS):
        names = yield from one(store.commands.names(user))
        if isinstance(names, Failure):
            return away(names)
        names = [name for name in names if name != keep]
        if not names:
            break
        # An id of before a regeneration is what it has become: it ends with that, or is kept with it.
        replies = yield from send(*(store.commands.destroy(name, user=user, keep=keep) for name in names))
        ended: list[str] = []
        for name, reply in zip(names, replies, strict=True):
            if isinstance(reply, Failure):
                return away(reply)
            if reply.status == "ended":
                ended.append(name)
                store.events.emit("session.revoked", outcome="revoked", session=name[8:24])
        count += len(ended)
        gone = yield from one(_delist(store, user, names, replies))
        if not ended and gone == 0:
            break  # what is left was noted a moment ago and is not written yet: a login that comes after us
    return count


def is_full(store: Store, user: str, limit: int, *, replaces: str | None) -> Flow[bool | Away]:
    """Whether a user has ``limit`` live sessions already, without the one that the new session replaces."""
    names = yield from one(store.commands.names(user))
    if isinstance(names, Failure):
        return away(names)
    if len(names) < limit:
        return False
    found = yield from _look(store, user, names)
    if isinstance(found, Away):
        return found
    return sum(name != replaces for name, _, _ in found.live) >= limit


def keep_within(
    store: Store, user: str, limit: int, new: str, names: Sequence[str], *, refuse: bool
) -> Flow[tuple[bool, Command[int] | None]]:
    """End what is too much once ``new`` is written: the user's oldest sessions or, with ``refuse``, ``new`` itself.

    ``names`` are the index's, read after the write. So of logins side by side the last one counts them all, and as
    each goes by when the sessions began, they agree. Gives whether ``new`` was refused, and what takes off the index
    what is over. In an outage nothing more is ended: the next login counts again.
    """
    names = list(dict.fromkeys([*names, new]))
    if len(names) <= limit:
        return False, None
    found = yield from _look(store, user, names)
    if isinstance(found, Away):
        return False, None
    ordered = [name for _, name in sorted((meta.created_us, name) for name, meta, _ in found.live)]
    surplus = max(len(ordered) - limit, 0)
    doomed = [name for name in ordered[limit:] if name == new] if refuse else ordered[:surplus]
    replies = yield from send(*(store.commands.destroy(name, user=user) for name in doomed))
    for name, reply in zip(doomed, replies, strict=True):
        if isinstance(reply, Destroyed) and reply.status == "ended":
            outcome = "refused" if refuse else "evicted"
            store.events.emit("session.revoked", outcome=outcome, session=name[8:24])
    delist = _delist(store, user, [*found.missing, *doomed], replies, found.over)
    return refuse and bool(doomed), delist


class _Found(msgspec.Struct, frozen=True):
    """What a user's index names: live sessions; ids that were regenerated; and names that no session was found under.

    The last may be over, or noted by a login that is about to be written.
    """

    live: list[tuple[str, Meta, bytes | None]]
    over: list[str]
    missing: list[str]


def _look(store: Store, user: str, names: Sequence[str]) -> Flow[_Found | Away]:
    """Look at the sessions under these names, and at what those became that were regenerated since they were read."""
    found = _Found([], [], [])
    seen, ahead = set(names), list(names)
    while ahead:
        names, ahead = ahead, []
        for name, peeked in zip(names, (yield from send(*map(store.commands.peek, names))), strict=True):
            if isinstance(peeked, Failure):
                return away(peeked)
            meta, agent, successor = peeked
            if successor is not None:
                found.over.append(name)
                if successor not in seen:
                    seen.add(successor)
                    ahead.append(successor)
            elif meta is None or meta.user != user:
                found.missing.append(name)
            else:
                found.live.append((name, meta, agent))
    return found


def _delist(
    store: Store, user: str, names: Sequence[str], replies: Iterable[Destroyed | Failure], over: Sequence[str] = ()
) -> Command[int]:
    """Take off the index what is known to have ended; of ``names`` the others only if they were noted long ago."""
    ended = {name: None for reply in replies if isinstance(reply, Destroyed) for name, _ in reply.sessions}
    ended.update(dict.fromkeys(over))
    return store.commands.delist(user, [*ended], [name for name in names if name not in ended])


def is_handle(text: object) -> bool:
    """Whether a text has the shape of a handle: 72 hexadecimal digits."""
    return isinstance(text, str) and len(text) == 72 and all(digit in "0123456789abcdef" for digit in text)


def _info(store: Store, name: str, meta: Meta, sealed: bytes | None) -> SessionInfo:
    agent = Agent()
    if sealed is not None:
        try:
            agent = Agent.decode(store.codec.open(sealed, meta.birth.encode(), AGENT))
        except DamagedValue:
            store.events.emit("session.damaged", outcome="agent", session=name[8:24])
    return SessionInfo(
        handle=name,
        created=meta.created_us / 1e6,
        last_seen=meta.seen_us / 1e6,
        user_agent=agent.user_agent,
        address=agent.address,
    )
