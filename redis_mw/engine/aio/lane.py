"""One place for a wire to one server: who sends finds the wire there, or waits while it is being opened.

A server has a few lanes (small replies, large ones, wake-ups) and each lane one wire at a time, so a trouble never
grows the number of connections. Opening is done once for all who wait, in the background, and never in a hurry.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from time import monotonic

from redis_mw import scripts
from redis_mw.engine.aio.wire import LATE, SHORTEST, Exchange, Wire
from redis_mw.engine.batches import CLOSED
from redis_mw.engine.endpoint import Endpoint
from redis_mw.engine.resp import packed
from redis_mw.errors import RedisUnavailable

SPACING = 0.25
"""Seconds between two attempts of one lane to connect."""


async def opened(endpoint: Endpoint, wire: Wire, within: float) -> None:
    """Connect ``wire`` and introduce ourselves, scripts loaded, all in one write; RedisUnavailable if that fails.

    A wire that could not be opened is closed already, also when this is cancelled.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(within):
            if endpoint.path:
                _ = await loop.create_unix_connection(lambda: wire, endpoint.path)
            else:
                context = None if endpoint.tls is None else await asyncio.to_thread(endpoint.ssl_context)
                _ = await loop.create_connection(
                    lambda: wire,
                    endpoint.host,
                    endpoint.port,
                    ssl=context,
                    server_hostname=endpoint.host if context is not None else None,
                )
            hello = (*endpoint.handshake(), *(("SCRIPT", "LOAD", script.text) for script in scripts.KNOWN))
            greeting = Exchange(loop, packed(hello), len(hello), 2 * within)  # the timeout above decides
            wire.send(greeting)
            replies = await greeting.settled()
    except (OSError, RuntimeError, ValueError) as error:  # of these: timeouts, TLS, uvloop's, a host that is no name
        wire.close()
        raise RedisUnavailable(f"{endpoint.name} cannot be reached: {error or 'no answer in time'}") from error
    except BaseException:
        wire.close()
        raise
    for reply in replies[: endpoint.required]:
        if isinstance(reply, Exception):
            wire.close()
            raise RedisUnavailable(f"{endpoint.name} refused the handshake: {reply}")


class Lane:
    """Sends exchanges over its wire, opening one where there is none; what waits for that waits at most its patience.

    ``new_wire`` makes the wire with the callbacks of its owner. ``on_overdue`` hears of exchanges that waited in vain
    for a connection, ``on_refused(began)`` of attempts that failed. ``counted_as`` names the server to those who count
    trips.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        loop: asyncio.AbstractEventLoop,
        new_wire: Callable[[], Wire],
        *,
        first_within: float,
        within: float,
        on_overdue: Callable[[list[Exchange]], None],
        on_refused: Callable[[float], None],
        counted_as: str,
    ) -> None:
        self.endpoint = endpoint
        self.counted_as = counted_as
        self._loop = loop
        self._new_wire = new_wire
        self._within = first_within
        self._later_within = within
        self._on_overdue = on_overdue
        self._on_refused = on_refused
        self._waiting: list[Exchange] = []
        self._opening: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._retired: set[Wire] = set()
        self._closed = False
        self.wire: Wire | None = None

    def send(self, exchange: Exchange) -> None:
        """The exchange leaves at once where there is a wire, else as soon as one is open."""
        wire = self.wire
        if wire is not None and wire.usable:
            wire.send(exchange)
            return
        if self._closed:
            exchange.fail(RedisUnavailable(CLOSED))
            return
        exchange.left(monotonic())
        self._waiting.append(exchange)
        _ = self._loop.call_later(exchange.patience, self._give_up, exchange, False)
        if self._opening is None:
            # In a context of its own: a connection would keep the request that asked for it alive as long as it lives.
            self._opening = self._loop.create_task(self._open(), context=Context())

    def drop(self, exchange: Exchange) -> None:
        """Forget an exchange that nobody waits for, if it has not left yet; it ends at once."""
        if exchange in self._waiting:
            self._waiting.remove(exchange)
            exchange.fail(RedisUnavailable("nobody waited for it"))

    def fail_pending(self, error: RedisUnavailable, *, quick_only: bool) -> None:
        """End what waits here, for replies or for a connection; or only what is quick."""
        for exchange in self._waiting:
            if exchange.quick or not quick_only:
                exchange.fail(error)
        for wire in (self.wire, *self._retired):
            if wire is not None:
                wire.fail_pending(error, quick_only=quick_only)

    @property
    def idle(self) -> bool:
        """Nothing waits here, for replies or for a connection."""
        return not self._waiting and not any(wire.busy for wire in (self.wire, *self._retired) if wire is not None)

    async def close(self) -> None:
        """Close every connection of this lane; what is pending fails."""
        self._closed = True
        if self._opening is not None:
            _ = self._opening.cancel()
            _ = await asyncio.wait({self._opening})
        self.fail_pending(RedisUnavailable(CLOSED), quick_only=False)
        for wire in (self.wire, *self._retired):
            if wire is not None:
                wire.close()

    async def _open(self) -> None:
        began = 0.0
        refused: RedisUnavailable | None = None
        try:
            await asyncio.sleep(self._not_before - monotonic())
            began = monotonic()
            self._not_before = began + SPACING
            wire = self._new_wire()
            try:
                await opened(self.endpoint, wire, self._within)
            except RedisUnavailable as error:
                refused = error
                return
            finally:
                self._within = self._later_within
            self._retire()
            self.wire = wire
            waiting, self._waiting = self._waiting, []
            now = monotonic()
            for exchange in waiting:
                if not exchange.over:
                    exchange.patience = max(exchange.due - now, LATE)  # what the connection has left of it
                    wire.send(exchange)
        finally:
            self._opening = None  # before anybody is told: what is sent then begins the next attempt
            waiting, self._waiting = self._waiting, []
            for exchange in waiting:
                exchange.fail(refused or RedisUnavailable(CLOSED))
            if refused is not None:
                self._on_refused(began)

    def _retire(self) -> None:
        """A silent wire whose last replies are still waited for gives way to the next; it closes by itself."""
        self._retired = {wire for wire in self._retired if not wire.ended}
        if self.wire is not None and not self.wire.ended:
            self._retired.add(self.wire)

    def _give_up(self, exchange: Exchange, excused: bool) -> None:
        if exchange.over or exchange not in self._waiting:
            return
        late = monotonic() - exchange.due
        if late < 0 or (late > LATE and not excused):  # fired early, or the loop stalled: that time does not count
            wait = max(SHORTEST, -late, min(late, exchange.patience))
            exchange.due = max(exchange.due, monotonic() + wait)
            _ = self._loop.call_later(wait, self._give_up, exchange, late > 0)
            return
        self._waiting.remove(exchange)
        exchange.fail(RedisUnavailable("no connection to Redis in time"))
        self._on_overdue([exchange])
