"""The body of a request that came with an idempotency key: what it asks for is compared, so it is read first."""

from io import BytesIO, RawIOBase
from typing import TYPE_CHECKING, Protocol

from flask.wrappers import Request
from werkzeug.wsgi import get_input_stream

from redis_mw.errors import PolicyError
from redis_mw.idempotency.attempt import Attempt

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

INPUT = "wsgi.input"
CHUNK = 65536


class Readable(Protocol):
    """What a server gives a body as."""

    def read(self, size: int, /) -> bytes | None: ...


class Body(RawIOBase):
    """The ``wsgi.input`` of a request, which remembers what was read of it, so that one whose policy is found late can
    be compared as well. No more is kept than ``most`` bytes, and little more is read ahead.
    """

    def __init__(self, source: Readable, most: int) -> None:
        self._source = source
        self._most = most
        self._kept = bytearray()
        self._at = 0
        """How much of what is kept was given to the application."""
        self._too_large = self._over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Give the application the next part: what was read ahead, then what comes."""
        given = memoryview(buffer).cast("B")
        if self._at == len(self._kept):
            self._read(len(given))
        part = self._kept[self._at : self._at + len(given)]
        given[: len(part)] = part
        self._at += len(part)
        if self._too_large:
            del self._kept[: self._at]
            self._at = 0
        return len(part)

    def read_into(self, attempt: Attempt) -> None:
        """Read to the end, or to where it is too large; the application reads it all the same."""
        while not self._over and not self._too_large:
            self._read(CHUNK)
        if self._too_large:
            attempt.cut()
        else:
            _ = attempt.read(bytes(self._kept))

    def _read(self, size: int) -> None:
        if self._over:
            return
        chunk = self._source.read(size) or b""
        self._over = not chunk
        self._kept += chunk
        self._too_large = self._too_large or len(self._kept) > self._most


def body_of(request: Request, most: int) -> Body | None:
    """The body, put in its place before anybody reads it; None where somebody was there before.

    The limits of Flask (MAX_CONTENT_LENGTH, also as a view sets it for itself) are left to whoever reads it as ever.
    """
    there = request.environ.get(INPUT)
    if isinstance(there, Body):
        return there  # of an application around this one, which may have read it
    if there is None or "stream" in vars(request):
        return None
    body = request.environ[INPUT] = Body(get_input_stream(request.environ), most)
    return body


def cached_body_of(request: Request, most: int) -> Body:
    """What Flask has of a body that was read before redis-mw saw the request; ``PolicyError`` if that is not all."""
    length = request.content_length
    data = request.get_data() if length is not None and length <= most else None
    if data is None or len(data) != length:
        raise PolicyError(
            "the body of a request with an idempotency key was read before redis-mw could compare it, and is gone: "
            "read it by request.get_data() or request.get_json(), which keep it, or only in the view"
        )
    return Body(BytesIO(data), most)
