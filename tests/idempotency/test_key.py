"""The Idempotency-Key field: what is a key, what is none, and that nothing a client sends is an exception."""

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.idempotency.key import LONGEST, Malformed, key_of

UUID = "8e03978e-40d5-43e8-bc93-6894a57f9324"
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=LONGEST)


@pytest.mark.parametrize(
    ("field", "key"),
    [
        (f'"{UUID}"', UUID),
        (f' "{UUID}"\t', UUID),
        ('"with \\"quotes\\" and a \\\\"', 'with "quotes" and a \\'),
        (f'"{UUID}";version=1', UUID),
        (UUID, UUID),
        (f"{UUID};version=1;b", UUID),
        ("order:17/pay", "order:17/pay"),
        ("c2VjcmV0IQ==", "c2VjcmV0IQ=="),
        ("17", "17"),
        ('"' + "x" * LONGEST + '"', "x" * LONGEST),
        ("x" * LONGEST, "x" * LONGEST),
    ],
)
def test_a_key_is_a_string_in_quotes_or_a_token_without(field: str, key: str) -> None:
    assert key_of([field]) == key


def test_no_field_is_no_key_and_no_mistake() -> None:
    assert key_of([]) is None


@pytest.mark.parametrize(
    "field",
    [
        *("", " ", '""', '"', '"open', "'single'", "a b", "a, b", '"a", "b"', '"a" "b"', "a,b", ":YQ==:", "?1", "@123"),
        *('"a";', '"a";=1', "a;", "a;B=1", ";a=1", "a;a=", "(a b)", '%"a"', "ä", '"ä"', '"\x00"', "a\x00", "\u20ac"),
        *("\ud800", "x" * (LONGEST + 1), '"' + "x" * (LONGEST + 1) + '"', "a\n", '"a"\n'),
    ],
)
def test_anything_else_is_malformed_and_says_why(field: str) -> None:
    found = key_of([field])
    assert isinstance(found, Malformed) and found.detail


def test_two_fields_are_one_too_many_even_if_they_agree() -> None:
    assert isinstance(key_of(['"a"', '"a"']), Malformed)


@given(printable)
def test_every_string_that_can_be_written_is_read_back(key: str) -> None:
    assert key_of([http_sf.ser(key)]) == key


@given(st.lists(st.binary(max_size=300), max_size=3))
def test_no_bytes_are_an_exception(lines: list[bytes]) -> None:
    found = key_of([line.decode("latin-1") for line in lines])
    assert found is None or isinstance(found, Malformed) or 0 < len(found) <= LONGEST


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=300), max_size=3))
def test_no_text_is_an_exception(lines: list[str]) -> None:
    assert (key_of(lines) is None) == (not lines)


@given(st.from_regex(r"\A[!#$%&*+\-.^_`|~0-9A-Za-z][!#$%&'*+\-.^_`|~0-9A-Za-z:/]{0,40}={0,2}\Z"))
def test_a_key_is_the_same_with_its_quotes_and_without(key: str) -> None:
    assert key_of([key]) == key_of([f'"{key}"']) == key
