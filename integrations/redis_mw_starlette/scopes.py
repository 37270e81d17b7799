"""ASGI scopes read as the layer's own request."""

from starlette.types import Scope

from redis_mw.http.request import Fields, Request


def request_of(scope: Scope) -> Request:
    """The request in a scope; a WebSocket's handshake is a GET. Its path is the one that Starlette routes on."""
    headers = Fields(tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]))
    client = scope.get("client")
    return Request(
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
