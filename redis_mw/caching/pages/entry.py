"""A cached route: which requests it is for, how long its answers live, and what tells its visitors apart."""

from collections.abc import Callable, Container, Mapping
from typing import Any, Literal, TypeAlias

from redis_mw.caching.pages.names import Url, url_of
from redis_mw.caching.rules.terms import Terms
from redis_mw.caching.rules.vary import together
from redis_mw.caching.tags import name_of
from redis_mw.errors import PolicyError
from redis_mw.http.request import Request
from redis_mw.policy.templates import OF_SESSION, Fill, Template, compiled
from redis_mw.settings import Cached, microseconds, resolve

SERVED = frozenset({"GET", "HEAD"})
COOKIE = "Cookie"

Whose: TypeAlias = Literal["anybody", "user", "session"]
"""Whose a page is: shared; one user's, for all of his sessions; one session's, of somebody who has logged in."""
NEGATIVE = (404, 410)
"""The statuses that a single number gives a lifetime."""


class Entry:
    """One policy at one ``place``. What users wrote is called with the framework's own request."""

    def __init__(self, policy: Cached, place: str, *, jitter: float) -> None:
        self.policy = policy
        self.place = place
        self.any_host = policy.host_any
        self.vary = together(policy.vary)
        self._varies = (*policy.vary, COOKIE) if policy.cookies else tuple(policy.vary)
        self._varies_of_one = (*policy.vary, COOKIE)
        self.terms = Terms(
            ttl_us=microseconds(policy.ttl),
            stale_us=microseconds(policy.stale),
            error_us=microseconds(policy.stale_if_error),
            negative_us=_negative(policy),
            public=policy.public,
            jitter=jitter if policy.jitter is None else policy.jitter,
        )
        self.all_cookies = policy.cookies == "all"
        self.cookies: tuple[str, ...] = () if policy.cookies == "all" else tuple(sorted({*policy.cookies}))
        self._methods = frozenset(policy.methods) | (SERVED if "GET" in policy.methods else frozenset())
        self._tags = tuple(map(compiled, policy.tags))
        self._key: Template | None = None
        self._call: Callable[[Any], Any] | None = None
        key: Any = policy.key
        if isinstance(key, str) and not key.startswith("call:"):
            self._key = compiled(key)
        elif key is not None:
            self._call = resolve(key, place)

    @property
    def templates(self) -> tuple[Template, ...]:
        """All that is filled with what a request has."""
        return self._tags if self._key is None else (self._key, *self._tags)

    def holds_for(self, method: str) -> bool:
        """Whether it is for requests of this method."""
        return method in self._methods

    def needs_user(self, parameters: Container[str] = ()) -> bool:
        """Whether the session has to be read before the page is looked for, for a path with these parameters."""
        return "user" not in parameters and any("user" in each.names for each in self.templates)

    def whose(self, parameters: Container[str] = ()) -> Whose:
        """Whose a page is, for a path with these parameters, and so what of a session it may be made of.

        The session is read before a page of a user's is looked for, so whose has ended gets none. What is known of it
        from the cookie alone proves nothing.
        """
        if self._key is None or "user" not in self._key.names or "user" in parameters:
            return "anybody"
        return "session" if "session" in self._key.names and "session" not in parameters else "user"

    def varies(self, whose: Whose) -> tuple[str, ...]:
        """By which fields of a request such a page varies, as other caches are to know."""
        return self._varies if whose == "anybody" else self._varies_of_one

    def name(self, request: Request, native: Any, fill: Fill) -> str | None:
        """What the page is called; None: the request has not what its visitors are told apart by, so nothing is shared.

        Calls what users wrote; what it raises passes through. ``PolicyError`` for what is no key.
        """
        url = url_of(request, any_host=self.any_host)
        more: list[str | None] = []
        if self._key is not None or self._call is not None:
            key = fill(self._key) if self._key is not None else self._called(native)
            if key is None:
                return None
            more.append(key)
        if self.all_cookies:
            more += request.headers.get_all("cookie")
        for cookie in self.cookies:
            more += [cookie, *request.cookies(cookie)] if request.cookies(cookie) else [cookie, None]
        return url.name_for(more) if more else url.name

    def is_keyed(self) -> bool:
        """Whether a URL has a page for each of several visitors."""
        return self._key is not None or self._call is not None or self.all_cookies or bool(self.cookies)

    def is_anybodys(self) -> bool:
        """Whether a request of nobody's makes the same page: it has no cookies, no session, and no credentials."""
        personal = self._call is not None or self.all_cookies or bool(self.cookies)
        return not personal and (self._key is None or self._key.names.isdisjoint(OF_SESSION))

    def tags(self, request: Request, fill: Fill) -> tuple[str, ...]:
        """The names of the tags of what is made; one that cannot be filled is left out."""
        found = [name_of(text) for each in self._tags if (text := fill(each)) is not None]
        if self.is_keyed():
            found.append(keyed_tag(url_of(request)))
        return tuple(dict.fromkeys(found))

    def _called(self, native: Any) -> str | None:
        assert self._call is not None
        key = self._call(native)
        if key is None or (isinstance(key, str) and key):
            return key
        raise PolicyError(f"the key at {self.place}: it is a text that is not empty, or None, not {key!r:.80}")


def keyed_tag(url: Url) -> str:
    """The tag by which the pages of a URL are dropped whose names nobody can know."""
    return name_of(f"\0url {url.path}?{url.query}")


def _negative(policy: Cached) -> dict[int, int]:
    given = policy.negative
    lifetimes = given if isinstance(given, Mapping) else dict.fromkeys(NEGATIVE, given)
    return {status: us for status, each in lifetimes.items() if (us := microseconds(each)) > 0}
