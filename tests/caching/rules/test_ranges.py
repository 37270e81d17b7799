"""One part of a stored body, and the answers a stored response gives (RFC 9110 sections 13.2, 14 and 15)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.caching.rules.answer import Answer, answer
from redis_mw.caching.rules.ranges import Part, Unsatisfiable, part_of
from redis_mw.http.request import Fields, Request

NOW = 784111777 + 3600
THEN = "Sun, 06 Nov 1994 08:49:37 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"
STORED = (("ETag", '"a"'), ("Last-Modified", THEN), ("Date", AFTER), ("Content-Type", "text/plain"))
KEPT = Fields(STORED)
NONE = Unsatisfiable()


def part(*lines: str, length: int = 10, condition: str | None = None, stored: Fields = KEPT) -> object:
    pairs = [("Range", line) for line in lines]
    if condition is not None:
        pairs.append(("If-Range", condition))
    return part_of(Fields(tuple(pairs)), stored, length, now=NOW)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bytes=0-0", Part(0, 1)),
        ("bytes=2-5", Part(2, 6)),
        ("bytes=2-", Part(2, 10)),
        ("bytes=0-", Part(0, 10)),
        ("bytes=2-99", Part(2, 10)),
        ("bytes=-3", Part(7, 10)),
        ("bytes=-99", Part(0, 10)),
        ("Bytes= 2-5 ", Part(2, 6)),
        ("bytes=002-005", Part(2, 6)),
        ("bytes=10-", NONE),
        ("bytes=10-20", NONE),
        ("bytes=-0", NONE),
        # the whole 200
        *[(line, None) for line in ("", "bytes", "bytes=", "bytes=-", "bytes=5-2", "bytes=a-b", "bytes=1-2-3", "2-5")],
        *[
            (line, None)
            for line in ("bytes=0-1,3-4", "bytes=0-1,", "items=0-1", "bytes=+1-2", "bytes=1.0-2", "bytes 1-2")
        ],
        *[
            (line, None)
            for line in ("bytes=\u0660-\u0661", "bytes=0-1\n", "bytes=0 - 1", "\ud800", "bytes=0-" + "9" * 5000)
        ],
    ],
)
def test_one_range_is_a_part_and_anything_else_is_all(line: str, expected: object) -> None:
    """RFC 9110 sections 14.1.1, 14.1.2 and 14.2."""
    assert part(line) == expected


def test_of_an_empty_body_there_is_no_part() -> None:
    assert part("bytes=0-", length=0) == NONE and part("bytes=-5", length=0) is None


def test_two_lines_and_a_resource_without_ranges_get_all() -> None:
    assert part("bytes=0-1", "bytes=0-1") is None and part() is None
    assert part("bytes=0-1", stored=Fields((("Accept-Ranges", "none"),))) is None
    assert part("bytes=0-1", stored=Fields((("Accept-Ranges", "bytes"),))) == Part(0, 2)


@pytest.mark.parametrize(
    ("condition", "counts"),
    [
        ('"a"', True),
        (THEN, True),
        ('W/"a"', False),
        ('"b"', False),
        (AFTER, False),
        ("x", False),
        ("", False),
        ("*", False),
    ],
)
def test_if_range_lets_the_range_count_by_a_strong_validator(condition: str, counts: bool) -> None:
    """RFC 9110 section 13.1.5."""
    assert part("bytes=0-1", condition=condition) == (Part(0, 2) if counts else None)


def test_a_date_is_no_strong_validator_of_what_was_made_in_the_same_second() -> None:
    """RFC 9110 section 8.8.2.2."""
    fresh = Fields((("Last-Modified", THEN), ("Date", THEN)))
    assert part("bytes=0-1", condition=THEN, stored=fresh) is None
    assert part("bytes=0-1", condition='"a"', stored=Fields((("ETag", 'W/"a"'),))) is None


def answered(*fields: tuple[str, str], method: str = "GET", status: int = 200, length: int = 10) -> Answer:
    request = Request(method, "/", headers=Fields(fields))
    return answer(request, status, STORED, length, age_us=7_000_000, now=NOW)


def test_the_whole_is_told_by_status_and_age() -> None:
    whole = Answer(200, (*STORED, ("Content-Length", "10"), ("Age", "7")), 0, 10)
    assert answered() == answered(("Range", "x")) == answered(("If-None-Match", '"b"')) == whole
    assert answered(method="HEAD") == Answer(200, whole.fields, 0, 0)  # RFC 9110 section 9.3.2
    assert answered(("Range", "bytes=0-1"), method="HEAD") == answered(method="HEAD")  # section 14.2


def test_a_part_is_told_by_content_range() -> None:
    """RFC 9110 section 15.3.7."""
    found = answered(("Range", "bytes=2-5"))
    assert (found.status, found.start, found.stop) == (206, 2, 6)
    assert found.fields == (*STORED, ("Age", "7"), ("Content-Length", "4"), ("Content-Range", "bytes 2-5/10"))


def test_a_part_that_is_not_there_is_416() -> None:
    """RFC 9110 section 15.5.17."""
    found = answered(("Range", "bytes=10-"))
    assert (found.status, found.start, found.stop) == (416, 0, 0)
    assert ("Content-Range", "bytes */10") in found.fields and Fields(found.fields).get("etag") is None


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_the_client_has_is_not_sent_again_nor_a_part_of_it(method: str) -> None:
    """RFC 9110 section 13.2.2: If-None-Match comes before Range."""
    found = answered(("If-None-Match", '"a"'), ("Range", "bytes=2-5"), method=method)
    assert found == Answer(304, (("ETag", '"a"'), ("Date", AFTER), ("Age", "7")))


def test_preconditions_and_ranges_are_about_a_200() -> None:
    """RFC 9110 sections 13.2.1 and 14.2."""
    for field in (("If-None-Match", '"a"'), ("Range", "bytes=2-5"), ("If-Modified-Since", AFTER)):
        assert answered(field, status=404) == Answer(404, answered(status=404).fields, 0, 10)


def test_a_204_has_neither_body_nor_length() -> None:
    """RFC 9110 section 8.6."""
    assert answered(status=204, length=0) == Answer(204, (*STORED, ("Age", "7")))


anything = st.text(st.characters(exclude_categories=()), max_size=20) | st.from_regex(r"\Abytes=\d{0,4}-\d{0,4}\Z")


@given(st.lists(anything, max_size=2), st.none() | anything, st.integers(0, 1000))
def test_no_text_is_an_exception_and_a_part_lies_in_the_body(
    lines: list[str], condition: str | None, length: int
) -> None:
    found = part(*lines, length=length, condition=condition)
    assert found is None or found == NONE or (isinstance(found, Part) and 0 <= found.start < found.stop <= length)
