"""redis-mw for Flask: translation between the framework and the core, no decisions.

``RedisExtension(app)``, or ``.init_app(app)``, gives an application server-side sessions, rate limits, request locks,
idempotency keys and a cache of its pages; ``mw`` is the direct face of the application that is running.

A page that is found is sent before Flask runs: no ``before_request``, ``after_request`` or teardown function sees such
a request. What these read of a request to decide who may see a page (a session, which keeps it out of the cache by
itself, apart), ``cached(..., vary=...)`` or ``key=...`` has to name.

A thread cannot be cancelled: ``locked(..., cancel_when_lost=True)`` does no more here than without it. A view that
works long looks at ``current().lease.lost``, or writes with ``lease.fence``.
"""

from redis_mw.errors import MissingExtra

try:
    import flask as _flask
except ImportError as error:
    raise MissingExtra("flask", "redis_mw_flask") from error

from redis_mw_flask.extension import Mounted, RedisExtension, mw
from redis_mw_flask.interface import RedisSessionInterface
from redis_mw_flask.refusals import (
    ClientDenied,
    KeyBusy,
    KeyedBodyTooLarge,
    KeyInvalid,
    KeyReused,
    KeyUnavailable,
    LimitClosed,
    LockBusy,
    LockLost,
    LockQueueFull,
    RateLimited,
    RedisAway,
    Replayed,
    StoreUnavailable,
    TooManySessions,
)
from redis_mw_flask.session import NoSecretSession, RedisSession

del _flask

__all__ = [
    "ClientDenied",
    "KeyBusy",
    "KeyInvalid",
    "KeyReused",
    "KeyUnavailable",
    "KeyedBodyTooLarge",
    "LimitClosed",
    "LockBusy",
    "LockLost",
    "LockQueueFull",
    "Mounted",
    "NoSecretSession",
    "RateLimited",
    "RedisAway",
    "RedisExtension",
    "RedisSession",
    "RedisSessionInterface",
    "Replayed",
    "StoreUnavailable",
    "TooManySessions",
    "mw",
]
