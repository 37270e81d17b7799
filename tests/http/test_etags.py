"""Entity-tags: strict, with both comparisons, over all lines of a list (RFC 9110 section 8.8.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.http.etags import EntityTag, is_any, parse_etag, parse_etags

anything = st.text(st.characters(exclude_categories=()), max_size=40) | st.text('W/", \\a*')
opaque = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_categories=["Cc"]).filter('"'.__ne__))
tags = st.builds(EntityTag, opaque, st.booleans())


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ('"xyzzy"', EntityTag("xyzzy")),
        ('W/"xyzzy"', EntityTag("xyzzy", weak=True)),
        ('""', EntityTag("")),
        (' "a"\t', EntityTag("a")),
        ('"a\\"', EntityTag("a\\")),  # a backslash escapes nothing here
        ('"a,b"', EntityTag("a,b")),
        ('"\xe4"', EntityTag("\xe4")),
    ],
)
def test_an_entity_tag_is_what_stands_between_its_quotes(text: str, tag: EntityTag) -> None:
    assert parse_etag(text) == tag and parse_etags([text]) == (tag,)
    assert str(tag) == text.strip()


@pytest.mark.parametrize(
    "text", ["", "a", "*", "'a'", 'w/"a"', 'W/ "a"', 'W"a"', '"a', 'a"', '"a"b', '"a b"', '"a"b"', '"\x7f"', '"\u20ac"']
)
def test_anything_else_is_none(text: str) -> None:
    assert parse_etag(text) is None and parse_etags([text]) is None


def test_no_field_is_no_entity_tag() -> None:
    assert parse_etag(None) is None and parse_etags([]) is None


def test_a_list_is_read_over_all_its_lines() -> None:
    a, b, c = EntityTag("a"), EntityTag("b", weak=True), EntityTag("c,d")
    assert parse_etags(['"a", W/"b"', '"c,d"']) == (a, b, c)
    assert parse_etags([',, "a" ,W/"b",', "", ' "c,d"\t,']) == (a, b, c)


@pytest.mark.parametrize("lines", [['"a", b'], ['"a" "b"'], ['"a", *'], ["*", '"a"'], ['"a', 'b"'], ['"a";x', '"b"']])
def test_a_list_with_anything_else_in_it_is_none(lines: list[str]) -> None:
    assert parse_etags(lines) is None


def test_comparison_is_that_of_section_8_8_3_2() -> None:
    one, same, weak, other = EntityTag("1"), EntityTag("1"), EntityTag("1", weak=True), EntityTag("2")
    assert one.is_strongly(same) and one.is_weakly(same)
    assert not one.is_strongly(weak) and not weak.is_strongly(weak)
    assert one.is_weakly(weak) and weak.is_weakly(weak)
    assert not one.is_weakly(other) and not one.is_strongly(other)


def test_the_star_stands_alone() -> None:
    assert is_any(["*"]) and is_any([" *\t"])
    assert not is_any([]) and not is_any(['"*"']) and not is_any(["*", "*"]) and not is_any(['*, "a"'])


@given(st.lists(tags, min_size=1, max_size=5))
def test_what_is_written_is_read_back(written: list[EntityTag]) -> None:
    assert parse_etags([", ".join(map(str, written))]) == tuple(written) == parse_etags([str(tag) for tag in written])


@given(st.lists(anything, max_size=3))
def test_no_text_is_an_exception(lines: list[str]) -> None:
    found = parse_etags(lines)
    assert found is None or all(parse_etag(str(tag)) == tag for tag in found)
