"""What a process remembers for a second at most: who is denied, so that a repeat costs no trip, and empty lists."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redis_mw import Limit, RedisMW, Settings, Strikes
from redis_mw.limits import denials, direct
from redis_mw.limits.asks import Ask
from redis_mw.limits.denials import Denials
from redis_mw.limits.quota import quota_of
from redis_mw.limits.room import Room
from redis_mw.limits.tally import Tally
from redis_mw.limits.verdict import Verdict
from redis_mw.policy.caller import Caller
from redis_mw.testing import count_round_trips

LIMIT = Limit("1/hour")


@pytest.fixture
def mw(redis_mw_settings: Settings) -> Iterator[RedisMW]:
    with RedisMW(redis_mw_settings) as mw:
        yield mw


@pytest.fixture
def hit(mw: RedisMW, make_room: Callable[..., Room]) -> Callable[..., Any]:
    """``hit(*limits)``: the verdicts, and how many trips they cost; in one room with the test's clock."""
    room = make_room()

    def hit(*limits: Limit, key: str = "a", cost: int = 1, peek: bool = False) -> tuple[list[bool], int]:
        questions = [direct.question(room, limit, key).at(cost) for limit in limits]
        with count_round_trips() as trips:
            verdicts = mw.driver.run(direct.hit(room, questions, peek=peek))
        return [bool(verdict) for verdict in verdicts], trips.awaited

    hit.room = room  # type: ignore[attr-defined]
    return hit


def test_a_repeat_is_known_for_a_second(hit: Any, clock: Any) -> None:
    assert [hit(LIMIT), hit(LIMIT), hit(LIMIT)] == [([True], 1), ([False], 1), ([False], 0)]
    clock.seconds += 0.99
    assert hit(LIMIT) == ([False], 0)
    clock.seconds += 0.02
    assert [hit(LIMIT), hit(LIMIT)] == [([False], 1), ([False], 0)]


def test_it_is_known_no_longer_than_waiting_helps(hit: Any, clock: Any) -> None:
    limit = Limit("100/second", algorithm="gcra", burst=1)
    while hit(limit) != ([False], 0):
        pass
    clock.seconds += 0.011
    assert hit(limit)[1] == 1


def test_the_time_to_wait_goes_on_meanwhile(mw: RedisMW, hit: Any, clock: Any) -> None:
    _ = hit(LIMIT)
    asked = [direct.question(hit.room, LIMIT, "a")]
    (first,) = mw.driver.run(direct.hit(hit.room, asked))
    clock.seconds += 0.5
    (again,) = mw.driver.run(direct.hit(hit.room, asked))
    assert again.retry_after == pytest.approx(first.retry_after - 0.5)
    assert again.reset_after == pytest.approx(first.reset_after - 0.5)
    assert (again.allowed, again.limit, again.remaining, again.taken) == (False, 1, 0, None)


def test_another_client_and_another_cost_are_asked(hit: Any) -> None:
    limit = Limit("3/hour")
    assert [hit(limit, cost=2), hit(limit, cost=2), hit(limit, cost=2)] == [([True], 1), ([False], 1), ([False], 0)]
    assert hit(limit) == ([True], 1) and hit(limit, key="b") == ([True], 1)


def test_a_limit_with_other_numbers_is_asked(hit: Any) -> None:
    """A plan was raised: the effective limit is another one, though it counts the same."""
    rate = ["1/hour"]
    limit = Limit(lambda request: rate[0])
    assert [hit(limit), hit(limit), hit(limit)] == [([True], 1), ([False], 1), ([False], 0)]
    rate[0] = "2/hour"
    assert hit(limit) == ([True], 1)
    limit = Limit("5/hour", algorithm="gcra", burst=1, name="g")
    assert [hit(limit), hit(limit), hit(limit)] == [([True], 1), ([False], 1), ([False], 0)]


def test_a_peek_is_always_asked_and_never_remembered(hit: Any) -> None:
    _ = hit(LIMIT)
    assert [hit(LIMIT, peek=True)] * 2 == [([False], 1)] * 2
    assert not hit.room.memory.denials


def test_what_costs_nothing_to_ask_again_only_is_remembered(hit: Any) -> None:
    for limit in (
        Limit("1/hour", on_deny="charge", name="charge"),
        Limit("1 in flight"),
        Limit("1/hour", strikes=Strikes(after=9), name="strikes"),
        Limit("1/hour", shadow=True, name="shadow"),
    ):
        _ = hit(limit)
        assert [hit(limit)[1] for _ in range(3)] == [1, 1, 1], limit


def test_a_ban_is_remembered(hit: Any, clock: Any) -> None:
    limit = Limit("1/hour", strikes=Strikes(after=3, ban=600))
    assert [hit(limit)[1] for _ in range(6)] == [1, 1, 1, 1, 0, 0]
    clock.seconds += 1.5
    assert [hit(limit)[1] for _ in range(2)] == [1, 0]


def test_a_denial_saves_no_other_limit_its_charge_or_its_strike(hit: Any, mw: RedisMW) -> None:
    charged = Limit("9/hour", on_deny="charge", name="charged")
    _ = hit(LIMIT)
    assert [hit(LIMIT, charged) for _ in range(3)] == [([False, True], 1)] * 3
    (verdict,) = mw.driver.run(direct.hit(hit.room, [direct.question(hit.room, charged, "a")], peek=True))
    assert verdict.remaining == 6
    struck = Limit("1/hour", strikes=Strikes(after=3, ban=600), name="struck")
    _ = hit(struck, key="b"), hit(LIMIT, key="b")
    assert [hit(LIMIT, struck, key="b")[1] for _ in range(5)] == [1, 1, 1, 0, 0]


def test_several_limits_are_known_only_as_they_were_asked(hit: Any) -> None:
    other = Limit("9/day")
    _ = hit(LIMIT)
    assert [hit(LIMIT, other), hit(LIMIT, other), hit(other, LIMIT)] == [
        ([False, True], 1),
        ([False, True], 0),
        ([True, False], 0),
    ]
    assert hit(LIMIT, Limit("8/day"))[1] == 1 and hit(other)[1] == 1


def test_the_memory_is_bounded_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denials, "MOST", 32)
    memory, quota = Denials(), quota_of(LIMIT, "")
    verdict = Verdict(allowed=False, limit=1, name="", remaining=0, retry_after=60)
    for number in range(1000):
        memory.note([Ask(quota, f"k{number}")], [verdict], [0], 0.0)
        assert len(memory._denials) <= 32
        assert memory.find([Ask(quota, f"k{number}")], 0.5) is not None
    assert memory.find([Ask(quota, "k0")], 0.5) is None
    assert memory.find([Ask(quota, "k999")], 1.1) is None
    memory.clear()
    assert not memory


def test_it_belongs_to_the_process(hit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _ = hit(LIMIT), hit(LIMIT)
    assert hit(LIMIT)[1] == 0
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert not hit.room.memory.denials and not hit.room.memory.slots
    monkeypatch.undo()


def test_empty_lists_are_looked_into_once_a_second(hit: Any, clock: Any, mw: RedisMW) -> None:
    wide, room = Limit("1000/hour"), hit.room

    def names() -> int:
        flow = direct.hit(room, [direct.question(room, wide, "192.0.2.7")])
        (command,) = next(flow).commands
        flow.close()
        return int(command.args[3])

    assert names() == 3
    _ = hit(wide)
    assert names() == 0
    clock.seconds += 1.1
    assert names() == 3
    _ = hit(wide)
    mw.driver.run(direct.ban(room, "client", "192.0.2.9", 60))
    assert names() == 3
    _ = hit(wide)
    assert names() == 3, "there is somebody on them"


def test_a_denied_repeat_of_a_request_costs_nothing(mw: RedisMW, make_room: Callable[..., Room]) -> None:
    room = make_room()
    entries = [room.entry(LIMIT, "one"), room.entry(Limit("20/day"), "two")]

    def request() -> Tally:
        tally = Tally(room, Caller(address="192.0.2.7"))
        asks = tally.begin(entries, "GET")
        if not tally.knows(asks):
            mw.driver.run(tally.ask(asks))
        return tally

    assert request().refused is None and request().refused is not None
    with count_round_trips() as trips:
        again = request()
        assert not again.took
    assert trips.total == 0 and again.refused is not None and again.refused.status == 429
    assert [verdict.name for verdict in again.verdicts] == ["1-per-h", "20-per-d"]
