"""An entry: a value as it is stored, with all that is to be known of it. The layout stands in ``entry.lua``."""

import zlib
from struct import Struct
from typing import Final

import msgspec

from redis_mw.caching.values.reading import Damaged

LAYOUT: Final = 1
HEAD: Final = Struct(">BBBBQQQII")
TAG: Final = 56
NONE: Final = 0
"""The format of a stored None, which has no body."""
INTEGER: Final = 4
"""The format of an integer of 64 bits that can be added to: its decimal digits. (Others stand in ``plain``.)"""
OWN: Final = 8
"""From here on formats mean what those who read with a reader of their own say."""
FORMAT: Final = 15
COMPRESSED: Final = 16
CHUNKED: Final = 32
CHUNKS: Final = Struct(">16sI")
LARGEST: Final = 256 * 1024 * 1024
"""Bytes of the plain body that an entry may have, chunks or not."""


class Packed(msgspec.Struct, frozen=True, gc=False):
    """A value in its format, as plain bytes."""

    format: int
    data: bytes


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What is stored; times in microseconds by the server's clock."""

    flags: int
    copies: int
    stored_us: int
    fresh_us: int
    stale_us: int
    cost_us: int
    length: int
    body: bytes

    @property
    def is_chunked(self) -> bool:
        return bool(self.flags & CHUNKED)

    def chunks(self) -> tuple[str, int]:
        """The id of the chunks, and how many there are; ``Damaged``."""
        if len(self.body) != CHUNKS.size:
            raise Damaged("not a list of chunks")
        id, number = CHUNKS.unpack(self.body)
        if number > LARGEST // CHUNK + 1:
            raise Damaged("too many chunks")
        return id.decode("ascii", "replace"), number

    def packed(self, body: bytes | None = None) -> Packed:
        """The value; ``body`` is that of the chunks. ``Damaged``."""
        body = self.body if body is None else body
        if self.flags & COMPRESSED:
            body = inflated(body, self.length)
        if len(body) != self.length:
            raise Damaged("of another length")
        return Packed(self.flags & FORMAT, body)


CHUNK: Final = 256 * 1024


def opened(data: bytes) -> Entry:
    """An entry as it came; ``Damaged`` for what is none."""
    if len(data) < HEAD.size:
        raise Damaged("too short")
    layout, flags, tags, copies, stored_us, fresh_us, stale_us, cost_us, length = HEAD.unpack_from(data)
    start = HEAD.size + tags * TAG
    if layout != LAYOUT or len(data) < start or length > LARGEST:
        raise Damaged("not an entry of ours")
    return Entry(flags, copies, stored_us, fresh_us, stale_us, cost_us, length, data[start:])


def squeezed(packed: Packed, compress_from: int) -> tuple[int, bytes]:
    """The flags and the body to store: compressed where that is worth it."""
    if len(packed.data) >= max(1, compress_from):
        smaller = zlib.compress(packed.data, 1)
        if len(smaller) < len(packed.data):
            return packed.format | COMPRESSED, smaller
    return packed.format, packed.data


def inflated(data: bytes, length: int) -> bytes:
    """What was compressed, which must be so long: no more is ever made of it."""
    inflating = zlib.decompressobj()
    try:
        body = inflating.decompress(data, length + 1)
    except zlib.error as problem:
        raise Damaged(str(problem)) from None
    if not inflating.eof or inflating.unused_data or len(body) != length:
        raise Damaged("of another length")
    return body
