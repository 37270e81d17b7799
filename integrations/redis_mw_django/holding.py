"""A request whose lock is lost: told to its code by ``lease.lost``, and cancelled where the policy says so.

Only what is awaited can be cancelled: the async view of a request that Django answers on an event loop. A view in a
thread runs on, whatever ``cancel_when_lost`` says, and has to look at ``lease.lost``; so has what streams a body.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from redis_mw.errors import LeaseLost
from redis_mw.layer.exchange import Exchange
from redis_mw.locks.hold import Hold

T = TypeVar("T")


class Holding:
    """Cancels the task that answers a request when a lock with ``cancel_when_lost`` is lost. Made in that task."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._task, self._loop = asyncio.current_task(), asyncio.get_running_loop()
        self._holds: list[Hold] = []
        self._cancelled = self._over = False

    def watch(self) -> None:
        """An async view is about to run: from now on see to what the request holds."""
        for turn in self._exchange.turns:
            if turn.cancels and turn.hold is not None and turn.hold not in self._holds:
                self._holds.append(turn.hold)
                turn.hold.on_lost = self._lost
                if turn.hold.lost is not None:
                    self._lost()

    async def around(self, answering: Awaitable[T]) -> T:
        """Await it; ``LeaseLost`` if it was cancelled for a lost lock. A cancellation by somebody else stays one."""
        try:
            return await answering
        except asyncio.CancelledError:
            if self._cancelled and self._task is not None and self._task.uncancel() == 0:
                raise LeaseLost([name for hold in self._holds for name in hold.ask.wanted.names]) from None
            raise
        finally:
            self._over = True
            for hold in self._holds:
                hold.on_lost = None

    def _lost(self) -> None:
        """Who notices may be a thread: code that asks for more time."""
        _ = self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if not self._cancelled and not self._over and self._task is not None:
            self._cancelled = True
            _ = self._task.cancel()
