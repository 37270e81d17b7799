"""The commands of pages: what each script is called with and what its reply means.

==================================  ==================================================================================
``<prefix>:h1:{<name>}:p``          all of a URL, see ``page.lua``; ``name`` as in ``names``
``<prefix>:h1:{<name>}:p:w``        the channel on which it is said that something has changed
==================================  ==================================================================================

Each script has a model in plain Python (``model``).
"""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, cast

import msgspec

from redis_mw.caching.leases import Claim, LeaseCommands
from redis_mw.caching.pages.page import CHUNKED, HEAD, Packed, Page, head_of
from redis_mw.caching.tags import TagCommands, kept_versions
from redis_mw.caching.values.commands import FIRST_US, LONGEST_US, SHORTEST_US, clock
from redis_mw.flows import Command, Script
from redis_mw.keys import key
from redis_mw.scripts import script

HERE = "redis_mw.caching.pages"
LOOK = script(HERE, "look")
STORE = script(HERE, "store")
RENEW = script(HERE, "renew")
RELEASE = script(HERE, "release")
PURGE = script(HERE, "purge")
CHUNK = script(HERE, "chunk")

NONE_KNOWN = "-"
"""What a URL varies by of which nothing is stored."""

What: TypeAlias = Literal["nothing", "fresh", "stale", "damaged", "varies"]
WHATS: tuple[What, ...] = ("nothing", "fresh", "stale", "damaged", "varies")


class Question(msgspec.Struct, frozen=True, gc=False):
    """What is asked of a URL: ``names`` are those it is thought to vary by, ``variant`` what follows from them.

    ``misses``: the lease is wanted also where there is nothing; ``anyhow``: also where it is fresh; ``haste``: and
    where it ends soon, None never.
    """

    name: str
    names: tuple[str, ...]
    variant: str
    with_body: bool = True
    misses: bool = True
    anyhow: bool = False
    haste: float | None = None
    tags: tuple[str, ...] = ()
    unlike_us: int | None = None


class Looked(msgspec.Struct, frozen=True, gc=False):
    """The reply of a look. ``left_us`` is of another's lease, None where there is none or it was not wanted;
    ``useless``: what is made under the lease can hardly be used. ``names`` are those that the URL is known to vary by,
    None where nothing is stored of it.
    """

    what: What
    now_us: int
    soft_us: int = 0
    meta: bytes = b""
    body: bytes = b""
    names: tuple[str, ...] | None = None
    claim: Claim | None = None
    left_us: int | None = None
    useless: bool = False
    behind: bool = False
    """A replica said so, which may be behind."""

    @property
    def is_leased(self) -> bool:
        """Whether somebody has the lease, and it was wanted."""
        return self.claim is not None or self.left_us is not None

    @property
    def kept(self) -> dict[str, bytes]:
        """The tags of the page, and the versions that they had."""
        return kept_versions(self.meta, HEAD.size, self.meta[4])

    @property
    def stored_us(self) -> int:
        return int.from_bytes(self.meta[5:13], "big")

    def gone(self) -> "Looked":
        """A tag of it was dropped."""
        return msgspec.structs.replace(self, what="nothing", meta=b"", body=b"")

    def softened(self, us: int) -> "Looked":
        """A tag of it was dropped softly, at that time."""
        return msgspec.structs.replace(self, what="stale", soft_us=us)

    def leased_as(self, other: "Looked") -> "Looked":
        """The same with the lease of another reply."""
        return msgspec.structs.replace(self, claim=other.claim, left_us=other.left_us, useless=other.useless)

    def taken_by(self, claim: Claim | None) -> "Looked":
        """The same with another claim."""
        return msgspec.structs.replace(self, claim=claim)


class Storing(msgspec.Struct, frozen=True, gc=False):
    """A page to be stored of a URL, which was ``known`` to vary by some names and varies by these ``names``.

    ``versions`` are those that its tags must still have, empty for what was not read. ``keeps_us`` says when the page
    was stored whose body stays; ``chunks`` names the parts of the body that were stored before.
    """

    name: str
    known: tuple[str, ...] | None
    names: tuple[str, ...]
    variant: str
    most: int
    page: Page
    packed: Packed
    versions: tuple[bytes, ...] = ()
    keeps_us: int | None = None
    chunks: bytes = b""

    @property
    def flags(self) -> int:
        return self.packed.flags | (CHUNKED if self.chunks else 0)

    @property
    def ms(self) -> int:
        """For how long to keep it."""
        return max(1, lasts_ms(self.page))


class PageLeases(LeaseCommands):
    """The commands of leases that stand in the hash of their URL; the claim knows the variant."""

    now_us: int | str = ""

    def renew(self, key: str, claim: Claim) -> Command[bool]:
        return self._command(RENEW, key, self.now_us, claim.owner, claim.variant, claim.lease_us)


class Commands:
    """Builds the commands for one prefix. ``now_us`` overrides the server's clock, for tests."""

    def __init__(self, prefix: str, patience_us: int, tags: TagCommands) -> None:
        self.leases = PageLeases(patience_us)
        self._tags = tags
        self._prefix = prefix
        self._patience_us = patience_us
        self.now_us: int | str = ""
        self.prefixes = (f"{prefix}:h1:{{", tags.prefix)
        """How the keys begin that a page depends on: what those want to know who keep one in memory."""

    def key(self, name: str) -> str:
        return key(self._prefix, "h1", name, "p")

    def channel(self, name: str) -> str:
        """Where those who wait for a page are woken."""
        return self.key(name) + ":w"

    def depends(self, name: str, tags: Sequence[str]) -> tuple[str, ...]:
        """The keys whose change makes a page another one."""
        return (self.key(name), *map(self._tags.key, tags))

    def look(self, question: Question, owner: str = "", *, seed: bytes = b"", listen: bool = False) -> Command[Looked]:
        ask = question

        def looked(reply: list[Any]) -> Looked:
            what, now_us = WHATS[reply[0]], reply[3]
            if what == "varies":
                return Looked(what, now_us, names=names_of(reply[5].decode("latin-1")))
            claim = None
            if reply[1] in (1, 3):
                claim = Claim((self.key(ask.name),), owner, reply[2], tuple(reply[8:]), ask.variant, now_us)
            left_us = reply[2] if reply[1] in (0, 2) else None
            names = ask.names if reply[7] else None
            return Looked(what, now_us, reply[4], reply[5], reply[6], names, claim, left_us, reply[1] >= 2)

        words = (
            *(self.now_us, self._tags.within, joined(ask.names), ask.variant, int(ask.with_body), owner),
            *(int(ask.misses), int(ask.anyhow), "" if ask.haste is None else f"{ask.haste:.6f}"),
            *("" if ask.unlike_us is None else ask.unlike_us, FIRST_US, SHORTEST_US, LONGEST_US, seed),
        )
        keys = (self.key(ask.name), *self._tags.keys(ask.tags if owner else ()))
        wakes = (self.channel(ask.name),) if listen else ()
        return Command(words, looked, keys, LOOK, "cache", self._patience_us, bulk=True, wakes=wakes)

    def read(self, question: Question) -> tuple[Command[list[Any]], Command[int]]:
        """The names that the URL varies by, the page and its body as they stand there, and the time; a replica may
        answer.
        """
        at, body = self.key(question.name), ("b:" + question.variant,) if question.with_body else ()
        words = ("HMGET", at, "v", "m:" + question.variant, *body)
        parse = cast(Any, list)
        read: Command[list[Any]] = Command(
            words, parse, (at,), None, "cache", self._patience_us, bulk=True, replica=True
        )
        return read, clock(at, self._patience_us)

    def store(
        self, claim: Claim, storing: Storing, *, seed: bytes = b""
    ) -> Command[Literal["stored", "dropped", "full"]]:
        it, page, packed = storing, storing.page, storing.packed
        words = (
            *(self.now_us, claim.owner, claim.variant, NONE_KNOWN if it.known is None else joined(it.known)),
            *(joined(it.names), it.variant, it.most, head_of(page, it.flags), packed.rest),
            *(it.chunks or packed.body or b"", "" if it.keeps_us is None else it.keeps_us, it.ms, seed),
            *(word for tag in zip(page.tags, it.versions, strict=True) for word in tag),
        )
        return self._command(STORE, it.name, words, _stored, self._tags.keys(page.tags))

    def release(self, claim: Claim, *, useless_us: int = 0) -> Command[bool]:
        """``useless_us``: for so long nobody shall wait for such a response."""
        words = (self.now_us, claim.owner, claim.variant, useless_us)
        return Command(words, bool, claim.keys, RELEASE, "cache", self._patience_us)

    def purge(self, name: str) -> Command[bool]:
        return self._command(PURGE, name, (self.now_us,), bool)

    def keep_chunk(self, claim: Claim, name: str, id: str, number: int, part: bytes, ms: int) -> Command[bool]:
        return self._command(CHUNK, name, (self.now_us, claim.owner, claim.variant, id, number, part, ms), bool)

    def chunks(self, name: str, id: str, number: int) -> Command[list[bytes | None]]:
        at = self.key(name)
        fields = (f"c:{id}:{each}" for each in range(number))
        parse = cast(Any, list)
        return Command(("HMGET", at, *fields), parse, (at,), role="cache", patience_us=self._patience_us, bulk=True)

    def _command(self, script: Script, name: str, words: tuple[Any, ...], parse: Any, more: Any = ()) -> Command[Any]:
        return Command(words, parse, (self.key(name), *more), script, "cache", self._patience_us)


def lasts_ms(page: Page) -> int:
    """For how long a page can be of any use."""
    return -(-(page.freshness.last_us - page.freshness.received_us) // 1000)


def joined(names: Sequence[str]) -> str:
    """The names that a URL varies by, as they are stored."""
    return ",".join(names)


def names_of(text: str) -> tuple[str, ...]:
    """What ``joined`` was given."""
    return tuple(text.split(",")) if text else ()


def _stored(reply: int) -> Literal["stored", "dropped", "full"]:
    return ("dropped", "stored", "full")[reply]
