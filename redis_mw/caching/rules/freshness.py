"""How long a stored response may be used: its age, its lifetime, and the windows behind it (RFC 9111 4.2, RFC 5861).

Times are integer microseconds since 1970, but for what fields hold, which is whole seconds.
"""

import math

import msgspec

from redis_mw.caching.rules.directives import Directives, delta_seconds
from redis_mw.caching.rules.terms import Terms, jittered
from redis_mw.http.dates import parse_date
from redis_mw.http.request import Headers

SECOND = 1_000_000
EARLY = 5
"""A refresh may begin in the last fifth of a lifetime, not before."""


class Freshness(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """When a stored response is fresh, and until when it may be used stale.

    ``stale_until_us``: while it is asked for anew (RFC 5861 section 3); ``error_until_us``: where asking fails
    (section 4); both at least ``fresh_until_us``. ``strict``: a response forbids to be used stale, whoever asks.
    """

    received_us: int
    age_us: int = 0
    fresh_until_us: int
    stale_until_us: int
    error_until_us: int
    strict: bool = False

    def age_at(self, now_us: int) -> int:
        """The current age in microseconds (RFC 9111 section 4.2.3); a clock that went back makes nothing younger."""
        return self.age_us + max(0, now_us - self.received_us)

    def is_fresh(self, now_us: int) -> bool:
        """Whether the lifetime is greater than the age (RFC 9111 section 4.2)."""
        return now_us < self.fresh_until_us

    def seconds_left(self, now_us: int) -> int:
        """Whole seconds of the lifetime that are left, negative for a stale response (RFC 9211 section 2.4)."""
        return (self.fresh_until_us - now_us) // SECOND

    @property
    def last_us(self) -> int:
        """When the response can no longer be used in any case."""
        return max(self.fresh_until_us, self.stale_until_us, self.error_until_us)

    @property
    def is_useless(self) -> bool:
        """Whether there is no time at which the response could be used."""
        return self.last_us <= self.received_us


def freshness(
    status: int,
    headers: Headers,
    said: Directives,
    *,
    asked_us: int,
    received_us: int,
    terms: Terms | None = None,
    u: float = 0.0,
) -> Freshness | None:
    """The freshness of a response; None where neither it nor the terms name a lifetime (RFC 9111 section 4.2.2).

    ``said`` are its directives, ``asked_us`` and ``received_us`` when it was asked for and when it came. What it says
    itself is kept to the letter; what the terms give counts from when it came, jittered by ``u``.
    """
    age_us = initial_age_us(headers, asked_us=asked_us, received_us=received_us)
    seconds = explicit_lifetime(headers, said, received=received_us // SECOND)
    spread = terms.jitter if terms else 0.0
    if seconds is not None:
        fresh_until_us = received_us + seconds * SECOND - age_us
    else:
        given_us = terms.lifetime_us(status, public=said.allows("public")) if terms else None
        if given_us is None:
            return None
        fresh_until_us = received_us + jittered(given_us, spread, u)
    strict = forbids_stale(said)
    if "no-cache" in said:
        fresh_until_us = min(fresh_until_us, received_us)
    stale_us = window_us(said, "stale-while-revalidate", jittered(terms.stale_us, spread, u) if terms else 0)
    error_us = window_us(said, "stale-if-error", jittered(terms.error_us, spread, u) if terms else 0)
    return Freshness(
        received_us=received_us,
        age_us=age_us,
        fresh_until_us=fresh_until_us,
        stale_until_us=fresh_until_us + (0 if strict else stale_us),
        error_until_us=fresh_until_us + (0 if strict else error_us),
        strict=strict,
    )


def explicit_lifetime(headers: Headers, said: Directives, *, received: int) -> int | None:
    """The seconds that a response names for shared caches (RFC 9111 section 4.2.1), None where it names none.

    ``s-maxage``, else ``max-age``, else Expires less Date. What cannot be read is 0, and so is what is past.
    ``received``: seconds, the Date of a response that has none (RFC 9110 section 6.6.1).
    """
    for name in ("s-maxage", "max-age"):
        if (seconds := said.seconds(name)) is not None:
            return seconds
    lines = () if said.targeted else headers.get_all("expires")
    if not lines:
        return None
    # Several that differ: the earliest. "0" and anything else that is no date is past (RFC 9111 section 5.3).
    ends = [parse_date(line, received) for line in lines]
    date = date_of(headers, received)
    return min(0 if end is None else max(0, end - date) for end in ends)


def date_of(headers: Headers, received: int) -> int:
    """The Date of a response in seconds; when it came, where it has none that can be read (RFC 9110 section 6.6.1)."""
    line = headers.get("date")
    date = parse_date(line, received) if line is not None else None
    return received if date is None else date


def initial_age_us(headers: Headers, *, asked_us: int, received_us: int) -> int:
    """The age of a response when it came (RFC 9111 section 4.2.3): by its Date or its Age field, the larger one.

    By Date in whole seconds, as that has no finer ones; a Date in the future is no age. By Age with the delay of the
    response; of several the first counts, and one that is no number is ignored (section 5.1).
    """
    received = received_us // SECOND
    apparent = max(0, received - date_of(headers, received))
    line = headers.get("age")
    told = delta_seconds(line.partition(",")[0].strip(" \t")) if line is not None else None
    return max(apparent * SECOND, (told or 0) * SECOND + max(0, received_us - asked_us))


def forbids_stale(said: Directives) -> bool:
    """Whether the response must not be used stale (RFC 9111 section 4.2.4).

    By ``must-revalidate``, ``proxy-revalidate``, ``no-cache``; by ``s-maxage`` too (section 5.2.2.10), unless the same
    response grants a ``stale-while-revalidate``, which would say nothing otherwise: CDNs read it so.
    """
    if "must-revalidate" in said or "proxy-revalidate" in said or "no-cache" in said:
        return True
    return "s-maxage" in said and not said.seconds("stale-while-revalidate")


def window_us(said: Directives, name: str, given_us: int) -> int:
    """A window of RFC 5861: what the response says of it, else what the terms give."""
    seconds = said.seconds(name)
    return given_us if seconds is None else seconds * SECOND


def is_early(fresh: Freshness, now_us: int, *, cost_us: int, beta: float, u: float) -> bool:
    """Whether this request should refresh the response before it ends (Vattani et al., XFetch, VLDB 2015).

    Each request decides for itself, the likelier the nearer the end and the longer making it takes:
    ``now - cost * beta * ln(u) >= fresh_until`` with ``u`` random in (0, 1]; only in the last fifth of the lifetime,
    or short lifetimes would be refreshed all the time. False once it is stale.
    """
    if not may_be_early(fresh, now_us):
        return False
    return -cost_us * beta * math.log(u) >= fresh.fresh_until_us - now_us


def may_be_early(fresh: Freshness, now_us: int) -> bool:
    """Whether that is left to luck: in the last fifth of the lifetime."""
    left_us = fresh.fresh_until_us - now_us
    return left_us > 0 and left_us * EARLY <= fresh.fresh_until_us - fresh.received_us
