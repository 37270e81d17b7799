"""What a page is called in Redis: a hash of the URL, and of whatever else a policy tells its visitors apart by.

Nothing is normalised that a handler could see: two URLs that look alike to us may be two pages to it. Each part counts
with its length, so no two sets of parts give one name.
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from urllib.parse import unquote, urlsplit

import msgspec

from redis_mw.http.request import Request

ANY_HOST = "*"
SHORT = 512
"""Characters of a URL whose name is remembered, as it is mostly asked for again."""
_PORTS = {"http": ":80", "https": ":443"}


class Url(msgspec.Struct, frozen=True, gc=False):
    """A URL as the application sees it: ``path`` decoded, with where the application is mounted; ``query`` raw."""

    scheme: str
    host: str
    path: str
    query: str = ""

    @property
    def name(self) -> str:
        """Of the page that is the same for everybody."""
        parts = "url", self.scheme, self.host, self.path, self.query
        return _known(*parts) if len(self.host) + len(self.path) + len(self.query) <= SHORT else _hashed(*parts)

    def name_for(self, more: Iterable[str | None]) -> str:
        """Of the page for those who have these in common; None is not the same as nothing."""
        parts = [part for each in more for part in (("-", "") if each is None else ("+", each))]
        return _hashed("url+", self.scheme, self.host, self.path, self.query, *parts)


def url_of(request: Request, *, any_host: bool = False) -> Url:
    """The URL that a request is for (RFC 9110 section 7.1); ``any_host``: whatever its Host field says."""
    scheme = request.scheme.lower()
    host = ANY_HOST if any_host else host_of(request.host, scheme)
    return Url(scheme, host, request.root + request.path, request.query)


def urls_to_purge(url: str) -> tuple[Url, ...]:
    """What an absolute URL may be called here; ValueError for what is none.

    Both schemes: behind a proxy that ends TLS an application may see another one than its visitors.
    """
    split = urlsplit(url)
    if split.scheme not in _PORTS or not split.netloc:
        raise ValueError(f"{url!r} is no absolute URL: write https://example.com/path")
    host = host_of(split.netloc.rpartition("@")[2], split.scheme)
    path = unquote(split.path, errors="replace") or "/"
    return tuple(Url(scheme, each, path, split.query) for scheme in _PORTS for each in (host, ANY_HOST))


def host_of(host: str, scheme: str) -> str:
    """A host with its port, without case and without the port that its scheme has anyway (RFC 9110 section 4.2.3)."""
    return host.lower().removesuffix(_PORTS.get(scheme, "\0"))


def _hashed(*parts: str) -> str:
    whole = blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        whole.update(b"%d:%b" % (len(data), data))
    return whole.hexdigest()


_known = lru_cache(4096)(_hashed)


def is_among(host: str, hosts: frozenset[str]) -> bool:
    """Whether a Host field is one of these; they may be "*", or begin with a dot, which stands for any subdomain."""
    name = host.lower()
    if not name.endswith("]"):
        name = name.rpartition(":")[0] or name
    return any(each in ("*", name) or (each[:1] == "." and (name.endswith(each) or name == each[1:])) for each in hosts)
