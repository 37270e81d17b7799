"""What the scripts promise, in plain Python: tests compare the two, and people read this one.

A name has an entry or none, and a lease or none; a tag has a version or none. Nothing ends by itself here: leases end
when they are told to, and what the server evicts is taken away by hand.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from redis_mw.caching.leases import Claim
from redis_mw.caching.lifetimes import Lifetime
from redis_mw.caching.model import Tags
from redis_mw.caching.values.commands import FIRST_US, LONGEST_US, NONE_READ, SHORTEST_US, Looked, Stored, Uncounted
from redis_mw.caching.values.entry import HEAD, INTEGER, LAYOUT

DIGITS = re.compile(rb"0|-?[1-9][0-9]{0,18}")


@dataclass
class Kept:
    """An entry with what was true when it was stored: the time, and the versions of its tags."""

    stored: Stored
    at: int
    versions: dict[str, bytes]
    lasts_us: int
    """What the server was told last of how long it is to be kept."""

    @property
    def fresh(self) -> int:
        return self.at + self.stored.lifetime.ttl_us

    @property
    def stale(self) -> int:
        return self.fresh + self.stored.lifetime.stale_us

    def data(self) -> bytes:
        """As it is kept by the server."""
        own = self.stored
        numbers = (own.flags, len(own.tags), own.copies, self.at, self.fresh, self.stale, own.cost_us, own.length)
        tags = b"".join(tag.encode() + version for tag, version in self.versions.items())
        return HEAD.pack(LAYOUT, *numbers) + tags + own.body


@dataclass
class Model(Tags):
    """The entries, leases and tags of one prefix, at a time that moves when told to."""

    entries: dict[str, Kept] = field(default_factory=dict[str, Kept])
    damaged: set[str] = field(default_factory=set[str])
    leases: dict[str, str] = field(default_factory=dict[str, str])

    def look(
        self,
        name: str,
        owner: str,
        tags: tuple[str, ...],
        haste: float | None,
        unlike: int | None,
        seed: bytes,
        key: str,
    ) -> Looked:
        entry = self.entries.get(name)
        looked = self._found(name, unlike)
        early = (
            looked.what == "fresh"
            and haste is not None
            and entry is not None
            and self.now + entry.stored.cost_us * haste >= entry.fresh
            and entry.fresh - self.now <= entry.stored.lifetime.ttl_us / 5
        )
        if not owner or (looked.what == "fresh" and not early):
            return looked
        if self.leases.setdefault(name, owner) != owner:
            return Looked(looked.what, looked.data, None, 0)
        lease_us = FIRST_US
        if entry is not None and name not in self.damaged and entry.stored.cost_us:
            lease_us = min(max(3 * entry.stored.cost_us, SHORTEST_US), LONGEST_US)
        versions = () if self.apart else tuple(self.version(tag, seed) for tag in tags)
        return Looked(looked.what, looked.data, Claim((key,), owner, lease_us, versions))

    def _found(self, name: str, unlike: int | None) -> Looked:
        entry = self.entries.get(name)
        if entry is None:
            return Looked("nothing")
        if name in self.damaged or entry.at == unlike:
            return Looked("damaged")
        current = entry.versions if self.apart else {tag: self.tags.get(tag, b"") for tag in entry.versions}
        gone = any(current[tag][:12] != version[:12] for tag, version in entry.versions.items())
        if gone or self.now >= entry.stale:
            return Looked("nothing")
        if current != entry.versions or self.now >= entry.fresh:
            return Looked("stale", entry.data())
        return Looked("fresh", entry.data())

    def store(
        self, name: str, stored: Stored, claim: Claim | None, seed: bytes, versions: Mapping[str, bytes] = NONE_READ
    ) -> bool:
        if claim is not None:
            if self.leases.get(name) != claim.owner:
                return False
            now = tuple(self.tags.get(tag) for tag in stored.tags)
            if now != claim.versions and not self.apart:
                self._end(name)
                return False
            versions = dict(zip(stored.tags, claim.versions, strict=True))
        if not self.apart:
            versions = {tag: self.version(tag, seed) for tag in stored.tags}
        self.entries[name] = Kept(stored, self.now, dict(versions), stored.lifetime.ttl_us + stored.lifetime.stale_us)
        self.damaged.discard(name)
        self._end(name)
        return True

    def add(self, name: str, stored: Stored, seed: bytes, versions: Mapping[str, bytes] = NONE_READ) -> bool:
        return not self._is_fresh(name, versions) and self.store(name, stored, None, seed, versions)

    def _is_fresh(self, name: str, told: Mapping[str, bytes]) -> bool:
        """Whether there is something fresh, with what was ``told`` of tags on other servers."""
        if self._found(name, None).what != "fresh":
            return False
        return not self.apart or all(told.get(tag) == had for tag, had in self.entries[name].versions.items())

    def touch(self, name: str, ttl_us: int | None, told: Mapping[str, bytes] = NONE_READ) -> bool:
        fresh = self._is_fresh(name, told)
        if ttl_us == 0:
            _ = self.drop(name)
        elif fresh and ttl_us is not None:
            entry = self.entries[name]
            entry.stored = replace(entry.stored, lifetime=Lifetime(self.now + ttl_us - entry.at))
            entry.lasts_us = ttl_us
        return fresh

    def incr(self, name: str, delta: int, told: Mapping[str, bytes] = NONE_READ) -> int | Uncounted:
        if not self._is_fresh(name, told):
            return "nothing"
        entry = self.entries[name]
        if entry.stored.flags != INTEGER:
            return "no integer"
        digits = entry.stored.body
        if not DIGITS.fullmatch(digits) or not _fits(int(digits)) or not _fits(delta) or not _fits(int(digits) + delta):
            return "too large"
        digits = b"%d" % (int(digits) + delta)
        entry.stored = replace(entry.stored, body=digits, length=len(digits))
        return int(digits)

    def drop(self, name: str) -> tuple[bool, int]:
        entry, was_damaged = self.entries.pop(name, None), name in self.damaged
        self.damaged.discard(name)
        self._end(name)
        return entry is not None, entry.stored.copies if entry is not None and not was_damaged else 1

    def renew(self, name: str, owner: str) -> bool:
        return self.leases.get(name) == owner

    def release(self, name: str, owner: str) -> bool:
        if self.leases.get(name) != owner:
            return False
        self._end(name)
        return True

    def _end(self, name: str) -> None:
        _ = self.leases.pop(name, None)


def _fits(number: int) -> bool:
    return -(2**63) <= number < 2**63
