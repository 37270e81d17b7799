"""redis-mw: the request layer for Python web applications on Redis.

Sessions, rate limits, locks, idempotency keys, a cache of responses and of data: one core of flows, two drivers, three
frameworks. Start at ``RedisMW`` and ``Settings``; the integrations are packages of
their own (``redis_mw_starlette``, ``redis_mw_django``, ``redis_mw_flask``).
"""

from redis_mw.errors import (
    CannotEncode,
    CommandError,
    IdempotencyError,
    LayerMissing,
    LeaseLost,
    LimitExceeded,
    LockTimeout,
    MissingExtra,
    NotOwner,
    PolicyError,
    QueueFull,
    RedisMWError,
    RedisUnavailable,
    Refused,
    SessionClosed,
    SessionLimitReached,
    SessionTooLarge,
    SessionUnavailable,
    SettingsError,
    ValueTooLarge,
)
from redis_mw.events import Event
from redis_mw.faces.aio import AsyncRedisMW
from redis_mw.faces.sync import RedisMW
from redis_mw.limits.fields import EXPOSED as EXPOSE_HEADERS
from redis_mw.limits.verdict import Explanation, Verdict
from redis_mw.locks.lease import Lease
from redis_mw.policy.current import Context, current
from redis_mw.policy.decorators import cached, idempotent, limited, locked
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
    "EXPOSE_HEADERS",
    "AsyncRedisMW",
    "Cache",
    "Cached",
    "CannotEncode",
    "CommandError",
    "Context",
    "Cookie",
    "Event",
    "Explanation",
    "Idempotency",
    "IdempotencyError",
    "Idempotent",
    "LayerMissing",
    "Lease",
    "LeaseLost",
    "Limit",
    "LimitExceeded",
    "Limits",
    "Lock",
    "LockTimeout",
    "Locks",
    "MissingExtra",
    "NotOwner",
    "PolicyError",
    "QueueFull",
    "RedisMW",
    "RedisMWError",
    "RedisUnavailable",
    "Refused",
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
    "ValueTooLarge",
    "Verdict",
    "cached",
    "current",
    "idempotent",
    "limited",
    "locked",
    "replace",
]
