"""Servers of a cluster that die, freeze or give their place to another, through the asyncio driver."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from fleets import (
    cached,
    calls,
    driver_of,
    keys_on_each,
    lasting,
    ours,
)

from redis_mw.engine import outlook
from redis_mw.engine.embedded import EmbeddedServer
from redis_mw.errors import RedisUnavailable
from redis_mw.flows import one, send

OnLoop = Callable[[Callable[[], Any]], None]


# Servers that fail.


def test_a_primary_that_dies_fails_its_own_commands_until_its_replica_has_taken_over(
    own_cluster: Any, on_loop: OnLoop
) -> None:
    a, b, c = keys_on_each(own_cluster, "dies")

    async def main() -> None:
        async with driver_of(own_cluster.url) as driver:
            assert await driver.run(send(*[cached("SET", key, "v") for key in (a, b, c)])) == (b"OK",) * 3
            own_cluster.primary_of(a).kill()
            gone, second, third = await driver.run(send(*[cached("GET", key, patience=0.5) for key in (a, b, c)]))
            assert isinstance(gone, RedisUnavailable)
            assert (second, third) == (b"v", b"v")
            await lasting(driver, cached("SET", a, "new"), b"OK")
            assert await driver.run(send(*[cached("GET", key) for key in (a, b, c)])) == (b"new", b"v", b"v")

    on_loop(main)


def test_a_planned_failover_costs_no_command(own_cluster: Any, on_loop: OnLoop) -> None:
    key = "planned:1"

    async def main() -> None:
        async with driver_of(own_cluster.url) as driver:
            assert await driver.run(one(cached("SET", key, 0))) == b"OK"
            failing_over = asyncio.ensure_future(asyncio.to_thread(own_cluster.fail_over, own_cluster.replica_of(key)))
            written = 0
            while not failing_over.done() or written < 50:
                written += 1
                assert await driver.run(one(cached("INCR", key))) == written
            await failing_over

    on_loop(main)


def test_servers_that_have_left_are_closed(own_cluster: Any, on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlook, "CALM_S", 0.02)
    monkeypatch.setattr(outlook, "AGAIN_S", 0.0)
    key = "left:1"

    async def main() -> None:
        async with driver_of(own_cluster.url) as driver:
            assert await driver.run(one(cached("SET", key, "v"))) == b"OK"
            before = own_cluster.primary_of(key)
            assert ours(before) == 1
            await asyncio.to_thread(own_cluster.fail_over, own_cluster.replica_of(key))
            end = time.monotonic() + 30
            while ours(before):
                assert await driver.run(one(cached("GET", key))) == b"v"
                assert time.monotonic() < end, "it is still connected"
                await asyncio.sleep(0.01)
            assert ours(own_cluster.primary_of(key)) >= 1

    on_loop(main)


def test_ping_asks_every_primary(own_cluster: Any, server: EmbeddedServer, on_loop: OnLoop) -> None:
    async def main() -> None:
        async with driver_of(own_cluster.url, default=server.url) as driver:
            await driver.ping()
            own_cluster.primaries()[2].kill()
            with pytest.raises(RedisUnavailable):
                await driver.ping()

    on_loop(main)


# Replicas.


def test_what_may_be_read_from_replicas_is_and_the_rest_is_not(cluster: Any, on_loop: OnLoop) -> None:
    key = "replicas:1"
    primary, replica = cluster.primary_of(key), cluster.replica_of(key)

    async def main() -> None:
        async with driver_of(cluster.url, read_replicas=True) as driver:
            assert await driver.run(one(cached("SET", key, "v"))) == b"OK"
            await lasting(driver, cached("GET", key, replica=True), b"v")
            here, there = calls(primary, "get"), calls(replica, "get")
            for _ in range(10):
                assert await driver.run(one(cached("GET", key, replica=True))) == b"v"
            assert (calls(primary, "get") - here, calls(replica, "get") - there) == (0, 10)
            for _ in range(10):
                assert await driver.run(one(cached("GET", key))) == b"v"
            assert (calls(primary, "get") - here, calls(replica, "get") - there) == (10, 10)

    on_loop(main)


def test_without_the_setting_nothing_is_read_from_replicas(cluster: Any, on_loop: OnLoop) -> None:
    key = "primaries:1"

    async def main() -> None:
        async with driver_of(cluster.url) as driver:
            before = calls(cluster.replica_of(key), "get")
            for _ in range(10):
                assert await driver.run(one(cached("GET", key, replica=True))) is None
            assert calls(cluster.replica_of(key), "get") == before

    on_loop(main)


def test_a_replica_that_does_not_answer_is_left_alone_and_used_again_when_it_does(
    own_cluster: Any, on_loop: OnLoop
) -> None:
    key = "frozen:1"
    replica = own_cluster.replica_of(key)
    read = cached("GET", key, replica=True, patience=0.1)

    async def main() -> None:
        async with driver_of(own_cluster.url, read_replicas=True) as driver:
            assert await driver.run(one(cached("SET", key, "v"))) == b"OK"
            await lasting(driver, read, b"v")
            replica.freeze()
            assert isinstance(await driver.run(one(read)), RedisUnavailable)
            await lasting(driver, read, b"v")
            replica.thaw()
            before = calls(replica, "get")
            end = time.monotonic() + 60
            while calls(replica, "get") == before:
                _ = await driver.run(one(read))
                assert time.monotonic() < end, "it is not used again"
                await asyncio.sleep(0.05)

    on_loop(main)
