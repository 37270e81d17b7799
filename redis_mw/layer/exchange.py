"""One request and its response as the layer sees them: values that its flows take and give."""

from collections.abc import Callable, Iterable
from math import ceil
from typing import Any

import msgspec

from redis_mw.errors import Refusal, Refused, SessionLimitReached, SessionUnavailable
from redis_mw.flows import Flow
from redis_mw.http.cookies import SetCookie
from redis_mw.http.problems import phrase, problem
from redis_mw.http.request import Request
from redis_mw.limits.entry import Entry
from redis_mw.limits.tally import Tally
from redis_mw.policy.marks import Mark
from redis_mw.policy.table import SessionPolicy
from redis_mw.sessions.visit import Visit


class Response(msgspec.Struct, frozen=True):
    """An answer of the layer's own."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Exchange(msgspec.Struct):
    """A request on its way; ``visit`` is its session, None where the application has none.

    ``entries`` are the limits that hold for it, ``tally`` what they said once they were asked, ``held`` the marks of
    views that were counted. ``native`` is the framework's own request, ``route`` its name for where this one goes.
    ``status`` and ``answer`` (the framework's own response) are what limits are settled by; whoever does not say them
    let the request fail. ``after`` is clean-up that the response need not wait for.
    """

    request: Request
    policy: SessionPolicy
    visit: Visit | None = None
    entries: tuple[Entry, ...] = ()
    native: Any = None
    route: str = ""
    tally: Tally | None = None
    held: set[Mark] = msgspec.field(default_factory=set)
    status: int = 500
    answer: Any = None
    after: Callable[[], Flow[Any]] | None = None


class Proceed(msgspec.Struct, frozen=True, gc=False):
    """Let the application answer."""


class Respond(msgspec.Struct, frozen=True):
    """Send ``response``, which tells of ``refusal``; the application does not run, or what it answered is not sent."""

    response: Response
    refusal: Refusal


class Committed(msgspec.Struct, frozen=True):
    """What the response still needs: the session cookie, or to be replaced by ``respond``.

    ``lost`` says that there was something to write, and the session had ended, or was regenerated, meanwhile.
    """

    set_cookie: SetCookie | None = None
    respond: Respond | None = None
    lost: bool = False


def respond(exchange: Exchange, refusal: Refusal) -> Respond:
    """The refusal and how this request is told of it."""
    fields = exchange.tally.fields() if exchange.tally is not None else ()
    return Respond(refused(refusal, exchange.request.headers.get("accept"), fields), refusal)


def unavailable(exchange: Exchange, retry_after: float) -> Respond:
    """503 with ``Retry-After``: the request needs its session, and nobody knows it just now."""
    return respond(exchange, SessionUnavailable(retry_after=retry_after))


def refused(refusal: Refusal, accept: str | None, fields: Iterable[tuple[str, str]] = ()) -> Response:
    """How a refusal is told to a client with this Accept field; ``Retry-After`` where waiting helps."""
    title, about = phrase(refusal.status), {"detail": detail_of(refusal)}
    members = dict(refusal.problem) if isinstance(refusal, Refused) else about
    content_type, body = problem(refusal.status, members.pop("title", title), accept=accept, **members)
    headers = [("content-type", content_type), *fields]
    if not isinstance(refusal, SessionLimitReached) and refusal.retry_after is not None:
        headers.append(("retry-after", str(max(1, ceil(refusal.retry_after)))))
    return Response(refusal.status, tuple(headers), body)


def detail_of(refusal: Refusal) -> str:
    """What the client may know of it; never an address or a reason of Redis's."""
    match refusal:
        case Refused():
            return str(refusal.problem.get("detail") or phrase(refusal.status))  # its text may name locks
        case SessionLimitReached():
            return "This user has as many sessions as are allowed."
        case SessionUnavailable():
            return "The session store is unavailable."
        case _:
            return "A part of this service is unavailable."
