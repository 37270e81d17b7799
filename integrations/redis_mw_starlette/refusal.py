"""How a connection is refused, over HTTP and before a WebSocket is accepted."""

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

POLICY_VIOLATION = 1008
TRY_AGAIN_LATER = 1013


async def refuse(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the response; a WebSocket whose server cannot send one is closed, which its client sees as a 403."""
    if scope["type"] == "websocket" and "websocket.http.response" not in (scope.get("extensions") or {}):
        code = TRY_AGAIN_LATER if response.status_code in (429, 503) else POLICY_VIOLATION
        await send({"type": "websocket.close", "code": code, "reason": ""})
    else:
        await response(scope, receive, send)
