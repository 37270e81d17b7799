"""What a response makes wrong in the cache (RFC 9111 section 4.4), and the groups of RFC 9875."""

from collections.abc import Iterator
from urllib.parse import quote, unquote, urljoin, urlsplit

import msgspec

from redis_mw.http.request import Headers, Request
from redis_mw.http.structured import strings

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "QUERY"})
"""Methods that change nothing (RFC 9110 section 9.2.1); one that nobody knows may."""

_PORTS = {"http": ":80", "https": ":443"}


class Target(msgspec.Struct, frozen=True, gc=False):
    """A URL of the request's own origin: path decoded as in Request, query raw."""

    path: str
    query: str = ""


def invalidated(request: Request, status: int, headers: Headers, *, root: str = "") -> tuple[Target, ...]:
    """The URLs whose stored responses are invalid now: none after a safe method or an error; never raises.

    The request's own, and those that Location and Content-Location name if they are of the same origin: another's
    must not be touched, or anybody could empty a cache. ``root`` is where the application is mounted (SCRIPT_NAME,
    root_path), which Request leaves out of its path.
    """
    if request.method in SAFE or not 200 <= status < 400:
        return ()
    own = Target(request.path, request.query)
    named = (_named(request, line, root) for name in ("location", "content-location") for line in headers.get_all(name))
    return tuple(dict.fromkeys([own, *(target for target in named if target is not None)]))


def _named(request: Request, reference: str, root: str) -> Target | None:
    """The target of a URL reference, None where it leads out of the application or cannot be read."""
    base = f"{request.scheme}://{request.host}{quote(root + request.path, errors='replace')}"
    try:
        url = urlsplit(urljoin(base, reference.strip()))
    except ValueError:
        return None
    if _origin(url.scheme, url.netloc) != _origin(request.scheme, request.host):
        return None
    path = unquote(url.path, errors="replace") or "/"
    if not (path + "/").startswith(root + "/"):
        return None
    return Target(path[len(root) :] or "/", url.query)


def _origin(scheme: str, host: str) -> tuple[str, str]:
    """RFC 9110 section 4.3.1: scheme, host and port, the usual port left out."""
    scheme = scheme.lower()
    return scheme, host.lower().removesuffix(_PORTS.get(scheme, "\0"))


def groups(headers: Headers) -> tuple[str, ...]:
    """The groups a response belongs to (RFC 9875 section 2); none where the field is no List of Strings."""
    return tuple(_members(headers, "cache-groups"))


def invalidated_groups(method: str, headers: Headers) -> tuple[str, ...]:
    """The groups whose responses are invalid now (RFC 9875 section 3); ignored after a safe method.

    Only stored responses of the same origin are meant, and theirs alone: what they share with others is no reason to
    go on (section 2.2.1). The status does not matter, since the application says it in so many words.
    """
    return () if method in SAFE else tuple(_members(headers, "cache-group-invalidation"))


def _members(headers: Headers, name: str) -> Iterator[str]:
    lines = headers.get_all(name)
    yield from dict.fromkeys(strings(lines) or () if lines else ())
