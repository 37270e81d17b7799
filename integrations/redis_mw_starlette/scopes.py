"""ASGI scopes read as the layer's own request."""

from collections.abc import Iterable

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from redis_mw.caching.pages.made import Hidden
from redis_mw.http.request import Request as HttpRequest


class ScopeHeaders(msgspec.Struct, frozen=True, gc=False):
    """The header fields of a scope, decoded when asked for; ASGI gives their names in lower case."""

    raw: Iterable[tuple[bytes, bytes]]

    def get(self, name: str) -> str | None:
        """The first value of that name."""
        wanted = name.lower().encode("latin-1")
        for each, value in self.raw:
            if each == wanted:
                return value.decode("latin-1")
        return None

    def get_all(self, name: str) -> tuple[str, ...]:
        """Every value of that name, one for each line."""
        wanted = name.lower().encode("latin-1")
        return tuple([value.decode("latin-1") for each, value in self.raw if each == wanted])


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
