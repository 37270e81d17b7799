"""What each algorithm guarantees, whatever arrives when: on the ledger, with a clock of the test's own.

The scripts do what the ledger does (``test_scripts``), so these hold for them too. A window is half open, as long as
the period, and begins anywhere.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw import Limit, Strikes
from redis_mw.limits.asks import Ask
from redis_mw.limits.check import verdict_of
from redis_mw.limits.counts import window_begins, window_of
from redis_mw.limits.ledger import Ledger
from redis_mw.limits.quota import Quota, quota_of
from redis_mw.limits.stock import Stock

SECOND, MINUTE, DAY = 1_000_000, 60_000_000, 86_400_000_000
BEGIN = 1_700_000_000 * SECOND


class Passed(NamedTuple):
    """So many units were let pass at a time."""

    at: int
    units: int


def in_any_window(passed: Iterable[Passed], period_us: int) -> int:
    """The most units that any window of one period holds; each begins with one of them."""
    ordered = sorted(passed)
    return max(
        (sum(units for at, units in ordered if begin <= at < begin + period_us) for begin, _ in ordered), default=0
    )


def ask(limit: Limit, cost: int = 1) -> Ask:
    return Ask(quota_of(limit, "here"), "key", cost)


# Gaps of a burst, around the width of a sub-window (3.75 s) and of a unit, around a period, and whatever.
gaps = st.sampled_from([0, 0, 0, 1, SECOND, 3_749_999, 3_750_000, 10 * SECOND, 59_999_999, MINUTE]) | st.integers(
    0, 2 * MINUTE
)
starts = st.integers(0, 10 * MINUTE).map(lambda us: BEGIN + us)
arrivals = st.lists(st.tuples(gaps, st.integers(1, 4)), min_size=1, max_size=60)


def times(start: int, gaps: Iterable[int]) -> list[int]:
    return list(accumulate(gaps, initial=start))[1:]


@given(starts, arrivals, st.integers(1, 8))
def test_sliding_is_never_above_its_limit_in_any_window(start: int, arrivals: Any, amount: int) -> None:
    ledger, limit = Ledger(), Limit(f"{amount}/minute")
    passed = []
    for now, (_, cost) in zip(times(start, [gap for gap, _ in arrivals]), arrivals, strict=True):
        (answer,) = ledger.take([ask(limit, cost)], now)
        assert answer.status == (answer.taken == cost)
        passed += [Passed(now, cost)] if answer.status else []
    assert in_any_window(passed, MINUTE) <= amount


@given(starts, st.lists(st.tuples(gaps, st.sampled_from([None, None, -1, 0, 1, 3])), max_size=60), st.integers(1, 8))
def test_sliding_is_never_above_its_limit_although_units_are_given_back_and_charged(
    start: int, arrivals: Any, amount: int
) -> None:
    """What was given back did not count, what was charged did; what was asked later met what was known by then."""
    ledger, limit = Ledger(), Limit(f"{amount}/minute", count="failed")
    open_: list[Any] = []
    passed: dict[int, Passed] = {}
    charged: set[int] = set()
    for number, (now, (_, settles)) in enumerate(
        zip(times(start, [gap for gap, _ in arrivals]), arrivals, strict=True)
    ):
        if settles is not None and open_:
            first, taken = open_.pop(0)
            done = ledger.settle(taken, settles, now)
            if settles < 0 and done:
                del passed[first]
            elif settles > 0:
                charged.add(first)
        (answer,) = ledger.take([ask(limit)], now, f"id{number}")
        if answer.status:
            passed[number] = Passed(now, 1)
            open_.append((number, verdict_of(ask(limit), answer, f"id{number}").taken))
    assert in_any_window(passed.values(), MINUTE) <= amount


@given(starts, st.integers(1, 20), st.integers(1, 40))
def test_a_charge_counts_for_a_period_from_when_its_request_was_taken(start: int, amount: int, more: int) -> None:
    ledger, limit = Ledger(), Limit(f"{amount}/minute")
    (answer,) = ledger.take([ask(limit)], start, "id")
    taken = verdict_of(ask(limit), answer, "id").taken
    assert taken is not None and ledger.settle(taken, more, start)
    (peeked,) = ledger.take([ask(limit)], start + MINUTE - 1, peek=True)
    assert peeked.remaining == max(0, amount - 1 - more)
    (later,) = ledger.take([ask(limit)], start + MINUTE * 17 // 16, peek=True)
    assert later.remaining == amount


@pytest.mark.parametrize(("amount", "rate"), [(1, 40), (5, 4), (5, 40), (100, 1.1), (100, 4), (300, 4)])
def test_who_asks_for_more_than_sliding_allows_gets_nearly_all_of_it(amount: int, rate: float) -> None:
    ledger, limit = Ledger(), Limit(f"{amount}/minute")
    quota, passed, periods = quota_of(limit, ""), 0, 60
    gap = max(1, int(MINUTE / (amount * rate)))
    for now in range(BEGIN, BEGIN + periods * MINUTE, gap):
        passed += ledger.take([Ask(quota, "key")], now)[0].status
    assert amount * periods * 0.94 <= passed <= amount * (periods + 1)


@given(starts, arrivals, st.integers(1, 8), st.data())
def test_gcra_is_at_most_a_burst_above_its_rate_and_strict_never_above(
    start: int, arrivals: Any, amount: int, data: st.DataObject
) -> None:
    strict = amount > 1 and data.draw(st.booleans())
    burst = data.draw(st.integers(1, amount - 1 if strict else amount))
    ledger, limit = Ledger(), Limit(f"{amount}/minute", algorithm="gcra", burst=burst, strict=strict)
    passed = []
    for now, (_, cost) in zip(times(start, [gap for gap, _ in arrivals]), arrivals, strict=True):
        (answer,) = ledger.take([ask(limit, cost)], now)
        passed += [Passed(now, cost)] if answer.status else []
    assert in_any_window(passed, MINUTE) <= (amount if strict else amount + burst)
    assert in_any_window(passed, 1) <= burst


@given(starts, st.lists(st.tuples(gaps, st.booleans()), max_size=60), st.integers(1, 8), st.data())
def test_gcra_gives_back_no_more_than_what_is_still_to_arrive(
    start: int, arrivals: Any, amount: int, data: st.DataObject
) -> None:
    """Who gives back late gives back nothing of what others took meanwhile: at most one burst comes at once."""
    burst = data.draw(st.integers(1, amount))
    ledger, limit = Ledger(), Limit(f"{amount}/minute", algorithm="gcra", burst=burst, count="failed")
    open_: list[Any] = []
    passed: dict[int, Passed] = {}
    for number, (now, (_, gives_back)) in enumerate(
        zip(times(start, [gap for gap, _ in arrivals]), arrivals, strict=True)
    ):
        if gives_back and open_:
            first, taken = open_.pop(0)
            if ledger.settle(taken, -1, now):
                del passed[first]
        (answer,) = ledger.take([ask(limit)], now, f"id{number}")
        if answer.status:
            passed[number] = Passed(now, 1)
            open_.append((number, verdict_of(ask(limit), answer, f"id{number}").taken))
    assert in_any_window(passed.values(), MINUTE) <= amount + burst + 1


moments = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))
rates = st.sampled_from(["minute", "15m", "hour", "day", "2days", "week", "2weeks", "month", "3months", "year"])


def us(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@given(moments, rates)
def test_fixed_windows_are_those_of_the_calendar(at: datetime, rate: str) -> None:
    rate = "12months" if rate == "year" else rate
    quota = quota_of(Limit(f"5/{rate}", algorithm="fixed"), "")
    window = window_of(quota, us(at))
    begin, end = (
        datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=window_begins(quota, number))
        for number in (window, window + 1)
    )
    assert begin <= at < end
    midnight = (begin.hour, begin.minute, begin.second, begin.microsecond) == (0, 0, 0, 0)
    match rate:
        case "minute" | "15m" | "hour":
            minutes = {"minute": 1, "15m": 15, "hour": 60}[rate]
            assert end - begin == timedelta(minutes=minutes)
            assert begin.second == 0 and begin.minute % minutes == 0
        case "day" | "2days":
            assert midnight and (end - begin).days == (1 if rate == "day" else 2)
        case "week" | "2weeks":
            assert midnight and begin.weekday() == 0 and (end - begin).days == (7 if rate == "week" else 14)
        case _:
            months = {"month": 1, "3months": 3, "12months": 12}[rate]
            assert midnight and begin.day == 1 and (begin.month - 1) % months == 0
            assert (end.year - begin.year) * 12 + end.month - begin.month == months


@given(starts, arrivals, st.integers(1, 8), st.sampled_from(["minute", "week", "month"]))
def test_fixed_is_never_above_its_limit_in_a_window_of_the_calendar(
    start: int, arrivals: Any, amount: int, unit: str
) -> None:
    ledger, limit = Ledger(), Limit(f"{amount}/{unit}", algorithm="fixed")
    stretch = {"minute": 1, "week": 7 * 1440, "month": 30 * 1440}[unit]
    counted: dict[int, int] = {}
    for now, (_, cost) in zip(times(start, [gap * stretch for gap, _ in arrivals]), arrivals, strict=True):
        window = window_of(quota_of(limit, ""), now)
        (answer,) = ledger.take([ask(limit, cost)], now)
        before = counted.get(window, 0)
        assert answer.status == (before + cost <= amount)
        counted[window] = before + (cost if answer.status else 0)


doings = st.lists(st.tuples(gaps, st.sampled_from(["take", "take", "free", "renew"])), max_size=60)


@given(starts, doings, st.integers(1, 5))
def test_never_are_more_in_flight_than_there_are_slots(start: int, arrivals: Any, amount: int) -> None:
    ledger, limit = Ledger(), Limit(f"{amount} in flight")
    ends: dict[str, int] = {}
    for number, (now, (_, what)) in enumerate(zip(times(start, [gap for gap, _ in arrivals]), arrivals, strict=True)):
        ends = {id: end for id, end in ends.items() if end > now}
        id = next(iter(ends), "nobody")
        if what == "take":
            (answer,) = ledger.take([ask(limit)], now, f"id{number}")
            assert answer.status == (len(ends) < amount)
            if answer.status:
                ends[f"id{number}"] = now + 30 * SECOND
        elif what == "renew":
            assert ledger.renew("key", id, now) == (id in ends)
            if id in ends:
                ends[id] = now + 30 * SECOND
        else:
            verdict = verdict_of(ask(limit), ledger.take([ask(limit)], now, peek=True)[0], id)
            assert verdict.taken is None
            freed = ledger.settle(slot(limit, id), -1, now)
            assert freed == (id in ends)
            _ = ends.pop(id, None)
        assert len(ends) <= amount


def slot(limit: Limit, id: str) -> Any:
    taken = verdict_of(ask(limit), Ledger().take([ask(limit)], 0, id)[0], id).taken
    assert taken is not None
    return taken


@given(starts, st.lists(st.tuples(gaps, st.integers(0, 2), st.integers(1, 3)), max_size=80), st.integers(1, 30),
       st.integers(1, 12), st.sampled_from(["sliding", "fixed"]))  # fmt: skip
def test_processes_that_take_ahead_are_never_above_the_limit_together(
    start: int, arrivals: Any, amount: int, lease: int, algorithm: Any
) -> None:
    """Three processes, one limit: each uses what it took ahead, and gives back what it did not use in time."""
    limit = Limit(f"{amount}/minute", lease=min(lease, amount), algorithm=algorithm)
    ledger, stocks = Ledger(), [Stock() for _ in range(3)]
    passed, counted = [], {}
    for number, (now, (_, process, cost)) in enumerate(
        zip(times(start, [gap for gap, *_ in arrivals]), arrivals, strict=True)
    ):
        stock, asked, seconds = stocks[process], ask(limit, cost), now / 1e6
        found = stock.take(asked, seconds, f"id{number}")
        if found is None:
            left = stock.leftover(asked, seconds)
            if left is not None:
                taken, units = left
                _ = ledger.settle(taken, -units, now)
            (answer,) = ledger.take([asked], now, f"id{number}")
            if not answer.status:
                continue
            verdict = verdict_of(asked, answer, f"id{number}")
            assert verdict.taken is not None and verdict.taken.cost == cost
            if answer.taken > cost:
                stock.store(asked, answer, verdict, verdict.taken, seconds)
        else:
            assert found.taken is not None and (found.taken.cost, found.taken.id) == (cost, f"id{number}")
        passed.append(Passed(now, cost))
        window = window_of(quota_of(limit, ""), now) if algorithm == "fixed" else 0
        counted[window] = counted.get(window, 0) + cost
    if algorithm == "sliding":
        assert in_any_window(passed, MINUTE) <= amount
    else:
        assert all(units <= amount for units in counted.values())


@given(starts, st.sampled_from([
    Limit("5/minute", on_deny="charge"),
    Limit("5/minute", on_deny="charge", algorithm="gcra", burst=3),
    Limit("5/minute", on_deny="charge", algorithm="gcra", burst=3, strict=True),
    Limit("5/minute", on_deny="charge", algorithm="fixed"),
    Limit("5/minute"),
    Limit("5/minute", algorithm="gcra", burst=1),
    Limit("1/minute", algorithm="fixed"),
]), st.lists(st.tuples(gaps, st.integers(1, 3)), max_size=60))  # fmt: skip
def test_who_stops_hammering_gets_in_after_two_periods_at_most(start: int, limit: Limit, arrivals: Any) -> None:
    ledger, now = Ledger(), start
    for gap, cost in arrivals:
        now += gap
        _ = ledger.take([ask(limit, cost)], now)
    (answer,) = ledger.take([ask(limit)], now + 2 * MINUTE)
    assert answer.status == 1


@given(starts, st.lists(gaps, max_size=60))
def test_a_ban_is_over_after_its_cap_and_is_forgotten_after_as_long_again(start: int, arrivals: list[int]) -> None:
    strikes = Strikes(after=2, ban=60, factor=3, cap=600)
    ledger, limit, now = Ledger(), Limit("1/minute", strikes=strikes), start
    for gap in arrivals:
        now += gap
        (answer,) = ledger.take([ask(limit)], now)
        assert answer.wait_us <= 600 * SECOND
    assert ledger.take([ask(limit)], now + 600 * SECOND)[0].status == 1
    # Forgotten: the next ban is as short as the first one was.
    now += 5 * 600 * SECOND
    answers = [ledger.take([ask(limit)], now)[0] for _ in range(3)]
    assert [answer.status for answer in answers] == [1, 0, 2]
    assert answers[2].wait_us <= 64 * SECOND


def test_bans_grow_up_to_their_cap() -> None:
    limit = Limit("1/minute", strikes=Strikes(after=1, ban=100, factor=3, cap=1000))
    ledger, now, bans = Ledger(), BEGIN, []
    _ = ledger.take([ask(limit)], now)
    for _ in range(5):
        while True:
            (answer,) = ledger.take([ask(limit)], now)
            if answer.status == 2:
                break
        bans.append(answer.wait_us / SECOND)
        now += answer.wait_us
        assert ledger.take([ask(limit)], now - 1)[0].status == 2
        assert ledger.take([ask(limit)], now)[0].status == 1
    assert bans == [100, 300, 900, 1000, 1000]


def test_a_request_that_passes_ends_a_row_of_denials() -> None:
    limit = Limit("1/minute", strikes=Strikes(after=3, ban=3600, cap=3600))
    ledger, now = Ledger(), BEGIN
    for _ in range(4):
        assert [ledger.take([ask(limit)], now)[0].status for _ in range(3)] == [1, 0, 0]
        now += 2 * MINUTE


@given(starts, st.lists(st.tuples(gaps, st.lists(st.sampled_from("sgfc"), min_size=1, unique=True)), max_size=40))
def test_of_several_limits_all_are_taken_from_or_none(start: int, arrivals: Any) -> None:
    limits = {
        "s": Limit("3/minute"),
        "g": Limit("4/minute", algorithm="gcra", burst=2),
        "f": Limit("5/minute", algorithm="fixed"),
        "c": Limit("2 in flight"),
    }
    quotas: dict[str, Quota] = {kind: quota_of(limit, "") for kind, limit in limits.items()}
    together, each_alone, now = Ledger(), Ledger(), start
    for number, (gap, kinds) in enumerate(arrivals):
        now += gap
        asks = [Ask(quotas[kind], kind) for kind in kinds]
        answers = together.take(asks, now, f"id{number}")
        passed = all(answer.status for answer in answers)
        assert [answer.taken for answer in answers] == [int(passed)] * len(kinds)
        alone = [each_alone.take([ask], now, f"id{number}", peek=True)[0] for ask in asks]
        assert [answer.status for answer in alone] == [answer.status for answer in answers]
        if passed:
            for ask in asks:
                _ = each_alone.take([ask], now, f"id{number}")


def test_a_shadowed_limit_stands_in_nobodys_way() -> None:
    asks = [Ask(quota_of(Limit("1/minute", shadow=True), ""), "shadow"), Ask(quota_of(Limit("3/minute"), ""), "real")]
    ledger = Ledger()
    answers = [ledger.take(asks, BEGIN) for _ in range(4)]
    assert [[answer.status for answer in each] for each in answers] == [[1, 1], [0, 1], [0, 1], [0, 0]]


def test_a_ledger_forgets_whom_it_saw_longest_ago() -> None:
    ledger, quota = Ledger(most=3), quota_of(Limit("1/minute"), "")

    def hit(key: str) -> int:
        return ledger.take([Ask(quota, key)], BEGIN)[0].status

    assert [hit(key) for key in "abcadbad"] == [1, 1, 1, 0, 1, 1, 0, 0]


def test_what_was_given_back_once_is_not_given_back_again() -> None:
    ledger, limit = Ledger(), Limit("2/minute")
    taken = [verdict_of(ask(limit), ledger.take([ask(limit)], BEGIN, id)[0], id).taken for id in ("a", "b")]
    assert taken[0] is not None and taken[1] is not None
    assert [ledger.settle(taken[0], -1, BEGIN) for _ in range(3)] == [True, False, False]
    assert ledger.take([ask(limit)], BEGIN, peek=True)[0].remaining == 1
