"""Many at once on a real server: by threads, by tasks, by processes, and by requests that are cut anywhere."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from cutting import cut

from redis_mw import AsyncRedisMW, Limit, RedisMW, Settings, replace
from redis_mw.engine.aio import AsyncDriver
from redis_mw.events import Events
from redis_mw.limits import direct
from redis_mw.limits.entry import Entry
from redis_mw.limits.room import Room
from redis_mw.limits.tally import Tally
from redis_mw.policy.caller import Caller

TRIES, AMOUNT = 600, 100
ALGORITHMS = {
    "sliding": Limit("100/hour"),
    "gcra": Limit("100/day", algorithm="gcra", burst=100),
    "fixed": Limit("100/month", algorithm="fixed"),
    "in flight": Limit("100 in flight"),
}


@pytest.mark.parametrize("limit", ALGORITHMS.values(), ids=ALGORITHMS)
def test_threads_pass_exactly_the_limit(redis_mw_settings: Settings, limit: Limit) -> None:
    with RedisMW(redis_mw_settings) as mw, ThreadPoolExecutor(16) as pool:
        passed = sum(pool.map(lambda _: mw.limits.hit(limit, key="a").allowed, range(TRIES)))
    assert passed == AMOUNT


@pytest.mark.parametrize("limit", ALGORITHMS.values(), ids=ALGORITHMS)
def test_tasks_pass_exactly_the_limit(redis_mw_settings: Settings, limit: Limit) -> None:
    async def main() -> int:
        async with AsyncRedisMW(redis_mw_settings) as mw:
            verdicts = await asyncio.gather(*(mw.limits.hit(limit, key="a") for _ in range(TRIES)))
            return sum(verdict.allowed for verdict in verdicts)

    assert asyncio.run(main()) == AMOUNT


def test_what_many_threads_take_ahead_is_never_above_the_limit(redis_mw_settings: Settings) -> None:
    """It may be less: what some still have in stock when others are denied, who are believed for a second."""
    limit = Limit("100/hour", lease=7)
    with RedisMW(redis_mw_settings) as mw, ThreadPoolExecutor(16) as pool:
        passed = sum(pool.map(lambda _: mw.limits.hit(limit, key="a").allowed, range(TRIES)))
    assert AMOUNT // 2 < passed <= AMOUNT


PROCESS = """
import asyncio, sys
from redis_mw import AsyncRedisMW, Settings
url, prefix, tries, rate = sys.argv[1:]
async def main():
    async with AsyncRedisMW(Settings(url=url, prefix=prefix, patience=10, warm_up=10, connect_within=10)) as mw:
        await mw.ping()
        print("ready", flush=True)
        sys.stdin.readline()
        verdicts = await asyncio.gather(*(mw.limits.hit(rate, key="a") for _ in range(int(tries))))
        print(sum(verdict.allowed for verdict in verdicts))
asyncio.run(main())
"""


def test_processes_pass_exactly_the_limit_together(redis_mw_settings: Settings) -> None:
    command = [sys.executable, "-c", PROCESS, redis_mw_settings.url_of("limits"), redis_mw_settings.prefix]
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    processes = [
        subprocess.Popen([*command, str(TRIES // 4), f"{AMOUNT}/hour"], env=environment, text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(4)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    passed = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        passed.append(int(process.communicate(timeout=60)[0]))
        assert process.returncode == 0
    assert sum(passed) == AMOUNT and len(passed) == 4


def test_of_several_limits_the_others_keep_theirs_when_one_denies(redis_mw_settings: Settings) -> None:
    wide, narrow = Limit("1000/hour", by="global"), Limit("20/day")

    async def main() -> None:
        async with AsyncRedisMW(redis_mw_settings) as mw:
            hits = [(wide, "", 1), (narrow, "a", 1), ("200/hour", "a", 1)]
            together = await asyncio.gather(*(mw.limits.hit_all(hits) for _ in range(100)))
            assert sum(all(verdicts) for verdicts in together) == 20
            assert (await mw.limits.peek(wide, key="")).remaining == 980
            assert (await mw.limits.peek("200/hour", key="a")).remaining == 180

    asyncio.run(main())


def tally_of(room: Room, *entries: Entry) -> tuple[Tally, list[Any]]:
    tally = Tally(room, Caller(address="192.0.2.7"))
    return tally, tally.begin(entries, "POST")


def test_of_parallel_logins_only_as_many_pass_as_may_fail(
    make_room: Callable[..., Room], redis_mw_settings: Settings
) -> None:
    """Five may fail. While nothing is decided, five pass; what succeeds is given back, what fails is not."""
    room = make_room()
    login = room.entry(Limit("5/hour", count="failed"), "POST /login")

    async def main() -> None:
        driver = AsyncDriver(redis_mw_settings, Events((), lambda: 0.0))

        async def attempts(count: int) -> list[Tally]:
            asked = [tally_of(room, login) for _ in range(count)]
            await asyncio.gather(*(driver.run(tally.ask(asks)) for tally, asks in asked))
            room.forget_denials()
            return [tally for tally, _ in asked if tally.refused is None]

        undecided = await attempts(40)
        assert len(undecided) == 5 and await attempts(10) == []
        for tally in undecided[:3]:
            for _ in range(3):  # settled once however often it is asked
                await driver.run(tally.settle(200))
        await driver.run(undecided[3].settle(401))
        again = await attempts(40)
        assert len(again) == 3
        for tally in [*again, undecided[4]]:
            await driver.run(tally.settle(403))
        assert await attempts(10) == []
        await driver.aclose()

    asyncio.run(main())


def test_a_refund_that_is_sent_by_many_at_once_is_done_once(redis_mw_settings: Settings) -> None:
    with RedisMW(redis_mw_settings) as mw, ThreadPoolExecutor(8) as pool:
        verdicts = [mw.limits.hit("10/hour", key="a", cost=2) for _ in range(4)]
        for _ in pool.map(mw.limits.refund, [verdicts[0]] * 40):
            pass
        assert mw.limits.peek("10/hour", key="a").remaining == 4


DELAY = 0.02


@pytest.mark.parametrize("after", [0.0, 1.5 * DELAY], ids=["as it waits", "with the reply on its way"])
def test_a_run_cut_anywhere_leaves_no_slot(
    redis_mw_settings: Settings, delaying_proxy: Callable[..., Any], make_room: Callable[..., Room], after: float
) -> None:
    line = delaying_proxy(redis_mw_settings.url_of("limits"), delay=DELAY)
    settings = replace(redis_mw_settings, url=line.url)
    room = make_room()
    slots = room.entry(Limit("2 in flight"), "everywhere")
    count = room.entry(Limit("1000/hour"), "everywhere else")

    async def main() -> int:
        cut_short = 0
        with redis.Redis.from_url(redis_mw_settings.url_of("limits")) as client:
            for point in range(50):
                driver = AsyncDriver(settings, Events((), lambda: 0.0))
                tally, asks = tally_of(room, count, slots)
                task = asyncio.create_task(cut(driver.run(tally.ask(asks)), point, after))
                reached = True
                try:
                    reached = await task
                except asyncio.CancelledError:
                    cut_short += 1
                else:
                    assert client.zcard(asks[1].key) == 1
                    await driver.run(tally.settle(200))
                await driver.aclose()
                assert client.zcard(asks[1].key) == 0
                assert not room.memory.slots
                if not reached:
                    return cut_short
        raise AssertionError("it never came to its end")

    assert asyncio.run(main()) >= 1


def test_an_interrupted_hit_in_a_thread_leaves_no_slot(
    redis_mw_settings: Settings, make_room: Callable[..., Room]
) -> None:
    """A worker's timeout is thrown into the flow once its batch has settled."""
    room = make_room()
    (asked,) = [direct.question(room, Limit("1 in flight"), "a")]
    flow = direct.hit(room, [asked])
    with RedisMW(redis_mw_settings) as mw, redis.Redis.from_url(redis_mw_settings.url_of("limits")) as client:
        batch = next(flow)
        sent = mw.driver.run(replies(batch))
        assert sent and client.zcard(asked.ask.key) == 1
        undo = flow.throw(KeyboardInterrupt)
        assert mw.driver.run(replies(undo)) == [[1]]
        assert client.zcard(asked.ask.key) == 0
        with pytest.raises(KeyboardInterrupt):
            flow.send([[1]])


def replies(effect: Any) -> Any:
    found = yield effect
    return found
