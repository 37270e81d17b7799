"""What a process holds: slots that it renews while their requests run, and units that it took ahead."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redis_mw import Limit, RedisMW, Settings
from redis_mw.errors import RedisUnavailable
from redis_mw.flows import Batch, Wait
from redis_mw.limits import direct, slots
from redis_mw.limits.asks import Answer, Ask, Taken
from redis_mw.limits.commands import Commands
from redis_mw.limits.quota import SLOT_US, quota_of
from redis_mw.limits.room import Room
from redis_mw.limits.slots import Slots
from redis_mw.limits.stock import Stock
from redis_mw.limits.verdict import Verdict

IN_FLIGHT = quota_of(Limit("3 in flight"), "")


def slot(id: str) -> Taken:
    return Taken(Ask(IN_FLIGHT, "key"), 0, 1, id)


@pytest.fixture
def held() -> Slots:
    held = Slots()
    for id in "abc":
        held.hold(slot(id))
    return held


def test_slots_are_renewed_three_times_a_lease_until_none_is_held(held: Slots) -> None:
    flow = held.renewing(Commands("p", 1).renew)
    assert next(flow) == Wait((), SLOT_US / 3e6)
    batch = flow.send(None)
    assert isinstance(batch, Batch) and {"a", "b", "c"} <= set(batch.commands[0].args)
    assert isinstance(flow.send([[1, 1, 1]]), Wait)
    for id in "abc":
        held.drop(slot(id))
        held.drop(slot(id))
    with pytest.raises(StopIteration):
        flow.send(None)
    with pytest.raises(StopIteration):
        next(held.renewing(Commands("p", 1).renew))


def test_a_slot_that_had_run_out_is_not_renewed_again_and_an_outage_loses_none(held: Slots) -> None:
    flow = held.renewing(Commands("p", 1).renew)
    _ = next(flow), flow.send(None), flow.send([[1, 0, 1]])
    batch = flow.send(None)
    assert isinstance(batch, Batch) and "b" not in batch.commands[0].args
    assert isinstance(flow.send([RedisUnavailable("away")]), Wait)
    batch = flow.send(None)
    assert isinstance(batch, Batch) and {"a", "c"} <= set(batch.commands[0].args)


def test_many_slots_are_renewed_in_several_commands(held: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "AT_ONCE", 2)
    flow = held.renewing(Commands("p", 1).renew)
    _ = next(flow)
    first = flow.send(None)
    second = flow.send([[1, 1]])
    assert isinstance(first, Batch) and isinstance(second, Batch)
    assert [len(each.commands[0].keys) for each in (first, second)] == [2, 1]


AHEAD = quota_of(Limit("20/minute", lease=5), "")


def stocked(mark: int = 7, cost: int = 1, ahead: int = 5) -> tuple[Stock, Ask]:
    stock, ask = Stock(), Ask(AHEAD, "key", cost)
    store(stock, ask, mark, ahead)
    return stock, ask


def store(stock: Stock, ask: Ask, mark: int, ahead: int = 5, at: float = 0.0) -> None:
    answer = Answer(1, 9, 17 * AHEAD.unit_us, 0, mark, ahead)
    taken = Taken(ask, mark, ask.cost, "first")
    verdict = Verdict(allowed=True, limit=20, name="x", remaining=9, taken=taken)
    stock.store(ask, answer, verdict, taken, at)


def test_what_was_taken_ahead_is_good_for_its_sub_window() -> None:
    stock, ask = stocked()
    assert [stock.take(ask, 3.7, id) is not None for id in "abcde"] == [True] * 4 + [False]
    stock, ask = stocked()
    assert stock.take(ask, 3.75, "a") is None
    assert stock.leftover(ask, 3.7) is None
    found = stock.leftover(ask, 3.75)
    assert found is not None and (found[0].mark, found[1]) == (7, 4)
    assert stock.leftover(ask, 3.75) is None and stock.take(ask, 3.0, "a") is None


def test_each_request_takes_what_it_costs_under_its_own_id() -> None:
    stock, ask = stocked()
    dear = Ask(AHEAD, "key", 3)
    verdict = stock.take(dear, 1.0, "mine")
    assert verdict is not None and verdict.taken is not None
    assert (verdict.taken.ask, verdict.taken.cost, verdict.taken.id, verdict.taken.mark) == (dear, 3, "mine", 7)
    assert stock.take(dear, 1.0, "other") is None and stock.take(ask, 1.0, "other") is not None


def test_what_is_put_back_stays_with_its_window() -> None:
    stock, ask = stocked()
    verdict = stock.take(ask, 1.0, "a")
    assert verdict is not None
    stock.put_back(ask, verdict)
    store(stock, ask, 8, at=4.0)
    stock.put_back(ask, verdict)
    assert sum(stock.take(ask, 4.1, "b") is not None for _ in range(9)) == 4


@pytest.fixture
def mw(redis_mw_settings: Settings) -> Iterator[RedisMW]:
    with RedisMW(redis_mw_settings) as mw:
        yield mw


def test_a_request_that_another_limit_denies_leaves_the_stock_as_it_was(
    mw: RedisMW, make_room: Callable[..., Room]
) -> None:
    room = make_room()
    ahead, narrow = Limit("10/day", algorithm="fixed", lease=5), Limit("1/hour")

    def hit(*limits: Limit) -> list[Verdict]:
        room.forget_denials()
        found: Any = mw.driver.run(direct.hit(room, [direct.question(room, limit, "192.0.2.7") for limit in limits]))
        return list(found)

    assert all(hit(ahead, narrow))
    for _ in range(5):
        passed, denied = hit(ahead, narrow)
        assert passed and not denied and passed.taken is None
    mw.driver.run(direct.allow(room, "client", "192.0.2.7"))
    assert all(verdict.taken is None for verdict in hit(ahead, narrow))
    mw.driver.run(direct.delist(room, "a", "client", "192.0.2.7"))
    assert sum(bool(hit(ahead)[0]) for _ in range(20)) == 9
