"""What applications test with: the count of round trips, the outage, the private server."""

import asyncio
from urllib.parse import urlsplit

import pytest

from redis_mw import AsyncRedisMW, RedisMW, RedisUnavailable, Settings
from redis_mw.flows import Command, Flow, one, send
from redis_mw.testing import count_round_trips, embedded, outage


def raw(*words: str) -> "Command[object]":
    return Command(words, lambda reply: reply)


def pinged() -> Flow[object]:
    return one(raw("PING"))


def test_a_batch_is_one_trip_whatever_is_in_it(redis_mw_settings: Settings) -> None:
    with RedisMW(redis_mw_settings) as mw:
        with count_round_trips() as counted:
            mw.driver.run(send(raw("PING"), raw("ECHO", "a")))
            mw.driver.run(pinged())
        mw.driver.run(pinged())
    assert (counted.awaited, counted.detached, counted.total) == (2, 0, 2)
    assert counted.commands == ["PING", "ECHO", "PING"]
    assert repr(counted) == "RoundTrips(awaited=2, detached=0, commands=['PING', 'ECHO', 'PING'])"


def test_what_nobody_waits_for_is_counted_apart(redis_mw_settings: Settings) -> None:
    with count_round_trips() as counted, RedisMW(redis_mw_settings) as mw:
        mw.driver.detach(pinged(), 5)
        mw.driver.run(pinged())
    assert (counted.awaited, counted.detached, counted.total) == (1, 1, 2)


def test_counts_may_be_nested_and_both_drivers_are_seen(redis_mw_settings: Settings) -> None:
    async def two() -> None:
        async with AsyncRedisMW(redis_mw_settings) as amw:
            await amw.driver.run(pinged())
            with count_round_trips() as inner:
                await amw.driver.run(pinged())
            assert inner.total == 1

    with count_round_trips() as outer:
        asyncio.run(two())
    assert outer.total == 2


def test_an_outage_refuses_everything_sends_nothing_and_passes(redis_mw_settings: Settings) -> None:
    with RedisMW(redis_mw_settings) as mw, RedisMW(redis_mw_settings) as other:
        with count_round_trips() as counted, outage(mw):
            assert isinstance(mw.driver.run(pinged()), RedisUnavailable)
            with outage(mw):
                pass
            with pytest.raises(RedisUnavailable):
                mw.ping()
        assert counted.total == 0
        assert (mw.driver.run(pinged()), other.driver.run(pinged())) == (b"PONG", b"PONG")


def test_an_outage_of_the_async_face_takes_its_twin_along(redis_mw_settings: Settings) -> None:
    async def scene() -> None:
        async with AsyncRedisMW(redis_mw_settings) as amw:
            with outage(amw):
                assert isinstance(await amw.driver.run(pinged()), RedisUnavailable)
                assert isinstance(await asyncio.to_thread(amw.sync.driver.run, pinged()), RedisUnavailable)
            assert await amw.driver.run(pinged()) == b"PONG"
            assert await asyncio.to_thread(amw.sync.driver.run, pinged()) == b"PONG"

    asyncio.run(scene())


def test_every_private_server_is_empty_and_ends_with_its_block() -> None:
    with embedded() as one_url, embedded() as other_url:
        assert one_url != other_url
        with RedisMW(Settings(url=one_url)) as mw:
            mw.driver.run(one(raw("SET", "a", "1")))
        with RedisMW(Settings(url=other_url)) as mw:
            assert mw.driver.run(one(raw("GET", "a"))) is None
    assert urlsplit(one_url).scheme == "unix"
    with RedisMW(Settings(url=one_url)) as mw, pytest.raises(RedisUnavailable):
        mw.ping()
