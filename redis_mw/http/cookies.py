"""Cookies: the one a response sets, and the one a request brings (RFC 6265, with 6265bis and CHIPS)."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime

import msgspec

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")
_ATTRIBUTE = re.compile(r"[\x20-\x3a\x3c-\x7e]*")
_ESCAPED = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))", re.DOTALL)
_SAME_SITE = {"lax": "Lax", "strict": "Strict", "none": "None"}

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class SetCookie(msgspec.Struct, frozen=True, kw_only=True):
    """A cookie to set; ``max_age`` in seconds, ``expires`` with its time zone, both None: it ends with the browser."""

    name: str
    value: str
    max_age: int | None = None
    expires: datetime | None = None
    path: str | None = "/"
    domain: str | None = None
    secure: bool = False
    http_only: bool = True
    same_site: str | None = "lax"
    partitioned: bool = False

    def header(self) -> str:
        """The value of a Set-Cookie field (RFC 6265 section 4.1.1). ValueError for what would need quoting there."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} cannot name a cookie")
        if not _VALUE.fullmatch(self.value):
            raise ValueError(f"the value of the cookie {self.name!r} holds characters that a cookie cannot")
        parts = [f"{self.name}={self.value}"]
        if self.max_age is not None:
            parts.append(f"Max-Age={self.max_age}")
        if self.expires is not None:
            parts.append(f"Expires={format_datetime(self.expires.astimezone(UTC), usegmt=True)}")
        if self.domain:
            parts.append(f"Domain={_attribute(self.domain)}")
        if self.path:
            parts.append(f"Path={_attribute(self.path)}")
        if self.secure:
            parts.append("Secure")
        if self.http_only:
            parts.append("HttpOnly")
        if self.same_site:
            parts.append(f"SameSite={_SAME_SITE[self.same_site.lower()]}")
        if self.partitioned:
            parts.append("Partitioned")
        return "; ".join(parts)

    def deleted(self) -> "SetCookie":
        """The cookie that makes browsers forget this one: the same attributes, or they would keep it."""
        return msgspec.structs.replace(self, value="", max_age=0, expires=_LONG_AGO)


def _attribute(text: str) -> str:
    if not _ATTRIBUTE.fullmatch(text):
        raise ValueError(f"{text!r} cannot be an attribute of a cookie")
    return text


def read_cookie(header_values: Iterable[str], name: str) -> str | None:
    """The first cookie of that name in the Cookie fields: the one with the longest path (RFC 6265 section 5.4)."""
    return next(read_cookies(header_values, name), None)


def read_cookies(header_values: Iterable[str], name: str) -> Iterator[str]:
    """Every cookie of that name in the Cookie fields, unquoted; whatever else stands there is passed over."""
    for header in header_values:
        if name not in header:
            continue
        for pair in header.split(";"):
            key, equals, value = pair.partition("=")
            if equals and key.strip(" \t") == name:
                yield _unquoted(value.strip(" \t"))


def _unquoted(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)) if found[1] else found[2], value[1:-1])


def effective_name(name: str, *, host_prefix: bool, secure: bool, path: str, domain: str | None) -> str:
    """The name a cookie gets: with ``__Host-`` where that is asked for and browsers will accept it."""
    if host_prefix and secure and path == "/" and domain is None and not name.startswith(("__Host-", "__Secure-")):
        return f"__Host-{name}"
    return name
