"""What goes on in the background of a process, once requests have made it necessary."""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from redis_mw.caching import room as caching
from redis_mw.engine.aio import AsyncDriver
from redis_mw.engine.sync import SyncDriver
from redis_mw.layer.exchange import Exchange, Response
from redis_mw.layer.layer import Layer
from redis_mw.layer.rooms import Rooms
from redis_mw.limits import room as limits
from redis_mw.locks import room as locks
from redis_mw.locks.hold import Hold

Driver: TypeAlias = SyncDriver | AsyncDriver


def attend(driver: Driver, rooms: Rooms, exchange: Exchange) -> None:
    """See to what a request that was asked for has left to do: it holds locks, a claim, a slot. Costs nothing twice."""
    if exchange.tally is not None and rooms.limits is not None:
        attend_limits(driver, rooms.limits)
    if exchange.attempt is not None and rooms.idempotency is not None and rooms.idempotency.memory.leases:
        driver.tend("idempotency.leases", rooms.idempotency.renewing)
    if exchange.lookup is not None and rooms.caching is not None:
        attend_pages(driver, rooms.caching)
    for turn in exchange.turns:
        if turn.hold is not None:
            attend_lock(driver, turn.room, turn.hold)


def page_here(driver: Driver, layer: Layer, exchange: Exchange) -> Response | None:
    """The page that this process has in its memory, where nothing is to be asked before it is sent; see
    ``Layer.local``. A request that is answered so needs nothing more: no cookie, no field, nothing to finish.
    """
    caching = layer.rooms.caching
    if caching is None or not caching.keeps_pages or not exchange.is_paged:
        return None
    attend_pages(driver, caching)
    return layer.local(exchange)


def attend_limits(driver: Driver, room: limits.Room) -> None:
    """Hear when denials may be over, if some are remembered; renew slots, if some are held. Costs nothing twice."""
    memory = room.memory
    if memory.denials:
        driver.hear("limits", room.commands.channel, _after_the_first(room.forget_denials))
    if memory.slots:
        driver.tend("limits.slots", room.renewing)


def attend_lock(driver: Driver, room: locks.Room, hold: Hold) -> None:
    """Have the lease renewed in the background, and channels be kept; costs next to nothing where that is done."""
    memory = room.memory
    for channel in memory.to_keep():
        driver.hear("locks", channel, _nothing)
    pace = None if hold.degraded or hold.released else memory.held.add(hold)
    if pace is not None:
        driver.tend(("locks", pace), partial(room.renewing, pace))


def attend_pages(driver: Driver, room: caching.Room) -> None:
    """Do as ``attend_cache``, and hear what is no longer true of the pages that this process keeps in its memory."""
    memory = room.memory
    _attend_cache(driver, memory)
    if room.keeps_pages:
        # Each time: on a new loop it is this that ends the memory which the old one's listener has left.
        driver.watch("cache", room.pages.prefixes, memory.local)


def attend_cache(driver: Driver, room: caching.Room) -> None:
    """Renew leases, if any are held; send invalidations, if any wait. Costs next to nothing where there are none."""
    _attend_cache(driver, room.memory)


def _attend_cache(driver: Driver, memory: caching.Memory) -> None:
    if memory.leases:
        driver.tend("cache.leases", memory.leases.renewing)
    if memory.page_leases:
        driver.tend("cache.pages", memory.page_leases.renewing)
    if memory.pending:
        driver.tend("cache.pending", memory.pending.sending)


def _nothing() -> None:
    """Whoever waits hears for himself."""


def _after_the_first(heard: Callable[[], None]) -> Callable[[], None]:
    """The first call only says that we are heard from now on. What was missed before that is believed for a second at
    most, as every denial is, so the first of a process need not be asked twice.
    """
    calls = iter((False,))

    def hear() -> None:
        if next(calls, True):
            heard()

    return hear
