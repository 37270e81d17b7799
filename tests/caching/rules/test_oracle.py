"""The rules against hishel 2, where both speak of the same: lifetimes, ages, and what a shared cache stores.

Responses are random but well-formed: how malformed fields are read is told by the tables, and hishel reads some of
them differently. Where it departs from the RFC on well-formed ones, too, the case is left out with the reason.
"""

import time

import pytest
from hishel._core import _spec as hishel
from hishel._core._headers import Headers
from hishel._core.models import Request as TheirRequest
from hishel._core.models import Response
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from redis_mw.caching.rules.directives import response_directives
from redis_mw.caching.rules.freshness import SECOND, explicit_lifetime, forbids_stale, initial_age_us
from redis_mw.caching.rules.storing import Unstorable, storing
from redis_mw.http.dates import format_date
from redis_mw.http.request import Fields, Request

NOW = 1_800_000_000

seconds = st.integers(0, 2**31 - 1)
directives = st.one_of(
    st.builds("{}={}".format, st.sampled_from(["max-age", "s-maxage", "stale-if-error", "x"]), seconds),
    st.builds('{}="{}"'.format, st.sampled_from(["max-age", "s-maxage"]), seconds),
    st.sampled_from(["public", "private", "no-store", "must-revalidate", "proxy-revalidate", "Public", "PRIVATE", "x"]),
)
control = st.lists(directives, max_size=4, unique_by=lambda text: text.partition("=")[0].lower()).map(", ".join)
dates = st.integers(NOW - 10**6, NOW + 10**6).map(format_date)
responses = st.fixed_dictionaries({}, optional={"Cache-Control": control, "Date": dates, "Expires": dates})
statuses = st.sampled_from([100, 101, 200, 201, 203, 204, 206, 299, 301, 302, 304, 307, 308, 404, 410, 414, 500, 503])


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: float(NOW))


def ours(fields: dict[str, str]) -> Fields:
    return Fields(tuple(fields.items()))


def theirs(fields: dict[str, str], status: int = 200) -> Response:
    return Response(status, Headers(fields))


cases = settings(max_examples=settings().max_examples * 3)


@cases
@given(responses)
def test_the_lifetime_is_the_same(fields: dict[str, str]) -> None:
    """RFC 9111 section 4.2.1."""
    # hishel takes an Expires before the Date for a negative lifetime; ours is 0: stale, both of them.
    headers = ours(fields)
    found = explicit_lifetime(headers, response_directives(headers), received=NOW)
    expected = hishel.get_freshness_lifetime(theirs(fields), is_cache_shared=True)
    assert found == (None if expected is None else max(0, expected))


@cases
@given(responses)
def test_the_age_is_the_same(fields: dict[str, str]) -> None:
    """RFC 9111 section 4.2.3, by the Date alone: hishel does not look at a received Age or at the delay."""
    found = initial_age_us(ours(fields), asked_us=NOW * SECOND, received_us=NOW * SECOND)
    assert found == hishel.get_age(theirs(fields)) * SECOND


@cases
@given(
    responses,
    statuses,
    st.sampled_from(["GET", "POST", "PUT"]),
    st.fixed_dictionaries({}, optional={"Authorization": st.just("Bearer x"), "Cookie": st.just("a=1")}),
)
def test_what_is_stored_is_the_same(fields: dict[str, str], status: int, method: str, asked: dict[str, str]) -> None:
    """RFC 9111 section 3."""
    headers = ours(fields)
    request = Request(method, "/", headers=ours(asked))
    found = storing(request, status, headers, asked_us=NOW * SECOND, received_us=NOW * SECOND)
    state = hishel.CacheMiss(
        options=hishel.CacheOptions(shared=True, supported_methods=["GET"], allow_stale=False),
        request=TheirRequest(method, "https://example.org/", Headers(asked)),
    ).next(theirs(fields, status))
    expected = isinstance(state, hishel.StoreAndUse)
    if isinstance(found, Unstorable) and found.reason in ("no-lifetime", "stale"):
        # hishel stores what has no lifetime, if its status is heuristically cacheable or it is public, and what is
        # stale when it comes; section 3 allows that and asks for neither. We have no heuristic, and no use for either.
        assert _lifeless(fields)
        return
    assert isinstance(found, Unstorable) is not expected


def _lifeless(fields: dict[str, str]) -> bool:
    headers = ours(fields)
    said = response_directives(headers)
    found = explicit_lifetime(headers, said, received=NOW)
    return found is None or found * SECOND <= initial_age_us(headers, asked_us=0, received_us=NOW * SECOND)


@cases
@given(responses)
def test_what_forbids_stale_is_the_same(fields: dict[str, str]) -> None:
    """RFC 9111 section 4.2.4."""
    said = response_directives(ours(fields))
    # hishel's code looks at must-revalidate and no-cache only. A shared cache must not use stale what carries
    # proxy-revalidate (section 5.2.2.8) or s-maxage (section 5.2.2.10).
    assume("proxy-revalidate" not in said and "s-maxage" not in said)
    assert forbids_stale(said) == (not hishel.allowed_stale(theirs(fields), allow_stale_option=True))
