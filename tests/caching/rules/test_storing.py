"""What a shared cache stores and why it does not (RFC 9111 section 3): one word for each refusal."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redis_mw.caching.rules.freshness import SECOND
from redis_mw.caching.rules.storing import Storable, Unstorable, storing
from redis_mw.caching.rules.terms import Terms
from redis_mw.http.request import Fields, Request

NOW_US = 1_800_000_000 * SECOND
MINUTE = Terms(ttl_us=60 * SECOND, negative_us={404: 10 * SECOND, 503: SECOND})
PUBLIC = Terms(ttl_us=60 * SECOND, public=True)
FRESH = ("Cache-Control", "max-age=60")


def verdict(
    *response: tuple[str, str],
    status: int = 200,
    method: str = "GET",
    request: tuple[tuple[str, str], ...] = (),
    **options: Any,
) -> str:
    """The reason, or "stored"."""
    asked = Request(method, "/", headers=Fields(request))
    found = storing(asked, status, Fields(response), asked_us=NOW_US, received_us=NOW_US, **options)
    return found.reason if isinstance(found, Unstorable) else "stored"


def test_a_response_with_a_lifetime_is_stored() -> None:
    assert verdict(FRESH) == "stored"
    assert verdict(("Expires", "Fri, 15 Jan 2027 09:00:00 GMT")) == "stored"


def test_there_is_no_default_lifetime() -> None:
    """RFC 9111 section 4.2.2: a heuristic only where a rule gives one."""
    assert verdict() == verdict(("Cache-Control", "public")) == verdict(("ETag", '"a"')) == "no-lifetime"
    assert verdict(terms=MINUTE) == "stored"


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "OPTIONS", "QUERY", "get", "", "\ud800"])
def test_only_answers_to_get_are_stored(method: str) -> None:
    assert verdict(FRESH, method=method) == "method"


@pytest.mark.parametrize(
    "status", [200, 201, 203, 204, 299, 300, 301, 302, 307, 308, 400, 401, 404, 418, 500, 503, 599]
)
def test_any_final_status_is_stored_with_a_lifetime_of_its_own(status: int) -> None:
    """RFC 9111 section 3, unknown ones too."""
    assert verdict(FRESH, status=status) == "stored"


@pytest.mark.parametrize("status", [100, 101, 103, 206, 304, 600, 999, 0, -1])
def test_what_is_not_final_or_not_whole_is_never_stored(status: int) -> None:
    """RFC 9111 sections 3, 3.3 and 4.3.4."""
    assert verdict(FRESH, status=status, terms=MINUTE) == "status"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, "stored"),
        (302, "no-lifetime"),
        (404, "stored"),
        (503, "stored"),
        (410, "no-lifetime"),
        (500, "no-lifetime"),
    ],
)
def test_a_rule_keeps_failures_only_where_they_are_named(status: int, expected: str) -> None:
    assert verdict(status=status, terms=MINUTE) == expected


@pytest.mark.parametrize(("status", "line", "expected"), [
    (200, "must-understand, no-store, max-age=60", "stored"),
    (404, "must-understand, max-age=60", "stored"),
    (299, "must-understand, no-store, max-age=60", "not-understood"),
    (299, "must-understand, max-age=60", "not-understood"),
    (299, "must-understand=1, max-age=60", "not-understood"),
    (200, "must-understand=1, no-store, max-age=60", "no-store"),
])  # fmt: skip
def test_must_understand_is_met_or_not(status: int, line: str, expected: str) -> None:
    """RFC 9111 section 5.2.2.3."""
    assert verdict(("Cache-Control", line), status=status) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("no-store", "no-store"),
        ("No-Store, max-age=60", "no-store"),
        ("no-store=x, max-age=60", "no-store"),
        ("private", "private"),
        ('PRIVATE="set-cookie", max-age=60', "private"),
        ("public, private, max-age=60", "private"),
        ("no-cache, max-age=60", "no-cache"),
        ('no-cache="set-cookie", max-age=60', "no-cache"),
        ("max-age=0", "stale"),
        ("max-age=x", "stale"),
        ("s-maxage=0, max-age=60", "stale"),
        ("max-age=0, must-revalidate, stale-if-error=60", "stale"),
        ("max-age=0, stale-if-error=60", "stored"),
        ("max-age=0, stale-while-revalidate=60", "stored"),
    ],
)
def test_the_response_forbids_it(line: str, reason: str) -> None:
    """RFC 9111 section 5.2.2; the rule's lifetime changes nothing of it."""
    assert verdict(("Cache-Control", line)) == verdict(("Cache-Control", line), terms=PUBLIC) == reason
    assert verdict(FRESH, ("cache-control", line)) == reason or reason in ("stored", "stale")


def test_a_targeted_field_decides_alone() -> None:
    """RFC 9213 section 2.2."""
    assert verdict(("Cache-Control", "no-store"), ("CDN-Cache-Control", "max-age=60")) == "stored"
    assert verdict(FRESH, ("CDN-Cache-Control", "no-store")) == "no-store"
    assert verdict(FRESH, ("CDN-Cache-Control", "private")) == "private"
    assert verdict(("Cache-Control", "no-store"), ("CDN-Cache-Control", "max-age=60, &")) == "no-store"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ((("Range", "bytes=0-1"),), "range"),
        ((("Upgrade", "websocket"),), "upgrade"),
        ((("Cache-Control", "no-store"),), "request-no-store"),
        ((("Cache-Control", "max-age=0"), ("cache-control", "NO-STORE=1")), "request-no-store"),
        ((("Cookie", "a=1"),), "stored"),
        ((("Cache-Control", "no-cache"),), "stored"),
        ((("If-None-Match", '"a"'),), "stored"),
    ],
)
def test_the_request_forbids_it(fields: tuple[tuple[str, str], ...], reason: str) -> None:
    """RFC 9111 section 5.2.1.5, and what no cache should touch."""
    assert verdict(FRESH, request=fields) == reason


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("max-age=60", "authorization"),
        ("max-age=60, public", "stored"),
        ("max-age=60, PUBLIC", "stored"),
        ("max-age=60, public=1", "authorization"),
        ("s-maxage=60", "stored"),
        ("s-maxage=60 x, max-age=5", "authorization"),
        ("s-maxage=x, stale-while-revalidate=60", "authorization"),
        ("max-age=60, must-revalidate", "stored"),
        ("max-age=60, must-revalidate=1", "authorization"),
        ("max-age=60, proxy-revalidate", "authorization"),
        ("max-age=60, public, private", "private"),
    ],
)
def test_authorization_needs_a_word_of_the_response(line: str, expected: str) -> None:
    """RFC 9111 section 3.5."""
    assert verdict(("Cache-Control", line), request=(("authorization", "Bearer x"),)) == expected


def test_the_rule_may_say_that_all_is_public() -> None:
    request = (("Authorization", "Bearer x"),)
    assert verdict(FRESH, request=request, terms=MINUTE) == "authorization"
    assert verdict(FRESH, request=request, terms=PUBLIC) == verdict(request=request, terms=PUBLIC) == "stored"
    assert verdict(("Cache-Control", "private"), terms=PUBLIC) == "private"


def test_what_is_stored_knows_whether_it_is_for_the_authorized() -> None:
    def authorized(line: str) -> bool:
        found = storing(Request("GET", "/"), 200, Fields((("Cache-Control", line),)), asked_us=0, received_us=0)
        return isinstance(found, Storable) and found.authorized

    assert authorized("max-age=60, public") and not authorized("max-age=60")


def test_nothing_personal_is_stored() -> None:
    assert verdict(FRESH, session_accessed=True) == "session"
    assert verdict(("Cache-Control", "public, max-age=60"), csrf_issued=True, terms=PUBLIC) == "csrf"
    assert verdict(FRESH, ("Set-Cookie", "a=1"), terms=PUBLIC) == "set-cookie"
    assert verdict(FRESH, ("set-cookie2", "a=1")) == "set-cookie"
    assert verdict(FRESH, ("Set-Cookie", "a=1"), store_set_cookie=True) == "stored"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Accept-Encoding"], "stored"),
        ([""], "stored"),
        (["*"], "vary"),
        (["Accept", " * "], "vary"),
        (["Cookie"], "vary"),
        (["Accept,COOKIE"], "vary"),
        (["accept", "Authorization"], "vary"),
        (["Accept Cookie"], "vary"),
        (["Accept;q=1"], "vary"),
        (["\x00"], "vary"),
    ],
)
def test_vary_may_forbid_it(lines: list[str], expected: str) -> None:
    """RFC 9111 section 4.1."""
    assert verdict(FRESH, *[("Vary", line) for line in lines]) == expected


@pytest.mark.parametrize("kind", ["text/event-stream", "Text/Event-Stream; charset=utf-8", " text/event-stream"])
def test_a_stream_without_an_end_is_not_stored(kind: str) -> None:
    assert verdict(FRESH, ("Content-Type", kind)) == "event-stream"
    assert verdict(FRESH, ("Content-Type", "text/event-streams")) == "stored"


anything = st.text(st.characters(exclude_categories=()), max_size=20)
values = anything | st.sampled_from(
    [
        "no-store",
        "private",
        "public",
        "max-age=9",
        "s-maxage=9",
        "max-age=x",
        "*",
        "Cookie",
        "a=1",
        "0",
        "must-revalidate",
    ]
)
names = anything | st.sampled_from(
    [
        "Cache-Control",
        "cache-control",
        "CDN-Cache-Control",
        "Vary",
        "Set-Cookie",
        "Expires",
        "Authorization",
        "Age",
        "Date",
    ]
)
fields = st.lists(st.tuples(names, values), max_size=5).map(tuple)


@settings(max_examples=settings().max_examples * 10)
@given(fields, fields, st.integers(0, 700), st.sampled_from([None, MINUTE, PUBLIC]))
def test_no_fields_are_an_exception_and_none_make_the_private_public(
    asked: tuple[tuple[str, str], ...], made: tuple[tuple[str, str], ...], status: int, terms: Terms | None
) -> None:
    """Twenty thousand cases in the long profile."""
    assert isinstance(verdict(*made, request=asked, status=status, terms=terms), str)
    private = verdict(*made, ("Cache-Control", "private"), request=asked, status=status, terms=terms)
    assert private != "stored" or any(name.lower() == "cdn-cache-control" for name, _ in made)
    assert verdict(*made, ("Set-Cookie", "a=1"), request=asked, status=status, terms=terms) != "stored"
    assert verdict(*made, ("Vary", "cookie"), request=asked, status=status, terms=terms) != "stored"
