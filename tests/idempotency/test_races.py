"""Many requests with one key at once, on a real server: one runs, the others get its answer or are told to wait."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from attempts import SENDER, begun_by
from by_hand import until
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from redis_mw import Idempotency, Idempotent, Settings, replace
from redis_mw.engine.aio import AsyncDriver
from redis_mw.engine.sync import SyncDriver
from redis_mw.events import Events
from redis_mw.flows import one
from redis_mw.http.request import Fields, Request
from redis_mw.idempotency.attempt import Attempt
from redis_mw.idempotency.outcomes import Busy, First, Mismatch, Orphan, Replay
from redis_mw.idempotency.room import Room
from redis_mw.testing import count_round_trips

Make = Callable[..., Attempt]
QUIET = Events((), lambda: 0.0)
SECOND = 1_000_000
LEASE = 30 * SECOND


class Workers(RuleBasedStateMachine):
    """Attempts of many workers claim, complete, give back, renew, die and are late, in any order.

    The test keeps its own account of each key: who may be running it and until when, and what its answer is.
    """

    settings_of_test: Settings
    running = Bundle("running")

    def __init__(self) -> None:
        super().__init__()
        self.driver = SyncDriver(self.settings_of_test, QUIET)
        self.client = redis.Redis.from_url(self.settings_of_test.url_of("locks"))
        self.now = 1_000 * SECOND
        self.holder: dict[str, tuple[Attempt, int]] = {}
        self.asked_for: dict[str, bytes] = {}
        self.answer: dict[str, bytes] = {}
        self.bodies: dict[Attempt, bytes] = {}
        self.answers = 0

    @initialize(dead=st.sampled_from(["retry", "unknown"]))
    def begin(self, dead: str) -> None:
        self.dead = dead
        settings = replace(self.settings_of_test, idempotency=Idempotency(patience=10, dead=dead))
        assert settings.idempotency is not None
        self.room = Room(settings, settings.idempotency, QUIET, secret="s" * 32)
        self.entry = self.room.entry(Idempotent(), "here")
        self.room.commands.now_us = self.now

    def teardown(self) -> None:
        for key in self.client.scan_iter(f"{self.settings_of_test.prefix}:*", count=1000):
            self.client.delete(key)
        self.driver.close()
        self.client.close()

    @rule(us=st.sampled_from([SECOND, 10 * SECOND, LEASE - 1, LEASE, LEASE + 1]))
    def time_passes(self, us: int) -> None:
        self.now += us
        self.room.commands.now_us = self.now

    @rule(target=running, key=st.sampled_from("ab"), body=st.sampled_from([b"1", b"1", b"1", b"2"]))
    def a_request_comes_in(self, key: str, body: bytes) -> tuple[str, Attempt]:
        request = Request("POST", "/pay", headers=Fields((("Idempotency-Key", key),)))
        attempt = begun_by(SENDER, self.room, self.entry, request)
        assert isinstance(attempt, Attempt) and attempt.read(body)
        self.bodies[attempt] = body
        self.driver.run(attempt.ask())
        outcome = attempt.outcome
        if body != self.asked_for.setdefault(key, body):
            assert outcome == Mismatch()
        elif key in self.answer:
            assert isinstance(outcome, Replay) and outcome.response.body == self.answer[key]
        elif key in self.holder and self.holder[key][1] > self.now:
            assert outcome == Busy(self.holder[key][1] - self.now), "two would run at once"
        elif key in self.holder and self.dead == "unknown":
            assert outcome == Orphan()
        else:
            assert isinstance(outcome, First) and (outcome.run > 1) is (key in self.holder)
            self.holder[key] = attempt, self.now + LEASE
        assert attempt.runs is isinstance(outcome, First)
        return key, attempt

    @rule(run=consumes(running), status=st.sampled_from([200, 200, 404, 500, 409]))
    def it_answers(self, run: tuple[str, Attempt], status: int) -> None:
        key, attempt = run
        self.answers += 1
        body = b"answer %d" % self.answers
        may, mine = attempt.runs, self.is_holder(key, attempt)
        self.driver.run(attempt.complete(status, [], body))
        if may and status in (200, 404):
            # Also where nobody has the key now: another run had it meanwhile and gave it back; this one did happen.
            if mine or (key not in self.holder and key not in self.answer):
                self.answer[key] = body
                self.asked_for[key] = self.bodies[attempt]
                self.holder.pop(key, None)
        elif mine:
            self.forget(key)
        assert not attempt.settles

    @rule(run=consumes(running), how=st.sampled_from(["release", "settle"]))
    def it_fails(self, run: tuple[str, Attempt], how: str) -> None:
        key, attempt = run
        self.driver.run(getattr(attempt, how)())
        if self.is_holder(key, attempt):
            self.forget(key)

    @rule()
    def those_that_live_are_renewed(self) -> None:
        for key, (attempt, _) in list(self.holder.items()):
            asked = attempt._ask
            assert asked is not None
            assert self.driver.run(one(self.room.commands.renew(asked.name, asked.owner))) is True
            self.holder[key] = attempt, self.now + LEASE

    def is_holder(self, key: str, attempt: Attempt) -> bool:
        return key in self.holder and self.holder[key][0] is attempt

    def forget(self, key: str) -> None:
        del self.holder[key], self.asked_for[key]

    @invariant()
    def nothing_lives_for_ever(self) -> None:
        for key in self.client.scan_iter(f"{self.settings_of_test.prefix}:*", count=1000):
            assert self.client.pttl(key) > 0


@pytest.mark.hypothesis  # so that the long profile includes it
def test_one_runs_per_key_while_its_lease_lives_and_a_late_one_overwrites_nothing(redis_mw_settings: Settings) -> None:
    Workers.settings_of_test = redis_mw_settings
    run_state_machine_as_test(Workers)


# All at once


@pytest.mark.asyncio
async def test_of_a_hundred_at_once_one_is_first(attempt: Make, redis_mw_settings: Settings) -> None:
    async with AsyncDriver(redis_mw_settings, QUIET) as driver:
        attempts = [attempt() for _ in range(100)]
        _ = await asyncio.gather(*(driver.run(each.ask()) for each in attempts))
        assert Counter(type(each.outcome) for each in attempts) == {First: 1, Busy: 99}


def test_of_a_hundred_threads_one_is_first(attempt: Make, redis_mw_settings: Settings) -> None:
    with SyncDriver(redis_mw_settings, QUIET) as driver, ThreadPoolExecutor(100) as pool:
        attempts = [attempt() for _ in range(100)]
        together = threading.Barrier(100)

        def ask(each: Attempt) -> None:
            together.wait()
            driver.run(each.ask())

        _ = list(pool.map(ask, attempts))
        assert Counter(type(each.outcome) for each in attempts) == {First: 1, Busy: 99}


# Waiting


@pytest.mark.asyncio
async def test_those_who_wait_are_woken_by_the_answer_and_ask_twice_each(
    attempt: Make, redis_mw_settings: Settings
) -> None:
    async with AsyncDriver(redis_mw_settings, QUIET) as driver:
        first, waiting = attempt(), [attempt(wait=20) for _ in range(20)]
        await driver.run(first.ask())
        for each in waiting:
            await driver.run(each.ask())
            assert each.waits
        with count_round_trips() as counted:
            tasks = [asyncio.create_task(driver.run(each.wait())) for each in waiting]
            await asyncio.sleep(0.3)  # time in which whoever polls would
            assert counted.commands == ["EVALSHA"] * len(waiting)
            await driver.run(first.complete(200, [], b"done"))
            _ = await asyncio.wait_for(asyncio.gather(*tasks), 10)
        assert counted.commands == ["EVALSHA"] * (2 * len(waiting) + 1)
        assert [each.replay.body for each in waiting if each.replay is not None] == [b"done"] * len(waiting)
        assert all(each.refused is None and not each.waits for each in waiting)


def test_a_thread_that_waits_is_woken_when_the_first_fails_and_runs_itself(
    attempt: Make, redis_mw_settings: Settings
) -> None:
    with SyncDriver(redis_mw_settings, QUIET) as driver, ThreadPoolExecutor(1) as pool:
        first, second = attempt(), attempt(wait=20)
        driver.run(first.ask())
        driver.run(second.ask())
        with count_round_trips() as counted:
            waiting = pool.submit(driver.run, second.wait())
            until(lambda: bool(counted.commands), "it has asked again")
            driver.run(first.complete(500, [], b""))
            waiting.result(10)
        assert second.outcome == First() and second.runs and second.refused is None
        assert counted.awaited <= 3  # it may have asked just after the first one's end, and so only once


def test_one_that_waits_takes_over_at_the_leases_end(
    make_room: Callable[..., Room], attempt: Make, run: Callable[..., Any]
) -> None:
    room = make_room(lease=0.2)
    died, second = attempt(in_room=room), attempt(in_room=room, wait=20)
    run(died.ask())
    run(second.ask())
    assert second.waits
    with count_round_trips() as counted:
        run(second.wait())
    assert second.outcome == First(run=2)
    assert counted.total == 2


def test_a_wait_has_an_end_and_nothing_is_taken_then(attempt: Make, run: Callable[..., Any]) -> None:
    first, second = attempt(), attempt(wait=0.05)
    run(first.ask())
    run(second.ask())
    run(second.wait())
    assert isinstance(second.outcome, Busy) and second.refused is not None and not second.settles
    run(first.complete(200, [], b""))
