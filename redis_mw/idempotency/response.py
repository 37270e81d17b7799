"""What is kept of a response: which ones, which of their fields, how much of their body, and in which bytes.

A response is stored under the key of its request and given to whoever repeats that, so nothing of it may belong to
one delivery only (hop-by-hop fields, dates, limits) or hand out what a client must be given once (cookies).
"""

from collections.abc import Iterable

import msgspec

from redis_mw.http.hops import end_to_end

VERSION = b"\x01"
"""The first byte of what is stored; another one is not ours to read."""

TRANSIENT = frozenset({408, 409, 425, 429})
"""Refusals that say "not now": to ask again is what they are for, so they are never stored."""

NEVER = frozenset(
    {
        # Belong to one delivery: whoever sends the replay says these anew.
        *("date", "content-length", "idempotency-replayed"),
        # Would hand a session, or its end, to whoever asks later.
        *("set-cookie", "set-cookie2"),
    }
)
LIMITS = ("ratelimit", "x-ratelimit", "x-rate-limit")
"""How the names of fields begin that tell of rate limits, which go on while a stored response does not change."""

RETRY_AFTER = frozenset({413, 503})
"""Statuses to which Retry-After belongs (RFC 9110 section 10.2.3), beside redirections; elsewhere it is a limit's."""


class Stored(msgspec.Struct, frozen=True):
    """A response as it is replayed; a ``body`` of None was not kept, only that there was such a response."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = b""


def is_stored(status: int, *, store_5xx: bool) -> bool:
    """Whether a response of this status is what every repeat gets; otherwise a repeat runs again.

    2xx to 4xx but for ``TRANSIENT``. 401 and 403 are answers like any other: new credentials are another caller, who
    does not meet them. 5xx only where the settings say so.
    """
    return (200 <= status < 500 and status not in TRANSIENT) or (store_5xx and 500 <= status < 600)


def stored_fields(status: int, headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The fields of a response that are kept, in their order; those of one connection are not."""
    return tuple(field for field in end_to_end(headers) if _kept(field[0].lower(), status))


def _kept(name: str, status: int) -> bool:
    if name == "retry-after":
        return status in RETRY_AFTER or 300 <= status < 400
    return name not in NEVER and not name.startswith(LIMITS)


def stored(status: int, headers: Iterable[tuple[str, str]], body: bytes | None) -> Stored:
    """A response as it is kept. Without its body only the way to what was made is left of its fields."""
    fields = stored_fields(status, headers)
    if body is None:
        fields = tuple(field for field in fields if field[0].lower() == "location")
    return Stored(status, fields, body)


def encode(response: Stored) -> bytes:
    """The bytes that are stored. Text is kept as it is, lone surrogates too: a run that is over must never fail."""
    pairs = [(_bytes(name), _bytes(value)) for name, value in response.headers]
    return VERSION + msgspec.msgpack.encode((response.status, pairs, response.body))


def decode(data: bytes) -> Stored | None:
    """What ``encode`` was given, None for anything else."""
    if data[:1] != VERSION:
        return None
    try:
        status, pairs, body = _DECODER.decode(memoryview(data)[1:])
        headers = tuple((_text(name), _text(value)) for name, value in pairs)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return Stored(status, headers, body) if 200 <= status < 600 else None


_DECODER = msgspec.msgpack.Decoder(tuple[int, list[tuple[bytes, bytes]], bytes | None])


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


class Recorder:
    """The body of a response on its way, up to so many bytes; what is larger is not kept.

    It ``is_over`` when it is too large, or with the last byte that the ``headers`` announce: a client that has those
    may think that all is done, so it is to be stored before they are sent.
    """

    def __init__(self, most: int, headers: Iterable[tuple[str, str]] = ()) -> None:
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        self._announced = int(lengths[0]) if len(lengths) == 1 and _is_length(lengths[0]) else None
        self._most = most
        self._size = 0
        self._chunks: list[bytes] = []

    def add(self, chunk: bytes) -> None:
        """The next part of the body."""
        self._size += len(chunk)
        if self._size > self._most:
            self._chunks.clear()
        else:
            self._chunks.append(chunk)

    @property
    def is_over(self) -> bool:
        """Whether nothing more need be added."""
        return self._size > self._most or (self._announced is not None and self._size >= self._announced)

    @property
    def body(self) -> bytes | None:
        """What was added, None if it was too large."""
        return None if self._size > self._most else b"".join(self._chunks)


def _is_length(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20
