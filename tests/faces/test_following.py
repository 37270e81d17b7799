"""Following another request of this process: whoever gives up disturbs nobody."""

import asyncio
from concurrent.futures import Future

import pytest

from redis_mw.caching.flights import Flight
from redis_mw.faces.following import ended, ended_soon
from redis_mw.layer.exchange import Follow


def follow(seconds: float) -> Follow:
    return Follow(Flight("page", (), 1, Future[None]()), seconds)


@pytest.mark.asyncio
async def test_who_is_cancelled_while_following_ends_nothing_for_the_others() -> None:
    both = follow(30)
    one, other = asyncio.create_task(ended_soon(both)), asyncio.create_task(ended_soon(both))
    await asyncio.sleep(0)
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    assert not both.flight.ended.done()
    both.flight.ended.set_result(None)
    assert await asyncio.wait_for(other, 30)


@pytest.mark.asyncio
async def test_who_follows_for_too_long_ends_nothing_for_the_others() -> None:
    short = follow(0.01)
    assert not await ended_soon(short)
    assert not short.flight.ended.done()
    short.flight.ended.set_result(None)
    assert await ended_soon(short)


def test_a_thread_follows_alike() -> None:
    short = follow(0.01)
    assert not ended(short)
    short.flight.ended.set_result(None)
    assert ended(short)
