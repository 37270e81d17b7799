"""Hears for one watcher what is changed: a task that keeps a wire of its own, for as long as its loop lasts."""

import asyncio
from collections.abc import Callable
from contextvars import Context

from redis_mw.engine.aio.lane import opened
from redis_mw.engine.aio.station import Station
from redis_mw.engine.aio.wire import Exchange, Wire
from redis_mw.engine.resp import packed
from redis_mw.engine.tracking import PING_S, SILENT_S, Tracking
from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.events import log
from redis_mw.flows import Argument


class Tracker:
    """Keeps a wire on which the server tracks, from now on until ``close``; ``on_failed``: it was lost, or not had.

    It is no ``Lane``: those open a wire when there is something to send, and here there has to be one.
    """

    def __init__(
        self,
        station: Station,
        tracking: Tracking,
        loop: asyncio.AbstractEventLoop,
        on_failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._tracking = tracking
        self._on_failed = on_failed
        self._endpoint = station.endpoint
        self._within = station.longest_connect
        self._loop = loop
        # In a context of its own: the caller's would keep a request, and all it holds, alive for as long as this.
        self._task = loop.create_task(self._run(), context=Context())

    def end(self) -> None:
        """End the watcher; it begins anew when the server answers the next time."""
        self._tracking.end()

    async def close(self) -> None:
        """End the watcher, then the task and its wire."""
        self.end()
        _ = self._task.cancel()
        _ = await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            if not self._tracking.refuses():
                await self._attempt()
            await asyncio.sleep(self._tracking.pause())

    async def _attempt(self) -> None:
        lost: asyncio.Future[None] = self._loop.create_future()

        def ended(_reason: str, _busy: bool) -> None:
            if not lost.done():
                lost.set_result(None)

        wire = Wire(self._loop, on_push=self._tracking.pushed, on_end=ended)
        try:
            await opened(self._endpoint, wire, self._within)
            await self._listen(wire, lost)
        except (RedisUnavailable, CommandError) as error:
            self._tracking.failed(self._endpoint.name, error)
            self._on_failed()
        except Exception:  # a bug of ours must not leave a watcher that nobody serves
            log.exception("what hears invalidations failed")
        finally:
            self._tracking.end()
            wire.close()

    async def _listen(self, wire: Wire, lost: "asyncio.Future[None]") -> None:
        question = self._tracking.words
        while not self._tracking.refuses():
            await self._ask(wire, question)
            self._tracking.answered()
            _ = await asyncio.wait({lost}, timeout=PING_S)
            question = ("PING",)

    async def _ask(self, wire: Wire, words: tuple[Argument, ...]) -> None:
        """Return once the server has answered this."""
        exchange = Exchange(self._loop, packed([words]), 1, SILENT_S)
        wire.send(exchange)
        reply = (await exchange.settled())[0]
        if isinstance(reply, Exception):
            raise reply
