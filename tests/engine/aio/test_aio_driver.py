"""What is the async driver's own: cancellation, shared wires, loops, bounds. The rest is in ``test_parity``."""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from redis_mw.engine import trips
from redis_mw.engine.aio import AsyncDriver
from redis_mw.engine.embedded import EmbeddedServer
from redis_mw.errors import RedisUnavailable
from redis_mw.events import Event, Events
from redis_mw.flows import Argument, Command, Flow, Role, Script, one, send, together
from redis_mw.settings import Settings

OnLoop = Callable[..., None]
Lines = Callable[..., Any]


def command(
    *args: Argument,
    role: Role = "default",
    patience: float = 1.0,
    bulk: bool = False,
    script: Script | None = None,
    wakes: tuple[str, ...] = (),
) -> Command[Any]:
    return Command(
        args=args,
        parse=lambda reply: reply,
        role=role,
        patience_us=int(patience * 1_000_000),
        bulk=bulk,
        script=script,
        wakes=wakes,
    )


def driver_to(url: str | dict[str, str], heard: list[Event] | None = None) -> AsyncDriver:
    return AsyncDriver(Settings(url=url), Events([] if heard is None else [heard.append], time.time))


def taking(number: int, steps: int, wrong: list[str]) -> Flow[None]:
    """Takes something in several steps and gives it back if it is interrupted."""
    taken = False
    try:
        for step in range(steps):
            words = f"{number}:{step}"
            taken = True
            echo, _ = yield from send(command("ECHO", words), command("RPUSH", "story", f"take {number}"))
            if echo != words.encode() and not isinstance(echo, RedisUnavailable):
                wrong.append(f"{words} got {echo!r}")
        taken = False
    finally:
        if taken:
            _ = yield from one(command("RPUSH", "story", f"undo {number}"))


def test_a_storm_of_cancellations_mixes_no_replies_and_every_undo_follows_what_it_undoes(
    on_loop: OnLoop, server: EmbeddedServer, link: Lines
) -> None:
    async def main() -> None:
        dice = random.Random(7)
        wrong: list[str] = []
        async with link(delay=0.03) as line:
            driver = driver_to(line.url)
            _ = await driver.run(one(command("DEL", "story")))
            cancelled = swallowed = 0
            for round_ in range(5):
                numbers = range(round_ * 50, round_ * 50 + 50)
                tasks = {n: asyncio.create_task(driver.run(taking(n, 3, wrong))) for n in numbers}
                for number in numbers:
                    if dice.random() < 0.6:
                        delay = dice.uniform(0.0, 0.2)
                        _ = asyncio.get_running_loop().call_later(delay, tasks[number].cancel)
                for task in tasks.values():
                    _ = await asyncio.wait({task})
                    cancelled += task.cancelled()
                    swallowed += bool(task.cancelling()) and not task.cancelled()
            await driver.aclose()
        async with driver_to(server.url) as direct:
            story = [entry.decode().split() for entry in await direct.run(one(command("LRANGE", "story", 0, -1)))]
        assert not wrong
        assert cancelled > 60 and swallowed == 0
        last = {number: word for word, number in story}
        undone = [number for number, word in last.items() if word == "undo"]
        assert len(undone) > 30
        for number, word in last.items():
            takes = sum(entry == ["take", number] for entry in story)
            assert word == "undo" or takes == 3, f"flow {number} took {takes} times and was not undone"

    on_loop(main)


def test_a_cancelled_run_ends_before_its_batch_has_settled_and_undoes_it_afterwards(
    on_loop: OnLoop, link: Lines
) -> None:
    async def main() -> None:
        story: list[str] = []

        def flow() -> Flow[None]:
            try:
                _ = yield from one(command("PING"))
            except asyncio.CancelledError:
                story.append("told")
                _ = yield from one(command("PING"))
                story.append("undone")
                raise

        async with link() as line:
            driver = driver_to(line.url)
            _ = await driver.run(one(command("PING")))
            line.connections[0].hold()
            task = asyncio.create_task(driver.run(flow()))
            await asyncio.sleep(0)
            _ = task.cancel()
            _ = await asyncio.wait({task})
            assert task.cancelled() and story == []
            line.connections[0].release()
            await driver.aclose()
            assert story == ["told", "undone"]

    on_loop(main)


def test_a_flow_cancelled_before_it_had_a_connection_sends_only_its_undo(on_loop: OnLoop, link: Lines) -> None:
    async def main() -> None:
        replies: list[Any] = []

        def flow() -> Flow[None]:
            try:
                _ = yield from one(command("INCR", "never"))
            finally:
                replies.append((yield from one(command("GET", "never"))))

        async with link(delay=0.02) as line:
            driver = driver_to(line.url)
            task = asyncio.create_task(driver.run(flow()))
            await asyncio.sleep(0)
            _ = task.cancel()
            _ = await asyncio.wait({task})
            await driver.aclose()
        assert task.cancelled() and replies == [None]

    on_loop(main)


def test_the_undo_of_a_group_leaves_as_one_batch(on_loop: OnLoop, link: Lines) -> None:
    async def main() -> None:
        sent: list[tuple[tuple[Argument, ...], ...]] = []

        def flow(number: int) -> Flow[None]:
            try:
                _ = yield from one(command("PING"))
            except asyncio.CancelledError:
                _ = yield from one(command("ECHO", number))
                raise

        async with link() as line:
            driver = driver_to(line.url)
            _ = await driver.run(one(command("PING")))
            stop = trips.observe(lambda _server, words, detached: sent.append(words) if detached else None)
            line.connections[0].hold()
            task = asyncio.create_task(driver.run(together(flow(1), flow(2))))
            await asyncio.sleep(0)
            _ = task.cancel()
            _ = await asyncio.wait({task})
            line.connections[0].release()
            await driver.aclose()
            stop()
        assert sent == [(("ECHO", 1), ("ECHO", 2))]

    on_loop(main)


def test_a_slow_server_goes_on_serving_the_patient(on_loop: OnLoop, link: Lines) -> None:
    async def main() -> None:
        async with link(delay=0.1) as line:
            driver = AsyncDriver(Settings(url=line.url, connect_within=2.0), Events([], time.time))
            session = command("ECHO", "session", role="sessions")
            cache = command("ECHO", "page", role="cache", patience=0.1)
            assert await driver.run(one(session)) == b"session"
            for _ in range(3):
                page, cart = await asyncio.gather(driver.run(one(cache)), driver.run(one(session)))
                assert isinstance(page, RedisUnavailable)
                assert cart == b"session"
            await driver.aclose()

    on_loop(main)


def test_a_lost_connection_fails_what_was_under_way_and_the_next_flow_gets_a_new_one(
    on_loop: OnLoop, link: Lines
) -> None:
    async def main() -> None:
        async with link() as line:
            driver = driver_to(line.url)
            assert await driver.run(one(command("PING"))) == b"PONG"
            line.connections[0].hold()
            under_way = [asyncio.create_task(driver.run(one(command("ECHO", n)))) for n in range(20)]
            await asyncio.sleep(0)
            line.reset()
            assert all(isinstance(reply, RedisUnavailable) for reply in await asyncio.gather(*under_way))
            assert await driver.run(one(command("PING"))) == b"PONG"
            await driver.aclose()

    on_loop(main)


def test_many_flows_share_one_attempt_to_connect(on_loop: OnLoop, link: Lines) -> None:
    async def main() -> None:
        async with link() as line:
            driver = driver_to(line.url)
            replies = await asyncio.gather(*[driver.run(one(command("ECHO", n))) for n in range(100)])
            assert replies == [str(n).encode() for n in range(100)]
            assert len(line.connections) == 1
            await driver.aclose()

    on_loop(main)


def test_a_server_that_is_not_there_is_refused_without_a_storm_of_connections(on_loop: OnLoop) -> None:
    async def main() -> None:
        attempts = 0

        def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal attempts
            attempts += 1
            writer.transport.abort()

        refusing = await asyncio.start_server(accept, "127.0.0.1", 0)
        driver = driver_to(f"redis://127.0.0.1:{refusing.sockets[0].getsockname()[1]}/0")
        for _ in range(300):
            assert isinstance(await driver.run(one(command("PING", patience=0.05))), RedisUnavailable)
        assert attempts <= 5
        await driver.aclose()
        refusing.close()

    on_loop(main)


def test_a_large_reply_under_way_does_not_hold_up_small_ones(on_loop: OnLoop, link: Lines) -> None:
    async def main() -> None:
        async with link() as line:
            driver = driver_to(line.url)
            _ = await driver.run(one(command("SET", "page", "x" * 100_000)))
            assert len(await driver.run(one(command("GET", "page", bulk=True)))) == 100_000
            small, large = line.connections
            large.hold()
            page = asyncio.create_task(driver.run(one(command("GET", "page", bulk=True, patience=20.0))))
            for number in range(50):
                assert await driver.run(one(command("ECHO", number))) == str(number).encode()
            assert not page.done() and small is not large
            large.release()
            assert len(await page) == 100_000
            await driver.aclose()

    on_loop(main)


def test_a_batch_waits_for_its_most_patient_command_and_a_deadline_bounds_it(on_loop: OnLoop, link: Lines) -> None:
    async def main() -> None:
        async with link() as line:
            driver = driver_to(line.url)
            _ = await driver.run(one(command("PING")))
            line.connections[0].hold()
            hasty = command("ECHO", "hasty", patience=0.05)
            mixed = asyncio.create_task(driver.run(send(hasty, command("ECHO", "patient", patience=30.0))))
            bounded = await driver.run(one(command("PING", patience=30.0)), deadline=0.05)
            assert isinstance(bounded, RedisUnavailable)
            assert isinstance(await driver.run(one(hasty)), RedisUnavailable)
            line.connections[0].release()
            assert await mixed == (b"hasty", b"patient")
            await driver.aclose()

    on_loop(main)


def test_one_batch_is_one_trip_for_each_server_even_over_two_connections(
    on_loop: OnLoop, server: EmbeddedServer
) -> None:
    async def main() -> None:
        seen: list[int] = []
        async with driver_to(server.url) as driver:
            stop = trips.observe(lambda _server, words, _detached: seen.append(len(words)))
            _ = await driver.run(
                send(command("PING"), command("GET", "page", bulk=True), command("PING", role="limits"))
            )
            stop()
        assert seen == [3]

    on_loop(main)


def test_sharers_get_the_result_of_one_run_though_its_first_asker_was_cancelled(
    on_loop: OnLoop, server: EmbeddedServer
) -> None:
    async def main() -> None:
        async with driver_to(server.url) as driver:
            _ = await driver.run(one(command("DEL", "runs")))

            def flow() -> Flow[Any]:
                return (yield from one(command("INCR", "runs")))

            askers = [asyncio.create_task(driver.share("page", flow())) for _ in range(10)]
            await asyncio.sleep(0)
            _ = askers[0].cancel()
            assert await asyncio.gather(*askers[1:]) == [1] * 9
            _ = await asyncio.wait({askers[0]})
            assert askers[0].cancelled()
            assert await driver.share("page", flow()) == 2

    on_loop(main)


def test_nothing_stays_open_when_the_loop_ends_and_nobody_closed_the_driver(
    on_loop: OnLoop, server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    drivers = []

    async def main() -> None:
        driver = driver_to(server.url)
        drivers.append(driver)
        assert await driver.run(one(command("PING", wakes=("bell",)))) == b"PONG"
        assert await driver.run(one(command("PING", bulk=True))) == b"PONG"

    on_loop(main)  # warnings about unclosed connections are errors
    on_loop(main)
    assert not caplog.records


def test_a_driver_serves_the_next_loop_once_its_own_is_closed_but_not_a_second_one_beside_it(
    server: EmbeddedServer,
) -> None:
    driver = driver_to(server.url)
    for _ in range(2):
        with asyncio.Runner() as runner:
            assert runner.run(driver.run(one(command("PING")))) == b"PONG"
    first, second = asyncio.Runner(), asyncio.Runner()
    with first, second:
        assert first.run(driver.run(one(command("PING")))) == b"PONG"
        with pytest.raises(RuntimeError, match="another event loop"):
            second.run(driver.run(one(command("PING"))))


def test_without_an_asyncio_loop_there_is_one_clear_error(server: EmbeddedServer) -> None:
    running = driver_to(server.url).run(one(command("PING")))
    with pytest.raises(RuntimeError, match="trio"):
        running.send(None)


FORK = """
import asyncio, os, sys, time
from redis_mw.engine.aio import AsyncDriver
from redis_mw.events import Events
from redis_mw.flows import Command, Wait, one
from redis_mw.settings import Settings

driver = AsyncDriver(Settings(url=sys.argv[1]), Events([], time.time))
echo = lambda word: one(Command(args=("ECHO", word), parse=lambda reply: reply))

def sleeping(begun):
    begun.set()
    yield Wait((), 3600.0)

async def background():
    begun, heard = asyncio.Event(), asyncio.Event()
    driver.tend("watch", lambda: sleeping(begun))
    driver.hear("default", "news", heard.set)
    async with asyncio.timeout(20):
        return await begun.wait() and await heard.wait()

parent = asyncio.Runner()
assert parent.run(driver.run(echo("before"))) == b"before"
assert parent.run(background())
child = os.fork()
if not child:
    with asyncio.Runner() as own:
        replies = [own.run(driver.run(echo(f"child {n}"))) == b"child %d" % n for n in range(50)]
        replies.append(own.run(background()))
        own.run(driver.aclose())
    os._exit(0 if all(replies) else 1)
for n in range(50):
    assert parent.run(driver.run(echo(f"parent {n}"))) == b"parent %d" % n
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
parent.run(driver.aclose())
parent.close()
"""


def test_a_forked_process_uses_connections_of_its_own(server: EmbeddedServer) -> None:
    script = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORK, server.url], capture_output=True, text=True, timeout=60, check=False
    )
    assert (script.returncode, script.stderr) == (0, "")
