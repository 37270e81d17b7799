"""The limits of one application: what the settings say, and what this process remembers; made once."""

import os
import threading
import time
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any, Literal

from redis_mw.errors import PolicyError
from redis_mw.events import Events
from redis_mw.flows import Flow
from redis_mw.http.address import parsed
from redis_mw.keys import Secret
from redis_mw.limits.caller import NO_SECRET, Client, Clients, credentials
from redis_mw.limits.commands import Commands
from redis_mw.limits.denials import Denials
from redis_mw.limits.entry import Entry
from redis_mw.limits.ledger import Ledger
from redis_mw.limits.slots import Slots
from redis_mw.limits.stock import Stock
from redis_mw.processes import Ids, PerProcess
from redis_mw.settings import Limit, Limits, Settings, microseconds, replace

LOOK_AGAIN_S = 1.0
"""How long a process may take lists for empty that were."""
CODE = "in code"
"""The place of limits that application code asks for by a rate."""


class Memory:
    """What one process remembers; a forked child begins with nothing, or it would use the parent's stock once more."""

    def __init__(self) -> None:
        self.denials = Denials()
        self.ledger = Ledger()
        self.stock = Stock()
        self.slots = Slots()
        self.questions: dict[Any, Any] = {}
        """Whom application code asked for lately (``direct``)."""
        self.lists_empty_until = 0.0
        """Until when, by the monotonic clock, nobody needs to be looked up on the lists that change at run time."""
        self._ids = Ids(6)

    def new_id(self) -> str:
        """An id that no other request has."""
        return self._ids.new()


class Room:
    """The limit feature, configured. ``clock`` is monotonic and in seconds, ``now_us`` the time of day; ``workers``
    processes share what each counts for itself while Redis is away.
    """

    def __init__(
        self,
        settings: Settings,
        limits: Limits,
        events: Events,
        *,
        secret: Secret = "",
        clock: Callable[[], float] = time.monotonic,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.commands = Commands(settings.prefix, microseconds(settings.patience))
        self.clients = Clients(limits.ipv6_prefix, secret)
        self.events = events
        self.workers = settings.workers or workers_of_environment()
        self.headers: Literal["standard", "legacy", "both", "none"] = limits.headers
        self.one_header = limits.one_header
        self.clock = clock
        self.now_us = now_us
        self._shadow = limits.shadow
        self._allow, self._deny = _Listed(limits.allow), _Listed(limits.deny)
        self._lock = threading.Lock()
        self._names: dict[str, tuple[Limit, str]] = {}
        self._memories = PerProcess(lambda: Memory())
        self.takes_ahead = False
        """Whether there is a limit of which processes take some in advance."""
        self._asked: dict[int, tuple[Limit | str, Entry]] = {}
        self.named = {
            name: self.entry(_called(limit, name), f"limits.named.{name}") for name, limit in limits.named.items()
        }

    @property
    def memory(self) -> Memory:
        """What this process remembers."""
        return self._memories.here()

    @property
    def lists_users(self) -> bool:
        """Whether the lists of the settings name users, so that they have to be known before a limit is asked."""
        return self._allow.names_users or self._deny.names_users

    def entry(self, limit: Limit | str, place: str) -> Entry:
        """A limit at its place; ``PolicyError`` where its name is another limit's, or a credential cannot be hashed."""
        plain = Limit(limit) if isinstance(limit, str) else limit
        if plain.name is not None:
            with self._lock:
                other, where = self._names.setdefault(plain.name, (plain, place))
            if other != plain:
                raise PolicyError(f"the limit {plain.name!r} at {place} is not the one of that name at {where}")
        entry = Entry(replace(plain, shadow=True) if self._shadow else plain, place)
        self.takes_ahead = self.takes_ahead or plain.lease > 0
        if credentials(entry.by) and not self.clients.secret_key:
            raise PolicyError(f"the limit at {place} {NO_SECRET}")
        return entry

    def asked_for(self, limit: Limit | str) -> Entry:
        """The limit that application code names: by a name in ``limits.named``, else by a rate, or as a value."""
        if isinstance(limit, str) and limit in self.named:
            return self.named[limit]
        # By identity: to hash all fields of a limit takes longer than all the rest.
        known = self._asked.get(id(limit))
        if known is not None and known[0] is limit:
            return known[1]
        plain = (Limit(limit) if isinstance(limit, str) else limit).checked(CODE)
        entry = self.entry(plain, f"{CODE}: {plain.rate if isinstance(plain.rate, str) else plain.name}")
        if len(self._asked) >= 1024:
            self._asked.clear()
        self._asked[id(limit)] = limit, entry
        return entry

    def allows(self, client: Client, address: str | None, user: str | None) -> bool:
        """Whether the settings say never to refuse this one."""
        return self._allow.holds(client, address, user)

    def denies(self, client: Client, address: str | None, user: str | None) -> bool:
        """Whether the settings say always to refuse this one."""
        return self._deny.holds(client, address, user)

    def renewing(self) -> Flow[None]:
        """Keep the slots of this process's requests, until none is in flight."""
        return self.memory.slots.renewing(self.commands.renew)

    def forget_denials(self) -> None:
        """Something was given back, or a list changed, somewhere: ask anew."""
        memory = self.memory
        memory.denials.clear()
        memory.lists_empty_until = 0.0


def limits_of(settings: Settings, events: Events, secret: Secret = "") -> Room | None:
    """The limits that the settings describe, None where they are turned off.

    ``secret`` is the framework's own key, for where the settings have none.
    """
    if settings.limits is None:
        return None
    return Room(settings, settings.limits, events, secret=settings.secret or secret)


def workers_of_environment() -> int:
    """How many processes serve the application, as ``$WEB_CONCURRENCY`` says; 1 where it does not."""
    text = os.environ.get("WEB_CONCURRENCY", "")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 6 else 1


class _Listed:
    """A list of the settings: networks, and clients by their names."""

    def __init__(self, listed: list[str]) -> None:
        self._names: set[str] = set()
        networks = []
        for text in listed:
            try:
                networks.append(ip_network(text))
            except ValueError:
                self._names.add(text)
        self._networks = tuple(networks)
        self.names_users = any(name.startswith("user:") for name in self._names)

    def holds(self, client: Client, address: str | None, user: str | None) -> bool:
        if not self._names and not self._networks:
            return False
        if user is not None and f"user:{user}" in self._names:
            return True
        if any(name in self._names for name in client.names):
            return True
        found = parsed(address) if address and self._networks else None
        return found is not None and any(found in network for network in self._networks)


def _called(limit: Limit | str, name: str) -> Limit:
    plain = Limit(limit) if isinstance(limit, str) else limit
    return replace(plain, name=plain.name or name)
