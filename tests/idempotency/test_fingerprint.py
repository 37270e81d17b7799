"""Fingerprints: equal for what is one request however it is sent, different for everything else."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.idempotency.fingerprint import Fingerprint, content_type_of, sorted_query

texts = st.text(st.characters(exclude_categories=()), max_size=20)
requests = st.tuples(st.sampled_from(["POST", "PATCH"]), texts, st.sampled_from(["", "a=1", "b=1&a=2"]), texts)


def of(*request: Any, body: bytes = b"", chunks: tuple[bytes, ...] = ()) -> bytes:
    fingerprint = Fingerprint(*request)
    for chunk in chunks or (body,):
        fingerprint.add(chunk)
    return fingerprint.digest()


def form(boundary: str, value: bytes) -> bytes:
    edge = b"--" + boundary.encode()
    return edge + b'\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + value + b"\r\n" + edge + b"--\r\n"


@given(requests, requests, st.binary(max_size=30), st.binary(max_size=30))
def test_two_requests_have_one_fingerprint_only_if_they_ask_for_the_same(a: Any, b: Any, x: bytes, y: bytes) -> None:
    def meant(request: Any, body: bytes) -> Any:
        method, path, query, content_type = request
        return method, path, sorted_query(query), content_type_of(content_type), body

    assert (of(*a, body=x) == of(*b, body=y)) == (meant(a, x) == meant(b, y))


def test_what_belongs_to_one_part_is_not_taken_for_another() -> None:
    assert of("POST", "/a", "b") != of("POST", "/ab", "")
    assert of("POST", "/a", "", "x", body=b"y") != of("POST", "/a", "", "xy")


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=6), st.sampled_from(["xx", "x", "--", ""]))
def test_it_does_not_matter_how_the_body_is_cut(body: bytes, cuts: list[int], boundary: str) -> None:
    body = body.replace(b"\x00", f"--{boundary}".encode()).replace(b"\x01", b"-").replace(b"\x02", b"x")
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks = tuple(body[start:end] for start, end in pairwise(places))
    kind = ("POST", "/", "", f'multipart/form-data; boundary="{boundary}"')
    assert of(*kind, chunks=chunks) == of(*kind, body=body)


def test_it_can_be_asked_in_between_and_goes_on() -> None:
    fingerprint = Fingerprint("POST", "/", "", "multipart/form-data; boundary=abc")
    fingerprint.add(b"--a")
    assert fingerprint.digest() == fingerprint.digest()
    fingerprint.add(b"bc")
    assert fingerprint.digest() == of("POST", "/", "", "multipart/form-data; boundary=abc", body=b"--abc")
    assert fingerprint.size == 5


def test_the_order_of_names_in_a_query_does_not_matter_but_that_of_values_does() -> None:
    assert of("POST", "/", "a=1&b=2") == of("POST", "/", "b=2&a=1&")
    assert of("POST", "/", "a=1&a=2") != of("POST", "/", "a=2&a=1")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("application/json", "Application/JSON", True),
        ("application/json", "application/json; charset=utf-8", True),
        ("application/json", 'application/json;charset="UTF-8"', True),
        ("text/plain; charset=utf-16", "text/plain; charset=UTF-16", True),
        ("text/plain; charset=utf-16", "text/plain", False),
        ("application/x; v=1; w=2", "application/x;w=2;v=1", True),
        ("application/x; v=1", "application/x; v=2", False),
        ("application/json", "text/plain", False),
        ("application/json; boundary=a", "application/json; boundary=b", False),
        ("multipart/form-data; boundary=a", "multipart/form-data; boundary=b", True),
    ],
)
def test_a_content_type_is_compared_by_what_it_says(one: str, other: str, same: bool) -> None:
    assert (of("POST", "/", "", one, body=b"{}") == of("POST", "/", "", other, body=b"{}")) is same


def test_a_form_that_is_encoded_anew_is_the_same_form() -> None:
    def sent(boundary: str, value: bytes) -> bytes:
        kind = f"multipart/form-data; boundary={boundary}"
        return of("POST", "/", "", kind, body=form(boundary, value))

    assert sent("abc", b"1") == sent("a-longer-one", b"1")
    assert sent("abc", b"1") != sent("abc", b"2")


def test_an_absurd_boundary_is_taken_as_it_is() -> None:
    kinds = [f"multipart/form-data; boundary={letter * 300}" for letter in "ab"]
    assert of("POST", "/", "", kinds[0], body=b"x") != of("POST", "/", "", kinds[1], body=b"x")
