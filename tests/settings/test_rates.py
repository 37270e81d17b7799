"""How limits are written: every unit of a rate, and what is no limit, with path and remedy."""

import itertools
import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw import Limit, Limits, Rule, Settings, SettingsError, Strikes
from redis_mw.settings.rates import LONGEST_US, Rate, parse_rate

SECOND = 1_000_000
UNITS = {
    "s": 1, "sec": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hour": 3600, "hours": 3600,
    "d": 86400, "day": 86400, "days": 86400,
    "w": 604800, "week": 604800, "weeks": 604800,
    "month": 2592000, "months": 2592000,
}  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("written", ["{}/{}", "{} / {}", "{}/1{}", "{}/1 {}"])
def test_every_unit_is_known(unit: str, written: str) -> None:
    months = 1 if unit.startswith("month") else 0
    assert parse_rate(written.format(5, unit)) == Rate(5, UNITS[unit] * SECOND, months)


@given(st.integers(1, 999_999_999_999), st.integers(1, 60), st.sampled_from(sorted(UNITS)))
def test_a_rate_says_how_many_in_how_many_of_a_unit(amount: int, times: int, unit: str) -> None:
    rate = parse_rate(f"{amount}/{times}{unit}")
    months = times if unit.startswith("month") else 0
    assert rate == Rate(amount, times * UNITS[unit] * SECOND, months) and not rate.in_flight


def test_slots_are_written_in_flight() -> None:
    assert parse_rate("20 in flight") == Rate(20, 0) and parse_rate("20 in flight").in_flight


WRONG = [
    "", " ", "5", "5/", "/minute", "0/minute", "-1/minute", "+1/minute", "1.5/minute", "05/minute", "5/0m", "5/-1m",
    "5/00m", "5/fortnight", "5 per minute", "5/minute ", " 5/minute", "5/minute\n", "5//minute", "5  /minute", "5/M",
    "5/MINUTE", "5/ms", "5/y", "5/year", "1000000000000/s", "5/1000000s", "5/99999d", "\u0665/minute", "5/1827d1",
    "0 in flight", "-1 in flight", "20 in  flight", "20 In Flight", "in flight", "1e3/s", "5/1h30m", "5\x00/s",
    "5/62months", "calls:x",
]  # fmt: skip


@pytest.mark.parametrize("text", WRONG, ids=ascii)
def test_a_text_that_no_limit_could_mean_is_an_error_that_names_the_rule(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a rate|more than five years"):
        parse_rate(text)
    with pytest.raises(SettingsError) as caught:
        Settings(rules=[Rule("/ok"), Rule("/login", limits=["5/minute", text])])
    (problem,) = caught.value.problems
    assert problem.path == "rules[1].limits[1]" and '"5/minute"' in problem.remedy


@given(st.text() | st.text("0123456789/ smhdwinflghtoueycal:"))
def test_any_text_is_a_rate_within_bounds_or_an_error(text: str) -> None:
    try:
        rate = parse_rate(text)
    except ValueError:
        assert not re.fullmatch(r"[1-9]\d{0,5}/(s|m|h|d|w)", text, re.ASCII)
        return
    assert 1 <= rate.amount < 10**12 and 0 <= rate.period_us <= LONGEST_US
    assert rate.in_flight == text.endswith("in flight")


CONTRADICTIONS: dict[str, tuple[Limit, str]] = {
    "nothing to count by": (Limit("5/m", by=[]), "by"),
    "strict without gcra": (Limit("5/m", strict=True), "strict"),
    "gcra without a burst": (Limit("5/m", algorithm="gcra"), "burst"),
    "a burst without gcra": (Limit("5/m", burst=2), "burst"),
    "a burst above the rate": (Limit("5/m", algorithm="gcra", burst=6), "burst"),
    "strict, and all of it a burst": (Limit("5/m", algorithm="gcra", burst=5, strict=True), "burst"),
    "a cost above the limit": (Limit("5/m", cost=6), "cost"),
    "a cost above the burst": (Limit("5/m", algorithm="gcra", burst=2, cost=3), "cost"),
    "no cost": (Limit("5/m", cost=0), "cost"),
    "ahead of a callable rate that fails": (Limit("5/m", lease=2, count="failed"), "lease"),
    "ahead of gcra": (Limit("5/m", algorithm="gcra", burst=2, lease=2), "lease"),
    "ahead and struck": (Limit("5/m", lease=2, strikes=Strikes()), "lease"),
    "ahead of more than all": (Limit("5/m", lease=6), "lease"),
    "faster than the clock": (Limit("2000000/s", algorithm="gcra", burst=1), "rate"),
    "concurrency by a rate": (Limit("5/m", algorithm="concurrency"), "rate"),
    "slots by gcra": (Limit("5 in flight", algorithm="gcra", burst=1), "algorithm"),
    "slots by windows": (Limit("5 in flight", algorithm="fixed"), "algorithm"),
    "slots that cost": (Limit("5 in flight", cost=2), "cost"),
    "slots of what failed": (Limit("5 in flight", count="failed"), "count"),
    "slots that are charged": (Limit("5 in flight", on_deny="charge"), "on_deny"),
    "slots and strikes": (Limit("5 in flight", strikes=Strikes()), "strikes"),
    "slots ahead": (Limit("5 in flight", lease=2), "lease"),
    "a ban above its cap": (Limit("5/m", strikes=Strikes(ban=60, cap=timedelta(seconds=59))), "strikes.ban"),
    "a status that is none": (Limit("5/m", status=200), "status"),
    "a name that no field can carry": (Limit("5/m", name='a"b'), "name"),
    "a method that never matches": (Limit("5/m", methods=["post"]), "methods[0]"),
    "a policy that is none": (Limit("5/m", on_outage="shut"), "on_outage"),  # type: ignore[arg-type]
    "what counts is unknown": (Limit("5/m", count="fail"), "count"),
}


@pytest.mark.parametrize(("limit", "field"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_what_contradicts_itself_is_named_with_a_remedy(limit: Limit, field: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(limits=Limits(default=["9/m", limit]), rules=[Rule("/x", limits=[limit])])
    paths = [problem.path for problem in caught.value.problems]
    assert f"limits.default[1].{field}" in paths and f"rules[0].limits[0].{field}" in paths
    assert all(problem.remedy for problem in caught.value.problems)


@pytest.mark.parametrize(
    "limit",
    [
        Limit("5/m", cost=5),
        Limit("5/m", algorithm="gcra", burst=5),
        Limit("5/m", algorithm="gcra", burst=4, strict=True, cost=4),
        Limit("1000000/s", algorithm="gcra", burst=1),
        Limit("5/m", lease=5),
        Limit("5 in flight", algorithm="concurrency", status=503),
        Limit(lambda request: None, cost=99, algorithm="gcra", burst=7),
        Limit("call:json.dumps", by=["user", "call:json.dumps"], cost="call:json.dumps", count="call:json.dumps"),
        Limit("5/m", on_deny="charge", on_outage="closed", count="failed", shadow=True, strikes=Strikes()),
    ],
    ids=itertools.count(),
)
def test_what_makes_sense_together_is_no_error(limit: Limit) -> None:
    assert limit.checked("here").rate == limit.rate


def test_names_of_limits_can_stand_in_a_field() -> None:
    assert Settings(limits=Limits(named={"log-in.1": "5/m"})).limits is not None
    for name in ('a"b', "a b", "", "a\r\nb", "ü"):
        with pytest.raises(SettingsError) as caught:
            Settings(limits=Limits(named={name: "5/m"}))
        assert [problem.path for problem in caught.value.problems] == [f"limits.named.{name}"]


@given(st.dictionaries(st.sampled_from([*Limit.__struct_fields__]), st.none() | st.text(max_size=5) | st.integers(-5, 5)
                       | st.booleans() | st.lists(st.text(max_size=3), max_size=2)))  # fmt: skip
def test_whatever_is_written_is_a_limit_or_a_list_of_problems(given_: dict[str, Any]) -> None:
    problems: tuple[Any, ...] = ()
    try:
        limit = Limit(**{"rate": "5/minute", **given_}).checked("here")
    except SettingsError as error:
        problems = error.problems
    else:
        assert limit.fixed_rate is not None or str(limit.rate).startswith("call:")
    assert all(problem.path.startswith("here") and problem.remedy for problem in problems)
