"""May a response be stored and shared (RFC 9111 section 3), and if not, why: one word for Cache-Status and events.

Stricter than the RFC where sharing by mistake would show one visitor what was made for another.
"""

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

from redis_mw.caching.rules.directives import Directives, delta_seconds, request_directives, response_directives
from redis_mw.caching.rules.freshness import Freshness, freshness
from redis_mw.caching.rules.terms import Terms
from redis_mw.caching.rules.vary import ANY, vary
from redis_mw.http.request import Headers, Request

Reason: TypeAlias = Literal[
    "method",
    "range",
    "upgrade",
    "request-no-store",
    "session",
    "csrf",
    "status",
    "not-understood",
    "no-store",
    "private",
    "no-cache",
    "authorization",
    "set-cookie",
    "vary",
    "event-stream",
    "no-lifetime",
    "stale",
]

UNDERSTOOD = frozenset(
    {
        *(200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 307, 308),
        *range(400, 418),
        *(421, 422, 423, 424, 425, 426, 428, 429, 431, 451),
        *range(500, 509),
        *(510, 511),
    }
)
"""Statuses whose rules of caching we know, which ``must-understand`` asks for: those that have none of their own."""

NEVER = frozenset({206, 304})
"""Final statuses that are no whole response: we do not combine parts (RFC 9111 sections 3.3 and 3.4)."""

PERSONAL = frozenset({"cookie", "authorization"})
"""A response that varies by one of these is somebody's own, whatever it says besides."""


class Storable(msgspec.Struct, frozen=True, gc=False):
    """The response may be stored; ``authorized``: also used for requests with Authorization (section 3.5)."""

    freshness: Freshness
    authorized: bool = False


class Unstorable(msgspec.Struct, frozen=True, gc=False):
    """The response is passed on and forgotten."""

    reason: Reason


def storing(
    request: Request,
    status: int,
    headers: Headers,
    *,
    asked_us: int,
    received_us: int,
    terms: Terms | None = None,
    u: float = 0.0,
    session_accessed: bool = False,
    csrf_issued: bool = False,
    store_set_cookie: bool = False,
) -> Storable | Unstorable:
    """Whether a shared cache may store this response to this request; ``headers`` as the application made them.

    The times are microseconds, ``u`` is random in [0, 1) for the jitter. Never raises.
    """
    said = response_directives(headers)
    authorized = allows_authorized(said, terms)
    reason = (
        _request_forbids(request)
        or ("session" if session_accessed else "csrf" if csrf_issued else None)
        or _status_forbids(status, said)
        or _response_forbids(headers, said, store_set_cookie=store_set_cookie)
        or ("authorization" if request.headers.get_all("authorization") and not authorized else None)
    )
    if reason is not None:
        return Unstorable(reason)
    fresh = freshness(status, headers, said, asked_us=asked_us, received_us=received_us, terms=terms, u=u)
    if fresh is None:
        return Unstorable("no-lifetime")
    return Unstorable("stale") if fresh.is_useless else Storable(fresh, authorized)


def _request_forbids(request: Request) -> Reason | None:
    """Only answers to GET, which are answers to HEAD too; methods compare with case (RFC 9110 section 9.1)."""
    if request.method != "GET":
        return "method"
    if request.headers.get_all("range"):
        return "range"
    if request.headers.get_all("upgrade"):
        return "upgrade"
    # RFC 9111 section 5.2.1.5.
    return "request-no-store" if "no-store" in request_directives(request.headers) else None


def _status_forbids(status: int, said: Directives) -> Reason | None:
    """Final, whole, and understood where the response insists on that (RFC 9111 sections 3 and 5.2.2.3)."""
    if not 200 <= status <= 599 or status in NEVER:
        return "status"
    return "not-understood" if "must-understand" in said and status not in UNDERSTOOD else None


def _response_forbids(headers: Headers, said: Directives, *, store_set_cookie: bool) -> Reason | None:
    # Where must-understand is met, no-store is for caches that do not know it (RFC 9111 section 5.2.2.3).
    if "no-store" in said and not said.allows("must-understand"):
        return "no-store"
    if "private" in said:
        return "private"
    # It might be stored and asked about each time (RFC 9111 section 5.2.2.4): a write for each request, to no gain.
    if "no-cache" in said:
        return "no-cache"
    if not store_set_cookie and (headers.get_all("set-cookie") or headers.get_all("set-cookie2")):
        return "set-cookie"
    if is_personal(vary(headers)):
        return "vary"
    return "event-stream" if is_stream(headers) else None


def allows_authorized(said: Directives, terms: Terms | None) -> bool:
    """Whether a response may be shared with and among requests that carry Authorization (RFC 9111 section 3.5)."""
    if said.allows("public") or said.allows("must-revalidate") or (terms is not None and terms.public):
        return True
    shared = said.arguments.get("s-maxage", ())
    return bool(shared) and "s-maxage" not in said.malformed and all(delta_seconds(each) is not None for each in shared)


def is_personal(names: Iterable[str]) -> bool:
    """Whether a Vary is one that nothing can be shared under (RFC 9111 section 4.1, and ``PERSONAL``)."""
    return any(name == ANY or name in PERSONAL for name in names)


def is_stream(headers: Headers) -> bool:
    """Whether the response is an event stream, which has no end to wait for."""
    return any(
        line.partition(";")[0].strip(" \t").lower() == "text/event-stream" for line in headers.get_all("content-type")
    )
