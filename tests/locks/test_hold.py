"""What is known of a hold: when it is over, and that its loss is told once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from redis_mw import Locks
from redis_mw.locks.ask import Ask, wanted
from redis_mw.locks.hold import Hold


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def hold_until(clock: Clock, ends: float, until: float = 1000.0) -> Hold:
    return Hold(Ask(wanted("p", Locks(), ["a"]), "x1.1"), 7, ends, until, clock)


def test_a_loss_is_told_once_by_whoever_notices_it_first(clock: Clock) -> None:
    hold = hold_until(clock, 110)
    told: list[Any] = []
    hold.on_lost = lambda: told.append(hold.lost)
    assert [hold.lose("taken"), hold.lose("silence")] == [True, False]
    assert told == ["taken"] and hold.over and hold.cause == "taken"


def test_many_who_notice_at_once_tell_it_once(clock: Clock) -> None:
    hold = hold_until(clock, 110)
    told: list[int] = []
    hold.on_lost = lambda: told.append(1)
    start = Barrier(8)

    def notice(_: int) -> bool:
        start.wait()
        return hold.lose("taken")

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(notice, range(8))) == 1
    assert told == [1]


def test_what_was_given_back_cannot_be_lost(clock: Clock) -> None:
    hold = hold_until(clock, 110)
    hold.on_lost = lambda: pytest.fail("told")
    hold.close()
    clock.now = 200
    assert not hold.lose("silence") and not hold.over and hold.lost is None


def test_time_alone_makes_it_over(clock: Clock) -> None:
    hold = hold_until(clock, 110)
    clock.now = 109.9
    assert not hold.over
    clock.now = 110
    assert hold.over and hold.cause == "silence"
    hold.lasts(120)
    assert not hold.over


def test_one_that_was_held_as_long_as_it_may_is_over_for_that(clock: Clock) -> None:
    hold = hold_until(clock, 110, until=110)
    clock.now = 111
    assert hold.cause == "max_hold"


def test_whoever_is_told_may_look_at_it(clock: Clock) -> None:
    hold = hold_until(clock, 110)
    hold.on_lost = lambda: hold.lose("silence")
    assert hold.lose("taken")
    assert hold.lost == "taken"
