"""A request whose lock is lost: told to its code by ``lease.lost``, and cancelled where the policy says so.

Only what is awaited can be cancelled. A thread runs on, whatever ``cancel_when_lost`` says, so code has to look at
``lease.lost`` there: in sync views, and under WSGI.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from redis_mw.errors import LeaseLost
from redis_mw.layer.exchange import Exchange
from redis_mw.locks.hold import Hold

T = TypeVar("T")


class Holding:
    """Cancels the task that runs an async view when a lock with ``cancel_when_lost`` is lost.

    That may be another task than the one which answers the request (Django with a sync middleware on the way to the
    view), and is the only one whose cancellation reaches the view.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._holds: list[Hold] = []
        self._running: asyncio.Task[Any] | None = None
        self._cancelled = self._over = False

    def watch(self) -> None:
        """An async view is about to run, in this task: from now on see to what the request holds."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        self._running = task

        def lost() -> None:  # who notices may be a thread: code that asks for more time
            _ = loop.call_soon_threadsafe(self._cancel)

        for turn in self._exchange.turns:
            hold = turn.hold
            if turn.cancels and hold is not None and hold not in self._holds:
                self._holds.append(hold)
                hold.on_lost = lost
                if hold.lost is not None:
                    lost()

    async def around(self, answering: Awaitable[T]) -> T:
        """Await it; ``LeaseLost`` if it was cancelled for a lost lock. A cancellation by somebody else stays one."""
        try:
            return await answering
        except asyncio.CancelledError:
            lost = self.caught()
            if lost is None:
                raise
            raise lost from None
        finally:
            self.end()

    def caught(self) -> LeaseLost | None:
        """What a cancellation that was caught means; None if it is not ours."""
        if not self._cancelled or self._left_of_cancelling():
            return None
        return LeaseLost([name for hold in self._holds for name in hold.ask.wanted.names])

    def end(self) -> None:
        """The request has been answered: nothing is cancelled from now on."""
        self._over = True
        for hold in self._holds:
            hold.on_lost = None

    def _left_of_cancelling(self) -> int:
        """How often somebody else has cancelled the task that answers."""
        task = asyncio.current_task()
        if task is None:
            return 0
        return task.uncancel() if task is self._running else task.cancelling()

    def _cancel(self) -> None:
        if not self._cancelled and not self._over and self._running is not None:
            self._cancelled = True
            _ = self._running.cancel()
