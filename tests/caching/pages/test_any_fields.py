"""Any bytes in the fields of requests and responses: never an error, and nothing is served to whom it is not for."""

import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from colours import Threads
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from visiting import Made, Origin, Process

from redis_mw import Cache, Cached, Settings, replace
from redis_mw.caching.rules.freshness import SECOND
from redis_mw.caching.rules.reuse import FAILURES
from redis_mw.caching.rules.storing import Storable, storing
from redis_mw.caching.rules.terms import Terms
from redis_mw.http.request import Fields, Request

pytestmark = pytest.mark.one_server

POLICY = Cached(60, jitter=0, stale=30, stale_if_error=30, tags=["t"], vary=["x-kind"], negative={404: 10, 503: 5})
TERMS = Terms(ttl_us=60 * SECOND, stale_us=30 * SECOND, error_us=30 * SECOND, negative_us={404: 10**7, 503: 5 * 10**6})

# What a server hands on are the bytes of the wire as Latin-1; some let anything through.
anything = st.binary(max_size=24).map(lambda data: data.decode("latin-1")) | st.text(max_size=12)
control = st.lists(
    st.sampled_from(
        [
            *("no-store", "No-Store=x", "private", 'PRIVATE="a"', "private=", "no-cache", "public", "max-age=60"),
            *("s-maxage=60", "max-age=0", "must-revalidate", "must-understand", "max-age", "max-age=x", 'max-age="5"'),
            *("only-if-cached", "max-stale", "min-fresh=1", "stale-while-revalidate=60", "stale-if-error=60", "", "="),
            *("max-age=99999999999999999999", "proxy-revalidate", "s-maxage=x", "no-transform"),
        ]
    )
    | anything,
    max_size=3,
).map(", ".join)
values: dict[str, st.SearchStrategy[str]] = {
    "Cache-Control": control,
    "CDN-Cache-Control": control,
    "Pragma": st.just("no-cache"),
    "Vary": st.sampled_from(
        ["Accept", "accept, x-kind", "*", "Cookie", "authorization, Accept", "-", ",", "a b", "\xff"]
    ),
    "Set-Cookie": st.just("a=1"),
    "Authorization": st.sampled_from(["Bearer x", ""]),
    "Cookie": st.sampled_from(["session=1", "a=1; b=2", "=;", ";"]),
    "Range": st.sampled_from(["bytes=0-0", "bytes=-1", "bytes=9-", "bytes=5-1", "x"]),
    "If-None-Match": st.sampled_from(["*", '"a"', 'W/"a"', '"', '"a", "b"']),
    "If-Modified-Since": st.sampled_from(["Fri, 15 Jan 2027 09:00:00 GMT", "0"]),
    "If-Match": st.just('"a"'),
    "If-Range": st.just('"a"'),
    "ETag": st.sampled_from(['"a"', 'W/"a"', "a", '"']),
    "Last-Modified": st.sampled_from(["Fri, 15 Jan 2021 09:00:00 GMT", "x"]),
    "Expires": st.sampled_from(["Fri, 15 Jan 2100 09:00:00 GMT", "0", "Thu, 01 Jan 1970 00:00:00 GMT"]),
    "Date": st.sampled_from(["Fri, 15 Jan 2100 09:00:00 GMT", "x", "Thu, 01 Jan 1970 00:00:00 GMT"]),
    "Age": st.sampled_from(["0", "50", "-1", "9" * 30, "5, 6", "x"]),
    "Content-Length": st.sampled_from(["4", "-1", "x"]),
    "Content-Type": st.sampled_from(["text/event-stream", "text/plain", "image/png", ""]),
    "Content-Encoding": st.sampled_from(["gzip", ""]),
    "Connection": st.sampled_from(["close", "X-A, set-cookie", "cache-control"]),
    "Cache-Groups": st.sampled_from(['"a"', '"a", "b"', "a", "\xff"]),
    "Upgrade": st.just("websocket"),
    "Accept": st.sampled_from(["a", "b", ""]),
    "X-Kind": st.sampled_from(["a", "b"]),
}
pairs = st.sampled_from(sorted(values)).flatmap(
    lambda name: st.tuples(st.sampled_from([name, name.lower(), name.upper()]), values[name] | anything)
)
fields = st.lists(pairs | st.tuples(anything, anything), max_size=4).map(tuple)
requests = st.tuples(st.sampled_from(["GET", "GET", "GET", "HEAD"]), fields)
responses = st.builds(
    lambda status, headers, body, accessed, csrf: Made(body, headers, status, accessed, csrf),
    st.sampled_from([200, 200, 200, 204, 206, 301, 304, 404, 500, 503]),
    fields,
    st.sampled_from([b"", b"made", b"x" * 2000]),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([False, False, False, True]),
)


@pytest.fixture
def process(redis_mw_settings: Settings) -> Iterator[Process]:
    settings = replace(redis_mw_settings, cache=Cache(l1_bytes=0, honour_client_no_cache=True))
    process = Process(Threads(settings), Origin())
    yield process
    process.close()


urls = count()


def is_shared(request: Request, made: Made) -> bool:
    """Whether the rules let a response be stored that was made for this request."""
    now_us = time.time_ns() // 1000
    asked = {"asked_us": now_us, "received_us": now_us}
    options: Any = {"session_accessed": made.accessed, "csrf_issued": made.csrf}
    # The application is asked for the whole.
    left = Fields(tuple(pair for pair in request.headers.pairs if pair[0].lower() != "range"))  # type: ignore[attr-defined]
    whole = Request(request.method, request.path, headers=left)
    return isinstance(storing(whole, made.status, Fields(made.headers), **asked, **options, terms=TERMS), Storable)


@settings(
    max_examples=settings().max_examples * (10 if settings().max_examples >= 2000 else 3),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(visits=st.lists(st.tuples(requests, responses), min_size=2, max_size=4))
def test_any_fields_are_answered_and_only_what_may_be_shared_is(
    process: Process, visits: list[tuple[tuple[str, tuple[tuple[str, str], ...]], Made]]
) -> None:
    path, origin = f"/{next(urls)}", process.origin
    made_for: dict[str, tuple[Request, Made]] = {}
    number = count()

    for (method, headers), answer in visits:
        request = Request(method, path, headers=Fields(headers))
        marker = f"run-{next(number)}"
        made_for[marker] = (request, answer)
        origin.made = answer._replace(headers=(*answer.headers, ("X-Run", marker)))
        got = process.get(path, headers, policy=POLICY, method=method)
        process.refreshed()
        held = process.held(path, policy=POLICY)
        if held:  # what could not be made anew is tried again when the lease has ended, for the page is there meanwhile
            assert not got.ran and answer.status in FAILURES and len(held) == 1 and held[0] != "renewed"
            process.end_leases(path, policy=POLICY)
        assert not process.room.memory.flights._latest
        assert 200 <= got.status <= 599
        if not got.ran:  # who has it made anew is not who it is made for
            made_for[marker] = (Request("GET", path), answer)
        of = got.headers.get("x-run")
        if got.ran or of is None:
            continue
        asked, made = made_for[of]
        assert is_shared(asked, made), (asked, made)
        told = {name.lower() for name, _ in got.headers.pairs}
        assert "set-cookie" not in told
        assert not made.accessed and not made.csrf
        authorized = request.headers.get("authorization") is not None
        if authorized or asked.headers.get("authorization") is not None:
            said = ", ".join(
                value for name, value in made.headers if name.lower() in ("cache-control", "cdn-cache-control")
            ).lower()
            assert "public" in said or "must-revalidate" in said or "s-maxage" in said
