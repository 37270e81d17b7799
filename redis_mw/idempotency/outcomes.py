"""What comes of claiming a key, as frozen values."""

from typing import TypeAlias

import msgspec

from redis_mw.idempotency.response import Stored


class First(msgspec.Struct, frozen=True, gc=False):
    """The key is ours: run. ``run`` is above 1 where runs before this one died."""

    run: int = 1


class Replay(msgspec.Struct, frozen=True):
    """The request has run; this was the answer."""

    response: Stored


class Unkept(msgspec.Struct, frozen=True):
    """The request has run, and the body of its answer was too large to be kept."""

    response: Stored


class Busy(msgspec.Struct, frozen=True, gc=False):
    """Another one is running. Unless it renews its lease, that ends after so many microseconds."""

    left_us: int


class Mismatch(msgspec.Struct, frozen=True, gc=False):
    """The key was used for another request."""


class Orphan(msgspec.Struct, frozen=True, gc=False):
    """A run began and nobody knows how it ended: it died, or what is stored of it cannot be read (``damaged``)."""

    damaged: bool = False


class Away(msgspec.Struct, frozen=True, gc=False):
    """Redis is away, or refused: nothing is known of the key."""

    reason: str
    retry_after: float = 1.0


Outcome: TypeAlias = First | Replay | Unkept | Busy | Mismatch | Orphan | Away
