"""``mw.locks``, in both colours: locks that application code takes itself.

A ``with`` block gives back its locks before it ends. Were they lost meanwhile it raises ``LeaseLost``, so that nobody
takes what was done for done alone; not if the block itself raised, whose error says more. If Redis is away when they
are to be given back the block ends as if they had been: they were ours all the time, and end by themselves.

In a request, what it holds already need not be waited for: see ``reentry``.
"""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Generic, TypeVar

from redis_mw.engine.aio import AsyncDriver
from redis_mw.engine.sync import SyncDriver
from redis_mw.errors import CommandError, LeaseLost, NotOwner, RedisUnavailable, Refused
from redis_mw.faces.answers import told
from redis_mw.faces.attending import attend_lock
from redis_mw.faces.reentry import forget, lacking, note
from redis_mw.flows import Failure, Flow, done
from redis_mw.layer.exchange import Exchange
from redis_mw.locks import acquire as flows
from redis_mw.locks.acquire import Outcome
from redis_mw.locks.ask import Ask, Wanted, lease_us
from redis_mw.locks.hold import Hold
from redis_mw.locks.lease import Lease
from redis_mw.locks.room import Room
from redis_mw.settings import Duration

UNDO_S = 5.0
"""Seconds that it may take to take back what Redis did not answer."""

L = TypeVar("L", bound=Lease)
K = TypeVar("K")


class SyncLease(Lease):
    """Locks that a thread holds: ours until they are given back, or ``lost``."""

    __slots__ = ("_driver", "_room")

    def __init__(
        self, driver: SyncDriver, room: Room, hold: Hold, *, nested: bool = False, beneath: tuple[Hold, ...] = ()
    ) -> None:
        super().__init__(hold, nested=nested, beneath=beneath)
        self._driver = driver
        self._room = room

    def extend(self, ttl: Duration) -> None:
        """Have the lease last so long from now on, and be renewed for as long; ``LeaseLost`` if it is over."""
        extended(self, self._driver.run(flows.extend(self._room, self.hold, lease_us(ttl))))
        attend_lock(self._driver, self._room, self.hold)


class AsyncLease(Lease):
    """Locks that a task holds: ours until they are given back, or ``lost``."""

    __slots__ = ("_driver", "_room")

    def __init__(
        self, driver: AsyncDriver, room: Room, hold: Hold, *, nested: bool = False, beneath: tuple[Hold, ...] = ()
    ) -> None:
        super().__init__(hold, nested=nested, beneath=beneath)
        self._driver = driver
        self._room = room

    async def extend(self, ttl: Duration) -> None:
        """Have the lease last so long from now on, and be renewed for as long; ``LeaseLost`` if it is over."""
        extended(self, await self._driver.run(flows.extend(self._room, self.hold, lease_us(ttl))))
        attend_lock(self._driver, self._room, self.hold)


class SyncLock:
    """Some locks, to be taken as often as you like, by one thread at a time or, shared, by several."""

    def __init__(self, driver: SyncDriver, room: Room, wanted: Wanted) -> None:
        self._driver = driver
        self._room = room
        self._wanted = wanted
        self._leases: list[tuple[int, SyncLease]] = []

    def acquire(self) -> SyncLease:
        """Take the locks, all at once, waiting for them in line; one round trip where they are free.

        Raises ``LockTimeout`` when the wait is over, ``QueueFull`` where as many wait as may, and ``RedisUnavailable``
        unless ``locks.on_outage`` is ``"open"``: then the lease is ``degraded``.
        """
        wanted, outer = lacking(self._room, self._wanted)
        if wanted is None:
            lease = SyncLease(self._driver, self._room, outer[0], nested=True, beneath=outer[1:])
        else:
            ask = self._room.ask(wanted)
            hold = got(self._driver, self._room, ask, self._driver.run(flows.lock(self._room, ask)))
            lease = SyncLease(self._driver, self._room, hold, beneath=outer)
            note(self._room, hold)
        self._leases.append((threading.get_ident(), lease))
        return lease

    def release(self) -> None:
        """Give back what this thread took last; ``NotOwner`` if that is nothing, or was lost meanwhile.

        With ``RedisUnavailable`` the lease is not renewed any more, so it ends by itself.
        """
        lease = owned(self._leases, threading.get_ident(), self._wanted)
        returned(lease, self._driver.run(given_back(self._room, lease)))

    def __enter__(self) -> SyncLease:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lease = owned(self._leases, threading.get_ident(), self._wanted)
        _ = self._driver.run(given_back(self._room, lease))
        if error is None:
            ours(lease)


class AsyncLock:
    """Some locks, to be taken as often as you like, by one task at a time or, shared, by several."""

    def __init__(self, driver: AsyncDriver, room: Room, wanted: Wanted) -> None:
        self._driver = driver
        self._room = room
        self._wanted = wanted
        self._leases: list[tuple[int, AsyncLease]] = []

    async def acquire(self) -> AsyncLease:
        """Take the locks, all at once, waiting for them in line; one round trip where they are free.

        Raises ``LockTimeout`` when the wait is over, ``QueueFull`` where as many wait as may, and ``RedisUnavailable``
        unless ``locks.on_outage`` is ``"open"``: then the lease is ``degraded``.
        """
        wanted, outer = lacking(self._room, self._wanted)
        if wanted is None:
            lease = AsyncLease(self._driver, self._room, outer[0], nested=True, beneath=outer[1:])
        else:
            ask = self._room.ask(wanted)
            hold = got(self._driver, self._room, ask, await self._driver.run(flows.lock(self._room, ask)))
            lease = AsyncLease(self._driver, self._room, hold, beneath=outer)
            note(self._room, hold)
        self._leases.append((id(asyncio.current_task()), lease))
        return lease

    async def release(self) -> None:
        """Give back what this task took last; ``NotOwner`` if that is nothing, or was lost meanwhile.

        With ``RedisUnavailable`` the lease is not renewed any more, so it ends by itself.
        """
        lease = owned(self._leases, id(asyncio.current_task()), self._wanted)
        returned(lease, await self._driver.run(given_back(self._room, lease)))

    async def __aenter__(self) -> AsyncLease:
        return await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lease = owned(self._leases, id(asyncio.current_task()), self._wanted)
        _ = await self._driver.run(given_back(self._room, lease))
        if error is None:
            ours(lease)


class RequestLocks:
    """What a request holds: ``current().locks``. ``lease`` is that of the policy that holds for it."""

    def __init__(self, driver: SyncDriver | AsyncDriver, exchange: Exchange) -> None:
        self.exchange = exchange
        self._driver = driver
        self._lease: Lease | None = None

    @property
    def lease(self) -> Lease | None:
        """The lease, None where no lock holds for the request."""
        hold = self.exchange.hold
        if hold is not None and self._lease is None:
            driver, room = self._driver, self.exchange.turns[0].room
            if isinstance(driver, SyncDriver):
                self._lease = SyncLease(driver, room, hold)
            else:
                self._lease = AsyncLease(driver, room, hold)
        return self._lease


class _Locks(Generic[K]):
    """Locks of one colour; ``make`` is how one is made."""

    def __init__(self, room: Room, make: Callable[[Wanted], K]) -> None:
        self.room = room
        self._make = make

    def lock(
        self,
        *names: str,
        ttl: Duration | None = None,
        wait: Duration | None = None,
        shared: bool = False,
        max_hold: Duration | None = None,
    ) -> K:
        """All of these locks at once, for ``with`` or ``acquire``, awaited under asyncio: exclusive, or ``shared`` with
        others who read.

        A lease lasts ``ttl`` and is renewed for at most ``max_hold``; ``wait`` 0 does not queue. What is left out is as
        in the settings.
        """
        return self._make(self.room.wanted(names, ttl, wait, shared, max_hold))


class SyncLocks(_Locks[SyncLock]):
    """Locks for code that runs in threads."""

    def __init__(self, driver: SyncDriver, room: Room) -> None:
        super().__init__(room, partial(SyncLock, driver, room))


class AsyncLocks(_Locks[AsyncLock]):
    """Locks for coroutines."""

    def __init__(self, driver: AsyncDriver, room: Room) -> None:
        super().__init__(room, partial(AsyncLock, driver, room))


def owned(leases: list[tuple[int, L]], owner: int, wanted: Wanted) -> L:
    """Take the owner's last lease; somebody else's if there is only that, as where a fixture is taken down.

    One thread must not give back what another one took by the same lock, after it lost its own.
    """
    for entry in reversed(leases):
        if entry[0] == owner or len(leases) == 1:
            leases.remove(entry)
            return entry[1]
    raise NotOwner(wanted.names)


def got(driver: SyncDriver | AsyncDriver, room: Room, ask: Ask, outcome: Outcome) -> Hold:
    """What an attempt came to, as a hold that is renewed, or raised."""
    if isinstance(outcome, Hold):
        attend_lock(driver, room, outcome)
        return outcome
    if isinstance(outcome, Refused):
        raise outcome
    driver.detach(flows.leave(room, ask), UNDO_S)  # nobody knows what we have got
    if room.open_in_outage:
        return room.degraded(ask)
    return told(outcome)


def given_back(room: Room, lease: Lease) -> Flow[bool | Failure]:
    """Give it back, unless it is part of what is held on."""
    if lease.nested:
        return done(True)
    forget(lease.hold)
    return flows.release(room, lease.hold)


def returned(lease: Lease, outcome: bool | Failure) -> None:
    """What giving back came to, for those who asked for that alone."""
    if lease.hold.lost is not None:
        raise NotOwner(lease.names)
    _ = told(outcome)


def ours(lease: Lease) -> None:
    """Raise ``LeaseLost`` unless the lease was ours until it was given back."""
    if lease.lost:
        raise LeaseLost(lease.names)


def extended(lease: Lease, outcome: bool | Failure) -> None:
    """Raise ``LeaseLost`` unless the lease lasts as long as was asked for."""
    if outcome is False:
        raise LeaseLost(lease.names)
    if isinstance(outcome, (CommandError, RedisUnavailable)):
        _ = told(outcome)
