"""What is wanted: locks by their names, for how long, how, and how long it may take; and one attempt to get them."""

from collections.abc import Container, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from redis_mw.keys import digest, key
from redis_mw.settings import Duration, Locks, microseconds

FEATURE = "k1"
SHORTEST_US = 1000
"""Redis ends keys by the millisecond."""

tag_of = lru_cache(4096)(digest)


class Wanted(msgspec.Struct, frozen=True):
    """Locks by their names, each once, in an order that does not depend on how they were written.

    ``keys`` are where it is kept who holds each, ``rest`` is what an entry in a queue says besides whose it is.
    """

    names: tuple[str, ...]
    keys: tuple[str, ...]
    ttl_us: int
    wait_us: int
    max_hold_us: int
    shared: bool
    rest: str


class Ask(msgspec.Struct, frozen=True, gc=False):
    """One attempt to get what is wanted. ``token`` is whose, see ``now.lua``."""

    wanted: Wanted
    token: str

    @property
    def entry(self) -> str:
        """How it stands in a queue, see ``now.lua``."""
        return self.token + self.wanted.rest


def wanted(
    prefix: str,
    locks: Locks,
    names: Sequence[Any],
    ttl: Duration | None = None,
    wait: Duration | None = None,
    shared: bool = False,
    max_hold: Duration | None = None,
) -> Wanted:
    """Check what code asks for; what it leaves out is as in the settings. TypeError and ValueError say what is wrong.

    A lease never lasts longer than ``max_hold``, so a ``ttl`` over it is cut.
    """
    if not names:
        raise ValueError("name the lock: lock('order:1001')")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a lock's name is a text, not {type(name).__name__}: write f'order:{{id}}'")
        if not name:
            raise ValueError("a lock's name is not empty")
    hold_us = _lasting("max_hold", locks.max_hold if max_hold is None else max_hold, SHORTEST_US)
    ttl_us = min(hold_us, lease_us(locks.ttl if ttl is None else ttl))
    wait_us = _lasting("wait", locks.wait if wait is None else wait, 0)
    ordered = tuple(sorted(set(names)))
    return Wanted(
        names=ordered,
        keys=tuple([key(prefix, FEATURE, tag_of(name), "h") for name in ordered]),
        ttl_us=ttl_us,
        wait_us=wait_us,
        max_hold_us=hold_us,
        shared=bool(shared),
        rest=_rest(ordered, wait_us, ttl_us),
    )


def without(wanted: Wanted, held: Container[str]) -> Wanted | None:
    """The same but for the locks of these names; None if nothing is left."""
    left = [(name, at) for name, at in zip(wanted.names, wanted.keys, strict=True) if name not in held]
    if not left or len(left) == len(wanted.names):
        return wanted if left else None
    names = tuple(name for name, _ in left)
    rest = _rest(names, wanted.wait_us, wanted.ttl_us)
    return msgspec.structs.replace(wanted, names=names, keys=tuple(at for _, at in left), rest=rest)


def _rest(names: tuple[str, ...], wait_us: int, ttl_us: int) -> str:
    tags = ",".join(map(tag_of, names)) if len(names) > 1 else ""
    return f"|{wait_us}|{ttl_us}|{tags}"


def lease_us(ttl: Duration) -> int:
    """How long a lease shall last; TypeError and ValueError as above."""
    return _lasting("ttl", ttl, SHORTEST_US)


def _lasting(what: str, duration: Duration, least_us: int) -> int:
    us = microseconds(duration)
    if us < least_us:
        raise ValueError(f"{what} is {duration}: give {least_us / 1e6:g} seconds or more")
    return us
