"""One connection of the async driver: many batches of many tasks on it at once, each getting its own replies.

An ``Exchange`` is one batch under way, a ``Wire`` the connection it travels on. Batches are handed over as packed
bytes and answered as lists of raw replies; what they mean is not known here, nor when to connect anew. There is no
task and no timeout object per batch: an exchange has a bare future, and each wire has one timer for all of them.

Times are of ``time.monotonic``: the clock of a uvloop stands still within a turn, so a batch sent after another
handler had stalled the turn would be overdue from the start.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, cast

import hiredis

from redis_mw.engine.resp import NOTHING, reader
from redis_mw.errors import RedisUnavailable

SILENCE = 0.5
"""Seconds without a byte, while replies are due, after which a wire takes no more batches and is closed."""
LATE = 0.005
"""Seconds by which a timer may fire late before the loop counts as stalled."""
SHORTEST = 0.001
"""Seconds; uvloop counts timers in whole milliseconds, and a timer may fire a little early there."""
BACKLOG = 32 * 1024 * 1024
"""Bytes that may wait behind a connection that takes none before further batches are refused."""


class Exchange:
    """One batch under way: it always ends, with one reply or failure per command in ``replies``.

    It does not belong to the task that waits for it. A cancelled task takes its future along and nothing else: the
    replies still arrive here, and ``settled`` waits for them once more. ``quick`` says that nobody waits for it who
    could not do without. ``patience`` runs from the moment the batch has left.
    """

    __slots__ = (
        "_future",
        "_loop",
        "data",
        "due",
        "excused",
        "missing",
        "over",
        "patience",
        "quick",
        "replies",
        "sent",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, data: bytes, count: int, patience: float, quick: bool = False
    ) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] = loop.create_future()
        self.data = data
        self.missing = count
        self.patience = patience
        self.quick = quick
        self.sent = 0.0
        self.due = 0.0
        self.excused = False
        self.over = False
        self.replies: list[Any] = []

    async def settled(self) -> list[Any]:
        """The replies, once there are all of them or nothing more is waited for. May be cancelled and asked again."""
        if not self.over:
            if self._future.done():  # cancelled along with the task that waited before
                self._future = self._loop.create_future()
            await self._future
        return self.replies

    def left(self, now: float) -> None:
        """The batch leaves now."""
        self.sent = now
        self.due = now + self.patience

    def settle(self) -> None:
        """All replies are here."""
        self.over = True
        if not self._future.done():
            self._future.set_result(None)

    def fail(self, error: RedisUnavailable) -> None:
        """Put ``error`` in the places of the missing replies and end; whatever arrives later is dropped."""
        if not self.over:
            self.replies.extend([error] * self.missing)
            self.settle()


class Wire(asyncio.Protocol):
    """A connection that gives every exchange its own replies, in order, or fails it as ``RedisUnavailable``.

    All batches sent in one turn of the event loop leave in at most two writes: the first at once, the others together
    when the turn ends. An overdue exchange fails alone and its late reply is dropped. A wire that was silent for half
    a second takes no more exchanges (``usable``) and ends as soon as none is still within its patience.

    ``on_answered(sent, now)`` tells of replies, at most once for what one read brought; ``on_overdue`` gives the
    exchanges that failed for want of a reply; ``on_end(reason, busy)`` comes once, whenever the connection ends
    otherwise than by ``close``; ``busy`` says that somebody waited for it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        on_answered: Callable[[float, float], None] = lambda _sent, _now: None,
        on_overdue: Callable[[list[Exchange]], None] = lambda _exchanges: None,
        on_end: Callable[[str, bool], None] = lambda _reason, _busy: None,
        on_push: Callable[[list[Any]], None] = lambda _message: None,
    ) -> None:
        self.usable = False
        self.ended = False
        self._loop = loop
        self._on_answered = on_answered
        self._on_overdue = on_overdue
        self._on_end = on_end
        self._on_push = on_push
        self._reader = reader()
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._pending: deque[Exchange] = deque()
        self._outbox: list[Exchange] = []
        self._backlog = 0
        self._turn_is_open = False
        self._heard = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0

    def send(self, exchange: Exchange) -> None:
        """Put an exchange on the wire; it leaves in this turn of the loop."""
        if not self.usable or self._backlog > BACKLOG:
            exchange.fail(RedisUnavailable("the connection takes no commands"))
            return
        now = monotonic()
        exchange.left(now)
        if not self._pending:
            self._heard = now
        self._pending.append(exchange)
        if self._timer is None or exchange.due < self._timer_due:
            self._arm(min(exchange.due, now + SILENCE))
        if self._turn_is_open or self._paused:
            self._outbox.append(exchange)
            self._backlog += len(exchange.data)
        else:
            self._turn_is_open = True
            _ = self._loop.call_soon(self._end_turn)
            self._write(exchange.data)

    @property
    def busy(self) -> bool:
        """Somebody waits for a reply."""
        return any(not exchange.over for exchange in self._pending)

    def fail_pending(self, error: RedisUnavailable, *, quick_only: bool) -> None:
        """End the exchanges that still wait, or only the quick ones; the wire stays and drops their replies."""
        for exchange in self._pending:
            if exchange.quick or not quick_only:
                exchange.fail(error)

    def close(self, reason: str = "the connection was closed") -> None:
        """End the connection now; pending exchanges fail. May be called again."""
        self._end(reason, told=True)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.ended:
            self._transport.abort()
            return
        self.usable = True
        link = transport.get_extra_info("socket")
        if link is not None and link.family in (socket.AF_INET, socket.AF_INET6):
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        self._heard = monotonic()
        pending = self._pending
        last: Exchange | None = None
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not NOTHING:
                if type(reply) is hiredis.PushNotification:
                    self._on_push(cast("list[Any]", reply))
                    continue
                if not pending:
                    self._end(f"the server sent what nobody asked for: {reply!r:.200}")
                    break
                exchange = pending[0]
                if not exchange.over:
                    exchange.replies.append(reply)
                exchange.missing -= 1
                if not exchange.missing:
                    last = pending.popleft()
                    if not last.over:
                        last.settle()
        except hiredis.ProtocolError as error:
            self._end(f"the server does not speak the protocol: {error}")
        if last is not None:
            self._on_answered(last.sent, self._heard)
        if not pending and not self.usable:
            self._end("the server fell silent, and answered after all")  # another wire may have taken its place

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"the connection was lost: {exc or 'closed by the server'}")

    # The turn.

    def _end_turn(self) -> None:
        self._turn_is_open = False
        if not self._paused:
            self._flush()

    def _flush(self) -> None:
        if not self._outbox or self.ended:
            return
        leaving, self._outbox, self._backlog = self._outbox, [], 0
        now = monotonic()
        for exchange in leaving:
            if not exchange.over:
                exchange.left(now)
        self._write(b"".join([exchange.data for exchange in leaving]))

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        try:
            self._transport.write(data)
        except (OSError, RuntimeError) as error:  # uvloop raises a bare RuntimeError on a transport that was reset
            self._end(f"the connection was lost: {error}")

    # The one timer.

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_later(max(due - monotonic(), SHORTEST), self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = monotonic()
        late = now - self._timer_due
        if late > LATE:
            # The loop stalled, and the replies may have come meanwhile: time in which nobody could read does not
            # count. Once per exchange only, or a loop that stalls all the time would never notice a dead server.
            self._heard = min(now, self._heard + late)
            for exchange in self._pending:
                if exchange.due <= now and not exchange.excused:
                    exchange.excused = True
                    exchange.due = now + min(late, exchange.patience)
        overdue = [exchange for exchange in self._pending if not exchange.over and exchange.due <= now]
        for exchange in overdue:
            exchange.fail(RedisUnavailable("Redis did not answer in time"))
        if self._pending:
            self._await_next(now)
        if overdue:
            self._on_overdue(overdue)

    def _await_next(self, now: float) -> None:
        dues = [exchange.due for exchange in self._pending if not exchange.over]
        silent_at = max(self._heard, self._pending[0].sent) + SILENCE
        if silent_at > now:
            self._arm(min([silent_at, *dues]))
            return
        self.usable = False
        if dues:
            self._arm(min(dues))
        else:
            self._end("the server fell silent")

    # The end.

    def _end(self, reason: str, *, told: bool = False) -> None:
        if self.ended:
            return
        self.ended = True
        self.usable = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
        busy = self.busy
        pending, self._pending = self._pending, deque()
        self._outbox.clear()
        for exchange in pending:
            exchange.fail(RedisUnavailable(reason))
        if not told:
            self._on_end(reason, busy)
