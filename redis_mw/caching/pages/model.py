"""What the scripts promise, in plain Python: tests compare the two, and people read this one.

A URL has the names that it varies by, and by variant a page, a lease, and until when responses are known to be useless;
a tag has a version or none. What is in the way (of another type, or nothing of ours) counts as not there.
"""

from dataclasses import dataclass, field

from redis_mw.caching.leases import Claim
from redis_mw.caching.model import Tags, dropped_since
from redis_mw.caching.pages.commands import Looked, Question, Storing
from redis_mw.caching.pages.page import CHUNKED, Page, head_of
from redis_mw.caching.values.commands import FIRST_US, LONGEST_US, SHORTEST_US
from redis_mw.caching.values.entry import CHUNKS

MOST_FIELDS = 512


@dataclass
class Kept:
    """A page with the versions that its tags had; ``body`` as it is stored. ``meta`` is how its other parts are."""

    page: Page
    flags: int
    rest: bytes
    body: bytes
    versions: dict[str, bytes]

    @property
    def at(self) -> int:
        return self.page.freshness.received_us

    @property
    def last(self) -> int:
        return self.page.freshness.last_us

    @property
    def meta(self) -> bytes:
        tags = b"".join(tag.encode() + version for tag, version in self.versions.items())
        return head_of(self.page, self.flags) + tags + self.rest


@dataclass
class Lease:
    until: int
    since: int
    owner: str


@dataclass
class Site:
    """All of one URL. A variant whose page is None has something there that cannot be read."""

    names: tuple[str, ...] | None = None
    pages: dict[str, Kept | None] = field(default_factory=dict[str, "Kept | None"])
    leases: dict[str, Lease] = field(default_factory=dict[str, Lease])
    useless: dict[str, int] = field(default_factory=dict[str, int])
    chunks: dict[tuple[str, int], bytes] = field(default_factory=dict[tuple[str, int], bytes])
    bodiless: set[str] = field(default_factory=set[str])
    """Variants whose body is gone."""
    lasts_ms: int = 0
    """What the server was told of how long it is to be kept, at least."""

    def lives(self, ms: int) -> None:
        self.lasts_ms = max(self.lasts_ms, ms)

    def forget(self, variant: str) -> None:
        page = self.pages.pop(variant, None)
        if page is not None and page.flags & CHUNKED and variant not in self.bodiless:
            self.forget_chunks(page.body)
        self.bodiless.discard(variant)

    def forget_chunks(self, list: bytes) -> None:
        id, number = CHUNKS.unpack(list)
        for each in range(number):
            _ = self.chunks.pop((id.decode(), each), None)

    @property
    def fields(self) -> int:
        pages = sum(1 if page is None or each in self.bodiless else 2 for each, page in self.pages.items())
        return (self.names is not None) + pages + len(self.leases) + len(self.useless) + len(self.chunks)


@dataclass
class Model(Tags):
    """The URLs and tags of one prefix, at a time that moves when told to."""

    sites: dict[str, Site] = field(default_factory=dict[str, Site])
    foreign: set[str] = field(default_factory=set[str])
    """URLs at whose key there is something of another type."""

    def look(self, ask: Question, owner: str, seed: bytes, key: str) -> Looked:
        what = "nothing"
        if ask.name in self.foreign:
            what = "damaged"
            if owner:
                self.foreign.discard(ask.name)
        site = self.sites.get(ask.name, Site())
        if site.names is not None and site.names != ask.names:
            return Looked("varies", self.now, names=site.names)
        page, soft = site.pages.get(ask.variant), 0
        if ask.variant in site.pages and (page is None or page.at == ask.unlike_us):
            what = "damaged"
        elif page is not None and self.now < page.last:
            what, soft = self._age_of(page)
        if what in ("fresh", "stale") and ask.with_body and ask.variant in site.bodiless:
            what = "damaged"
        usable = page if what in ("fresh", "stale") else None
        looked = Looked(
            "damaged" if what == "damaged" else "fresh" if what == "fresh" else "stale" if usable else "nothing",
            self.now,
            soft,
            usable.meta if usable else b"",
            usable.body if usable and ask.with_body else b"",
            None if site.names is None else ask.names,
        )
        early = (
            what == "fresh"
            and page is not None
            and ask.haste is not None
            and self.now + page.page.cost_us * ask.haste >= page.page.freshness.fresh_until_us
            and (page.page.freshness.fresh_until_us - self.now) <= (page.page.freshness.fresh_until_us - page.at) / 5
        )
        wanted = what == "stale" or early or (ask.anyhow if what == "fresh" else ask.misses)
        return self._leased(looked, ask, owner, seed, key, page) if owner and wanted else looked

    def _age_of(self, page: Kept) -> tuple[str, int]:
        """Whether a page is fresh, and when it became stale before its time."""
        soft = 0
        what = "fresh" if self.now < page.page.freshness.fresh_until_us else "stale"
        if self.apart:
            return what, soft
        for tag, version in page.versions.items():
            current = self.tags.get(tag, b"")
            if current[:12] != version[:12]:
                return "nothing", soft
            if current != version:
                at = int.from_bytes(current[12:20], "big")
                what, soft = "stale", min(soft, at) if soft else at
        return what, soft

    def _leased(self, looked: Looked, ask: Question, owner: str, seed: bytes, key: str, page: Kept | None) -> Looked:
        site = self.sites.setdefault(ask.name, Site())
        useless = site.useless.get(ask.variant, 0) > self.now
        lease = site.leases.get(ask.variant)
        found = (looked.what, looked.now_us, looked.soft_us, looked.meta, looked.body, looked.names)
        if lease is not None and lease.until > self.now and lease.owner != owner:
            return Looked(*found, None, lease.until - self.now, useless)
        us = FIRST_US
        if page is not None and page.page.cost_us:
            us = min(max(3 * page.page.cost_us, SHORTEST_US), LONGEST_US)
        site.leases[ask.variant] = Lease(self.now + us, self.now, owner)
        site.lives(us // 1000)
        versions = () if self.apart else tuple(self.version(tag, seed) for tag in ask.tags)
        return Looked(*found, Claim((key,), owner, us, versions, ask.variant, self.now), None, useless)

    def store(self, claim: Claim, storing: Storing, seed: bytes) -> str:
        site = self.sites.get(storing.name, Site())
        lease = site.leases.get(claim.variant)
        reply = "dropped"
        if lease is not None and lease.owner == claim.owner:
            reply = self._stored(site, lease, storing, seed)
            _ = site.leases.pop(claim.variant, None)
        if reply != "stored" and storing.chunks:
            site.forget_chunks(storing.chunks)
        self._tidy(storing.name)
        return reply

    def _stored(self, site: Site, lease: Lease, storing: Storing, seed: bytes) -> str:
        page, names, variant = storing.page, storing.names, storing.variant
        keeps_us, chunks = storing.keeps_us, storing.chunks
        old = site.pages.get(variant)
        if site.names != storing.known:
            return "dropped"
        if keeps_us is not None and (names != storing.known or old is None or old.at != keeps_us):
            return "dropped"
        kept = dict(zip(page.tags, storing.versions, strict=True))
        for tag, wanted in () if self.apart else tuple(kept.items()):
            current = self.tags.get(tag)
            late = not wanted and current is not None and dropped_since(current, lease.since)
            if late or (wanted and current != wanted):
                return "dropped"
            kept[tag] = self.version(tag, seed)
        if site.names is not None and site.names != names:
            own = {
                at: part for at, part in site.chunks.items() if chunks and at[0] == CHUNKS.unpack(chunks)[0].decode()
            }
            site.pages.clear()
            site.leases.clear()
            site.useless.clear()
            site.bodiless.clear()
            site.chunks, old = own, None
            if not own:  # with its last field the key goes, and with the key how long it was to live
                site.lasts_ms = 0
        elif site.names == names and old is None:
            for each, other in tuple(site.pages.items()):
                if other is None or other.last <= self.now:
                    site.forget(each)
            if len(site.pages) >= storing.most:
                return "full"
        body, bodiless = storing.packed.body or b"", variant in site.bodiless
        if keeps_us is not None and old is not None:
            body = old.body
        else:
            site.forget(variant)
            body, bodiless = chunks or body, False
        site.pages[variant] = Kept(page, storing.flags, storing.packed.rest, body, kept)
        if bodiless:
            site.bodiless.add(variant)
        site.names = names
        _ = site.useless.pop(variant, None)
        site.lives(storing.ms)
        return "stored"

    def keep_chunk(self, claim: Claim, name: str, id: str, number: int, part: bytes, ms: int) -> bool:
        site = self._of(name, claim)
        if site is None:
            return False
        site.chunks[id, number] = part
        site.lives(ms)
        return True

    def renew(self, name: str, claim: Claim) -> bool:
        site = self._of(name, claim)
        if site is None:
            return False
        site.leases[claim.variant].until = self.now + claim.lease_us
        site.lives(claim.lease_us // 1000)
        return True

    def release(self, name: str, claim: Claim, useless_us: int) -> bool:
        site = self._of(name, claim)
        if site is None:
            return False
        if useless_us and site.fields >= MOST_FIELDS:
            site.useless = {each: until for each, until in site.useless.items() if until > self.now}
        if useless_us and site.fields < MOST_FIELDS:
            site.useless[claim.variant] = self.now + useless_us
            site.lives(useless_us // 1000)
        del site.leases[claim.variant]
        self._tidy(name)
        return True

    def purge(self, name: str) -> bool:
        was_foreign = name in self.foreign
        self.foreign.discard(name)
        return self.sites.pop(name, None) is not None or was_foreign

    def _of(self, name: str, claim: Claim) -> Site | None:
        """The URL, if the lease is its owner's."""
        site = self.sites.get(name)
        lease = site.leases.get(claim.variant) if site is not None else None
        return site if lease is not None and lease.owner == claim.owner else None

    def _tidy(self, name: str) -> None:
        """What has nothing in it is not there."""
        if name in self.sites and not self.sites[name].fields:
            del self.sites[name]
