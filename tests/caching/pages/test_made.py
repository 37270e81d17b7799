"""What an answer becomes, by hand: the page it is, the part of it."""

import pytest

from redis_mw.caching.pages.commands import Question
from redis_mw.caching.pages.made import made, part_of
from redis_mw.caching.pages.page import Page
from redis_mw.caching.rules.freshness import Freshness
from redis_mw.caching.rules.storing import Storable
from redis_mw.http.request import Fields, Request

NOW = 1_800_000_000
DATE = ("Date", "Fri, 15 Jan 2027 08:00:00 GMT")
BODY = b"a page of tea"


def storable(received: int = NOW) -> Storable:
    until_us = (received + 60) * 1_000_000
    received_us = received * 1_000_000
    return Storable(
        Freshness(received_us=received_us, fresh_until_us=until_us, stale_until_us=until_us, error_until_us=until_us)
    )


def page(*pairs: tuple[str, str], status: int = 200, body: bytes = BODY, variant: str = "v") -> Page:
    question = Question("name", (), variant)
    return made(question, status, Fields(pairs), body, storable(), cost_us=7, tags=("t",), store_set_cookie=False)


def test_a_page_has_the_body_its_length_its_tags_and_what_it_cost() -> None:
    kept = page(DATE, ("Content-Type", "text/plain"))
    assert (kept.status, kept.body, kept.length, kept.tags, kept.cost_us) == (200, BODY, len(BODY), ("t",), 7)
    assert kept.headers.get("content-type") == "text/plain"


@pytest.mark.parametrize("name", ["Set-Cookie", "Connection", "Age"])
def test_what_is_of_one_connection_or_one_client_is_not_in_it(name: str) -> None:
    assert page((name, "x"), DATE).headers.get(name) is None


def test_a_200_without_an_etag_gets_one_that_changes_with_its_body_and_its_variant() -> None:
    kept = page(DATE)
    tags = [each.headers.get("etag") for each in (kept, page(DATE), page(DATE, body=b"milk"), page(DATE, variant="w"))]
    assert kept.own_etag
    assert tags[0] == tags[1]
    assert len(set(tags)) == 3


def test_an_etag_of_the_application_stays_and_other_statuses_get_none() -> None:
    theirs = page(DATE, ("ETag", '"theirs"'))
    assert (theirs.headers.get("etag"), theirs.own_etag) == ('"theirs"', False)
    missing = page(DATE, status=404)
    assert (missing.headers.get("etag"), missing.own_etag) == (None, False)


ANSWER = (DATE, ("ETag", '"one"'), ("Content-Length", str(len(BODY))), ("Content-Type", "text/plain"))


@pytest.mark.parametrize(
    ("asked", "status", "start", "stop"),
    [
        (("Range", "bytes=2-5"), 206, 2, 6),
        (("Range", "bytes=100-"), 416, 0, 0),
        (("If-None-Match", '"one"'), 304, 0, 0),
    ],
)
def test_who_asks_for_a_part_or_has_a_copy_is_answered_so(
    asked: tuple[str, str], status: int, start: int, stop: int
) -> None:
    part = part_of(Request("GET", "/", headers=Fields((asked,))), ANSWER, len(BODY), now=NOW)
    assert part is not None
    assert (part.status, part.start, part.stop) == (status, start, stop)
    assert "age" not in {name.lower() for name, _ in part.fields}, "it comes from the application itself"


@pytest.mark.parametrize("asked", [("If-None-Match", '"two"'), ("Range", "miles=1-2"), ("Accept", "text/plain")])
def test_who_asks_for_nothing_of_that_kind_gets_the_whole(asked: tuple[str, str]) -> None:
    assert part_of(Request("GET", "/", headers=Fields((asked,))), ANSWER, len(BODY), now=NOW) is None
