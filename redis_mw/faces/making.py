"""Values that are made by code where there are none, in both colours: by one at a time, wherever they are asked for.

A flow never spans a call into the application. So one flow looks, and takes the lease where nothing is found; the
application's code makes the value; another flow stores it, if nothing was dropped meanwhile. What is made is given to
everybody as it is stored: a miss and a hit give the same, and no two callers share an object.

Who asks after something was dropped does not get what was made before that. Where another process makes it, those who
follow get what was there when the one they follow looked: a reply's way earlier than if each had looked.
"""

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from typing import Any, TypeAlias

from redis_mw.caching.flights import Flight, Flights
from redis_mw.caching.leases import Claim
from redis_mw.caching.room import Room
from redis_mw.caching.values.ask import Ask
from redis_mw.caching.values.entry import Packed
from redis_mw.caching.values.look import Found, give_up, look, wait
from redis_mw.caching.values.reading import Damaged
from redis_mw.caching.values.write import Piece, fill, made
from redis_mw.engine.aio import AsyncDriver
from redis_mw.engine.sync import SyncDriver
from redis_mw.engine.sync.background import Background
from redis_mw.errors import CannotEncode
from redis_mw.events import log
from redis_mw.faces.attending import attend_cache
from redis_mw.processes import PerProcess

UNDO_S = 5.0
SHORTEST_S = 0.01

Load: TypeAlias = Callable[[], Any]
AsyncLoad: TypeAlias = Callable[[], Any | Awaitable[Any]]


class SyncMaking:
    """Makes values on the threads that ask for them; those that are not waited for on threads of its own."""

    def __init__(self, driver: SyncDriver, room: Room) -> None:
        self._driver = driver
        self._room = room
        self._processes = PerProcess(lambda: _Threads(room))

    def get(self, ask: Ask, load: Load) -> Any:
        """The value: what is there, or what another one is making, or what ``load`` makes."""
        flights = self._processes.here().flights
        while True:
            flight, leads, found = flights.latest(ask.name), False, Found()
            if flight is None:
                found = self._driver.run(look(self._room, ask))
                attend_cache(self._driver, self._room)
                if found.packed is not None:
                    if found.claim is not None:
                        self._refresh(ask, load, found, found.claim)
                    return found.value
                flight, leads = flights.board(ask.name, ask.tags, leads=found.claim is not None)
            while not leads and not flight.ended.wait(max(SHORTEST_S, self._room.wait_s)):
                change = flights.change(flight)
                if change is None:
                    break
                flight, leads = change
            if leads:
                return self._lead(flights, flight, ask, load, found)
            if flight.error is not None:
                raise flight.error
            if flight.made is not None and not flight.dropped:
                try:
                    return ask.read(flight.made)
                except Damaged:
                    pass

    def forget(self, names: tuple[str, ...] = (), tags: tuple[str, ...] = ()) -> None:
        """What is being made of these here is of before now."""
        self._processes.here().flights.forget(names, tags)

    def close(self) -> None:
        """Wait for what is being made in the background."""
        self._processes.here().background.close(UNDO_S)

    def _lead(
        self, flights: Flights[threading.Event], flight: Flight[threading.Event], ask: Ask, load: Load, found: Found
    ) -> Any:
        try:
            if found.busy_us is not None:
                found = self._driver.run(wait(self._room, ask))
                attend_cache(self._driver, self._room)
            if found.packed is not None:
                flight.made = found.packed
                return found.value
            flights.begin(flight)
            packed, value, stored = self._make(ask, load, found, partial(flights.end, flight))
            flight.made, flight.dropped = packed, stored is False
            return value
        except Exception as error:
            flight.error = error
            raise
        finally:
            flights.end(flight)
            flight.ended.set()

    def _make(self, ask: Ask, load: Load, found: Found, close: Callable[[], None]) -> tuple[Packed, Any, bool | None]:
        """Make the value and store it; also whether it is stored, None if nobody knows or it is not to be.

        Before it is stored the flight is closed: who comes later may come after somebody dropped it again.
        """
        claim, began = found.claim, time.monotonic()
        try:
            packed, value, piece = _piece(self._room, ask, load(), found, began)
        except BaseException:
            if claim is not None:
                self._driver.detach(give_up(self._room, claim), UNDO_S)
            raise
        close()
        if claim is None:
            return packed, value, None
        if piece is None:
            self._driver.run(give_up(self._room, claim))
            return packed, value, None
        return packed, value, self._driver.run(fill(self._room, claim, piece))

    def _refresh(self, ask: Ask, load: Load, found: Found, claim: Claim) -> None:
        """Make it anew in the background. If that fails, the lease's end is when it is tried again."""
        context = copy_context()

        def refresh() -> None:
            began = time.monotonic()
            try:
                piece = _piece(self._room, ask, context.run(load), found, began)[2]
            except Exception:
                _not_refreshed(self._room, ask, claim)
                return
            _ = self._driver.run(give_up(self._room, claim) if piece is None else fill(self._room, claim, piece))

        self._processes.here().background.submit(refresh)


class _Threads:
    """What the threads of one process make."""

    def __init__(self, room: Room) -> None:
        self.flights = Flights(threading.Event, room.wait_s, room.origin_cap)
        self.background = Background()


class AsyncMaking:
    """Makes values in tasks of its own, so that nobody's cancellation ends what others wait for."""

    def __init__(self, driver: AsyncDriver, room: Room) -> None:
        self._driver = driver
        self._room = room
        self._processes = PerProcess(lambda: _Tasks(room))

    async def get(self, ask: Ask, load: AsyncLoad) -> Any:
        """The value: what is there, or what another one is making, or what ``load`` makes."""
        flights = self._processes.here().flights
        while True:
            flight, leads, found = flights.latest(ask.name), False, Found()
            if flight is None:
                found = await self._driver.run(look(self._room, ask))
                attend_cache(self._driver, self._room)
                if found.packed is not None:
                    if found.claim is not None:
                        _ = self._task(self._refresh(ask, load, found, found.claim))
                    return found.value
                flight, leads = flights.board(ask.name, ask.tags, leads=found.claim is not None)
            while not leads and not await _ended(flight, max(SHORTEST_S, self._room.wait_s)):
                change = flights.change(flight)
                if change is None:
                    break
                flight, leads = change
            if leads:
                return await asyncio.shield(self._task(self._lead(flights, flight, ask, load, found)))
            if flight.error is not None:
                raise flight.error
            if flight.made is not None and not flight.dropped:
                try:
                    return ask.read(flight.made)
                except Damaged:
                    pass

    def forget(self, names: tuple[str, ...] = (), tags: tuple[str, ...] = ()) -> None:
        """What is being made of these here is of before now."""
        self._processes.here().flights.forget(names, tags)

    async def aclose(self) -> None:
        """Wait for what is being made."""
        running = self._processes.here().running
        if running:
            _ = await asyncio.wait(set(running), timeout=UNDO_S)

    def _task(self, work: Any) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(work)
        self._processes.here().running.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._processes.here().running.discard(task)
        if not task.cancelled():
            _ = task.exception()  # whoever asked has been told; nobody may be left to ask

    async def _lead(
        self, flights: Flights[asyncio.Event], flight: Flight[asyncio.Event], ask: Ask, load: AsyncLoad, found: Found
    ) -> Any:
        try:
            if found.busy_us is not None:
                found = await self._driver.run(wait(self._room, ask))
                attend_cache(self._driver, self._room)
            if found.packed is not None:
                flight.made = found.packed
                return found.value
            flights.begin(flight)
            packed, value, stored = await self._make(ask, load, found, partial(flights.end, flight))
            flight.made, flight.dropped = packed, stored is False
            return value
        except Exception as error:
            flight.error = error
            raise
        finally:
            flights.end(flight)
            flight.ended.set()

    async def _make(
        self, ask: Ask, load: AsyncLoad, found: Found, close: Callable[[], None]
    ) -> tuple[Packed, Any, bool | None]:
        """Make the value and store it; also whether it is stored, None if nobody knows or it is not to be.

        Before it is stored the flight is closed: who comes later may come after somebody dropped it again.
        """
        claim, began = found.claim, time.monotonic()
        try:
            packed, value, piece = _piece(self._room, ask, await _loaded(load), found, began)
        except BaseException:
            if claim is not None:
                self._driver.detach(give_up(self._room, claim), UNDO_S)
            raise
        close()
        if claim is None:
            return packed, value, None
        if piece is None:
            await self._driver.run(give_up(self._room, claim))
            return packed, value, None
        return packed, value, await self._driver.run(fill(self._room, claim, piece))

    async def _refresh(self, ask: Ask, load: AsyncLoad, found: Found, claim: Claim) -> None:
        """Make it anew in the background. If that fails, the lease's end is when it is tried again."""
        began = time.monotonic()
        try:
            piece = _piece(self._room, ask, await _loaded(load), found, began)[2]
        except Exception:
            _not_refreshed(self._room, ask, claim)
            return
        _ = await self._driver.run(give_up(self._room, claim) if piece is None else fill(self._room, claim, piece))


class _Tasks:
    """What the tasks of one process make."""

    def __init__(self, room: Room) -> None:
        self.flights = Flights(asyncio.Event, room.wait_s, room.origin_cap)
        self.running: set[asyncio.Task[Any]] = set()


async def _loaded(load: AsyncLoad) -> Any:
    made = load()
    return await made if inspect.isawaitable(made) else made


async def _ended(flight: Flight[asyncio.Event], within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            _ = await flight.ended.wait()
    except TimeoutError:
        return False
    return True


def _piece(room: Room, ask: Ask, value: object, found: Found, began: float) -> tuple[Packed, Any, Piece | None]:
    """What was made, as bytes and as everybody reads it, and what is stored of it, with what it costs on average."""
    cost_us = int((time.monotonic() - began) * 1e6)
    packed = ask.packed(value)
    try:
        read = ask.read(packed)
    except Damaged as problem:
        raise CannotEncode(type(value).__name__, "value", f"it is not of the type that is read: {problem}") from None
    return packed, read, made(room, ask, packed, (cost_us + found.cost_us) // 2 if found.cost_us else cost_us)


def _not_refreshed(room: Room, ask: Ask, claim: Claim) -> None:
    log.exception("a value of the cache could not be made anew; the old one is used while it lasts")
    room.memory.leases.drop(claim)
    room.tell("cache.stale", ask.name, outcome="not refreshed")
