"""The flows over one user's sessions: list them, revoke one, revoke all, make room for one more.

The index names sessions before they exist and after they ended; what is true stands in the sessions themselves. So it
never misses a live one, and these flows take off what they find to be over.
"""

from redis_mw.flows import Failure, Flow, one, send
from redis_mw.sessions.agent import Agent
from redis_mw.sessions.commands import AGENT
from redis_mw.sessions.record import Away, Meta, SessionInfo
from redis_mw.sessions.store import Quota, Store, away
from redis_mw.sessions.values import DamagedValue

# A login that runs beside ``revoke_user`` is found at the latest when the index is read again; this bounds how often.
ROUNDS = 8


def of_user(store: Store, user: str) -> Flow[list[SessionInfo] | Away]:
    """A user's live sessions, the most recently used first."""
    names = yield from one(store.commands.names(user))
    if isinstance(names, Failure):
        return away(names)
    infos: list[SessionInfo] = []
    moved: list[str] = []
    missing: list[str] = []
    for name, peeked in zip(names, (yield from send(*map(store.commands.peek, names))), strict=True):
        if isinstance(peeked, Failure):
            return away(peeked)
        meta, agent, is_old = peeked
        if is_old:
            moved.append(name)
        elif meta is None or meta.user != user:
            missing.append(name)
        else:
            infos.append(_info(store, name, meta, agent))
    if moved or missing:
        _ = yield from one(store.commands.delist(user, moved, missing))
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
        ended: list[str] = []
        missing: list[str] = []
        replies = yield from send(*(store.commands.destroy(name, user=user) for name in names))
        for name, reply in zip(names, replies, strict=True):
            if isinstance(reply, Failure):
                return away(reply)
            (ended if reply.status == "ended" else missing).append(name)
        for name in ended:
            store.events.emit("session.revoked", outcome="revoked", session=name[8:24])
        count += len(ended)
        gone = yield from one(store.commands.delist(user, ended, missing))
        if not ended and gone == 0:
            break  # what is left was noted a moment ago and is not written yet: a login that comes after us
    return count


def quota(store: Store, user: str, limit: int, *, refuse: bool, replaces: str | None = None) -> Flow[Quota | Away]:
    """What ``enlist`` must know to keep a user within ``limit`` sessions: which may be over, and which are the oldest.

    ``replaces`` is the name that the new session takes over from; it does not count against the limit.
    """
    names = yield from one(store.commands.names(user))
    if isinstance(names, Failure):
        return away(names)
    if replaces in names:
        limit += 1
    missing: list[str] = []
    live: list[tuple[int, str]] = []
    if len(names) >= limit:
        for name, peeked in zip(names, (yield from send(*map(store.commands.peek, names))), strict=True):
            if isinstance(peeked, Failure):
                return away(peeked)
            meta, _, is_old = peeked
            if meta is None or is_old or meta.user != user:
                missing.append(name)
            else:
                live.append((meta.created_us, name))
    return Quota(limit, refuse, tuple(missing), tuple(name for _, name in sorted(live)))


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
