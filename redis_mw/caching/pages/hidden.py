"""What the application is not to see of a request of a cached route.

It is asked as nobody in particular: without what only one visitor sent and the page's name does not tell apart, and
for the whole of the page, as it is now.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from redis_mw.caching.pages.entry import Entry
from redis_mw.caching.pages.page import Page
from redis_mw.caching.rules.fields import Pairs
from redis_mw.http.request import Headers, Request

FORWARDING: Final = frozenset(
    {
        *("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix"),
        *("x-forwarded-proto", "x-forwarded-scheme", "x-forwarded-server", "x-forwarded-ssl", "x-forwarded-uri"),
        *(
            "x-original-host",
            "x-original-uri",
            "x-original-url",
            "x-rewrite-url",
            "x-host",
            "x-real-ip",
            "front-end-https",
        ),
        *("x-http-method-override", "x-http-method", "x-method-override", "x-client-ip", "true-client-ip"),
    }
)
"""Fields by which a proxy says what a client had sent to it: believed by many frameworks, and by nobody's key."""

OF_A_COPY: Final = frozenset(
    {"if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range", "range"}
)
"""What a client asks with regard to a copy or a part that it has: answered here, of the page."""

OF_SOMEBODY: Final = frozenset(
    {"authorization", "cookie", "proxy-authorization", "cache-control", "pragma", "idempotency-key"}
)
"""What a client sends for itself, which a request that nobody has sent does not have."""


class Without(msgspec.Struct, frozen=True, gc=False):
    """The fields of a request but for some, whose names are in lower case."""

    headers: Headers
    names: frozenset[str]

    def get(self, name: str) -> str | None:
        return None if name.lower() in self.names else self.headers.get(name)

    def get_all(self, name: str) -> tuple[str, ...]:
        return () if name.lower() in self.names else self.headers.get_all(name)

    def has_any(self, names: frozenset[str]) -> bool:
        return self.headers.has_any(names - self.names)


class Hidden(msgspec.Struct, frozen=True):
    """What the application is not to see of a request, or sees another way. Names are in lower case.

    ``cookie`` tells which cookies stay, None: all of them. ``more`` are fields that it sees instead. ``anonymous``: the
    request it is made of is somebody's, and it is nobody's.
    """

    names: frozenset[str] = frozenset()
    cookie: Callable[[str], bool] | None = None
    more: Pairs = ()
    anonymous: bool = False

    def changes(self, headers: Headers) -> bool:
        """Whether the request has anything of that kind."""
        if self.anonymous or self.more or headers.has_any(self.names):
            return True
        return self.cookie is not None and headers.get("cookie") is not None

    def fields(self, pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """The fields as the application sees them."""
        for name, value in pairs:
            lower = name.lower()
            if lower in self.names:
                continue
            if lower == "cookie" and self.cookie is not None:
                value = cookies_left(value, self.cookie)
                if not value:
                    continue
            yield name, value
        yield from self.more


def hidden(
    entry: Entry,
    request: Request,
    *,
    trusted: bool,
    own_cookies: frozenset[str],
    kept_fields: frozenset[str],
    whole: bool,
    validates: Page | None = None,
    anonymous: bool = False,
) -> Hidden:
    """What to hide of a request of this route.

    ``trusted``: it came through a proxy that is believed. ``own_cookies`` are those whose use is noticed, and
    ``kept_fields`` those that the page's name or its variant tells apart. ``whole``: the answer is to be kept.
    ``validates`` is the page that may still be right; ``anonymous``: nobody waits for it.
    """
    names: set[str] = set() if trusted else {*FORWARDING} - kept_fields - {*entry.vary}
    more: Pairs = ()
    if whole:
        names |= OF_A_COPY
        if validates is not None:
            more = validates.conditions
    if anonymous:
        names |= {*OF_SOMEBODY}
    if anonymous or entry.all_cookies:
        return Hidden(frozenset(names), None, more, anonymous)
    named = own_cookies | {*entry.cookies}
    return Hidden(frozenset(names), named.__contains__, more)


def cookies_left(line: str, stays: Callable[[str], bool]) -> str:
    """A Cookie field with those cookies only whose names stay."""
    pairs = (pair.strip(" \t") for pair in line.split(";"))
    return "; ".join(pair for pair in pairs if "=" in pair and stays(pair.partition("=")[0].strip(" \t")))
