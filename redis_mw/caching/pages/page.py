"""A page: a response as it is stored, with all that is to be known of it. The layout stands in ``page.lua``."""

import zlib
from struct import Struct
from struct import error as StructError
from typing import Final

import msgspec

from redis_mw.caching.rules.fields import Pairs
from redis_mw.caching.rules.freshness import Freshness
from redis_mw.caching.rules.storing import Storable
from redis_mw.caching.rules.validation import conditions
from redis_mw.caching.values.entry import CHUNKS, LARGEST, inflated
from redis_mw.caching.values.reading import Damaged
from redis_mw.http.request import Fields

LAYOUT: Final = 1
HEAD: Final = Struct(">BBHBQQQQQII")
TAG: Final = 56
AUTHORIZED: Final = 1
STRICT: Final = 2
OWN_ETAG: Final = 4
COMPRESSED: Final = 8
CHUNKED: Final = 16

NOT_SMALLER: Final = ("image/", "video/", "audio/", "font/woff", "application/zip", "application/gzip")
"""Types of content that are compressed already."""


class Page(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A stored response. ``fields`` are those that are kept; ``body`` is plain, None where it was not asked for.

    ``own_etag``: its ETag is ours, so the application knows nothing of it. ``tags`` are the names of its tags.
    """

    status: int
    fields: Pairs
    storable: Storable
    cost_us: int = 0
    own_etag: bool = False
    length: int = 0
    body: bytes | None = None
    tags: tuple[str, ...] = ()

    @property
    def freshness(self) -> Freshness:
        return self.storable.freshness

    @property
    def headers(self) -> Fields:
        return Fields(self.fields)

    @property
    def conditions(self) -> Pairs:
        """The fields that ask the application whether it is still right; none where it gave no validator."""
        return () if self.own_etag else conditions(self.headers)

    @property
    def size(self) -> int:
        """About how many bytes it takes in memory."""
        return 1024 + sum(len(name) + len(value) + 128 for name, value in self.fields) + len(self.body or b"")

    def with_body(self, body: bytes) -> "Page":
        """The same with all of its body."""
        return msgspec.structs.replace(self, body=body, length=len(body))

    def stale_since(self, us: int) -> "Page":
        """The same as if its lifetime had ended then, with the windows behind it as long as they were."""
        fresh = self.freshness
        earlier_us = max(0, fresh.fresh_until_us - us)
        aged = msgspec.structs.replace(
            fresh,
            fresh_until_us=fresh.fresh_until_us - earlier_us,
            stale_until_us=fresh.stale_until_us - earlier_us,
            error_until_us=fresh.error_until_us - earlier_us,
        )
        return msgspec.structs.replace(self, storable=msgspec.structs.replace(self.storable, freshness=aged))


class Packed(msgspec.Struct, frozen=True, gc=False):
    """A page in the parts that are stored; a ``body`` of None stays as it is."""

    flags: int
    rest: bytes
    body: bytes | None


def squeezed(page: Page, compress_from: int) -> Packed:
    """The parts of a page: its body compressed where that is worth it. Takes a while for a large one."""
    flags = (
        (AUTHORIZED if page.storable.authorized else 0)
        | (STRICT if page.freshness.strict else 0)
        | (OWN_ETAG if page.own_etag else 0)
    )
    rest = msgspec.msgpack.encode([(_bytes(name), _bytes(value)) for name, value in page.fields])
    body = page.body
    if body is not None and len(body) >= max(1, compress_from) and _may_be_smaller(page.headers):
        smaller = zlib.compress(body, 1)
        if len(smaller) < len(body):
            return Packed(flags | COMPRESSED, rest, smaller)
    return Packed(flags, rest, body)


def _may_be_smaller(headers: Fields) -> bool:
    kind = (headers.get("content-type") or "").lower()
    return headers.get("content-encoding") is None and not kind.startswith(NOT_SMALLER)


def head_of(page: Page, flags: int) -> bytes:
    """The bytes before the tags."""
    fresh = page.freshness
    times = (fresh.received_us, fresh.age_us, fresh.fresh_until_us, fresh.stale_until_us, fresh.error_until_us)
    cost_us = min(page.cost_us, 2**32 - 1)
    return HEAD.pack(LAYOUT, flags, page.status, len(page.tags), *(max(0, us) for us in times), cost_us, page.length)


class Opened(msgspec.Struct, frozen=True, gc=False):
    """A page as it came, its body still as it is stored."""

    flags: int
    page: Page

    def chunks(self, body: bytes) -> tuple[str, int] | None:
        """The id and the number of the chunks that the body is in; ``Damaged``."""
        if not self.flags & CHUNKED:
            return None
        if len(body) != CHUNKS.size:
            raise Damaged("not a list of chunks")
        id, number = CHUNKS.unpack(body)
        if number > LARGEST // 4096:
            raise Damaged("too many chunks")
        return id.decode("ascii", "replace"), number

    def whole(self, body: bytes) -> Page:
        """The page with its body, given as it is stored; ``Damaged``."""
        if self.flags & COMPRESSED:
            body = inflated(body, self.page.length)
        if len(body) != self.page.length:
            raise Damaged("of another length")
        return msgspec.structs.replace(self.page, body=body)


def opened(meta: bytes) -> Opened:
    """A page without its body; ``Damaged`` for what is none."""
    try:
        layout, flags, status, tags, stored, age, fresh, stale, error, cost_us, length = HEAD.unpack_from(meta)
        if layout != LAYOUT or not 200 <= status <= 599 or length > LARGEST:
            raise Damaged("not a page of ours")
        start = HEAD.size + tags * TAG
        names = tuple(meta[at : at + 32].decode("ascii") for at in range(HEAD.size, start, TAG))
        fields = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in _PAIRS.decode(meta[start:]))
    except (StructError, msgspec.MsgspecError, ValueError) as problem:
        raise Damaged(str(problem)) from None
    freshness = Freshness(
        received_us=stored,
        age_us=age,
        fresh_until_us=fresh,
        stale_until_us=stale,
        error_until_us=error,
        strict=bool(flags & STRICT),
    )
    storable = Storable(freshness, bool(flags & AUTHORIZED))
    own_etag = bool(flags & OWN_ETAG)
    return Opened(
        flags,
        Page(
            status=status,
            fields=fields,
            storable=storable,
            cost_us=cost_us,
            own_etag=own_etag,
            length=length,
            tags=names,
        ),
    )


_PAIRS: Final = msgspec.msgpack.Decoder(list[tuple[bytes, bytes]])


def _bytes(text: str) -> bytes:
    """A field as it goes over the wire; who has put anything else there is told by his server, not by us."""
    return text.encode("latin-1", "replace")
