"""The idempotency of one application: what the settings say, and which claims this process holds; made once."""

from math import ceil

from redis_mw.errors import PolicyError
from redis_mw.events import Events
from redis_mw.flows import Flow
from redis_mw.idempotency.commands import Commands, Terms
from redis_mw.idempotency.entry import Entry
from redis_mw.idempotency.leases import Leases
from redis_mw.idempotency.scope import NO_SECRET, Names
from redis_mw.keys import Secret
from redis_mw.processes import Ids, PerProcess
from redis_mw.settings import Idempotency, Idempotent, Settings, microseconds


class Memory:
    """What one process knows: its parent's requests are not its own."""

    def __init__(self, leases: Leases) -> None:
        self.leases = leases
        self._ids = Ids()

    def new_owner(self) -> str:
        """Who runs one request."""
        return self._ids.new()


class Room:
    """The idempotency feature, configured."""

    def __init__(self, settings: Settings, own: Idempotency, events: Events, *, secret: Secret = "") -> None:
        lease_us, ttl_us = microseconds(own.lease), microseconds(own.ttl)
        terms = Terms(ceil(ttl_us / 1000), lease_us, own.dead)
        self.commands = Commands(settings.prefix, terms, microseconds(own.patience))
        self.names = Names(secret)
        self.events = events
        self.header = own.header
        self.max_body = own.max_body
        self.max_response = own.max_response
        self.store_5xx = own.store_5xx
        self.open_on_outage = own.on_outage == "open"
        every_us, most = lease_us // 3, ceil(3 * ttl_us / lease_us)
        self._memories = PerProcess(lambda: Memory(Leases(every_us, most)))

    @property
    def memory(self) -> Memory:
        """What this process knows."""
        return self._memories.here()

    def entry(self, policy: Idempotent, place: str) -> Entry:
        """A policy at its place; ``PolicyError`` where a credential could not be hashed."""
        entry = Entry(policy, place)
        if entry.needs_secret and not self.names.secret_key:
            raise PolicyError(f"the idempotency at {place} {NO_SECRET}")
        return entry

    def renewing(self) -> Flow[None]:
        """Keep the claims of this process's requests, until none is running."""
        return self.memory.leases.renewing(self.commands.renew)


def idempotency_of(settings: Settings, events: Events, secret: Secret = "") -> Room | None:
    """The idempotency that the settings describe, None where it is turned off.

    ``secret`` is the framework's own key, for where the settings have none.
    """
    if settings.idempotency is None:
        return None
    return Room(settings, settings.idempotency, events, secret=settings.secret or secret)
