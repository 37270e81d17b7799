"""The settings of sessions and of their cookie."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal

import msgspec

from redis_mw.errors import Problem
from redis_mw.settings.defaults import Default, is_default
from redis_mw.settings.durations import microseconds
from redis_mw.settings.must import Count, Fraction, NotNegative, Positive
from redis_mw.settings.part import Part
from redis_mw.settings.paths import PathPattern
from redis_mw.settings.texts import CookieDomain, CookiePath, DottedPath, EncryptionKey, Origin, Token


class Cookie(Part, frozen=True, kw_only=True):
    """The session cookie. ``name`` and ``secure`` None: the framework's own setting."""

    name: Token | None = None
    path: CookiePath = "/"
    domain: CookieDomain | None = None
    secure: bool | None = None
    http_only: bool = True
    same_site: Literal["lax", "strict", "none"] = "lax"
    partitioned: bool = False
    persistent: bool = True
    host_prefix: bool = True

    def contradictions(self, path: str) -> Iterator[Problem]:
        """The mixes that browsers refuse (RFC 6265bis sections 4.1.3 and 5.7; CHIPS for ``Partitioned``)."""
        secure = f"{path}.secure"
        if self.same_site == "none" and self.secure is False:
            yield Problem(secure, 'a cookie with same_site="none" must be secure', "leave secure out or set it to True")
        if self.partitioned and self.secure is False:
            yield Problem(secure, "a partitioned cookie must be secure", "leave secure out or set it to True")
        if self.partitioned and self.same_site != "none":
            yield Problem(
                f"{path}.partitioned", f'has no effect with same_site="{self.same_site}"', 'set same_site="none"'
            )
        prefix = next((each for each in ("__Host-", "__Secure-") if self.starts_with(each)), None)
        if prefix and self.secure is False:
            yield Problem(secure, f"a {prefix} cookie must be secure", "leave secure out or set it to True")
        if prefix and self.path != "/":
            yield Problem(f"{path}.path", f'a {prefix} cookie has the path "/" here', "leave path out")
        if prefix == "__Host-" and self.domain is not None:
            yield Problem(f"{path}.domain", "a __Host- cookie has no domain", "leave domain out, or rename the cookie")

    def starts_with(self, prefix: str) -> bool:
        """Whether the given name has this prefix; browsers compare without case."""
        return self.name is not None and self.name.lower().startswith(prefix.lower())


class Sessions(Part, frozen=True, kw_only=True):
    """Server-side sessions. ``is_default(idle)`` tells whether the user set it; so for each of the three lifetimes."""

    hidden: ClassVar[frozenset[str]] = frozenset({"encryption_keys"})

    idle: Positive = Default(1800)
    absolute: Positive = Default(43200)
    anonymous_idle: Positive = Default(900)
    touch_after: Fraction = 0.1
    grace: NotNegative = 10
    max_sessions: Count | None = None
    on_max: Literal["evict", "refuse"] = "evict"
    on_outage: Literal["refuse", "anonymous"] = "refuse"
    save_on_5xx: bool = False
    max_bytes: Count = 65536
    max_fields: Count = 128
    encryption_keys: list[EncryptionKey] = []
    patience: Positive = 1.0
    skip: list[PathPattern] = []
    websocket_origins: list[Origin] = []
    user_of: Callable[..., Any] | DottedPath | None = None
    cookie: Cookie = msgspec.field(default_factory=Cookie)

    def contradictions(self, path: str) -> Iterator[Problem]:
        """An idle time over the absolute one would end early. One that nobody set is cut short in silence."""
        for name in ("idle", "anonymous_idle"):
            value = getattr(self, name)
            if not is_default(value) and microseconds(value) > microseconds(self.absolute):
                yield Problem(
                    f"{path}.{name}",
                    f"{value} is longer than {path}.absolute ({self.absolute})",
                    f"raise absolute, or lower {name}",
                )
