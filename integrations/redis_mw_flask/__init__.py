"""redis-mw for Flask: translation between the framework and the core, no decisions.

``RedisExtension(app)``, or ``.init_app(app)``, gives an application server-side sessions and rate limits; ``mw`` is the
direct face of the application that is running.
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
    LimitClosed,
    RateLimited,
    RedisAway,
    StoreUnavailable,
    TooManySessions,
)
from redis_mw_flask.session import NoSecretSession, RedisSession

del _flask

__all__ = [
    "ClientDenied",
    "LimitClosed",
    "Mounted",
    "NoSecretSession",
    "RateLimited",
    "RedisAway",
    "RedisExtension",
    "RedisSession",
    "RedisSessionInterface",
    "StoreUnavailable",
    "TooManySessions",
    "mw",
]
