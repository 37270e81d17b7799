"""Which fields of a response are stored, which go out with it, and what a 304 changes of them (RFC 9111 3.1, 3.2)."""

from collections.abc import Iterable
from typing import TypeAlias

from redis_mw.caching.rules.directives import LONGEST
from redis_mw.caching.rules.freshness import SECOND
from redis_mw.http.dates import format_date, parse_date
from redis_mw.http.hops import end_to_end

Pairs: TypeAlias = tuple[tuple[str, str], ...]

COOKIES = frozenset({"set-cookie", "set-cookie2"})

RECKONED = frozenset({"age", "content-length"})
"""Not stored, since whoever sends the response works them out."""

LIMITS = ("ratelimit", "x-ratelimit", "x-rate-limit")
"""How the names of fields begin that tell one client of its rate limits."""

BOUND = frozenset({"content-encoding", "content-range", "content-length"})
"""Fields that say how the stored bytes are to be read; a 304 brings no other bytes (RFC 9111 section 3.2)."""


def stored_fields(fields: Iterable[tuple[str, str]], *, received: int, store_set_cookie: bool = False) -> Pairs:
    """What is kept of a response's fields, in their order (RFC 9111 section 3.1).

    Not those of one connection, one delivery or one client; Set-Cookie by option only. There is always a Date: what
    came without one that can be read gets ``received``, in seconds (RFC 9110 section 6.6.1).
    """
    kept = tuple(pair for pair in end_to_end(fields) if _is_kept(pair[0].lower(), store_set_cookie=store_set_cookie))
    dates = [value for name, value in kept if name.lower() == "date"]
    if len(dates) == 1 and parse_date(dates[0], received) is not None:
        return kept
    first = next((value for value in dates if parse_date(value, received) is not None), format_date(received))
    return (*without(kept, "date"), ("Date", first))


def _is_kept(name: str, *, store_set_cookie: bool) -> bool:
    if name in COOKIES:
        return store_set_cookie
    return name not in RECKONED and not name.startswith(LIMITS)


def sent_fields(stored: Pairs, *, age_us: int, length: int | None) -> Pairs:
    """The fields of a stored response on its way out: with its Age and, where it has a body, the length of that.

    Date stays the origin's and Age is what a downstream cache needs beside it (RFC 9111 section 5.1). A targeted
    field goes on, for the next cache it is meant for (RFC 9213 section 3.1).
    """
    age = ("Age", str(min(max(0, age_us) // SECOND, LONGEST)))
    return (*stored, age) if length is None else (*stored, ("Content-Length", str(length)), age)


def updated_fields(
    stored: Pairs, fields: Iterable[tuple[str, str]], *, received: int, store_set_cookie: bool = False
) -> Pairs:
    """The stored fields after a 304 that is about them: each that it brings replaces all of its name (section 3.2).

    What is not stored from a 200 is not taken from a 304 either, and ``BOUND`` stays as it is. So do cookies, which
    were stored with a response that was made for them.
    """
    new = stored_fields(fields, received=received, store_set_cookie=store_set_cookie)
    taken = tuple(pair for pair in new if pair[0].lower() not in BOUND | COOKIES)
    return (*without(stored, *{name for name, _ in taken}), *taken)


def without(fields: Pairs, *names: str) -> Pairs:
    """The fields but for those of these names, in their order."""
    unwanted = {name.lower() for name in names}
    return tuple(pair for pair in fields if pair[0].lower() not in unwanted)
