"""The rooms of the features that an application shares with its code: one memory of each in a process."""

from typing import NamedTuple

from redis_mw.caching.room import Room as CacheRoom
from redis_mw.caching.room import cache_of
from redis_mw.events import Events
from redis_mw.idempotency.room import Room as IdempotencyRoom
from redis_mw.idempotency.room import idempotency_of
from redis_mw.keys import Secret
from redis_mw.limits.room import Room as LimitRoom
from redis_mw.limits.room import limits_of
from redis_mw.locks.room import Room as LockRoom
from redis_mw.locks.room import locks_of
from redis_mw.settings import Settings


class Rooms(NamedTuple):
    """Limits, locks, idempotency and caching, each None where the settings turn it off."""

    limits: LimitRoom | None = None
    locks: LockRoom | None = None
    idempotency: IdempotencyRoom | None = None
    caching: CacheRoom | None = None


def rooms_of(settings: Settings, events: Events, secret: Secret = "") -> Rooms:
    """What the settings describe. ``secret`` is the framework's own key, for where they have none."""
    return Rooms(
        limits_of(settings, events, secret),
        locks_of(settings, events),
        idempotency_of(settings, events, secret),
        cache_of(settings, events),
    )
