"""The body of a streamed response that is kept: it passes as it comes, and is stored before its end can be seen: with
its last part, or with the last byte that was announced, since a client that has those may think that all is done.

Where it is kept for others as well it is read to its end, though its client leaves: on a thread when the server closes
the response, on the event loop by a task of its own.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from time import monotonic
from typing import Any, cast

from asgiref.sync import async_to_sync
from django.http import StreamingHttpResponse

from redis_mw.events import log
from redis_mw.flows import Flow
from redis_mw_django.arrival import Arrival
from redis_mw_django.behind import LARGE, WITHIN_S

LOST = "a page could not be read to its end after its client had left; it is not stored"


class Stream:
    """One body. ``notice`` has the exchange know what the application did while it was made."""

    def __init__(self, arrival: Arrival, notice: Callable[[], None]) -> None:
        self._arrival = arrival
        self._application = arrival.application
        self._exchange = arrival.exchange
        self._closing = arrival.application.layer.closing
        self._recorder = self._closing.recorder(arrival.exchange)
        self._notice = notice

    def watch(self, response: StreamingHttpResponse) -> None:
        """Have the body pass through here."""
        body = response.streaming_content
        leads = self._exchange.leads
        then: list[Callable[[], None]] = []
        if not response.is_async:
            passed = self._passed(cast(Iterator[bytes], body))
            response.streaming_content = passed
            then = [lambda: self._read(passed)]
        elif leads and self._application.stays:
            is_left = self._closing.instead(self._exchange) is not None
            pump = Pump(self._arrival, self._passed_async(cast(AsyncIterator[bytes], body)), is_left=is_left)
            response.streaming_content = pump.parts()
            then = [pump.leave]
        else:
            passing = self._passed_async(cast(AsyncIterator[bytes], body))
            response.streaming_content = passing
            then = [lambda: async_to_sync(self._read_async)(passing)]
        if leads:
            # Before anything that it reads from is closed.
            cast(Any, response)._resource_closers[:0] = then

    def _passed(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        for part in parts:
            if self._over(part):
                self._application.run(self._complete())
            yield part
        self._application.run(self._complete())

    async def _passed_async(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for part in parts:
            if self._over(part):
                await self._complete_async()
            yield part
        await self._complete_async()

    async def _complete_async(self) -> None:
        body = self._recorder.body
        if body is not None and len(body) >= LARGE:
            await asyncio.to_thread(self._closing.pack, self._exchange, body)
        await self._application.arun(self._complete())

    def _over(self, part: bytes) -> bool:
        self._recorder.add(part)
        return self._closing.records(self._exchange) and self._recorder.is_over

    def _complete(self) -> Flow[None]:
        """Only the first one does anything."""
        self._notice()
        return self._closing.complete(self._exchange, self._recorder.body)

    def _read(self, passed: Iterator[bytes]) -> None:
        """Read on, now that the client has gone, or has all of it."""
        end = monotonic() + WITHIN_S
        while self._exchange.leads and self._closing.records(self._exchange) and monotonic() < end:
            if next(passed, None) is None:
                return

    async def _read_async(self, passing: AsyncIterator[bytes]) -> None:
        """The same under WSGI, where Django reads all of it at once, or nothing."""
        async for _ in passing:
            pass


class Pump:
    """Reads a body in a task of its own, a part ahead of its client at most; to its end when that has left."""

    def __init__(self, arrival: Arrival, parts: AsyncIterator[bytes], *, is_left: bool) -> None:
        self._arrival = arrival
        self._parts = parts
        self._left = is_left
        self._bound: asyncio.Timeout | None = None
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(1)
        arrival.work()
        self._task = arrival.application.behind.in_task(self._read())

    async def parts(self) -> AsyncIterator[bytes]:
        """What was read, for the client."""
        try:
            while (part := await self._queue.get()) is not None:
                if isinstance(part, Exception):
                    raise part
                yield part
        finally:
            self._leave()

    def leave(self) -> None:
        """The client has gone, perhaps before it had anything; from any thread."""
        if not self._task.done():
            _ = self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        self._left = True
        if self._bound is not None and not self._task.done() and self._bound.when() is None:
            self._bound.reschedule(self._loop.time() + WITHIN_S)
        while not self._queue.empty():
            _ = self._queue.get_nowait()

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(WITHIN_S if self._left else None) as self._bound:
                await self._read_on()
                await self._end(None)
        except Exception as error:
            if self._left:
                log.exception(LOST)
            await self._end(error)
        finally:
            self._bound = None
            self._arrival.rest()

    async def _read_on(self) -> None:
        exchange, closing = self._arrival.exchange, self._arrival.application.layer.closing
        async with aclosing(cast(Any, self._parts)) as parts:
            async for part in parts:
                if not self._left:
                    await self._queue.put(part)
                elif not closing.records(exchange):
                    break

    async def _end(self, last: Exception | None) -> None:
        if not self._left:
            await self._queue.put(last)
