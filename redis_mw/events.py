"""What redis-mw tells about itself: one frozen event per decision, handed to plain callables.

Nothing is built and nothing costs when nobody listens. An event never carries a key, an id or an address in clear;
a session appears as the first characters of its hashed id, an idempotency key as those of its record's name, a key of
the cache as those of its hash.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

EventName: TypeAlias = Literal[
    "session.created",
    "session.loaded",
    "session.saved",
    "session.conflict",
    "session.regenerated",
    "session.revoked",
    "session.rejected",
    "session.damaged",
    "cache.hit",
    "cache.miss",
    "cache.stale",
    "cache.store",
    "cache.pass",
    "cache.purge",
    "cache.damaged",
    "limit.allowed",
    "limit.denied",
    "limit.shadow",
    "limit.degraded",
    "limit.ban",
    "lock.acquired",
    "lock.waited",
    "lock.timeout",
    "lock.lost",
    "lock.taken_over",
    "idempotency.first",
    "idempotency.replay",
    "idempotency.busy",
    "idempotency.mismatch",
    "idempotency.orphan",
    "idempotency.damaged",
    "idempotency.degraded",
    "redis.unavailable",
    "redis.recovered",
]
Listener: TypeAlias = "Callable[[Event], None]"

log = logging.getLogger("redis_mw")


class Event(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One decision: ``name`` is its kind, ``at`` seconds since the epoch, ``seconds`` how long it took, if measured."""

    name: EventName
    at: float
    feature: str
    outcome: str = ""
    policy: str = ""
    seconds: float = 0.0
    detail: Mapping[str, Any] = {}


class Events:
    """Hands events to listeners; a listener that raises is logged and costs nobody else anything."""

    def __init__(self, listeners: Iterable[Listener], clock: Callable[[], float]) -> None:
        self._listeners = tuple(listeners)
        self._clock = clock

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def emit(
        self, name: EventName, *, outcome: str = "", policy: str = "", seconds: float = 0.0, **detail: Any
    ) -> None:
        """Build the event and hand it round; does nothing when nobody listens."""
        if not self._listeners:
            return
        feature = name.partition(".")[0]
        event = Event(
            name=name, at=self._clock(), feature=feature, outcome=outcome, policy=policy, seconds=seconds, detail=detail
        )
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                log.exception("a listener of redis-mw events failed on %s", name)
