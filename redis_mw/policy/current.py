"""The request being answered, for code that was not handed it: a context variable that the integration fills."""

from contextvars import ContextVar
from typing import Any

import msgspec

from redis_mw.errors import LayerMissing


class Context(msgspec.Struct, frozen=True):
    """What redis-mw has for the current request.

    ``mw`` is the direct face of the integration's colour (``AsyncRedisMW`` under ASGI, else ``RedisMW``), ``session``
    the framework's own session object, or None where sessions are off.
    """

    mw: Any
    session: Any = None


CURRENT: ContextVar[Context] = ContextVar("redis_mw.current")


def current() -> Context:
    """The context of the request being answered; raises ``LayerMissing`` outside of one."""
    try:
        return CURRENT.get()
    except LookupError:
        raise LayerMissing(
            "no request of a mounted redis-mw layer is being answered here; mount RedisMiddleware or RedisExtension"
        ) from None
