"""Waiting for another request of this process that is at work on the same page, in both colours."""

import asyncio
from concurrent.futures import wait

from redis_mw.layer.exchange import Follow


def ended(follow: Follow) -> bool:
    """Whether it has ended in time; on a thread."""
    return bool(wait((follow.flight.ended,), follow.seconds).done)


async def ended_soon(follow: Follow) -> bool:
    """The same on the event loop."""
    # Who gives up waiting must not end it for the others: `asyncio.wait` cancels nothing that it waits for.
    done, _ = await asyncio.wait((asyncio.wrap_future(follow.flight.ended),), timeout=follow.seconds)
    return bool(done)
