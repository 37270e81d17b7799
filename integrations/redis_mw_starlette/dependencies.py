"""FastAPI dependencies: what the layer has for the request, as annotated parameters."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from redis_mw.errors import LayerMissing, MissingExtra
from redis_mw.faces.aio import AsyncRedisMW
from redis_mw.faces.sync import RedisMW
from redis_mw.policy.current import Context
from redis_mw.policy.decorators import limited
from redis_mw.settings import Strikes
from redis_mw.settings.rates import By, Cost, Counted, RateText
from redis_mw_starlette.session import RequestSession

try:
    from fastapi import Depends
    from fastapi.requests import HTTPConnection
except ImportError:
    raise MissingExtra("fastapi", "a FastAPI dependency of redis_mw_starlette") from None


# ``async``, although they await nothing: FastAPI would send a plain function to a thread.
async def _context(connection: HTTPConnection) -> Context:
    context: Context | None = connection.scope.get("redis_mw")
    if context is None:
        raise LayerMissing("RedisMiddleware is not mounted around this application")
    return context


async def _mw(context: Annotated[Context, Depends(_context)]) -> AsyncRedisMW:
    face: AsyncRedisMW = context.mw
    return face


async def _sync_mw(context: Annotated[Context, Depends(_context)]) -> RedisMW:
    face: AsyncRedisMW = context.mw
    return face.sync


async def _session(context: Annotated[Context, Depends(_context)]) -> RequestSession:
    session: RequestSession | None = context.session
    if session is None:
        raise LayerMissing("sessions are turned off (sessions=None in the settings)")
    session.mark_accessed()
    return session


def Limited(
    rate: RateText,
    *,
    name: str | None = None,
    by: By | Sequence[By] = "client",
    cost: Cost = 1,
    algorithm: Literal["sliding", "gcra", "fixed", "concurrency"] = "sliding",
    burst: int | None = None,
    strict: bool = False,
    methods: Sequence[str] | None = None,
    on_deny: Literal["free", "charge"] = "free",
    on_outage: Literal["local", "open", "closed"] = "local",
    count: Counted = "all",
    shadow: bool = False,
    strikes: Strikes | None = None,
    lease: int = 0,
    status: int = 429,
) -> Any:
    """``@limited(...)`` as a dependency of a route, a router or an application; counted in the request's one batch.

    ``@app.get("/x", dependencies=[Limited("5/minute")])``. A limit without a name is counted apart on each route.
    """
    mark = limited(
        rate,
        name=name,
        by=by,
        cost=cost,
        algorithm=algorithm,
        burst=burst,
        strict=strict,
        methods=methods,
        on_deny=on_deny,
        on_outage=on_outage,
        count=count,
        shadow=shadow,
        strikes=strikes,
        lease=lease,
        status=status,
    )

    async def passes() -> None:
        """Asked by FastAPI before the endpoint; the decorator around it does the work."""

    return Depends(mark(passes))


MW = Annotated[AsyncRedisMW, Depends(_mw)]
"""The direct face, for ``async def`` endpoints."""
SyncMW = Annotated[RedisMW, Depends(_sync_mw)]
"""The direct face, for plain ``def`` endpoints, which run in threads."""
Session = Annotated[RequestSession, Depends(_session)]
"""The session of the request or WebSocket; the same object as ``request.session``."""
