"""A cluster through the asyncio driver: who has the keys is asked, and what servers say of them is followed."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from by_hand import soon
from fleets import (
    Watching,
    cached,
    door,
    driver_of,
    keys_on_each,
    others,
    ours,
    scripted,
)
from redis.crc import key_slot

from redis_mw.engine import outlook, trips
from redis_mw.engine.embedded import EmbeddedServer
from redis_mw.errors import CommandError, RedisUnavailable
from redis_mw.flows import Batch, Command, Flow, Wait, one, send

OnLoop = Callable[[Callable[[], Any]], None]
SLOTS = 16384


@pytest.fixture
def seen() -> Iterator[list[tuple[str, list[Any]]]]:
    """Every trip: its server or cluster, and the first word of each command."""
    trips_seen: list[tuple[str, list[Any]]] = []
    stop = trips.observe(lambda name, sent, _detached: trips_seen.append((name, [words[0] for words in sent])))
    yield trips_seen
    stop()


# Where commands go.


def test_keys_of_every_slot_are_written_and_read_and_a_batch_over_three_servers_is_one_trip(
    cluster: Any, on_loop: OnLoop, seen: list[Any]
) -> None:
    keys: dict[int, str] = {}
    for number in count():
        _ = keys.setdefault(key_slot(f"all:{number}".encode()), f"all:{number}")
        if len(keys) == SLOTS:
            break

    async def main() -> None:
        async with driver_of(cluster.url) as driver:
            assert set(await driver.run(send(*[cached("SET", key, key) for key in keys.values()]))) == {b"OK"}
            got = await driver.run(send(*[cached("GET", key) for key in keys.values()]))
            assert got == tuple(key.encode() for key in keys.values())
            _ = await driver.run(send(*[cached("UNLINK", key) for key in keys.values()]))

    on_loop(main)
    assert [(name, len(words)) for name, words in seen] == [(cluster.url, SLOTS)] * 3


def test_replies_come_back_to_their_places_whoever_gave_them(
    cluster: Any, server: EmbeddedServer, on_loop: OnLoop, seen: list[Any]
) -> None:
    a, b, c = keys_on_each(cluster, "places")
    plain: list[Command[Any]] = [Command(("ECHO", n), lambda reply: reply) for n in (1, 2)]

    async def main() -> None:
        async with driver_of(cluster.url, default=server.url) as driver:
            _ = await driver.run(send(*[cached("SET", key, key) for key in (a, b, c)]))
            seen.clear()
            large = cached("GET", c, bulk=True)
            batch = (cached("GET", a), plain[0], cached("GET", b), cached("LPUSH", a, 1), large, plain[1])
            first, one_, second, wrong, third, two = await driver.run(send(*batch))
            assert (first, one_, second, third, two) == (a.encode(), b"1", b.encode(), c.encode(), b"2")
            assert isinstance(wrong, CommandError) and wrong.code == "WRONGTYPE"

    on_loop(main)
    assert sorted((name, len(words)) for name, words in seen) == [(cluster.url, 4), (server.url, 2)]


def test_a_command_without_keys_goes_to_any_server(cluster: Any, on_loop: OnLoop) -> None:
    async def main() -> None:
        async with driver_of(cluster.url) as driver:
            question: Command[Any] = Command(("CLUSTER", "MYID"), lambda reply: reply, role="cache")
            assert await driver.run(one(question)) in {node.id.encode() for node in cluster.primaries()}

    on_loop(main)


def test_a_password_is_not_in_the_name_of_a_trip(on_loop: OnLoop) -> None:
    async def main() -> None:
        async with driver_of("cluster://user:secret@127.0.0.1:1,127.0.0.1:2") as driver:
            reply = await driver.run(one(cached("GET", "k")))
            assert isinstance(reply, RedisUnavailable)
            assert "cluster://127.0.0.1:1,127.0.0.1:2" in str(reply) and "secret" not in str(reply)

    on_loop(main)


# What servers say of their slots.


def test_a_slot_that_has_moved_is_followed_and_the_second_time_known(
    cluster: Any, on_loop: OnLoop, seen: list[Any]
) -> None:
    key = "moved:1"
    slot, home = key_slot(key.encode()), cluster.primary_of(key)

    async def main() -> None:
        async with driver_of(cluster.url) as driver:
            assert await driver.run(one(cached("SET", key, "v"))) == b"OK"
            await asyncio.to_thread(cluster.move_slot, slot, others(cluster, key)[0])
            seen.clear()
            for _ in range(2):
                assert await driver.run(one(cached("GET", key))) == b"v"

    try:
        on_loop(main)
    finally:
        cluster.move_slot(slot, home)
    assert seen == [(cluster.url, ["GET"])] * 3


def test_a_slot_that_is_on_its_way_is_asked_for_where_it_goes_each_time(
    cluster: Any, on_loop: OnLoop, seen: list[Any]
) -> None:
    key = "asked:1"
    slot, home = key_slot(key.encode()), cluster.primary_of(key)
    there = others(cluster, key)[0]

    async def main() -> None:
        async with driver_of(cluster.url) as driver:
            assert await driver.run(one(cached("SET", key, "old"))) == b"OK"
            _ = await driver.run(one(cached("DEL", key)))
            await asyncio.to_thread(cluster.begin_move, slot, there)
            try:
                seen.clear()
                assert await driver.run(one(cached("SET", key, "new"))) == b"OK"
                assert await driver.run(one(cached("GET", key))) == b"new"
                assert seen == [
                    (cluster.url, ["SET"]),
                    (cluster.url, ["ASKING", "SET"]),
                    (cluster.url, ["GET"]),
                    (cluster.url, ["ASKING", "GET"]),
                ]
            finally:
                await asyncio.to_thread(cluster.finish_move, slot, there)
            assert await driver.run(one(cached("GET", key))) == b"new"

    try:
        on_loop(main)
    finally:
        cluster.move_slot(slot, home)


def test_keys_of_which_one_has_gone_already_are_an_outage_of_their_flow(cluster: Any, on_loop: OnLoop) -> None:
    key = "{try}:here"
    slot, home = key_slot(key.encode()), cluster.primary_of(key)
    there = others(cluster, key)[0]

    async def main() -> None:
        async with driver_of(cluster.url) as driver:
            assert await driver.run(one(cached("SET", key, "v"))) == b"OK"
            await asyncio.to_thread(cluster.begin_move, slot, there)
            try:
                both, fine = await driver.run(send(cached("MGET", key, "{try}:there"), cached("GET", key)))
                assert isinstance(both, RedisUnavailable) and "TRYAGAIN" in str(both)
                assert fine == b"v"
            finally:
                await asyncio.to_thread(cluster.finish_move, slot, there)

    try:
        on_loop(main)
    finally:
        cluster.move_slot(slot, home)


def test_a_script_is_sent_as_text_only_to_the_server_that_does_not_know_it(
    cluster: Any, on_loop: OnLoop, seen: list[Any]
) -> None:
    a, b, c = keys_on_each(cluster, "script")

    async def main() -> None:
        async with driver_of(cluster.url) as driver:
            increments = [scripted("return redis.call('INCR', KEYS[1])", key) for key in (a, b, c)]
            _ = await driver.run(send(*[cached("DEL", key) for key in (a, b, c)]))
            assert await driver.run(send(*increments)) == (1, 1, 1)
            _ = cluster.primary_of(b).client().script_flush()
            seen.clear()
            assert await driver.run(send(*increments)) == (2, 2, 2)
            assert await driver.run(send(*increments)) == (3, 3, 3)

    on_loop(main)
    assert [words for _, words in seen] == [["EVALSHA"] * 3, ["EVAL"], ["EVALSHA"] * 3]


def test_a_script_that_is_unknown_where_its_slot_went_is_sent_there_as_text(
    cluster: Any, on_loop: OnLoop, seen: list[Any]
) -> None:
    key, other = "went:1", "went:{other}"
    slot, home = key_slot(key.encode()), cluster.primary_of(key)
    there = others(cluster, key)[0]
    text = "return redis.call('INCR', KEYS[1])"

    async def main() -> None:
        async with driver_of(cluster.url) as driver:
            _ = await driver.run(send(cached("DEL", key), cached("DEL", other)))
            assert await driver.run(send(scripted(text, key), scripted(text, other))) == (1, 1)
            await asyncio.to_thread(cluster.move_slot, slot, there)
            for node in cluster.primaries():
                if node is not home:
                    _ = node.client().script_flush()
            _ = cluster.primary_of(other).client().script_flush()
            seen.clear()
            assert await driver.run(send(scripted(text, key), scripted(text, other))) == (2, 2)

    try:
        on_loop(main)
    finally:
        cluster.move_slot(slot, home)
    assert seen[-1][1] == ["EVAL"]


# Nobody tells who has what.


def test_while_no_seed_answers_nobody_waits_longer_than_its_patience_and_one_asks_for_all(on_loop: OnLoop) -> None:
    async def main() -> None:
        async with door() as silent, driver_of(silent.url, warm_up=600) as driver, asyncio.timeout(60):
            replies = await asyncio.gather(
                *[driver.run(one(cached("GET", f"k{n}", patience=0.05))) for n in range(20)],
                driver.run(one(cached("GET", "k", patience=600)), deadline=0.05),
            )
            assert {type(reply) for reply in replies} == {RedisUnavailable}
            assert silent.connections == 1

    on_loop(main)


def test_when_no_seed_has_answered_commands_are_answered_at_once_for_a_while(
    on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with door(ends=True) as closed, driver_of(closed.url) as driver:
            for _ in range(20):
                assert isinstance(await driver.run(one(cached("GET", "k", patience=600))), RedisUnavailable)
            assert closed.connections == 1
        monkeypatch.setattr(outlook, "CALM_S", 0.0)
        async with door(ends=True) as closed, driver_of(closed.url) as driver:
            for _ in range(3):
                assert isinstance(await driver.run(one(cached("GET", "k", patience=600))), RedisUnavailable)
            assert closed.connections == 3

    on_loop(main)


def test_other_roles_do_without_the_cluster(server: EmbeddedServer, on_loop: OnLoop) -> None:
    async def main() -> None:
        async with door() as silent, driver_of(silent.url, default=server.url, warm_up=600) as driver:
            echo: Command[Any] = Command(("ECHO", "x"), lambda reply: reply)
            got, missing = await driver.run(send(echo, cached("GET", "k", patience=0.05)))
            assert got == b"x" and isinstance(missing, RedisUnavailable)

    on_loop(main)


def test_seeds_that_are_silent_or_gone_do_not_matter_while_one_answers(cluster: Any, on_loop: OnLoop) -> None:
    async def main() -> None:
        async with door() as silent, door(ends=True) as gone:
            url = f"{silent.url},127.0.0.1:{gone.port},127.0.0.1:{cluster.nodes[5].port}"
            for _ in range(5):  # they are asked in random order
                async with driver_of(url) as driver:
                    assert isinstance(await driver.run(one(cached("EXISTS", "seeds:1"))), int)

    on_loop(main)


def test_a_server_that_is_no_cluster_tells_nothing(server: EmbeddedServer, on_loop: OnLoop) -> None:
    async def main() -> None:
        async with driver_of(server.url.replace("redis://", "cluster://").removesuffix("/0")) as driver:
            assert isinstance(await driver.run(one(cached("GET", "k"))), RedisUnavailable)

    on_loop(main)


# The end, and other interruptions.


def test_a_flow_that_is_cancelled_undoes_its_work_on_all_servers(cluster: Any, on_loop: OnLoop) -> None:
    keys = keys_on_each(cluster, "undone")

    def adding() -> Flow[None]:
        try:
            _ = yield from send(*[cached("INCR", key) for key in keys])
            _ = yield Wait((), 600)
        except BaseException:
            _ = yield Batch(tuple(cached("DECR", key) for key in keys))
            raise

    async def main() -> None:
        async with driver_of(cluster.url) as driver:
            _ = await driver.run(send(*[cached("SET", key, 0) for key in keys]))
            for turns in (1, 2, 3, 10):
                tasks = [asyncio.ensure_future(driver.run(adding())) for _ in range(20)]
                for _ in range(turns):
                    await asyncio.sleep(0)
                for task in tasks:
                    _ = task.cancel()
                _ = await asyncio.gather(*tasks, return_exceptions=True)
                assert all(task.cancelled() for task in tasks)
        async with driver_of(cluster.url) as driver:
            assert await driver.run(send(*[cached("GET", key) for key in keys])) == (b"0",) * 3

    on_loop(main)


def test_whoever_is_cancelled_while_nobody_tells_who_has_what_is_gone_at_once(on_loop: OnLoop) -> None:
    async def main() -> None:
        async with door() as silent, driver_of(silent.url, warm_up=600) as driver, asyncio.timeout(60):
            task = asyncio.ensure_future(driver.run(one(cached("GET", "k", patience=600))))
            await soon(lambda: silent.connections, "it is asked")
            _ = task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    on_loop(main)


def test_a_driver_that_refuses_everything_sends_nothing(cluster: Any, on_loop: OnLoop, seen: list[Any]) -> None:
    async def main() -> None:
        watcher = Watching()
        async with door() as silent, driver_of(silent.url) as driver:
            driver.refuse_all = True
            driver.watch("cache", ("k:",), watcher)
            assert isinstance(await driver.run(one(cached("GET", "k"))), RedisUnavailable)
            assert silent.connections == 0
        async with driver_of(cluster.url) as driver:
            driver.watch("cache", ("refused:",), watcher)
            await soon(lambda: watcher.on, "it begins")
            assert await driver.run(one(cached("GET", "refused:1"))) is None
            driver.refuse_all = True
            seen.clear()
            assert not watcher.on
            assert isinstance(await driver.run(one(cached("GET", "refused:1"))), RedisUnavailable)
            assert seen == []
            driver.refuse_all = False
            assert await driver.run(one(cached("GET", "refused:1"))) is None
            await soon(lambda: watcher.on, "it begins anew")

    on_loop(main)


def test_nothing_is_connected_any_more_once_a_driver_is_closed(cluster: Any, on_loop: OnLoop) -> None:
    keys = keys_on_each(cluster, "closed")

    async def main() -> None:
        watcher = Watching()
        async with driver_of(cluster.url, read_replicas=True) as driver:
            driver.watch("cache", ("closed:",), watcher)
            driver.hear("cache", "closed", lambda: None)
            await soon(lambda: watcher.on, "it begins")
            _ = await driver.run(send(*[cached("GET", key) for key in keys]))
            _ = await driver.run(send(*[cached("GET", key, replica=True) for key in keys]))
            assert all(ours(node) for node in cluster.nodes)
        await soon(lambda: not any(ours(node) for node in cluster.nodes), "all are closed")
        assert isinstance(await driver.run(one(cached("GET", "k"))), RedisUnavailable)

    on_loop(main)
