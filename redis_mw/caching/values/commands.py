"""The commands of the data cache: what each script is called with and what its reply means.

==================================  ==================================================================================
``<prefix>:d1:{<name>}:v``          an entry, see ``entry.lua``; ``name`` is a hash of the key
``<prefix>:d1:{<name>}:l``          the lease of whoever makes it, see ``leases``
``<prefix>:d1:{<name>}:l:w``        the channel on which it is said that the lease is over
``<prefix>:d1:{<name>}:v:<id>:<n>`` the chunks of a large one
``<prefix>:d1:{<name>}:n``          an integer while it is added to, see ``incr.lua``
``<prefix>:d1:{<name>.<n>}:...``    the same of copy ``n``, in another slot
==================================  ==================================================================================

Each script has a model in plain Python (``model``).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, cast

import msgspec

from redis_mw.caching.leases import Claim, LeaseCommands
from redis_mw.caching.lifetimes import Lifetime
from redis_mw.caching.tags import TagCommands, kept_versions, name_of
from redis_mw.caching.values.entry import CHUNK, HEAD, INTEGER
from redis_mw.flows import Command, Script
from redis_mw.keys import key
from redis_mw.scripts import script

HERE = "redis_mw.caching.values"
LOOK = script(HERE, "look")
STORE = script(HERE, "store")
DROP = script(HERE, "drop")
ADD = script(HERE, "add")
TOUCH = script(HERE, "touch")
INCR = script(HERE, "incr")

FIRST_US, SHORTEST_US, LONGEST_US = 2_000_000, 1_000_000, 10_000_000
"""How long a lease lasts: where no cost is known; at least, and at most, where it is three times that."""

NONE_READ: Mapping[str, bytes] = MappingProxyType({})
"""Of no tag the version is known: what is stored has those that they have."""

What: TypeAlias = Literal["nothing", "fresh", "stale", "damaged"]
Uncounted: TypeAlias = Literal["nothing", "no integer", "too large"]
UNCOUNTED: tuple[Uncounted, ...] = ("nothing", "no integer", "too large")
WHATS: tuple[What, ...] = ("nothing", "fresh", "stale", "damaged")


class Looked(msgspec.Struct, frozen=True, gc=False):
    """The reply of a look. ``left_us`` is of another's lease, None where there is none or it was not wanted."""

    what: What
    data: bytes = b""
    claim: Claim | None = None
    left_us: int | None = None

    @property
    def is_leased(self) -> bool:
        """Whether somebody has the lease, and it was wanted."""
        return self.claim is not None or self.left_us is not None

    @property
    def kept(self) -> dict[str, bytes]:
        """The tags of the entry, and the versions that they had."""
        return kept_versions(self.data, HEAD.size, self.data[2])

    @property
    def stored_us(self) -> int:
        return int.from_bytes(self.data[4:12], "big")

    def gone(self) -> "Looked":
        """A tag of it was dropped."""
        return msgspec.structs.replace(self, what="nothing", data=b"")

    def softened(self, us: int) -> "Looked":
        """A tag of it was dropped softly, at that time."""
        return msgspec.structs.replace(self, what="stale")

    def leased_as(self, other: "Looked") -> "Looked":
        """The same with the lease of another reply."""
        return msgspec.structs.replace(self, claim=other.claim, left_us=other.left_us)

    def taken_by(self, claim: Claim | None) -> "Looked":
        """The same with another claim."""
        return msgspec.structs.replace(self, claim=claim)


class Stored(msgspec.Struct, frozen=True, gc=False):
    """What is to be stored; ``tags`` are names."""

    flags: int
    length: int
    body: bytes
    lifetime: Lifetime
    cost_us: int = 0
    copies: int = 1
    tags: tuple[str, ...] = ()


class Commands:
    """Builds the commands for one prefix. ``now_us`` overrides the server's clock, for tests."""

    def __init__(self, prefix: str, patience_us: int, *, apart: bool = False) -> None:
        self.tags = TagCommands(prefix, patience_us, apart=apart)
        self.leases = LeaseCommands(patience_us)
        self._prefix = prefix
        self._patience_us = patience_us
        self.now_us: int | str = ""

    def key(self, name: str, copy: int = 0, part: str = "v") -> str:
        return key(self._prefix, "d1", f"{name}.{copy}" if copy else name, part)

    def channel(self, name: str) -> str:
        """Where those who wait for another's entry are woken."""
        return self.leases.channel(self.key(name, 0, "l"))

    def look(
        self,
        name: str,
        copy: int = 0,
        *,
        owner: str = "",
        tags: Sequence[str] = (),
        haste: float | None = None,
        but_stored_us: int | None = None,
        seed: bytes = b"",
        listen: bool = False,
    ) -> Command[Looked]:
        """Without an ``owner`` no lease is taken; ``listen``: be told of the end of another's."""
        lease = self.key(name, copy, "l")

        def looked(reply: list[Any]) -> Looked:
            what, state, us, data, *versions = reply
            claim = Claim((lease,), owner, us, tuple(versions)) if state == 1 else None
            return Looked(WHATS[what], data, claim, us if state == 0 else None)

        words = (
            *(self.now_us, self.tags.within, owner, "" if haste is None else f"{haste:.6f}"),
            *("" if but_stored_us is None else but_stored_us, FIRST_US, SHORTEST_US, LONGEST_US, seed),
        )
        keys = (self.key(name, copy), lease, *self.tags.keys(tags if owner else ()))
        wakes = (self.channel(name),) if listen else ()
        # The entry comes with the reply, so it may be large.
        return Command(words, looked, keys, LOOK, "cache", self._patience_us, bulk=True, wakes=wakes)

    def read(self, name: str, copy: int = 0) -> tuple[Command[bytes | None], Command[int]]:
        """The entry as it stands there, and the time; a replica may answer."""
        at = self.key(name, copy)
        read = Command(("GET", at), _bytes, (at,), None, "cache", self._patience_us, bulk=True, replica=True)
        return read, clock(at, self._patience_us)

    def store(
        self,
        name: str,
        stored: Stored,
        copy: int = 0,
        *,
        claim: Claim | None = None,
        versions: Mapping[str, bytes] = NONE_READ,
        seed: bytes = b"",
    ) -> Command[bool]:
        """Under a claim only if it is still good; without, in any case, with those of ``versions`` that were read."""
        owner = claim.owner if claim is not None else ""
        had = dict(zip(stored.tags, claim.versions, strict=True)) if claim is not None else versions
        words = self._storing(owner, stored, had, seed)
        return self._command(STORE, name, copy, words, bool, self.tags.keys(stored.tags))

    def add(
        self, name: str, stored: Stored, *, versions: Mapping[str, bytes] = NONE_READ, seed: bytes = b""
    ) -> Command[bool]:
        """Store where nothing fresh is."""
        words = self._storing(self.tags.within, stored, versions, seed)
        return self._command(ADD, name, 0, words, bool, self.tags.keys(stored.tags))

    def touch(self, name: str, ttl_us: int | None, versions: Mapping[str, bytes] = NONE_READ) -> Command[bool]:
        """Whether there is something fresh, which lasts for so long from now on; 0 forgets it, None leaves it."""
        words = (self.now_us, self.tags.within, "" if ttl_us is None else ttl_us, *_pairs(versions))
        return self._command(TOUCH, name, 0, words, bool)

    def incr(self, name: str, delta: int, versions: Mapping[str, bytes] = NONE_READ) -> Command[int | Uncounted]:
        """Add to an integer."""
        keys = (self.key(name), self.key(name, part="n"))
        words = (self.now_us, self.tags.within, str(delta), INTEGER, *_pairs(versions))
        return Command(words, _counted, keys, INCR, "cache", self._patience_us)

    def drop(self, name: str, copy: int = 0) -> Command[tuple[bool, int]]:
        """Whether there was one, and how many copies it said there are."""
        return self._command(DROP, name, copy, (self.now_us,), _dropped)

    def chunk(self, at: str, number: int) -> str:
        """The key of a chunk; ``at`` is that of the entry with the id of its chunks."""
        return f"{at}:{number}"

    def store_chunks(self, name: str, copy: int, id: str, body: bytes, ms: int) -> list[Command[bool]]:
        at = f"{self.key(name, copy)}:{id}"
        return [
            self._plain("SET", self.chunk(at, number), body[start : start + CHUNK], "PX", ms)
            for number, start in enumerate(range(0, len(body), CHUNK))
        ]

    def drop_chunks(self, name: str, copy: int, id: str, number: int) -> Command[bool]:
        at = f"{self.key(name, copy)}:{id}"
        keys = tuple(self.chunk(at, each) for each in range(number))
        return Command(("UNLINK", *keys), bool, keys, role="cache", patience_us=self._patience_us)

    def chunks(self, name: str, copy: int, id: str, number: int) -> Command[list[bytes | None]]:
        at = f"{self.key(name, copy)}:{id}"
        keys = tuple(self.chunk(at, each) for each in range(number))
        parse = cast(Any, list)
        return Command(("MGET", *keys), parse, keys, role="cache", patience_us=self._patience_us, bulk=True)

    def _storing(self, second: str, stored: Stored, versions: Mapping[str, bytes], seed: bytes) -> tuple[Any, ...]:
        lifetime = stored.lifetime
        return (
            *(self.now_us, second, stored.flags, stored.copies),
            *(lifetime.ttl_us, lifetime.stale_us, min(stored.cost_us, 2**32 - 1), stored.length, seed, stored.body),
            *(word for tag in stored.tags for word in (tag, versions.get(tag, b""))),
        )

    def _plain(self, word: str, at: str, *words: Any) -> Command[bool]:
        return Command((word, at, *words), bool, (at,), role="cache", patience_us=self._patience_us)

    def _command(
        self, script: Script, name: str, copy: int, words: tuple[Any, ...], parse: Any, more: Any = ()
    ) -> Command[Any]:
        keys = (self.key(name, copy), self.key(name, copy, "l"), *more)
        return Command(words, parse, keys, script, "cache", self._patience_us)


def clock(key: str, patience_us: int) -> Command[int]:
    """The time in us, as one of those tells it who have the key."""
    return Command(("TIME",), _us, (key,), None, "cache", patience_us, replica=True)


def _pairs(versions: Mapping[str, bytes]) -> tuple[str | bytes, ...]:
    return tuple(word for pair in versions.items() for word in pair)


def _us(reply: list[bytes]) -> int:
    return int(reply[0]) * 1_000_000 + int(reply[1])


def _bytes(reply: Any) -> bytes | None:
    return reply if isinstance(reply, bytes) else None


def _dropped(reply: list[int]) -> tuple[bool, int]:
    return bool(reply[0]), reply[1]


def _counted(reply: bytes | int) -> int | Uncounted:
    return UNCOUNTED[reply] if isinstance(reply, int) else int(reply)


def named(keys: Any) -> str:
    """The name of a key; TypeError for what is no text."""
    if not isinstance(keys, str):
        raise TypeError(f"a key is a text, not {type(keys).__name__}: write f'user:{{id}}'")
    return name_of(keys)
