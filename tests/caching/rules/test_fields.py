"""Which fields are stored, go out, and change by a 304 (RFC 9111 sections 3.1 and 3.2)."""

from hypothesis import given
from hypothesis import strategies as st

from redis_mw.caching.rules.fields import sent_fields, stored_fields, updated_fields, without

NOW = 784111777
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = "Sun, 06 Nov 1994 08:00:00 GMT"

anything = st.text(st.characters(exclude_categories=()), max_size=20)
names = anything | st.sampled_from(["Date", "Age", "Set-Cookie", "Connection", "ETag", "Content-Encoding", "X"])
pairs = st.lists(st.tuples(names, anything), max_size=6).map(tuple)


def test_what_belongs_to_one_connection_delivery_or_client_is_not_stored() -> None:
    kept = (("Content-Type", "a"), ("Link", "<a>"), ("Link", "<b>"), ("Cache-Status", "cdn;hit"), ("Date", EARLIER))
    dropped = (
        *[("Connection", "X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "5"), ("Transfer-Encoding", "chunked")],
        *[("Proxy-Authenticate", "Basic"), ("Age", "5"), ("Content-Length", "9"), ("Set-Cookie", "a=1")],
        *[
            ("RateLimit", '"a";r=1'),
            ("RateLimit-Policy", '"a";q=1'),
            ("X-RateLimit-Limit", "1"),
            ("X-Rate-Limit-Reset", "1"),
        ],
    )
    assert stored_fields((*dropped, *kept), received=NOW) == kept


def test_cookies_are_stored_where_that_is_asked_for() -> None:
    fields = (("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Date", DATE))
    assert stored_fields(fields, received=NOW, store_set_cookie=True) == fields


def test_there_is_always_one_date() -> None:
    """RFC 9110 section 6.6.1."""
    assert stored_fields((), received=NOW) == (("Date", DATE),) == stored_fields((("date", "x"),), received=NOW)
    assert stored_fields((("date", "x"), ("Date", EARLIER)), received=NOW) == (("Date", EARLIER),)
    assert stored_fields((("date", EARLIER), ("x", ""), ("Date", DATE)), received=NOW) == (("x", ""), ("Date", EARLIER))


def test_a_response_goes_out_with_its_age() -> None:
    """RFC 9111 section 5.1; a targeted field goes on (RFC 9213 section 3.1)."""
    stored = (("Date", EARLIER), ("CDN-Cache-Control", "max-age=60"))
    assert sent_fields(stored, age_us=1_999_999, length=3) == (*stored, ("Content-Length", "3"), ("Age", "1"))
    assert sent_fields(stored, age_us=-5, length=None) == (*stored, ("Age", "0"))
    assert sent_fields((), age_us=10**20, length=None) == (("Age", "2147483648"),)


def test_a_304_replaces_what_it_brings_but_for_what_the_body_hangs_on() -> None:
    """RFC 9111 section 3.2."""
    stored = (
        *[("ETag", '"a"'), ("Content-Type", "text/plain"), ("Content-Encoding", "br"), ("X-Kept", "1")],
        *[("Link", "<a>"), ("Link", "<b>"), ("Date", EARLIER), ("Cache-Control", "max-age=1"), ("Set-Cookie", "a=1")],
    )
    brought = (
        *[("etag", '"b"'), ("content-type", "text/html"), ("Content-Encoding", "gzip"), ("Content-Length", "0")],
        *[("Content-Range", "bytes 0-1/2"), ("link", "<c>"), ("cache-control", "max-age=9"), ("Age", "3")],
        *[("Set-Cookie", "b=2"), ("Connection", "x-hop"), ("X-Hop", "1"), ("X-New", "1"), ("Keep-Alive", "1")],
    )
    assert updated_fields(stored, brought, received=NOW, store_set_cookie=True) == (
        *[("Content-Encoding", "br"), ("X-Kept", "1"), ("Set-Cookie", "a=1"), ("etag", '"b"')],
        *[
            ("content-type", "text/html"),
            ("link", "<c>"),
            ("cache-control", "max-age=9"),
            ("X-New", "1"),
            ("Date", DATE),
        ],
    )


def test_fields_are_left_out_by_name() -> None:
    assert without((("A", "1"), ("b", "2"), ("a", "3")), "A") == (("b", "2"),)


@given(pairs, pairs, st.booleans())
def test_no_text_is_an_exception(
    stored: tuple[tuple[str, str], ...], brought: tuple[tuple[str, str], ...], cookies: bool
) -> None:
    kept = stored_fields(stored, received=NOW, store_set_cookie=cookies)
    found = updated_fields(kept, brought, received=NOW, store_set_cookie=cookies)
    for fields in (kept, found):
        lower = [name.lower() for name, _ in fields]
        assert lower.count("date") == 1 and not {"age", "connection", "content-length"} & set(lower)
        assert cookies or "set-cookie" not in lower
        assert stored_fields(fields, received=NOW, store_set_cookie=cookies) == fields
