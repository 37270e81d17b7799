"""Cache-Status (RFC 9211): what we did with a request, as one member behind those of the caches before us."""

import re
from functools import lru_cache

import http_sf
import msgspec
from http_sf.types import BareItemType

from redis_mw.caching.rules.fields import Pairs
from redis_mw.caching.rules.reuse import Forwarded

NAME = "redis-mw"
MEMBERS = 1024
"""So many are remembered as they are written: the same one goes out with every hit of a second."""

_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")
_LARGEST = 10**15 - 1


class CacheStatus(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What became of a request: ``hit``, or ``forwarded`` and why (RFC 9211 sections 2.1 and 2.2).

    ``status`` is what the application answered where that is not what goes out, ``ttl`` in seconds, negative for a
    stale response. ``key`` is for debugging only: it tells what requests have in common.
    """

    hit: bool = False
    forwarded: Forwarded | None = None
    status: int | None = None
    ttl: int | None = None
    stored: bool = False
    collapsed: bool = False
    key: str | None = None
    detail: str | None = None

    def member(self, name: str = NAME) -> str:
        """The member of the list: ``redis-mw;hit;ttl=30``. A hit was not forwarded, whatever else is set."""
        return _member(self, name)


@lru_cache(maxsize=MEMBERS)
def _member(status: CacheStatus, name: str) -> str:
    parameters: dict[str, BareItemType] = {}
    if status.hit:
        parameters["hit"] = True
    elif status.forwarded is not None:
        parameters["fwd"] = http_sf.Token(status.forwarded)
        if status.status is not None:
            parameters["fwd-status"] = status.status
    if status.ttl is not None:
        parameters["ttl"] = max(-_LARGEST, min(status.ttl, _LARGEST))
    if status.stored:
        parameters["stored"] = True
    if status.collapsed:
        parameters["collapsed"] = True
    if status.key is not None:
        parameters["key"] = _printable(status.key)
    if status.detail is not None:
        token = _TOKEN.fullmatch(status.detail)
        parameters["detail"] = http_sf.Token(status.detail) if token else _printable(status.detail)
    return http_sf.ser((http_sf.Token(name), parameters))


def _printable(text: str) -> str:
    """A text that a String can hold (RFC 9651 section 3.3.3)."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)


def with_status(fields: Pairs, status: CacheStatus) -> Pairs:
    """The fields with our member last, as the cache that is nearest to the client (RFC 9211 section 2)."""
    return (*fields, ("Cache-Status", status.member()))
