"""Vary over all its lines, and keys of variants that never meet by accident (RFC 9111 section 4.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.caching.rules.vary import together, unvarying, variant, vary, varying
from redis_mw.http.request import Fields

anything = st.text(st.characters(exclude_categories=()), max_size=20)
names = st.sampled_from(["a", "b", "ab", "Accept", "accept"])
requests = st.lists(st.tuples(names, st.text("ab, \t", max_size=4)), max_size=4).map(lambda pairs: Fields(tuple(pairs)))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], ()),
        ([""], ()),
        (["Accept-Encoding"], ("accept-encoding",)),
        (["Accept-Language, accept-encoding ,", "ACCEPT-ENCODING"], ("accept-encoding", "accept-language")),
        (["*"], ("*",)),
        (["Accept, *"], ("*",)),
        (["Accept", "*"], ("*",)),
        # What is no name may stand for anything.
        (["Accept Cookie"], ("*",)),
        (["Accept;Cookie"], ("*",)),
        (['"Accept"'], ("*",)),
        (["Accept\x00"], ("*",)),
        (["ä"], ("*",)),
    ],
)
def test_vary_is_one_list_of_names(lines: list[str], expected: tuple[str, ...]) -> None:
    assert vary(Fields(tuple(("Vary", line) for line in lines))) == expected


@pytest.mark.parametrize(
    ("lines", "names", "told"),
    [
        ([], ("Accept", "X-Theme"), ["Accept, X-Theme"]),
        (["Origin"], ("Accept",), ["Origin, Accept"]),
        (["Origin", "Accept"], ("X-Theme",), ["Origin, Accept, X-Theme"]),
        (["ORIGIN, accept"], ("Accept", "Origin"), ["ORIGIN, accept"]),
        (["Origin", "Accept"], (), ["Origin", "Accept"]),
        (["*"], ("Accept",), ["*"]),
        (["Accept Cookie"], ("Accept",), ["Accept Cookie"]),
    ],
)
def test_names_are_added_to_what_is_said(lines: list[str], names: tuple[str, ...], told: list[str]) -> None:
    fields = (("Date", "x"), *(("Vary", line) for line in lines), ("Age", "1"))
    after = Fields(varying(fields, names))
    assert list(after.get_all("vary")) == told and (after.get("date"), after.get("age")) == ("x", "1")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], []),
        (["Cookie"], []),
        (["Accept", "Origin, COOKIE"], ["accept, origin"]),
        (["Accept", "Origin"], ["Accept", "Origin"]),
        (["Cookie, *"], ["Cookie, *"]),
    ],
)
def test_a_name_is_taken_from_what_is_said(lines: list[str], told: list[str]) -> None:
    fields = (("Date", "x"), *(("Vary", line) for line in lines))
    after = Fields(unvarying(fields, "Cookie"))
    assert list(after.get_all("vary")) == told and after.get("date") == "x"


@given(st.lists(names, max_size=3), st.lists(names, max_size=3))
def test_what_is_added_is_said_once_and_what_was_said_stays(said: list[str], more: list[str]) -> None:
    before = Fields((("Vary", ", ".join(said)),))
    after = Fields(varying(before.pairs, tuple(more)))
    assert set(vary(after)) == {*vary(before), *map(str.lower, more)}


def test_lists_of_names_become_one() -> None:
    assert together(("accept", "b"), (), ("A",)) == ("a", "accept", "b")
    assert together(("accept",), ("*",)) == ("*",) and together() == ()


def key(*pairs: tuple[str, str], by: tuple[str, ...] = ("a", "b")) -> str:
    return variant(Fields(pairs), by)


def test_a_variant_is_what_the_named_fields_hold() -> None:
    assert key(("A", "1"), ("b", "2"), ("c", "3")) == key(("b", " 2\t"), ("a", "1")) == key(("a", "1"), ("b", "2"))
    assert key(by=("A", "b")) == key(by=("b", "a", "a"))
    assert key(("a", "1"), ("a", "2")) == key(("a", "1, 2"))  # RFC 9110 section 5.3
    assert len(key()) == 32


def test_different_values_never_share_a_key() -> None:
    keys = [
        key(),
        key(("a", "")),
        key(("b", "")),
        key(("a", "ab")),
        key(("a", "ab"), ("b", "")),
        key(("a", "a"), ("b", "b")),
        key(("a", ""), ("b", "ab")),
        key(("a", "-")),
        key(("a", "a,b")),
        key(("a", "a, b")),
        key(("a", "A")),
        key(by=()),
        key(by=("a",)),
        key(by=("ab",)),
    ]
    assert len(set(keys)) == len(keys)


@given(requests, requests, st.lists(names, max_size=3))
def test_two_requests_select_the_same_where_their_fields_are_the_same(
    one: Fields, other: Fields, by: list[str]
) -> None:
    def values(request: Fields) -> list[str | None]:
        lines = [request.get_all(name) for name in sorted({name.lower() for name in by})]
        return [", ".join(line.strip(" \t") for line in each) if each else None for each in lines]

    assert (variant(one, by) == variant(other, by)) == (values(one) == values(other))


@given(st.lists(st.tuples(anything, anything), max_size=3).map(tuple), st.lists(anything, max_size=3))
def test_no_text_is_an_exception(pairs: tuple[tuple[str, str], ...], by: list[str]) -> None:
    assert len(variant(Fields(pairs), by)) == 32
    found = vary(Fields((*pairs, *[("Vary", line) for line in by])))
    assert found == tuple(sorted(set(found))) == together(found)
