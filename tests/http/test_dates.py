"""HTTP-dates: the three formats of RFC 9110 section 5.6.7, and that nothing else is one."""

from calendar import timegm
from email.utils import formatdate
from time import asctime, gmtime, strftime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.http.dates import format_date, parse_date

THEN = 784111777
NOW = timegm((2026, 11, 20, 0, 0, 0))
anything = st.text(st.characters(exclude_categories=()), max_size=40)


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun Nov 06 08:49:37 1994",
        " Sun, 06 Nov 1994 08:49:37 GMT\t",
        "sun, 06 nov 1994 08:49:37 gmt",  # RFC 9111 section 4.2: caches compare without case
        "Mon, 06 Nov 1994 08:49:37 GMT",  # the wrong day of the week
    ],
)
def test_the_three_formats_name_the_same_time(text: str) -> None:
    assert parse_date(text, NOW) == THEN


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "-1", "now", "784111777", "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994", "06 Nov 1994 08:49:37 GMT"),
        *("Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06 Nov 1994 08:49:37 +0000", "Sun, 06 Nov 1994 08:49:37 EST"),
        *("Sun, 6 Nov 1994 08:49:37 GMT", "Sun,  06 Nov 1994 08:49:37 GMT", "Sun 06 Nov 1994 08:49:37 GMT"),
        *("Sun, 06 Nov 94 08:49:37 GMT", "Sun, 06-Nov-1994 08:49:37 GMT", "Sun, 06 Nov 1994 8:49:37 GMT"),
        *("Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:37 GMT"),
        *("Sun, 06 Nov 0000 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT\n"),
        *("Sun, \u0660\u0666 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT"),
        *("Xyz, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nox 1994 08:49:37 GMT", "Sun Nov 6 08:49:37 1994"),
    ],
)
def test_anything_else_is_no_date(text: str) -> None:
    assert parse_date(text, NOW) is None


def test_a_leap_second_is_the_one_before_it() -> None:
    assert parse_date("Sat, 31 Dec 2016 23:59:60 GMT", NOW) == timegm((2016, 12, 31, 23, 59, 59))


@pytest.mark.parametrize(("year", "full"), [("26", 2026), ("76", 2076), ("77", 1977), ("99", 1999), ("00", 2000)])
def test_two_digits_are_at_most_fifty_years_ahead(year: str, full: int) -> None:
    assert parse_date(f"Monday, 01-Jan-{year} 00:00:00 GMT", NOW) == timegm((full, 1, 1, 0, 0, 0))


def test_two_digits_may_belong_to_the_next_century() -> None:
    assert parse_date("Monday, 01-Jan-10 00:00:00 GMT", timegm((2090, 1, 1, 0, 0, 0))) == timegm((2110, 1, 1, 0, 0, 0))


@given(st.integers(0, 4 * 10**9))
def test_what_is_written_is_read_in_each_format(seconds: int) -> None:
    assert format_date(seconds) == formatdate(seconds, usegmt=True)
    assert parse_date(format_date(seconds), NOW) == seconds
    assert parse_date(asctime(gmtime(seconds)), NOW) == seconds
    near = strftime("%A, %d-%b-%y %H:%M:%S GMT", gmtime(seconds))
    if abs(seconds - NOW) < 49 * 365 * 86400:
        assert parse_date(near, NOW) == seconds


@given(anything | st.from_regex(r"\A(\w{3}, )?\d{2} \w{3} \d{4} \d\d:\d\d:\d\d GMT\Z"), st.integers(0, 2**33))
def test_no_text_is_an_exception(text: str, now: int) -> None:
    assert parse_date(text, now) is None or isinstance(parse_date(text, now), int)
