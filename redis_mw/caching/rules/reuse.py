"""May a stored response answer this request without asking for it anew (RFC 9111 section 4)? Microseconds throughout.

What is decided here was fixed when the response was stored, so a hit parses nothing but the request's own fields.
"""

from typing import Literal, TypeAlias

import msgspec

from redis_mw.caching.rules.directives import NONE, Directives, request_directives
from redis_mw.caching.rules.freshness import SECOND, Freshness
from redis_mw.caching.rules.storing import Storable
from redis_mw.http.request import Request

Forwarded: TypeAlias = Literal["bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"]
"""Why a request goes on to the application, in the words of RFC 9211 section 2.2."""

FOR_THE_ORIGIN = frozenset({"if-match", "if-unmodified-since"})
"""Preconditions that only the application can judge (RFC 9111 section 4.3.2)."""


class Fresh(msgspec.Struct, frozen=True, gc=False):
    """The stored response is the answer."""


class Stale(msgspec.Struct, frozen=True, gc=False):
    """The stored response is the answer though it is stale: it is being asked for anew, or the client takes it so."""

    why: Literal["while-revalidate", "max-stale"]


class Validate(msgspec.Struct, frozen=True, gc=False):
    """There is one, and the application must be asked about it: it is stale, or the request wants that."""

    why: Literal["stale", "request"]


class Miss(msgspec.Struct, frozen=True, gc=False):
    """There is none: for this URL, for this variant, or not for a request with Authorization."""

    why: Forwarded


class Pass(msgspec.Struct, frozen=True, gc=False):
    """Nothing stored can answer such a request, ever."""

    why: Literal["method", "bypass"]


class Unavailable(msgspec.Struct, frozen=True, gc=False):
    """Only a stored response would do and there is none: 504 (RFC 9111 section 5.2.1.7)."""


Outcome: TypeAlias = Fresh | Stale | Validate | Miss | Pass | Unavailable


def reuse(
    request: Request,
    stored: Storable | None,
    *,
    now_us: int,
    honour_client: bool = False,
    missing: Literal["uri-miss", "vary-miss", "miss"] = "uri-miss",
) -> Outcome:
    """What to do with a request; ``stored`` is what its URL and variant select, ``missing`` why there is nothing.

    ``honour_client``: whether no-cache, max-age, max-stale and min-fresh of the request count. If they do, anybody can
    make the application run. ``only-if-cached`` counts always.
    """
    headers = request.headers
    if request.method not in ("GET", "HEAD"):
        return Pass("method")
    if headers.has_any(FOR_THE_ORIGIN):
        return Pass("bypass")
    asked = request_directives(headers)
    if stored is not None and headers.get("authorization") is not None and not stored.authorized:
        # Section 3.5 speaks of storing. Made for nobody in particular, it may be the wrong answer for somebody.
        stored, missing = None, "miss"
    if stored is None:
        outcome: Outcome = Miss(missing)
    else:
        outcome = _usable(stored.freshness, asked if honour_client else NONE, now_us)
    if "only-if-cached" in asked and isinstance(outcome, (Miss, Validate)):
        return Unavailable()
    return outcome


def _usable(fresh: Freshness, asked: Directives, now_us: int) -> Fresh | Stale | Validate:
    """By freshness, the windows behind it, and what the request asks of them (RFC 9111 sections 4.2 and 5.2.1)."""
    if "no-cache" in asked:
        return Validate("request")
    max_age, min_fresh = asked.seconds("max-age"), asked.seconds("min-fresh") or 0
    if max_age is not None and fresh.age_at(now_us) > max_age * SECOND:
        return Validate("request")
    if fresh.is_fresh(now_us):
        return Fresh() if now_us + min_fresh * SECOND <= fresh.fresh_until_us else Validate("request")
    if not fresh.strict and now_us <= fresh.fresh_until_us + _max_stale_us(asked, now_us):
        return Stale("max-stale")
    if max_age is not None or min_fresh:
        # Who names an age, and no max-stale, wants nothing stale (section 5.2.1.1).
        return Validate("request")
    return Stale("while-revalidate") if now_us < fresh.stale_until_us else Validate("stale")


def _max_stale_us(asked: Directives, now_us: int) -> int:
    """How long ago the lifetime may have ended; -1: not at all. Without an argument any time (section 5.2.1.2)."""
    if asked.allows("max-stale"):
        return now_us
    seconds = asked.seconds("max-stale")
    return seconds * SECOND if seconds else -1


def usable_on_error(fresh: Freshness, now_us: int) -> bool:
    """Whether the stored response may stand in where the application failed (RFC 5861 section 4).

    A failure is an exception, or a status of ``FAILURES``.
    """
    return now_us < max(fresh.fresh_until_us, fresh.error_until_us)


FAILURES = frozenset({500, 502, 503, 504})
"""The statuses that ``stale-if-error`` names (RFC 5861 section 4)."""
