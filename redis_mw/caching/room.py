"""The cache of one application: what the settings say, and what this process remembers; made once."""

import random
import secrets as randomness
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from redis_mw.caching.flights import Flights
from redis_mw.caching.known import Guesses, Lately
from redis_mw.caching.leases import Leases
from redis_mw.caching.local import Local
from redis_mw.caching.pages import commands as pages
from redis_mw.caching.pending import Pending
from redis_mw.caching.tags import SEED
from redis_mw.caching.values.commands import Commands
from redis_mw.caching.values.entry import LARGEST
from redis_mw.events import EventName, Events
from redis_mw.processes import Ids, PerProcess
from redis_mw.settings import Cache, Settings, microseconds, seconds

USELESS_US = 10_000_000
"""For so long nobody waits for a response that could not be stored (hit-for-miss)."""


BEHIND_S = 2.0
"""For so long this process reads what it has changed from where it was changed."""


class Memory:
    """What one process knows: what its parent makes is the parent's."""

    def __init__(self, commands: Commands, pages: pages.Commands, cache: Cache, wait_s: float) -> None:
        self.leases = Leases(commands.leases)
        self.page_leases = Leases(pages.leases)
        self.flights: Flights[Future[None]] = Flights(Future, wait_s, cache.origin_cap)
        """Of pages; those of values belong to whoever makes them."""
        self.vary = Guesses()
        """The names of the fields that URLs vary by."""
        self.useless = Lately(USELESS_US / 1e6)
        """Pages whose responses could not be stored, so that nobody waits for another's."""
        self.hangs = Guesses()
        """The tags that entries hang on, where they are read apart from these."""
        self.changed = Lately(BEHIND_S)
        """What was changed by this process, so that it is not read from a replica that may not have heard of it."""
        self.pending = Pending(many=commands.tags.apart, told=lambda thing: self.changed.note(thing[1]))
        self.local: Local[Any] = Local(cache.l1_bytes, seconds(cache.l1_age))
        """The pages that need no round trip."""
        self._ids = Ids()

    def new_owner(self) -> str:
        """Who makes something."""
        return self._ids.new()

    def forget_pages(self, names: Iterable[str] = (), tags: Iterable[str] = ()) -> None:
        """What is being made of these here is of before now: who comes later does not follow it."""
        self.flights.forget(tags=(*names, *tags))


class Room:
    """The cache, configured. ``luck`` gives random numbers, at least 0 and under 1."""

    def __init__(
        self, settings: Settings, cache: Cache, events: Events, *, luck: Callable[[], float] = random.random
    ) -> None:
        self.apart = settings.spreads_cache
        """Whether tags live on other servers than what hangs on them."""
        self.reads_replicas = settings.read_replicas
        self.commands = Commands(settings.prefix, microseconds(settings.patience), apart=self.apart)
        self.events = events
        self.luck = luck
        self.jitter = cache.jitter
        self.wait_s = seconds(cache.wait)
        self.origin_cap = cache.origin_cap
        self.compress_from = cache.compress_from
        self.max_value = cache.max_value
        self.chunks = cache.chunks
        self.pages = pages.Commands(settings.prefix, microseconds(settings.patience), self.commands.tags)
        self.max_body = cache.max_body
        self.keeps_pages = cache.l1_bytes > 0
        """Whether a process keeps pages in its own memory."""
        self.variants = cache.variants
        self.honour_client = cache.honour_client_no_cache
        self.store_set_cookie = cache.store_set_cookie
        self.hosts = frozenset(host.lower() for host in settings.allowed_hosts)
        self.debug = settings.debug_headers
        self._memories = PerProcess(lambda: Memory(self.commands, self.pages, cache, self.wait_s))

    @property
    def largest_body(self) -> int:
        """Bytes that the body of a page may have."""
        return LARGEST if self.chunks else self.max_body

    @property
    def memory(self) -> Memory:
        """What this process knows."""
        return self._memories.here()

    def asks_replicas(self, name: str) -> bool:
        """Whether what is stored under this name may be read from a replica."""
        memory = self.memory
        return self.reads_replicas and not memory.changed.knows(name) and not memory.pending

    def changes(self, names: Iterable[str]) -> None:
        """This process changes what is stored under these names, or knows more of it than a replica does."""
        if self.reads_replicas:
            for name in names:
                self.memory.changed.note(name)

    def forgot(self, names: Iterable[str] = (), tags: Iterable[str] = ()) -> None:
        """These pages and tags were dropped in Redis, by this process: it need not wait to hear of that."""
        self.memory.forget_pages(names, tags)  # who has looked meanwhile may have done so before
        self.memory.local.changed([*map(self.pages.key, names), *map(self.commands.tags.key, tags)])

    def seed(self) -> bytes:
        """Random bytes for the version of a tag."""
        return randomness.token_bytes(SEED)

    def tell(self, event: EventName, name: str, *, outcome: str = "", seconds: float = 0.0) -> None:
        """An event; of the key it says the first digits of its hash."""
        if self.events:
            self.events.emit(event, outcome=outcome, seconds=seconds, key=name[:12])


def cache_of(settings: Settings, events: Events) -> Room | None:
    """The cache that the settings describe, None where it is turned off."""
    return None if settings.cache is None else Room(settings, settings.cache, events)
