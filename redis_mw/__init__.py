"""redis-mw: the request layer for Python web applications on Redis.

Sessions, and the ground that response caching, rate limits and request locks will stand on: one core of flows, two
drivers, three frameworks. Start at ``RedisMW`` and ``Settings``; the integrations are packages of their own
(``redis_mw_starlette``, ``redis_mw_django``, ``redis_mw_flask``).
"""

from redis_mw.errors import (
    CannotEncode,
    CommandError,
    LayerMissing,
    MissingExtra,
    PolicyError,
    RedisMWError,
    RedisUnavailable,
    SessionClosed,
    SessionLimitReached,
    SessionTooLarge,
    SessionUnavailable,
    SettingsError,
)
from redis_mw.events import Event
from redis_mw.faces.aio import AsyncRedisMW
from redis_mw.faces.sync import RedisMW
from redis_mw.policy.current import Context, current
from redis_mw.sessions.record import SessionInfo
from redis_mw.settings import (
    Cache,
    Cached,
    Cookie,
    Idempotency,
    Idempotent,
    Limit,
    Limits,
    Lock,
    Locks,
    Rule,
    Sessions,
    Settings,
    Strikes,
    replace,
)

__all__ = [
    "AsyncRedisMW",
    "Cache",
    "Cached",
    "CannotEncode",
    "CommandError",
    "Context",
    "Cookie",
    "Event",
    "Idempotency",
    "Idempotent",
    "LayerMissing",
    "Limit",
    "Limits",
    "Lock",
    "Locks",
    "MissingExtra",
    "PolicyError",
    "RedisMW",
    "RedisMWError",
    "RedisUnavailable",
    "Rule",
    "SessionClosed",
    "SessionInfo",
    "SessionLimitReached",
    "SessionTooLarge",
    "SessionUnavailable",
    "Sessions",
    "Settings",
    "SettingsError",
    "Strikes",
    "current",
    "replace",
]
