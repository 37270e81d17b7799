"""One part of a stored body (RFC 9110 section 14): bytes=a-b, bytes=a-, bytes=-n; whatever else is asked gets it all.

Several ranges, other units, and what is malformed are ignored, as section 14.2 allows: the answer is the whole 200.
"""

import re

import msgspec

from redis_mw.caching.rules.fields import Pairs, without
from redis_mw.http.dates import parse_date
from redis_mw.http.etags import parse_etag
from redis_mw.http.request import Headers

_RANGE = re.compile(r"bytes=[ \t]*+(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))[ \t]*+", re.IGNORECASE)


class Part(msgspec.Struct, frozen=True, gc=False):
    """The bytes from ``start`` up to, not including, ``stop``: at least one."""

    start: int
    stop: int


class Unsatisfiable(msgspec.Struct, frozen=True, gc=False):
    """Nothing of the body lies in the range: 416 (RFC 9110 section 15.5.17)."""


def part_of(request: Headers, stored: Headers, length: int, *, now: int) -> Part | Unsatisfiable | None:
    """The part of a stored 200 that a GET asks for, None for all of it; never raises.

    ``length`` is that of the stored body; ``now`` in seconds, for dates with two digits of a year.
    """
    lines = request.get_all("range")
    found = _RANGE.fullmatch(lines[0].strip(" \t")) if len(lines) == 1 else None
    if found is None or not _still_current(request, stored, now):
        return None
    if "none" in (stored.get("accept-ranges") or "").lower():
        return None
    return _last(int(found[3]), length) if found[3] else _between(int(found[1]), found[2], length)


def _between(first: int, last: str, length: int) -> Part | Unsatisfiable | None:
    """RFC 9110 section 14.1.1: an end before the start is malformed, one behind the body is the body's."""
    if last and int(last) < first:
        return None
    if first >= length:
        return Unsatisfiable()
    return Part(first, min(int(last) + 1, length) if last else length)


def _last(count: int, length: int) -> Part | Unsatisfiable | None:
    """The last bytes: none of them cannot be had (section 14.1.2); of an empty body there is no part to name."""
    if count == 0:
        return Unsatisfiable()
    return Part(max(0, length - count), length) if length else None


def _still_current(request: Headers, stored: Headers, now: int) -> bool:
    """Whether If-Range lets the range count (RFC 9110 section 13.1.5): strong comparison, or the very date.

    A date is strong only where the response was made a second or more after it (section 8.8.2.2).
    """
    lines = request.get_all("if-range")
    if not lines:
        return True
    line = lines[0] if len(lines) == 1 else ""
    asked, own = parse_etag(line), parse_etag(stored.get("etag"))
    if asked is not None:
        return own is not None and asked.is_strongly(own)
    since = parse_date(line, now)
    modified = parse_date(stored.get("last-modified") or "", now)
    made = parse_date(stored.get("date") or "", now)
    return since is not None and since == modified and made is not None and made > since


def partial_fields(fields: Pairs, part: Part, length: int) -> Pairs:
    """The fields of a 206: all of the 200, with Content-Range and the length of the part (RFC 9110 15.3.7)."""
    return (
        *without(fields, "content-length", "content-range"),
        ("Content-Length", str(part.stop - part.start)),
        ("Content-Range", f"bytes {part.start}-{part.stop - 1}/{length}"),
    )


def unsatisfiable_fields(length: int) -> Pairs:
    """The fields of a 416: how much there is; nothing by which it would be stored (RFC 9110 section 15.5.17)."""
    return (("Content-Range", f"bytes */{length}"), ("Content-Length", "0"), ("Cache-Control", "no-store"))
