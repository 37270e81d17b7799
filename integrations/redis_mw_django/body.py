"""The body of a request that came with an idempotency key: what it asks for is compared, so it is read first."""

from io import BytesIO
from typing import Any

from django.http import HttpRequest
from django.http.request import RawPostDataException

from redis_mw.errors import PolicyError
from redis_mw.idempotency.attempt import Attempt

CHUNK = 65536


def read_into(attempt: Attempt, request: HttpRequest) -> None:
    """Read the body to its end, or to where it is too large, and put it back: the view, its form parsers and upload
    handlers find it as if nobody had read anything, so that Django's own bounds hold as ever.

    ``PolicyError`` where somebody has read it and not kept it: then nobody could say what the request asks for.
    """
    stream: Any = request  # Django has no public way of putting a body back
    if stream._read_started or hasattr(request, "_body"):
        try:
            _ = attempt.read(request.body)
        except RawPostDataException:
            raise PolicyError(
                f"the idempotency at {attempt.entry.place}: the body of this request was read before it could be "
                "compared. Let the mark be seen before that (RedisMiddleware first in MIDDLEWARE, functools.wraps in "
                "the decorators around idempotent), or read request.body before request.POST"
            ) from None
        return
    body = _read(request, attempt.room.max_body)
    if body is None:
        attempt.cut()
        return
    _ = attempt.read(body)
    stream._stream, stream._read_started = BytesIO(body), False


def _read(request: HttpRequest, most: int) -> bytes | None:
    """The body, None if it has more bytes than this; no more than one beyond is read."""
    body = bytearray()
    while len(body) <= most:
        chunk = request.read(min(CHUNK, most + 1 - len(body)))
        if not chunk:
            return bytes(body)
        body += chunk
    return None
