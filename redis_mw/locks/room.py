"""The locks of one application: what the settings say, and what this process holds; made once."""

import itertools
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from redis_mw.events import Events
from redis_mw.flows import Flow
from redis_mw.locks.ask import Ask, Wanted, wanted
from redis_mw.locks.commands import Commands, Granted
from redis_mw.locks.held import Held
from redis_mw.locks.hold import Hold, Loss
from redis_mw.processes import Ids, PerProcess
from redis_mw.settings import Duration, Locks, Settings, microseconds

REMEMBERED = 1024
"""Wishes of code that need not be checked again."""

MOST_KEPT = 64
"""Channels that a process goes on hearing though nobody waits there."""


class Memory:
    """What one process knows: what its parent holds is the parent's."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.held = Held(clock)
        self._numbers = itertools.count()
        self._channels = Ids()
        self._free: list[str] = []
        self._kept: set[str] = set()
        self._to_keep: list[str] = []

    def new_id(self) -> str:
        """An id that no other attempt has, here or elsewhere, on a channel that none has now; it is no secret."""
        try:
            channel = self._free.pop()
        except IndexError:
            channel = self._channels.new()
        return f"{channel}.{next(self._numbers):x}"

    def done(self, ask: Ask) -> None:
        """The attempt is over, so another one may use its channel."""
        self._free.append(ask.token[1:].rpartition(".")[0])

    def keep(self, channel: str) -> None:
        """Somebody waited there. Those used most are used by the next: the first free one is the last that was."""
        if channel not in self._kept and len(self._kept) < MOST_KEPT:
            self._kept.add(channel)
            self._to_keep.append(channel)

    def to_keep(self) -> Sequence[str]:
        """Channels to be heard from now on, told once: the next one who waits there need not subscribe first."""
        if not self._to_keep:
            return ()
        told, self._to_keep = self._to_keep, []
        return told


class Room:
    """The lock feature, configured. ``clock`` is monotonic and in seconds."""

    def __init__(
        self, settings: Settings, locks: Locks, events: Events, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.commands = Commands(settings.prefix, microseconds(locks.patience), locks.queue)
        self.events = events
        self._listened = bool(events)
        self.clock = clock
        self.open_in_outage = locks.on_outage == "open"
        self.ttl = locks.ttl
        self.wait = locks.wait
        self._memories = PerProcess(lambda: Memory(clock))
        self.memory = self._memories.here()
        """What this process knows; looked for anew by each attempt."""
        self._known = lru_cache(REMEMBERED)(partial(wanted, settings.prefix, locks))

    def wanted(
        self,
        names: tuple[Any, ...],
        ttl: Duration | None = None,
        wait: Duration | None = None,
        shared: bool = False,
        max_hold: Duration | None = None,
    ) -> Wanted:
        """What is asked for, checked and completed by the settings."""
        return self._known(names, ttl, wait, shared, max_hold)

    def ask(self, wanted: Wanted) -> Ask:
        """A new attempt to get it."""
        self.memory = self._memories.here()
        return Ask(wanted, ("s" if wanted.shared else "x") + self.memory.new_id())

    def done(self, ask: Ask) -> None:
        """It is held, or given up: once for each attempt."""
        self.memory.done(ask)

    def hold(self, ask: Ask, grant: Granted, since: float) -> Hold:
        """What was granted, at ``since`` or later by our clock; told of if somebody was put out."""
        if grant.over:
            self.tell("lock.taken_over", ask)
        until = since + ask.wanted.max_hold_us / 1e6
        return Hold(ask, grant.fence, since + (grant.ttl_us or ask.wanted.ttl_us) / 1e6, until, self.clock)

    def degraded(self, ask: Ask) -> Hold:
        """What is held where Redis is away and the settings let it pass."""
        forever = float("inf")
        return Hold(ask, 0, forever, forever, self.clock, degraded=True)

    def renewing(self, pace: float) -> Flow[None]:
        """Renew what this process holds at this pace, until there is nothing."""
        return self.memory.held.renewing(pace, self.commands.renew, self.tell_lost)

    def lose(self, hold: Hold, why: Loss) -> None:
        """The lease is over; told once."""
        self.memory.held.drop(hold)
        if hold.lose(why):
            self.tell_lost(hold, why)

    def tell_lost(self, hold: Hold, why: Loss) -> None:
        self.tell("lock.lost", hold.ask, outcome=why)

    def tell(self, name: Any, ask: Ask, *, outcome: str = "", seconds: float = 0.0) -> None:
        """An event; it says how many locks, and not which."""
        if self._listened:
            shared, locks = ask.wanted.shared, len(ask.wanted.names)
            self.events.emit(name, outcome=outcome, seconds=seconds, shared=shared, locks=locks)


def locks_of(settings: Settings, events: Events) -> Room | None:
    """The locks that the settings describe, None where they are turned off."""
    return None if settings.locks is None else Room(settings, settings.locks, events)
