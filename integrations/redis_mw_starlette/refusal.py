"""How a connection is answered without its application: refused, or with what that has answered before."""

from functools import lru_cache

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from redis_mw.layer import exchange

POLICY_VIOLATION = 1008
TRY_AGAIN_LATER = 1013


async def refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the response; a WebSocket whose server cannot send one is closed, which its client sees as a 403."""
    if scope["type"] == "websocket" and "websocket.http.response" not in (scope.get("extensions") or {}):
        code = TRY_AGAIN_LATER if response.status_code in (429, 503) else POLICY_VIOLATION
        await send({"type": "websocket.close", "code": code, "reason": ""})
    else:
        await response(scope, receive, send)


async def replay(response: exchange.Response, send: Send) -> None:
    """Send what was answered before."""
    headers = [*_lines(response.headers)]
    if not response.complete and response.status >= 200 and response.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(response.body)))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


@lru_cache(maxsize=256)
def _lines(fields: exchange.Headers) -> tuple[tuple[bytes, bytes], ...]:
    """Fields as ASGI has them; remembered, since pages in memory have the same ones for a second."""
    return tuple([(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields])
