"""What an unsafe method makes wrong (RFC 9111 section 4.4), and groups (RFC 9875)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redis_mw.caching.rules.invalidation import Target, groups, invalidated, invalidated_groups
from redis_mw.http.request import Fields, Request

OWN = Target("/orders", "page=1")


def wrong(*fields: tuple[str, str], method: str = "POST", status: int = 201, root: str = "") -> tuple[Target, ...]:
    request = Request(method, OWN.path, OWN.query, "https", "shop.example")
    return invalidated(request, status, Fields(fields), root=root)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PURGE", "get"])
def test_an_unsafe_or_unknown_method_invalidates_its_url(method: str) -> None:
    assert wrong(method=method) == wrong(method=method, status=303) == (OWN,)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY"])
def test_a_safe_one_does_not(method: str) -> None:
    assert wrong(("Location", "/orders/7"), method=method) == ()


@pytest.mark.parametrize("status", [100, 400, 404, 409, 500, 503, 0, 600])
def test_an_error_does_not(status: int) -> None:
    assert wrong(("Location", "/orders/7"), status=status) == ()


@pytest.mark.parametrize(
    ("reference", "target"),
    [
        ("/orders/7", Target("/orders/7")),
        ("/orders/7?x=%20&y", Target("/orders/7", "x=%20&y")),
        ("https://shop.example/orders/7", Target("/orders/7")),
        ("HTTPS://SHOP.example:443/orders/7#top", Target("/orders/7")),
        ("//shop.example/orders/7", Target("/orders/7")),
        ("7", Target("/7")),
        ("?page=2", Target("/orders", "page=2")),
        ("../a/./b", Target("/a/b")),
        ("/caf%C3%A9%2Fbar", Target("/café/bar")),
        ("https://shop.example", Target("/")),
        # Another origin, or nothing at all (section 4.4).
        *[
            (other, None)
            for other in ("https://evil.example/orders/7", "http://shop.example/orders/7", "//evil.example/")
        ],
        *[
            (other, None)
            for other in ("https://shop.example:444/", "https://a@shop.example/", "mailto:a@b", "https://[")
        ],
    ],
)
@pytest.mark.parametrize("name", ["Location", "Content-Location"])
def test_location_and_content_location_of_the_same_origin_too(name: str, reference: str, target: Target | None) -> None:
    assert wrong((name, reference)) == ((OWN,) if target is None else (OWN, target))


def test_each_is_named_once() -> None:
    assert wrong(("Location", "/orders?page=1"), ("Content-Location", "/a"), ("Content-Location", "/a")) == (
        OWN,
        Target("/a"),
    )


def test_what_is_mounted_is_known_by_its_own_paths() -> None:
    assert wrong(("Location", "/app/orders/7"), root="/app") == (OWN, Target("/orders/7"))
    assert wrong(("Location", "7"), root="/app") == (OWN, Target("/7"))
    assert wrong(("Location", "/app"), root="/app") == (OWN, Target("/"))
    assert wrong(("Location", "/application/7"), root="/app") == wrong(("Location", "/"), root="/app") == (OWN,)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['"a", "b"'], ("a", "b")),
        (['"a"', '"b";x=1, "a"'], ("a", "b")),
        (['"A"'], ("A",)),
        # Anything but Strings: as if the field were not there (RFC 9651 section 4.2).
        *[(lines, ()) for lines in ([], [""], ["a"], ['"a", b'], ['"a",'], ['"a'], ["1"], ['("a" "b")'], ['"ä"'])],
    ],
)
def test_groups_are_a_list_of_strings(lines: list[str], expected: tuple[str, ...]) -> None:
    """RFC 9875 sections 2 and 3."""
    assert groups(Fields(tuple(("Cache-Groups", line) for line in lines))) == expected
    fields = Fields(tuple(("cache-group-invalidation", line) for line in lines))
    assert invalidated_groups("POST", fields) == expected
    assert invalidated_groups("GET", fields) == ()  # section 3: ignored after a safe method


anything = st.text(st.characters(exclude_categories=()), max_size=30)


@given(anything, anything, anything, anything | st.text("htps:/[]@?#.%"), anything)
def test_no_text_is_an_exception(scheme: str, host: str, path: str, reference: str, root: str) -> None:
    request = Request("POST", path, "q", scheme, host)
    headers = Fields((("Location", reference), ("Cache-Groups", reference)))
    assert Target(path, "q") in invalidated(request, 200, headers, root=root)
    assert isinstance(groups(headers), tuple)
