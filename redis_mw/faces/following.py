"""Waiting for another request of this process that is at work on the same page, in both colours."""

import asyncio
import threading
from concurrent.futures import Future, wait

from redis_mw.layer.exchange import Follow


def ended(follow: Follow) -> bool:
    """Whether it has ended in time; on a thread."""
    return bool(wait((follow.flight.ended,), follow.seconds).done)


async def ended_soon(follow: Follow) -> bool:
    """The same on the event loop.

    It mostly ends on this very loop. To wake that through its socket, as ``asyncio.wrap_future`` does, costs more than
    all the rest of a request that follows.
    """
    flight = follow.flight.ended
    if flight.done():
        return True
    loop, here = asyncio.get_running_loop(), threading.get_ident()
    waiting: asyncio.Future[bool] = loop.create_future()

    def over(told: bool) -> None:
        if not waiting.done():
            waiting.set_result(told)

    def landed(flight: "Future[None]") -> None:
        if threading.get_ident() == here and not loop.is_closed():
            over(True)
            return
        try:
            _ = loop.call_soon_threadsafe(over, True)
        except RuntimeError:  # the loop has ended, and who waited with it
            pass

    flight.add_done_callback(landed)
    timer = loop.call_later(follow.seconds, over, False)
    try:
        return await waiting
    finally:
        timer.cancel()
