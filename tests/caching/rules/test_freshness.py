"""Lifetimes, ages and windows (RFC 9111 section 4.2, RFC 5861), what rules add to them, and early refreshes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.caching.rules.directives import response_directives
from redis_mw.caching.rules.freshness import (
    SECOND,
    Freshness,
    explicit_lifetime,
    freshness,
    initial_age_us,
    is_early,
)
from redis_mw.caching.rules.terms import Terms, jittered
from redis_mw.http.dates import format_date
from redis_mw.http.request import Fields

NOW = 1_800_000_000
NOW_US = NOW * SECOND


def at(offset: int) -> str:
    return format_date(NOW + offset)


def fields(*pairs: tuple[str, str]) -> Fields:
    return Fields(pairs)


def cc(*lines: str) -> Fields:
    return Fields(tuple(("Cache-Control", line) for line in lines))


def fresh(headers: Fields, terms: Terms | None = None, *, status: int = 200, u: float = 0.0) -> Freshness | None:
    said = response_directives(headers)
    return freshness(status, headers, said, asked_us=NOW_US, received_us=NOW_US, terms=terms, u=u)


def left(found: Freshness | None) -> tuple[float, float, float] | None:
    """Seconds of lifetime, of stale-while-revalidate and of stale-if-error."""
    if found is None:
        return None
    return (
        (found.fresh_until_us - NOW_US) / SECOND,
        (found.stale_until_us - found.fresh_until_us) / SECOND,
        (found.error_until_us - found.fresh_until_us) / SECOND,
    )


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (cc("max-age=60"), 60),
        (cc("max-age=60, s-maxage=10"), 10),
        (cc("s-maxage=100, max-age=60"), 100),
        (cc("s-maxage=x, max-age=60"), 0),
        (fields(("Expires", at(60)), ("Date", at(0))), 60),
        (fields(("Expires", at(60)), ("Date", at(50))), 10),
        (fields(("Expires", at(60))), 60),  # RFC 9110 section 6.6.1: no Date, when it came
        (fields(("Expires", at(60)), ("Date", "yesterday")), 60),
        (fields(("Expires", at(1060)), ("Date", at(1000))), 60),  # a clock that is fast in both
        (fields(("Expires", at(-60)), ("Date", at(0))), 0),
        *[(fields(("Expires", junk), ("Date", at(0))), 0) for junk in ("0", "-1", "", "never", "3600", at(60) + "x")],
        (fields(("Expires", at(60)), ("Expires", at(30))), 30),  # section 4.2.1
        (fields(("Expires", at(60)), ("Expires", "0")), 0),
        (fields(("Expires", at(60)), ("Cache-Control", "max-age=5")), 5),
        (fields(("Expires", "0"), ("Cache-Control", "max-age=5")), 5),
        (fields(("Expires", at(60)), ("CDN-Cache-Control", "none")), None),  # RFC 9213 section 2.2
        (fields(("Expires", "0"), ("CDN-Cache-Control", "max-age=5")), 5),
        (fields(), None),
        (cc("public"), None),
        (fields(("Last-Modified", at(-1000))), None),  # no heuristic of our own
    ],
)
def test_a_lifetime_is_what_the_response_says(headers: Fields, seconds: int | None) -> None:
    """RFC 9111 section 4.2.1."""
    assert explicit_lifetime(headers, response_directives(headers), received=NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "delay", "age"),
    [
        (fields(), 0, 0),
        (fields(), 0.25, 0.25),
        (fields(("Date", at(-5))), 0, 5),
        (fields(("Date", at(500))), 0, 0),
        (fields(("Date", "x")), 0, 0),
        (fields(("Age", "30")), 0.25, 30.25),
        (fields(("Age", "30"), ("Date", at(-100))), 0, 100),
        (fields(("Age", "30"), ("Date", at(-5))), 1, 31),
        (fields(("Age", "30, 50")), 0, 30),  # section 5.1: the first
        (fields(("Age", "30"), ("Age", "50")), 0, 30),
        *[(fields(("Age", junk)), 0, 0) for junk in ("-30", "x", "", "30.0", "30s", "x, 30")],
        (fields(("Age", "9" * 5000)), 0, 2**31),
        (fields(), -3, 0),  # a clock that went back
    ],
)
def test_the_age_of_what_came_is_that_of_section_4_2_3(headers: Fields, delay: float, age: float) -> None:
    asked_us = NOW_US - int(delay * SECOND)
    assert initial_age_us(headers, asked_us=asked_us, received_us=NOW_US) == age * SECOND


def test_a_date_in_this_very_second_is_no_age() -> None:
    """Or each response of an application that writes a Date would be up to a second old when it is made."""
    received_us = NOW_US + 999_999
    assert initial_age_us(fields(("Date", at(0))), asked_us=received_us, received_us=received_us) == 0


def test_age_goes_on_where_it_was_received() -> None:
    found = fresh(fields(("Age", "30"), ("Cache-Control", "max-age=60")))
    assert found is not None and left(found) == (30, 0, 0)
    assert found.age_at(NOW_US + 10 * SECOND) == 40 * SECOND and found.age_at(NOW_US - SECOND) == 30 * SECOND
    assert found.is_fresh(NOW_US + 30 * SECOND - 1) and not found.is_fresh(NOW_US + 30 * SECOND)
    assert found.seconds_left(NOW_US + 29_500_000) == 0 and found.seconds_left(NOW_US + 31 * SECOND) == -1


GIVEN = Terms(ttl_us=60 * SECOND, stale_us=20 * SECOND, error_us=90 * SECOND, negative_us={404: 10 * SECOND})


@pytest.mark.parametrize(
    ("line", "terms", "expected"),
    [
        ("max-age=60", None, (60, 0, 0)),
        ("max-age=60, stale-while-revalidate=30, stale-if-error=90", None, (60, 30, 90)),
        ("max-age=60, stale-while-revalidate=x", GIVEN, (60, 0, 90)),
        ("max-age=5", GIVEN, (5, 20, 90)),
        ("max-age=5, stale-while-revalidate=0", GIVEN, (5, 0, 90)),
        # RFC 9111 section 4.2.4: what forbids stale
        ("max-age=60, must-revalidate, stale-while-revalidate=30, stale-if-error=9", GIVEN, (60, 0, 0)),
        ("max-age=60, proxy-revalidate", GIVEN, (60, 0, 0)),
        ("no-cache, max-age=60, stale-if-error=9", GIVEN, (0, 0, 0)),
        ('no-cache="x", max-age=60', GIVEN, (0, 0, 0)),
        ("s-maxage=60", GIVEN, (60, 0, 0)),
        ("s-maxage=60, stale-if-error=9", GIVEN, (60, 0, 0)),
        ("s-maxage=60, stale-while-revalidate=x", GIVEN, (60, 0, 0)),
        ("s-maxage=60, stale-while-revalidate=30", None, (60, 30, 0)),
        ("s-maxage=60, stale-while-revalidate=30, stale-if-error=9", GIVEN, (60, 30, 9)),
        # what says nothing of its lifetime gets the rule's, or none
        ("", GIVEN, (60, 20, 90)),
        ("stale-while-revalidate=5", GIVEN, (60, 5, 90)),
        ("must-revalidate", GIVEN, (60, 0, 0)),
        ("", None, None),
        ("public", None, None),
    ],
)
def test_windows_follow_the_lifetime(line: str, terms: Terms | None, expected: tuple[int, int, int] | None) -> None:
    assert left(fresh(cc(line) if line else Fields(), terms)) == expected


@pytest.mark.parametrize(
    ("status", "line", "public", "seconds"),
    [
        *[(status, "", False, 60) for status in (200, 203, 204, 300, 301, 308)],
        *[(status, "", False, None) for status in (201, 302, 303, 307, 299)],  # RFC 9111 section 4.2.2
        *[(status, "public", False, 60) for status in (200, 302, 299)],
        *[(status, "", True, 60) for status in (200, 302, 299)],
        (404, "", False, 10),
        *[(status, "public", True, None) for status in (400, 401, 403, 405, 410, 429, 500, 501, 503)],
        *[(status, "max-age=7", False, 7) for status in (404, 500, 599, 299)],
    ],
)
def test_the_rule_gives_each_status_its_lifetime(status: int, line: str, public: bool, seconds: int | None) -> None:
    terms = Terms(ttl_us=60 * SECOND, negative_us={404: 10 * SECOND}, public=public)
    found = left(fresh(cc(line) if line else Fields(), terms, status=status))
    assert (found[0] if found else None) == seconds


def test_what_the_rule_gives_counts_from_when_the_response_came() -> None:
    """Or what takes longer to make than it may be kept would never be fresh; its age is told truly, all the same."""
    found = freshness(
        200, Fields(), response_directives(Fields()), asked_us=NOW_US - 90 * SECOND, received_us=NOW_US, terms=GIVEN
    )
    assert found is not None and found.is_fresh(NOW_US + 59 * SECOND) and found.age_at(NOW_US) == 90 * SECOND


def test_jitter_shortens_what_we_chose_and_nothing_else() -> None:
    terms = Terms(ttl_us=60 * SECOND, stale_us=20 * SECOND, error_us=SECOND, jitter=0.1)
    assert left(fresh(Fields(), terms, u=0.5)) == (57, 19, 1)
    assert left(fresh(cc("max-age=60, stale-while-revalidate=20"), terms, u=0.5)) == (60, 20, 1)


@given(st.integers(0, 10**15), st.floats(0, 1), st.floats(0, 1, exclude_max=True))
def test_jitter_only_ever_shortens(lifetime_us: int, jitter: float, u: float) -> None:
    found = jittered(lifetime_us, jitter, u)
    assert lifetime_us * (1 - jitter) - 1 <= found <= lifetime_us
    assert lifetime_us >= 2 * SECOND or found == lifetime_us


HUNDRED = Freshness(
    received_us=NOW_US,
    fresh_until_us=NOW_US + 100 * SECOND,
    stale_until_us=NOW_US + 100 * SECOND,
    error_until_us=NOW_US + 100 * SECOND,
)


@pytest.mark.parametrize(
    ("after", "cost", "u", "early"),
    [
        (99, 1, 0.3, True),
        (99, 1, 0.4, False),  # -ln(0.4) is 0.92
        (90, 1, math.exp(-10), True),
        (90, 1, math.exp(-9.9), False),
        (80, 100, 0.5, True),
        (79.9, 100, 1e-300, False),  # before the last fifth, whatever it costs
        (99.999999, 1, 1.0, False),
        (100, 1, 1e-300, False),  # stale is not early
    ],
)
def test_a_refresh_is_early_the_likelier_the_nearer_the_end(after: float, cost: int, u: float, early: bool) -> None:
    now_us = NOW_US + round(after * SECOND)
    assert is_early(HUNDRED, now_us, cost_us=cost * SECOND, beta=1.0, u=u) is early


anything = st.text(st.characters(exclude_categories=()), max_size=30) | st.sampled_from(
    ["0", "60", at(60), at(-60), "max-age=60", "s-maxage=1", "no-cache", "stale-while-revalidate=9", "public"]
)
names = st.sampled_from(["Cache-Control", "CDN-Cache-Control", "Expires", "Date", "Age", "Last-Modified"])


@given(st.lists(st.tuples(names, anything), max_size=6).map(tuple), st.integers(100, 700), st.integers(0, 10**10))
def test_no_text_is_an_exception(pairs: tuple[tuple[str, str], ...], status: int, delay_us: int) -> None:
    headers = Fields(pairs)
    found = freshness(
        status,
        headers,
        response_directives(headers),
        asked_us=NOW_US - delay_us,
        received_us=NOW_US,
        terms=GIVEN,
        u=0.9,
    )
    if found is not None:
        assert found.fresh_until_us <= min(found.stale_until_us, found.error_until_us) and found.age_us >= 0
        assert not found.strict or found.stale_until_us == found.error_until_us == found.fresh_until_us
