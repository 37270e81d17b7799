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


@pytest.mark.asyncio
async def test_what_ends_on_another_thread_wakes_who_follows() -> None:
    both = follow(30)
    following = asyncio.create_task(ended_soon(both))
    await asyncio.sleep(0)
    await asyncio.to_thread(both.flight.ended.set_result, None)
    assert await asyncio.wait_for(following, 30)


def test_who_followed_on_a_loop_that_has_ended_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    both, loop = follow(30), asyncio.new_event_loop()
    following = ended_soon(both)
    task = loop.create_task(following)
    loop.run_until_complete(asyncio.sleep(0))
    _ = task.cancel()
    loop.run_until_complete(asyncio.wait({task}))
    loop.close()
    both.flight.ended.set_result(None)
    assert not caplog.records


def test_a_thread_follows_alike() -> None:
    short = follow(0.01)
    assert not ended(short)
    short.flight.ended.set_result(None)
    assert ended(short)
