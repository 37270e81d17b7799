"""A claim that is cut at any of its await points, over a slow line, leaves no claim behind; a completion loses none."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis
from cutting import cut

from redis_mw import Settings, replace
from redis_mw.engine.aio import AsyncDriver
from redis_mw.engine.sync import SyncDriver
from redis_mw.events import Events
from redis_mw.flows import Flow
from redis_mw.idempotency.attempt import Attempt
from redis_mw.idempotency.outcomes import First, Replay

Make = Callable[..., Attempt]
QUIET = Events((), lambda: 0.0)
DELAY = 0.03
MID_REPLY = 1.5 * DELAY
MOST_POINTS = 50

afters = pytest.mark.parametrize("after", [0.0, MID_REPLY], ids=["as it waits", "with the reply on its way"])


async def background_is_done(own: set[Any]) -> None:
    """Return when no task is left but those that were there before; fail if that takes for ever."""
    for _ in range(300):
        if not asyncio.all_tasks() - own:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("tasks were left behind")


async def cut_everywhere(
    settings: Settings, line: Any, after: float, each: Callable[[int], tuple[list[Flow[None]], Flow[None], Any]]
) -> int:
    """For every await point: run some flows, cut the next one there, then check. How often it was cut."""
    cut_short = 0
    async with (
        AsyncDriver(replace(settings, url=line.url), QUIET) as slow,
        AsyncDriver(settings, QUIET) as quick,
    ):
        await slow.ping()
        own = asyncio.all_tasks()
        for point in range(MOST_POINTS):
            before, flow, check = each(point)
            for step in before:
                await quick.run(step)
            own |= asyncio.all_tasks()
            reached = True
            task = asyncio.create_task(cut(slow.run(flow), point, after))
            try:
                reached = await task
            except asyncio.CancelledError:
                cut_short += 1
            await background_is_done(own)
            await check(quick, reached and task.cancelled())
            if not reached:
                return cut_short
    raise AssertionError("it never came to its end")


@afters
def test_a_claim_cut_anywhere_leaves_none_behind(
    redis_mw_settings: Settings,
    delaying_proxy: Callable[..., Any],
    attempt: Make,
    client: "redis.Redis[Any]",
    after: float,
) -> None:
    line = delaying_proxy(redis_mw_settings.url, delay=DELAY)

    def each(point: int) -> tuple[list[Flow[None]], Flow[None], Any]:
        first, again = attempt(f"key-{point}"), attempt(f"key-{point}")

        async def check(driver: AsyncDriver, was_cut: bool) -> None:
            if was_cut:
                assert not client.exists(first.room.commands.key(first.name))
                await driver.run(again.ask())
                assert again.outcome == First()
            else:
                assert first.outcome == First()

        return [], first.ask(), check

    assert asyncio.run(cut_everywhere(redis_mw_settings, line, after, each)) >= 1


@afters
def test_a_wait_cut_anywhere_leaves_no_claim_and_no_subscription(
    redis_mw_settings: Settings,
    delaying_proxy: Callable[..., Any],
    attempt: Make,
    client: "redis.Redis[Any]",
    after: float,
) -> None:
    line = delaying_proxy(redis_mw_settings.url, delay=DELAY)

    def each(point: int) -> tuple[list[Flow[None]], Flow[None], Any]:
        first, second, third = attempt(f"key-{point}"), attempt(f"key-{point}", wait=0.2), attempt(f"key-{point}")
        commands = first.room.commands

        async def check(driver: AsyncDriver, was_cut: bool) -> None:
            await driver.run(first.complete(200, [], b"first"))
            await driver.run(third.ask())
            assert isinstance(third.outcome, Replay), "the first was disturbed"
            for _ in range(300):
                if not client.pubsub_numsub(commands.channel(first.name))[0][1]:
                    break
                await asyncio.sleep(0.01)
            else:
                raise AssertionError("somebody still listens")

        return [first.ask(), second.ask()], second.wait(), check

    assert asyncio.run(cut_everywhere(redis_mw_settings, line, after, each)) >= 2


@afters
def test_a_completion_cut_anywhere_is_done_at_the_latest_after_the_response(
    redis_mw_settings: Settings, delaying_proxy: Callable[..., Any], attempt: Make, after: float
) -> None:
    line = delaying_proxy(redis_mw_settings.url, delay=DELAY)

    def each(point: int) -> tuple[list[Flow[None]], Flow[None], Any]:
        first, again = attempt(f"key-{point}"), attempt(f"key-{point}")

        async def check(driver: AsyncDriver, was_cut: bool) -> None:
            assert first.settles is was_cut
            await driver.run(first.settle())
            await driver.run(again.ask())
            assert isinstance(again.outcome, Replay) and again.outcome.response.body == b"done"

        return [first.ask()], first.complete(200, [], b"done"), check

    assert asyncio.run(cut_everywhere(redis_mw_settings, line, after, each)) >= 1


def test_a_hundred_claims_cut_at_once_leave_none_behind(
    redis_mw_settings: Settings, delaying_proxy: Callable[..., Any], attempt: Make, client: "redis.Redis[Any]"
) -> None:
    line = delaying_proxy(redis_mw_settings.url, delay=DELAY)

    async def main() -> None:
        async with AsyncDriver(replace(redis_mw_settings, url=line.url), QUIET) as driver:
            await driver.ping()
            attempts = [attempt(f"key-{n}") for n in range(100)]
            tasks = [asyncio.create_task(driver.run(each.ask())) for each in attempts]
            for n, task in enumerate(tasks):
                _ = asyncio.get_running_loop().call_later(n / 1000, task.cancel)
            _ = await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert list(client.scan_iter(f"{redis_mw_settings.prefix}:*", count=1000)) == []


def test_an_interrupted_thread_leaves_no_claim_behind(
    redis_mw_settings: Settings, server: Any, attempt: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = attempt()
    with redis.Redis.from_url(server.url) as client:
        with SyncDriver(replace(redis_mw_settings, url=server.url), QUIET) as driver:
            driver.ping()

            from redis_mw.engine.sync.link import Turn

            finish, interrupted = Turn.finish, iter([True])

            def finishing(turn: Turn) -> list[Any]:
                if next(interrupted, False):
                    raise KeyboardInterrupt  # a signal that arrives while the reply is awaited
                return finish(turn)

            monkeypatch.setattr(Turn, "finish", finishing)
            with pytest.raises(KeyboardInterrupt):
                driver.run(first.ask())
        assert client.keys("*") == []
        assert client.info("commandstats").get("cmdstat_unlink", {"calls": 0})["calls"] == 1
