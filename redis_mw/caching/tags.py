"""Tags: what is dropped together. A tag has a version, an entry remembers those of its tags, and others are no longer.

==============================  ======================================================================================
``<prefix>:g1:{<tag>}:v``       a tag's version, a string of two halves of 12 bytes; ``tag`` is a hash of its name
==============================  ======================================================================================

Each half is a time in microseconds and something random, so none comes twice: a version that the server has evicted
revives nothing when a new one is drawn. Dropping a tag changes its version, *hard*, or only its second half, *soft*:
what hangs on it is then stale. So it costs the same whatever hangs on it. A version lives longer than what hangs on it,
and one that was dropped longer than anything takes to be made.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from redis_mw.flows import Command
from redis_mw.keys import key
from redis_mw.scripts import script

HERE = "redis_mw.caching"
SOFTEN = script(HERE, "soften")
DISCARD = script(HERE, "discard")
HOLD = script(HERE, "hold")

MOST = 32
"""Tags of one entry."""
SEED = 4
"""Random bytes of one half of a version; the others are the time."""
NAME = 32
"""Bytes of a name."""
VERSION = 24
"""Bytes of a version."""


@lru_cache(4096)
def name_of(text: str) -> str:
    """How what users name is called in keys: 32 hexadecimal digits."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def names_of(tags: Sequence[Any]) -> tuple[str, ...]:
    """The names of tags, each once; TypeError and ValueError say what is wrong with them."""
    if isinstance(tags, str):
        raise TypeError(f"tags are a list of texts: [{tags!r}]")
    for tag in tags:
        if not isinstance(tag, str):
            raise TypeError(f"a tag is a text, not {type(tag).__name__}: write f'product:{{id}}'")
    names = tuple(dict.fromkeys(map(name_of, tags)))
    if len(names) > MOST:
        raise ValueError(f"{len(names)} tags: an entry has {MOST} at most")
    return names


def kept_versions(data: bytes, start: int, number: int) -> dict[str, bytes]:
    """The tags that stand in an entry from there on, and the versions that they had."""
    size = NAME + VERSION
    each = [data[at : at + size] for at in range(start, start + number * size, size)]
    return {part[:NAME].decode("ascii", "replace"): part[NAME:] for part in each if len(part) == size}


class TagCommands:
    """Builds the commands that drop tags, for one prefix."""

    def __init__(self, prefix: str, patience_us: int, *, apart: bool = False) -> None:
        self.prefix = f"{prefix}:g1:{{"
        """What stands before a tag's name in its key."""
        self.apart = apart
        """Whether tags live on other servers than what hangs on them, so that no script can read both."""
        self.within = "" if apart else self.prefix
        """What scripts are told of how to find the tags of an entry."""
        self._prefix = prefix
        self._patience_us = patience_us
        self.now_us: int | str = ""

    def key(self, name: str) -> str:
        return key(self._prefix, "g1", name, "v")

    def keys(self, names: Iterable[str]) -> tuple[str, ...]:
        """The keys that a script is given with an entry of these tags."""
        return () if self.apart else tuple(map(self.key, names))

    def read(self, name: str) -> Command[bytes | None]:
        """The version of the tag, if it has one."""
        at = self.key(name)
        return Command(("GET", at), _version, (at,), role="cache", patience_us=self._patience_us)

    def hold(self, name: str, seed: bytes, ms: int = 0, since_us: int | str = "") -> Command[tuple[bytes, bool]]:
        """The version of the tag, drawn if it has none, which lives for so long; and whether it was dropped since."""
        words: Any = (self.now_us, seed, ms, since_us)
        return Command(words, _held, (self.key(name),), HOLD, "cache", self._patience_us)

    def drop(self, name: str, seed: bytes) -> Command[bool]:
        """Nothing that hangs on the tag is used any more, and nothing that is being made for it is stored."""
        words: Any = (self.now_us, seed)
        return Command(words, bool, (self.key(name),), DISCARD, "cache", self._patience_us)

    def soften(self, name: str, seed: bytes) -> Command[bool]:
        """What hangs on the tag is stale."""
        words: Any = (self.now_us, seed)
        return Command(words, bool, (self.key(name),), SOFTEN, "cache", self._patience_us)


def _version(reply: Any) -> bytes | None:
    return reply if isinstance(reply, bytes) and len(reply) == VERSION else None


def _held(reply: list[Any]) -> tuple[bytes, bool]:
    return reply[0], bool(reply[1])
