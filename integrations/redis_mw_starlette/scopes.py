"""ASGI scopes read as the layer's own request."""

from collections.abc import Iterable
from functools import lru_cache

from starlette.requests import HTTPConnection, Request
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from redis_mw.caching.pages.hidden import Hidden
from redis_mw.http.request import Request as HttpRequest

NAMES = 256
"""So many names of fields are remembered as they stand in a scope."""


class ScopeHeaders:
    """The header fields of a scope, decoded when asked for; ASGI gives their names in lower case.

    A request is asked for a dozen fields that it has not: they are sorted by name when the first is wanted.
    """

    __slots__ = ("_named", "_raw")

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._raw = raw
        self._named: dict[bytes, list[bytes]] | None = None

    def get(self, name: str) -> str | None:
        """The first value of that name."""
        values = (self._named or self._by_name()).get(_lowered(name))
        return values[0].decode("latin-1") if values is not None else None

    def get_all(self, name: str) -> tuple[str, ...]:
        """Every value of that name, one for each line."""
        values = (self._named or self._by_name()).get(_lowered(name))
        return tuple([value.decode("latin-1") for value in values]) if values is not None else ()

    def has_any(self, names: frozenset[str]) -> bool:
        """Whether there is a field of one of these names, which are in lower case."""
        return not (self._named or self._by_name()).keys().isdisjoint(_all_lowered(names))

    def _by_name(self) -> dict[bytes, list[bytes]]:
        named: dict[bytes, list[bytes]] = {}
        for name, value in self._raw:
            named.setdefault(name, []).append(value)
        self._named = named
        return named


@lru_cache(maxsize=NAMES)
def _lowered(name: str) -> bytes:
    return name.lower().encode("latin-1")


@lru_cache(maxsize=NAMES)
def _all_lowered(names: frozenset[str]) -> frozenset[bytes]:
    return frozenset(map(_lowered, names))


def connection_of(scope: Scope, receive: Receive, send: Send) -> HTTPConnection:
    """Starlette's own request or WebSocket."""
    return Request(scope, receive) if scope["type"] == "http" else WebSocket(scope, receive, send)


def request_of(scope: Scope) -> HttpRequest:
    """The request in a scope; a WebSocket's handshake is a GET. Its path is the one that Starlette routes on."""
    headers = ScopeHeaders(scope["headers"])
    client = scope.get("client")
    return HttpRequest(
        method=scope.get("method", "GET"),
        path=_route_path(scope["path"], scope.get("root_path", "")),
        query=scope.get("query_string", b"").decode("latin-1"),
        scheme=scope.get("scheme", "http"),
        host=headers.get("host") or "",
        headers=headers,
        client=client[0] if client else None,
        root=_root(scope["path"], scope.get("root_path", "")),
    )


def _route_path(path: str, root: str) -> str:
    """What is left of the path below the application's root (of a Mount, or of a proxy that strips nothing)."""
    return path[len(_root(path, root)) :] or "/"


def _root(path: str, root: str) -> str:
    """The root as far as it stands in the path."""
    bare = root.rstrip("/")
    return bare if root and (path == root or path.startswith(bare + "/")) else ""


def shown(fields: Iterable[tuple[bytes, bytes]], hidden: Hidden) -> list[tuple[bytes, bytes]]:
    """The fields of a request as the application is to see them."""
    pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in hidden.fields(pairs)]


def of_nobody(scope: Scope) -> Scope:
    """A request for the same page that nobody has sent."""
    return {**scope, "method": "GET", "state": dict(scope.get("state") or {}), "extensions": {}}
