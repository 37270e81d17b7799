"""The answer that a stored response gives to one request: whole, a part of it, its fields only, or "not modified".

All of it is known before the body is read, so an answer without a body never moves one.
"""

import msgspec

from redis_mw.caching.rules.fields import Pairs, sent_fields
from redis_mw.caching.rules.ranges import Unsatisfiable, part_of, partial_fields, unsatisfiable_fields
from redis_mw.caching.rules.validation import is_not_modified, not_modified_fields
from redis_mw.http.request import Fields, Request

BODILESS = frozenset({204, 205})
"""Statuses that are stored and have no body, 205 with a length of 0 (RFC 9110 sections 15.3.5 and 15.3.6)."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A status, its fields, and the bytes of the stored body to send: from ``start`` up to ``stop``."""

    status: int
    fields: Pairs
    start: int = 0
    stop: int = 0


def answer(request: Request, status: int, stored: Pairs, length: int, *, age_us: int, now: int) -> Answer:
    """The answer to a GET or HEAD; ``stored`` are its stored fields, ``length`` that of its body, ``now`` in seconds.

    The order is that of RFC 9110 section 13.2.2. Preconditions and ranges are about a 200; a HEAD gets the fields of
    the GET (section 9.3.2) and no range (section 14.2).
    """
    headers = Fields(stored)
    fields = sent_fields(stored, age_us=age_us, length=None if status == 204 else length)
    if status == 200:
        if is_not_modified(request.headers, headers, now=now):
            return Answer(304, not_modified_fields(fields))
        part = part_of(request.headers, headers, length, now=now) if request.method == "GET" else None
        if isinstance(part, Unsatisfiable):
            return Answer(416, unsatisfiable_fields(length))
        if part is not None:
            return Answer(206, partial_fields(fields, part, length), part.start, part.stop)
    stop = 0 if request.method == "HEAD" or status in BODILESS else length
    return Answer(status, fields, 0, stop)
