"""A request whose lock is lost: told to its code by ``lease.lost``, and cancelled where the policy says so."""

import asyncio
from collections.abc import Awaitable

from redis_mw.errors import LeaseLost
from redis_mw.layer.exchange import Exchange


async def while_held(exchange: Exchange, running: Awaitable[None]) -> None:
    """Await it, but cancel it when a lock with ``cancel_when_lost`` is lost, and raise ``LeaseLost`` then.

    A cancellation by somebody else stays one.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    cancelled = False

    def cancel() -> None:
        nonlocal cancelled
        if not cancelled and not over:
            cancelled = True
            _ = task.cancel()

    over = False
    holds = [turn.hold for turn in exchange.turns if turn.cancels and turn.hold is not None]
    for hold in holds:
        # Who notices may be a thread: a plain endpoint that asks for more time.
        hold.on_lost = lambda: loop.call_soon_threadsafe(cancel)
    try:
        if any(hold.lost for hold in holds):
            cancel()
        await running
    except asyncio.CancelledError:
        if cancelled and task.uncancel() == 0:
            raise LeaseLost([name for hold in holds for name in hold.ask.wanted.names]) from None
        raise
    finally:
        over = True
        for hold in holds:
            hold.on_lost = None
