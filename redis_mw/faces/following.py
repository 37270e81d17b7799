"""Waiting for another request of this process that is at work on the same page, in both colours."""

import asyncio
from concurrent.futures import wait

from redis_mw.layer.exchange import Follow


def ended(follow: Follow) -> bool:
    """Whether it has ended in time; on a thread."""
    return bool(wait((follow.flight.ended,), follow.seconds).done)


async def ended_soon(follow: Follow) -> bool:
    """The same on the event loop."""
    flight = asyncio.wrap_future(follow.flight.ended)
    # Shielded: who gives up waiting must not end it for the others.
    done, _ = await asyncio.wait({asyncio.ensure_future(asyncio.shield(flight))}, timeout=follow.seconds)
    return bool(done)
