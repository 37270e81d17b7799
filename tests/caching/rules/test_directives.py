"""Cache-Control, Pragma and the targeted field: what is read out of them, however they are written."""

import http_sf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redis_mw.caching.rules.directives import (
    LONGEST,
    NONE,
    Directives,
    delta_seconds,
    parse_directives,
    request_directives,
    response_directives,
)
from redis_mw.http.lists import TOKEN
from redis_mw.http.request import Fields

anything = st.text(st.characters(exclude_categories=()), max_size=80)
near = st.text('max-ge=0123 ,;"\\privt\t\x00ä', max_size=80)
known = st.sampled_from(
    ["max-age", "s-maxage", "private", "no-store", "no-cache", "public", "must-revalidate", "x", "MAX-AGE", "Private"]
)
values = st.sampled_from(["", "=60", '="60"', "=", "=-1", "=1.5", '="', '="a, no-store"', " =60", "= 60", "=;", "='6'"])
written = st.lists(st.builds("".join, st.tuples(known, values)), max_size=5).map(", ".join)


def said(*lines: str) -> Directives:
    return parse_directives(lines)


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (["max-age=60"], 60),
        (["MAX-age=60"], 60),
        (['max-age="60"'], 60),  # section 5.2: either form ought to be accepted
        (["max-age=0060"], 60),
        (["public, max-age=60"], 60),
        (["public", "max-age=60"], 60),
        (["public ,, max-age=60 ,"], 60),
        (['x="max-age=1", max-age=60'], 60),
        (['x="a\\", max-age=1", max-age=60'], 60),
        (["max-age=60, max-age=30"], 30),  # section 4.2.1
        (["max-age=60", "max-age=30"], 30),
        (["max-age=60, max-age=x"], 0),
        (["max-age=99999999999999999999"], LONGEST),  # section 1.2.2
        (["max-age=" + "9" * 10_000], LONGEST),
        (["max-age=2147483649"], LONGEST),
        (["max-age=2147483648"], 2147483648),
        *[([f"max-age{junk}"], 0) for junk in ("", "=", "=x", "=-1", "=1.0", "=1e3", "=+1", '=""', "='60'", "=60s")],
        *[
            ([f"max-age{junk}"], 0)
            for junk in (" =60", "= 60", "=60 s", '="60', "=60;x", "=\u0666\u0660", "\x00=60", "=6\x000")
        ],
        (["public"], None),
        ([], None),
        (["x-max-age=60"], None),
    ],
)
def test_seconds_are_digits_or_none_at_all(lines: list[str], seconds: int | None) -> None:
    """RFC 9111 section 4.2.1: invalid freshness is stale, of several the most restrictive counts."""
    assert said(*lines).seconds("max-age") == seconds


@pytest.mark.parametrize(
    "line",
    [
        *("private", "PRIVATE", "Private, public", "max-age=60,private", 'private="set-cookie"', "private=set-cookie"),
        *("max-age=60; private", "private;max-age=60", 'private="', "private=", "private =x", "x\x00, private\x00"),
        *('x="a, private', '"private"', "public private", '\tprivate="a, b", max-age=3'),
    ],
)
def test_private_counts_in_any_spelling(line: str) -> None:
    """RFC 9111 section 5.2.2.7: with field names, too, a cache may take it for the whole response."""
    assert "private" in said(line) and "private" in said("public, max-age=60", line)


@pytest.mark.parametrize("line", ["", "x-private", "privately", 'x="private"', "pri, vate", 'x="\\", private"'])
def test_what_only_looks_like_private_is_not(line: str) -> None:
    assert "private" not in said(line)


def test_a_quote_that_is_never_closed_hides_no_other_line() -> None:
    assert "no-store" in said('x="', 'no-store, y="') and "no-store" in said('x="a, no-store')


@pytest.mark.parametrize(
    "line", ["public=1", "public;", "public, public=x", 'public=""', "max-age=1 public", "x;public"]
)
def test_what_allows_counts_only_where_it_is_well_formed(line: str) -> None:
    assert not said(line).allows("public") and "public" in said(line)


def test_what_allows_may_be_repeated_but_not_be_missing() -> None:
    assert said("Public, public").allows("public") and not NONE.allows("public") and not said("x").allows("public")


def test_extensions_are_kept() -> None:
    """RFC 9111 section 5.2.3."""
    assert said('community="UCI", x').arguments == {"community": ("UCI",), "x": (None,)}


def test_pragma_counts_in_requests_without_cache_control() -> None:
    """RFC 9111 section 5.4."""
    assert "no-cache" in request_directives(Fields((("Pragma", "No-Cache"),)))
    assert "no-cache" not in request_directives(Fields((("Pragma", "no-cache"), ("Cache-Control", "max-age=5"))))
    assert request_directives(Fields((("Pragma", "x"),))) == NONE == request_directives(Fields())
    assert "no-cache" not in response_directives(Fields((("Pragma", "no-cache"),)))


@pytest.mark.parametrize(
    ("targeted", "seconds"),
    [
        (["max-age=60"], 60),
        (["max-age=60;x=y, foo=(a b)"], 60),
        (["max-age=60, max-age=30"], 30),  # a Dictionary's last (RFC 9651 section 4.2.2)
        (["max-age=30, max-age=60"], 60),
        (["foo", "max-age=60"], 60),
        (["max-age=99999999999"], LONGEST),
        (['max-age="60"'], 0),  # section 2.1: only an Integer is a number of seconds
        (["max-age=60.0"], 0),
        (["max-age=-60"], 0),
        (["max-age"], 0),
        (["max-age=?0"], 0),
        (["none"], None),
        # What is not there, empty, or no Dictionary is ignored: Cache-Control counts.
        ([], 5),
        ([""], 5),
        (["max-age =60"], 5),
        (["MAX-AGE=60"], 5),
        (["max-age=60, &"], 5),
        (["max-age=60,"], 5),
        (["max-age=60; no-store"], 60),  # a parameter, which is ignored
        (["ä"], 5),
        (["\ud800"], 5),
    ],
)
def test_a_valid_targeted_field_replaces_cache_control(targeted: list[str], seconds: int | None) -> None:
    """RFC 9213 sections 2.1 and 2.2."""
    pairs = [("Cache-Control", "max-age=5"), *[("CDN-Cache-Control", line) for line in targeted]]
    found = response_directives(Fields(tuple(pairs)))
    assert found.seconds("max-age") == seconds and found.targeted is (seconds != 5)


def test_targeted_flags_are_booleans() -> None:
    """RFC 9213 section 2.1; what forbids counts even with a type it cannot have."""
    found = response_directives(Fields((("CDN-Cache-Control", 'no-store=?0, public=1, private="a", must-revalidate'),)))
    assert "no-store" in found and "private" in found and found.allows("must-revalidate")
    assert not found.allows("public") and not found.allows("no-store")


@given(st.lists(st.tuples(st.from_regex(rf"\A{TOKEN}\Z"), st.none() | st.from_regex(rf"\A{TOKEN}\Z")), max_size=5))
def test_what_is_written_is_read(pairs: list[tuple[str, str | None]]) -> None:
    elements = [name if value is None else f"{name}={value}" for name, value in pairs]
    quoted = [name if value is None else f'{name}="{value}"' for name, value in pairs]
    found = said(", ".join(elements))
    assert found == said(*elements) == said(*quoted) == said(",".join(quoted))
    assert not found.malformed and set(found.arguments) == {name.lower() for name, _ in pairs}


@given(st.integers(1, 10**15 - 1))
def test_the_targeted_field_reads_every_integer(seconds: int) -> None:
    field = http_sf.ser({"max-age": seconds})
    assert response_directives(Fields((("cdn-cache-control", field),))).seconds("max-age") == min(seconds, LONGEST)


@settings(max_examples=settings().max_examples * 10)
@given(st.lists(written | near | anything, max_size=3), st.lists(written | near | anything, max_size=2))
def test_no_text_is_an_exception(lines: list[str], targeted: list[str]) -> None:
    """Twenty thousand cases in the long profile. A line more never makes a response freer."""
    pairs = [("Cache-Control", line) for line in lines]
    found = request_directives(Fields(tuple(pairs)))
    every = response_directives(Fields((*pairs, *[("CDN-Cache-Control", line) for line in targeted])))
    for each in (found, every):
        for name in ("max-age", "s-maxage", "x"):
            seconds = each.seconds(name)
            assert seconds is None or 0 <= seconds <= LONGEST
            assert (seconds is not None) == (name in each) and (not each.allows(name) or name in each)
    fewer = parse_directives(lines[:1])
    assert all(name in found for name in (*fewer.arguments, *fewer.malformed))
    if (seconds := fewer.seconds("max-age")) is not None:
        assert (found.seconds("max-age") or 0) <= seconds


@given(anything | st.from_regex(r"\A[0-9]{1,30}\Z") | st.none())
def test_seconds_are_what_python_reads_or_nothing(text: str | None) -> None:
    found = delta_seconds(text)
    assert (
        found is None if text is None or not (text.isascii() and text.isdigit()) else found == min(int(text), LONGEST)
    )
