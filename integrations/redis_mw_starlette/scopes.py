"""ASGI scopes read as the layer's own request."""

from collections.abc import Iterable

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

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
    )


def _route_path(path: str, root: str) -> str:
    """What is left of the path below the application's root (of a Mount, or of a proxy that strips nothing)."""
    if root and (path == root or path.startswith(root.rstrip("/") + "/")):
        path = path[len(root.rstrip("/")) :]
    return path or "/"
