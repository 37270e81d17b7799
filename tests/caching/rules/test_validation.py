"""Is the client's copy the current one (RFC 9110 section 13), and is ours (RFC 9111 section 4.3)?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.caching.rules.validation import (
    conditions,
    is_about,
    is_not_modified,
    not_modified_fields,
    own_etag,
    with_etag,
)
from redis_mw.http.etags import parse_etag
from redis_mw.http.request import Fields

NOW = 784111777 + 3600
BEFORE, THEN, AFTER = (f"Sun, 06 Nov 1994 08:49:{second} GMT" for second in (36, 37, 38))
LONG_AFTER = "Sun, 06 Nov 1994 09:00:00 GMT"


def fields(*pairs: tuple[str, str]) -> Fields:
    return Fields(pairs)


STORED = fields(("ETag", '"a"'), ("Last-Modified", THEN), ("Date", LONG_AFTER))


@pytest.mark.parametrize(
    ("lines", "matches"),
    [
        (['"a"'], True),
        (['W/"a"'], True),  # RFC 9110 section 13.1.2: comparison is weak
        (['"b", "a"'], True),
        (['"b"', 'W/"c"', '"a"'], True),
        (["*"], True),
        (['"b"'], False),
        (["a"], False),
        (['"a", b'], False),
        (["*", '"b"'], False),
        ([""], False),
        (["\ud800"], False),
    ],
)
def test_if_none_match_decides(lines: list[str], matches: bool) -> None:
    """Alone: whatever If-Modified-Since says beside it (RFC 9110 section 13.1.3)."""
    asked = [("If-None-Match", line) for line in lines]
    assert is_not_modified(fields(*asked), STORED, now=NOW) is matches
    assert is_not_modified(fields(*asked, ("If-Modified-Since", AFTER)), STORED, now=NOW) is matches
    assert is_not_modified(fields(*asked, ("If-Modified-Since", BEFORE)), STORED, now=NOW) is matches


def test_a_weak_validator_of_ours_matches_too() -> None:
    weak = fields(("ETag", 'W/"a"'))
    assert is_not_modified(fields(("If-None-Match", '"a"')), weak, now=NOW)
    assert not is_not_modified(fields(("If-None-Match", '"a"')), fields(("ETag", "a")), now=NOW)
    assert not is_not_modified(fields(("If-None-Match", '"a"')), fields(), now=NOW)


@pytest.mark.parametrize(
    ("since", "matches"),
    [
        (AFTER, True),
        (THEN, True),
        (BEFORE, False),
        ("x", False),
        ("", False),
        ("0", False),
        (THEN + ", " + THEN, False),
    ],
)
def test_if_modified_since_decides_where_it_is_alone(since: str, matches: bool) -> None:
    """RFC 9110 section 13.1.3."""
    assert is_not_modified(fields(("If-Modified-Since", since)), STORED, now=NOW) is matches


def test_without_last_modified_the_date_counts() -> None:
    """RFC 9111 section 4.3.2."""
    dated = fields(("Date", THEN))
    assert is_not_modified(fields(("If-Modified-Since", THEN)), dated, now=NOW)
    assert not is_not_modified(fields(("If-Modified-Since", BEFORE)), dated, now=NOW)
    assert not is_not_modified(
        fields(("If-Modified-Since", THEN)), fields(("Last-Modified", "x"), ("Date", THEN)), now=NOW
    )
    assert not is_not_modified(fields(("If-Modified-Since", THEN)), fields(), now=NOW)
    assert not is_not_modified(fields(), STORED, now=NOW)


def test_a_304_carries_what_updates_a_copy_and_no_more() -> None:
    """RFC 9110 section 15.4.5."""
    told = [("Date", THEN), ("Cache-Control", "max-age=1"), ("Vary", "Accept"), ("Expires", "0"), ("Age", "3")]
    rest = [("Content-Type", "a"), ("Content-Length", "3"), ("Content-Encoding", "br"), ("X", "1")]
    tag, modified = ("ETag", '"a"'), ("Last-Modified", THEN)
    assert not_modified_fields([*rest, *told, tag, modified]) == (*told, tag)
    assert not_modified_fields([modified, *told, *rest]) == (modified, *told)


def test_our_own_validator_belongs_to_one_body_at_one_place() -> None:
    made = own_etag("/a", "v", b"body")
    assert made == own_etag("/a", "v", b"body") and parse_etag(made) is not None and not made.startswith("W/")
    others = [own_etag("/b", "v", b"body"), own_etag("/a", "w", b"body"), own_etag("/a", "v", b"bodies")]
    assert made not in others and own_etag("/a", "bv", b"") != own_etag("/ab", "v", b"")
    assert own_etag("/a", "", b"v") != own_etag("/a", "v", b"")


def test_only_a_response_without_a_validator_gets_ours() -> None:
    assert with_etag((("etag", 'W/"a"'),), '"b"') == (("etag", 'W/"a"'),)
    assert with_etag((("X", "1"),), '"b"') == (("X", "1"), ("ETag", '"b"'))


def test_the_application_is_asked_with_what_it_gave() -> None:
    """RFC 9111 section 4.3.1."""
    assert conditions(STORED) == (("If-None-Match", '"a"'), ("If-Modified-Since", THEN))
    assert conditions(fields(("ETag", "a"))) == () == conditions(fields())


@pytest.mark.parametrize(
    ("told", "own", "about"),
    [
        ([("ETag", '"a"')], [("ETag", '"a"')], True),
        ([("ETag", '"b"')], [("ETag", '"a"')], False),
        ([("ETag", '"a"')], [("ETag", 'W/"a"')], False),
        ([("ETag", 'W/"a"')], [("ETag", '"a"')], True),
        ([("ETag", 'W/"a"')], [("ETag", 'W/"a"')], True),
        ([("ETag", '"a"')], [("Last-Modified", THEN)], False),
        ([("ETag", "a")], [("ETag", "a")], False),
        ([("Last-Modified", THEN)], [("Last-Modified", THEN), ("ETag", '"a"')], True),
        ([("Last-Modified", AFTER)], [("Last-Modified", THEN)], False),
        ([("Last-Modified", THEN)], [("ETag", '"a"')], False),
        ([], [], True),
        ([], [("ETag", '"a"')], False),
    ],
)
def test_a_304_is_about_the_response_whose_validator_it_names(
    told: list[tuple[str, str]], own: list[tuple[str, str]], about: bool
) -> None:
    """RFC 9111 section 4.3.4."""
    assert is_about(fields(*told), fields(*own)) is about


anything = st.text(st.characters(exclude_categories=()), max_size=20) | st.sampled_from(
    ['"a"', 'W/"a"', "*", THEN, "0"]
)
names = st.sampled_from(["If-None-Match", "If-Modified-Since", "ETag", "Last-Modified", "Date"])
pairs = st.lists(st.tuples(names, anything), max_size=4).map(tuple)


@given(pairs, pairs)
def test_no_text_is_an_exception(one: tuple[tuple[str, str], ...], other: tuple[tuple[str, str], ...]) -> None:
    assert is_not_modified(Fields(one), Fields(other), now=NOW) in (True, False)
    assert is_about(Fields(one), Fields(other)) in (True, False)
    assert set(not_modified_fields(one)) <= set(one)
    asked = conditions(Fields(one))
    if Fields(asked).get("if-none-match"):
        assert is_not_modified(Fields(asked), Fields(one), now=NOW)
