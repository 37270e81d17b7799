"""One request and its response as the layer sees them: values that its flows take and give."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec

from redis_mw.errors import Refusal, SessionLimitReached, SessionUnavailable
from redis_mw.flows import Flow
from redis_mw.http.cookies import SetCookie
from redis_mw.http.problems import problem
from redis_mw.http.request import Request
from redis_mw.policy.table import SessionPolicy
from redis_mw.sessions.visit import Visit


class Response(msgspec.Struct, frozen=True):
    """An answer of the layer's own."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Exchange(msgspec.Struct):
    """A request on its way; ``visit`` is its session, None where the application has none.

    ``after`` is clean-up that the response need not wait for.
    """

    request: Request
    policy: SessionPolicy
    visit: Visit | None = None
    after: Callable[[], Flow[Any]] | None = None


class Proceed(msgspec.Struct, frozen=True, gc=False):
    """Let the application answer."""


class Respond(msgspec.Struct, frozen=True):
    """Send this; the application does not run, or what it answered is not sent. ``retry_after`` is in seconds."""

    response: Response
    retry_after: float


class Committed(msgspec.Struct, frozen=True):
    """What the response still needs: the session cookie, or to be replaced by ``respond``.

    ``lost`` says that there was something to write, and the session had ended, or was regenerated, meanwhile.
    """

    set_cookie: SetCookie | None = None
    respond: Respond | None = None
    lost: bool = False


def unavailable(request: Request, retry_after: float) -> Respond:
    """503 with ``Retry-After``: the request needs its session, and nobody knows it just now."""
    refusal = SessionUnavailable(retry_after=retry_after)
    return Respond(refused(refusal, request.headers.get("accept")), retry_after)


def refused(refusal: Refusal, accept: str | None) -> Response:
    """How a refusal is told to a client with this Accept field; ``Retry-After`` where waiting helps."""
    content_type, body = problem(
        refusal.status, HTTPStatus(refusal.status).phrase, detail=detail_of(refusal), accept=accept
    )
    headers = [("content-type", content_type)]
    if not isinstance(refusal, SessionLimitReached):
        headers.append(("retry-after", str(max(1, round(refusal.retry_after)))))
    return Response(refusal.status, tuple(headers), body)


def detail_of(refusal: Refusal) -> str:
    """What the client may know of it; never an address or a reason of Redis's."""
    match refusal:
        case SessionLimitReached():
            return "This user has as many sessions as are allowed."
        case SessionUnavailable():
            return "The session store is unavailable."
        case _:
            return "A part of this service is unavailable."
