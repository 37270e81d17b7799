"""What is asked for: a value under a key, as which type, and how long it shall be kept if it is made for this."""

from collections.abc import Sequence
from typing import Any

import msgspec

from redis_mw.caching.lifetimes import Lifetime, fraction, lifetime
from redis_mw.caching.tags import names_of
from redis_mw.caching.values.commands import named
from redis_mw.caching.values.entry import NONE, Packed
from redis_mw.caching.values.plain import encode
from redis_mw.caching.values.reading import Reader, reader_of
from redis_mw.settings import Duration, microseconds

MOST_COPIES = 64


class Ask(msgspec.Struct, frozen=True):
    """One question. ``copies`` is under how many keys the value lives; a ``negative_us`` of 0 keeps no None."""

    key: str
    name: str
    reader: Reader
    lifetime: Lifetime | None = None
    tags: tuple[str, ...] = ()
    negative_us: int = 0
    jitter: float = 0.0
    early: bool = False
    copies: int = 1
    typed: bool = True

    def read(self, packed: Packed) -> Any:
        """The value; ``Damaged`` if it is none of the type that is asked for."""
        return None if packed.format == NONE else self.reader(packed.format, packed.data)

    def packed(self, value: object) -> Packed:
        """A value that was made, as bytes; ``CannotEncode``."""
        return packed(value, typed=self.typed)

    def lasting(self, packed: Packed, luck: float) -> Lifetime | None:
        """How long to keep what was made; None: not at all."""
        if packed.format == NONE:
            kept = Lifetime(self.negative_us) if self.negative_us > 0 else None
        else:
            kept = self.lifetime
        return kept.shortened(self.jitter, luck) if kept is not None else None


def packed(value: object, *, typed: bool = True) -> Packed:
    """A value as bytes; ``CannotEncode``."""
    return Packed(NONE, b"") if value is None else Packed(*encode(value, typed=typed))


def getting(key: str, type: Any) -> Ask:
    """Only what is there."""
    return Ask(key, named(key), reader_of(type))


def making(
    key: str,
    type: Any,
    ttl: Duration,
    *,
    tags: Sequence[str],
    negative: Duration,
    stale: Duration,
    early: bool,
    jitter: float,
    copies: int,
) -> Ask:
    """What is there, or made if nothing is; TypeError and ValueError say what is wrong."""
    kept = lifetime(ttl, stale)
    return Ask(
        key,
        named(key),
        reader_of(type),
        kept,
        names_of(tags),
        microseconds(negative),
        fraction(jitter),
        early,
        counted(copies),
        type is not Any,
    )


def counted(copies: int) -> int:
    """A number of copies; ValueError if it makes no sense."""
    if type(copies) is not int or not 1 <= copies <= MOST_COPIES:
        raise ValueError(f"hot is {copies!r}: give 1 to {MOST_COPIES}")
    return copies
