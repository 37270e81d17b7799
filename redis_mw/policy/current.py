"""The request being answered, for code that was not handed it: context variables that the integration fills."""

from contextvars import ContextVar
from typing import Any, Protocol

import msgspec

from redis_mw.errors import LayerMissing
from redis_mw.policy.marks import Placed

MISSING = "no request of a mounted redis-mw layer is being answered here; mount RedisMiddleware or RedisExtension"


class Context(msgspec.Struct, frozen=True):
    """What redis-mw has for the current request.

    ``mw`` is the direct face of the integration's colour (``AsyncRedisMW`` under ASGI, else ``RedisMW``), ``session``
    the framework's own session object, or None where sessions are off, ``limits`` the request's rate limits, ``locks``
    what it holds, ``cache`` what is kept of its response (``tag``, ``skip``).
    """

    mw: Any
    session: Any = None
    limits: Any = None
    locks: Any = None
    cache: Any = None

    @property
    def verdicts(self) -> tuple[Any, ...]:
        """What the rate limits said of this request, a ``Verdict`` each; empty where none holds."""
        return self.limits.verdicts if self.limits is not None else ()

    @property
    def lease(self) -> Any:
        """The ``Lease`` of the lock that holds for this request; None where none does."""
        return self.locks.lease if self.locks is not None else None


class Gate(Protocol):
    """Enforces a mark for the current request, once, if it was not seen before the view was called."""

    def hold(self, placed: Placed) -> None:
        """For views that run in threads. Raises ``Refused`` where the request must not pass."""
        ...

    async def ahold(self, placed: Placed) -> None:
        """For views that run on the event loop."""
        ...


CURRENT: ContextVar[Context] = ContextVar("redis_mw.current")
GATE: ContextVar[Gate] = ContextVar("redis_mw.gate")


def current() -> Context:
    """The context of the request being answered; raises ``LayerMissing`` outside of one."""
    try:
        return CURRENT.get()
    except LookupError:
        raise LayerMissing(MISSING) from None


def gate() -> Gate:
    """The gate of the request being answered; raises ``LayerMissing`` outside of one."""
    try:
        return GATE.get()
    except LookupError:
        raise LayerMissing(f"a decorated view was called, but {MISSING}") from None
