"""What is heard of a cluster through the asyncio driver: wake-ups, and what is changed."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from by_hand import soon
from fleets import (
    Watching,
    cached,
    changes_are_told,
    door,
    driver_of,
    keys_on_each,
    lasting,
    ours,
)
from redis.crc import key_slot

from redis_mw.engine import outlook
from redis_mw.flows import Flow, Wait, Woken, one, send

OnLoop = Callable[[Callable[[], Any]], None]


# Wake-ups.


def test_a_flow_is_woken_by_whomever_its_wake_up_was_sent_to(cluster: Any, on_loop: OnLoop) -> None:
    keys = keys_on_each(cluster, "wakes")

    def waiting(key: str) -> Flow[Woken | None]:
        _ = yield from one(cached("INCR", key, wakes=(f"ch:{key}",)))
        woken: Woken | None = yield Wait((f"ch:{key}",), 30)
        return woken

    async def main() -> None:
        async with driver_of(cluster.url) as driver:
            _ = await driver.run(send(*[cached("DEL", key) for key in keys]))
            for node in cluster.nodes:
                flows = [asyncio.ensure_future(driver.run(waiting(key))) for key in keys]
                async with asyncio.timeout(30):
                    while any(not flow.done() for flow in flows):
                        for key in keys:
                            _ = node.client().publish(f"ch:{key}", "m")
                        await asyncio.sleep(0.01)
                assert [woken is not None and woken.message for woken in await asyncio.gather(*flows)] == [b"m"] * 3

    on_loop(main)


def test_who_hears_a_channel_hears_it_also_after_a_failover(own_cluster: Any, on_loop: OnLoop) -> None:
    channel = "heard:1"

    async def main() -> None:
        heard: list[None] = []
        async with driver_of(own_cluster.url) as driver:
            driver.hear("cache", channel, lambda: heard.append(None))
            await soon(lambda: heard, "the first call is the confirmation")
            for node in own_cluster.nodes:
                heard.clear()
                _ = node.client().publish(channel, "")
                await soon(lambda: heard, "what is published anywhere is heard")
            own_cluster.primary_of(channel).kill()
            await lasting(driver, cached("SET", channel, "v", patience=0.5), b"OK")
            before = len(heard)

            async def publishing() -> None:
                while len(heard) == before:
                    _ = own_cluster.primary_of(channel).client().publish(channel, "")
                    await asyncio.sleep(0.02)

            await asyncio.wait_for(publishing(), 30)

    on_loop(main)


# What is changed.


def test_what_is_changed_on_any_primary_is_told(cluster: Any, on_loop: OnLoop) -> None:
    keys = keys_on_each(cluster, "told")

    async def main() -> None:
        watcher = Watching()
        async with driver_of(cluster.url) as driver:
            driver.watch("cache", ("told:",), watcher)
            await soon(lambda: watcher.on, "it begins")
            assert watcher.told == ["begin"]
            await changes_are_told(cluster, watcher, keys)
            assert watcher.on
        assert watcher.told == ["end"]

    on_loop(main)


def test_a_planned_failover_ends_it_as_soon_as_we_hear_of_it_and_it_begins_anew(
    own_cluster: Any, on_loop: OnLoop
) -> None:
    keys = keys_on_each(own_cluster, "planned")

    async def main() -> None:
        watcher = Watching()
        async with driver_of(own_cluster.url) as driver:
            driver.watch("cache", ("planned:",), watcher)
            await soon(lambda: watcher.on, "it begins")
            await asyncio.to_thread(own_cluster.fail_over, own_cluster.replica_of(keys[0]))
            watcher.told.clear()
            _ = await driver.run(one(cached("GET", keys[0])))
            assert watcher.told[:1] == ["end"]
            await soon(lambda: watcher.on, "it begins anew")
            watcher.told.clear()
            await changes_are_told(own_cluster, watcher, keys)

    on_loop(main)


def test_the_death_of_a_primary_ends_it_until_its_successor_is_heard_though_nobody_sends_anything(
    own_cluster: Any, on_loop: OnLoop
) -> None:
    keys = keys_on_each(own_cluster, "dead")

    async def main() -> None:
        watcher = Watching()
        async with driver_of(own_cluster.url) as driver:
            driver.watch("cache", ("dead:",), watcher)
            await soon(lambda: watcher.on, "it begins")
            own_cluster.primary_of(keys[0]).kill()
            await soon(lambda: watcher.told[-1] == "end", "it ends")
            await soon(lambda: watcher.on, "it begins anew")
            watcher.told.clear()
            await changes_are_told(own_cluster, watcher, keys)

    on_loop(main)


def test_a_server_that_is_only_now_given_its_first_slot_must_be_heard_from_when_it_is_asked(
    own_cluster: Any, on_loop: OnLoop
) -> None:
    keys = keys_on_each(own_cluster, "first")
    newcomer = own_cluster.primary_of(keys[2])
    had = newcomer.itself().slots[0]
    for node in own_cluster.nodes:
        _ = node.client().execute_command("CLUSTER", "DELSLOTSRANGE", had.start, had.stop - 1)

    async def main() -> None:
        watcher = Watching()
        async with driver_of(own_cluster.url) as driver:
            driver.watch("cache", ("first:",), watcher)
            await soon(lambda: watcher.on, "it begins")
            assert ours(newcomer) == 0
            await asyncio.to_thread(own_cluster.begin_move, key_slot(keys[0].encode()), newcomer)
            assert await driver.run(one(cached("GET", keys[0]))) is None
            assert watcher.told[:2] == ["begin", "end"]
            await soon(lambda: watcher.on, "it begins anew")
            watcher.told.clear()
            assert await driver.run(one(cached("SET", keys[0], "v"))) == b"OK"
            await soon(lambda: [keys[0]] in watcher.told, "what is changed there is told")

    on_loop(main)


def test_who_watches_before_any_server_answers_begins_when_one_does(
    on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlook, "CALM_S", 0.01)

    async def main() -> None:
        watcher = Watching()
        async with door(ends=True) as closed, driver_of(closed.url) as driver:
            driver.watch("cache", ("k:",), watcher)
            await soon(lambda: closed.connections > 2, "it is asked again and again")
            assert watcher.told == []

    on_loop(main)
